//! A device port whose memory is on the heap, and small ports of every kind for scripts that are drawn.

use wharf_core::network::Network;
use wharf_core::port::framing::Terminator;
use wharf_core::port::server::{
    BOUNDARIES, Client, Config, Error, HalfClose, OnFull, Options, Overflow, Parts, Pick, PortOption, PortOptions,
    SLOT_BUDGET, Seat, Server, SlotOption, Storage, Watermarks,
};
use wharf_core::slots::Entry;
use wharf_core::timers::Node;

/// Who may come in where not everybody may.
pub const ALLOWED: &str = "10.0.0.0/24";

/// Vectors for everything.
#[derive(Debug)]
pub struct Heap;

impl Storage for Heap {
    type Clients = Vec<Entry<Client>>;
    type Seats = Vec<Seat>;
    type Timers = Vec<Node>;
    type Bytes = Vec<u8>;
    type Boundaries = Vec<u32>;
    type Terminators = Vec<Terminator>;
    type Allow = Vec<Network>;
}

/// What follows from no configuration.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Slots.
    pub slots: usize,
    /// Different terminators.
    pub terminators: usize,
    /// Whether boundaries of messages are kept.
    pub boundaries: bool,
    /// Who may come in; everybody if it is empty.
    pub allow: Vec<Network>,
}

impl Memory {
    /// So many slots, with everything that a port can have, for everybody.
    #[must_use]
    pub const fn of(slots: usize) -> Self {
        Self { slots, terminators: 8, boundaries: true, allow: Vec::new() }
    }
}

/// A port in memory that fits its configuration.
///
/// # Errors
/// When the configuration itself does not.
pub fn server(config: Config, memory: Memory) -> Result<Server<Heap>, Error> {
    let Memory { slots, terminators, boundaries, allow } = memory;
    let queues = usize::try_from(u64::from(config.rx_queue) + u64::from(config.tx_queue)).unwrap_or(usize::MAX);
    let parts = Parts {
        clients: vec![Entry::EMPTY; slots],
        seats: vec![Seat::EMPTY; slots],
        timers: vec![Node::EMPTY; slots],
        bytes: vec![0; queues.saturating_mul(slots).min(1 << 28)],
        boundaries: vec![0; if boundaries { slots * BOUNDARIES } else { 0 }],
        terminators: vec![Terminator::OFF; terminators],
        allow,
    };
    Server::new(config, parts)
}

/// Configuration and storage, from eight bytes.
#[must_use]
pub fn setting([slots, full, how, queues, short, off, eos, spans]: [u8; 8]) -> (Config, Memory) {
    let queue = |nibble: u8| [64, 65, 100, 128, 200, 64, 96, 70_000][usize::from(nibble & 7)];
    let span = |bit: u8, long: u32| {
        let millis = if short >> bit & 1 == 0 { long } else { 20 + u32::from(bit) };
        if off >> bit & 1 == 0 { millis } else { 0 }
    };
    // What takes a thousand turns shows no more than what takes three.
    let is_long = [queues, queues >> 4].into_iter().any(|nibble| queue(nibble) > 200);
    let budget = if is_long { SLOT_BUDGET } else { [SLOT_BUDGET, 64, 100, SLOT_BUDGET][usize::from(spans >> 6)] };
    let boundaries = how & 0x80 == 0;
    let overflow =
        [Overflow::Reject, Overflow::Partial, Overflow::Disconnect, Overflow::DropOldest][usize::from(how & 3)];
    let config = Config {
        rx_queue: queue(queues),
        tx_queue: queue(queues >> 4),
        slot_budget: budget,
        pick: if slots & 8 == 0 { Pick::First } else { Pick::Rotate },
        port: PortOptions {
            on_full: on_full(full),
            kick_after: u32::from(spans & 3) * 10,
            reopen: [1000, 0, 1, 50][usize::from(spans >> 2 & 3)],
            auto_connect: spans & 16 == 0,
            ..PortOptions::DEFAULT
        },
        slots: Options {
            idle_rx: span(0, 0),
            idle_any: span(1, 0),
            write_stuck: span(2, 30_000),
            linger: span(3, 2_000),
            half_close_linger: span(4, 1_000),
            unread: span(5, 5_000),
            half_close: if how & 4 == 0 { HalfClose::Drain } else { HalfClose::Keep },
            overflow: if boundaries || overflow != Overflow::DropOldest { overflow } else { Overflow::Reject },
            watermarks: watermarks(how >> 3),
            process_eos: eos & 0x80 == 0,
            echo: spans & 32 != 0,
        },
    };
    let memory = Memory {
        slots: [1, 2, 3, 4, 5, 1, 2, 20][usize::from(slots & 7)],
        terminators: 1 + usize::from(eos >> 5 & 3),
        boundaries,
        allow: if full & 0x80 == 0 { Vec::new() } else { vec![ALLOWED.parse().expect("a network")] },
    };
    (config, memory)
}

/// What happens to a newcomer when no slot is free.
#[must_use]
pub const fn on_full(choice: u8) -> OnFull {
    [OnFull::Close, OnFull::Text, OnFull::Hold, OnFull::KickOldest, OnFull::KickIdle][(choice & 7) as usize % 5]
}

const fn watermarks(choice: u8) -> Watermarks {
    let (high, low) = [(75, 25), (100, 0), (50, 49), (1, 0)][(choice & 3) as usize];
    Watermarks { high, low }
}

/// A terminator out of few.
#[must_use]
pub const fn terminator(choice: u8) -> &'static [u8] {
    let all: [&[u8]; 6] = [b"\n", b"\r\n", b"", b"aab", b"\r\r\n", &[b'z'; 40]];
    all[(choice % 6) as usize]
}

/// An option of a slot, and a value that it may or may not have. Spans differ in their last digit.
#[must_use]
pub fn slot_option(which: u8, value: u8) -> SlotOption<'static> {
    let which = which % 14;
    let millis = if value == 0 { 0 } else { u32::from(value) * 10 + u32::from(which) };
    let overflow = [Overflow::Reject, Overflow::Partial, Overflow::Disconnect, Overflow::DropOldest];
    match which {
        0 => SlotOption::IdleRx(millis),
        1 => SlotOption::IdleAny(millis),
        2 => SlotOption::WriteStuck(millis),
        3 => SlotOption::Linger(millis),
        4 => SlotOption::HalfCloseLinger(millis),
        5 => SlotOption::Unread(millis),
        6 => SlotOption::HalfClose(if value & 1 == 0 { HalfClose::Drain } else { HalfClose::Keep }),
        7 => SlotOption::Overflow(overflow[usize::from(value & 3)]),
        8 => SlotOption::Watermarks(Watermarks { high: value, low: value / 2 }),
        9 => SlotOption::ProcessEos(value & 1 == 0),
        10 => SlotOption::InputEos(terminator(value)),
        11 => SlotOption::Echo(value & 1 == 0),
        _ => SlotOption::OutputEos(terminator(value)),
    }
}

/// The same for the port.
#[must_use]
pub fn port_option(which: u8, value: u8) -> PortOption<'static> {
    match which & 3 {
        0 => PortOption::OnFull(on_full(value)),
        1 => PortOption::KickAfter(u32::from(value) * 10),
        2 => PortOption::Reopen(u32::from(value) * 10),
        _ => PortOption::AutoConnect(value & 1 == 0),
    }
}
