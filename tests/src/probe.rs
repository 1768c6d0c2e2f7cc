//! A handler for tests of the event loop, which writes down what happens to it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use wharf_host::event_loop::{AcceptFailed, Closed, ConnectFailed, Handler, ListenerId, LoopMut, Opened, Socket};

/// What a [`Probe`] has written.
pub type Log = Rc<RefCell<Vec<String>>>;

/// What a test does in a callback: its name, the socket, and the bytes if there are any.
pub type Act = Box<dyn FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8])>;

/// Writes down its callbacks, gathers the bytes in the data, and lets the test act in each callback.
pub struct Probe {
    log: Log,
    act: Act,
    wordy: bool,
}

impl Probe {
    /// One that writes into `log`.
    pub fn new(log: &Log, act: impl FnMut(&str, &mut Socket<'_, (), Vec<u8>>, &[u8]) + 'static) -> Self {
        Self { log: Rc::clone(log), act: Box::new(act), wordy: false }
    }

    /// It writes `opened` after what is done in `open`, and `drained`.
    #[must_use]
    pub fn wordy(self) -> Self {
        Self { wordy: true, ..self }
    }

    fn say(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Handler for Probe {
    type Data = Vec<u8>;

    fn open(&mut self, s: &mut Socket<'_, (), Vec<u8>>, how: Opened) {
        self.say(format!("open {how:?}"));
        (self.act)("open", s, &[]);
        if self.wordy {
            self.say("opened");
        }
    }

    fn data(&mut self, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
        s.data().extend_from_slice(bytes);
        (self.act)("data", s, bytes);
    }

    fn writable(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        (self.act)("writable", s, &[]);
    }

    fn drained(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        if self.wordy {
            self.say("drained");
        }
        (self.act)("drained", s, &[]);
    }

    fn end(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        self.say(format!("end after {}", s.data().len()));
        (self.act)("end", s, &[]);
        // One that was closed just now cannot be finished.
        let _ = s.finish();
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<Vec<u8>>) {
        self.say(format!("close {:?} with {} bytes", closed.reason, closed.data.len()));
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, failed: ConnectFailed<Vec<u8>>) {
        let (tried, bytes) = (failed.tried, failed.data.len());
        self.say(format!("connect_error after {tried} with {bytes} bytes: {}", failed.error));
    }

    fn accept_error(&mut self, _: &mut LoopMut<'_>, _: ListenerId, failed: AcceptFailed) {
        if let AcceptFailed::Exhausted { pause, .. } = failed {
            return self.say(format!("accepting pauses {pause:?}"));
        }
        self.say(format!("accept_error: {failed:?}"));
    }
}

/// The act that does nothing.
pub fn quiet(_: &str, _: &mut Socket<'_, (), Vec<u8>>, _: &[u8]) {}
