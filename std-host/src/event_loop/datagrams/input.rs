//! Receiving: from the system into the arena, and on to the handler.

use super::{Packets, Shared};
use crate::event_loop::net::{Arena, More};
use crate::event_loop::state::Core;
use crate::event_loop::{Error, LoopOptions};
use std::io;
use wharf_core::slots::SlotId;

/// The most packets of a batch.
const MAX_BATCH: usize = 64;
/// The most bytes of a packet: what its length field can say.
const MAX_PAYLOAD: usize = 65_535;

impl Shared {
    /// Sees to the arena, which is allocated once.
    pub(super) fn allocate(&mut self, options: &LoopOptions) -> Result<(), Error> {
        in_range(options.udp_batch, MAX_BATCH)?;
        in_range(options.udp_payload, MAX_PAYLOAD)?;
        if !std::mem::replace(&mut self.allocated, true) {
            self.arena = Arena::new(options.udp_batch, options.udp_payload);
        }
        Ok(())
    }
}

impl<T> Core<T> {
    /// `known`: the event that led here had another cause.
    pub(super) fn serve_packets(&mut self, id: SlotId, known: bool) {
        let batch = self.options.udp_batch;
        let mut budget = batch.max(self.options.read_budget / self.options.udp_payload);
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
            self.datagrams.arena.clear();
            match self.net.receive_packets(net, &mut self.datagrams.arena, asked) {
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

    fn deliver_packets(&mut self, id: SlotId, more: More) {
        let arena = std::mem::take(&mut self.datagrams.arena);
        let infos = || (0..arena.len()).filter_map(|index| arena.packet(index)).map(|(info, _)| info);
        self.stats.datagrams_in += arena.len() as u64;
        self.stats.datagrams_truncated += infos().filter(|info| info.truncated).count() as u64;
        let drops = infos().filter_map(|info| info.dropped).next_back();
        if let Some(udp) = self.udp_mut(id) {
            udp.errors.received();
            if more == More::No {
                udp.readable = false;
            }
            if udp.limit != u64::MAX {
                udp.limit -= arena.len() as u64;
            }
            let fresh = drops.map_or(0, |drops| drops.wrapping_sub(std::mem::replace(&mut udp.drops_seen, drops)));
            udp.dropped += u64::from(fresh);
            self.stats.datagrams_dropped += u64::from(fresh);
        }
        if !arena.is_empty() {
            self.with_handler(id, "packets", |handler, u| handler.packets(u, Packets::new(&arena)));
        }
        self.datagrams.arena = arena;
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
