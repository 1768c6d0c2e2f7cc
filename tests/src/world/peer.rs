//! The far end of a connection: a script of what it does, and a record of what it saw.

use super::link::Ending;
use core::time::Duration;
use std::collections::VecDeque;
use wharf_core::Instant;

/// One thing a peer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    Await(usize),
    AwaitEnd,
    StopReading,
    ReadAgain,
    Shut,
    Reset,
}

/// What a peer does, in order. Unless told otherwise it reads all the time and ends its side when the host has ended
/// its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    acts: Vec<Act>,
    stubborn: bool,
}

impl Script {
    /// A peer that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends bytes, as fast as the window lets it.
    #[must_use]
    pub fn send(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.then(Act::Send(bytes.into()))
    }

    /// Does nothing for a while.
    #[must_use]
    pub fn wait(self, span: Duration) -> Self {
        self.then(Act::Wait(span))
    }

    /// Waits until it has read `total` bytes since the begin, or for ever.
    #[must_use]
    pub fn until_read(self, total: usize) -> Self {
        self.then(Act::Await(total))
    }

    /// Waits until the host has ended its side.
    #[must_use]
    pub fn until_ended(self) -> Self {
        self.then(Act::AwaitEnd)
    }

    /// Reads no more, so that the window fills.
    #[must_use]
    pub fn stop_reading(self) -> Self {
        self.then(Act::StopReading)
    }

    /// Reads again.
    #[must_use]
    pub fn read_again(self) -> Self {
        self.then(Act::ReadAgain)
    }

    /// Ends its own side and reads on.
    #[must_use]
    pub fn shut(self) -> Self {
        self.then(Act::Shut)
    }

    /// Ends the connection with a reset.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Act::Reset)
    }

    /// Never ends its side by itself, even after the host has.
    #[must_use]
    pub fn stubborn(mut self) -> Self {
        self.stubborn = true;
        self
    }

    fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }
}

/// What a peer has seen.
#[derive(Debug)]
pub struct Peer {
    acts: VecDeque<Act>,
    pub(super) wake_at: Option<Instant>,
    pub(super) stubborn: bool,
    pub(super) reading: bool,
    /// Arrived, not read.
    pub(super) unread: Vec<u8>,
    pub(super) shut: bool,
    received: Vec<u8>,
    arrivals: Vec<(Instant, usize)>,
    ended: Option<(Instant, Ending)>,
}

impl Peer {
    pub(super) fn new(script: Script) -> Self {
        Self {
            acts: script.acts.into(),
            wake_at: Some(Instant::ORIGIN),
            stubborn: script.stubborn,
            reading: true,
            unread: Vec::new(),
            shut: false,
            received: Vec::new(),
            arrivals: Vec::new(),
            ended: None,
        }
    }

    /// All that it has read.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// When it read and how many bytes it had read by then.
    #[must_use]
    pub fn arrivals(&self) -> &[(Instant, usize)] {
        &self.arrivals
    }

    /// When and how the host's side ended, as seen from here.
    #[must_use]
    pub const fn ended(&self) -> Option<(Instant, Ending)> {
        self.ended
    }

    /// Whether the script has been played to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.acts.is_empty()
    }

    pub(super) fn current(&mut self) -> Option<&mut Act> {
        self.acts.front_mut()
    }

    pub(super) fn advance(&mut self) {
        self.acts.pop_front();
    }

    pub(super) fn give_up(&mut self) {
        self.acts.clear();
        self.wake_at = None;
    }

    /// Reads what has arrived. Gives the number of bytes.
    pub(super) fn read(&mut self, now: Instant) -> usize {
        if !self.reading || self.unread.is_empty() {
            return 0;
        }
        let len = self.unread.len();
        self.received.append(&mut self.unread);
        self.arrivals.push((now, self.received.len()));
        len
    }

    pub(super) fn end(&mut self, now: Instant, how: Ending) {
        if self.ended.is_none_or(|(_, seen)| seen == Ending::Fin && how == Ending::Reset) {
            self.ended = Some((now, how));
        }
    }
}
