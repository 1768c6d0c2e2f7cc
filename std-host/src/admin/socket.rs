//! The admin socket: a client sends requests, a line each, and gets a line for each outcome and each event.
//!
//! A request is answered when its service answers, so replies may come in another order than the requests. What a client
//! costs is bounded: one line, [`MAX_OPEN`] requests, and what it has yet to take. While one of those is used up nothing
//! more is read from it; events that it does not take are dropped and counted; one that takes nothing for
//! [`STUCK_SECONDS`] is cut off. A line that is too long ends the connection. Nobody waits for a client.
//!
//! A client that ends its side still gets the outcome of all that it has asked for. Streams of events end there.

use super::answer::{Link, Part, Refusal, Reply};
use super::host::Host;
use super::lines::{self, Lines, MAX_LINE, Next, Request};
use super::outbox::{Guests, Outbox};
use crate::event_loop::{Closed, ContextKey, Handle, Handler, LoopMut, Opened, Socket, SocketId, Traffic};
use serde_json::Value;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// The most clients at a time.
pub(super) const MAX_CLIENTS: usize = 16;
/// The most requests of a client that are not answered yet.
const MAX_OPEN: usize = 8;
/// A client that has so much to take is not read from.
const ENOUGH: usize = 64 << 10;
/// A client that has so much to take gets no events.
const MOST_FOR_EVENTS: usize = 256 << 10;
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
}

/// A request that is not answered yet.
struct Open {
    number: u64,
    link: Arc<Link>,
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
        let streams: Vec<_> = client.open.iter().filter(|open| open.link.is_stream()).map(Open::link).collect();
        streams.iter().for_each(|link| link.cut());
        self.common.answer(s);
    }

    fn timeout(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        s.abort();
    }

    fn close(&mut self, _: &mut LoopMut<'_, T>, closed: Closed<Client<T>>) {
        self.common.guests.gone(closed.id);
        closed.data.open.iter().for_each(|open| open.link.cut());
    }
}

impl Open {
    fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
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
        s.data().open.push(Open { number, link: Arc::clone(&link) });
        self.host.ask(&verb, name.as_deref(), arguments, Reply::new(link));
    }

    /// The way from a service back to a request of a client.
    fn post(&self, socket: SocketId, number: u64) -> impl Fn(Vec<u8>, Part) -> bool + Send + Sync + 'static {
        let key = self.key.get().expect("the key is set before there are clients");
        let handle = self.handle.clone();
        move |line, part| {
            let deliver = move |lp: &mut LoopMut<'_, T>| {
                // A client that has gone needs nothing.
                let _ = lp.with_socket(key, socket, |s| deliver(s, number, &line, part));
            };
            match part {
                Part::Event { .. } => handle.defer(deliver).is_ok(),
                // There are no more of them than requests.
                Part::Outcome => handle.defer_always(deliver).is_ok(),
            }
        }
    }

    /// Goes on with a client that there may be room for again.
    fn proceed(&self, s: &mut Socket<'_, T, Client<T>>) {
        self.answer(s);
        if !is_busy(s) {
            // What the system has kept meanwhile is announced again.
            let _ = s.resume();
        }
    }
}

/// Gives a client a line of one of its requests.
fn deliver<T: 'static>(s: &mut Socket<'_, T, Client<T>>, number: u64, line: &[u8], part: Part) {
    let (client, stream) = s.split();
    let Some(at) = client.open.iter().position(|open| open.number == number) else { return };
    match part {
        Part::Event { missed } => {
            let fits = client.outbox.len(stream) <= MOST_FOR_EVENTS;
            client.open[at].link.arrived(if fits { 0 } else { missed + 1 });
            if !fits {
                return;
            }
        }
        Part::Outcome => drop(client.open.swap_remove(at)),
    }
    tell(s, line);
    let common = s.data().common.clone();
    common.expect("a client that has asked is open").proceed(s);
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
