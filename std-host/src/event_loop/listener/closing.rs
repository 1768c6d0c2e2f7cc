//! Closing a listener: what waits in its backlog is accepted first if nobody else would get it.

use crate::event_loop::handler::AcceptFailed;
use crate::event_loop::state::Core;
use crate::event_loop::timers::TimerId;
use crate::sys::errno;
use std::io;
use wharf_core::slots::SlotId;

impl<T> Core<T> {
    pub(in crate::event_loop) fn close_listener(&mut self, id: SlotId) {
        let ended = self.ended;
        let Some(listener) = self.listener_mut(id) else { return };
        if std::mem::replace(&mut listener.closed, true) {
            if ended {
                // Its backlog would have been accepted in the next iterations.
                self.release_listener(id);
            }
            return;
        }
        if let Some(inbox) = &listener.inbox {
            // From now on others are given what would come here.
            inbox.close();
        }
        if let Some(TimerId(timer)) = listener.retry.take() {
            self.timers.remove(timer);
        }
        self.begin_draining(id);
    }

    /// Has a closed listener accept what the system has given to it and would give to no other. Accepting calls back, and
    /// so waits for the listener's turn.
    fn begin_draining(&mut self, id: SlotId) {
        let ended = self.ended;
        let Some(listener) = self.listener_mut(id) else { return };
        let Some(backlog) = listener.backlog.filter(|_| !ended) else { return self.release_listener(id) };
        // The system lets one more wait than it was told.
        listener.draining = backlog.saturating_add(1);
        let counted = std::mem::replace(&mut listener.counts, true);
        self.alive += usize::from(!counted);
        self.mark_ready(id);
    }

    /// At most `accept_budget` accepts of a closed listener, which goes when nothing is left.
    pub(super) fn drain_listener(&mut self, id: SlotId) {
        let budget = self.options.accept_budget;
        let Some(listener) = self.listener_mut(id) else { return };
        let most = listener.draining.min(budget);
        if most == 0 {
            return;
        }
        listener.draining -= most;
        let left = listener.draining;
        for _ in 0..most {
            match self.accept(id) {
                Ok((socket, peer)) => self.accepted(id, socket, peer),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.release_listener(id),
                Err(error) if errno::is_exhaustion(&error) || errno::is_not_listening(&error) => {
                    // It will not wait for descriptors that others hold: the rest of its backlog goes with it.
                    self.stats.exhausted += u64::from(errno::is_exhaustion(&error));
                    self.accept_failed(id, error, AcceptFailed::Fatal);
                    return self.release_listener(id);
                }
                Err(error) => self.accept_failed(id, error, AcceptFailed::Transient),
            }
        }
        if left > 0 { self.mark_ready(id) } else { self.release_listener(id) }
    }

    /// The descriptor goes at once: whoever hears of the close finds nobody listening.
    fn release_listener(&mut self, id: SlotId) {
        let Some(listener) = self.listener_mut(id) else { return };
        listener.draining = 0;
        let counted = std::mem::replace(&mut listener.counts, false);
        let net = listener.net.take();
        self.alive -= usize::from(counted);
        if let Some(net) = net {
            self.net.close(net, false);
        }
        self.closing.push((id, None));
    }
}
