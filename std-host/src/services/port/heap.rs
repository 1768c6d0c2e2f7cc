//! The memory of a port on a host.

use std::io;
use wharf_core::network::Network;
use wharf_core::port::framing::Terminator;
use wharf_core::port::server::{BOUNDARIES, Client, Config, Parts, Seat, Storage};
use wharf_core::slots::Entry;
use wharf_core::timers::Node;

/// Different terminators of one port.
const TERMINATORS: usize = 8;

/// A port in boxed slices. Queues that were never used cost no memory: the system maps a page when it is first touched.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

impl Storage for Heap {
    type Clients = Box<[Entry<Client>]>;
    type Seats = Box<[Seat]>;
    type Timers = Box<[Node]>;
    type Bytes = Box<[u8]>;
    type Boundaries = Box<[u32]>;
    type Terminators = Box<[Terminator]>;
    type Allow = Box<[Network]>;
}

/// The memory of a port with so many slots.
///
/// # Errors
/// When the system does not have so much for the queues.
pub(super) fn parts(slots: usize, config: &Config, allow: Box<[Network]>) -> io::Result<Parts<Heap>> {
    let bytes = slots * (config.rx_queue as usize + config.tx_queue as usize);
    // Zeroed memory that the system maps when it is touched cannot be asked for so that a refusal comes back.
    if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        let what =
            format!("there is no memory for the queues, {bytes} bytes in all: lower slots, rx_queue or tx_queue");
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, what));
    }
    Ok(Parts {
        clients: std::iter::repeat_with(Entry::default).take(slots).collect(),
        seats: vec![Seat::EMPTY; slots].into(),
        timers: vec![Node::EMPTY; slots].into(),
        bytes: vec![0; bytes].into(),
        boundaries: vec![0; slots * BOUNDARIES].into(),
        terminators: vec![Terminator::OFF; TERMINATORS].into(),
        allow,
    })
}
