//! A closed-loop load for brokers: one client says a message, all others must hear it, whole and right, and then it says
//! the next. What is measured is the time until the last has heard it.
//!
//! A message is its number, in 8 bytes, and a pattern. Number 0 is said over and over at the beginning, until everybody
//! has heard it, because a broker may have a connection long before it knows of it.

use crate::measure::{Failure, Measurement, Tally};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{self, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

/// What to do to which broker.
#[derive(Clone, Debug)]
pub struct Options {
    /// The broker.
    pub address: SocketAddr,
    /// Clients that hear; at least 1.
    pub receivers: usize,
    /// Clients that are there and never read.
    pub deaf: usize,
    /// Bytes of a message; at least those of its number.
    pub size: usize,
    /// Bytes that are said before the warm-up: enough to fill what holds them for one that never reads.
    pub filling: usize,
    /// The counted time.
    pub duration: Duration,
    /// Time under load before that.
    pub warmup: Duration,
    /// The broker's process, whose CPU time is wanted.
    pub pid: Option<u32>,
    /// How long it may take until everybody is there, or has heard a message.
    pub patience: Duration,
}

/// The number of a message comes first in it.
const NUMBER: usize = size_of::<u64>();
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(20);

/// Loads the broker and gives the figures.
///
/// # Errors
/// The first thing that went wrong; then the run has no figures.
pub fn run(options: &Options) -> Result<Measurement, Failure> {
    if options.receivers == 0 || options.size < NUMBER {
        return Err(Failure::Usage(format!("it takes a receiver, and {NUMBER} bytes for the number of a message")));
    }
    let mut fan = Fan::open(options)?;
    fan.call()?;
    for _ in 0..options.filling.div_ceil(options.size) {
        fan.round()?;
    }
    let mut tally = Tally::begin(options.warmup, options.duration, options.pid);
    loop {
        let said = Instant::now();
        fan.round()?;
        let now = Instant::now();
        tally.reply(said, now);
        tally.tick(now);
        if let Some(measurement) = tally.measurement() {
            return Ok(measurement);
        }
    }
}

struct Fan {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    speaker: net::TcpStream,
    receivers: Vec<Receiver>,
    /// They are only kept.
    _deaf: Vec<net::TcpStream>,
    message: Vec<u8>,
    number: u64,
    patience: Duration,
}

struct Receiver {
    stream: TcpStream,
    /// The part of a message that has come.
    part: Vec<u8>,
    /// It has heard the present message.
    has: bool,
}

fn system(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Unreachable(format!("{what}: {error}"))
}

/// Connects, blocking, and again while nobody listens yet.
fn connect(address: SocketAddr, patience: Duration) -> io::Result<net::TcpStream> {
    let begin = Instant::now();
    loop {
        match net::TcpStream::connect_timeout(&address, patience) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && begin.elapsed() < patience => {
                thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
}

impl Fan {
    fn open(options: &Options) -> Result<Self, Failure> {
        let connect = || connect(options.address, options.patience).map_err(system("connect"));
        let poll = Poll::new().map_err(system("epoll"))?;
        let mut receivers = Vec::with_capacity(options.receivers);
        for index in 0..options.receivers {
            let stream = connect()?;
            stream.set_nonblocking(true).map_err(system("set non-blocking"))?;
            let mut stream = TcpStream::from_std(stream);
            let registered = poll.registry().register(&mut stream, Token(index), Interest::READABLE);
            registered.map_err(system("epoll_ctl"))?;
            receivers.push(Receiver { stream, part: Vec::new(), has: false });
        }
        let deaf = (0..options.deaf).map(|_| connect()).collect::<Result<_, _>>()?;
        let speaker = connect()?;
        let set = speaker.set_nodelay(true).and_then(|()| speaker.set_write_timeout(Some(options.patience)));
        set.map_err(system("set options of the speaker"))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            buffer: vec![0; 64 * 1024],
            speaker,
            receivers,
            _deaf: deaf,
            message: (0..=250).cycle().take(options.size).collect(),
            number: 0,
            patience: options.patience,
        })
    }

    /// Says the message of number 0 until everybody has heard it.
    fn call(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.missing() > 0 {
            if begin.elapsed() > self.patience {
                return Err(Failure::Wrong(format!("{} clients hear nothing", self.missing())));
            }
            self.say()?;
            self.listen(AGAIN)?;
        }
        Ok(())
    }

    /// Says the next message and waits until everybody has heard it.
    fn round(&mut self) -> Result<(), Failure> {
        self.number += 1;
        self.receivers.iter_mut().for_each(|receiver| receiver.has = false);
        self.say()?;
        let begin = Instant::now();
        while self.missing() > 0 {
            if begin.elapsed() > self.patience {
                return Err(Failure::Wrong(format!(
                    "{} clients have not heard message {} within {:?}",
                    self.missing(),
                    self.number,
                    self.patience
                )));
            }
            self.listen(self.patience)?;
        }
        Ok(())
    }

    fn missing(&self) -> usize {
        self.receivers.iter().filter(|receiver| !receiver.has).count()
    }

    fn say(&mut self) -> Result<(), Failure> {
        self.message[..NUMBER].copy_from_slice(&self.number.to_be_bytes());
        self.speaker.write_all(&self.message).map_err(|error| Failure::Wrong(format!("the speaker: {error}")))
    }

    /// Hears what there is, within `wait` if there is nothing yet.
    fn listen(&mut self, wait: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(system("epoll_wait"))?,
        }
        for event in &self.events {
            self.receivers[event.token().0].ready(&mut self.buffer, &self.message)?;
        }
        Ok(())
    }
}

impl Receiver {
    fn ready(&mut self, buffer: &mut [u8], message: &[u8]) -> Result<(), Failure> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Failure::Wrong("a client was closed".into())),
                Ok(len) => {
                    self.hear(&buffer[..len], message)?;
                    // A short read has emptied the socket.
                    if len < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Wrong(format!("lost: {error}"))),
            }
        }
    }

    fn hear(&mut self, mut bytes: &[u8], message: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let (front, rest) = bytes.split_at(bytes.len().min(message.len() - self.part.len()));
            self.part.extend_from_slice(front);
            bytes = rest;
            if self.part.len() < message.len() {
                return Ok(());
            }
            if self.part == message {
                self.has = true;
            } else if self.part[..NUMBER] != [0; NUMBER] || self.part[NUMBER..] != message[NUMBER..] {
                // Of the calls at the beginning some may still be on their way.
                return Err(Failure::Wrong("other bytes than were said".into()));
            }
            self.part.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    /// A broker that forgets one client in `forgets` messages, if any, and changes a byte if it is to.
    fn broker(forgets: Option<usize>, change: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients: Arc<Mutex<Vec<net::TcpStream>>> = Arc::default();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut reader = stream.try_clone().unwrap();
                let me = {
                    let mut clients = clients.lock().unwrap();
                    clients.push(stream);
                    clients.len() - 1
                };
                let clients = Arc::clone(&clients);
                thread::spawn(move || {
                    let (mut message, mut count) = ([0; 16], 0);
                    while reader.read_exact(&mut message).is_ok() {
                        count += 1;
                        message[15] ^= u8::from(change && count > 5);
                        for (index, mut client) in clients.lock().unwrap().iter().enumerate() {
                            if index != me && !forgets.is_some_and(|forgets| index == 0 && count % forgets == 0) {
                                let _ = client.write_all(&message);
                            }
                        }
                    }
                });
            }
        });
        address
    }

    fn outcome(address: SocketAddr) -> Result<Measurement, Failure> {
        run(&Options {
            address,
            receivers: 3,
            deaf: 1,
            size: 16,
            filling: 160,
            duration: Duration::from_millis(20),
            warmup: Duration::ZERO,
            pid: None,
            patience: Duration::from_secs(2),
        })
    }

    #[test]
    fn what_everybody_has_heard_is_counted() {
        assert!(outcome(broker(None, false)).unwrap().requests > 0);
    }

    #[test]
    fn a_message_that_one_misses_and_a_wrong_byte_are_caught() {
        let wrong = |address, said: &str| match outcome(address) {
            Err(Failure::Wrong(why)) => assert!(why.contains(said), "{why}"),
            other => panic!("{other:?}"),
        };
        wrong(broker(Some(7), false), "1 clients have not heard");
        wrong(broker(None, true), "other bytes");
    }
}
