//! Clients that nobody wants beside their own: what each does, at full speed, until its time is over.

use crate::measure::Failure;
use clap::ValueEnum;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What the neighbour does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Neighbour {
    /// There is none.
    Nobody,
    /// Random bytes on one connection after the other.
    Garbage,
    /// Requests for quantities that cannot be, 64 at once.
    Quantities,
    /// Half a frame and a reset, on one connection after the other.
    Halves,
    /// Good requests of which every byte is a segment.
    Dribble,
    /// Good requests, and no reply is ever read.
    Unread,
}

/// What it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deeds {
    /// Bytes that its sockets took.
    pub bytes: u64,
    /// Connections that came about.
    pub connections: u64,
}

/// FC3 of ten registers, of 125, of none and of one too many; unit 1.
const TEN: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 10];
const MOST: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 125];
const NONE: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 0];
const TOO_MANY: [u8; 12] = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 126];
const REPLY: usize = 29;
const EXCEPTION: usize = 9;
const BATCH: usize = 64;
/// How long it waits for a reply that a good server would give.
const PATIENCE: Duration = Duration::from_millis(200);

impl Neighbour {
    /// All of them, the quiet one first.
    pub const ALL: [Self; 6] =
        [Self::Nobody, Self::Garbage, Self::Quantities, Self::Halves, Self::Dribble, Self::Unread];

    /// Its name in a table and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Garbage => "garbage",
            Self::Quantities => "quantities",
            Self::Halves => "halves",
            Self::Dribble => "dribble",
            Self::Unread => "unread",
        }
    }

    /// Does it for so long.
    ///
    /// # Errors
    /// When nobody listens at `address`. Whatever a server does to it later it bears, and comes again.
    pub fn run(self, address: SocketAddr, span: Duration) -> Result<Deeds, Failure> {
        let mut work = Work { address, until: Instant::now() + span, deeds: Deeds::default(), seed: 1 };
        TcpStream::connect(address).map_err(|error| Failure::Unreachable(error.to_string()))?;
        let act = match self {
            Self::Nobody => return Ok(work.deeds),
            Self::Garbage => Work::garbage,
            Self::Quantities => Work::quantities,
            Self::Halves => Work::half,
            Self::Dribble => Work::dribble,
            Self::Unread => Work::unread,
        };
        while !work.is_over() {
            // Each error ends a connection; the next one begins at once.
            let _ = act(&mut work);
        }
        Ok(work.deeds)
    }
}

struct Work {
    address: SocketAddr,
    until: Instant,
    deeds: Deeds,
    seed: u64,
}

impl Work {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn connect(&mut self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        self.deeds.connections += 1;
        Ok(stream)
    }

    fn send(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        stream.write_all(bytes)?;
        self.deeds.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The next number of SplitMix64.
    const fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn garbage(&mut self) -> io::Result<()> {
        let mut stream = self.connect()?;
        while !self.is_over() {
            let bytes: Vec<u8> = (0..512).flat_map(|_| self.random().to_le_bytes()).collect();
            self.send(&mut stream, &bytes)?;
        }
        Ok(())
    }

    fn quantities(&mut self) -> io::Result<()> {
        let mut stream = self.connect()?;
        let batch = [NONE, TOO_MANY].concat().repeat(BATCH / 2);
        let mut replies = [0; BATCH * EXCEPTION];
        while !self.is_over() {
            self.send(&mut stream, &batch)?;
            stream.read_exact(&mut replies)?;
        }
        Ok(())
    }

    fn half(&mut self) -> io::Result<()> {
        let mut stream = self.connect()?;
        self.send(&mut stream, &TEN[..7])?;
        // A close in order would leave no port free after a few seconds.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        Ok(setsockopt(&stream, sockopt::Linger, &linger)?)
    }

    fn dribble(&mut self) -> io::Result<()> {
        let mut stream = self.connect()?;
        let mut reply = [0; REPLY];
        while !self.is_over() {
            for byte in TEN {
                self.send(&mut stream, &[byte])?;
            }
            stream.read_exact(&mut reply)?;
        }
        Ok(())
    }

    fn unread(&mut self) -> io::Result<()> {
        let mut stream = self.connect()?;
        let batch = MOST.repeat(BATCH);
        while !self.is_over() {
            match stream.write(&batch) {
                Ok(len) => self.deeds.bytes += len as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
