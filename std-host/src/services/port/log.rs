//! `mode = "log"`: what clients send is appended to a file, a line for each message.
//!
//! A line is the time, who has sent the message, and the message without its terminator, with backslash sequences for what
//! is no printable ASCII: a client can neither end a line nor begin one. A client goes by the name of its slot; who sends
//! datagrams, by the port and its own address. With the input terminator off, whatever has arrived is a message; of
//! datagrams each is one.

use super::lines::{LineCounts, Lines, Sink};
use super::options::{Mode, Options, escape};
use super::running::Running;
use super::subscribers::Subscriber;
use crate::calendar::Utc;
use crate::event_loop::Error;
use std::cell::RefCell;
use std::fmt::{Arguments, Write};
use std::fs::OpenOptions;
use std::io;
use std::rc::Rc;
use std::time::SystemTime;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Command, Event, Reason};
use wharf_core::slots::SlotId;

/// Bytes of the longest line's message; a longer one has several.
const CHUNK: usize = 64 * 1024;

/// The messages of a port on their way to its file.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    lines: Rc<RefCell<Lines>>,
    file: Sink,
}

impl Messages {
    /// For a port with these options; `None` in any other mode.
    ///
    /// # Errors
    /// When the file cannot be appended to.
    pub(super) fn of(options: &Options) -> Result<Option<Self>, Error> {
        if options.mode != Mode::Log {
            return Ok(None);
        }
        check(&options.log_file).map_err(|source| {
            let object = format!("{} for port {}", options.log_file, options.name);
            Error::Io { op: "append to", object, source }
        })?;
        let lines = Rc::new(RefCell::new(Lines::new(&options.name)));
        Ok(Some(Self { lines, file: Sink::File(options.log_file.as_str().into()) }))
    }

    /// Writes a message that `who` has sent.
    pub(super) fn put(&self, who: Arguments<'_>, message: &[u8]) {
        self.lines.borrow_mut().put(&self.file, |text| {
            write!(text, "{} {who} ", Utc::at(SystemTime::now())).expect("a string takes whatever it is given");
            escape::print_to(text, message);
        });
    }

    pub(super) fn counts(&self) -> LineCounts {
        self.lines.borrow().counts()
    }

    /// Has the file opened again.
    pub(super) fn reopen(&self) {
        self.lines.borrow().reopen();
    }
}

/// The one who writes what clients send.
#[derive(Debug)]
pub(super) struct Log {
    messages: Messages,
    buffer: Vec<u8>,
}

impl Log {
    pub(super) fn new(messages: Messages) -> Self {
        Self { messages, buffer: vec![0; CHUNK] }
    }

    fn take(&mut self, port: &mut Running<'_>, slot: SlotId) {
        while let Some(piece) = port.piece(slot, self.buffer.len()) {
            if piece.eom == Eom::END {
                // Both are refused only if the client has just left.
                let _ = port.command(Command::TakeEnd { index: slot.index() });
                let _ = port.command(Command::Drop { slot, reason: Reason::PeerClosed });
                return;
            }
            let message = &mut self.buffer[..piece.len];
            port.copy(slot, message);
            self.messages.put(format_args!("{}:{}", port.name(), slot.index()), message);
            if port.command(Command::Consume { slot, len: piece.taken() }).is_err() {
                return;
            }
        }
    }
}

impl Subscriber for Log {
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        if let Event::DataReady { slot } | Event::InputEnded { slot } = *event {
            self.take(port, slot);
        }
    }
}

/// Whether the file can be appended to. What is no ordinary file is not tried, because opening it may wait.
fn check(path: &str) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        _ => OpenOptions::new().append(true).create(true).open(path).map(drop),
    }
}
