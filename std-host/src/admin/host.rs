//! A running host as its admin socket and its HTTP address know it: what is asked of it as a whole.

use super::answer::{Outcome, Refusal, Reply};
use super::exposition::Exposition;
use super::registry::Registry;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

/// A running host. Shared by all its loops.
#[derive(Debug)]
pub struct Host {
    /// The name of the plant: the stem of its file, or what stands for it.
    pub plant: String,
    /// Who can be asked what.
    pub registry: Registry,
    loops: usize,
    since: Instant,
    started: SystemTime,
    ways: OnceLock<Ways>,
}

/// How the host can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// The admin socket, if there is one.
    pub socket: Option<PathBuf>,
    /// The HTTP address, really bound, if it is on.
    pub listen: Option<SocketAddr>,
}

impl Host {
    /// A host that starts now, with so many loops.
    #[must_use]
    pub fn new(plant: impl Into<String>, loops: usize) -> Self {
        let (registry, ways) = (Registry::default(), OnceLock::new());
        Self { plant: plant.into(), registry, loops, since: Instant::now(), started: SystemTime::now(), ways }
    }

    /// How the host can be reached; nowhere before [`open`](super::open).
    #[must_use]
    pub fn ways(&self) -> Ways {
        self.ways.get().cloned().unwrap_or_default()
    }

    pub(super) fn set_ways(&self, ways: Ways) {
        self.ways.get_or_init(|| ways);
    }

    /// Carries out a verb: of the host itself, or of a service.
    pub(super) fn ask(self: &Arc<Self>, verb: &str, name: Option<&str>, arguments: Map<String, Value>, reply: Reply) {
        let own = ["status", "metrics", "verbs"].contains(&verb);
        if own && (name.is_some() || !arguments.is_empty()) {
            return reply.send(&Err(Refusal::usage(format!("`{verb}` takes neither a name nor arguments"))));
        }
        match verb {
            "status" => self.status(move |status| reply.send(&Ok(status))),
            "metrics" => self.metrics(move |text| reply.send(&Ok(text.into()))),
            "verbs" => reply.send(&self.verbs()),
            _ => self.registry.call(verb, name, arguments, reply),
        }
    }

    /// What runs. `done` is called on any thread.
    pub(super) fn status(self: &Arc<Self>, done: impl FnOnce(Value) + Send + 'static) {
        let host = Arc::clone(self);
        self.registry.status(move |entries| {
            let Ways { socket, listen } = host.ways();
            let started = host.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            done(json!({
                "plant": host.plant,
                "version": env!("CARGO_PKG_VERSION"),
                "pid": std::process::id(),
                "started": started.as_secs_f64(),
                "uptime_seconds": host.since.elapsed().as_secs_f64(),
                "loops": host.loops,
                "socket": socket.map(|path| path.display().to_string()),
                "listen": listen.map(|address| address.to_string()),
                "entries": entries,
            }));
        });
    }

    /// The metrics of everybody. `done` is called on any thread.
    pub(super) fn metrics(&self, done: impl FnOnce(String) + Send + 'static) {
        self.registry.metrics(|all: Exposition| done(all.to_string()));
    }

    fn verbs(&self) -> Outcome {
        let listed = self.registry.list().into_iter().filter(|entry| !entry.verbs.is_empty());
        let entry = |entry: super::registry::Listed| json!({ "name": entry.name, "verbs": entry.verbs });
        Ok(json!({ "own": ["status", "metrics", "verbs"], "entries": listed.map(entry).collect::<Vec<_>>() }))
    }
}
