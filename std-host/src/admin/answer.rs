//! Questions to a running host, on their way to the service that answers them and back.
//!
//! A service may live on another loop, so nothing here waits: who asks hands over an [`Answer`] or a [`Reply`], and whoever
//! holds it last says what came of the question, on whatever thread that is. One that is dropped answers too: that the
//! service is not there any more.

use super::lines;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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

/// Takes what a client is told: one outcome, or a stream of events and then the outcome.
#[derive(Debug)]
pub struct Reply {
    link: Arc<Link>,
    answered: bool,
}

/// What a [`Reply`] and the connection of its client share.
pub(super) struct Link {
    /// The id that the client gave the request.
    pub(super) id: Value,
    /// A wake is on its way.
    woken: AtomicBool,
    post: Post,
}

type Post = Box<dyn Fn(Posted) + Send + Sync>;

/// What is brought to the loop of the client.
pub(super) enum Posted {
    /// The last line.
    Outcome(Vec<u8>),
    /// From here on there is a stream.
    Stream(Stream),
    /// The stream has something.
    Wake,
}

/// Where the events of a stream come from. It is asked on the loop of the client, when there is something and the client has
/// room for it, and must not block. It is dropped when the client goes.
pub type Stream = Box<dyn FnMut() -> Next + Send>;

/// What comes next in a stream.
#[derive(Debug)]
pub enum Next {
    /// An event, and how many were lost before it.
    Event {
        /// What the client is told.
        event: Value,
        /// Events that were lost since the last one.
        missed: u64,
    },
    /// Nothing now: [`Reply::waker`] will be called.
    Nothing,
    /// Nothing yet, and there is more to look through.
    Later,
    /// The last one.
    End(Outcome),
}

impl Link {
    /// `post` brings something to the loop of the client; if there is no way, nobody is there to be told.
    pub(super) fn new(id: Value, post: impl Fn(Posted) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { id, woken: AtomicBool::new(false), post: Box::new(post) })
    }

    /// The stream is about to be asked: whoever has something from now on wakes it again.
    pub(super) fn heard(&self) {
        self.woken.store(false, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) const fn new(link: Arc<Link>) -> Self {
        Self { link, answered: false }
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

    /// What to call, on any thread, when [`Reply::stream`] has something after it had nothing. It never blocks, and calls of
    /// one time are merged.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let link = Arc::downgrade(&self.link);
        move || {
            // Without a client there is nobody to wake.
            if let Some(link) = link.upgrade()
                && !link.woken.swap(true, Ordering::SeqCst)
            {
                (link.post)(Posted::Wake);
            }
        }
    }

    /// Answers with a stream. It begins by being asked, whether it has been woken or not.
    pub fn stream(mut self, stream: impl FnMut() -> Next + Send + 'static) {
        self.answered = true;
        (self.link.post)(Posted::Stream(Box::new(stream)));
    }

    fn put(&mut self, outcome: &Outcome) {
        self.answered = true;
        (self.link.post)(Posted::Outcome(lines::outcome(&self.link.id, outcome)));
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
