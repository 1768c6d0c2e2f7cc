//! Who can be asked what: the services of a host, under the names of their entries.
//!
//! A service registers verbs, a source of its status and a source of its metrics; nothing here knows what they mean. What
//! it registers is called on the thread of the first loop, must not block, and answers whenever it can: usually it sends
//! the question to its own loop by [`Handle::defer`](crate::event_loop::Handle::defer) and answers from there.

use super::answer::{Answer, Call, Refusal, Reply, gather};
use super::exposition::Exposition;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Verb = Arc<dyn Fn(Call) + Send + Sync>;
type Source<A> = Arc<dyn Fn(Answer<A>) + Send + Sync>;

/// The services of a host. Shared by all its loops.
#[derive(Default)]
pub struct Registry {
    entries: Mutex<Vec<Entry>>,
}

struct Entry {
    system: &'static str,
    name: String,
    verbs: Vec<(&'static str, Verb)>,
    status: Option<Source<Map<String, Value>>>,
    metrics: Option<Source<Exposition>>,
}

/// One entry, while it is registered.
#[derive(Debug)]
pub struct Registration<'a> {
    registry: &'a Registry,
    index: usize,
}

/// What can be asked of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The system that it belongs to.
    pub system: &'static str,
    /// Its name.
    pub name: String,
    /// Its verbs, each `SYSTEM.VERB`.
    pub verbs: Vec<String>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("entries", &self.list()).finish()
    }
}

impl Registry {
    /// An entry of the plant, such as `modbus` and the name of a server: a new one, unless it is there already. Entries stand
    /// in the order in which they were first asked for.
    pub fn entry(&self, system: &'static str, name: &str) -> Registration<'_> {
        let mut entries = self.entries();
        let known = entries.iter().position(|entry| (entry.system, entry.name.as_str()) == (system, name));
        let index = known.unwrap_or_else(|| {
            entries.push(Entry { system, name: name.to_owned(), verbs: Vec::new(), status: None, metrics: None });
            entries.len() - 1
        });
        Registration { registry: self, index }
    }

    /// What can be asked, of whom.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let verbs = |entry: &Entry| entry.verbs.iter().map(|(verb, _)| format!("{}.{verb}", entry.system)).collect();
        let entries = self.entries();
        entries
            .iter()
            .map(|entry| Listed { system: entry.system, name: entry.name.clone(), verbs: verbs(entry) })
            .collect()
    }

    /// Has an entry carry out a verb: the named one, or the only one that has it.
    pub(super) fn call(&self, verb: &str, name: Option<&str>, arguments: Map<String, Value>, reply: Reply) {
        match self.find(verb, name) {
            // Called without the lock: the service may ask the registry.
            Ok(act) => act(Call { arguments, reply }),
            Err(refusal) => reply.send(&Err(refusal)),
        }
    }

    fn find(&self, asked: &str, name: Option<&str>) -> Result<Verb, Refusal> {
        let entries = self.entries();
        let matching = |entry: &Entry| {
            let verb = asked.strip_prefix(entry.system)?.strip_prefix('.')?;
            entry.verbs.iter().find(|(known, _)| *known == verb).map(|(_, act)| Arc::clone(act))
        };
        let able: Vec<_> = entries.iter().filter_map(|entry| Some((entry.name.as_str(), matching(entry)?))).collect();
        let names = || able.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match (able.as_slice(), name) {
            ([], _) => Err(Refusal::usage(format!("there is no verb {asked:?} here: `verbs` lists those that are"))),
            ([(_, act)], None) => Ok(Arc::clone(act)),
            (_, None) => Err(Refusal::usage(format!("there are several, name one of them: {}", names()))),
            (_, Some(name)) => {
                let named = able.iter().find(|(known, _)| *known == name);
                let unknown = || Refusal::usage(format!("there is no {name:?} here: {}", names()));
                named.map(|(_, act)| Arc::clone(act)).ok_or_else(unknown)
            }
        }
    }

    /// The status of every entry that has one, in their order: its system, its name, and what it
    /// tells of itself.
    pub(super) fn status(&self, done: impl FnOnce(Vec<Value>) + Send + 'static) {
        let (names, sources): (Vec<_>, Vec<_>) = {
            let entries = self.entries();
            let named = |entry: &Entry| Some(((entry.system, entry.name.clone()), entry.status.clone()?));
            entries.iter().filter_map(named).unzip()
        };
        gather(&sources, move |answers| {
            let entry = |((system, name), told): ((&str, String), Option<Map<String, Value>>)| {
                let mut entry = Map::new();
                entry.insert("system".to_owned(), system.into());
                entry.insert("name".to_owned(), name.into());
                entry.extend(told.unwrap_or_else(|| Map::from_iter([("ended".to_owned(), true.into())])));
                Value::Object(entry)
            };
            done(names.into_iter().zip(answers).map(entry).collect());
        });
    }

    /// The metrics of everybody.
    pub(super) fn metrics(&self, done: impl FnOnce(Exposition) + Send + 'static) {
        let sources: Vec<_> = self.entries().iter().filter_map(|entry| entry.metrics.clone()).collect();
        gather(&sources, |answers| {
            let mut all = Exposition::default();
            answers.into_iter().flatten().for_each(|one| all.merge(one));
            done(all);
        });
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // A panic under this lock leaves the list whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration<'_> {
    /// Adds a verb; clients ask for it as `SYSTEM.VERB`.
    pub fn verb(self, verb: &'static str, act: impl Fn(Call) + Send + Sync + 'static) -> Self {
        self.with(|entry| entry.verbs.push((verb, Arc::new(act))))
    }

    /// Says who tells the status of the entry, whose system and name are known.
    pub fn status(self, tell: impl Fn(Answer<Map<String, Value>>) + Send + Sync + 'static) -> Self {
        self.with(|entry| entry.status = Some(Arc::new(tell)))
    }

    /// Says who tells the metrics of the entry.
    pub fn metrics(self, tell: impl Fn(Answer<Exposition>) + Send + Sync + 'static) -> Self {
        self.with(|entry| entry.metrics = Some(Arc::new(tell)))
    }

    fn with(self, change: impl FnOnce(&mut Entry)) -> Self {
        change(&mut self.registry.entries()[self.index]);
        self
    }
}
