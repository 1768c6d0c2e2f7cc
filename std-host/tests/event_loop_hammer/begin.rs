//! How connections begin: through a listener, as a pair, or from outside of the loops.

use crate::acts::hand_over;
use crate::side::{Report, Side};
use crate::text::{Heard, text};
use crate::world::{At, Here, Manner, Ticket, World, lock};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use wharf_host::event_loop::{ConnectOptions, LoopMut};
use wharf_tests::rng::Rng;

/// Begins as many connections as are wanted now.
pub(crate) fn begin(lp: &mut LoopMut<'_, Here>) {
    let world = Arc::clone(&lp.data().world);
    if world.handles.get().is_none() {
        return;
    }
    while let Some(ticket) = world.begin() {
        begin_one(lp, ticket);
    }
}

fn begin_one(lp: &mut LoopMut<'_, Here>, ticket: Ticket) {
    let here = lp.data();
    let place = here.rng.pick(&lock(&here.world.places)).clone();
    let manner = Manner { rough: place.rough, manual: here.rng.chance(1, 2) };
    let key = here.key(manner);
    match here.rng.below(10) {
        0 => {
            let (one, other) = UnixStream::pair().unwrap();
            let second = Side::begun(here.world.ticket());
            hand_over(here, manner, other, second);
            lp.adopt(one, key, Side::begun(ticket)).unwrap();
        }
        1 => {
            let side = Side::begun(ticket);
            match place.at {
                At::Tcp(addr) => hand_over(here, manner, TcpStream::connect(addr).unwrap(), side),
                At::Unix(path) => hand_over(here, manner, UnixStream::connect(path).unwrap(), side),
            }
        }
        2 => {
            let (world, rng) = (Arc::clone(&here.world), here.rng.fork());
            thread::spawn(move || Raw::new(&place.at).live(&world, rng, place.rough, ticket));
        }
        choice => {
            let (side, options) = (Side::begun(ticket), ConnectOptions::default());
            let id = match place.at {
                At::Tcp(addr) if choice < 5 => lp.connect(addr.to_string(), key, side, options).unwrap(),
                At::Tcp(addr) => lp.connect(addr, key, side, options).unwrap(),
                At::Unix(path) => lp.connect(path, key, side, options).unwrap(),
            };
            if manner.rough && lp.data().rng.chance(1, 50) {
                lp.cancel(id).unwrap();
            }
        }
    }
}

/// A client that is not of the loop: it blocks, on a thread of its own.
enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Raw {
    fn new(at: &At) -> Self {
        match at {
            At::Tcp(addr) => Self::Tcp(TcpStream::connect(addr).unwrap()),
            At::Unix(path) => Self::Unix(UnixStream::connect(path).unwrap()),
        }
    }

    /// Sends, ends its side and reads to the end; a rough one stops anywhere.
    fn live(mut self, world: &World, mut rng: Rng, rough: bool, ticket: Ticket) {
        let number = world.number();
        let mut report = Report { number, rough, heard: Heard::default(), sent: 0, ended: false, orderly: false };
        let most = if rng.chance(1, 20) { 5 * 1024 * 1024 } else { 5000 };
        let plan = rng.between(8, most);
        let outcome = self.talk(&mut report, &mut rng, plan, world);
        assert!(outcome.is_ok() || rough, "side {number}: {outcome:?}");
        report.orderly = matches!(outcome, Ok(()));
        // The descriptor goes before the ticket.
        drop(self);
        world.report(report);
        drop(ticket);
    }

    fn talk(&mut self, report: &mut Report, rng: &mut Rng, plan: u64, world: &World) -> Result<(), Error> {
        let mut stops = |of| {
            if report.rough && rng.chance(1, of) { Err(Error::from(ErrorKind::Interrupted)) } else { Ok(()) }
        };
        stops(10)?;
        while report.sent < plan {
            let much = usize::try_from(plan - report.sent).map_or(65_536, |left| left.min(65_536));
            let bytes = text(report.number, report.sent, much);
            let sent = match self {
                Self::Tcp(stream) => stream.write(&bytes)?,
                Self::Unix(stream) => stream.write(&bytes)?,
            };
            report.sent += sent as u64;
            world.moved();
            stops(10)?;
        }
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write)?,
            Self::Unix(stream) => stream.shutdown(Shutdown::Write)?,
        }
        let mut buffer = vec![0; 65_536];
        loop {
            let count = match self {
                Self::Tcp(stream) => stream.read(&mut buffer)?,
                Self::Unix(stream) => stream.read(&mut buffer)?,
            };
            if count == 0 {
                report.ended = true;
                return Ok(());
            }
            report.heard.take(report.number, &buffer[..count]);
            world.moved();
            stops(10)?;
        }
    }
}
