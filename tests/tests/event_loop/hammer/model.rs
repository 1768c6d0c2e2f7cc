//! A naive model of streams: what each has been asked, and therefore may see.
//!
//! It knows nothing of latches, queues or edges. A side goes from loop to loop: each *stay* on a loop has its own
//! `open` and `close`. Every callback is checked when it comes; what can be known only at the end, when both sides of a
//! connection are over, is checked by [`Model::settle`].

use super::{Own, Waits};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{CloseReason, Closed, Detached, Error, SocketId, Traffic};
use wharf_tests::sim_net::Faults;
use wharf_tests::text::{Heard, text};

/// One side of a connection. What it sends begins with this number, by which its peer knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) id: SocketId,
    /// On which loop.
    lp: usize,
    /// It speaks TLS.
    pub(crate) secure: bool,
    /// Bytes that our writes took and that were not given back.
    pub(crate) accepted: u64,
    /// Bytes that left in earlier stays.
    sent: u64,
    /// What it will send in all, if it is polite.
    pub(crate) plan: u64,
    heard: Heard,
    /// Our end was asked for, in this stay or before.
    pub(crate) shut: bool,
    /// The peer's end was told, in this stay or before.
    ended: bool,
    pub(crate) stay: Stay,
    /// Why it was closed.
    over: Option<CloseReason>,
}

/// What is forgotten when a side goes to another loop.
#[derive(Debug)]
pub(crate) struct Stay {
    open: bool,
    /// What was heard before.
    before: u64,
    /// Bytes that may still be delivered.
    pub(crate) limit: u64,
    /// A write came up short, so `writable` is owed.
    short: bool,
    /// Bytes were queued, so `drained` may come.
    queued: bool,
    /// Nothing is delivered any more, and no end told.
    pub(crate) deaf: bool,
    /// Nothing but `close` may come.
    pub(crate) gone: bool,
    ended: bool,
    pub(crate) timeout: Option<Due>,
    pub(crate) long_timeout: Option<Due>,
    /// It was detached, and this is what `close` hands over.
    pub(crate) leaving: Option<Detached>,
}

/// When a timeout may be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    at: Instant,
    span: Duration,
    idle: Option<Traffic>,
}

/// What all handlers together have been told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Those of TLS among the opened.
    pub(crate) secure: u64,
    /// Handshakes that ended in `close`.
    pub(crate) unopened: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) unsent: u64,
    pub(crate) discarded: u64,
}

/// All connections of a world.
#[derive(Debug, Default)]
pub(crate) struct Model {
    sides: BTreeMap<Name, Side>,
    /// Those that began it.
    begun: BTreeSet<Name>,
    last: Name,
    /// Those that may be acted on, by their loop.
    open: BTreeMap<usize, BTreeSet<Name>>,
    /// Connections may break of themselves.
    breaks: bool,
    /// The clock may jump, so that timeouts come late.
    jumps: bool,
    pub(crate) seen: Seen,
    /// What happened, in order.
    pub(crate) trace: Vec<String>,
}

impl Stay {
    fn new(open: bool, before: u64) -> Self {
        Self {
            open,
            before,
            limit: u64::MAX,
            short: false,
            queued: false,
            deaf: false,
            gone: false,
            ended: false,
            timeout: None,
            long_timeout: None,
            leaving: None,
        }
    }

    pub(crate) fn set_timeout(&mut self, now: Instant, seconds: u32, idle: Option<Traffic>) {
        self.timeout = Due::after(now, Duration::from_secs(seconds.into()), idle);
    }

    pub(crate) fn set_long_timeout(&mut self, now: Instant, minutes: u32) {
        self.long_timeout = Due::after(now, Duration::from_secs(u64::from(minutes) * 60), None);
    }
}

impl Due {
    /// Nothing is off.
    fn after(now: Instant, span: Duration, idle: Option<Traffic>) -> Option<Self> {
        (!span.is_zero()).then(|| Self { at: now.saturating_add(span), span, idle })
    }

    /// Never early, and at most a second late, unless something that is `hidden` has put it off.
    fn check(&self, name: Name, now: Instant, hidden: bool) {
        assert!(now >= self.at, "a timeout of {name:?} at {now:?}: {self:?}");
        let latest = self.at.saturating_add(Duration::from_secs(1));
        assert!(hidden || now <= latest, "a timeout of {name:?} at {now:?}: {self:?}");
    }
}

impl Model {
    pub(crate) fn new(faults: &Faults) -> Self {
        Self { breaks: faults.resets > 0, jumps: faults.jumps > 0, ..Self::default() }
    }

    /// A number that no other side has.
    pub(crate) fn name(&mut self) -> Name {
        self.last = Name(self.last.0 + 1);
        self.last
    }

    /// The name of a side that begins a connection.
    pub(crate) fn begin(&mut self) -> Name {
        let name = self.name();
        self.begun.insert(name);
        name
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.len() as u64
    }

    pub(crate) fn begun_and_opened(&self) -> u64 {
        self.begun.iter().filter(|name| self.sides.contains_key(name)).count() as u64
    }

    /// Whether it is the first time.
    pub(crate) fn opened(&mut self, name: Name, id: SocketId, lp: usize, secure: bool) -> bool {
        self.seen.opened += 1;
        self.seen.secure += u64::from(secure);
        self.open.entry(lp).or_default().insert(name);
        if let Some(side) = self.sides.get_mut(&name) {
            assert!(!side.stay.open && side.over.is_none(), "{name:?} opened twice");
            assert!(!side.secure && !secure, "{name:?} of TLS came from another loop");
            (side.id, side.lp, side.stay) = (id, lp, Stay::new(true, side.heard.count));
            return false;
        }
        let side = Side {
            id,
            lp,
            secure,
            accepted: 0,
            sent: 0,
            plan: 0,
            heard: Heard::default(),
            shut: false,
            ended: false,
            stay: Stay::new(true, 0),
            over: None,
        };
        self.sides.insert(name, side);
        true
    }

    /// A side that is open on some loop.
    pub(crate) fn side(&mut self, name: Name) -> &mut Side {
        let side = self.sides.get_mut(&name).expect("`open` comes first");
        assert!(side.stay.open, "{name:?} is on no loop");
        side
    }

    /// A side that is told something other than `close`.
    pub(crate) fn told(&mut self, name: Name) -> &mut Side {
        let side = self.side(name);
        assert!(!side.stay.gone, "{name:?} was told something after it was closed");
        side
    }

    pub(crate) fn data(&mut self, name: Name, bytes: &[u8], now: Instant) {
        let side = self.told(name);
        let stay = &mut side.stay;
        assert!(!bytes.is_empty(), "{name:?} got an empty piece");
        assert!(!stay.ended, "{name:?} got bytes after the end");
        assert!(!stay.deaf, "{name:?} got bytes that it did not want");
        let count = bytes.len() as u64;
        assert!(count <= stay.limit, "{name:?} got {count} bytes with a limit of {}", stay.limit);
        if stay.limit != u64::MAX {
            stay.limit -= count;
        }
        if let Some(Due { at, span, idle: Some(_) }) = &mut stay.timeout {
            *at = now.saturating_add(*span);
        }
        side.heard.take(name.0, bytes);
    }

    /// Whether a side has heard what it waits for. Where the end comes first there is nothing more.
    pub(crate) fn has_heard(&self, name: Name, waits: Waits) -> bool {
        let side = &self.sides[&name];
        let all = || side.heard.sender().is_some_and(|peer| side.heard.count == self.sides[&Name(peer)].plan);
        match waits {
            Waits::Never => true,
            Waits::ForAll => side.ended || all(),
            Waits::ForEnd => side.ended,
        }
    }

    pub(crate) fn writable(&mut self, name: Name) {
        let side = self.told(name);
        assert!(std::mem::replace(&mut side.stay.short, false), "{name:?} was not promised `writable`");
        assert!(!side.shut, "{name:?} can write no more");
    }

    pub(crate) fn drained(&mut self, name: Name) {
        let side = self.told(name);
        assert!(std::mem::replace(&mut side.stay.queued, false), "{name:?} had nothing in its queue");
    }

    pub(crate) fn ended(&mut self, name: Name) {
        let side = self.told(name);
        assert!(!side.stay.deaf, "{name:?} did not want to hear of an end");
        assert!(!std::mem::replace(&mut side.stay.ended, true), "{name:?} heard of two ends");
        side.ended = true;
    }

    pub(crate) fn timeout(&mut self, name: Name, now: Instant) {
        let jumps = self.jumps;
        let stay = &mut self.told(name).stay;
        let due = stay.timeout.take().expect("a timeout is told when it was set, and once");
        // Bytes that leave, and those that are thrown away, are life too.
        let lives = due.idle.is_some_and(|idle| idle == Traffic::Any || stay.deaf);
        due.check(name, now, jumps || lives);
    }

    pub(crate) fn long_timeout(&mut self, name: Name, now: Instant) {
        let jumps = self.jumps;
        let due = self.told(name).stay.long_timeout.take().expect("a timeout is told when it was set, and once");
        due.check(name, now, jumps);
    }

    /// The end of a handshake that failed. Whose it was is known if it was begun by us.
    pub(crate) fn unopened(&mut self, closed: &Closed<Own>) {
        let shook = matches!(closed.reason, CloseReason::HandshakeFailed(_) | CloseReason::HandshakeTimeout);
        assert!(shook && !self.sides.contains_key(&closed.data.name), "{closed:?}");
        assert_eq!((closed.received, closed.sent, closed.unsent), (0, 0, 0), "{closed:?}");
        self.seen.unopened += 1;
    }

    /// The end of a stay. What was detached goes on.
    pub(crate) fn closed(&mut self, name: Name, closed: Closed<Own>) -> (Option<Detached>, Own) {
        let Closed { reason, unsent, received, sent, data, .. } = closed;
        let seen = &mut self.seen;
        let side = self.sides.get_mut(&name).expect("`open` comes first");
        assert!(side.stay.open, "{name:?} closed twice");
        let delivered = side.heard.count - side.stay.before;
        assert!(delivered == received || side.stay.deaf && delivered < received, "{name:?} got {received} bytes");
        side.heard.count = side.stay.before + received;
        (seen.closed, seen.received) = (seen.closed + 1, seen.received + received);
        (seen.sent, seen.unsent) = (seen.sent + sent, seen.unsent + unsent);
        seen.discarded += received - delivered;
        let detached = side.stay.leaving.take();
        if let Some(Detached { unsent, unread, .. }) = &detached {
            side.accepted -= unsent.len() as u64;
            assert!(*unsent == text(name.0, side.accepted, unsent.len()), "{name:?} was given back other bytes");
            assert!(unread.is_empty(), "{name:?} is a plain stream");
        }
        side.sent += sent;
        assert_eq!(side.accepted, side.sent + unsent, "{name:?} took {} bytes", side.accepted);
        if matches!(reason, CloseReason::Peer) {
            assert!(side.stay.ended || side.stay.deaf, "{name:?} closed by a peer that has not ended");
            assert_eq!(unsent, 0, "{name:?} was closed in order and lost bytes");
        }
        side.stay = Stay::new(false, side.heard.count);
        self.open.entry(side.lp).or_default().remove(&name);
        if detached.is_none() {
            side.over = Some(reason);
        }
        (detached, data)
    }

    /// What a write came to, and what is queued after it.
    pub(crate) fn wrote(&mut self, name: Name, offered: u64, outcome: Result<usize, Error>, queued: usize) {
        let side = self.side(name);
        side.stay.queued |= queued > 0;
        match outcome {
            Ok(taken) => {
                assert!(!side.stay.gone && !side.shut, "{name:?} can write no more");
                side.accepted += taken as u64;
                side.stay.short |= (taken as u64) < offered;
            }
            Err(Error::ShutDown) => assert!(side.shut, "{name:?} was not shut down"),
            // Also when sending has failed, of which `close` will tell.
            Err(Error::Closed) => {}
            Err(error) => panic!("{name:?} cannot write: {error}"),
        }
    }

    /// Sides of a loop that may be acted on.
    pub(crate) fn open_on(&self, lp: usize) -> Vec<Name> {
        self.open.get(&lp).into_iter().flatten().copied().collect()
    }

    /// Who has not been closed, and the last that happened.
    pub(crate) fn unsettled(&self) -> (Vec<(Name, &Side)>, &[String]) {
        let open = self.sides.iter().filter(|(_, side)| side.over.is_none()).map(|(name, side)| (*name, side));
        (open.collect(), &self.trace[self.trace.len().saturating_sub(10)..])
    }

    /// All is over: what each side says of itself has to fit what the other says.
    pub(crate) fn settle(&self) {
        let heard_by: BTreeMap<Name, Name> =
            self.sides.iter().filter_map(|(name, side)| Some((Name(side.heard.sender()?), *name))).collect();
        for (name, side) in &self.sides {
            let over = side.over.as_ref().unwrap_or_else(|| panic!("{name:?} was never closed: {side:?}"));
            // The loop knows how to tell what a peer can do.
            assert!(!matches!(over, CloseReason::Failed(_)), "{name:?}: {over:?}");
            let truncated = matches!(over, CloseReason::Truncated);
            assert!(side.secure || !truncated, "{name:?} of no TLS misses its end");
            let Some((peer, other)) = self.peer(*name, &heard_by) else {
                // A client that was never accepted, a server whose client was reset before it had heard that it was
                // connected, or two that have not heard enough of each other to tell.
                assert!(side.heard.sender().is_none(), "{name:?} heard of nobody");
                continue;
            };
            assert!(peer.0.to_be_bytes().starts_with(&side.heard.header), "{name:?} has a strange peer");
            let reason = other.over.as_ref().expect("every side is over, or the loop above would have said so");
            assert_eq!(side.secure, other.secure, "{name:?} and {peer:?} speak of different things");
            // What is encrypted together counts as sent when all of it has left.
            let most = if other.secure { other.accepted } else { other.sent };
            assert!(side.heard.count <= most, "{name:?} got more than was sent");
            let orderly = |reason: &CloseReason| matches!(reason, CloseReason::Peer);
            if side.ended && side.secure {
                let told = other.shut || matches!(reason, CloseReason::Local { .. });
                assert!(told, "{name:?} was told an end that {peer:?} has not told");
                assert_eq!(side.heard.count, other.accepted, "{name:?} was told the end too early");
            }
            if truncated && !self.breaks {
                let broken_off = matches!(reason, CloseReason::Local { .. } | CloseReason::Aborted);
                assert!(broken_off, "{name:?} misses an end, of {peer:?} who was closed for {reason:?}");
            }
            if side.ended || orderly(over) && orderly(reason) {
                assert_eq!(side.heard.count, other.sent, "{name:?} was told the end too early");
            }
            if orderly(reason) && !self.breaks {
                assert!(!matches!(over, CloseReason::PeerReset), "{name:?} was reset by an orderly end");
            }
        }
    }

    /// Besides, everybody was heard to the end.
    pub(crate) fn settle_whole(&self) {
        self.settle();
        let heard_by: BTreeMap<Name, Name> =
            self.sides.iter().filter_map(|(name, side)| Some((Name(side.heard.sender()?), *name))).collect();
        for (name, side) in &self.sides {
            assert!(matches!(side.over, Some(CloseReason::Peer)), "{name:?}: {:?}", side.over);
            let (_, peer) = self.peer(*name, &heard_by).unwrap_or_else(|| panic!("nobody knows {name:?}"));
            assert_eq!(side.heard.count, peer.accepted, "{name:?}");
        }
    }

    /// The other side, if one of both has heard the other's name.
    fn peer(&self, name: Name, heard_by: &BTreeMap<Name, Name>) -> Option<(Name, &Side)> {
        let heard = self.sides[&name].heard.sender().map(Name);
        let listener = heard_by.get(&name).copied();
        if let (Some(heard), Some(listener)) = (heard, listener) {
            assert_eq!(heard, listener, "{name:?} is heard by another than it hears");
        }
        let peer = heard.or(listener)?;
        Some((peer, self.sides.get(&peer).unwrap_or_else(|| panic!("{name:?} heard of {peer:?}, who never was"))))
    }
}
