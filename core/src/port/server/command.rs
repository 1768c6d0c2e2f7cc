//! What the program asks for.

use super::event::Reason;
use super::machine::Server;
use super::options::{Overflow, PortOption, SlotOption};
use super::storage::{Seat, Storage};
use super::written::{Message, Outcome, Receipt};
use super::{Command, Error, How, MAX_TEXT, OnClose, To};
use crate::port::framing::Terminator;
use crate::time::Instant;
use heapless::Vec;

impl<S: Storage> Server<S> {
    pub(super) fn command(&mut self, now: Instant, command: Command<'_>) -> Result<(), Error> {
        let receipt = match command {
            Command::Open => {
                self.listener.open();
                Receipt::default()
            }
            Command::Close(clients) => {
                self.close(now, clients);
                Receipt::default()
            }
            Command::Write { to, bytes, mode, terminate } => {
                self.write(now, to, &Message { bytes, mode, terminate })?
            }
            Command::Consume { slot, len } => {
                self.with(slot, |place| place.consume(now, len))?;
                Receipt::default()
            }
            Command::TakeEnd { index } => {
                self.seat_mut(index)?.end_owed = false;
                self.with_client(index, |place| place.attended(now));
                Receipt::default()
            }
            Command::Flush { slot } => {
                let discarded = self.with(slot, |place| Ok(place.flush(now)))?;
                Receipt { discarded, ..Receipt::default() }
            }
            Command::ShutDown { slot } => self.with(slot, |place| {
                place.shut_down();
                Ok(Receipt::default())
            })?,
            Command::Drop { slot, reason } => self.with(slot, |place| {
                let ended = reason == Reason::PeerClosed && place.client.input_ended;
                let fits = ended || matches!(reason, Reason::LocalClosed | Reason::ReadTimeout);
                if !fits {
                    return Err(Error::BadValue);
                }
                place.drop_client(now, reason);
                Ok(Receipt::default())
            })?,
            Command::Abort { slot } => self.with(slot, |place| {
                place.end(now, Reason::LocalAborted, How::Abort);
                Ok(Receipt::default())
            })?,
            Command::Set { index, option } => {
                self.set(index, option)?;
                Receipt::default()
            }
            Command::SetPort(option) => {
                self.set_port(option)?;
                Receipt::default()
            }
        };
        self.receipt = receipt;
        Ok(())
    }

    fn close(&mut self, now: Instant, clients: OnClose) {
        self.listener.close();
        self.shut_door();
        if clients == OnClose::Keep {
            return;
        }
        // A port that is down already will not say so once more.
        self.emptying = !self.listener.is_down();
        for index in 0..self.clients.capacity() {
            // Whatever was due before: they leave in ascending order.
            self.schedule.remove(self.seats.as_mut(), index);
            self.with_client(index, |place| place.drop_client(now, Reason::PortClosed));
        }
    }

    /// Queues a message. Of several clients each is asked by itself, so none can keep it from another.
    fn write(&mut self, now: Instant, to: To, message: &Message<'_>) -> Result<Receipt, Error> {
        let but = match to {
            To::Slot(slot) => return self.with(slot, |place| place.write(now, message)),
            To::All => None,
            To::Others(slot) => Some(slot),
        };
        if !self.listener.is_up() {
            return Err(Error::PortDown);
        }
        let mut sum = Receipt::default();
        for index in 0..self.clients.capacity() {
            self.with_client(index, |place| {
                if but == Some(place.id) {
                    place.client.outcome = Outcome::Free;
                    return;
                }
                let (outcome, receipt) = place.write_one_of_all(now, message);
                place.client.outcome = outcome;
                sum.accepted = sum.accepted.saturating_add(receipt.accepted);
                sum.lost = sum.lost.saturating_add(receipt.lost);
            });
        }
        Ok(sum)
    }

    fn set(&mut self, index: Option<u32>, option: SlotOption<'_>) -> Result<(), Error> {
        let all = 0..self.clients.capacity();
        let indices = match index {
            None => all,
            Some(index) if all.contains(&index) => index..index.saturating_add(1),
            Some(index) => return Err(Error::NoSuchSlot { index, slots: all.end }),
        };
        let change = self.change(indices.clone(), option)?;
        for index in indices {
            change.make(self.seat_mut(index)?);
            self.with_client(index, |place| {
                // What was to be sent back is there to be read from now on, and the other way round.
                if matches!(option, SlotOption::InputEos(_) | SlotOption::ProcessEos(_) | SlotOption::Echo(_)) {
                    place.frame_anew();
                } else if matches!(option, SlotOption::Overflow(_)) {
                    place.keep_boundaries();
                }
            });
        }
        Ok(())
    }

    /// Judges an option for these slots.
    fn change(&mut self, indices: core::ops::Range<u32>, option: SlotOption<'_>) -> Result<Change, Error> {
        Ok(match option {
            SlotOption::IdleRx(millis) => Change::Span(|seat| &mut seat.options.idle_rx, millis),
            SlotOption::IdleAny(millis) => Change::Span(|seat| &mut seat.options.idle_any, millis),
            SlotOption::WriteStuck(millis) => Change::Span(|seat| &mut seat.options.write_stuck, millis),
            SlotOption::Linger(millis) => Change::Span(|seat| &mut seat.options.linger, millis),
            SlotOption::HalfCloseLinger(millis) => Change::Span(|seat| &mut seat.options.half_close_linger, millis),
            SlotOption::Unread(millis) => Change::Span(|seat| &mut seat.options.unread, millis),
            SlotOption::HalfClose(value) => Change::HalfClose(value),
            SlotOption::Overflow(Overflow::DropOldest) if self.boundaries.as_ref().is_empty() => {
                return Err(Error::BadValue);
            }
            SlotOption::Overflow(value) => Change::Overflow(value),
            SlotOption::Watermarks(value) if !value.is_valid() => return Err(Error::BadValue),
            SlotOption::Watermarks(value) => Change::Watermarks(value),
            SlotOption::ProcessEos(value) => Change::ProcessEos(value),
            SlotOption::Echo(value) => Change::Echo(value),
            SlotOption::InputEos(bytes) => {
                Change::InputEos(self.terminator(bytes, self.config.rx_queue, indices, Direction::Input)?)
            }
            SlotOption::OutputEos(bytes) => {
                Change::OutputEos(self.terminator(bytes, self.config.tx_queue, indices, Direction::Output)?)
            }
        })
    }

    /// The number of a terminator, which gets a place in the storage unless it has one. `changed` are the slots that will
    /// use it in place of their present one.
    fn terminator(
        &mut self,
        bytes: &[u8],
        queue: u32,
        changed: core::ops::Range<u32>,
        direction: Direction,
    ) -> Result<u8, Error> {
        let max = usize::try_from(queue / 2).unwrap_or(usize::MAX).min(Terminator::MAX_LEN);
        let too_long = Error::TerminatorTooLong { len: bytes.len(), max };
        let terminator = Terminator::new(bytes).ok().filter(|new| new.len() <= max).ok_or(too_long)?;
        if terminator.is_off() {
            return Ok(0);
        }
        let numbers = 1..=u8::MAX;
        let places = self.terminators.as_ref();
        if let Some((number, _)) = numbers.clone().zip(places).find(|(_, place)| **place == terminator) {
            return Ok(number);
        }
        let seats = || (0..).zip(self.seats.as_ref());
        let is_used = |number: u8| {
            seats().any(|(index, seat)| {
                let stays = |which| which != direction || !changed.contains(&index);
                (seat.input_eos == number && stays(Direction::Input))
                    || (seat.output_eos == number && stays(Direction::Output))
            })
        };
        let free = numbers.zip(places).map(|(number, _)| number).find(|number| !is_used(*number));
        let number = free.ok_or(Error::TooManyTerminators { max: places.len() })?;
        let place = usize::from(number).checked_sub(1).and_then(|at| self.terminators.as_mut().get_mut(at));
        if let Some(place) = place {
            *place = terminator;
        }
        Ok(number)
    }

    fn set_port(&mut self, option: PortOption<'_>) -> Result<(), Error> {
        let text = |bytes: &[u8]| Vec::<u8, MAX_TEXT>::from_slice(bytes).map_err(|_| Error::BadValue);
        match option {
            PortOption::OnFull(value) => self.port.on_full = value,
            PortOption::KickAfter(millis) => self.port.kick_after = millis,
            PortOption::Reopen(millis) => self.port.reopen = millis,
            PortOption::AutoConnect(value) => self.port.auto_connect = value,
            PortOption::FullText(bytes) => self.port.full_text = text(bytes)?,
            PortOption::DenyText(bytes) => self.port.deny_text = text(bytes)?,
        }
        Ok(())
    }
}

/// Which terminator of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Input,
    Output,
}

/// A change of a seat that has been found to be possible.
enum Change {
    Span(fn(&mut Seat) -> &mut u32, u32),
    HalfClose(super::HalfClose),
    Overflow(Overflow),
    Watermarks(super::Watermarks),
    ProcessEos(bool),
    Echo(bool),
    InputEos(u8),
    OutputEos(u8),
}

impl Change {
    fn make(&self, seat: &mut Seat) {
        match *self {
            Self::Span(span, millis) => *span(seat) = millis,
            Self::HalfClose(value) => seat.options.half_close = value,
            Self::Overflow(value) => seat.options.overflow = value,
            Self::Watermarks(value) => seat.options.watermarks = value,
            Self::ProcessEos(value) => seat.options.process_eos = value,
            Self::Echo(value) => seat.options.echo = value,
            Self::InputEos(number) => seat.input_eos = number,
            Self::OutputEos(number) => seat.output_eos = number,
        }
    }
}
