//! The memory of a UDP port on a host.

use crate::services::port::options::{Options, Udp};
use wharf_core::port::datagrams::{Datagrams, Error, MAX_PAYLOAD, Record};

/// The machine in boxed slices. What was never used costs no memory: the system maps a page when it is first touched.
pub(super) type Machine = Datagrams<Box<[u8]>, Box<[Record]>, Box<[u8]>>;

/// Bytes of the datagrams that wait to be sent: 64 of 4 KiB, or 4 of the longest.
const OUTPUT_BYTES: usize = 256 << 10;

/// The machine of a port with these options.
pub(super) fn machine(options: &Options) -> Result<Machine, Error> {
    let (rx, depth, tx) = match options.udp {
        Udp::Asyn => (MAX_PAYLOAD, 1, 0),
        Udp::Fifo => (options.rx_queue as usize, options.depth.into(), OUTPUT_BYTES),
    };
    let records = vec![Record::EMPTY; depth];
    Datagrams::new(options.datagrams(), vec![0; rx].into(), records.into(), vec![0; tx].into())
}
