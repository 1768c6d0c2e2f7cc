//! A closed-loop load generator on one thread that verifies every byte of every reply.
//!
//! Each connection keeps `depth` requests outstanding: when a reply has come and is right, the next request leaves.
//! Requests that become due while one read is worked off leave in one write. [`crate::measure`] tells of the phases of a
//! run. The first wrong byte, lost connection or overdue reply ends the run: there are no figures for a server that errs.
//!
//! The client uses edge-triggered epoll through `mio`. A read that does not fill the buffer has emptied the socket
//! (epoll(7)), so a reply costs one wait, one read and one write.

mod connection;

use crate::measure::Tally;
pub use crate::measure::{Failure, Latency, Measurement};
use crate::prepare::Probe;
use crate::wire::{OWN_QUANTITY, OWN_START, Operation};
use connection::Connection;
use mio::{Events, Interest, Poll, Token};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What to do to which server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub address: SocketAddr,
    /// How many connections; at least 1.
    pub connections: usize,
    /// Requests outstanding on each connection; at least 1.
    pub depth: usize,
    /// Kinds of request, taken in turn on each connection; at least one.
    pub mix: Vec<Operation>,
    /// The counted time.
    pub duration: Duration,
    /// Time under full load before the counted time.
    pub warmup: Duration,
    /// The unit id in each request.
    pub unit: u8,
    /// Holding registers of the server, from 0 on; at least 1000.
    pub registers: u16,
    /// The server is the bare echo server: replies are of the right size and filled with one byte.
    pub echo: bool,
    /// The server's process on this machine, whose CPU time is wanted.
    pub pid: Option<u32>,
    /// How long one reply may take.
    pub patience: Duration,
}

/// Prepares the server, loads it and gives the figures.
///
/// # Errors
/// The first thing that went wrong; then the run has no figures.
pub fn run(options: &Options) -> Result<Measurement, Failure> {
    check(options)?;
    let mut probe = if options.echo {
        None
    } else {
        let mut probe = Probe::connect(options.address, options.unit, options.patience)?;
        probe.lay_pattern()?;
        Some(probe)
    };
    let mut load = Load::connect(options)?;
    let measurement = load.run(options)?;
    if let Some(probe) = &mut probe
        && options.mix.contains(&Operation::WriteMost)
    {
        let last: Vec<u16> = load.connections.iter().filter_map(Connection::last_write).collect();
        probe.find_last_write(&last)?;
    }
    Ok(measurement)
}

fn check(options: &Options) -> Result<(), Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    if options.connections == 0 || options.depth == 0 || options.mix.is_empty() {
        return usage("connections, depth and mix must each be at least one".into());
    }
    if options.connections > usize::from(u16::MAX) {
        return usage("at most 65535 connections".into());
    }
    let own = usize::from(options.registers.saturating_sub(OWN_START) / OWN_QUANTITY);
    if !options.echo && options.mix.contains(&Operation::ReadWrite) && options.connections > own {
        return usage(format!(
            "fc23 needs {OWN_QUANTITY} registers for each connection: {} registers serve at most {own} connections",
            options.registers
        ));
    }
    Ok(())
}

struct Load {
    poll: Poll,
    connections: Vec<Connection>,
}

impl Load {
    fn connect(options: &Options) -> Result<Self, Failure> {
        let system = |what: &str, error: std::io::Error| Failure::Unreachable(format!("{what}: {error}"));
        let poll = Poll::new().map_err(|error| system("epoll", error))?;
        let mut connections = Vec::with_capacity(options.connections);
        for index in 0..options.connections {
            let number = u16::try_from(index).expect("`check` has bounded the connections");
            let mut connection = Connection::open(options, number)
                .map_err(|error| system(&format!("connect {}, connection {index}", options.address), error))?;
            // Writable interest is armed for good: with edges it costs nothing until a write has found no room.
            poll.registry()
                .register(connection.source(), Token(index), Interest::READABLE | Interest::WRITABLE)
                .map_err(|error| system("epoll_ctl", error))?;
            connections.push(connection);
        }
        Ok(Self { poll, connections })
    }

    fn run(&mut self, options: &Options) -> Result<Measurement, Failure> {
        let begin = Instant::now();
        for connection in &mut self.connections {
            connection.begin(options, begin)?;
        }
        let mut buffer = vec![0; 64 * 1024];
        let mut events = Events::with_capacity(1024);
        let mut tally = Tally::begin(options.warmup, options.duration, options.pid);
        let mut last_reply = begin;
        loop {
            match self.poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Unreachable(format!("epoll_wait: {error}"))),
            }
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                last_reply = connection.ready(options, &mut buffer, &mut tally)?.unwrap_or(last_reply);
            }
            let now = Instant::now();
            if now.saturating_duration_since(last_reply) > options.patience {
                return Err(Failure::Wrong(format!("no reply within {:?}", options.patience)));
            }
            tally.tick(now);
            if let Some(measurement) = tally.measurement()
                && self.connections.iter().all(Connection::is_quiet)
            {
                return Ok(measurement);
            }
        }
    }
}
