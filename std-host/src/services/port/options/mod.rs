//! Every key of a port: what it is called, which values it has and how they are written, what it starts as, and when it may
//! be set (sections 5 to 11 and 13 of the ports specification).
//!
//! [`OPTIONS`] is the one table of them. The plant file reads and prints its keys by it, the command line sets them by it
//! ([`Options::set`]), and so does whoever changes a port that runs ([`Options::change`]).
//!
//! | what | its text | in a plant file also |
//! | --- | --- | --- |
//! | span | `10m`, `500ms`, `0` for off | |
//! | size | `64k`, `4096` | a number |
//! | number, flag | `3`; `true` | a number; true or false; and no string |
//! | bytes | `\r\n`, `\x00`, `\\` | with the escapes of TOML in place of these, or a list of numbers |
//! | addresses | `10.0.0.0/8,::1`, blanks count as commas | a list |
//! | `watermarks` | `75/25` | `[75, 25]` |
//! | `keepalive` | `on`, `off`, `15s/5s/3` | true, false, a table with `idle`, `interval`, `probes` |
//! | names of trace | `error,driver`, `9`, `none` | a number |
//!
//! Nothing here touches a socket.

mod check;
mod error;
pub(crate) mod escape;
pub(crate) mod form;
mod machine;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod values;

pub use check::Conflict;
pub use error::OptionError;
pub use table::{Change, Key, OPTIONS, Ports, Scope};
pub use values::{AddressText, Consumer, Localhost, Millis, Mode, OnDisconnect, Traced};
pub use wharf_core::port::datagrams::{Mode as Udp, Overflow as Drop, Rest};
pub use wharf_core::port::server::{HalfClose, OnFull, Overflow, Pick, Watermarks};

use super::trace::{FileName, Formats, Levels, Parts};
use crate::event_loop::Keepalive;
use std::path::{Path, absolute};
use wharf_core::network::Network;
use wharf_core::port::address::Protocol;
use wharf_core::port::server::SLOT_BUDGET;

/// The longest name of a port, in bytes.
pub const LONGEST_NAME: usize = 60;
/// The text of `trace_file` that stands for standard error.
pub const STDERR: &str = "stderr";

/// Bytes of a queue of a TCP port unless told otherwise.
const QUEUE: u32 = 16 << 10;
/// The same with [`Mode::Echo`]: what a slot may move in a turn, so that this takes one read and one write.
const ECHO_QUEUE: u32 = SLOT_BUDGET;

/// Everything that is set for a port. Those of another [kind](Ports) than the port is mean nothing to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// 1 to [`LONGEST_NAME`] letters, digits, `_`, `-` or `.`; unique in the host.
    pub name: String,
    /// Where it listens. The protocol is that with which the options were made.
    pub address: AddressText,
    /// Slots, 1..=65535; a UDP port has one.
    pub slots: u16,
    /// What a UDP port keeps.
    pub udp: Udp,
    /// Bytes of each slot's receive queue, or of the ring of a UDP port: 64 B to 16 MiB.
    pub rx_queue: u32,
    /// Bytes of each slot's send queue, likewise.
    pub tx_queue: u32,
    /// Bytes that a slot may move in each direction in a turn of the port, likewise.
    pub slot_budget: u32,
    /// Datagrams in the ring of a UDP port, 1..=4096.
    pub depth: u16,
    /// Which free slot a newcomer gets.
    pub pick: Pick,
    /// What happens to a client that comes when no slot is free.
    pub on_full: OnFull,
    /// What such a client is told with [`OnFull::Text`], at most 256 bytes.
    pub full_text: Vec<u8>,
    /// How long a client has been idle that [`OnFull::KickIdle`] replaces; off, any.
    pub kick_after: Millis,
    /// Who may connect; empty is everybody.
    pub allow: Vec<Network>,
    /// What others are told, at most 256 bytes.
    pub deny_text: Vec<u8>,
    /// What becomes of what a read of a datagram did not take.
    pub rest: Rest,
    /// Which datagram is dropped when the ring is full.
    pub drop: Drop,
    /// How long a datagram is kept from other datagrams for a slow reader; off, for ever.
    pub cache_hold: Millis,
    /// How long a broadcast reaches a peer after its last datagram; off, until another takes its place.
    pub peer_ttl: Millis,
    /// What the host does by itself; [`Options::set_mode`] sets what goes with it, too.
    pub mode: Mode,
    /// The file of [`Mode::Log`]; empty without it.
    pub log_file: String,
    /// Connections that may wait to be accepted, 1..=65535.
    pub backlog: u16,
    /// Whether others may listen on the same address (SO_REUSEPORT).
    pub reuse_port: bool,
    /// Whether an IPv6 address takes IPv6 only.
    pub v6only: bool,
    /// Where `localhost` is.
    pub localhost: Localhost,
    /// How long the port stays down before it tries to listen again; off, it does not.
    pub reopen: Millis,
    /// Whether it listens unasked, and tries again when it could not.
    pub auto_connect: bool,
    /// What becomes of the clients when it stops to listen.
    pub on_disconnect: OnDisconnect,
    /// What each slot starts with.
    pub slot: SlotOptions,
}

/// What may differ from slot to slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotOptions {
    /// Without a byte received for so long, the client is aborted.
    pub idle_rx: Millis,
    /// Without a byte either way.
    pub idle_any: Millis,
    /// Without a byte taken by the system while output is queued.
    pub write_stuck: Millis,
    /// The longest time for sending the queue and awaiting the peer's end before closing.
    pub linger: Millis,
    /// After the peer's end, since the program last read or wrote, with [`HalfClose::Drain`].
    pub half_close_linger: Millis,
    /// After the peer's end, reset or hang-up, since the program last read, before unread bytes are given up.
    pub unread: Millis,
    /// Whether the client is dropped when a blocking read with a timeout has had its time.
    pub disconnect_on_read_timeout: bool,
    /// TCP_NODELAY on the client's socket.
    pub nodelay: bool,
    /// How it is found out that a silent client is gone; `None` is not at all.
    pub keepalive: Option<Keepalive>,
    /// What the peer's end means for our output.
    pub half_close: HalfClose,
    /// What ends a message that comes in, at most 255 bytes and half of `rx_queue`; empty is off.
    pub input_eos: Vec<u8>,
    /// What is put behind a message that goes out, at most 255 bytes and half of `tx_queue`; empty is off.
    pub output_eos: Vec<u8>,
    /// Whether these two count at all.
    pub process_eos: bool,
    /// Who gets messages.
    pub consumer: Consumer,
    /// What becomes of a message that does not fit into the send queue.
    pub overflow: Overflow,
    /// When `HighWater` and `LowWater` are told.
    pub watermarks: Watermarks,
    /// The direction of the transfers that are traced. A transfer is written if `trace_mask` has its level, too.
    pub trace: Traced,
    /// The most bytes that are shown of one, 0..=65536.
    pub trace_limit: u32,
    /// What is traced.
    pub trace_mask: Levels,
    /// How bytes are shown.
    pub trace_io: Formats,
    /// What stands before them.
    pub trace_info: Parts,
    /// Where to: nothing is the log, [`STDERR`] standard error, and all else the [pattern](FileName) of a file's name.
    pub trace_file: String,
}

/// Who asks for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The port: the change is for its default and every slot.
    Port {
        /// Whether it listens or has clients.
        up: bool,
    },
    /// One slot.
    Slot,
}

impl Default for Options {
    /// One slot on a TCP port that the system picks.
    fn default() -> Self {
        Self::new("port", ":0").expect("it is a name and an address")
    }
}

impl Default for SlotOptions {
    fn default() -> Self {
        Self {
            idle_rx: Millis::OFF,
            idle_any: Millis::OFF,
            write_stuck: Millis(30_000),
            linger: Millis(2_000),
            half_close_linger: Millis(1_000),
            unread: Millis(5_000),
            disconnect_on_read_timeout: false,
            nodelay: true,
            keepalive: Some(form::KEEPALIVE),
            half_close: HalfClose::Drain,
            input_eos: Vec::new(),
            output_eos: Vec::new(),
            process_eos: true,
            consumer: Consumer::Pull,
            overflow: Overflow::Reject,
            watermarks: Watermarks { high: 75, low: 25 },
            trace: Traced::None,
            trace_limit: 80,
            trace_mask: Levels::ERROR.with(Levels::DRIVER).with(Levels::WARNING),
            trace_io: Formats::ESCAPE,
            trace_info: Parts::TIME.with(Parts::PORT),
            trace_file: String::new(),
        }
    }
}

impl Options {
    /// A port with one slot and the default of every key; some defaults depend on the protocol.
    ///
    /// # Errors
    /// When the name or the address is none.
    pub fn new(name: &str, address: &str) -> Result<Self, OptionError> {
        let (name_key, address_key) = (table::key("name")?, table::key("address")?);
        if !form::is_name(name) {
            return Err(OptionError::bad(name_key, name, "not a name"));
        }
        match AddressText::parse(address) {
            Ok(address) => Ok(Self::with(name.to_owned(), address)),
            Err(error) => Err(OptionError::bad(address_key, address, error)),
        }
    }

    pub(crate) fn with(name: String, address: AddressText) -> Self {
        let is_udp = address.protocol() == Protocol::Udp;
        Self {
            name,
            address,
            slots: 1,
            udp: Udp::Fifo,
            rx_queue: if is_udp { 256 << 10 } else { QUEUE },
            tx_queue: QUEUE,
            slot_budget: SLOT_BUDGET,
            depth: 64,
            pick: Pick::First,
            on_full: OnFull::Close,
            full_text: Vec::new(),
            kick_after: Millis::OFF,
            allow: Vec::new(),
            deny_text: Vec::new(),
            rest: Rest::Keep,
            drop: Drop::DropNewest,
            cache_hold: Millis(1_000),
            peer_ttl: Millis(60_000),
            mode: Mode::None,
            log_file: String::new(),
            backlog: 128,
            reuse_port: false,
            v6only: false,
            localhost: Localhost::Loopback,
            reopen: Millis(1_000),
            auto_connect: true,
            on_disconnect: OnDisconnect::Drop,
            slot: SlotOptions::default(),
        }
    }

    /// The text of a value, which [`Options::set`] reads as the same value.
    ///
    /// # Errors
    /// When there is no such key, or not on such a port.
    pub fn option(&self, key: &str) -> Result<String, OptionError> {
        let key = self.key(key)?;
        Ok(key.form.print(&key.value(self)))
    }

    /// Sets a value of a port that is yet to be made. What has to do with other values is left to [`Options::check`], because
    /// those may still come.
    ///
    /// # Errors
    /// When there is no such key or not on such a port, or `value` is none of it. The old value stays.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), OptionError> {
        let key = self.key(key)?;
        let parsed = key.form.parse(value).map_err(|why| OptionError::bad(key, value, why))?;
        let before = self.address.protocol();
        let mut changed = self.clone();
        changed.put(key, parsed);
        if changed.address.protocol() != before {
            return Err(OptionError::bad(key, value, "the port cannot change its protocol"));
        }
        *self = changed;
        Ok(())
    }

    /// Sets `trace`, and `trace_io` behind a colon, such as `both:hex`.
    ///
    /// # Errors
    /// When either part is none of its key. The old values stay.
    pub fn set_trace(&mut self, value: &str) -> Result<(), OptionError> {
        let (direction, formats) = value.split_once(':').map_or((value, None), |(first, rest)| (first, Some(rest)));
        let mut changed = self.clone();
        changed.set("trace", direction)?;
        if let Some(formats) = formats {
            changed.set("trace_io", formats)?;
        }
        *self = changed;
        Ok(())
    }

    /// Changes a value of a port that runs, and tells which key that was.
    ///
    /// To change it for one slot, whose options may differ from those of the others, `self` must have them as its `slot`.
    ///
    /// # Errors
    /// As [`Options::set`]; when the value does not go with the others; when the key is fixed, or may only be set while the
    /// port is down, or not for one slot. The old value stays.
    pub fn change(&mut self, target: Target, key: &str, value: &str) -> Result<&'static Key, OptionError> {
        let key = self.key(key)?;
        match (key.change, target) {
            (Change::Fixed, _) => return Err(OptionError::Fixed { key: key.name }),
            (_, Target::Slot) if key.scope == Scope::Port => return Err(OptionError::PortOnly { key: key.name }),
            (Change::Down, Target::Port { up: true }) => return Err(OptionError::Up { key: key.name }),
            (Change::Down | Change::Live, _) => {}
        }
        let mut changed = self.clone();
        changed.set(key.name, value)?;
        if let Err(conflict) = changed.check() {
            return Err(OptionError::bad(key, value, conflict));
        }
        *self = changed;
        Ok(key)
    }

    /// Has relative paths start at the folder of the plant. Where that is no UTF-8 they stay as they are.
    pub(crate) fn start_at(&mut self, folder: &Path) {
        let from = |path: &str| absolute(folder.join(path)).ok()?.into_os_string().into_string().ok();
        if !self.log_file.is_empty() {
            self.log_file = from(&self.log_file).unwrap_or_else(|| std::mem::take(&mut self.log_file));
        }
        let pattern = &mut self.slot.trace_file;
        if !pattern.is_empty() && pattern != STDERR && Path::new(pattern).is_relative() {
            // The folder is a name and no pattern.
            if let Some(folder) = from("") {
                *pattern = format!("{}/{pattern}", FileName::literally(folder.trim_end_matches('/')));
            }
        }
    }

    /// The key of this name, if a port of this kind has it.
    fn key(&self, name: &str) -> Result<&'static Key, OptionError> {
        let key = table::key(name)?;
        if key.ports.has(self) { Ok(key) } else { Err(OptionError::OtherPort { key: key.name, ports: key.ports }) }
    }

    pub(crate) fn put(&mut self, key: &Key, value: values::Value) {
        let before = self.mode;
        assert!(key.put(self, value), "the form of {} makes what its field takes", key.name);
        let mode = std::mem::replace(&mut self.mode, before);
        self.set_mode(mode);
    }

    /// Sets what the host does by itself, and queues of a TCP port that have the default length of the old mode to that of
    /// the new one. So the mode is set first and the queues after it.
    pub fn set_mode(&mut self, mode: Mode) {
        let is_tcp = self.address.protocol() == Protocol::Tcp;
        let usual = |mode| if mode == Mode::Echo { ECHO_QUEUE } else { QUEUE };
        let (before, after) = (usual(self.mode), usual(mode));
        self.mode = mode;
        for queue in [&mut self.rx_queue, &mut self.tx_queue] {
            if is_tcp && *queue == before {
                *queue = after;
            }
        }
    }
}

impl SlotOptions {
    /// The same rules for messages of the trace of one slot.
    #[must_use]
    pub const fn trace_style(&self) -> super::trace::Style {
        super::trace::Style { formats: self.trace_io, parts: self.trace_info, limit: self.trace_limit }
    }
}
