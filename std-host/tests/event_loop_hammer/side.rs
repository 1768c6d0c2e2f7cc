//! One side of a connection: what it has been asked, and therefore may see.
//!
//! A side is the data of a socket, and goes with it from loop to loop: each *stay* on a loop has its own `open` and
//! `close`. Every callback is checked when it comes; what can be known only when both sides are over is checked by
//! [`settle`].

use crate::world::{Seen, Ticket};
use std::collections::BTreeMap;
use wharf_core::Instant;
use wharf_host::event_loop::{CloseReason, Closed, Detached, Error};
use wharf_tests::text::{Heard, text};

#[derive(Debug, Default)]
pub(crate) struct Side {
    /// 0 before it has opened.
    pub(crate) number: u64,
    pub(crate) rough: bool,
    pub(crate) ticket: Option<Ticket>,
    /// Bytes that a polite side sends in all.
    pub(crate) plan: u64,
    /// It sends nothing before its timeout.
    pub(crate) sleeps: bool,
    /// What a rough side may still do before it has to end.
    pub(crate) acts: u64,
    /// Bytes that our writes took and that were not given back.
    pub(crate) accepted: u64,
    /// Bytes that left in earlier stays.
    sent: u64,
    /// It speaks TLS.
    pub(crate) secure: bool,
    pub(crate) heard: Heard,
    /// Our end was asked for, in this stay or before.
    pub(crate) shut: bool,
    /// The peer's end was told, in this stay or before.
    pub(crate) ended: bool,
    pub(crate) stay: Stay,
}

/// What is forgotten when a side goes to another loop.
#[derive(Debug, Default)]
pub(crate) struct Stay {
    pub(crate) open: bool,
    /// What was heard before.
    before: u64,
    /// Bytes that may still be delivered, if that is limited.
    pub(crate) limit: Option<u64>,
    /// A write came up short, so `writable` is owed.
    short: bool,
    /// Bytes were queued, so `drained` may come.
    pub(crate) queued: bool,
    /// Nothing is delivered any more, and no end told.
    pub(crate) deaf: bool,
    /// Nothing but `close` may come.
    pub(crate) gone: bool,
    ended: bool,
    /// When the timeouts may be told.
    pub(crate) timeout: Option<Instant>,
    pub(crate) long_timeout: Option<Instant>,
    pub(crate) leaving: Option<Detached>,
}

/// A side that is over.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) number: u64,
    pub(crate) rough: bool,
    pub(crate) heard: Heard,
    /// Bytes that the system took.
    pub(crate) sent: u64,
    /// The most that may have left: with TLS what is encrypted together counts as sent when all of it has left.
    pub(crate) most: u64,
    pub(crate) secure: bool,
    /// It has told its own end, or may have.
    pub(crate) shut: bool,
    /// It was told its peer's end.
    pub(crate) ended: bool,
    /// It was neither broken nor broken off.
    pub(crate) orderly: bool,
}

impl Side {
    pub(crate) fn begun(ticket: Ticket) -> Self {
        Self { ticket: Some(ticket), ..Self::default() }
    }

    pub(crate) fn opened(&mut self) {
        assert!(!self.stay.open, "{self:?} opened twice");
        self.stay = Stay { open: true, before: self.heard.count, ..Stay::default() };
    }

    /// Something other than `close` is told.
    pub(crate) fn told(&mut self) -> &mut Self {
        assert!(self.stay.open, "{self:?} was told something before `open`");
        assert!(!self.stay.gone, "{self:?} was told something after it was closed");
        self
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        let stay = &mut self.told().stay;
        assert!(!bytes.is_empty() && !stay.ended && !stay.deaf, "{} bytes for {stay:?}", bytes.len());
        if let Some(limit) = &mut stay.limit {
            *limit = limit.checked_sub(bytes.len() as u64).expect("no more is delivered than the limit allows");
        }
        self.heard.take(self.number, bytes);
    }

    pub(crate) fn writable(&mut self) {
        let side = self.told();
        assert!(std::mem::replace(&mut side.stay.short, false), "{side:?} was not promised `writable`");
        assert!(!side.shut, "{side:?} can write no more");
    }

    pub(crate) fn drained(&mut self) {
        let side = self.told();
        assert!(std::mem::replace(&mut side.stay.queued, false), "{side:?} had nothing in its queue");
    }

    pub(crate) fn end(&mut self) {
        let side = self.told();
        assert!(!side.stay.deaf, "{side:?} did not want to hear of an end");
        assert!(!std::mem::replace(&mut side.stay.ended, true), "{side:?} heard of two ends");
        side.ended = true;
    }

    /// What a write came to, and what is queued after it.
    pub(crate) fn wrote(&mut self, offered: usize, outcome: &Result<usize, Error>, queued: usize) {
        self.stay.queued |= queued > 0;
        match outcome {
            Ok(taken) => {
                assert!(!self.stay.gone && !self.shut, "{self:?} can write no more");
                self.accepted += *taken as u64;
                self.stay.short |= *taken < offered;
            }
            Err(Error::ShutDown) => assert!(self.shut, "{self:?} was not shut down"),
            // Also when sending has failed, of which `close` will tell.
            Err(Error::Closed) => {}
            Err(error) => panic!("{self:?} cannot write: {error}"),
        }
    }

    /// The end of a stay. What was detached goes on.
    pub(crate) fn closed(closed: Closed<Self>, seen: &mut Seen) -> (Self, CloseReason, Option<Detached>) {
        let Closed { data: mut side, reason, unsent, received, sent, .. } = closed;
        assert!(side.stay.open, "{side:?} was closed before `open`, or twice");
        let delivered = side.heard.count - side.stay.before;
        assert!(delivered == received || side.stay.deaf && delivered < received, "{side:?} got {received} bytes");
        side.heard.count = side.stay.before + received;
        seen.closed += 1;
        (seen.received, seen.discarded) = (seen.received + received, seen.discarded + received - delivered);
        (seen.sent, seen.unsent) = (seen.sent + sent, seen.unsent + unsent);
        let detached = side.stay.leaving.take();
        if let Some(Detached { unsent, unread, .. }) = &detached {
            side.accepted -= unsent.len() as u64;
            assert!(*unsent == text(side.number, side.accepted, unsent.len()), "{side:?} was given back other bytes");
            assert!(unread.is_empty(), "{side:?} is a plain stream");
        }
        side.sent += sent;
        assert_eq!(side.accepted, side.sent + unsent, "{side:?} took {} bytes", side.accepted);
        if matches!(reason, CloseReason::Peer) {
            assert!(side.stay.ended || side.stay.deaf, "{side:?} closed by a peer that has not ended");
            assert_eq!(unsent, 0, "{side:?} was closed in order and lost bytes");
        }
        side.stay = Stay::default();
        (side, reason, detached)
    }

    pub(crate) fn report(self, reason: &CloseReason) -> Report {
        let orderly = match reason {
            CloseReason::Peer => true,
            CloseReason::PeerReset | CloseReason::Local { .. } | CloseReason::Aborted | CloseReason::Truncated => false,
            // The loop knows how to tell what a peer can do, and no side outlives its loop.
            CloseReason::Failed(_) | CloseReason::LoopEnded | _ => {
                panic!("{self:?} was closed for {reason:?}")
            }
        };
        Report {
            number: self.number,
            rough: self.rough,
            heard: self.heard,
            sent: self.sent,
            secure: self.secure,
            shut: self.shut || matches!(reason, CloseReason::Local { .. }),
            most: if self.secure { self.accepted } else { self.sent },
            ended: self.ended,
            orderly,
        }
    }
}

/// All is over: what each side says has to fit what its peer says.
pub(crate) fn settle(reports: Vec<Report>) {
    let sides: BTreeMap<u64, Report> = reports.into_iter().map(|report| (report.number, report)).collect();
    let named: BTreeMap<u64, u64> =
        sides.values().filter_map(|side| Some((side.heard.sender()?, side.number))).collect();
    for (number, side) in &sides {
        let peer = match (side.heard.sender(), named.get(number)) {
            (Some(peer), Some(other)) => {
                assert_eq!(peer, *other, "side {number} is heard by another than it hears");
                peer
            }
            (Some(peer), None) | (None, Some(&peer)) => peer,
            (None, None) => {
                // Two that have not heard enough of each other to tell.
                assert!(side.rough, "nobody knows {side:?}");
                continue;
            }
        };
        let peer = sides.get(&peer).unwrap_or_else(|| panic!("the peer {peer} of {side:?} was never closed"));
        assert_eq!(side.rough, peer.rough);
        assert!(peer.number.to_be_bytes().starts_with(&side.heard.header), "{side:?} has a strange peer");
        assert!(side.heard.count <= peer.most, "{side:?} got more than was sent by {peer:?}");
        if side.ended || (side.orderly && peer.orderly) || !side.rough {
            assert_eq!(side.heard.count, peer.sent, "{side:?} has not got all of {peer:?}");
        }
        if side.ended && side.secure {
            assert!(peer.shut, "{side:?} was told an end that is none of TLS by {peer:?}");
            assert_eq!(side.heard.count, peer.most, "{side:?} was told an end in the middle of {peer:?}");
        }
        assert!(side.rough || (side.ended && side.orderly), "{side:?}");
    }
}
