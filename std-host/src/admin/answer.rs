//! Questions to a running host, on their way to the service that answers them and back.
//!
//! A service may live on another loop, so nothing here waits: who asks hands over an [`Answer`] or a [`Reply`], and whoever
//! holds it last says what came of the question, on whatever thread that is. One that is dropped answers too: that the
//! service is not there any more.

use super::lines;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What came of a verb.
pub type Outcome = Result<Value, Refusal>;

/// Why a verb was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What sort of refusal it is.
    pub kind: Kind,
    /// A sentence for people, with the next step where there is one.
    pub message: String,
}

/// The sorts of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question is wrong in itself: an unknown verb, an unknown name, arguments that make no sense.
    Usage,
    /// The question is well-formed, and the service says no.
    Refused,
    /// The service has ended, or has too much to do.
    Unavailable,
}

impl Kind {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Refusal {
    /// The question is wrong in itself.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into() }
    }

    /// The service says no.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, message: message.into() }
    }

    /// The service is not there.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, message: message.into() }
    }
}

/// Takes the one answer to a question.
pub struct Answer<A> {
    to: Option<Box<dyn FnOnce(Option<A>) + Send>>,
}

impl<A> Answer<A> {
    /// `to` is called once: with the answer, or with none if nobody gives one.
    pub fn new(to: impl FnOnce(Option<A>) + Send + 'static) -> Self {
        Self { to: Some(Box::new(to)) }
    }

    /// Answers.
    pub fn give(mut self, answer: A) {
        if let Some(to) = self.to.take() {
            to(Some(answer));
        }
    }
}

impl<A> Drop for Answer<A> {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            to(None);
        }
    }
}

impl<A> std::fmt::Debug for Answer<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

/// Asks all of `sources` one question. `done` gets their answers in this order, as soon as the last is there, on the thread
/// that gave it.
pub(super) fn gather<A: Send + 'static>(
    sources: &[Arc<dyn Fn(Answer<A>) + Send + Sync>],
    done: impl FnOnce(Vec<Option<A>>) + Send + 'static,
) {
    let answers = std::iter::repeat_with(|| None).take(sources.len()).collect();
    // One is kept back here, so that nobody is the last before all are asked.
    let gathered = Arc::new(Gathered {
        missing: AtomicUsize::new(sources.len() + 1),
        state: Mutex::new(State { answers, done: Some(Box::new(done)) }),
    });
    for (index, source) in sources.iter().enumerate() {
        let gathered = Arc::clone(&gathered);
        source(Answer::new(move |answer| gathered.put(index, answer)));
    }
    gathered.finish_one();
}

type Done<A> = Box<dyn FnOnce(Vec<Option<A>>) + Send>;

struct Gathered<A> {
    missing: AtomicUsize,
    state: Mutex<State<A>>,
}

struct State<A> {
    answers: Vec<Option<A>>,
    done: Option<Done<A>>,
}

impl<A> Gathered<A> {
    fn put(&self, index: usize, answer: Option<A>) {
        // A panic under this lock leaves the list whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).answers[index] = answer;
        self.finish_one();
    }

    fn finish_one(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let (answers, done) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut state.answers), state.done.take())
        };
        if let Some(done) = done {
            done(answers);
        }
    }
}

/// One request that a client made of a service.
#[derive(Debug)]
pub struct Call {
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// Where the reply goes.
    pub reply: Reply,
}

/// Takes what a client is told: any number of events, then one outcome.
#[derive(Debug)]
pub struct Reply {
    link: Arc<Link>,
    answered: bool,
}

/// The most events of one request that are on their way to the client's loop.
const EVENTS_ON_THE_WAY: usize = 256;

/// What a [`Reply`] and the connection of its client share.
pub(super) struct Link {
    /// The id that the client gave the request.
    id: Value,
    /// The client is there.
    wanted: AtomicBool,
    /// Events that are on their way.
    on_the_way: AtomicUsize,
    /// Events that were lost since the last one that was not.
    missed: AtomicU64,
    post: Post,
    /// What is called when the client has gone.
    gone: Mutex<Option<Gone>>,
}

type Post = Box<dyn Fn(Vec<u8>, Part) -> bool + Send + Sync>;
type Gone = Box<dyn FnOnce() + Send>;

/// What a line is to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// One of any number; tells of so many events that were lost before.
    Event { missed: u64 },
    /// The last.
    Outcome,
}

impl Link {
    /// `post` brings a line to the loop of the client; false if there is no way or, for an event, no room.
    pub(super) fn new(id: Value, post: impl Fn(Vec<u8>, Part) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            id,
            wanted: AtomicBool::new(true),
            on_the_way: AtomicUsize::new(0),
            missed: AtomicU64::new(0),
            post: Box::new(post),
            gone: Mutex::new(None),
        })
    }

    /// The client has gone, or at least wants no more events.
    pub(super) fn cut(&self) {
        self.wanted.store(false, Ordering::Release);
        if let Some(gone) = self.take_gone() {
            gone();
        }
    }

    /// Whether somebody sends events until the client goes.
    pub(super) fn is_stream(&self) -> bool {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// An event is not on its way any more. So many were lost: it and those of which it tells, or none.
    pub(super) fn arrived(&self, lost: u64) {
        self.on_the_way.fetch_sub(1, Ordering::AcqRel);
        self.missed.fetch_add(lost, Ordering::AcqRel);
    }

    fn take_gone(&self) -> Option<Gone> {
        // A panic under this lock leaves it whole.
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("id", &self.id).field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) const fn new(link: Arc<Link>) -> Self {
        Self { link, answered: false }
    }

    /// Whether the client is still there.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.link.wanted.load(Ordering::Acquire)
    }

    /// Has `gone` called, on the thread of the client's loop, when the client goes before the outcome is sent; at once if
    /// it has gone already. A client that has ended its own side counts as gone: it waits for outcomes alone.
    pub fn on_gone(&self, gone: impl FnOnce() + Send + 'static) {
        *self.link.gone.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(gone));
        if !self.is_wanted() {
            self.link.cut();
        }
    }

    /// Tells the client something on the way to the outcome. False if it is lost, because the client reads too slowly or
    /// has gone. The next event that is not lost says how many were.
    pub fn event(&self, event: &Value) -> bool {
        let link = &self.link;
        if !self.is_wanted() {
            return false;
        }
        if link.on_the_way.fetch_add(1, Ordering::AcqRel) < EVENTS_ON_THE_WAY {
            let missed = link.missed.swap(0, Ordering::AcqRel);
            if (link.post)(lines::event(&link.id, event, missed), Part::Event { missed }) {
                return true;
            }
            link.missed.fetch_add(missed, Ordering::AcqRel);
        }
        link.arrived(1);
        false
    }

    /// Counts events that were lost before they came here; the next one says so.
    pub fn miss(&self, events: u64) {
        self.link.missed.fetch_add(events, Ordering::AcqRel);
    }

    /// Answers.
    pub fn send(mut self, outcome: &Outcome) {
        self.put(outcome);
    }

    /// Answers what somebody else is asked.
    #[must_use]
    pub fn expect<A: Send + 'static>(self, then: impl FnOnce(A) -> Outcome + Send + 'static) -> Answer<A> {
        Answer::new(move |answer| self.send(&answer.map_or_else(|| Err(not_there()), then)))
    }

    fn put(&mut self, outcome: &Outcome) {
        self.answered = true;
        let link = &self.link;
        // A loop that has ended has no clients.
        let _ = (link.post)(lines::outcome(&link.id, outcome), Part::Outcome);
        drop(link.take_gone());
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.answered {
            self.put(&Err(not_there()));
        }
    }
}

fn not_there() -> Refusal {
    Refusal::unavailable("the service has ended or has too much to do")
}
