//! A naive model of streams: what each has been asked, and therefore may see.
//!
//! It knows nothing of latches, queues or edges. Every callback is checked when it comes; what can be known only at the
//! end, when both sides of a connection are over, is checked by [`Model::settle`].

use std::collections::BTreeMap;
use wharf_host::event_loop::{CloseReason, Closed, Error, SocketId};

/// One side of a connection: the port of the client, and whether this is the client's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) port: u16,
    pub(crate) client: bool,
}

impl Name {
    fn peer(self) -> Self {
        Self { client: !self.client, ..self }
    }

    /// The byte that this side sends at `offset`.
    pub(crate) fn byte(self, offset: u64) -> u8 {
        let mixed = offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let own = u64::from(self.port) * 2 + u64::from(self.client);
        ((mixed ^ own) & 0xFF) as u8
    }
}

#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) id: SocketId,
    /// On which loop.
    pub(crate) lp: usize,
    /// Bytes that our writes took.
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    /// Bytes that may still be delivered.
    pub(crate) limit: u64,
    /// A write came up short, so `writable` is owed.
    pub(crate) short: bool,
    /// Bytes were queued, so `drained` may come.
    queued: bool,
    /// Our end was asked for.
    pub(crate) shut: bool,
    /// Nothing is delivered any more, and no end told.
    pub(crate) deaf: bool,
    /// Nothing but `close` may come.
    pub(crate) gone: bool,
    /// The peer's end was told.
    ended: bool,
    over: Option<Over>,
}

#[derive(Debug)]
struct Over {
    reason: CloseReason,
    unsent: u64,
    received: u64,
    sent: u64,
}

/// All connections of a world.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) sides: BTreeMap<Name, Side>,
    /// Connections may break of themselves.
    pub(crate) breaks: bool,
    /// What happened, in order.
    pub(crate) trace: Vec<String>,
}

impl Model {
    pub(crate) fn opened(&mut self, name: Name, id: SocketId, lp: usize) {
        let side = Side {
            id,
            lp,
            accepted: 0,
            delivered: 0,
            limit: u64::MAX,
            short: false,
            queued: false,
            shut: false,
            deaf: false,
            gone: false,
            ended: false,
            over: None,
        };
        assert!(self.sides.insert(name, side).is_none(), "{name:?} opened twice");
    }

    /// A side that is told something other than `close`.
    pub(crate) fn told(&mut self, name: Name) -> &mut Side {
        let side = self.sides.get_mut(&name).expect("`open` comes first");
        assert!(side.over.is_none(), "{name:?} was told something after `close`");
        assert!(!side.gone, "{name:?} was told something after it was closed");
        side
    }

    pub(crate) fn data(&mut self, name: Name, bytes: &[u8]) {
        let side = self.told(name);
        assert!(!bytes.is_empty(), "{name:?} got an empty piece");
        assert!(!side.ended, "{name:?} got bytes after the end");
        assert!(!side.deaf, "{name:?} got bytes that it did not want");
        let count = bytes.len() as u64;
        assert!(count <= side.limit, "{name:?} got {count} bytes with a limit of {}", side.limit);
        if side.limit != u64::MAX {
            side.limit -= count;
        }
        for (offset, byte) in (side.delivered..).zip(bytes) {
            assert_eq!(*byte, name.peer().byte(offset), "byte {offset} of {name:?}");
        }
        side.delivered += count;
    }

    pub(crate) fn writable(&mut self, name: Name) {
        let side = self.told(name);
        assert!(std::mem::replace(&mut side.short, false), "{name:?} was not promised `writable`");
        assert!(!side.shut, "{name:?} can write no more");
    }

    pub(crate) fn drained(&mut self, name: Name) {
        let side = self.told(name);
        assert!(std::mem::replace(&mut side.queued, false), "{name:?} had nothing in its queue");
    }

    pub(crate) fn ended(&mut self, name: Name) {
        let side = self.told(name);
        assert!(!side.deaf, "{name:?} did not want to hear of an end");
        assert!(!std::mem::replace(&mut side.ended, true), "{name:?} heard of two ends");
    }

    pub(crate) fn closed<D>(&mut self, name: Name, closed: Closed<D>) {
        let Closed { reason, unsent, received, sent, .. } = closed;
        let side = self.sides.get_mut(&name).expect("`open` comes first");
        side.gone = true;
        assert_eq!(side.accepted, sent + unsent, "{name:?} took {} bytes", side.accepted);
        assert!(
            side.delivered == received || (side.deaf && side.delivered < received),
            "{name:?} got {received} bytes"
        );
        if matches!(reason, CloseReason::Peer) {
            assert!(side.ended || side.deaf, "{name:?} closed by a peer that has not ended");
            assert_eq!(unsent, 0, "{name:?} was closed in order and lost bytes");
        }
        assert!(side.over.replace(Over { reason, unsent, received, sent }).is_none(), "{name:?} closed twice");
    }

    /// What a write came to, and what is queued after it.
    pub(crate) fn wrote(&mut self, name: Name, offered: u64, outcome: Result<usize, Error>, queued: usize) {
        let side = self.sides.get_mut(&name).expect("only open sides write");
        side.queued |= queued > 0;
        match outcome {
            Ok(taken) => {
                assert!(!side.gone && !side.shut, "{name:?} can write no more");
                side.accepted += taken as u64;
                side.short |= (taken as u64) < offered;
            }
            Err(Error::ShutDown) => assert!(side.shut, "{name:?} was not shut down"),
            // Also when sending has failed, of which `close` will tell.
            Err(Error::Closed) => {}
            Err(error) => panic!("{name:?} cannot write: {error}"),
        }
    }

    /// Sides of a loop that may still be acted on.
    pub(crate) fn open_on(&self, lp: usize) -> Vec<Name> {
        self.sides.iter().filter(|(_, side)| side.lp == lp && side.over.is_none()).map(|(name, _)| *name).collect()
    }

    /// Who has not been closed, and the last that happened.
    pub(crate) fn unsettled(&self) -> (Vec<(Name, &Side)>, &[String]) {
        let open = self.sides.iter().filter(|(_, side)| side.over.is_none()).map(|(name, side)| (*name, side));
        (open.collect(), &self.trace[self.trace.len().saturating_sub(10)..])
    }

    /// All is over: what each side says of itself has to fit what the other says.
    pub(crate) fn settle(&self) {
        for (name, side) in &self.sides {
            let over = side.over.as_ref().unwrap_or_else(|| panic!("{name:?} was never closed: {side:?}"));
            let Some(peer) = self.sides.get(&name.peer()) else {
                // A client that was never accepted, or a server whose client was reset before it had heard that it was
                // connected.
                assert_eq!(side.delivered, 0, "{name:?} heard of nobody");
                continue;
            };
            let other = peer.over.as_ref().expect("every side is over, or the loop above would have said so");
            assert!(over.received <= other.sent, "{name:?} got more than was sent");
            if side.ended {
                assert_eq!(over.received, other.sent, "{name:?} was told the end too early");
            }
            if matches!(other.reason, CloseReason::Peer) && !self.breaks {
                assert!(!matches!(over.reason, CloseReason::PeerReset), "{name:?} was reset by an orderly end");
            }
            assert!(!matches!(over.reason, CloseReason::Failed(_)), "{name:?}: {:?}", over.reason);
        }
    }

    /// Besides, everybody was heard to the end.
    pub(crate) fn settle_whole(&self) {
        self.settle();
        for (name, side) in &self.sides {
            let (over, peer) = (side.over.as_ref().expect("settled"), &self.sides[&name.peer()]);
            assert!(matches!(over.reason, CloseReason::Peer), "{name:?}: {:?}", over.reason);
            assert_eq!((over.received, over.unsent), (peer.accepted, 0), "{name:?}");
        }
    }
}
