//! A system in virtual time in which every address does what the test says, and that writes down what it is asked for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::Signal;
use wharf_host::event_loop::net::{ConnectOptions, ListenOptions, Net, NetId, Ready, Resolved, Wake};

/// What an address does with who connects to it.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// Accepts after so many milliseconds.
    Accept(u64),
    /// Refuses after so many milliseconds; with 0 in the call itself.
    Refuse(u64),
    /// Never answers.
    Nothing,
}

#[derive(Default)]
pub(crate) struct World {
    now: Instant,
    addresses: BTreeMap<SocketAddr, Does>,
    /// The answer to every name, and how many milliseconds it takes.
    name: (Vec<SocketAddr>, u64),
    queries: BTreeMap<u64, Instant>,
    sockets: BTreeMap<u32, Attempt>,
    made: u32,
    /// Clients that go away before they are accepted.
    pub(crate) aborting: u32,
    /// Answers come whether they are wanted or not.
    pub(crate) never_forgets: bool,
    /// The next poll fails.
    pub(crate) breaks: bool,
    /// `MILLISECONDS what`.
    pub(crate) log: Vec<String>,
}

struct Attempt {
    to: SocketAddr,
    answer: Option<(Instant, bool)>,
    token: Option<u64>,
    told: bool,
}

impl World {
    /// Nothing is left of what was begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.queries.is_empty()
    }

    fn say(&mut self, what: impl std::fmt::Display) {
        self.log.push(format!("{} {what}", self.now.as_micros() / 1000));
    }

    fn events(&self) -> impl Iterator<Item = Instant> {
        let attempts = self.sockets.values().filter(|attempt| !attempt.told).filter_map(|attempt| attempt.answer);
        attempts.map(|(at, _)| at).chain(self.queries.values().copied())
    }
}

#[derive(Clone, Default)]
pub(crate) struct Scripted(pub(crate) Rc<RefCell<World>>);

impl Scripted {
    /// A system with these addresses, which are also the answer to every name, after `delay` milliseconds.
    pub(crate) fn new(addresses: &[(&str, Does)], delay: u64) -> Self {
        let world = Self::default();
        let addresses: Vec<_> = addresses.iter().map(|(addr, does)| (addr.parse().unwrap(), *does)).collect();
        world.0.borrow_mut().name = (addresses.iter().map(|(addr, _)| *addr).collect(), delay);
        world.0.borrow_mut().addresses = addresses.into_iter().collect();
        world
    }

    /// Lets time pass outside of the loop.
    pub(crate) fn pass(&self, span: Duration) {
        let mut world = self.0.borrow_mut();
        world.now = world.now.saturating_add(span);
    }
}

impl Net for Scripted {
    fn now(&mut self) -> Instant {
        self.0.borrow().now
    }

    fn poll(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if world.breaks {
            return Err(ErrorKind::Other.into());
        }
        let until = wait.map(|wait| world.now.saturating_add(wait));
        let next = world.events().chain(until).min().expect("the loop waits for something that comes");
        world.now = world.now.max(next);
        let now = world.now;
        for attempt in world.sockets.values_mut() {
            if let (Some(token), Some((at, accepted))) = (attempt.token, attempt.answer)
                && at <= now
                && !std::mem::replace(&mut attempt.told, true)
            {
                ready.push(Ready { token, read: !accepted, write: true, hung_up: !accepted });
            }
        }
        Ok(())
    }

    fn waker(&self) -> Wake {
        Arc::new(|| ())
    }

    fn connect(&mut self, to: SocketAddr, _: &ConnectOptions) -> io::Result<NetId> {
        let mut world = self.0.borrow_mut();
        world.say(format_args!("connect {to}"));
        let after = |millis| world.now.saturating_add(Duration::from_millis(millis));
        let answer = match world.addresses[&to] {
            Does::Refuse(0) => return Err(ErrorKind::ConnectionRefused.into()),
            Does::Refuse(millis) => Some((after(millis), false)),
            Does::Accept(millis) => Some((after(millis), true)),
            Does::Nothing => None,
        };
        world.made += 1;
        let id = world.made;
        world.sockets.insert(id, Attempt { to, answer, token: None, told: false });
        Ok(NetId(id))
    }

    fn connected(&mut self, id: NetId) -> io::Result<bool> {
        let world = self.0.borrow();
        match world.sockets[&id.0].answer {
            Some((at, accepted)) if at <= world.now => {
                if accepted {
                    Ok(true)
                } else {
                    Err(ErrorKind::ConnectionRefused.into())
                }
            }
            _ => Ok(false),
        }
    }

    fn watch(&mut self, id: NetId, token: u64, _: bool) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let attempt = world.sockets.get_mut(&id.0).ok_or(ErrorKind::NotConnected)?;
        (attempt.token, attempt.told) = (Some(token), false);
        Ok(())
    }

    fn close(&mut self, id: NetId, _: bool) {
        let mut world = self.0.borrow_mut();
        let attempt = world.sockets.remove(&id.0).expect("a socket is closed once");
        world.say(format_args!("close {}", attempt.to));
    }

    fn resolve(&mut self, query: u64, host: &str, _: u16) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.say(format_args!("resolve {host}"));
        let answer = world.now.saturating_add(Duration::from_millis(world.name.1));
        world.queries.insert(query, answer);
        Ok(())
    }

    fn forget(&mut self, query: u64) {
        let mut world = self.0.borrow_mut();
        if !world.never_forgets {
            world.queries.remove(&query);
        }
    }

    fn next_resolved(&mut self) -> Option<Resolved> {
        let mut world = self.0.borrow_mut();
        let (&query, _) = world.queries.iter().find(|(_, at)| **at <= world.now)?;
        world.queries.remove(&query);
        Some(Resolved { query, outcome: Ok(world.name.0.clone()) })
    }

    fn read(&mut self, _: NetId, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, _: NetId, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn end_output(&mut self, _: NetId) -> io::Result<()> {
        Ok(())
    }

    fn listen(&mut self, at: SocketAddr, _: &ListenOptions) -> io::Result<NetId> {
        let mut world = self.0.borrow_mut();
        world.made += 1;
        // Whoever is refused has something to read, and so has a listener.
        let (id, answer) = (world.made, Some((world.now, false)));
        world.sockets.insert(id, Attempt { to: at, answer, token: None, told: false });
        Ok(NetId(id))
    }

    fn accept(&mut self, _: NetId) -> io::Result<(NetId, SocketAddr)> {
        let mut world = self.0.borrow_mut();
        let left = world.aborting.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
        world.aborting = left;
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn shed(&mut self, _: NetId) -> Option<SocketAddr> {
        None
    }

    fn adopt(&mut self, _: TcpStream) -> io::Result<NetId> {
        Err(ErrorKind::Unsupported.into())
    }

    fn local_addr(&self, _: NetId) -> io::Result<SocketAddr> {
        Err(ErrorKind::Unsupported.into())
    }

    fn fd(&self, _: NetId) -> Option<BorrowedFd<'_>> {
        None
    }

    fn take(&mut self, _: NetId) -> Option<OwnedFd> {
        None
    }

    fn watch_signal(&mut self, _: Signal) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn next_signal(&mut self) -> Option<Signal> {
        None
    }
}
