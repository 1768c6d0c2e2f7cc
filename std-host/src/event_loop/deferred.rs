//! Deferred calls: what a [`Handle`](super::Handle) sends to its loop, and how it is refused.

use super::LoopMut;
use std::fmt;
use std::sync::Arc;

/// A deferred call.
pub(super) enum Call<T: 'static> {
    Boxed(Box<Once<T>>),
    Shared(Arc<Repeatable<T>>),
    Plain(Plain<T>),
}

type Once<T> = dyn FnOnce(&mut LoopMut<'_, T>) + Send;
type Repeatable<T> = dyn Fn(&mut LoopMut<'_, T>) + Send + Sync;
/// A deferred call that is a plain function.
pub type Plain<T> = fn(&mut LoopMut<'_, T>);

impl<T> Call<T> {
    pub(super) fn run(self, lp: &mut LoopMut<'_, T>) {
        match self {
            Self::Boxed(f) => f(lp),
            Self::Shared(f) => f(lp),
            Self::Plain(f) => f(lp),
        }
    }
}

/// Why a deferred call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The loop has ended.
    Ended,
    /// As many calls as `deferred_limit` are waiting.
    Full,
}

/// A deferred call that was refused, given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rejected<F> {
    /// Why it was refused.
    pub why: Why,
    /// What was to be called.
    pub f: F,
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("why", &self.why).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Ended => "the loop has ended",
            Why::Full => "the queue of deferred calls is full",
        })
    }
}

impl<F> std::error::Error for Rejected<F> {}
