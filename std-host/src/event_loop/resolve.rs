//! Names: who waits for the addresses of one, and how they are told.

use super::address::split_name;
use super::state::Core;
use super::{Error, LoopMut};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use wharf_core::slots::SlotId;

type Callback<T> = Box<dyn FnOnce(&mut LoopMut<'_, T>, Result<Vec<SocketAddr>, Error>)>;

/// The queries of a loop.
pub(super) struct Names<T: 'static> {
    waiting: BTreeMap<u64, Waiting<T>>,
    /// Literals, which need no query.
    literals: Vec<(SocketAddr, Callback<T>)>,
    next: u64,
}

/// Whom an answer is for.
enum Waiting<T: 'static> {
    Socket(SlotId),
    User(String, Callback<T>),
}

impl<T> Names<T> {
    pub(super) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), literals: Vec::new(), next: 0 }
    }

    /// Whether there is an answer that no event will announce.
    pub(super) const fn is_busy(&self) -> bool {
        !self.literals.is_empty()
    }
}

impl<T> LoopMut<'_, T> {
    /// Looks up `name`, a `host:port`, and calls `f` with its addresses, best first: at least one. An IP address is its
    /// own answer, which comes in the next iteration at the latest. The wait keeps the loop alive; at the loop's end
    /// `f` gets [`Error::Ended`].
    ///
    /// # Errors
    /// [`Error::Full`] if 256 names wait for a thread, [`Error::Resolve`] for what is no `host:port` and with what the
    /// system says, [`Error::Ended`].
    pub fn resolve(
        &mut self,
        name: &str,
        f: impl FnOnce(&mut LoopMut<'_, T>, Result<Vec<SocketAddr>, Error>) + 'static,
    ) -> Result<(), Error> {
        self.core.refuse_if_ended()?;
        if let Ok(addr) = name.parse() {
            self.core.names.literals.push((addr, Box::new(f)));
        } else {
            self.core.query(name, Waiting::User(name.to_owned(), Box::new(f)))?;
        }
        self.core.alive += 1;
        Ok(())
    }
}

impl<T> Core<T> {
    /// Looks a name up for a socket and returns the number of the query.
    pub(super) fn resolve_for(&mut self, socket: SlotId, name: &str) -> Result<u64, Error> {
        self.query(name, Waiting::Socket(socket))
    }

    /// The answer to a query is not wanted any more.
    pub(super) fn forget_query(&mut self, query: u64) {
        if self.names.waiting.remove(&query).is_some() {
            self.net.forget(query);
        }
    }

    fn query(&mut self, name: &str, waiting: Waiting<T>) -> Result<u64, Error> {
        let (host, port) = split_name(name)?;
        let query = self.names.next;
        self.net.resolve(query, host, port).map_err(|source| {
            let full = source.kind() == io::ErrorKind::QuotaExceeded;
            if full { Error::Full } else { Error::resolve(name, source) }
        })?;
        self.names.next += 1;
        self.names.waiting.insert(query, waiting);
        Ok(query)
    }

    /// Tells what has been resolved.
    pub(super) fn run_names(&mut self) {
        if self.names.next == 0 && self.names.literals.is_empty() {
            // Nobody has ever asked.
            return;
        }
        for (addr, f) in std::mem::take(&mut self.names.literals) {
            self.answer(f, Ok(vec![addr]));
        }
        // What a callback asks for waits for the next iteration, so that none can keep the loop here. An answer that
        // nobody waits for goes, and calls nobody back.
        let mut left = self.names.waiting.len();
        while (left > 0 || self.names.waiting.is_empty())
            && let Some(answer) = self.net.next_resolved()
        {
            let Some(waiting) = self.names.waiting.remove(&answer.query) else { continue };
            left -= 1;
            match waiting {
                Waiting::Socket(id) => self.resolved(id, answer.outcome),
                Waiting::User(name, f) => {
                    let outcome = answer.outcome.and_then(not_empty);
                    self.answer(f, outcome.map_err(|source| Error::resolve(name, source)));
                }
            }
        }
    }

    /// A callback has panicked: nobody is told.
    pub(super) fn abandon_names(&mut self) {
        for query in std::mem::take(&mut self.names.waiting).into_keys() {
            self.net.forget(query);
        }
    }

    /// The loop ends. Sockets hear of it otherwise.
    pub(super) fn end_names(&mut self) {
        let names = std::mem::replace(&mut self.names, Names::new());
        for (_, f) in names.literals {
            self.answer(f, Err(Error::Ended));
        }
        for (query, waiting) in names.waiting {
            self.net.forget(query);
            if let Waiting::User(_, f) = waiting {
                self.answer(f, Err(Error::Ended));
            }
        }
    }

    fn answer(&mut self, f: Callback<T>, outcome: Result<Vec<SocketAddr>, Error>) {
        self.alive -= 1;
        f(&mut LoopMut { core: self }, outcome);
        self.after_callback("resolved");
    }
}

/// A name without an address is as good as none.
pub(super) fn not_empty(addrs: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    if addrs.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")) } else { Ok(addrs) }
}
