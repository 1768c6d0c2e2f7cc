//! Sending, and what is owed to the user after it came up short.

use super::UdpHandler;
use super::errors::kind;
use crate::event_loop::Error;
use crate::event_loop::net::Out;
use crate::event_loop::state::Core;
use std::io;
use wharf_core::slots::SlotId;

/// One call finds packets of others so often before it leaves the rest for later.
const MOST_ATTEMPTS: u32 = 64;

impl<T> Core<T> {
    /// Sends as many of `packets` as the system takes. An error is the first packet's own.
    pub(super) fn send_packets(&mut self, id: SlotId, packets: &[Out<'_>]) -> Result<usize, Error> {
        let Some(udp) = self.udp(id) else { return Err(Error::Closed) };
        let (net, peer) = (udp.net, udp.peer);
        if udp.drain_due {
            return Ok(0);
        }
        let mut sent = 0;
        // An error that came in place of the packet at hand, which is being tried again.
        let mut suspect: Option<io::Error> = None;
        let mut attempts = 0;
        while sent < packets.len() {
            self.stats.datagram_writes += 1;
            match self.net.send_packets(net, &packets[sent..]) {
                Ok(0) => {
                    self.owe_drained(id, false);
                    break;
                }
                Ok(count) => {
                    sent += count;
                    if let Some(udp) = self.udp_mut(id) {
                        udp.errors.sent();
                    }
                    self.stats.datagrams_out += count as u64;
                    self.keep_late_error(id, suspect.take());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.keep_late_error(id, suspect.take());
                    self.owe_drained(id, false);
                    break;
                }
                // Packets sent before, which are told later.
                Err(_) if self.gather_unreached(id) => {
                    self.mark_ready(id);
                    attempts += 1;
                    if attempts == MOST_ATTEMPTS {
                        self.owe_drained(id, true);
                        break;
                    }
                }
                Err(error) if suspect.is_none() => suspect = Some(error),
                Err(error) => {
                    // The same error twice is the packet's; another one before it was an earlier packet's.
                    let earlier = suspect.filter(|before| kind(before) != kind(&error));
                    self.keep_late_error(id, earlier);
                    if sent == 0 {
                        let to = packets[0].to.or(peer);
                        let object = to.map_or_else(|| "nobody".to_owned(), |to| to.to_string());
                        return Err(Error::io("send to", object, error));
                    }
                    // It will be the first packet of the next call, which can be made at once.
                    self.owe_drained(id, true);
                    break;
                }
            }
        }
        Ok(sent)
    }

    /// Calls `drained` if it is owed and the socket takes packets again.
    pub(super) fn serve_drained(&mut self, id: SlotId) {
        let Some(udp) = self.udp_mut(id).filter(|udp| udp.drain_due && udp.writable) else { return };
        udp.drain_due = false;
        // With write interest every packet that leaves the system would make an event.
        self.watch_write(id, false);
        self.with_handler(id, "drained", UdpHandler::drained);
    }

    /// The one place that decides about write interest. `at_once`: the system is not what the user waits for.
    fn owe_drained(&mut self, id: SlotId, at_once: bool) {
        let Some(udp) = self.udp_mut(id) else { return };
        (udp.drain_due, udp.writable) = (true, at_once);
        if at_once {
            self.mark_ready(id);
        } else {
            self.watch_write(id, true);
        }
    }

    fn watch_write(&mut self, id: SlotId, write: bool) {
        let Some(udp) = self.udp_mut(id) else { return };
        if std::mem::replace(&mut udp.watches_write, write) == write {
            return;
        }
        let net = udp.net;
        // A change of the interest reports what is possible already: no edge is lost.
        if let Err(error) = self.net.watch(net, id.to_bits(), write) {
            self.keep_late_error(id, Some(error));
        }
    }
}
