//! The machine: what each input does, and in which order outputs come.

use super::admission::Door;
use super::client::{Class, Client, Counters, State};
use super::event::{Event, Refusal};
use super::listener::{Listener, News};
use super::options::{Config, OnFull, Options, Overflow, PortOptions};
use super::place::Place;
use super::poll::{Bounds, Task, Work};
use super::report::{Departed, PortCounters, Seated};
use super::schedule::{Schedule, Turn};
use super::storage::{BOUNDARIES, Parts, Seat, Storage, chunk, chunk_mut, terminator, to_usize};
use super::written::{Outcome, Outcomes, Receipt};
use super::{Error, Input, Output};
use crate::machine::{Machine, Step};
use crate::port::framing::{Eom, Flow, Piece};
use crate::slots::{SlotId, SlotTable};
use crate::time::{self, Instant};
use crate::timers::Wheel;
use core::net::SocketAddr;

/// A port; see the [module](super).
pub struct Server<S: Storage> {
    pub(super) config: Config,
    pub(super) port: PortOptions,
    pub(super) clients: SlotTable<Client, S::Clients>,
    pub(super) seats: S::Seats,
    /// One key for each slot, armed for its deadline or for one that it had before: a deadline that moves away, as most
    /// do with every byte, is not armed anew.
    timers: Wheel<S::Timers>,
    bytes: S::Bytes,
    pub(super) boundaries: S::Boundaries,
    pub(super) terminators: S::Terminators,
    pub(super) allow: S::Allow,
    pub(super) schedule: Schedule,
    pub(super) listener: Listener,
    pub(super) door: Door,
    /// The port is not down before the last client has left.
    pub(super) emptying: bool,
    /// Clients by class.
    tallies: [u32; 4],
    turn: u16,
    /// When the last input came, or the last timeout that was due.
    now: Instant,
    /// `Yield` has been said in this turn.
    yielded: bool,
    pub(super) totals: PortCounters,
    pub(super) receipt: Receipt,
}

/// What a reader of a slot gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next {
    /// So many bytes from the front of [`Server::received`], which are done with by
    /// [`Command::Consume`](super::Command::Consume) of [`Piece::taken`]. If the reason is END there are none, and
    /// [`Command::TakeEnd`](super::Command::TakeEnd) is due instead.
    Piece(Piece),
    /// Nothing yet.
    Wait,
    /// There is no client, or its input is over and has been read to its end.
    NotConnected,
}

impl<S: Storage> Server<S> {
    /// A port that is down.
    ///
    /// # Errors
    /// [`Error::Storage`] if the memory does not fit the configuration, a port without slots among others;
    /// [`Error::BadValue`] if a queue, a watermark or the budget of a slot is out of range.
    pub fn new(config: Config, mut parts: Parts<S>) -> Result<Self, Error> {
        config.check()?;
        let slots = parts.check(&config)?;
        if config.slots.overflow == Overflow::DropOldest && parts.boundaries.as_ref().is_empty() {
            return Err(Error::Storage);
        }
        for seat in parts.seats.as_mut().iter_mut().take(slots) {
            *seat = Seat { options: config.slots, ..Seat::EMPTY };
        }
        Ok(Self {
            port: config.port.clone(),
            config,
            clients: SlotTable::new(parts.clients),
            seats: parts.seats,
            timers: Wheel::new(parts.timers),
            bytes: parts.bytes,
            boundaries: parts.boundaries,
            terminators: parts.terminators,
            allow: parts.allow,
            schedule: Schedule::EMPTY,
            listener: Listener::DOWN,
            door: Door::OPEN,
            emptying: false,
            tallies: [0; 4],
            turn: 0,
            now: Instant::ORIGIN,
            yielded: false,
            totals: PortCounters::default(),
            receipt: Receipt::default(),
        })
    }

    /// Whether the port listens.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.listener.is_up()
    }

    /// Whether it neither listens nor is about to, nor has yet to say that it does no more.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.listener.is_down()
    }

    /// Where it listens.
    #[must_use]
    pub const fn local(&self) -> Option<SocketAddr> {
        self.listener.local()
    }

    /// The number of slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.clients.capacity()
    }

    /// The number of slots that are taken.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.clients.len()
    }

    /// Who sits in a slot.
    #[must_use]
    pub fn id_at(&self, index: u32) -> Option<SlotId> {
        self.clients.id_at(index)
    }

    /// Where a client comes from.
    #[must_use]
    pub fn peer(&self, slot: SlotId) -> Option<SocketAddr> {
        self.clients.get(slot).map(|client| client.peer)
    }

    /// What a client is doing.
    #[must_use]
    pub fn state(&self, slot: SlotId) -> Option<State> {
        self.clients.get(slot).map(|client| client.state)
    }

    /// Bytes of a client that wait to be read, and to be sent.
    #[must_use]
    pub fn queued(&self, slot: SlotId) -> [u32; 2] {
        self.clients.get(slot).map_or([0; 2], |client| [client.rx.len(), client.tx.len()])
    }

    /// What has become of a client's bytes.
    #[must_use]
    pub fn counters(&self, slot: SlotId) -> Option<Counters> {
        self.clients.get(slot).map(Client::counters)
    }

    /// A client, for a report.
    #[must_use]
    pub fn seated(&self, slot: SlotId) -> Option<Seated> {
        let client = self.clients.get(slot)?;
        Some(Seated {
            slot,
            peer: client.peer,
            state: client.state,
            opened: client.opened,
            last_received: client.last_rx,
            last_active: client.last_any,
            deadline: client.deadline(&self.seat(slot.index())?.options),
        })
    }

    /// The client that left a slot last.
    #[must_use]
    pub fn departed(&self, index: u32) -> Option<Departed> {
        self.seat(index)?.last.map(|(reason, at)| Departed { reason, at })
    }

    /// What has happened since the port was made.
    #[must_use]
    pub const fn totals(&self) -> PortCounters {
        self.totals
    }

    /// The options of a slot, whoever sits in it.
    #[must_use]
    pub fn options(&self, index: u32) -> Option<&Options> {
        self.seat(index).map(|seat| &seat.options)
    }

    /// The options of the port.
    #[must_use]
    pub const fn port_options(&self) -> &PortOptions {
        &self.port
    }

    /// What ends messages of a slot as they come in, and what is put behind those that go out.
    #[must_use]
    pub fn terminators(&self, index: u32) -> Option<[&[u8]; 2]> {
        let seat = self.seat(index)?;
        Some([seat.input_eos, seat.output_eos].map(|number| terminator(self.terminators.as_ref(), number).as_bytes()))
    }

    /// What is said to a connection that is refused, before it is closed; empty if nothing is.
    #[must_use]
    pub fn farewell(&self, why: Refusal) -> &[u8] {
        match why {
            Refusal::Full if self.port.on_full == OnFull::Text => &self.port.full_text,
            Refusal::Denied => &self.port.deny_text,
            Refusal::Full | Refusal::Down => &[],
        }
    }

    /// Who may come in; everybody if it is empty.
    #[must_use]
    pub const fn allow(&self) -> &S::Allow {
        &self.allow
    }

    /// Replaces the allow list, for those that come from now on, and gives the old one back.
    pub const fn replace_allow(&mut self, allow: S::Allow) -> S::Allow {
        core::mem::replace(&mut self.allow, allow)
    }

    /// Whether what a client sends is of use to somebody: it is not while the client is being closed, or once nobody has
    /// read what it left.
    #[must_use]
    pub fn keeps(&self, slot: SlotId) -> bool {
        self.clients.get(slot).is_some_and(|client| client.hears() && !client.discards())
    }

    /// What is received and unread, the oldest first. Nothing if the client has left.
    #[must_use]
    pub fn received(&self, slot: SlotId) -> [&[u8]; 2] {
        let Some(client) = self.clients.get(slot) else { return [&[]; 2] };
        let [rx, _] = self.queues(slot.index());
        client.rx.slices(rx)
    }

    /// The bytes to be written for the [`Output::Transmit`] under way; nothing without one.
    #[must_use]
    pub fn transmit(&self, slot: SlotId) -> [&[u8]; 2] {
        let Some(client) = self.clients.get(slot) else { return [&[]; 2] };
        let [_, tx] = self.queues(slot.index());
        client.tx.front(tx, client.offered)
    }

    /// Bytes of a message that a client's send queue has room for, with the terminator behind it. 0 if it takes none.
    #[must_use]
    pub fn room(&mut self, slot: SlotId) -> usize {
        let room = self.place(slot).map_or(0, |place| if place.client.takes_output() { place.room() } else { 0 });
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// What a reader with room for `room` bytes gets next from a slot. Looking takes nothing away.
    ///
    /// `timed_out` says that the reader can wait no longer. `room` 0 is [`Next::Wait`]; `usize::MAX` gives whole messages.
    pub fn piece(&mut self, index: u32, room: usize, timed_out: bool) -> Next {
        let Some(seat) = self.seat(index).copied() else { return Next::NotConnected };
        let end = Piece { len: 0, skip: 0, eom: Eom::END };
        let at_the_end = if seat.end_owed && room > 0 { Next::Piece(end) } else { Next::NotConnected };
        let Some(slot) = self.clients.id_at(index) else { return at_the_end };
        let number = if seat.options.process_eos { seat.input_eos } else { 0 };
        let chunk = chunk(self.bytes.as_ref(), index, &self.config);
        let (rx, _) = chunk.split_at_checked(to_usize(self.config.rx_queue)).unwrap_or_default();
        let Some(client) = self.clients.get_mut(slot) else { return at_the_end };
        let over = client.input_over();
        let flow = if over {
            Flow::Ended
        } else if client.rx.room(self.config.rx_queue) == 0 {
            Flow::Full
        } else if timed_out {
            Flow::TimedOut
        } else {
            Flow::Open
        };
        match client.scan.next(terminator(self.terminators.as_ref(), number), client.rx.slices(rx), room, flow) {
            Some(piece) if piece.eom == Eom::END => at_the_end,
            Some(piece) => Next::Piece(piece),
            None => Next::Wait,
        }
    }

    /// What the last command came to.
    #[must_use]
    pub const fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// What became of the last message for all, slot by slot. Valid until the next input.
    pub fn outcomes(&self) -> impl Iterator<Item = (u32, Outcome)> {
        (0..self.clients.capacity()).map(|index| {
            let client = self.clients.id_at(index).and_then(|slot| self.clients.get(slot));
            (index, client.map_or(Outcome::Free, |client| client.outcome))
        })
    }

    /// The same in numbers.
    #[must_use]
    pub fn outcome_totals(&self) -> Outcomes {
        let mut totals = Outcomes::default();
        self.clients.by_activity().for_each(|(_, client)| totals.count(client.outcome));
        totals
    }
}

impl<S: Storage> Machine for Server<S> {
    type Input<'a> = Input<'a>;
    type Output = Output;
    type Error = Error;

    fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), Error> {
        self.now = now;
        match input {
            Input::TurnStarted => {
                self.start_turn(now);
                Ok(())
            }
            Input::Opened { local } => {
                self.listener.opened(local)?;
                // It has been wanted again since it was told to close.
                self.emptying &= !self.listener.is_up();
                Ok(())
            }
            Input::OpenFailed { kind } => self.listener.open_failed(now, kind, &self.port),
            Input::Shut => self.listener.shut(now, &self.port),
            Input::Accepted { peer } => self.accepted(now, peer),
            Input::AcceptFailed { kind } => self.accept_failed(now, kind),
            Input::Readable { slot } => self.note(slot, |client| {
                client.note_readable();
                Ok(())
            }),
            Input::Writable { slot } => self.note(slot, |client| {
                client.note_writable();
                Ok(())
            }),
            Input::HungUp { slot } => self.note(slot, |client| {
                client.note_hang_up(now);
                Ok(())
            }),
            Input::Received { slot, bytes, more } => self.with(slot, |place| place.received(now, bytes, more)),
            Input::ReadBlocked { slot } => self.note(slot, Client::read_blocked),
            Input::Ended { slot } => self.with(slot, |place| place.ended(now)),
            Input::Transmitted { slot, len } => self.with(slot, |place| place.transmitted(now, len)),
            Input::WriteBlocked { slot } => self.note(slot, Client::write_blocked),
            Input::Failed { slot, kind } => self.with(slot, |place| place.failed(now, kind)),
            Input::Closed { slot } => self.with(slot, |place| place.closed(now)),
            Input::Requested(command) => self.command(now, command),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.listener.expire(now);
        self.door.expire(now);
        // The wheel would remember an early call.
        if self.timers.next().is_none_or(|next| next > now) {
            return;
        }
        self.now = now;
        while let Some(index) = self.timers.expired(now) {
            let Some(slot) = self.clients.id_at(index) else { continue };
            // A client that has left is gone from the wheel as well.
            let _ = self.with(slot, |place| {
                while let Some(expiry) = place.client.expired(&place.seat.options, now) {
                    place.expire(now, expiry);
                }
                Ok(())
            });
        }
    }

    fn poll_output(&mut self) -> Step<Output> {
        match self.listener.poll(!self.emptying || self.clients.is_empty()) {
            Some(News::Do(output)) => return Step::Do(output),
            Some(News::Up(local)) => return Step::Do(Output::Notify(Event::PortUp { local })),
            Some(News::Down(reason)) => {
                self.emptying = false;
                return Step::Do(Output::Notify(Event::PortDown { reason }));
            }
            None => {}
        }
        if let Some(output) = self.poll_decision().or_else(|| self.poll_client()).or_else(|| self.poll_pause()) {
            return Step::Do(output);
        }
        if !self.yielded && (self.schedule.is_late() || self.door_wants_turn()) {
            self.yielded = true;
            return Step::Do(Output::Yield);
        }
        let port = time::earliest(self.listener.deadline(), self.door.deadline());
        Step::Wait(time::earliest(port, self.timers.next()))
    }
}

impl<S: Storage> Server<S> {
    fn start_turn(&mut self, now: Instant) {
        self.turn = self.turn.wrapping_add(1);
        self.yielded = false;
        self.clients.reclaim();
        self.schedule.turn(self.seats.as_mut());
        self.open_door(now);
    }

    /// The next thing to do for a client, the one that was served least recently first. Whoever has nothing to do any more
    /// gets his deadline.
    fn poll_client(&mut self) -> Option<Output> {
        let bounds = Bounds { turn: self.turn, budget: self.config.slot_budget, rx_queue: self.config.rx_queue };
        while let Some(index) = self.schedule.first() {
            let Some((slot, client)) = self.clients.at_mut(index) else {
                self.schedule.remove(self.seats.as_mut(), index);
                continue;
            };
            match client.work(bounds) {
                Work::Now(task) => {
                    let output = client.start(slot, task);
                    match task {
                        Task::Disconnect => {
                            self.schedule.remove(self.seats.as_mut(), index);
                            self.leave(slot);
                        }
                        Task::ShutdownWrite => {
                            self.with_client(index, |place: &mut Place<'_>| place.output_ended());
                            self.schedule.rotate(self.seats.as_mut());
                        }
                        Task::Tell | Task::Close | Task::Transmit { .. } | Task::Read { .. } => {
                            self.schedule.rotate(self.seats.as_mut());
                        }
                    }
                    return Some(output);
                }
                Work::NextTurn => {
                    self.arm(slot);
                    self.schedule.add(self.seats.as_mut(), index, Turn::Next);
                }
                Work::Nothing => {
                    self.arm(slot);
                    self.schedule.remove(self.seats.as_mut(), index);
                }
            }
        }
        None
    }

    /// A client has been given its slot.
    pub(super) fn welcome(&mut self, slot: SlotId) {
        if let Ok(seat) = self.seat_mut(slot.index()) {
            seat.end_owed = false;
        }
        self.count(Class::Staying, true);
        self.schedule.add(self.seats.as_mut(), slot.index(), Turn::This);
    }

    /// Nothing is left of a client, and that has been told.
    fn leave(&mut self, slot: SlotId) {
        if let Some(client) = self.clients.remove(slot) {
            self.count(client.class, false);
        }
        self.timers.cancel(slot.index());
    }

    /// Changes what is known of a client's socket, which moves no bytes and ends nothing. It is looked at before the port
    /// waits again.
    #[inline]
    fn note(&mut self, slot: SlotId, f: impl FnOnce(&mut Client) -> Result<(), Error>) -> Result<(), Error> {
        let client = self.clients.get_mut(slot).filter(|client| client.state != State::Gone);
        f(client.ok_or(Error::Stale { slot })?)?;
        self.schedule.add(self.seats.as_mut(), slot.index(), Turn::This);
        Ok(())
    }

    /// Does something to one client, which is looked at before the port waits again.
    pub(super) fn with<R>(
        &mut self,
        slot: SlotId,
        f: impl FnOnce(&mut Place<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let now = self.now;
        let mut place = self.place(slot).ok_or(Error::Stale { slot })?;
        let result = f(&mut place)?;
        place.echo(now);
        let moved = place.reclassify();
        self.recount(moved);
        self.schedule.add(self.seats.as_mut(), slot.index(), Turn::This);
        Ok(result)
    }

    /// The same to whoever sits in a slot.
    pub(super) fn with_client(&mut self, index: u32, f: impl FnOnce(&mut Place<'_>)) {
        let now = self.now;
        let Some(slot) = self.clients.id_at(index) else { return };
        if let Some(mut place) = self.place(slot) {
            f(&mut place);
            place.echo(now);
            let moved = place.reclassify();
            self.recount(moved);
        }
        self.schedule.add(self.seats.as_mut(), index, Turn::This);
    }

    /// Sees to it that a client is looked at by its deadline.
    fn arm(&mut self, slot: SlotId) {
        let index = slot.index();
        let (Some(client), Some(seat)) = (self.clients.get(slot), self.seat(index)) else { return };
        let Some(deadline) = client.deadline(&seat.options) else { return };
        if self.timers.deadline(index).is_none_or(|armed| deadline < armed) {
            // It cannot fail: every slot has a key, and no span is longer than the wheel reaches.
            let _ = self.timers.arm(index, self.now, deadline);
        }
    }

    /// A client has moved from one class to another.
    fn recount(&mut self, moved: Option<(Class, Class)>) {
        if let Some((before, after)) = moved {
            self.count(before, false);
            self.count(after, true);
        }
    }

    fn count(&mut self, class: Class, comes: bool) {
        if let Some(tally) = self.tallies.get_mut(class as usize) {
            *tally = if comes { tally.saturating_add(1) } else { tally.saturating_sub(1) };
        }
    }

    /// How many clients there are of a class.
    pub(super) fn tally(&self, class: Class) -> u32 {
        self.tallies.get(class as usize).copied().unwrap_or_default()
    }

    /// Opens the slot of a client of which something is left.
    pub(super) fn place(&mut self, slot: SlotId) -> Option<Place<'_>> {
        let index = slot.index();
        let client = self.clients.get_mut(slot).filter(|client| client.state != State::Gone)?;
        let seat = self.seats.as_mut().get_mut(to_usize(index))?;
        let number = if seat.options.process_eos { seat.output_eos } else { 0 };
        let chunk = chunk_mut(self.bytes.as_mut(), index, &self.config);
        let (rx, tx) = chunk.split_at_mut_checked(to_usize(self.config.rx_queue)).unwrap_or_default();
        let boundaries = if seat.options.overflow == Overflow::DropOldest {
            let first = to_usize(index).saturating_mul(BOUNDARIES);
            self.boundaries.as_mut().get_mut(first..first.saturating_add(BOUNDARIES)).unwrap_or_default()
        } else {
            &mut []
        };
        let output_eos = terminator(self.terminators.as_ref(), number);
        Some(Place { id: slot, client, seat, rx, tx, boundaries, output_eos, turn: self.turn })
    }

    fn queues(&self, index: u32) -> [&[u8]; 2] {
        let chunk = chunk(self.bytes.as_ref(), index, &self.config);
        chunk.split_at_checked(to_usize(self.config.rx_queue)).unwrap_or_default().into()
    }

    fn seat(&self, index: u32) -> Option<&Seat> {
        self.seats.as_ref().get(to_usize(index))
    }

    pub(super) fn seat_mut(&mut self, index: u32) -> Result<&mut Seat, Error> {
        let slots = self.clients.capacity();
        self.seats.as_mut().get_mut(to_usize(index)).ok_or(Error::NoSuchSlot { index, slots })
    }
}

impl<S: Storage> core::fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { listener, door, clients, .. } = self;
        f.debug_struct("Server")
            .field("listener", listener)
            .field("door", door)
            .field("clients", clients)
            .finish_non_exhaustive()
    }
}
