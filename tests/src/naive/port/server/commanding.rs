//! What the program asks for.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule names the few cases that it is about")]

use super::client::Message;
use super::{Port, count, writing};
use std::collections::VecDeque;
use wharf_core::port::server::{
    Command, Error, Event, How, MAX_TEXT, OnClose, Output, Overflow, PortOption, Reason, SlotOption, State,
};

impl Port {
    pub(super) fn command(&mut self, command: Command<'_>) -> Result<(), Error> {
        let now = self.now;
        match command {
            Command::Open => self.open(),
            Command::Close(clients) => self.close(clients),
            Command::Write { to, bytes, mode, terminate } => {
                return self.write(to, &writing::Message { bytes, mode, terminate });
            }
            Command::Consume { slot, len } => {
                let client = self.client(slot)?;
                let max = client.rx.len();
                if len > max {
                    return Err(Error::Length { len, max });
                }
                client.rx.drain(..len);
                client.consumed += len as u64;
                client.last_program_read = now;
            }
            Command::TakeEnd { index } => {
                let slots = count(self.slots.len());
                let slot = self.slots.get_mut(index as usize).ok_or(Error::NoSuchSlot { index, slots })?;
                let nothing_left = slot.client.as_ref().is_none_or(|client| client.rx.is_empty());
                if !(slot.end_owed && nothing_left) {
                    return Err(Error::Unasked);
                }
                slot.end_owed = false;
                if let Some(client) = &mut slot.client {
                    client.last_program_read = now;
                }
            }
            Command::Flush { slot } => {
                let client = self.client(slot)?;
                let discarded = client.rx.len() as u64;
                client.rx.clear();
                client.flushed += discarded;
                client.last_program_read = now;
                self.receipt.2 = discarded;
            }
            Command::ShutDown { slot } => {
                let client = self.client(slot)?;
                client.shutting = true;
            }
            Command::Drop { slot, reason } => {
                let client = self.client(slot)?;
                match client.state {
                    State::Open | State::PeerEnded | State::LocalEnded => client.flush(reason, now),
                    State::Residue => client.give_up_input(),
                    _ => {}
                }
            }
            Command::Abort { slot } => {
                let client = self.client(slot)?;
                if client.state == State::Residue {
                    client.give_up_input();
                } else {
                    client.close(Reason::LocalAborted, Some(How::Abort));
                }
            }
            Command::Set { index, option } => return self.set(index, option),
            Command::SetPort(option) => return self.set_port(option),
            _ => {}
        }
        Ok(())
    }

    fn set(&mut self, index: Option<u32>, option: SlotOption<'_>) -> Result<(), Error> {
        let slots = self.slots.len();
        let which = match index {
            None => 0..slots,
            Some(at) if (at as usize) < slots => at as usize..at as usize + 1,
            Some(at) => return Err(Error::NoSuchSlot { index: at, slots: count(slots) }),
        };
        for at in which {
            let slot = &mut self.slots[at];
            if matches!(option, SlotOption::InputEos(_) | SlotOption::ProcessEos(_) | SlotOption::Echo(_)) {
                // What is queued may be a message by now.
                if let Some(client) = slot.client.as_mut().filter(|client| !client.rx.is_empty()) {
                    let ready = Output::Notify(Event::DataReady { slot: client.id });
                    if client.owed.iter().all(|owed| owed.output != ready) {
                        client.owe(ready);
                    }
                }
            }
            let options = &mut slot.options;
            match option {
                SlotOption::IdleRx(millis) => options.idle_rx = millis,
                SlotOption::IdleAny(millis) => options.idle_any = millis,
                SlotOption::WriteStuck(millis) => options.write_stuck = millis,
                SlotOption::Linger(millis) => options.linger = millis,
                SlotOption::HalfCloseLinger(millis) => options.half_close_linger = millis,
                SlotOption::Unread(millis) => options.unread = millis,
                SlotOption::HalfClose(what) => options.half_close = what,
                SlotOption::Overflow(what) if what == Overflow::DropOldest && !self.setup.boundaries => {
                    return Err(Error::BadValue);
                }
                SlotOption::Overflow(what) => {
                    options.overflow = what;
                    // Boundaries are kept from now on: what is queued counts as one message that has begun.
                    if let Some(client) = slot.client.as_mut().filter(|client| !client.tx.is_empty()) {
                        client.tx = VecDeque::from([Message { bytes: client.tx_bytes(), begun: true }]);
                    }
                }
                SlotOption::Watermarks(marks) if !(marks.low < marks.high && marks.high <= 100) => {
                    return Err(Error::BadValue);
                }
                SlotOption::Watermarks(marks) => {
                    options.watermarks = marks;
                }
                SlotOption::ProcessEos(whether) => options.process_eos = whether,
                SlotOption::Echo(whether) => options.echo = whether,
                SlotOption::InputEos(eos) => {
                    longest(eos, self.rx_queue)?;
                    slot.input_eos = eos.to_vec();
                }
                SlotOption::OutputEos(eos) => {
                    longest(eos, self.tx_queue)?;
                    slot.output_eos = eos.to_vec();
                }
                _ => {}
            }
        }
        let mut all: Vec<&Vec<u8>> = self.slots.iter().flat_map(|slot| [&slot.input_eos, &slot.output_eos]).collect();
        all.retain(|eos| !eos.is_empty());
        all.sort();
        all.dedup();
        let max = self.setup.terminators;
        if all.len() > max { Err(Error::TooManyTerminators { max }) } else { Ok(()) }
    }

    fn set_port(&mut self, option: PortOption<'_>) -> Result<(), Error> {
        let text = |bytes: &[u8]| if bytes.len() > MAX_TEXT { Err(Error::BadValue) } else { Ok(bytes.to_vec()) };
        match option {
            PortOption::OnFull(what) => self.options.on_full = what,
            PortOption::KickAfter(millis) => self.options.kick_after = millis,
            PortOption::Reopen(millis) => self.options.reopen = millis,
            PortOption::AutoConnect(whether) => self.options.auto_connect = whether,
            PortOption::FullText(bytes) => {
                self.options.full_text = text(bytes)?.into_iter().collect();
            }
            PortOption::DenyText(bytes) => {
                self.options.deny_text = text(bytes)?.into_iter().collect();
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, clients: OnClose) {
        if clients == OnClose::Drop {
            self.drop_all();
        }
        self.unlisten(clients);
    }

    /// Everybody leaves, after their output.
    fn drop_all(&mut self) {
        let now = self.now;
        for client in self.slots.iter_mut().filter_map(|slot| slot.client.as_mut()) {
            match client.state {
                State::Open | State::PeerEnded | State::LocalEnded => client.flush(Reason::PortClosed, now),
                State::Residue => client.give_up_input(),
                _ => {}
            }
        }
    }
}

fn longest(eos: &[u8], queue: usize) -> Result<(), Error> {
    let (len, max) = (eos.len(), (queue / 2).min(255));
    if len > max { Err(Error::TerminatorTooLong { len, max }) } else { Ok(()) }
}
