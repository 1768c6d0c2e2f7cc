//! A load for UDP echo servers: each socket keeps a window of datagrams in flight, verifies what comes back, and counts
//! what does not.
//!
//! It has to be faster than any server, or batches could not fill. So it hands the system a burst of datagrams with one
//! call, which splits it (`UDP_SEGMENT`, Linux 4.18), and it does not sleep, which would have the server pay for waking
//! it; it only makes room for others when nothing has come.
//!
//! Datagrams of a socket are numbered. One that comes back shows that those before it are lost; when nothing comes for
//! a while, all in flight are. What comes back after it was given up stays lost.

use crate::measure::{Failure, Measurement, Phase, Tally};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub address: SocketAddr,
    /// Bytes of a datagram; from 8, for its number, to 1024.
    pub size: usize,
    /// The counted time.
    pub duration: Duration,
    /// Time under load before that.
    pub warmup: Duration,
    /// The server's process, whose CPU time is wanted.
    pub pid: Option<u32>,
    /// The silence after which a socket gives up what it has in flight.
    pub patience: Duration,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Of the datagrams that came back in the counted time.
    #[serde(flatten)]
    pub measurement: Measurement,
    /// Datagrams sent in the whole run.
    pub sent: u64,
    /// Those of them that were given up.
    pub lost: u64,
}

const SOCKETS: u64 = 4;
/// Datagrams that the system is handed with one call.
const BURST: u64 = 8;
/// Datagrams in flight of one socket. What all sockets have in flight fits into a server's receive buffer of the usual
/// 208 KiB, by the kernel's measure, which takes 2304 bytes for one of 1 KiB.
const WINDOW: u64 = 2 * BURST;
/// Bytes of the number at the beginning of a datagram.
const NUMBER: usize = 8;
/// The first number of a socket is its place times this, so that no two sockets send the same.
const NUMBERS: u64 = 1 << 48;
/// A server that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(5);

/// Loads the server and gives the figures.
///
/// # Errors
/// The first thing that went wrong; then the run has no figures.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    if !(NUMBER..=1024).contains(&options.size) {
        return Err(Failure::Usage("the size must be from 8 to 1024".into()));
    }
    let opened: io::Result<Vec<_>> = (0..SOCKETS).map(|place| Flow::open(options, place)).collect();
    let mut flows = opened.map_err(|error| Failure::Unreachable(format!("a socket: {error}")))?;
    // One byte more than there should be shows a datagram that is too long.
    let mut buffer = vec![0; options.size + 1];
    let mut tally = Tally::begin(options.warmup, options.duration, options.pid);
    let mut heard = Instant::now();
    loop {
        let now = Instant::now();
        tally.tick(now);
        let mut came = false;
        for flow in &mut flows {
            came |= flow.receive(&mut buffer, now, &mut tally)?;
            if now.saturating_duration_since(flow.heard) > options.patience {
                flow.give_up();
            }
            if tally.phase != Phase::Rest {
                flow.fill(now)?;
            }
        }
        if let Some(measurement) = tally.measurement()
            && flows.iter().all(|flow| flow.in_flight() == 0)
        {
            let (sent, lost) = (flows.iter().map(|flow| flow.sent).sum(), flows.iter().map(|flow| flow.lost).sum());
            return Ok(Outcome { measurement, sent, lost });
        }
        if came {
            heard = now;
        } else if now.saturating_duration_since(heard) > SILENCE {
            return Err(Failure::Wrong("nothing comes back".into()));
        } else {
            thread::yield_now();
        }
    }
}

/// One socket and what it has in flight. Numbers are counted from `first`.
struct Flow {
    socket: UdpSocket,
    first: u64,
    sent: u64,
    /// One more than the last number that came back or was given up.
    settled: u64,
    lost: u64,
    /// Datagrams that came back after they had been given up, or twice.
    strays: u64,
    /// A burst of datagrams, whose numbers are yet to be written.
    burst: Vec<u8>,
    size: usize,
    /// When the bursts in flight left, the even one and the odd one.
    begun: [Instant; 2],
    /// When something last came back, or left while nothing was in flight.
    heard: Instant,
}

impl Flow {
    fn open(options: &Options, place: u64) -> io::Result<Self> {
        let any = if options.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(options.address)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, UdpGsoSegment, &i32::try_from(options.size).expect("a size is at most 1024"))?;
        // Bytes that differ from place to place, so that an echo of other bytes is seen.
        let one: Vec<u8> = (0..=250).cycle().take(options.size).collect();
        let now = Instant::now();
        Ok(Self {
            socket,
            first: place * NUMBERS,
            sent: 0,
            settled: 0,
            lost: 0,
            strays: 0,
            burst: (0..BURST).flat_map(|_| &one).copied().collect(),
            size: options.size,
            begun: [now; 2],
            heard: now,
        })
    }

    const fn in_flight(&self) -> u64 {
        self.sent - self.settled
    }

    /// Sends as many bursts as the window has room for.
    fn fill(&mut self, now: Instant) -> Result<(), Failure> {
        while self.in_flight() + BURST <= WINDOW {
            for (datagram, number) in self.burst.chunks_exact_mut(self.size).zip(self.first + self.sent..) {
                datagram[..NUMBER].copy_from_slice(&number.to_le_bytes());
            }
            match self.socket.send(&self.burst) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Unreachable(format!("send: {error}"))),
            }
            if self.in_flight() == 0 {
                self.heard = now;
            }
            *self.begun_at(self.sent) = now;
            self.sent += BURST;
        }
        Ok(())
    }

    /// Takes all that has come; says whether anything has.
    fn receive(&mut self, buffer: &mut [u8], now: Instant, tally: &mut Tally) -> Result<bool, Failure> {
        let mut came = false;
        loop {
            let len = match self.socket.recv(buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(came),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Wrong(format!("lost: {error}"))),
            };
            came = true;
            self.heard = now;
            self.take(&buffer[..len], now, tally)?;
        }
    }

    fn take(&mut self, datagram: &[u8], now: Instant, tally: &mut Tally) -> Result<(), Failure> {
        let wrong = |what: &str| Err(Failure::Wrong(what.into()));
        if datagram.len() != self.size || datagram[NUMBER..] != self.burst[NUMBER..self.size] {
            return wrong("other bytes than were sent");
        }
        let number = u64::from_le_bytes(datagram[..NUMBER].try_into().expect("the slice is as long as the array"));
        let number = number.wrapping_sub(self.first);
        if number >= self.sent {
            return wrong("a datagram that this socket has not sent");
        }
        if number < self.settled {
            self.strays += 1;
            return if self.strays > self.lost { wrong("a datagram came back twice") } else { Ok(()) };
        }
        self.lost += number - self.settled;
        self.settled = number + 1;
        let begun = *self.begun_at(number);
        tally.reply(begun, now);
        Ok(())
    }

    const fn give_up(&mut self) {
        self.lost += self.in_flight();
        self.settled = self.sent;
    }

    fn begun_at(&mut self, number: u64) -> &mut Instant {
        &mut self.begun[usize::from(number / BURST % 2 == 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// What a server sends back for a datagram, each in a datagram of its own.
    type Answer = fn(&[u8]) -> Vec<Vec<u8>>;

    fn options(address: SocketAddr, patience: Duration) -> Options {
        let (duration, warmup) = (Duration::from_millis(20), Duration::ZERO);
        Options { address, size: 64, duration, warmup, pid: None, patience }
    }

    fn outcome(patience: Duration, answer: Answer) -> Result<Outcome, Failure> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
                for back in answer(&buffer[..len]) {
                    // The client has gone once it has seen enough.
                    let _ = socket.send_to(&back, peer);
                }
            }
        });
        run(&options(address, patience))
    }

    fn number(datagram: &[u8]) -> u64 {
        u64::from_le_bytes(datagram[..NUMBER].try_into().unwrap()) % NUMBERS
    }

    fn changed(datagram: &[u8], at: usize) -> Vec<Vec<u8>> {
        let mut bytes = datagram.to_vec();
        bytes[at] ^= 1;
        vec![bytes]
    }

    #[test]
    fn bursts_arrive_as_datagrams_and_all_that_come_back_are_right() {
        let outcome = outcome(PATIENCE, |datagram| vec![datagram.to_vec()]).unwrap();
        assert!(outcome.sent >= SOCKETS * WINDOW && outcome.sent.is_multiple_of(BURST), "{outcome:?}");
        assert!(outcome.measurement.requests <= outcome.sent, "{outcome:?}");
        assert_eq!(outcome.lost, 0, "{outcome:?}");
    }

    #[test]
    fn what_does_not_come_back_is_lost() {
        // The first of each socket, which the second shows; and the last of its first window, which the next burst or
        // the silence shows.
        let answer: Answer = |datagram| match number(datagram) {
            0 | 15 => Vec::new(),
            _ => vec![datagram.to_vec()],
        };
        let outcome = outcome(Duration::from_millis(100), answer).unwrap();
        assert!(outcome.lost >= 2 * SOCKETS, "{outcome:?}");
    }

    #[test]
    fn other_bytes_a_byte_too_many_a_strange_number_and_an_echo_too_many_are_caught() {
        let wrong = |answer: Answer, said: &str| match outcome(PATIENCE, answer) {
            Err(Failure::Wrong(why)) => assert!(why.contains(said), "{why}"),
            other => panic!("{other:?}"),
        };
        wrong(|datagram| changed(datagram, 63), "other bytes");
        wrong(|datagram| vec![[datagram, &[0]].concat()], "other bytes");
        // The highest bytes of the number tell the socket.
        wrong(|datagram| changed(datagram, NUMBER - 1), "has not sent");
        wrong(|datagram| vec![datagram.to_vec(), datagram.to_vec()], "twice");
    }

    #[test]
    fn a_loss_makes_room_in_the_window_and_what_comes_late_stays_lost() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let options = options(server.local_addr().unwrap(), PATIENCE);
        let mut flow = Flow::open(&options, 1).unwrap();
        let mut tally = Tally::begin(Duration::ZERO, options.duration, None);
        let now = Instant::now();
        let window: Vec<_> = {
            flow.fill(now).unwrap();
            let mut buffer = [0; 100];
            (0..WINDOW).map(|_| server.recv(&mut buffer).map(|len| buffer[..len].to_vec()).unwrap()).collect()
        };
        assert!(window.iter().map(|datagram| number(datagram)).eq(0..WINDOW));
        flow.take(&window[8], now, &mut tally).unwrap();
        assert_eq!((flow.lost, flow.in_flight()), (8, WINDOW - 9));
        flow.fill(now).unwrap();
        assert_eq!((flow.sent, flow.in_flight()), (WINDOW + BURST, WINDOW - 1));
        flow.take(&window[3], now, &mut tally).unwrap();
        assert_eq!((flow.lost, flow.in_flight()), (8, WINDOW - 1));
        flow.give_up();
        assert_eq!((flow.lost, flow.in_flight()), (8 + WINDOW - 1, 0));
    }
}
