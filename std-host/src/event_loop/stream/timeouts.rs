//! Timeouts of sockets, on the same wheel as all timers.

use super::{Phase, Stream, StreamState};
use crate::event_loop::net::Net;
use crate::event_loop::state::Core;
use crate::event_loop::timers::{Action, TimerId};
use crate::event_loop::{Error, SocketId};
use std::time::Duration;
use wharf_core::Instant;
use wharf_core::slots::SlotId;

/// What counts as life in [`Stream::set_idle_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Bytes that arrive.
    Rx,
    /// Bytes that arrive, and bytes that the system takes for sending.
    Any,
}

/// The longest short timeout, in seconds.
const MAX_SECONDS: u32 = 4_294_967;
/// The longest long timeout, in minutes.
const MAX_MINUTES: u32 = 71_582;
/// The time of traffic is read by a glance at the clock; what that may lag behind.
const CLOCK_LAG: Duration = Duration::from_millis(1);

/// Which of a socket's two timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_loop) enum Which {
    Short,
    Long,
}

/// The timeouts of one socket, made when the first is set.
#[derive(Default)]
pub(super) struct Timeouts {
    short: Option<TimerId>,
    long: Option<TimerId>,
    /// Makes the short one an idle timeout.
    idle: Option<Idle>,
}

struct Idle {
    span: Duration,
    traffic: Traffic,
    /// The last traffic.
    last: Instant,
}

impl<T> Stream<'_, T> {
    /// Has `timeout` called once, `seconds` from now; 0 is off. Setting it again replaces it, and an idle timeout too.
    /// Never early, and at most a second late.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above 4 294 967 s, [`Error::NotOpen`], [`Error::Closed`] also after `finish`.
    pub fn set_timeout(&mut self, seconds: u32) -> Result<(), Error> {
        self.set_short(seconds, None)
    }

    /// [`Stream::set_timeout`] that begins anew with every traffic.
    ///
    /// # Errors
    /// As for [`Stream::set_timeout`].
    pub fn set_idle_timeout(&mut self, seconds: u32, traffic: Traffic) -> Result<(), Error> {
        self.set_short(seconds, Some(traffic))
    }

    /// Has `long_timeout` called once, `minutes` from now; 0 is off. Independent of [`Stream::set_timeout`].
    ///
    /// # Errors
    /// [`Error::OutOfRange`] above 71 582 min, else as for [`Stream::set_timeout`].
    pub fn set_long_timeout(&mut self, minutes: u32) -> Result<(), Error> {
        in_range(minutes, MAX_MINUTES)?;
        self.can_time_out()?;
        let id = self.id().0;
        self.core().set_socket_timeout(id, Which::Long, Duration::from_secs(u64::from(minutes) * 60), None);
        Ok(())
    }

    fn set_short(&mut self, seconds: u32, traffic: Option<Traffic>) -> Result<(), Error> {
        in_range(seconds, MAX_SECONDS)?;
        self.can_time_out()?;
        let id = self.id().0;
        self.core().set_socket_timeout(id, Which::Short, Duration::from_secs(seconds.into()), traffic);
        Ok(())
    }

    fn can_time_out(&self) -> Result<(), Error> {
        self.opened()?;
        if self.state().phase == Phase::Finishing { Err(Error::Closed) } else { Ok(()) }
    }
}

fn in_range(asked: u32, max: u32) -> Result<(), Error> {
    if asked > max { Err(Error::OutOfRange { asked: asked.into(), max: max.into() }) } else { Ok(()) }
}

impl StreamState {
    /// Bytes have arrived, at this moment.
    pub(super) fn note_received(&mut self, net: &mut dyn Net) {
        if let Some(timeouts) = &mut self.timeouts
            && let Some(idle) = &mut timeouts.idle
        {
            idle.last = net.glance();
        }
    }

    /// Bytes have left, at this moment.
    pub(super) fn note_sent(&mut self, net: &mut dyn Net) {
        if let Some(timeouts) = &mut self.timeouts
            && let Some(Idle { traffic: Traffic::Any, last, .. }) = &mut timeouts.idle
        {
            *last = net.glance();
        }
    }
}

impl<T> Core<T> {
    fn set_socket_timeout(&mut self, id: SlotId, which: Which, span: Duration, traffic: Option<Traffic>) {
        let from = self.net.now();
        let Some(stream) = self.stream_mut(id) else { return };
        if span.is_zero() && stream.timeouts.is_none() {
            return;
        }
        let timeouts = stream.timeouts.get_or_insert_default();
        if which == Which::Short {
            timeouts.idle = traffic.map(|traffic| Idle { span, traffic, last: from });
        }
        let timer = timeouts.timer(which);
        match (*timer, span.is_zero()) {
            (None, true) => {}
            (Some(TimerId(timer)), true) => {
                self.timers.disarm(timer);
            }
            (Some(TimerId(timer)), false) => {
                self.timers.arm(timer, self.now, from.saturating_add(span), None);
            }
            (None, false) => {
                let added = self.timers.add(Action::Timeout(id, which), true);
                self.timers.arm(added, self.now, from.saturating_add(span), None);
                if let Some(timeouts) = self.stream_mut(id).and_then(|stream| stream.timeouts.as_mut()) {
                    *timeouts.timer(which) = Some(TimerId(added));
                }
            }
        }
    }

    /// A timer of a socket has fired. Traffic since then puts an idle timeout off.
    pub(in crate::event_loop) fn socket_timeout(&mut self, id: SlotId, which: Which) {
        let now = self.now;
        let Some(stream) = self.stream_mut(id).filter(|stream| stream.phase == Phase::Open) else { return };
        let (context, place) = (stream.context, stream.place);
        if let (Which::Short, Some(timeouts)) = (which, &mut stream.timeouts) {
            let due = timeouts.idle.as_ref().map(Idle::due);
            if let (Some(due), Some(TimerId(timer))) = (due.filter(|due| *due > now), timeouts.short) {
                self.timers.arm(timer, now, due, None);
                return;
            }
            timeouts.idle = None;
        }
        let handler = self.context(context);
        match which {
            Which::Short => handler.timeout(self, SocketId(id), place),
            Which::Long => handler.long_timeout(self, SocketId(id), place),
        }
        self.after_callback("timeout");
    }

    /// The socket waits for nothing any more.
    pub(super) fn drop_timeouts(&mut self, id: SlotId) {
        let Some(timeouts) = self.stream_mut(id).and_then(|stream| stream.timeouts.take()) else { return };
        for TimerId(timer) in [timeouts.short, timeouts.long].into_iter().flatten() {
            self.timers.remove(timer);
        }
    }
}

impl Timeouts {
    const fn timer(&mut self, which: Which) -> &mut Option<TimerId> {
        match which {
            Which::Short => &mut self.short,
            Which::Long => &mut self.long,
        }
    }
}

impl Idle {
    fn due(&self) -> Instant {
        self.last.saturating_add(self.span).saturating_add(CLOCK_LAG)
    }
}
