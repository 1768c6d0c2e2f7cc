//! What a port can tell about itself.

use super::client::State;
use super::event::Reason;
use crate::slots::SlotId;
use crate::time::Instant;
use core::net::SocketAddr;

/// What has happened at the port since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PortCounters {
    /// Clients that were given a slot.
    pub accepted: u64,
    /// Connections that were refused because no slot was free.
    pub full: u64,
    /// Connections that the allow list did not name.
    pub denied: u64,
    /// Connections that were lost while they were accepted.
    pub lost: u64,
    /// Times at which the system had no descriptors.
    pub exhausted: u64,
}

/// A client in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seated {
    /// Its id.
    pub slot: SlotId,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it is doing.
    pub state: State,
    /// When it was given the slot.
    pub opened: Instant,
    /// The last byte received.
    pub last_received: Instant,
    /// The last byte either way.
    pub last_active: Instant,
    /// When it is to be looked at if nothing happens before.
    pub deadline: Option<Instant>,
}

/// The client that left a slot last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departed {
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Instant,
}
