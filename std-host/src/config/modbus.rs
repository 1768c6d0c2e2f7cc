//! `[[modbus.server]]`: what a Modbus server is made of.
//!
//! These are plain values: reading them from a file is in `modbus/read.rs`, writing them in `modbus/print.rs`. Sections
//! in the docs are those of the Modbus specification of Wharf; AP is the Application Protocol V1.1b3.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use wharf_core::modbus::pdu::function;
use wharf_core::network::Network;
pub use wharf_core::rate::Rate;

pub(super) mod data;
mod fault;
pub(super) mod limits;
pub mod point;
pub(super) mod print;
pub(super) mod read;

pub use data::{Access, AccessRange, Block, File, Fill, Identity, OBJECT_NAMES, Queue, Random, ServerId, Table};
pub use fault::Fault;
pub use point::Point;

/// The function codes that Wharf serves without a handler (AP 6.1 to 6.21).
pub const FUNCTIONS: [u8; 19] = function::PUBLIC;
/// Those among them that AP titles as being for serial lines only.
pub const SERIAL_FUNCTIONS: [u8; 5] = function::SERIAL;
/// How many entries each table of an unconfigured device has.
pub const UNCONFIGURED: u32 = 10_000;

/// One server: a set of listening addresses and the units behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Unique within the plant.
    pub name: String,
    /// At least one address; port 0 lets the system choose. IPv6 addresses are v6-only.
    pub listen: Vec<SocketAddr>,
    /// Connections that may wait to be accepted, 1..=65535.
    pub backlog: u16,
    /// Connections served at once, 1..=1000000.
    pub max_connections: u32,
    /// What becomes of a newcomer beyond them.
    pub when_full: WhenFull,
    /// Connections of one IP address; `None` is no limit.
    pub max_per_address: Option<u32>,
    /// The addresses that may connect; `None` is all.
    pub allow: Option<Vec<Network>>,
    /// The addresses that are never evicted, and always admitted as long as they have fewer than `priority_max`
    /// connections each; those count apart.
    pub priority: Vec<Network>,
    /// See `priority`, 1..=1000.
    pub priority_max: u32,
    /// How often one address may connect.
    pub accept_rate: Option<Rate>,
    /// How often one connection may ask.
    pub request_rate: Option<Rate>,
    /// What happens to a request beyond that.
    pub rate_action: RateAction,
    /// How a newcomer learns that it is rejected.
    pub reject_with: RejectWith,
    /// TCP keep-alive on each accepted socket; `None` is off.
    pub keepalive: Option<Keepalive>,
    /// TCP_NODELAY on each accepted socket.
    pub nodelay: bool,
    /// SO_RCVBUF of each accepted socket in bytes; `None` leaves the system's.
    pub receive_buffer: Option<u32>,
    /// SO_SNDBUF of each accepted socket in bytes; `None` leaves the system's.
    pub send_buffer: Option<u32>,
    /// How long a shutdown waits for replies before it cuts; `None` waits for ever.
    pub shutdown_timeout: Option<Duration>,
    /// Parent of every random choice of this server.
    pub seed: u64,
    /// Whether replies made from one read leave in one write.
    pub coalesce: bool,
    /// Accepted requests without a queued reply, 1..=16, per connection.
    pub max_outstanding: u8,
    /// What happens to a request above that number.
    pub overflow: Overflow,
    /// How long a deferred request may take before it is answered 06; `None` is for ever.
    pub request_timeout: Option<Duration>,
    /// How long a frame may take to be complete; `None` is for ever.
    pub frame_timeout: Option<Duration>,
    /// How long a connection may be quiet; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a peer may take no output; `None` is for ever.
    pub write_timeout: Option<Duration>,
    /// How long a closing connection waits for the peer's FIN; `None` is not at all.
    pub linger: Option<Duration>,
    /// Who answers for unit id 0.
    pub unit_0: UnitZero,
    /// Who answers for unit id 255.
    pub unit_255: Unit255,
    /// What happens to a request for a unit that does not exist or is not enabled.
    pub unknown_unit: UnknownUnit,
    /// What goes wrong on purpose, in file order, each name once.
    pub faults: Vec<Fault>,
    /// Who answers where a policy says "the default device".
    pub default_device: DefaultDevice,
    /// In file order, each id once.
    pub units: Vec<Unit>,
}

impl Server {
    /// A server with the given name, no units, and the default of every key.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            listen: vec![(Ipv4Addr::UNSPECIFIED, 502).into()],
            backlog: 1024,
            max_connections: 10_000,
            when_full: WhenFull::Reject,
            max_per_address: None,
            allow: None,
            priority: Vec::new(),
            priority_max: 4,
            accept_rate: None,
            request_rate: None,
            rate_action: RateAction::Busy,
            reject_with: RejectWith::Reset,
            keepalive: Some(Keepalive::default()),
            nodelay: true,
            receive_buffer: None,
            send_buffer: None,
            shutdown_timeout: Some(Duration::from_secs(30)),
            seed: 0,
            coalesce: true,
            max_outstanding: 16,
            overflow: Overflow::Busy,
            request_timeout: Some(Duration::from_secs(5)),
            frame_timeout: Some(Duration::from_secs(10)),
            idle_timeout: Some(Duration::from_secs(300)),
            write_timeout: Some(Duration::from_secs(10)),
            linger: Some(Duration::from_secs(1)),
            unit_0: UnitZero::Device,
            unit_255: Unit255::Device,
            unknown_unit: UnknownUnit::GatewayTargetFailed,
            faults: Vec::new(),
            default_device: DefaultDevice::LowestUnit,
            units: Vec::new(),
        }
    }
}

/// What becomes of a newcomer when there are `max_connections` already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// `reject`: it is turned away.
    Reject,
    /// `evict`: the connection that asked longest ago and waits for nothing makes room; if there is none, it is turned
    /// away.
    Evict,
}

/// What happens to a request beyond `request_rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAction {
    /// `busy`: it is answered with exception 06 at once.
    Busy,
    /// `pause`: reading stops until it is due.
    Pause,
}

/// How a newcomer is turned away, after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectWith {
    /// `rst`
    Reset,
    /// `fin`
    Finish,
}

/// TCP keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Quiet time before the first probe, 1..=32767 s.
    pub idle_seconds: u32,
    /// Time between probes, 1..=32767 s.
    pub interval_seconds: u32,
    /// Unanswered probes that end the connection, 1..=127.
    pub probes: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { idle_seconds: 60, interval_seconds: 15, probes: 4 }
    }
}

/// What happens to a request that finds no free transaction (section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// `busy`: it is answered with exception 06 at once.
    Busy,
    /// `wait`: reading stops until there is room.
    Wait,
}

/// The policy for unit id 0 (section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitZero {
    /// `device`: unit 0, else the default device.
    Device,
    /// `broadcast`: writes run on every enabled unit and nobody answers.
    Broadcast,
    /// `broadcast_reply`: the same, and the default device executes and answers too.
    BroadcastReply,
    /// `ignore`: silence.
    Ignore,
}

/// The policy for unit id 255 (section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit255 {
    /// `device`: unit 255, else the default device.
    Device,
    /// `unit`: an id like any other.
    Unit,
    /// `ignore`: silence.
    Ignore,
}

/// The policy for ids without an enabled unit (section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownUnit {
    /// `0B`: gateway target device failed to respond.
    GatewayTargetFailed,
    /// `0A`: gateway path unavailable.
    GatewayPathUnavailable,
    /// `silent`: no answer.
    Silent,
    /// `default`: the default device answers.
    Default,
}

/// Which device is the default device (section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultDevice {
    /// The device of the lowest unit.
    LowestUnit,
    /// `default_unit`: the device of this unit, which exists in the plant.
    Unit(u8),
    /// `[modbus.server.default]`: a device of its own.
    Own(Box<Device>),
}

/// A device and the unit id that selects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The unit identifier.
    pub id: u8,
    /// Unique within the server.
    pub name: Option<String>,
    /// A unit that is not enabled is unknown to clients; its data stays.
    pub enabled: bool,
    /// What answers.
    pub device: Device,
}

impl Unit {
    /// An enabled unit whose four tables have `size` zeroed entries each.
    #[must_use]
    pub fn with_size(id: u8, size: u32) -> Self {
        Self { id, name: None, enabled: true, device: Device::with_size(size) }
    }
}

/// The data and identity that answer for a unit (sections 3 and 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Those of [`FUNCTIONS`] that are on, ascending; the rest give 01.
    pub functions: Vec<u8>,
    /// Whether [`SERIAL_FUNCTIONS`] may be on at all.
    pub serial_functions: bool,
    /// Whether 8/4 may silence the unit; otherwise it gives 01.
    pub listen_only: bool,
    /// The exception for access that an [`AccessRange`] denies, 1..=4.
    pub denied: u8,
    /// What function 7 reads.
    pub exception_status: ExceptionStatus,
    /// What 8/2 reads.
    pub diagnostic_register: u16,
    /// The addresses that exist, in file order; those of one table do not overlap.
    pub blocks: Vec<Block>,
    /// Restrictions for clients, in file order; those of one table do not overlap.
    pub access: Vec<AccessRange>,
    /// Each number once.
    pub files: Vec<File>,
    /// Each pointer once.
    pub queues: Vec<Queue>,
    /// Typed values with names.
    pub points: Vec<Point>,
    /// What function 43/14 reads.
    pub identity: Identity,
    /// What function 17 reads.
    pub server_id: ServerId,
    /// How much later every reply of this device leaves.
    pub response_delay: Duration,
}

impl Device {
    /// A device whose four tables have `size` zeroed entries each, and the default of every key.
    #[must_use]
    pub fn with_size(size: u32) -> Self {
        Self { blocks: Table::ALL.map(|table| Block::zeroed(table, size)).to_vec(), ..Self::empty() }
    }

    /// A device without data.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            functions: FUNCTIONS.to_vec(),
            serial_functions: true,
            listen_only: true,
            denied: 2,
            exception_status: ExceptionStatus::Value(0),
            diagnostic_register: 0,
            blocks: Vec::new(),
            access: Vec::new(),
            files: Vec::new(),
            queues: Vec::new(),
            points: Vec::new(),
            identity: Identity {
                objects: BTreeMap::from(data::DEFAULT_IDENTITY.map(|(id, text)| (id, text.to_owned()))),
            },
            server_id: ServerId::default(),
            response_delay: Duration::ZERO,
        }
    }

    /// Whether a function code is on, both keys considered.
    #[must_use]
    pub fn serves(&self, function: u8) -> bool {
        self.functions.contains(&function) && (self.serial_functions || !SERIAL_FUNCTIONS.contains(&function))
    }
}

/// What function 7 reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionStatus {
    /// This byte.
    Value(u8),
    /// Eight coils from this address on, all of which exist; the first is bit 0.
    Coils(u16),
}
