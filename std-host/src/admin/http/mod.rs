//! `/metrics` and `/status` over HTTP/1.1 (RFC 9110, 9112): GET and HEAD, and nothing that changes anything.
//!
//! A connection has one request in work; those that follow wait, a head at most of them here and the rest with the system.
//! A head has a bound and a time in which it has to be whole; an answer that nobody takes and a connection that is not
//! used end. Bodies of requests are not read: after such a request the connection is closed. No TLS, no compression, no
//! ranges, no HTTP/2; who needs those puts a proxy in front.

mod date;
pub(super) mod head;

use super::exposition;
use super::host::Host;
use super::outbox::{Guests, Outbox};
use crate::event_loop::{Closed, ContextKey, Handle, Handler, LoopMut, Opened, Socket, SocketId, Traffic};
use head::{Bad, MAX_HEAD, Method, Request};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// The most clients at a time.
pub(super) const MAX_CLIENTS: usize = 32;
/// How long a head may take to be whole, from the connection or its first byte.
const HEAD_SECONDS: u32 = 10;
/// How long a connection may wait for its next request.
const IDLE_SECONDS: u32 = 60;
/// How long a client may take nothing of its answer.
const STUCK_SECONDS: u32 = 30;

/// The handler of the HTTP address.
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
    input: Vec<u8>,
    /// So many bytes of it hold no end of a head.
    looked: usize,
    outbox: Outbox,
    state: State,
    /// The client has ended its side.
    ended: bool,
}

/// What a client is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It may send a request, and has sent nothing of it.
    #[default]
    Idle,
    /// It has sent the beginning of a head.
    Asking,
    /// Its request is with the services.
    Waiting,
    /// It takes its answer, and may then ask again.
    Taking,
    /// It takes its last answer.
    Leaving,
}

/// An answer, and whether the connection is used again.
struct Response {
    status: &'static str,
    headers: &'static str,
    content_type: &'static str,
    body: String,
    method: Method,
    keep_alive: bool,
}

impl<T> Default for Client<T> {
    fn default() -> Self {
        let (input, outbox, state) = (Vec::new(), Outbox::default(), State::default());
        Self { common: None, input, looked: 0, outbox, state, ended: false }
    }
}

impl<T: 'static> Clients<T> {
    /// Makes the context of the HTTP address.
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
        // A socket that has just opened can have a timeout.
        let _ = s.set_timeout(HEAD_SECONDS);
    }

    fn readable(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        loop {
            self.common.answer(s);
            let client = s.data();
            let room = MAX_HEAD.saturating_sub(client.input.len());
            if !matches!(client.state, State::Idle | State::Asking) || room == 0 {
                return;
            }
            match s.read(room) {
                Ok(bytes) if !bytes.is_empty() => s.data().input.extend_from_slice(&bytes),
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
        s.data().ended = true;
        self.common.answer(s);
    }

    fn timeout(&mut self, s: &mut Socket<'_, T, Client<T>>) {
        match s.data().state {
            State::Idle | State::Asking => s.close(0),
            State::Waiting | State::Taking | State::Leaving => s.abort(),
        }
    }

    fn close(&mut self, _: &mut LoopMut<'_, T>, closed: Closed<Client<T>>) {
        self.common.guests.gone(closed.id);
    }
}

impl<T: 'static> Common<T> {
    /// Goes on with a client: with its next request, if it is whole and the one before is answered and taken.
    fn answer(&self, s: &mut Socket<'_, T, Client<T>>) {
        while settle(s) {
            let client = s.data();
            match head::parse(&client.input, &mut client.looked) {
                Ok(None) if client.ended => {
                    // Nothing can follow. The rest of a head is none.
                    client.state = State::Leaving;
                }
                Ok(None) => {
                    if client.state == State::Idle && !client.input.is_empty() {
                        client.state = State::Asking;
                        let _ = s.set_timeout(HEAD_SECONDS);
                    }
                    return;
                }
                Ok(Some((request, len))) => {
                    client.input.drain(..len);
                    client.state = State::Waiting;
                    let _ = s.set_timeout(0);
                    self.guests.heard(s.id(), s.now());
                    self.ask(s, request);
                }
                Err(bad) => {
                    client.input = Vec::new();
                    respond(s, &Response::refused(bad));
                }
            }
        }
    }

    fn ask(&self, s: &mut Socket<'_, T, Client<T>>, request: Request) {
        let Request { method, path, keep_alive } = request;
        let post = self.post(s.id());
        let of = move |content_type, body| Response::whole(content_type, body, method, keep_alive);
        match (path.as_str(), method) {
            ("/metrics" | "/status", Method::Other) => respond(s, &Response::not_allowed(keep_alive)),
            ("/metrics", _) => self.host.metrics(move |text| post(of(exposition::CONTENT_TYPE, text))),
            ("/status", _) => {
                self.host.status(move |status| post(of("application/json", format!("{status}\n"))));
            }
            _ => respond(s, &Response::not_found(method, keep_alive)),
        }
    }

    /// The way from the services back to a client.
    fn post(&self, socket: SocketId) -> impl FnOnce(Response) + Send + 'static {
        let key = self.key.get().expect("the key is set before there are clients");
        let handle = self.handle.clone();
        move |response| {
            // There is one for each client at most. A loop that has ended has no clients.
            let _ = handle.defer_always(move |lp| {
                // A client that has gone needs nothing.
                let _ = lp.with_socket(key, socket, |s| {
                    respond(s, &response);
                    let common = s.data().common.clone();
                    common.expect("a client that has asked is open").proceed(s);
                });
            });
        }
    }

    /// [`Common::answer`], for a client that may not have been read from meanwhile.
    fn proceed(&self, s: &mut Socket<'_, T, Client<T>>) {
        self.answer(s);
        // What the system has kept is announced again.
        let _ = s.resume();
    }
}

/// Ends what is done. Whether the client may ask.
fn settle<T>(s: &mut Socket<'_, T, Client<T>>) -> bool {
    let (client, stream) = s.split();
    if client.state == State::Taking && client.outbox.len(stream) == 0 {
        client.state = State::Idle;
        // It fails if sending has, and then `close` follows.
        let _ = stream.set_timeout(IDLE_SECONDS);
    } else if client.state == State::Leaving && client.outbox.is_empty() {
        // What is in the queue of the socket is sent, and what still comes is thrown away.
        let _ = stream.finish();
    }
    matches!(client.state, State::Idle | State::Asking) && !stream.is_closed()
}

/// Answers the request that is in work.
fn respond<T: 'static>(s: &mut Socket<'_, T, Client<T>>, response: &Response) {
    let (client, stream) = s.split();
    client.state = if response.keep_alive { State::Taking } else { State::Leaving };
    // Either fails if sending has, and then `close` follows.
    let _ = stream.set_idle_timeout(STUCK_SECONDS, Traffic::Any);
    let _ = client.outbox.push(stream, &response.to_bytes());
}

impl Response {
    fn whole(content_type: &'static str, body: String, method: Method, keep_alive: bool) -> Self {
        Self { status: "200 OK", headers: "", content_type, body, method, keep_alive }
    }

    fn plain(status: &'static str, body: &str, method: Method, keep_alive: bool) -> Self {
        let content_type = "text/plain; charset=utf-8";
        Self { status, headers: "", content_type, body: body.to_owned(), method, keep_alive }
    }

    fn not_found(method: Method, keep_alive: bool) -> Self {
        Self::plain("404 Not Found", "there are /metrics and /status\n", method, keep_alive)
    }

    fn not_allowed(keep_alive: bool) -> Self {
        let response = Self::plain("405 Method Not Allowed", "use GET or HEAD\n", Method::Other, keep_alive);
        Self { headers: "Allow: GET, HEAD\r\n", ..response }
    }

    fn refused(bad: Bad) -> Self {
        let (status, body) = match bad {
            Bad::Request => ("400 Bad Request", "this is no HTTP/1.1 request\n"),
            Bad::TooLarge => ("431 Request Header Fields Too Large", "the head of the request is too large\n"),
            Bad::Version => ("505 HTTP Version Not Supported", "use HTTP/1.1\n"),
        };
        Self::plain(status, body, Method::Other, false)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { status, headers, content_type, body, method, keep_alive } = self;
        let connection = if *keep_alive { "" } else { "Connection: close\r\n" };
        let (date, length) = (date::http_date(SystemTime::now()), body.len());
        let head = format!(
            "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\n{headers}{connection}\r\n"
        );
        let mut bytes = head.into_bytes();
        if *method != Method::Head {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}
