//! The plant that vectors, models and fuzz bodies share: which devices there are and what is in them.
//!
//! It is plain data, so that each implementation under comparison builds its own storage from it. [`Plant::standard`]
//! is the one the vector table is written against; its contents are listed at [`main_device`].

/// One of the four tables of a device (AP 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Coils: bits a client may write.
    Coils,
    /// Discrete inputs: bits a client may only read.
    Discrete,
    /// Input registers: words a client may only read.
    Input,
    /// Holding registers: words a client may write.
    Holding,
}

/// What clients may do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Ro,
    /// Write only.
    Wo,
    /// Neither.
    None,
}

/// Consecutive values from `start` on; a bit is 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it lies.
    pub table: Table,
    /// First address.
    pub start: u16,
    /// The values it begins with.
    pub values: Vec<u16>,
}

/// A range with other rights than its table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it lies.
    pub table: Table,
    /// First address.
    pub start: u16,
    /// Addresses in it.
    pub len: u16,
    /// What remains allowed.
    pub access: Access,
}

/// A file of 16-bit records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// 1..=65535.
    pub number: u16,
    /// The records it begins with.
    pub records: Vec<u16>,
    /// Whether clients may not write it.
    pub read_only: bool,
    /// First and last record of a range that gives exception `08`.
    pub parity_error: Option<(u16, u16)>,
}

/// A queue of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its pointer address.
    pub pointer: u16,
    /// What waits in it, oldest first.
    pub values: Vec<u16>,
}

/// All that answers for a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Contents of the tables, sorted by table and start, none overlapping.
    pub blocks: Vec<Block>,
    /// Ranges with fewer rights, none overlapping.
    pub ranges: Vec<Range>,
    /// The exception for a range that is there but denied; 0 stands for the default, 2.
    pub denied: u8,
    /// Files, sorted by number.
    pub files: Vec<File>,
    /// Queues, sorted by pointer.
    pub queues: Vec<Queue>,
    /// Identification objects, sorted by id; 0, 1 and 2 are always there.
    pub objects: Vec<(u8, Vec<u8>)>,
    /// First part of the reply to function 17.
    pub server_id: Vec<u8>,
    /// Whether the run indicator is on.
    pub run: bool,
    /// What follows the run indicator.
    pub extra: Vec<u8>,
    /// The byte that function 7 reads.
    pub exception_status: u8,
    /// The word that diagnostics 2 reads.
    pub diagnostic_register: u16,
    /// The function codes that are on, or all of them.
    pub functions: Option<Vec<u8>>,
    /// Whether diagnostics 4 is refused with `01`.
    pub no_listen_only: bool,
}

/// What unit 0 means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitZero {
    /// Device 0, else the default device.
    #[default]
    Device,
    /// All units, without a reply.
    Broadcast,
    /// All units, and the default device answers.
    BroadcastReply,
    /// Nobody.
    Ignore,
}

/// What unit 255 means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitLast {
    /// Device 255, else the default device.
    #[default]
    Device,
    /// A unit like any other.
    Unit,
    /// Nobody.
    Ignore,
}

/// Who answers for a unit that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// Exception `0B`.
    #[default]
    NoTarget,
    /// Exception `0A`.
    NoPath,
    /// Nobody.
    Silent,
    /// The default device.
    Default,
}

/// What the authorisation hook of a server refuses. It agrees to everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Of the unit that would answer.
    pub unit: u8,
    /// Requests that ask for this.
    pub what: Denied,
}

/// What a request must not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// This function code.
    Function(u8),
    /// To read any of a range of addresses.
    Reading(Table, u16, u16),
    /// To write any of a range of addresses.
    Writing(Table, u16, u16),
    /// Any record of a file.
    File(u16),
    /// The queue at a pointer address.
    Queue(u16),
}

/// Function code of the handler that answers with the data it got.
pub const ECHO: u8 = 65;
/// Function code of the handler that answers later.
pub const LATER: u8 = 66;
/// Function code of the handler that never answers.
pub const SILENT: u8 = 67;
/// Function code of the handler that answers with the exception whose number is the first byte it got.
pub const REFUSE: u8 = 68;
/// Function code of the handler that takes broadcasts: it does nothing and answers with no data.
pub const WILLING: u8 = 69;

/// A whole server: devices by unit and the policies about units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plant {
    /// Devices, sorted by unit id. The lowest is the default device.
    pub units: Vec<(u8, Device)>,
    /// Policy for unit 0.
    pub unit_0: UnitZero,
    /// Policy for unit 255.
    pub unit_255: UnitLast,
    /// Policy for a unit that is not there.
    pub unknown_unit: Unknown,
    /// Whether functions 7, 8, 11, 12 and 17 are off.
    pub no_serial_functions: bool,
    /// What the authorisation hook refuses; without any there is no hook.
    pub denials: Vec<Denial>,
}

impl Plant {
    /// Units 1 ([`main_device`]), 2 ([`small_device`]), 3 ([`restricted_device`]) and 4 ([`long_device`]); the
    /// policies have their defaults.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            units: vec![(1, main_device()), (2, small_device()), (3, restricted_device()), (4, long_device())],
            ..Self::default()
        }
    }

    /// The device of unit `id`.
    ///
    /// # Panics
    /// When there is none.
    pub fn unit(&mut self, id: u8) -> &mut Device {
        let found = self.units.iter_mut().find(|(unit, _)| *unit == id);
        &mut found.unwrap_or_else(|| panic!("the fixture has no unit {id}")).1
    }
}

/// Something of everything for a hook to refuse, at addresses that random requests often ask for.
#[must_use]
pub fn denials() -> Vec<Denial> {
    let of = |unit, what| Denial { unit, what };
    vec![
        of(1, Denied::Reading(Table::Coils, 5, 9)),
        of(1, Denied::Writing(Table::Coils, 40, 300)),
        of(1, Denied::Reading(Table::Discrete, 0, 3)),
        of(1, Denied::Reading(Table::Input, 99, 100)),
        of(1, Denied::Reading(Table::Holding, 96, 99)),
        of(1, Denied::Writing(Table::Holding, 200, 250)),
        of(1, Denied::Writing(Table::Holding, 65535, 65535)),
        of(1, Denied::File(1)),
        of(1, Denied::Queue(1246)),
        of(1, Denied::Queue(1)),
        of(1, Denied::Function(17)),
        of(1, Denied::Function(SILENT)),
        of(1, Denied::Function(0)),
        of(2, Denied::Writing(Table::Holding, 0, 65535)),
        of(2, Denied::Function(WILLING)),
        of(3, Denied::Function(43)),
    ]
}

/// Whether coil `address` of the main device begins as on.
#[must_use]
pub const fn coil(address: u16) -> bool {
    address.is_multiple_of(3)
}

/// Whether discrete input `address` of the main device is on.
#[must_use]
pub const fn discrete(address: u16) -> bool {
    address % 5 == 1
}

/// Input register `address` of the main device.
#[must_use]
pub const fn input(address: u16) -> u16 {
    0x8000 ^ address
}

/// Holding register `address` of the main device, at the begin.
#[must_use]
pub const fn holding(address: u16) -> u16 {
    0x1100_u16.wrapping_add(address)
}

/// Record `record` of file `number`, at the begin.
#[must_use]
pub const fn record(number: u16, record: u16) -> u16 {
    (number << 12) ^ record
}

/// Unit 1.
///
/// | what | where |
/// | --- | --- |
/// | coils, [`coil`] | 0..100, 200..2300, 2300..2400 (touching blocks), 65520..=65535; 2320..2330 `ro`, 2330..2340 `wo` |
/// | discrete inputs, [`discrete`] | 0..100, 200..2300, 65535 |
/// | input registers, [`input`] | 0..100, 200..400, 65535; 390..400 `none` |
/// | holding registers, [`holding`] | 0..100, 200..300, 300..500 (touching), 600..640, 65530..=65535; 600..610 `ro`, 610..620 `wo`, 620..630 `none` |
/// | files, [`record`] | 1 of 200 records; 2 of 10 read-only; 3 of 20, parity error in 10..=12; 4 of 10000; 65535 of 5 |
/// | queues | 1246 with 440 and 4740 (the example of AP 6.18), 1300 empty, 1331 with 31 entries, 1332 with 32 |
/// | identity | objects 0..=6, 80 ("hall 3"), 81 and 82 of 244 bytes, FF ("end") |
/// | server id | B4, running, "LMB3.1.6" |
/// | registers of their own | exception status 6D, diagnostic register CAFE |
#[must_use]
pub fn main_device() -> Device {
    let bits = |table, start, len: u16, value: fn(u16) -> bool| Block {
        table,
        start,
        values: (0..len).map(|i| u16::from(value(start + i))).collect(),
    };
    let words = |table, start, len: u16, value: fn(u16) -> u16| Block {
        table,
        start,
        values: (0..len).map(|i| value(start + i)).collect(),
    };
    let range = |table, start, access| Range { table, start, len: 10, access };
    let file = |number, len, read_only, parity_error| File {
        number,
        records: (0..len).map(|i| record(number, i)).collect(),
        read_only,
        parity_error,
    };
    let queue = |pointer, len: u16| Queue { pointer, values: (0..len).map(|i| 0x7000 + i).collect() };
    Device {
        blocks: vec![
            bits(Table::Coils, 0, 100, coil),
            bits(Table::Coils, 200, 2100, coil),
            bits(Table::Coils, 2300, 100, coil),
            bits(Table::Coils, 65520, 16, coil),
            bits(Table::Discrete, 0, 100, discrete),
            bits(Table::Discrete, 200, 2100, discrete),
            bits(Table::Discrete, 65535, 1, discrete),
            words(Table::Input, 0, 100, input),
            words(Table::Input, 200, 200, input),
            words(Table::Input, 65535, 1, input),
            words(Table::Holding, 0, 100, holding),
            words(Table::Holding, 200, 100, holding),
            words(Table::Holding, 300, 200, holding),
            words(Table::Holding, 600, 40, holding),
            words(Table::Holding, 65530, 6, holding),
        ],
        ranges: vec![
            range(Table::Coils, 2320, Access::Ro),
            range(Table::Coils, 2330, Access::Wo),
            range(Table::Input, 390, Access::None),
            range(Table::Holding, 600, Access::Ro),
            range(Table::Holding, 610, Access::Wo),
            range(Table::Holding, 620, Access::None),
        ],
        files: vec![
            file(1, 200, false, None),
            file(2, 10, true, None),
            file(3, 20, false, Some((10, 12))),
            file(4, 10000, false, None),
            file(65535, 5, false, None),
        ],
        queues: vec![
            Queue { pointer: 1246, values: vec![440, 4740] },
            queue(1300, 0),
            queue(1331, 31),
            queue(1332, 32),
        ],
        objects: vec![
            (0x00, b"Wharf".to_vec()),
            (0x01, b"boiler".to_vec()),
            (0x02, b"1.0".to_vec()),
            (0x03, b"https://example.invalid".to_vec()),
            (0x04, b"Wharf boiler".to_vec()),
            (0x05, b"B-12".to_vec()),
            (0x06, b"heating".to_vec()),
            (0x80, b"hall 3".to_vec()),
            (0x81, vec![b'x'; 244]),
            (0x82, vec![b'y'; 244]),
            (0xFF, b"end".to_vec()),
        ],
        server_id: vec![0xB4],
        run: true,
        extra: b"LMB3.1.6".to_vec(),
        exception_status: 0x6D,
        diagnostic_register: 0xCAFE,
        ..Device::default()
    }
}

/// Unit 2: coils and holding registers 0..10, all zero; objects 0..=2 alone; not running; no files and no queues.
#[must_use]
pub fn small_device() -> Device {
    Device {
        blocks: vec![
            Block { table: Table::Coils, start: 0, values: vec![0; 10] },
            Block { table: Table::Holding, start: 0, values: vec![0; 10] },
        ],
        objects: vec![(0, b"a".to_vec()), (1, b"b".to_vec()), (2, b"c".to_vec())],
        server_id: vec![0x02],
        ..Device::default()
    }
}

/// Unit 3: functions 3, 6, 8 and 43 alone; holding registers 0..4 of which 2 and 3 are `none`, denied with `01`;
/// objects 0..=2 and 5; refuses listen-only mode.
#[must_use]
pub fn restricted_device() -> Device {
    Device {
        blocks: vec![Block { table: Table::Holding, start: 0, values: vec![7, 8, 9, 10] }],
        ranges: vec![Range { table: Table::Holding, start: 2, len: 2, access: Access::None }],
        denied: 1,
        objects: vec![(0, b"a".to_vec()), (1, b"b".to_vec()), (2, b"c".to_vec()), (5, b"m".to_vec())],
        functions: Some(vec![3, 6, 8, 43]),
        no_listen_only: true,
        ..Device::default()
    }
}

/// Unit 4: the longest server id there can be, 251 bytes with the run indicator; coil 0 and register 0; objects 0..=2
/// of 244 bytes each.
#[must_use]
pub fn long_device() -> Device {
    Device {
        blocks: vec![
            Block { table: Table::Coils, start: 0, values: vec![0] },
            Block { table: Table::Holding, start: 0, values: vec![0] },
        ],
        objects: vec![(0, vec![b'p'; 244]), (1, vec![b'q'; 244]), (2, vec![b'r'; 244])],
        server_id: vec![0x44; 100],
        run: true,
        extra: vec![0x55; 150],
        ..Device::default()
    }
}
