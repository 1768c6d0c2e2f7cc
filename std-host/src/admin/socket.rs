//! The admin socket: a client sends requests, a line each, and gets a line for each outcome and each event.
//!
//! A request is answered when its service answers, so replies may come in another order than the requests. What a client
//! costs is bounded: one line, [`MAX_OPEN`] requests, and what it has yet to take. While one of those is used up nothing
//! more is read from it, and nothing is asked of its streams; one that takes nothing for [`STUCK_SECONDS`] is cut off. A line that is too long ends the connection. Nobody waits for a client.
//!
//! A client that ends its side still gets the outcome of all that it has asked for. Streams of events end there.
//!
//! A stream is asked [`PACE`] after it was woken, for [`MOST_EVENTS`] events at most and then again: so a service that has more
//! to tell than anybody can read costs its host little. What it does with the rest is its own affair; usually it drops and
//! counts.

use super::answer::{Link, Next as Told, Posted, Refusal, Reply, Stream};
use super::host::Host;
use super::lines::{self, Lines, MAX_LINE, Next, Request};
use super::outbox::{Guests, Outbox};
use crate::event_loop::{Closed, ContextKey, Handle, Handler, LoopMut, Opened, Socket, SocketId, Traffic};
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The most clients at a time.
pub(super) const MAX_CLIENTS: usize = 16;
/// The most requests of a client that are not answered yet.
const MAX_OPEN: usize = 8;
/// A client that has so much to take is not read from.
const ENOUGH: usize = 64 << 10;
/// From when a stream was woken until it is asked.
const PACE: Duration = Duration::from_millis(10);
/// How many events are asked of it at a time.
const MOST_EVENTS: usize = 256;
/// How long a client may take nothing.
const STUCK_SECONDS: u32 = 30;

/// The handler of the admin socket.
pub(super) struct Clients<T: 'static> {
    common: Rc<Common<T>>,
}

/// What all clients share.
struct Common<T: 'static> {
    host: Arc<Host>,
    handle: Handle<T>,
    /// Set as soon as there is a context.
    key: Cell<Option<ContextKey<Clients<T>>>>,
    guests: Guests,
}

/// A client. Until it is open it shares nothing with the others.
pub(super) struct Client<T: 'static> {
    common: Option<Rc<Common<T>>>,
    input: Lines,
    outbox: Outbox,
    open: Vec<Open>,
    /// The number of the next request.
    next: u64,
    /// The client has ended its side.
    ended: bool,
    /// Nothing is taken from it any more.
    done: bool,
    /// The timeout is set.
    timed: bool,
    /// Its streams will be asked.
    paced: bool,
}

/// A request that is not answered yet.
struct Open {
    number: u64,
    link: Arc<Link>,
    /// What is told until the outcome.
    stream: Option<Stream>,
    /// The stream has been woken, and is asked when its time has come and there is room.
    due: bool,
}

impl<T> Default for Client<T> {
    fn default() -> Self {
        Self {
            common: None,
            input: Lines::default(),
            outbox: Outbox::default(),
            open: Vec::new(),
            next: 0,
            ended: false,
            done: false,
            timed: false,
            paced: false,
        }
    }
}

impl<T: 'static> Clients<T> {
    /// Makes the context of the admin socket.
    pub(super) fn context(lp: &mut LoopMut<'_, T>, host: &Arc<Host>) -> ContextKey<Self> {
        let (host, handle, guests) = (Arc::clone(host), lp.handle(), Guests::new(MAX_CLIENTS));
        let common = Rc::new(Common { host, handle, key: Cell::new(None), guests });
        let key = lp.context(Self { common: Rc::clone(&common) });
        common.key.set(Some(key));
        key
    }
}

impl<T: 'static> Handler<T> for Clients<T> {
    type Data = Client<T>;

    fn manual_read(&self) -> bool {
        true
    }

    fn open(&mut self, s: &mut Socket<'_, T, Client<T>>, _: Opened) {
        // The host ends when its services have, whoever looks on.
        s.unref(true);
        let id = s.id();
        self.common.guests.welcome(s.loop_mut(), id);
        s.data().common = Some(Rc::clone(&self.common));
        tell(s, &lines::greeting(&self.common.host.plant));
        tend(s);
    }

    fn readable(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        loop {
            self.common.answer(s);
            // Else lines may wait that have come already.
            if is_busy(s) {
                return;
            }
            let room = s.data().input.room();
            match s.read(room) {
                Ok(bytes) if !bytes.is_empty() => s.data().input.push(&bytes),
                // The end comes by itself.
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn writable(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        let (client, stream) = s.split();
        // If sending has failed, `close` follows.
        let _ = client.outbox.flush(stream);
    }

    fn drained(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        self.common.guests.heard(s.id(), s.now());
        self.common.proceed(s);
    }

    fn end(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        let client = s.data();
        client.ended = true;
        for open in client.open.extract_if(.., |open| open.stream.is_some()).collect::<Vec<_>>() {
            tell(s, &lines::outcome(&open.link.id, &Ok(Value::Null)));
        }
        self.common.answer(s);
    }

    fn timeout(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        s.abort();
    }

    fn close(&mut self, _: &mut LoopMut<'_, T>, closed: Closed<Client<T>>) {
        self.common.guests.gone(closed.id);
    }
}

impl<T: 'static> Common<T> {
    /// Answers the lines that have come, as far as there is room for.
    fn answer(&self, s: &mut Socket<'_, T, Client<T>>) {
        while !is_busy(s) {
            let client = s.data();
            match client.input.next() {
                Next::Line(line) => self.ask(s, &line),
                Next::TooLong => {
                    client.done = true;
                    let refusal = Refusal::usage(format!("a line has at most {MAX_LINE} bytes"));
                    tell(s, &lines::outcome(&Value::Null, &Err(refusal)));
                }
                Next::More(_) if client.ended => {
                    client.done = true;
                    let last = client.input.rest();
                    self.ask(s, &last);
                }
                Next::More(_) => break,
            }
        }
        tend(s);
    }

    fn ask(&self, s: &mut Socket<'_, T, Client<T>>, line: &[u8]) {
        self.guests.heard(s.id(), s.now());
        if line.trim_ascii().is_empty() {
            return;
        }
        let Request { id, verb, name, arguments } = match Request::parse(line) {
            Ok(request) => request,
            Err((id, refusal)) => return tell(s, &lines::outcome(&id, &Err(refusal))),
        };
        let number = s.data().next;
        let link = Link::new(id, self.post(s.id(), number));
        s.data().next += 1;
        s.data().open.push(Open { number, link: Arc::clone(&link), stream: None, due: false });
        self.host.ask(&verb, name.as_deref(), arguments, Reply::new(link));
    }

    /// The way from a service back to a request of a client.
    fn post(&self, socket: SocketId, number: u64) -> impl Fn(Posted) + Send + Sync + 'static {
        let key = self.key.get().expect("the key is set before there are clients");
        let handle = self.handle.clone();
        move |posted| {
            // There are few of them: an outcome or a stream for each request, and a wake until it is heard.
            let _ = handle.defer_always(move |lp| {
                // A client that has gone needs nothing.
                let _ = lp.with_socket(key, socket, |s| deliver(s, number, posted));
            });
        }
    }

    /// Has the streams of a client asked when their time has come, if one is due and there is room.
    fn pace(&self, s: &mut Socket<'_, T, Client<T>>) {
        let (client, stream) = s.split();
        let is_due = client.open.iter().any(|open| open.due && open.stream.is_some());
        if client.paced || !is_due || client.outbox.len(stream) > ENOUGH || stream.is_closed() {
            return;
        }
        client.paced = true;
        let (key, id) = (self.key.get().expect("the key is set before there are clients"), s.id());
        let lp = s.loop_mut();
        let timer = lp.add_timer(PACE, None, move |lp, _| {
            // A client that has gone needs nothing.
            let _ = lp.with_socket(key, id, |s| {
                s.data().paced = false;
                ask_streams(s);
                let common = s.data().common.clone();
                common.expect("a client that has asked is open").proceed(s);
            });
        });
        // The host ends when its services have, whoever looks on.
        let unref = timer.and_then(|timer| lp.unref_timer(timer, true));
        unref.expect("the pace is within the range of timers");
    }

    /// Goes on with a client that there may be room for again.
    fn proceed(&self, s: &mut Socket<'_, T, Client<T>>) {
        self.answer(s);
        self.pace(s);
        if !is_busy(s) {
            // What the system has kept meanwhile is announced again.
            let _ = s.resume();
        }
    }
}

/// Brings a client what has come of one of its requests.
fn deliver<T: 'static>(s: &mut Socket<'_, T, Client<T>>, number: u64, posted: Posted) {
    let client = s.data();
    let Some(at) = client.open.iter().position(|open| open.number == number) else { return };
    let common = client.common.clone().expect("a client that has asked is open");
    match posted {
        Posted::Outcome(line) => {
            client.open.swap_remove(at);
            tell(s, &line);
        }
        Posted::Stream(stream) if client.ended => {
            drop(stream);
            let open = client.open.swap_remove(at);
            tell(s, &lines::outcome(&open.link.id, &Ok(Value::Null)));
        }
        Posted::Stream(stream) => {
            let open = &mut client.open[at];
            (open.stream, open.due) = (Some(stream), true);
        }
        Posted::Wake => client.open[at].due = true,
    }
    common.proceed(s);
}

/// Tells a client what its streams have, as far as there is room.
fn ask_streams<T: 'static>(s: &mut Socket<'_, T, Client<T>>) {
    let due: Vec<_> = s.data().open.iter().filter(|open| open.due).map(|open| open.number).collect();
    for number in due {
        let Some(open) = s.data().open.iter_mut().find(|open| open.number == number) else { continue };
        let (Some(mut stream), link) = (open.stream.take(), Arc::clone(&open.link)) else { continue };
        // Whatever comes from now on wakes it again.
        link.heard();
        let (mut outcome, mut due) = (None, true);
        for _ in 0..MOST_EVENTS {
            let (client, socket) = s.split();
            if client.outbox.len(socket) > ENOUGH {
                break;
            }
            match stream() {
                Told::Event { event, missed } => tell(s, &lines::event(&link.id, &event, missed)),
                Told::Nothing => {
                    due = false;
                    break;
                }
                Told::Later => break,
                Told::End(last) => {
                    outcome = Some(last);
                    break;
                }
            }
        }
        let open = &mut s.data().open;
        let Some(at) = open.iter().position(|open| open.number == number) else { continue };
        if let Some(outcome) = outcome {
            open.swap_remove(at);
            tell(s, &lines::outcome(&link.id, &outcome));
        } else {
            (open[at].stream, open[at].due) = (Some(stream), due);
        }
    }
}

/// Whether a client is to wait with what it asks next.
fn is_busy<T>(s: &mut Socket<'_, T, Client<T>>) -> bool {
    let (client, stream) = s.split();
    client.done || client.open.len() >= MAX_OPEN || client.outbox.len(stream) > ENOUGH || stream.is_closed()
}

/// Sends a line, behind those that wait.
fn tell<T>(s: &mut Socket<'_, T, Client<T>>, line: &[u8]) {
    let (client, stream) = s.split();
    // If sending has failed, `close` follows.
    let _ = client.outbox.push(stream, line);
}

/// Sees to the timeout of what waits to be sent, and to the end.
fn tend<T>(s: &mut Socket<'_, T, Client<T>>) {
    let (client, stream) = s.split();
    let waits = client.outbox.len(stream) > 0;
    if std::mem::replace(&mut client.timed, waits) != waits {
        // A socket that is closed needs none.
        let _ = stream.set_idle_timeout(if waits { STUCK_SECONDS } else { 0 }, Traffic::Any);
    }
    if client.done && client.open.is_empty() && client.outbox.is_empty() {
        // It is closed already if sending has failed.
        let _ = stream.finish();
    }
}
