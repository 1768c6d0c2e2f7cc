//! Receiving: from the system into the arena, and on to the handler.

use super::{Packet, Packets, Shared};
use crate::event_loop::Error;
use crate::event_loop::net::{Arena, More};
use crate::event_loop::state::Core;
use std::io;
use wharf_core::slots::SlotId;

/// The most packets of a batch.
const MAX_BATCH: usize = 64;
/// The most bytes of a packet: what its length field can say.
const MAX_PAYLOAD: usize = 65_535;

impl Shared {
    /// Sees to the arena, which is allocated anew only for longer packets than before.
    pub(super) fn allocate(&mut self, batch: usize, payload: usize) -> Result<(), Error> {
        in_range(batch, MAX_BATCH)?;
        in_range(payload, MAX_PAYLOAD)?;
        self.longest = self.longest.max(payload);
        if !self.lent {
            self.make_room(batch);
        }
        Ok(())
    }

    fn make_room(&mut self, batch: usize) {
        if !self.arena.has_room_for(self.longest) {
            self.arena = Arena::new(batch, self.longest);
        }
    }

    fn lend(&mut self) -> Arena {
        self.lent = true;
        std::mem::take(&mut self.arena)
    }

    fn take_back(&mut self, arena: Arena, batch: usize) {
        (self.lent, self.arena) = (false, arena);
        self.make_room(batch);
    }
}

impl<T> Core<T> {
    /// `known`: the event that led here had another cause.
    pub(super) fn serve_packets(&mut self, id: SlotId, known: bool) {
        let batch = self.options.udp_batch;
        let Some(payload) = self.udp(id).map(|udp| udp.payload) else { return };
        let mut budget = batch.max(self.options.read_budget / payload);
        let mut first = !known;
        while let Some(udp) = self.udp(id) {
            let (net, limit) = (udp.net, udp.limit);
            if !udp.readable || limit == 0 || !udp.errors.may_receive() {
                return;
            }
            if budget == 0 {
                return self.mark_ready(id);
            }
            let asked = batch.min(budget).min(usize::try_from(limit).unwrap_or(usize::MAX));
            self.stats.datagram_reads += 1;
            self.datagrams.arena.divide(payload);
            let failed = self.udp_mut(id).and_then(|udp| udp.errors.failed_now.take());
            let outcome = failed.map_or_else(|| self.net.receive_packets(net, &mut self.datagrams.arena, asked), Err);
            match outcome {
                Ok(more) => {
                    // A call that brings nothing and says that there may be more counts too: it cannot go on for ever.
                    budget -= self.datagrams.arena.len().clamp(1, budget);
                    self.deliver_packets(id, more);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.false_events += u64::from(first);
                    if let Some(udp) = self.udp_mut(id) {
                        udp.errors.received();
                        udp.readable = false;
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    budget -= 1;
                    self.receiving_failed(id, error);
                }
            }
            first = false;
        }
    }

    /// One packet now. What is wrong is kept for when the socket is served, because `error` cannot come inside another
    /// callback.
    pub(super) fn receive_now(&mut self, id: SlotId, f: impl FnOnce(Packet<'_>)) -> bool {
        let Some(udp) = self.udp(id) else { return false };
        if !udp.readable || !udp.errors.may_receive() || udp.errors.failed_now.is_some() || self.datagrams.lent {
            return false;
        }
        let (net, payload) = (udp.net, udp.payload);
        self.stats.datagram_reads += 1;
        self.datagrams.arena.divide(payload);
        let outcome = self.net.receive_packets(net, &mut self.datagrams.arena, 1);
        match outcome {
            Ok(more) => {
                let arena = self.datagrams.lend();
                self.note_packets(id, &arena, more);
                let received = Packets::new(&arena).get(0).map(f).is_some();
                self.datagrams.take_back(arena, self.options.udp_batch);
                received
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(udp) = self.udp_mut(id) {
                    udp.errors.received();
                    udp.readable = false;
                }
                false
            }
            Err(error) => {
                if let Some(udp) = self.udp_mut(id) {
                    udp.errors.failed_now = Some(error);
                }
                self.mark_ready(id);
                false
            }
        }
    }

    /// Keeps count of what has been received.
    fn note_packets(&mut self, id: SlotId, arena: &Arena, more: More) {
        let infos = || (0..arena.len()).filter_map(|index| arena.packet(index)).map(|(info, _)| info);
        self.stats.datagrams_in += arena.len() as u64;
        self.stats.datagrams_truncated += infos().filter(|info| info.truncated).count() as u64;
        let drops = infos().filter_map(|info| info.dropped).next_back();
        if let Some(udp) = self.udp_mut(id) {
            udp.errors.received();
            if more == More::No {
                udp.readable = false;
            }
            let fresh = drops.map_or(0, |drops| drops.wrapping_sub(std::mem::replace(&mut udp.drops_seen, drops)));
            udp.dropped += u64::from(fresh);
            self.stats.datagrams_dropped += u64::from(fresh);
        }
    }

    fn deliver_packets(&mut self, id: SlotId, more: More) {
        let arena = self.datagrams.lend();
        self.note_packets(id, &arena, more);
        if let Some(udp) = self.udp_mut(id).filter(|udp| udp.limit != u64::MAX) {
            udp.limit -= arena.len() as u64;
        }
        if !arena.is_empty() {
            self.with_handler(id, "packets", |handler, u| handler.packets(u, Packets::new(&arena)));
        }
        self.datagrams.take_back(arena, self.options.udp_batch);
    }

    pub(super) fn set_packet_limit(&mut self, id: SlotId, limit: u64) {
        let Some(udp) = self.udp_mut(id) else { return };
        udp.limit = limit;
        if limit > 0 && udp.readable {
            self.mark_ready(id);
        }
    }
}

fn in_range(asked: usize, max: usize) -> Result<(), Error> {
    let refusal = |bound: usize| Error::OutOfRange { asked: asked as u64, max: bound as u64 };
    match asked {
        0 => Err(refusal(1)),
        asked if asked > max => Err(refusal(max)),
        _ => Ok(()),
    }
}
