//! A closed-loop load for echo servers: each connection sends a message, awaits all its bytes, verifies them, and sends
//! the next. One thread, edge-triggered epoll through `mio`; a short read has emptied the socket.

use crate::measure::{Failure, Measurement, Phase, Tally};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub address: SocketAddr,
    /// How many connections; at least 1.
    pub connections: usize,
    /// Bytes of a message; at least 1.
    pub size: usize,
    /// The counted time.
    pub duration: Duration,
    /// Time under load before that.
    pub warmup: Duration,
    /// The server's process, whose CPU time is wanted.
    pub pid: Option<u32>,
    /// How long one echo may take.
    pub patience: Duration,
}

/// Loads the server and gives the figures.
///
/// # Errors
/// The first thing that went wrong; then the run has no figures.
pub fn run(options: &Options) -> Result<Measurement, Failure> {
    if options.connections == 0 || options.size == 0 {
        return Err(Failure::Usage("connections and size must each be at least one".into()));
    }
    let system = |what: &'static str| move |error: io::Error| Failure::Unreachable(format!("{what}: {error}"));
    let mut poll = Poll::new().map_err(system("epoll"))?;
    // Bytes that differ from place to place, so that an echo of other bytes is seen.
    let message: Vec<u8> = (0..=250).cycle().take(options.size).collect();
    let mut connections = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let mut connection = Connection::open(options.address, options.patience).map_err(system("connect"))?;
        // Writable interest is armed for good: with edges it costs nothing until a write has found no room.
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut connection.stream, Token(index), interest).map_err(system("epoll_ctl"))?;
        connections.push(connection);
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    let mut tally = Tally::begin(options.warmup, options.duration, options.pid);
    let mut last_echo = Instant::now();
    for connection in &mut connections {
        connection.send(&message, last_echo)?;
    }
    loop {
        match poll.poll(&mut events, Some(Duration::from_millis(20))) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(system("epoll_wait")(error)),
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            let echoed = |begun, now| {
                tally.reply(begun, now);
                tally.phase != Phase::Rest
            };
            last_echo = connection.ready(&message, &mut buffer, echoed)?.unwrap_or(last_echo);
        }
        let now = Instant::now();
        if now.saturating_duration_since(last_echo) > options.patience {
            return Err(Failure::Wrong(format!("no echo within {:?}", options.patience)));
        }
        tally.tick(now);
        if let Some(measurement) = tally.measurement()
            && connections.iter().all(|connection| connection.quiet)
        {
            return Ok(measurement);
        }
    }
}

/// One connection of a load.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// Bytes of the message that have left.
    sent: usize,
    /// Bytes of its echo that have come.
    back: usize,
    begun: Instant,
    /// The last echo is whole, and no more is sent.
    pub(super) quiet: bool,
}

impl Connection {
    /// Connects, blocking.
    pub(super) fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), sent: 0, back: 0, begun: Instant::now(), quiet: false })
    }

    /// Begins a message.
    pub(super) fn send(&mut self, message: &[u8], now: Instant) -> Result<(), Failure> {
        (self.sent, self.back, self.begun) = (0, 0, now);
        self.push(message)
    }

    fn push(&mut self, message: &[u8]) -> Result<(), Failure> {
        while self.sent < message.len() {
            match self.stream.write(&message[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Wrong(format!("lost: {error}"))),
            }
        }
        Ok(())
    }

    /// Works off what the socket has. `echoed` hears of each whole echo, when its message was begun and what time it is,
    /// and says whether to send another. Gives the time of the last whole echo, if there was one.
    pub(super) fn ready(
        &mut self,
        message: &[u8],
        buffer: &mut [u8],
        mut echoed: impl FnMut(Instant, Instant) -> bool,
    ) -> Result<Option<Instant>, Failure> {
        let mut last = None;
        self.push(message)?;
        loop {
            let len = match self.stream.read(buffer) {
                Ok(0) => return Err(Failure::Wrong("closed before the echo was whole".into())),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Wrong(format!("lost: {error}"))),
            };
            // No more than what was sent can come back, so an echo never runs into the next.
            if self.quiet || self.sent.saturating_sub(self.back) < len {
                return Err(Failure::Wrong("bytes that nobody sent".into()));
            }
            if message[self.back..self.back + len] != buffer[..len] {
                return Err(Failure::Wrong("other bytes than were sent".into()));
            }
            self.back += len;
            if self.back == message.len() {
                let now = Instant::now();
                last = Some(now);
                self.quiet = !echoed(self.begun, now);
                if !self.quiet {
                    self.send(message, now)?;
                }
            }
            if len < buffer.len() {
                break;
            }
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// An echo server that changes what it sends.
    fn outcome(change: fn(&mut Vec<u8>)) -> Result<Measurement, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 100];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                let mut bytes = buffer[..len].to_vec();
                change(&mut bytes);
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        let patience = Duration::from_secs(5);
        let (duration, warmup) = (Duration::from_millis(20), Duration::ZERO);
        run(&Options { address, connections: 1, size: 12, duration, warmup, pid: None, patience })
    }

    #[test]
    fn a_right_echo_is_counted() {
        let measurement = outcome(|_| ()).unwrap();
        assert!(measurement.requests > 0);
    }

    #[test]
    fn a_wrong_byte_a_byte_too_many_and_an_early_end_are_caught() {
        let wrong = |change, said: &str| match outcome(change) {
            Err(Failure::Wrong(why)) => assert!(why.contains(said), "{why}"),
            other => panic!("{other:?}"),
        };
        wrong(|bytes| bytes[11] ^= 1, "other bytes");
        wrong(|bytes| bytes.push(0), "nobody sent");
    }
}
