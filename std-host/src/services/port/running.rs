//! A port as whoever is on its loop sees it: the face of the port that never waits.

use super::error::Error;
use super::options::{Consumer, OnDisconnect, OptionError, Options, Target};
use super::report::{Level, Report};
use super::site::Site;
use super::subscribers::Subscriber;
use super::trace::{Direction, Levels};
use std::net::SocketAddr;
use std::ops::Range;
use wharf_core::port::framing::{Eom, Piece};
use wharf_core::port::server::{
    self, Command, Counters, Input, Next, OnClose, Overflow, PortCounters, Reason, Receipt, Seated, SlotOption, State,
};
use wharf_core::slots::SlotId;
use wharf_core::{Instant, Machine};

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// The whole port, -1.
    Port,
    /// One slot.
    Slot(u16),
}

impl Addr {
    /// The address with this number: -1 is the port, others are slots. Whether there is such a slot is for the port to say.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for what no port can have.
    pub fn new(addr: i32) -> Result<Self, Error> {
        if addr == -1 {
            return Ok(Self::Port);
        }
        u16::try_from(addr).map(Self::Slot).map_err(|_| Error::OutOfRange { addr, slots: u32::from(u16::MAX) })
    }
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Bytes in the buffer.
    pub len: usize,
    /// Why there are not more.
    pub eom: Eom,
    /// Who sent them; `None` for the end of a client that has left.
    pub slot: Option<SlotId>,
}

/// A port on its loop. Nothing here waits: what cannot be done now is [`Error::WouldBlock`], and an event tells when it can.
pub struct Running<'a> {
    site: &'a Site,
    now: Instant,
}

impl<'a> Running<'a> {
    pub(super) const fn new(site: &'a Site, now: Instant) -> Self {
        Self { site, now }
    }

    pub(super) const fn site(&self) -> &Site {
        self.site
    }

    /// The name of the port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.site.common.name
    }

    /// The time of the loop at which this is.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The number of slots.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.site.common.slots
    }

    /// Where the port listens; `None` while it is down.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.site.machine.borrow().local()
    }

    /// Why the port could not be opened the last time, if it could not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.site.common.failure()
    }

    /// Opens the port, unless it is up. [`PortUp`](wharf_core::port::server::Event::PortUp) or `PortDown` follows.
    /// Nothing happens once the port is being stopped.
    pub fn connect(&mut self) {
        if !self.site.stopping.get() {
            // It cannot be refused.
            let _ = self.command(Command::Open);
        }
    }

    /// Opens no more, whoever asks for it.
    pub(super) fn retire(&self) {
        self.site.stopping.set(true);
    }

    /// Closes the port. `PortDown` follows, with `Drop` when the last client has left.
    pub fn disconnect(&mut self, clients: OnClose) {
        let _ = self.command(Command::Close(clients));
        self.site.desk.not_opened(Some("it was closed meanwhile"));
    }

    /// Leaves a port that could not be opened in time closed, unless it opens by itself.
    pub(super) fn withdraw(&mut self) {
        if !self.site.options.borrow().auto_connect {
            let _ = self.command(Command::Close(OnClose::Keep));
        }
    }

    /// [`Running::disconnect`] with what the option `on_disconnect` says.
    pub fn disconnect_as_set(&mut self) {
        let keeps = self.site.options.borrow().on_disconnect == OnDisconnect::Keep;
        self.disconnect(if keeps { OnClose::Keep } else { OnClose::Drop });
    }

    /// The next bytes of a slot, as far as they make a message or fill the buffer.
    ///
    /// # Errors
    /// [`Error::EmptyBuffer`]; [`Error::NotASlot`] for the whole port; [`Error::NotConnected`] if nobody is there, or once
    /// the end of the input has been given; [`Error::WouldBlock`].
    pub fn read(&mut self, addr: Addr, buffer: &mut [u8]) -> Result<Read, Error> {
        let room = buffer.len();
        self.read_within(addr, buffer, room, false)
    }

    /// The same for a reader whose time is over: what is no message yet is given all the same.
    ///
    /// # Errors
    /// As for [`Running::read`], and [`Error::Timeout`] in place of [`Error::WouldBlock`].
    pub fn read_now(&mut self, addr: Addr, buffer: &mut [u8]) -> Result<Read, Error> {
        let room = buffer.len();
        let read = self.read_within(addr, buffer, room, true);
        read.map_err(|error| if error == Error::WouldBlock { Error::Timeout { bytes: 0 } } else { error })
    }

    /// A read of one who has room for `room` bytes. The buffer may be smaller if the queue of the slot is not larger.
    pub(super) fn read_within(
        &mut self,
        addr: Addr,
        buffer: &mut [u8],
        room: usize,
        timed_out: bool,
    ) -> Result<Read, Error> {
        let index = self.index(addr)?;
        if room == 0 {
            return Err(Error::EmptyBuffer);
        }
        let piece = match self.site.machine.borrow_mut().piece(index, room, timed_out) {
            Next::Piece(piece) => piece,
            Next::Wait => return Err(Error::WouldBlock),
            Next::NotConnected => return Err(Error::NotConnected),
        };
        let slot = self.slot_at(index);
        if piece.eom == Eom::END {
            self.command(Command::TakeEnd { index })?;
            return Ok(Read { len: 0, eom: Eom::END, slot });
        }
        let slot = slot.ok_or(Error::NotConnected)?;
        self.copy(slot, &mut buffer[..piece.len]);
        let bytes = [&buffer[..piece.len], &[]];
        self.site.trace(Some(slot), Levels::DEVICE, Direction::Rx, bytes, "read");
        self.command(Command::Consume { slot, len: piece.taken() })?;
        Ok(Read { len: piece.len, eom: piece.eom, slot: Some(slot) })
    }

    /// What a reader with room for `room` bytes would be given. Looking takes nothing away.
    pub(super) fn piece(&mut self, slot: SlotId, room: usize) -> Option<Piece> {
        if self.slot_at(slot.index()) != Some(slot) {
            return None;
        }
        match self.site.machine.borrow_mut().piece(slot.index(), room, false) {
            Next::Piece(piece) => Some(piece),
            Next::Wait | Next::NotConnected => None,
        }
    }

    /// Copies the front of what a client has sent.
    pub(super) fn copy(&self, slot: SlotId, buffer: &mut [u8]) {
        let machine = self.site.machine.borrow();
        let mut rest = buffer;
        for part in machine.received(slot) {
            let len = part.len().min(rest.len());
            let (front, behind) = rest.split_at_mut(len);
            front.copy_from_slice(&part[..len]);
            rest = behind;
        }
    }

    /// Ends our output to a client once everything queued is with the system. Input goes on.
    ///
    /// # Errors
    /// [`Error::NotConnected`].
    pub fn shutdown(&mut self, addr: Addr) -> Result<(), Error> {
        let slot = self.client(addr)?;
        self.command(Command::ShutDown { slot }).map(|_| ())
    }

    /// Discards what a client has sent and nobody has read; how many bytes that was.
    ///
    /// # Errors
    /// [`Error::NotConnected`].
    pub fn flush(&mut self, addr: Addr) -> Result<u32, Error> {
        let slot = self.client(addr)?;
        self.command(Command::Flush { slot }).map(|receipt| receipt.discarded)
    }

    /// Closes a client after what is queued has been sent, for which it has `linger`. False: nobody was there.
    ///
    /// # Errors
    /// [`Error::NotASlot`], [`Error::OutOfRange`].
    pub fn drop_client(&mut self, addr: Addr) -> Result<bool, Error> {
        self.end(addr, |slot| Command::Drop { slot, reason: Reason::LocalClosed })
    }

    /// Closes a client at once, by a reset. False: nobody was there.
    ///
    /// # Errors
    /// [`Error::NotASlot`], [`Error::OutOfRange`].
    pub fn abort_client(&mut self, addr: Addr) -> Result<bool, Error> {
        self.end(addr, |slot| Command::Abort { slot })
    }

    /// Closes every client at once.
    pub(super) fn abort_all(&mut self) {
        for slot in (0..self.slots()).filter_map(|index| self.slot_at(index)).collect::<Vec<_>>() {
            // Refused only by one that is gone already.
            let _ = self.command(Command::Abort { slot });
        }
    }

    fn end(&mut self, addr: Addr, command: impl FnOnce(SlotId) -> Command<'static>) -> Result<bool, Error> {
        let index = self.index(addr)?;
        let Some(slot) = self.slot_at(index) else { return Ok(false) };
        Ok(self.command(command(slot)).is_ok())
    }

    /// Who sits in a slot.
    ///
    /// # Errors
    /// [`Error::NotASlot`], [`Error::OutOfRange`].
    pub fn slot_id(&self, addr: Addr) -> Result<Option<SlotId>, Error> {
        Ok(self.slot_at(self.index(addr)?))
    }

    /// Where the client of a slot comes from.
    ///
    /// # Errors
    /// [`Error::NotASlot`], [`Error::OutOfRange`].
    pub fn peer(&self, addr: Addr) -> Result<Option<SocketAddr>, Error> {
        let machine = self.site.machine.borrow();
        Ok(machine.id_at(self.index(addr)?).and_then(|slot| machine.peer(slot)))
    }

    /// The name of a slot.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn child_name(&self, index: u16) -> Result<String, Error> {
        self.index(Addr::Slot(index)).map(|index| format!("{}:{index}", self.name()))
    }

    /// A client, for a report.
    #[must_use]
    pub fn seated(&self, index: u32) -> Option<(Seated, Counters)> {
        let machine = self.site.machine.borrow();
        let slot = machine.id_at(index)?;
        Some((machine.seated(slot)?, machine.counters(slot)?))
    }

    /// What a client is doing.
    #[must_use]
    pub fn state(&self, slot: SlotId) -> Option<State> {
        self.site.machine.borrow().state(slot)
    }

    /// Calls of other threads that wait for something. A message for all counts once for each slot that it waits for.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.site.desk.waiting()
    }

    /// What has happened since the port was made.
    #[must_use]
    pub fn totals(&self) -> PortCounters {
        self.site.machine.borrow().totals()
    }

    /// What the port tells of itself.
    #[must_use]
    pub fn report(&self, level: Level) -> Report {
        Report::take(self, level, 0..self.slots())
    }

    /// The same with these slots only, for ports that have many.
    #[must_use]
    pub fn report_of(&self, level: Level, slots: Range<u32>) -> Report {
        Report::take(self, level, slots)
    }

    /// Has the files of trace and `mode = "log"` opened again, for whoever rotates them; false if there are none.
    pub fn reopen_files(&self) -> bool {
        self.site.reopen_files()
    }

    /// From now on `subscriber` hears what happens.
    pub fn subscribe(&mut self, subscriber: Box<dyn Subscriber>) {
        self.site.subscribers.borrow_mut().add(subscriber);
    }

    /// The text of an option, of the port's default or of a slot.
    ///
    /// # Errors
    /// [`Error::Option`] for a key that a port does not have, [`Error::OutOfRange`].
    pub fn option(&self, addr: Addr, key: &str) -> Result<String, Error> {
        self.options(addr)?.option(key).map_err(|error| Error::Option(error.to_string()))
    }

    /// Sets an option of a slot, or of the port: then it is set for the slots to come and for every slot.
    ///
    /// # Errors
    /// [`Error::Option`] says what is wrong with the key or the value; the old value stays. [`Error::OutOfRange`].
    pub fn set_option(&mut self, addr: Addr, key: &str, value: &str) -> Result<(), Error> {
        let mut options = self.options(addr)?;
        let (target, index) = match addr {
            Addr::Port => (Target::Port { up: self.is_in_use() }, None),
            Addr::Slot(index) => (Target::Slot, Some(u32::from(index))),
        };
        let wrong = |error: OptionError| Error::Option(error.to_string());
        let key = options.change(target, key, value).map_err(wrong)?;
        if let Some(command) = options.command(key, index) {
            self.command(command)?;
        }
        if key.name == "consumer" {
            // Whoever gets messages now gets those that wait as well: bytes that are framed anew are told of anew.
            for index in index.map_or(0..self.slots(), |index| index..index + 1) {
                let process_eos = self.site.with_slot_options(index, |options| options.process_eos);
                self.command(Command::Set { index: Some(index), option: SlotOption::ProcessEos(process_eos) })?;
            }
        }
        if matches!(key.name, "nodelay" | "keepalive") {
            self.site.untuned.borrow_mut().extend(index.map_or(0..self.slots(), |index| index..index + 1));
        }
        if key.name == "allow" {
            self.site.machine.borrow_mut().replace_allow(options.allow.clone().into());
        }
        let mut own = self.site.own_options.borrow_mut();
        match index {
            Some(index) => {
                own.insert(index, options.slot);
            }
            None => {
                for slot in own.values_mut() {
                    let mut changed = Options { slot: slot.clone(), ..options.clone() };
                    // It has been found to be good for the port, and is set whatever else the slot has.
                    if changed.set(key.name, value).is_ok() {
                        *slot = changed.slot;
                    }
                }
                *self.site.options.borrow_mut() = options;
            }
        }
        drop(own);
        self.site.options_changed();
        Ok(())
    }

    /// The options of the port, with those of the slot in place of its default.
    fn options(&self, addr: Addr) -> Result<Options, Error> {
        let mut options = self.site.options.borrow().clone();
        if let Addr::Slot(_) = addr {
            let index = self.index(addr)?;
            if let Some(own) = self.site.own_options.borrow().get(&index) {
                options.slot = own.clone();
            }
        }
        Ok(options)
    }

    /// What has become of a client's bytes.
    pub(super) fn counters(&self, slot: SlotId) -> Option<Counters> {
        self.site.machine.borrow().counters(slot)
    }

    /// Where a client comes from.
    pub(super) fn peer_of(&self, slot: SlotId) -> Option<SocketAddr> {
        self.site.machine.borrow().peer(slot)
    }

    /// Whether messages to this slot go for the sake of newer ones.
    pub(super) fn drops_oldest(&self, index: u32) -> bool {
        self.site.with_slot_options(index, |options| options.overflow == Overflow::DropOldest)
    }

    /// Whether a reader of this slot that waited in vain costs the connection.
    pub(super) fn drops_on_read_timeout(&self, index: u32) -> bool {
        self.site.with_slot_options(index, |options| options.disconnect_on_read_timeout)
    }

    /// Whether anybody sits in a slot.
    #[must_use]
    pub fn has_clients(&self) -> bool {
        self.site.machine.borrow().taken() > 0
    }

    /// Whether the port listens or has clients.
    fn is_in_use(&self) -> bool {
        !self.site.machine.borrow().is_down() || self.has_clients()
    }

    /// Who gets the messages of a slot.
    pub(super) fn consumer(&self, index: u32) -> Consumer {
        self.site.with_slot_options(index, |options| options.consumer)
    }

    /// Shows the terminator of a slot's messages.
    pub(super) fn with_terminator(&self, index: u32, f: impl FnOnce(&[u8])) {
        self.site.with_slot_options(index, |options| f(if options.process_eos { &options.input_eos } else { &[] }));
    }

    /// Bytes that a slot's receive queue holds.
    pub(super) fn rx_queue(&self) -> usize {
        self.site.common.rx_queue
    }

    /// Does what the program asks for. What follows is carried out when the caller is done.
    pub(super) fn command(&mut self, command: Command<'_>) -> Result<Receipt, Error> {
        let mut machine = self.site.machine.borrow_mut();
        // Calls of other threads may wait for what follows.
        if let Command::ShutDown { slot } | Command::Drop { slot, .. } | Command::Abort { slot } = command {
            self.site.desk.touch(slot.index());
        } else if matches!(command, Command::Close(_) | Command::Set { .. }) {
            self.site.desk.touch_all();
        }
        match machine.handle_input(self.now, Input::Requested(command)) {
            Ok(()) => Ok(machine.receipt()),
            Err(server::Error::PortDown) => Err(Error::PortDown { why: self.site.common.failure() }),
            Err(error) => Err(error.into()),
        }
    }

    fn index(&self, addr: Addr) -> Result<u32, Error> {
        let Addr::Slot(index) = addr else { return Err(Error::NotASlot) };
        let slots = self.slots();
        if u32::from(index) < slots { Ok(index.into()) } else { Err(Error::OutOfRange { addr: index.into(), slots }) }
    }

    pub(super) fn slot_at(&self, index: u32) -> Option<SlotId> {
        self.site.machine.borrow().id_at(index)
    }

    pub(super) fn client(&self, addr: Addr) -> Result<SlotId, Error> {
        self.slot_at(self.index(addr)?).ok_or(Error::NotConnected)
    }
}

impl std::fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("name", &self.name()).finish_non_exhaustive()
    }
}
