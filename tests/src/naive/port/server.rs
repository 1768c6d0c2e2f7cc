//! A TCP server port, judged: plain queues for each slot, and plain loops over all of them.
//!
//! [`Port`] is told every input that a port is given and every output that it makes. To an input it says what the port
//! must answer. Of an output it says whether it may come now; when the port is drained, whether one is missing. What it
//! has no say in is the order of outputs of different slots, and which of several slots is served first.
//!
//! It shares the vocabulary with `wharf_core::port::server`, nothing else. It looks for every timeout in every slot each
//! time, keeps each message apart, and searches each queue for its terminator from the front.

mod accepting;
mod client;
mod commanding;
mod judging;
mod writing;

use super::framing::{Matter, Queue, Read};
use client::{Client, Timeout};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;
use wharf_core::Instant;
use wharf_core::port::server::{
    ACCEPT_BUDGET, Command, Config, Counters, Error, Event, Failure, How, Input, Options, Outcome, Output, PortOptions,
    Reason, State,
};
use wharf_core::slots::SlotId;

/// What a reader gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A piece of a message, or the end.
    Piece(Read),
    /// Nothing yet.
    Wait,
    /// Nothing, and nobody from whom something might come.
    NotConnected,
}

/// How the port is made, beside its configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Slots.
    pub slots: usize,
    /// Networks that may come in, as address and length of the prefix; none of them means all.
    pub allow: Vec<(IpAddr, u8)>,
    /// Different terminators that have room.
    pub terminators: usize,
    /// Whether boundaries of messages are kept.
    pub boundaries: bool,
}

/// A port and all that is known of it.
#[derive(Clone, Debug)]
pub struct Port {
    setup: Setup,
    rx_queue: usize,
    tx_queue: usize,
    /// Bytes that a slot may move in each direction in a turn.
    slot_budget: usize,
    rotate: bool,
    options: PortOptions,
    slots: Vec<Slot>,
    now: Instant,
    listening: Listening,
    /// Whether the program wants the port up.
    wanted: bool,
    /// Why the port is about to be down, until that is told.
    going_down: Option<wharf_core::port::server::DownReason>,
    /// The port is down only when every client has left.
    dropping: bool,
    /// When listening may be tried again, and by when it must be.
    listen_from: Option<Instant>,
    listen_by: Option<Instant>,
    /// What the time in between is.
    reopen: Option<Duration>,
    /// Accepting is paused until then because descriptors are short, and for how long the next time.
    exhausted: Option<Instant>,
    pause: Duration,
    muted: bool,
    waiting: Option<Waiting>,
    accepts: u8,
    /// The slot after that of the last newcomer.
    rotor: usize,
    /// Outputs of the port itself that have to come.
    owed: VecDeque<client::Owed>,
    yielded: bool,
    /// Nothing has happened in this turn.
    turn_begins: bool,
    receipt: (usize, u64, u64),
    outcomes: Vec<(u32, Outcome)>,
}

/// The listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    No,
    /// `Listen` is out or due.
    Asked,
    Yes {
        local: SocketAddr,
    },
    /// `Unlisten` is out or due.
    Ending,
}

/// A connection that awaits its decision.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    peer: SocketAddr,
    /// It is kept until a later turn.
    parked: bool,
    /// It may be decided in this turn.
    due: bool,
    /// A slot may be freed for it.
    may_evict: bool,
}

/// What belongs to a place, whoever sits there.
#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    /// Freed in this turn.
    resting: bool,
    client: Option<Client>,
    options: Options,
    input_eos: Vec<u8>,
    output_eos: Vec<u8>,
    end_owed: bool,
    /// What the last client may be said to have left for as well.
    or_else: Vec<Reason>,
    /// What the last client still has to be told of.
    owed: VecDeque<client::Owed>,
}

impl Port {
    /// A port that is down.
    #[must_use]
    pub fn new(config: &Config, setup: Setup) -> Self {
        let slot = Slot {
            generation: 0,
            resting: false,
            client: None,
            options: config.slots,
            input_eos: Vec::new(),
            output_eos: Vec::new(),
            end_owed: false,
            or_else: Vec::new(),
            owed: VecDeque::new(),
        };
        Self {
            rx_queue: config.rx_queue as usize,
            tx_queue: config.tx_queue as usize,
            slot_budget: config.slot_budget as usize,
            rotate: config.pick == wharf_core::port::server::Pick::Rotate,
            options: config.port.clone(),
            slots: vec![slot; setup.slots],
            setup,
            now: Instant::ORIGIN,
            listening: Listening::No,
            wanted: false,
            going_down: None,
            dropping: false,
            listen_from: None,
            listen_by: None,
            reopen: None,
            exhausted: None,
            pause: accepting::FIRST_PAUSE,
            muted: false,
            waiting: None,
            accepts: ACCEPT_BUDGET,
            rotor: 0,
            owed: VecDeque::new(),
            yielded: false,
            turn_begins: false,
            receipt: (0, 0, 0),
            outcomes: Vec::new(),
        }
    }

    /// What the port must answer to this input.
    ///
    /// # Errors
    /// The refusal; then nothing has changed.
    pub fn input(&mut self, now: Instant, input: &Input<'_>) -> Result<(), Error> {
        // Everything else looks before it leaps.
        let before = matches!(input, Input::Requested(Command::Set { .. })).then(|| self.clone());
        let told = (self.now, self.turn_begins, self.receipt, std::mem::take(&mut self.outcomes));
        (self.now, self.receipt) = (now, (0, 0, 0));
        self.turn_begins = matches!(input, Input::TurnStarted);
        let answer = self.take(input);
        match (&answer, before) {
            (Ok(()), _) => self.follow(),
            (Err(_), Some(before)) => *self = before,
            (Err(_), None) => (self.now, self.turn_begins, self.receipt, self.outcomes) = told,
        }
        answer
    }

    /// The deadline may have come.
    pub fn timeout(&mut self, now: Instant) {
        self.now = now;
        for at in 0..self.slots.len() {
            self.time_out(at);
        }
        self.time_out_port();
        self.follow();
    }

    /// The earliest of all timeouts.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let of_slots = self.slots.iter().filter_map(|slot| Some(slot.client.as_ref()?.timeouts(&slot.options)));
        of_slots.flatten().map(|(at, _)| at).chain(self.listen_by).chain(self.exhausted).min()
    }

    fn take(&mut self, input: &Input<'_>) -> Result<(), Error> {
        let now = self.now;
        match *input {
            Input::TurnStarted => self.start_turn(),
            Input::Opened { local } => return self.opened(local),
            Input::OpenFailed { kind } => return self.open_failed(kind),
            Input::Shut => return self.shut(),
            Input::Accepted { peer } => return self.accepted(peer),
            Input::AcceptFailed { kind } => return self.accept_failed(kind),
            Input::Readable { slot } => {
                let client = self.client(slot)?;
                (client.can_read, client.read_edge) = (true, true);
            }
            Input::Writable { slot } => {
                let client = self.client(slot)?;
                (client.can_write, client.write_edge) = (true, true);
            }
            Input::HungUp { slot } => {
                let client = self.client(slot)?;
                (client.can_read, client.read_edge) = (true, true);
                (client.can_write, client.write_edge) = (true, true);
                if !client.hung_up && !client.ended {
                    client.hung_up = true;
                    client.gone_since = Some(now);
                }
            }
            Input::Received { slot, bytes, more } => {
                self.received_bytes(slot, bytes)?;
                self.client(slot)?.read_over(more);
            }
            Input::ReadBlocked { slot } => {
                let client = self.client(slot)?;
                client.reading.take().ok_or(Error::Unasked)?;
                client.read_over(false);
            }
            Input::Ended { slot } => return self.ended(slot),
            Input::Transmitted { slot, len } => return self.transmitted(slot, len),
            Input::WriteBlocked { slot } => {
                let client = self.client(slot)?;
                client.writing.take().ok_or(Error::Unasked)?;
                client.can_write = client.write_edge;
            }
            Input::Failed { slot, kind } => {
                let client = self.client(slot)?;
                if client.state == State::Residue {
                    return Err(Error::Unasked);
                }
                if !client.closing {
                    client.gone_since = Some(now);
                }
                let reason = if kind == Failure::Reset { Reason::PeerReset } else { Reason::Failed(kind) };
                client.close(reason, None);
            }
            Input::Closed { slot } => return self.closed(slot),
            Input::Requested(command) => return self.command(command),
            _ => {}
        }
        Ok(())
    }

    fn received_bytes(&mut self, slot: SlotId, bytes: &[u8]) -> Result<(), Error> {
        let now = self.now;
        let client = self.client(slot)?;
        let max = client.reading.ok_or(Error::Unasked)?;
        if !(1..=max).contains(&bytes.len()) {
            return Err(Error::Length { len: bytes.len(), max });
        }
        client.reading = None;
        client.received += bytes.len() as u64;
        client.last_rx = now;
        client.read_budget = client.read_budget.saturating_sub(bytes.len());
        client.rx.extend_from_slice(bytes);
        if client.gives_up || client.reason.is_some() && !client.is_from_peer() {
            client.give_up_input();
        } else {
            let ready = Output::Notify(Event::DataReady { slot });
            if client.owed.iter().all(|owed| owed.output != ready) {
                client.owe(ready);
            }
        }
        Ok(())
    }

    fn ended(&mut self, slot: SlotId) -> Result<(), Error> {
        let now = self.now;
        let place = slot.index() as usize;
        let client = self.client(slot)?;
        client.reading.take().ok_or(Error::Unasked)?;
        client.ended = true;
        client.ended_since = now;
        client.can_read = false;
        (client.hung_up, client.gone_since) = (false, Some(now));
        if client.state == State::Open {
            client.state = State::PeerEnded;
        }
        if !client.closing {
            client.tell(Event::InputEnded { slot });
            let owed = client.reason.is_none();
            self.slots[place].end_owed |= owed;
        }
        Ok(())
    }

    fn transmitted(&mut self, slot: SlotId, len: usize) -> Result<(), Error> {
        let (now, queue) = (self.now, self.tx_queue);
        let place = slot.index() as usize;
        let client = self.client(slot)?;
        let shown = client.writing.ok_or(Error::Unasked)?;
        if !(1..=shown).contains(&len) {
            return Err(Error::Length { len, max: shown });
        }
        client.writing = None;
        client.write_budget -= len;
        client.take_sent(len, now);
        if len < shown {
            client.can_write = client.write_edge;
        }
        let options = self.slots[place].options;
        let client = self.client(slot)?;
        // A queue that is filled up again at once was never low.
        client.echo(&options, queue, now);
        client.watch_low(options.watermarks, queue);
        Ok(())
    }

    fn closed(&mut self, slot: SlotId) -> Result<(), Error> {
        let client = self.client(slot)?;
        let close_is_due = client.owed.iter().any(|owed| matches!(owed.output, Output::Close { .. }));
        if client.state != State::Closing || close_is_due {
            return Err(Error::Unasked);
        }
        client.state = State::Residue;
        Ok(())
    }

    fn start_turn(&mut self) {
        (self.yielded, self.accepts) = (false, ACCEPT_BUDGET);
        for slot in &mut self.slots {
            slot.resting = false;
            if let Some(client) = &mut slot.client {
                (client.read_budget, client.write_budget) = (self.slot_budget, self.slot_budget);
            }
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.due = true;
            waiting.may_evict = true;
        }
    }

    /// What is over by now in one slot, the earliest first.
    fn time_out(&mut self, at: usize) {
        let now = self.now;
        loop {
            let slot = &mut self.slots[at];
            let Some(client) = &mut slot.client else { return };
            let Some((_, what)) = client.timeouts(&slot.options).into_iter().filter(|(end, _)| *end <= now).min()
            else {
                return;
            };
            let over = client.timeouts(&slot.options).into_iter().filter(|(end, _)| *end <= now);
            client.or_else = over.filter_map(|(_, what)| what.reason()).collect();
            match what {
                Timeout::IdleRx => client.close(Reason::IdleRx, Some(How::Abort)),
                Timeout::IdleAny => client.close(Reason::IdleAny, Some(How::Abort)),
                Timeout::WriteStuck => client.close(Reason::WriteStuck, Some(How::Abort)),
                Timeout::Linger => client.close(Reason::LocalClosed, None),
                Timeout::HalfClose => client.flush(Reason::PeerClosed, now),
                Timeout::Unread => {
                    client.give_up_input();
                    client.gives_up = !client.ended;
                }
            }
            self.follow();
        }
    }

    /// What follows in every slot, and for the port, until nothing does.
    fn follow(&mut self) {
        let (now, queue) = (self.now, self.tx_queue);
        for slot in &mut self.slots {
            let Some(client) = &mut slot.client else { continue };
            client.gets_all_back = slot.options.echo;
            client.echo(&slot.options, queue, now);
            if client.has_all_back(&slot.options) {
                slot.end_owed = false;
                client.flush(Reason::PeerClosed, now);
            }
            client.follow();
            if client.state == State::Residue && (client.rx.is_empty() || !client.is_from_peer()) {
                let unread = client.unread + client.rx.len() as u64;
                let unsent = client.unsent;
                let reason = client.reason.unwrap_or(Reason::PeerClosed);
                client.tell(Event::Disconnected { slot: client.id, reason, unread, unsent });
                slot.or_else = std::mem::take(&mut client.or_else);
                slot.owed.append(&mut client.owed);
                slot.client = None;
                slot.resting = true;
                slot.generation = slot.generation.wrapping_add(1);
            }
        }
        self.follow_port();
    }

    fn client(&mut self, id: SlotId) -> Result<&mut Client, Error> {
        let slot = self.slots.get_mut(id.index() as usize).ok_or(Error::Stale { slot: id })?;
        slot.client.as_mut().filter(|client| client.id == id).ok_or(Error::Stale { slot: id })
    }

    fn known(&self, id: SlotId) -> Option<&Client> {
        self.slots.get(id.index() as usize)?.client.as_ref().filter(|client| client.id == id)
    }
}

/// What can be asked of the port at any time.
impl Port {
    /// Who sits in a slot.
    #[must_use]
    pub fn id_at(&self, index: u32) -> Option<SlotId> {
        Some(self.slots.get(index as usize)?.client.as_ref()?.id)
    }

    /// Where a client stands; `None` if it has left.
    #[must_use]
    pub fn state(&self, id: SlotId) -> Option<State> {
        Some(self.known(id)?.state)
    }

    /// Where a client comes from.
    #[must_use]
    pub fn peer(&self, id: SlotId) -> Option<SocketAddr> {
        Some(self.known(id)?.peer)
    }

    /// What has become of a client's bytes.
    #[must_use]
    pub fn counters(&self, id: SlotId) -> Option<Counters> {
        Some(self.known(id)?.counters())
    }

    /// What is received and unread.
    #[must_use]
    pub fn received(&self, id: SlotId) -> Vec<u8> {
        self.known(id).map(|client| client.rx.clone()).unwrap_or_default()
    }

    /// What is queued for a client and has not left.
    #[must_use]
    pub fn queued(&self, id: SlotId) -> Vec<u8> {
        self.known(id).map(Client::tx_bytes).unwrap_or_default()
    }

    /// Bytes of a message that fit into the send queue with its terminator.
    #[must_use]
    pub fn room(&self, id: SlotId) -> usize {
        let Some(client) = self.known(id).filter(|client| client.takes_output()) else { return 0 };
        let slot = &self.slots[id.index() as usize];
        let eos = if slot.options.process_eos { slot.output_eos.len() } else { 0 };
        (self.tx_queue - client.queued()).saturating_sub(eos)
    }

    /// Bytes accepted, lost and discarded by the last input.
    #[must_use]
    pub const fn receipt(&self) -> (usize, u64, u64) {
        self.receipt
    }

    /// What became of the last broadcast in each slot.
    #[must_use]
    pub fn outcomes(&self) -> &[(u32, Outcome)] {
        &self.outcomes
    }

    /// What a reader with so much room gets next in a slot.
    #[must_use]
    pub fn piece(&self, index: u32, room: usize, timed_out: bool) -> Next {
        let Some(slot) = self.slots.get(index as usize) else { return Next::NotConnected };
        let end = Next::Piece(Read { bytes: Vec::new(), removed: 0, eom: super::framing::END });
        let Some(client) = slot.client.as_ref() else {
            return if slot.end_owed { end } else { Next::NotConnected };
        };
        let over = client.ended || client.reason.is_some();
        if client.rx.is_empty() && over {
            return if slot.end_owed { end } else { Next::NotConnected };
        }
        let matter = if over {
            Matter::Ended
        } else if client.rx.len() == self.rx_queue {
            Matter::Full
        } else if timed_out {
            Matter::Timeout
        } else {
            Matter::Nothing
        };
        let terminator = if slot.options.process_eos { slot.input_eos.clone() } else { Vec::new() };
        let mut queue = Queue { bytes: client.rx.clone(), terminator };
        queue.read(room, matter).map_or(Next::Wait, Next::Piece)
    }
}

/// Of something of which there are few.
fn count(few: usize) -> u32 {
    u32::try_from(few).unwrap_or(u32::MAX)
}
