//! What a port may do, and what it must have done once it is drained.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule names the few cases that it is about")]

use super::client::{Client, Owed};
use super::{Listening, Port};
use std::collections::VecDeque;
use wharf_core::port::server::{Event, Output, Refusal};
use wharf_core::slots::SlotId;

/// What is wrong, in words.
pub(super) type Wrong = String;

impl Port {
    /// The port makes this output.
    ///
    /// # Errors
    /// Why it should not.
    pub fn output(&mut self, output: Output) -> Result<(), Wrong> {
        let judged = match output {
            Output::Admit { slot } => self.admits(slot),
            Output::Refuse { why } => self.refuses(why),
            Output::Park => self.parks(),
            Output::Read { slot, max } => self.reads(slot, max),
            Output::Transmit { slot } => self.transmits(slot),
            Output::Yield => self.yields(),
            Output::Listen => self.listens(),
            Output::PauseAccept | Output::ResumeAccept => self.mutes(output == Output::PauseAccept),
            _ => match subject(output) {
                Some(slot) => self.tells(slot, output),
                None => self.tells_of_itself(output),
            },
        };
        self.follow();
        judged.map_err(|wrong| format!("{output:?}: {wrong}"))
    }

    /// The port is drained.
    ///
    /// # Errors
    /// What it has left undone.
    pub fn rest(&self) -> Result<(), Wrong> {
        if let Some(waiting) = self.waiting {
            let stuck = waiting.parked && self.pick().is_none() && self.refusal(waiting).is_none();
            if (waiting.due && !waiting.parked || self.turn_begins) && !stuck {
                return Err(format!("the connection from {} awaits its decision", waiting.peer));
            }
            if self.turn_begins && self.pick().is_none() && !self.will_be_free() && !self.victims().is_empty() {
                return Err("nothing is freed for the connection that is parked".into());
            }
            let frees = self.free_slots().is_empty() && !self.will_be_free() && !self.victims().is_empty();
            if (frees || self.slots.iter().any(|slot| slot.resting)) && !self.yielded {
                return Err("a connection is parked, and the turn that has a slot for it is not asked for".into());
            }
        }
        if self.must_listen() {
            return Err("Listen has not come".into());
        }
        if self.is_up() && self.muted != self.wants_mute() {
            return Err(format!("accepting is paused: {}", self.muted));
        }
        if self.muted && self.exhausted.is_none() && self.slots.iter().any(|slot| slot.resting) && !self.yielded {
            return Err("accepting is paused, and the turn that could resume it is not asked for".into());
        }
        let missing = |owed: &VecDeque<Owed>| owed.iter().find(|owed| !owed.optional).map(|owed| owed.output);
        let lists =
            self.slots.iter().flat_map(|slot| [Some(&slot.owed), slot.client.as_ref().map(|client| &client.owed)]);
        if let Some(output) = lists.flatten().chain([&self.owed]).find_map(missing) {
            return Err(format!("{output:?} has not come"));
        }
        for client in self.slots.iter().filter_map(|slot| slot.client.as_ref()) {
            let id = client.id;
            if self.wants_read(client) && !(client.read_budget == 0 && self.yielded) {
                return Err(format!("{id} can be read, has room, and no Read is out"));
            }
            if wants_write(client) && !(client.write_budget == 0 && self.yielded) {
                return Err(format!("{id} can be written, has output, and no Transmit is out"));
            }
        }
        Ok(())
    }

    /// Whether a connection awaits its decision.
    #[must_use]
    pub const fn is_deciding(&self) -> bool {
        self.waiting.is_some()
    }

    fn wants_read(&self, client: &Client) -> bool {
        client.reads() && client.can_read && client.reading.is_none() && client.rx_room(self.rx_queue) > 0
    }

    fn admits(&mut self, slot: SlotId) -> Result<(), Wrong> {
        let waiting = self.waiting.filter(|waiting| waiting.due).ok_or("nobody awaits a decision")?;
        if let Some(why) = self.refusal(waiting) {
            return Err(format!("to be refused: {why:?}"));
        }
        if self.accepts == 0 {
            return Err("too many in one turn".into());
        }
        let at = self.pick().ok_or("no slot is free")?;
        let place = &mut self.slots[at];
        if slot.index() as usize != at || slot.generation() != place.generation {
            return Err(format!("{at}.{} is the slot to be had", place.generation));
        }
        if !place.owed.is_empty() {
            return Err("the last client has not been taken leave of".into());
        }
        place.client = Some(Client::new(slot, waiting.peer, self.now, self.slot_budget));
        place.end_owed = false;
        self.rotor = at + 1;
        self.accepts -= 1;
        self.waiting = None;
        Ok(())
    }

    fn refuses(&mut self, why: Refusal) -> Result<(), Wrong> {
        let waiting = self.waiting.ok_or("nobody awaits a decision")?;
        let expected = self.refusal(waiting);
        if expected != Some(why) {
            return Err(format!("expected {expected:?}"));
        }
        self.waiting = None;
        self.tell(Event::Refused { peer: waiting.peer, why });
        Ok(())
    }

    fn parks(&mut self) -> Result<(), Wrong> {
        let mut waiting = self.waiting.filter(|waiting| !waiting.parked).ok_or("nobody is to be parked")?;
        // When a turn has admitted all that it may, whether there is a slot is a question of the next one.
        let asks = |why: &Refusal| *why != Refusal::Full || self.accepts > 0;
        if let Some(why) = self.refusal(waiting).filter(asks) {
            return Err(format!("to be refused: {why:?}"));
        }
        if self.pick().is_some() && self.accepts > 0 {
            return Err("there is a free slot".into());
        }
        (waiting.parked, waiting.due) = (true, false);
        self.waiting = Some(waiting);
        Ok(())
    }

    fn reads(&mut self, slot: SlotId, max: usize) -> Result<(), Wrong> {
        let queue = self.rx_queue;
        let client = self.client(slot).map_err(|error| error.to_string())?;
        client.is_announced()?;
        if client.reading.is_some() {
            return Err("the last one is not answered".into());
        }
        if !client.reads() || !client.can_read {
            return Err(format!("{:?}, latch {:?}", client.state, client.can_read));
        }
        let most = client.rx_room(queue).min(client.read_budget);
        if !(1..=most).contains(&max) {
            return Err(format!("{most} bytes at most"));
        }
        (client.reading, client.read_edge) = (Some(max), false);
        Ok(())
    }

    fn transmits(&mut self, slot: SlotId) -> Result<(), Wrong> {
        let client = self.client(slot).map_err(|error| error.to_string())?;
        client.is_announced()?;
        if client.writing.is_some() {
            return Err("the last one is not answered".into());
        }
        let shown = client.queued().min(client.write_budget);
        if !client.sends() || !client.can_write || shown == 0 {
            let (state, latch, queued) = (client.state, client.can_write, client.queued());
            return Err(format!("{state:?}, latch {latch:?}, {queued} bytes queued, budget {}", client.write_budget));
        }
        (client.writing, client.write_edge) = (Some(shown), false);
        Ok(())
    }

    fn mutes(&mut self, mute: bool) -> Result<(), Wrong> {
        if !self.is_up() || self.muted == mute || self.wants_mute() != mute {
            return Err(format!("{:?}, paused {}", self.listening, self.muted));
        }
        self.muted = mute;
        self.tell(if mute { Event::AcceptPaused } else { Event::AcceptResumed });
        Ok(())
    }

    fn yields(&mut self) -> Result<(), Wrong> {
        let late = |client: &Client| {
            self.wants_read(client) && client.read_budget == 0 || wants_write(client) && client.write_budget == 0
        };
        let any_late = self.slots.iter().filter_map(|slot| slot.client.as_ref()).any(late);
        let frees = self.slots.iter().any(|slot| slot.resting) && (self.muted || self.waiting.is_some());
        if self.yielded {
            return Err("twice in a turn".into());
        }
        if !(any_late || frees || self.waiting.is_some_and(|waiting| waiting.parked)) {
            return Err("nothing is left for the next turn".into());
        }
        self.yielded = true;
        Ok(())
    }

    /// An output of a client that comes once.
    fn tells(&mut self, slot: SlotId, output: Output) -> Result<(), Wrong> {
        let at = slot.index() as usize;
        self.choose(at, output);
        let place = self.slots.get_mut(at).ok_or("there is no such slot")?;
        if !place.owed.is_empty() {
            let output = match output {
                Output::Notify(Event::Disconnected { slot, reason, unread, unsent })
                    if place.or_else.contains(&reason) =>
                {
                    let told = |owed: &Owed| match owed.output {
                        Output::Notify(Event::Disconnected { reason, .. }) => Some(reason),
                        _ => None,
                    };
                    let reason = place.owed.iter().find_map(told).unwrap_or(reason);
                    Output::Notify(Event::Disconnected { slot, reason, unread, unsent })
                }
                other => other,
            };
            return comes(&mut place.owed, output);
        }
        let client = place.client.as_mut().ok_or("nobody is there")?;
        comes(&mut client.owed, output)?;
        match output {
            Output::Notify(Event::HighWater { .. }) => client.told_high = true,
            Output::Notify(Event::LowWater { .. }) if !std::mem::take(&mut client.told_high) => {
                return Err("HighWater was not told".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Which slot is freed for a newcomer is the port's choice, among those that may be.
    fn choose(&mut self, at: usize, output: Output) {
        let Some(mut waiting) = self.waiting.filter(|waiting| waiting.may_evict) else { return };
        let leaves = matches!(output, Output::Close { .. } | Output::Notify(Event::Disconnected { .. }));
        let unexpected = self.slots.get(at).is_some_and(|slot| {
            slot.owed.is_empty() && slot.client.as_ref().is_some_and(|client| client.owed.is_empty())
        });
        if leaves && unexpected && self.pick().is_none() && self.victims().contains(&at) {
            waiting.may_evict = false;
            self.waiting = Some(waiting);
            self.evict(at);
            self.follow();
        }
    }

    /// An output of the port itself.
    fn tells_of_itself(&mut self, output: Output) -> Result<(), Wrong> {
        if let Output::Notify(Event::PortDown { .. }) = output
            && self.slots.iter().any(|slot| !slot.owed.is_empty())
        {
            return Err("a client that has left was not told of".into());
        }
        comes(&mut self.owed, output)
    }

    pub(super) fn owe(&mut self, output: Output) {
        self.owed.push_back(Owed { output, optional: false, either: false });
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.owe(Output::Notify(event));
    }

    /// Whether the listening socket is up.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self.listening, Listening::Yes { .. })
    }
}

impl Client {
    /// Nothing of a client comes before its `Connected`.
    fn is_announced(&self) -> Result<(), Wrong> {
        let connected = |owed: &Owed| matches!(owed.output, Output::Notify(Event::Connected { .. }));
        if self.owed.iter().any(connected) { Err("before Connected".into()) } else { Ok(()) }
    }
}

fn wants_write(client: &Client) -> bool {
    client.sends() && client.can_write && client.writing.is_none() && !client.tx.is_empty()
}

/// Takes an output off those that have to come, in their order.
fn comes(owed: &mut VecDeque<Owed>, output: Output) -> Result<(), Wrong> {
    while let Some(first) = owed.pop_front() {
        let either =
            first.either && matches!(output, Output::Close { slot, .. } if subject(first.output) == Some(slot));
        if first.output == output || either {
            return Ok(());
        }
        if !first.optional {
            let expected = first.output;
            owed.push_front(first);
            return Err(format!("expected {expected:?}"));
        }
    }
    Err("nothing calls for it".into())
}

/// The client that an output is about.
fn subject(output: Output) -> Option<SlotId> {
    match output {
        Output::ShutdownWrite { slot } | Output::Close { slot, .. } => Some(slot),
        Output::Notify(
            Event::Connected { slot, .. }
            | Event::DataReady { slot }
            | Event::InputEnded { slot }
            | Event::HighWater { slot }
            | Event::LowWater { slot }
            | Event::Overflowed { slot, .. }
            | Event::Disconnected { slot, .. },
        ) => Some(slot),
        _ => None,
    }
}
