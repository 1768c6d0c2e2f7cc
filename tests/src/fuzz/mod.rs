//! Fuzz bodies: what must hold for any bytes at all.
//!
//! Each body is a function over the bytes that a fuzzer invents; it panics when something does not hold. The targets of
//! `fuzz/` are five lines around them, and the committed seeds are replayed here, so that `cargo test` runs them too.
//!
//! | body | holds |
//! | --- | --- |
//! | [`mbap_stream`] | any split of a stream gives the same frames, discards and end as the whole |
//! | [`request`] | decoding never panics, what is accepted encodes back and names what it touches, and a client can read what a server answers |
//! | [`connection`] | a scripted connection sends what the naive server sends, byte for byte, and obeys its contract |
//! | [`client`] | a scripted client connection ends every request once, as a model says, and obeys its contract |
//! | [`fault_plan`] | faults act when and on what a second plan says, and change of a reply what they are there for |
//! | [`faulty_connection`] | a connection sends what the faults that were chosen ask for, in order, and loses nothing |
//! | [`mirrors`] | copies hold what their sources hold after every step, and every write is told to who listens |
//! | [`port_framing`] | what a port's reader is given is what a second reader finds, and no byte is lost or comes twice |
//! | [`port_address`] | an address text means what a reader says that tries every cut, or is wrong where that one says |
//! | [`port_server`] | a scripted port does in every slot what a naive one says, loses no byte and frees every slot |
//! | `http_head` | requests over HTTP are cut and read as a second reader does, whatever the segments |
//! | `admin_lines` | so are the lines of the admin socket |
//! | `plant_file` | no text makes the reader panic, and an accepted plant that is printed reads back as itself |
//! | [`port_datagrams`] | a scripted UDP port asks, tells, reads, writes and counts what a port in plain lists does |
//! | [`laws()`] | a server connection, one with faults, a client connection and a server port obey the laws of the machine contract |

#[cfg(feature = "host")]
mod admin;
mod client;
mod connection;
mod fault_plan;
mod faulty_connection;
mod framing;
mod mirrors;
#[cfg(feature = "host")]
mod plant_file;
mod port;
mod request;
#[cfg(test)]
mod seeds;

#[cfg(feature = "host")]
pub use admin::{admin_lines, http_head};
pub use client::client;
pub use connection::connection;
pub use fault_plan::fault_plan;
pub use faulty_connection::faulty_connection;
pub use framing::mbap_stream;
pub use mirrors::mirrors;
#[cfg(feature = "host")]
pub use plant_file::plant_file;
pub use port::{port_address, port_datagrams, port_framing, port_server};
pub use request::request;

use crate::fixture::{self, Access, Block, Device, File, Plant, Queue, Range, Table};
use crate::laws::{self, client::Asking, connection::Served, faulty::Faulty, port_server::Ported};

/// What a target does with its bytes.
pub type Body = fn(&[u8]);

/// Every target of `fuzz/` and its body; those of the host with the feature `host`.
pub const TARGETS: &[(&str, Body)] = &[
    ("mbap_stream", mbap_stream),
    ("request", request),
    ("connection", connection),
    ("client", client),
    ("fault_plan", fault_plan),
    ("faulty_connection", faulty_connection),
    ("mirrors", mirrors),
    ("port_framing", port_framing),
    ("port_address", port_address),
    ("port_server", port_server),
    #[cfg(feature = "host")]
    ("http_head", http_head),
    #[cfg(feature = "host")]
    ("admin_lines", admin_lines),
    #[cfg(feature = "host")]
    ("plant_file", plant_file),
    ("port_datagrams", port_datagrams),
    ("laws", laws),
];

/// The six laws over one connection of either side, with and without faults, and over a server port; the first eight bytes are the seed, the ninth the length of the script.
///
/// # Panics
/// When a law is broken.
pub fn laws(data: &[u8]) {
    let mut source = Source::new(data);
    let seed = (0..8).fold(0, |seed, _| seed << 8 | u64::from(source.byte()));
    let steps = usize::from(source.byte());
    let served = [laws::run::<Served>(seed, steps), laws::run::<Faulty>(seed, steps)];
    let others = [laws::run::<Asking>(seed, steps), laws::run::<Ported>(seed, steps)];
    for outcome in served.into_iter().chain(others) {
        if let Err(violation) = outcome {
            panic!("{violation}");
        }
    }
}

/// Reads choices from the front of a fuzzer's bytes; zeroes when they have run out.
#[derive(Clone, Copy, Debug)]
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next `len` bytes, or as many as there are.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        front
    }
}

/// A plant that is quickly built and has something of everything: unit 1 with tables, rights, files, queues and objects
/// at small addresses, unit 2 with hardly anything, unit 3 with four functions.
fn plant() -> Plant {
    let block = |table, start, values: Vec<u16>| Block { table, start, values };
    let bits = |len: u16| (0..len).map(|at| u16::from(at % 3 == 0)).collect();
    let words = |len: u16| (0..len).map(|at| 0x1100 + at).collect();
    let file = |number, read_only, parity_error| File { number, records: words(10), read_only, parity_error };
    let queue = |pointer, len| Queue { pointer, values: words(len) };
    let range = |table, start, access| Range { table, start, len: 2, access };
    let device = Device {
        blocks: vec![
            block(Table::Coils, 0, bits(40)),
            block(Table::Coils, 40, bits(9)),
            block(Table::Coils, 0xFFFC, bits(4)),
            block(Table::Discrete, 3, bits(30)),
            block(Table::Input, 0, words(8)),
            block(Table::Holding, 0, words(100)),
            block(Table::Holding, 100, words(40)),
            block(Table::Holding, 0xFFFE, words(2)),
        ],
        ranges: vec![
            range(Table::Coils, 20, Access::Ro),
            range(Table::Holding, 8, Access::Ro),
            range(Table::Holding, 10, Access::Wo),
            range(Table::Holding, 12, Access::None),
        ],
        files: vec![file(1, false, None), file(2, true, None), file(3, false, Some((4, 5)))],
        queues: vec![queue(0, 0), queue(1, 31), queue(2, 32)],
        objects: vec![(0, vec![b'a'; 244]), (1, b"b".to_vec()), (2, b"c".to_vec()), (0x80, b"d".to_vec())],
        server_id: vec![0xB4],
        run: true,
        extra: b"extra".to_vec(),
        exception_status: 0x6D,
        diagnostic_register: 0xCAFE,
        ..Device::default()
    };
    let units = vec![(1, device), (2, fixture::small_device()), (3, fixture::restricted_device())];
    Plant { units, ..Plant::default() }
}
