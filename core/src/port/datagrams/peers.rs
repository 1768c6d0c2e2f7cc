//! The peers that were heard last, for broadcasts.

use super::MAX_PEERS;
use super::outbox::Outcome;
use crate::time::{Instant, expiry};
use core::net::SocketAddr;
use core::time::Duration;
use heapless::Vec;

#[derive(Debug)]
struct Peer {
    addr: SocketAddr,
    heard: Instant,
    /// Rises with every datagram, so that of peers heard at the same instant one is older.
    order: u64,
    /// What became of its copy of the last broadcast.
    outcome: Option<Outcome>,
}

/// At most 64 peers.
#[derive(Debug)]
pub(super) struct Peers {
    list: Vec<Peer, MAX_PEERS>,
    order: u64,
}

impl Peers {
    pub(super) const fn new() -> Self {
        Self { list: Vec::new(), order: 0 }
    }

    /// A datagram of this peer came. A new one takes the place of the oldest where there is no other.
    pub(super) fn hear(&mut self, now: Instant, addr: SocketAddr) {
        self.order = self.order.saturating_add(1);
        let heard = Peer { addr, heard: now, order: self.order, outcome: None };
        if let Some(peer) = self.list.iter_mut().find(|peer| peer.addr == addr) {
            *peer = heard;
        } else if let Err(heard) = self.list.push(heard)
            && let Some(oldest) = self.list.iter_mut().min_by_key(|peer| peer.order)
        {
            *oldest = heard;
        }
    }

    /// The peers heard within `ttl`, each with the place for what becomes of its copy. The others have none.
    pub(super) fn reach(
        &mut self,
        now: Instant,
        ttl: Duration,
    ) -> impl Iterator<Item = (SocketAddr, &mut Option<Outcome>)> {
        self.list.iter_mut().filter_map(move |peer| {
            peer.outcome = None;
            let gone = expiry(peer.heard, ttl).is_some_and(|end| end <= now);
            (!gone).then_some((peer.addr, &mut peer.outcome))
        })
    }

    /// What became of the last broadcast.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (SocketAddr, Outcome)> {
        self.list.iter().filter_map(|peer| Some((peer.addr, peer.outcome?)))
    }
}
