//! What the loops, the raw clients and the test share.

use crate::provider::client_builder;
use crate::side::Report;
use crate::subject::Subject;
use rcgen::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use wharf_host::event_loop::{ContextKey, Handle, ListenerId, Pem, TimerId, TlsBuilder, TlsClientConfig, TlsConfig};
use wharf_tests::rng::Rng;

/// Sides that exist at one time, at most: what is begun beyond waits.
const CROWD: u64 = 160;

pub(crate) struct World {
    wanted: u64,
    /// Not in all worlds.
    pub(crate) tls: Option<Tls>,
    counts: Mutex<Counts>,
    changed: Condvar,
    numbers: AtomicU64,
    /// Grows with whatever happens to any side.
    pub(crate) progress: AtomicU64,
    pub(crate) handles: OnceLock<Vec<Handle<Here>>>,
    pub(crate) places: Mutex<Vec<Place>>,
    pub(crate) reports: Mutex<Vec<Report>>,
    pub(crate) seen: Mutex<Seen>,
}

/// What the handlers have been told, in sum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Closed before it opened: by a handshake that failed.
    pub(crate) unopened: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
    pub(crate) discarded: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    begun: u64,
    /// Tickets that exist.
    busy: u64,
    /// A side was dropped by a panic.
    failed: bool,
}

/// What servers of `localhost` and their clients need.
pub(crate) struct Tls {
    pub(crate) server: TlsConfig,
    pub(crate) client: TlsClientConfig,
    pub(crate) raw: Arc<ClientConfig>,
}

impl Tls {
    pub(crate) fn new() -> Self {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = || Pem::bytes(cert.pem());
        let server = TlsBuilder::new().certificate(pem()).key(Pem::bytes(signing_key.serialize_pem()));
        let client = TlsBuilder::new().ca(pem()).client();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let raw = client_builder(rustls::ALL_VERSIONS).with_root_certificates(roots).with_no_client_auth();
        Self {
            server: server.server().unwrap(),
            client: client.unwrap().expecting("localhost").unwrap(),
            raw: Arc::new(raw),
        }
    }
}

/// What belongs to one loop: its value.
pub(crate) struct Here {
    pub(crate) world: Arc<World>,
    pub(crate) rng: Rng,
    /// By [`Manner::index`].
    pub(crate) keys: Vec<ContextKey<Subject>>,
    pub(crate) listeners: Vec<ListenerId>,
    pub(crate) nudger: Option<TimerId>,
}

/// How the sockets of a context behave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// They end anything at any time.
    pub(crate) rough: bool,
    /// They read by hand.
    pub(crate) manual: bool,
}

impl Manner {
    pub(crate) const ALL: [Self; 4] = [
        Self { rough: false, manual: false },
        Self { rough: false, manual: true },
        Self { rough: true, manual: false },
        Self { rough: true, manual: true },
    ];

    fn index(self) -> usize {
        usize::from(self.rough) * 2 + usize::from(self.manual)
    }
}

impl Here {
    pub(crate) fn key(&self, manner: Manner) -> ContextKey<Subject> {
        self.keys[manner.index()]
    }
}

/// Where one loop listens for one kind of client.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) rough: bool,
    pub(crate) at: At,
}

#[derive(Clone, Debug)]
pub(crate) enum At {
    Tcp(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

/// Held as long as a side lives, wherever it is.
pub(crate) struct Ticket(Arc<World>);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = lock(&self.0.counts);
        counts.busy -= 1;
        counts.failed |= std::thread::panicking();
        self.0.changed.notify_all();
    }
}

/// What a wait came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Over,
    Failed,
    Stuck,
}

impl World {
    pub(crate) fn new(wanted: u64, tls: Option<Tls>) -> Self {
        Self {
            wanted,
            tls,
            counts: Mutex::default(),
            changed: Condvar::new(),
            numbers: AtomicU64::new(1),
            progress: AtomicU64::new(0),
            handles: OnceLock::new(),
            places: Mutex::default(),
            reports: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// A number that no other side has; never 0.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Allows one more connection to begin, unless all have or there are many.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Ticket> {
        let mut counts = lock(&self.counts);
        if counts.begun == self.wanted || counts.busy >= CROWD {
            return None;
        }
        (counts.begun, counts.busy) = (counts.begun + 1, counts.busy + 1);
        Some(Ticket(Arc::clone(self)))
    }

    /// For a side that did not begin.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        lock(&self.counts).busy += 1;
        Ticket(Arc::clone(self))
    }

    pub(crate) fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn report(&self, report: Report) {
        lock(&self.reports).push(report);
    }

    /// Waits until all connections have begun and no side is left, as long as anything happens in `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Waited {
        let mut before = self.progress.load(Ordering::Relaxed);
        loop {
            let over = |counts: &Counts| counts.failed || (counts.begun == self.wanted && counts.busy == 0);
            let counts = lock(&self.counts);
            let outcome = self.changed.wait_timeout_while(counts, patience, |counts| !over(counts));
            let counts = *outcome.unwrap_or_else(PoisonError::into_inner).0;
            let now = self.progress.load(Ordering::Relaxed);
            if counts.failed {
                return Waited::Failed;
            } else if over(&counts) {
                return Waited::Over;
            } else if std::mem::replace(&mut before, now) == now {
                return Waited::Stuck;
            }
        }
    }
}

/// A panic elsewhere is reported there.
pub(crate) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
