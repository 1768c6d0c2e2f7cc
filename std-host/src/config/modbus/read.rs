//! Reads `[[modbus.server]]` from a plant file.

use super::data::{DEFAULT_IDENTITY, OBJECT_NAMES};
use super::fault::read::faults;
use super::limits;
use super::point::read::Points;
use super::{
    Access, AccessRange, Block, DefaultDevice, Device, ExceptionStatus, FUNCTIONS, File, Fill, Identity, Keepalive,
    Overflow, Queue, Random, RejectWith, Server, ServerId, Table, UNCONFIGURED, Unit, Unit255, UnitZero, UnknownUnit,
};
use crate::config::error::Kind;
use crate::config::reader::{Item, Reader, Seen};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use wharf_core::modbus::pdu::{MAX_OBJECT, MAX_SERVER_ID};

/// Addresses of one table.
const SPACE: u32 = 65_536;
/// The most values that a queue can hold.
const LONGEST_QUEUE: usize = 65_535;
/// The keys that fill a block; at most one of them may be there.
const FILLS: &str = "at most one of default, values, bits, random";

/// What must be unique within the whole plant.
#[derive(Debug)]
pub(in crate::config) struct Unique {
    pub(in crate::config) names: Seen<String>,
    pub(in crate::config) addresses: Seen<SocketAddr>,
}

impl Unique {
    pub(in crate::config) const fn new() -> Self {
        Self {
            names: Seen::new("a name that is unique within the plant"),
            addresses: Seen::new("an address that nobody else listens on"),
        }
    }
}

/// One `[[modbus.server]]`.
pub(in crate::config) fn server(r: &mut Reader<'_>, unique: &mut Unique) -> Server {
    let name = r.need("name", "a name that is unique within the plant", |item| {
        let name = item.name()?;
        unique.names.add(name.clone(), &item);
        Some(name)
    });
    let d = Server::new(name.unwrap_or_default());
    let before = r.problems();
    let mut points = Points::new();
    let units = units(r, &mut points);
    let units_are_sound = r.problems() == before;
    let mut server = Server {
        listen: r.or("listen", d.listen, |item| listen(&item, &mut unique.addresses)),
        backlog: r.or("backlog", d.backlog, |item| item.integer(1..=u16::MAX)),
        max_connections: r.or("max_connections", d.max_connections, |item| item.integer(1..=1_000_000)),
        when_full: r.or("when_full", d.when_full, |item| item.choice(&limits::WHEN_FULL)),
        max_per_address: r.or("max_per_address", d.max_per_address, |item| {
            item.integer(0..=1_000_000).map(|most: u32| (most > 0).then_some(most))
        }),
        allow: r.option("allow", |item| limits::some_networks(&item)),
        priority: r.or("priority", d.priority, |item| limits::networks(&item)),
        priority_max: r.or("priority_max", d.priority_max, |item| item.integer(1..=1000)),
        accept_rate: r.or("accept_rate", d.accept_rate, |item| limits::rate(&item)),
        request_rate: r.or("request_rate", d.request_rate, |item| limits::rate(&item)),
        rate_action: r.or("rate_action", d.rate_action, |item| item.choice(&limits::RATE_ACTION)),
        reject_with: r.or("reject_with", d.reject_with, |item| {
            item.choice(&[("rst", RejectWith::Reset), ("fin", RejectWith::Finish)])
        }),
        keepalive: r.or("keepalive", d.keepalive, |item| keepalive(&item)),
        nodelay: r.or("nodelay", d.nodelay, |item| item.flag()),
        receive_buffer: r.option("receive_buffer", |item| item.size(1..=1 << 30)),
        send_buffer: r.option("send_buffer", |item| item.size(1..=1 << 30)),
        shutdown_timeout: r.or("shutdown_timeout", d.shutdown_timeout, |item| item.span_or_off()),
        seed: r.or("seed", d.seed, |item| seed(&item)),
        coalesce: r.or("coalesce", d.coalesce, |item| item.flag()),
        max_outstanding: r.or("max_outstanding", d.max_outstanding, |item| item.integer(1..=16)),
        overflow: r
            .or("overflow", d.overflow, |item| item.choice(&[("busy", Overflow::Busy), ("wait", Overflow::Wait)])),
        request_timeout: r.or("request_timeout", d.request_timeout, |item| item.span_or_off()),
        frame_timeout: r.or("frame_timeout", d.frame_timeout, |item| item.span_or_off()),
        idle_timeout: r.or("idle_timeout", d.idle_timeout, |item| item.span_or_off()),
        write_timeout: r.or("write_timeout", d.write_timeout, |item| item.span_or_off()),
        linger: r.or("linger", d.linger, |item| item.span_or_off()),
        unit_0: r.or("unit_0", d.unit_0, |item| {
            item.choice(&[
                ("device", UnitZero::Device),
                ("broadcast", UnitZero::Broadcast),
                ("broadcast_reply", UnitZero::BroadcastReply),
                ("ignore", UnitZero::Ignore),
            ])
        }),
        unit_255: r.or("unit_255", d.unit_255, |item| {
            item.choice(&[("device", Unit255::Device), ("unit", Unit255::Unit), ("ignore", Unit255::Ignore)])
        }),
        unknown_unit: r.or("unknown_unit", d.unknown_unit, |item| {
            item.choice(&[
                ("0B", UnknownUnit::GatewayTargetFailed),
                ("0A", UnknownUnit::GatewayPathUnavailable),
                ("silent", UnknownUnit::Silent),
                ("default", UnknownUnit::Default),
            ])
        }),
        faults: r.or("fault", d.faults, |item| faults(&item)),
        default_device: d.default_device,
        units,
        name: d.name,
    };
    let before = r.problems();
    server.default_device = default_device(r, units_are_sound.then_some(&server.units), &mut points);
    if units_are_sound && r.problems() == before {
        points.check_mirrors(&server.units, &server.default_device);
    }
    if server.units.is_empty() && server.default_device == DefaultDevice::LowestUnit {
        server.units.push(Unit::with_size(1, UNCONFIGURED));
    }
    server
}

fn listen(item: &Item<'_>, seen: &mut Seen<SocketAddr>) -> Option<Vec<SocketAddr>> {
    const ACCEPTED: &str = "a list of addresses such as [\"127.0.0.1:502\", \"[::1]:502\"]";
    let addresses = item.each(ACCEPTED, |address| {
        let text = address.text()?;
        let Ok(parsed) = text.parse::<SocketAddr>() else {
            address.refuse("an IP address and a port, such as \"127.0.0.1:502\" or \"[::1]:502\"");
            return None;
        };
        if parsed.port() != 0 {
            seen.add(parsed, &address);
        }
        Some(parsed)
    })?;
    if item.list(ACCEPTED)?.is_empty() {
        item.note(Kind::NotAccepted, "found an empty list", Some("at least one address".to_owned()));
    }
    Some(addresses)
}

fn keepalive(item: &Item<'_>) -> Option<Option<Keepalive>> {
    if item.is_flag() {
        return item.flag().map(|on| on.then(Keepalive::default));
    }
    if !item.is_table() {
        item.mistyped("true, false, or a table with idle, interval, probes");
        return None;
    }
    let d = Keepalive::default();
    item.table(|r| {
        Some(Keepalive {
            idle_seconds: r.or("idle", d.idle_seconds, |item| item.whole_seconds(1..=32_767)),
            interval_seconds: r.or("interval", d.interval_seconds, |item| item.whole_seconds(1..=32_767)),
            probes: r.or("probes", d.probes, |item| item.integer(1..=127)),
        })
    })
}

pub(super) fn seed(item: &Item<'_>) -> Option<u64> {
    item.integer(0..=i64::MAX).map(i64::unsigned_abs)
}

fn units<'a>(r: &mut Reader<'a>, points: &mut Points<'a>) -> Vec<Unit> {
    let mut ids = Seen::new("each unit id once per server");
    let mut names = Seen::new("a name that is unique within the server");
    r.or("unit", Vec::new(), |item| {
        item.each("a list of tables", |item| {
            item.table(|r| {
                let id = r.need("id", "0..=255", |item| {
                    let id = item.integer(0..=u8::MAX)?;
                    ids.add(id, &item);
                    Some(id)
                });
                let name = r.option("name", |item| {
                    let name = item.name()?;
                    names.add(name.clone(), &item);
                    Some(name)
                });
                let enabled = r.or("enabled", true, |item| item.flag());
                Unit { id: id.unwrap_or_default(), name, enabled, device: device(r, id, points) }
            })
        })
    })
}

/// The default device, which must be among `units` if those are known.
fn default_device<'a>(r: &mut Reader<'a>, units: Option<&Vec<Unit>>, points: &mut Points<'a>) -> DefaultDevice {
    let own = r.option("default", |item| item.table(|r| device(r, None, points)));
    let number = r.option("default_unit", |item| {
        let id = item.integer(0..=u8::MAX)?;
        if own.is_some() {
            item.note(Kind::Conflict, "found beside `default`", Some("one of default, default_unit".to_owned()));
        } else if units.is_some_and(|units| !units.iter().any(|unit| unit.id == id)) {
            item.note(Kind::Dangling, format!("found {id}, which is no unit of this server"), None);
        }
        Some(id)
    });
    match (own, number) {
        (Some(device), _) => DefaultDevice::Own(Box::new(device)),
        (None, Some(id)) => DefaultDevice::Unit(id),
        (None, None) => DefaultDevice::LowestUnit,
    }
}

/// The keys of sections 3 and 4; `unit` is `None` for the default device of its own.
fn device<'a>(r: &mut Reader<'a>, unit: Option<u8>, points: &mut Points<'a>) -> Device {
    let d = Device::with_size(UNCONFIGURED);
    let before = r.problems();
    let blocks = r.or("block", d.blocks, |item| blocks(&item));
    let blocks_are_sound = r.problems() == before;
    let coils = r.item("exception_status_coils");
    let status = r.item("exception_status");
    let exception_status = match (coils, status) {
        (Some(coils), status) => {
            if let Some(status) = status {
                let accepted = "one of exception_status, exception_status_coils".to_owned();
                status.note(Kind::Conflict, "found beside `exception_status_coils`", Some(accepted));
            }
            status_coils(&coils, blocks_are_sound.then_some(&blocks))
        }
        (None, Some(status)) => status.integer(0..=u8::MAX).map(ExceptionStatus::Value),
        (None, None) => None,
    };
    Device {
        functions: r.or("functions", d.functions, |item| functions(&item)),
        serial_functions: r.or("serial_functions", d.serial_functions, |item| item.flag()),
        listen_only: r.or("listen_only", d.listen_only, |item| item.flag()),
        denied: r.or("denied", d.denied, |item| item.integer(1..=4)),
        exception_status: exception_status.unwrap_or(d.exception_status),
        diagnostic_register: r.or("diagnostic_register", d.diagnostic_register, |item| item.integer(0..=u16::MAX)),
        points: r.or("point", d.points, |item| points.read(&item, unit, blocks_are_sound.then_some(&blocks))),
        blocks,
        access: r.or("access", d.access, |item| access(&item)),
        files: r.or("file", d.files, |item| files(&item)),
        queues: r.or("fifo", d.queues, |item| queues(&item)),
        identity: r.or("identity", d.identity, |item| identity(&item)),
        server_id: r.or("server_id", d.server_id, |item| server_id(&item)),
        response_delay: r
            .or("response_delay", d.response_delay, |item| item.span_or_off().map(Option::unwrap_or_default)),
    }
}

fn functions(item: &Item<'_>) -> Option<Vec<u8>> {
    let accepted = || FUNCTIONS.map(|code| code.to_string()).join(", ");
    let mut seen = Seen::new("each function code once");
    let mut codes = item.each("a list of function codes", |item| {
        let code = item.integer(1..=127_u8)?;
        if !FUNCTIONS.contains(&code) {
            item.refuse(accepted());
            return None;
        }
        seen.add(code, &item);
        Some(code)
    })?;
    codes.sort_unstable();
    Some(codes)
}

/// Eight coils, which must exist if `blocks` are known.
fn status_coils(item: &Item<'_>, blocks: Option<&Vec<Block>>) -> Option<ExceptionStatus> {
    let first: u16 = item.integer(0..=u16::MAX - 7)?;
    let covers = |block: &Block, address| {
        let start = u32::from(block.start);
        block.table == Table::Coils && (start..start + block.len).contains(&address)
    };
    let mut eight = u32::from(first)..u32::from(first) + 8;
    if blocks.is_some_and(|blocks| !eight.all(|address| blocks.iter().any(|block| covers(block, address)))) {
        item.note(Kind::Dangling, format!("coils {first}..={} do not all exist", first + 7), None);
    }
    Some(ExceptionStatus::Coils(first))
}

/// The ranges of one list, to find those that overlap.
#[derive(Debug, Default)]
struct Ranges(Vec<(Table, u32, u32, usize)>);

impl Ranges {
    fn add(&mut self, r: &Reader<'_>, table: Table, start: u16, len: u32) {
        let (first, end) = (u32::from(start), u32::from(start) + len);
        let other = self.0.iter().find(|(other, begin, stop, _)| *other == table && *begin < end && first < *stop);
        if let Some((_, begin, stop, line)) = other {
            let message =
                format!("{} {first}..={} overlaps {begin}..={} on line {line}", table.name(), end - 1, stop - 1);
            r.note(Kind::Overlap, message, None);
        }
        self.0.push((table, first, end, r.line()));
    }
}

pub(super) fn table(r: &mut Reader<'_>) -> Option<Table> {
    let names = Table::ALL.map(|table| (table.name(), table));
    r.need("table", "\"coils\", \"discrete\", \"input\", \"holding\"", |item| item.choice(&names))
}

/// The key `len`, checked against `start`; without the key it is `implied`.
fn len(r: &mut Reader<'_>, start: Option<u16>, implied: Option<u32>) -> Option<u32> {
    let Some(item) = r.item("len") else {
        if implied.is_none() {
            r.missing("len", "1..=65536");
        }
        return implied;
    };
    let len = item.integer(1..=SPACE)?;
    let start = start?;
    if u32::from(start) + len > SPACE {
        let message = format!("found {len}, which with start {start} ends after address 65535");
        item.note(Kind::NotAccepted, message, Some(format!("1..={}", SPACE - u32::from(start))));
        return None;
    }
    Some(len)
}

fn blocks(item: &Item<'_>) -> Option<Vec<Block>> {
    let mut ranges = Ranges::default();
    item.each("a list of tables", |item| item.table(|r| block(r, &mut ranges)).flatten())
}

fn block(r: &mut Reader<'_>, ranges: &mut Ranges) -> Option<Block> {
    let table = table(r);
    let start = r.need("start", "0..=65535", |item| item.integer(0..=u16::MAX));
    let fill = fill(r, table);
    let implied = fill.as_ref().and_then(|(_, entries)| *entries);
    let len = len(r, start, implied);
    let (table, start, len) = (table?, start?, len?);
    if u32::from(start) + len > SPACE {
        let message = format!("{len} values from start {start} end after address 65535");
        r.note(Kind::TooMany, message, Some(format!("at most {} values", SPACE - u32::from(start))));
        return None;
    }
    ranges.add(r, table, start, len);
    if let Some((fill, Some(entries))) = &fill {
        let room = if matches!(fill, Fill::Bits(_)) { len.next_multiple_of(8) } else { len };
        if *entries > room {
            let message = format!("found {entries} values for {len} addresses");
            r.note(Kind::TooMany, message, Some(format!("at most {room} values")));
        }
    }
    Some(Block { table, start, len, fill: fill.map_or(Fill::Value(0), |(fill, _)| fill) })
}

/// What fills a block, with the number of entries if that is known.
fn fill(r: &mut Reader<'_>, table: Option<Table>) -> Option<(Fill, Option<u32>)> {
    let bits = table.is_some_and(Table::is_bits);
    let mut fills = ["default", "values", "bits", "random"].map(|key| (key, r.item(key))).into_iter();
    let (key, item) = fills.find_map(|(key, item)| Some((key, item?)))?;
    if let Some((_, Some(second))) = fills.find(|(_, item)| item.is_some()) {
        second.note(Kind::Conflict, format!("found beside `{key}`"), Some(FILLS.to_owned()));
    }
    match key {
        "default" => Some((Fill::Value(entry(&item, bits)?), None)),
        "values" => {
            let values = item.each("a list of values", |item| entry(&item, bits))?;
            let entries = u32::try_from(values.len()).unwrap_or(u32::MAX);
            Some((Fill::Values(values), Some(entries)))
        }
        "bits" if table.is_some() && !bits => {
            item.note(
                Kind::NotAccepted,
                "`bits` is for coils and discrete",
                Some("default, values, random".to_owned()),
            );
            None
        }
        "bits" => {
            let bytes = hex_bytes(&item)?;
            let entries = u32::try_from(bytes.len().saturating_mul(8)).unwrap_or(u32::MAX);
            Some((Fill::Bits(bytes), Some(entries)))
        }
        _ => Some((Fill::Random(random(&item, bits)?), None)),
    }
}

/// One entry of a table: a register, or a bit as 0, 1, false or true.
fn entry(item: &Item<'_>, bits: bool) -> Option<u16> {
    match (bits, item.is_flag()) {
        (true, true) => item.flag().map(u16::from),
        (true, false) => item.integer(0..=1),
        (false, _) => item.integer(0..=u16::MAX),
    }
}

/// Bytes as pairs of hex digits, with spaces between them where one likes.
fn hex_bytes(item: &Item<'_>) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = item
        .text()?
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let Some(digits) = digits.filter(|digits| digits.len() % 2 == 0) else {
        item.refuse("pairs of hex digits such as \"AC DB 35\"");
        return None;
    };
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn random(item: &Item<'_>, bits: bool) -> Option<Random> {
    let top = if bits { 1 } else { u16::MAX };
    item.table(|r| {
        let min = r.or("min", 0, |item| item.integer(0..=top));
        let max = r.or("max", top, |item| item.integer(min..=top));
        Random { min, max, seed: r.option("seed", |item| seed(&item)) }
    })
}

fn access(item: &Item<'_>) -> Option<Vec<AccessRange>> {
    const WRITABLE: &[(&str, Access)] =
        &[("rw", Access::ReadWrite), ("ro", Access::ReadOnly), ("wo", Access::WriteOnly), ("none", Access::None)];
    const READABLE: &[(&str, Access)] = &[("ro", Access::ReadOnly), ("none", Access::None)];
    let mut ranges = Ranges::default();
    item.each("a list of tables", |item| {
        item.table(|r| {
            let table = table(r);
            let start = r.need("start", "0..=65535", |item| item.integer(0..=u16::MAX));
            let len = len(r, start, None);
            let choices = if table.is_none_or(Table::is_writable) { WRITABLE } else { READABLE };
            let access = r.need("access", "\"rw\", \"ro\", \"wo\", \"none\"", |item| item.choice(choices));
            let (table, start, len) = (table?, start?, len?);
            ranges.add(r, table, start, len);
            Some(AccessRange { table, start, len, access: access? })
        })
        .flatten()
    })
}

fn files(item: &Item<'_>) -> Option<Vec<File>> {
    let mut numbers = Seen::new("each file number once per unit");
    item.each("a list of tables", |item| {
        item.table(|r| {
            let number = r.need("number", "1..=65535", |item| {
                let number = item.integer(1..=u16::MAX)?;
                numbers.add(number, &item);
                Some(number)
            });
            let records = r.need("records", "1..=10000", |item| item.integer(1..=10_000_u16));
            let values = r.or("values", Vec::new(), |item| {
                let values = item.each("a list of values", |item| item.integer(0..=u16::MAX))?;
                if let Some(records) = records.filter(|records| values.len() > usize::from(*records)) {
                    let message = format!("found {} values for {records} records", values.len());
                    item.note(Kind::TooMany, message, Some(format!("at most {records} values")));
                }
                Some(values)
            });
            let read_only = r.or("read_only", false, |item| item.flag());
            let parity_error = r.or("parity_error", Vec::new(), |item| record_ranges(&item, records));
            Some(File { number: number?, records: records?, values, read_only, parity_error })
        })
        .flatten()
    })
}

/// `[first, last]`, or a list of those.
fn record_ranges(item: &Item<'_>, records: Option<u16>) -> Option<Vec<(u16, u16)>> {
    const ACCEPTED: &str = "[first, last], or a list of those";
    let elements = item.list(ACCEPTED)?;
    if elements.first().is_none_or(Item::is_integer) {
        return Some(record_range(item, records)?.into_iter().collect());
    }
    Some(elements.iter().filter_map(|item| record_range(item, records)?).collect())
}

/// `[first, last]`; an empty list is no range.
fn record_range(item: &Item<'_>, records: Option<u16>) -> Option<Option<(u16, u16)>> {
    let last_record = records.unwrap_or(u16::MAX) - 1;
    match item.list("[first, last]")?.as_slice() {
        [] => Some(None),
        [first, last] => {
            let first = first.integer(0..=last_record)?;
            Some(Some((first, last.integer(first..=last_record)?)))
        }
        [..] => {
            item.refuse("[first, last]");
            None
        }
    }
}

fn queues(item: &Item<'_>) -> Option<Vec<Queue>> {
    let mut pointers = Seen::new("each pointer once per unit");
    item.each("a list of tables", |item| {
        item.table(|r| {
            let pointer = r.need("pointer", "0..=65535", |item| {
                let pointer = item.integer(0..=u16::MAX)?;
                pointers.add(pointer, &item);
                Some(pointer)
            });
            let values = r.or("values", Vec::new(), |item| {
                let values = item.each("a list of values", |item| item.integer(0..=u16::MAX))?;
                if values.len() > LONGEST_QUEUE {
                    let message = format!("found {} values", values.len());
                    item.note(Kind::TooMany, message, Some(format!("at most {LONGEST_QUEUE} values")));
                }
                Some(values)
            });
            Some(Queue { pointer: pointer?, values })
        })
        .flatten()
    })
}

fn identity(item: &Item<'_>) -> Option<Identity> {
    const ACCEPTED: &str = "vendor, product, revision, url, name, model, application, or a number 0..=6, 0x80..=0xFF";
    let mut objects = BTreeMap::from(DEFAULT_IDENTITY.map(|(id, text)| (id, text.to_owned())));
    let mut seen = Seen::new("each object once");
    item.table(|r| {
        for (key, item) in r.entries() {
            let Some(id) = object_id(key) else {
                item.note(Kind::UnknownKey, "unknown object", Some(ACCEPTED.to_owned()));
                continue;
            };
            seen.add(id, &item);
            if let Some(text) = item.line_of_text(MAX_OBJECT) {
                objects.insert(id, text);
            }
        }
    })?;
    Some(Identity { objects })
}

/// The id of an object by its name or number.
fn object_id(key: &str) -> Option<u8> {
    if let Some(index) = OBJECT_NAMES.iter().position(|name| *name == key) {
        return u8::try_from(index).ok();
    }
    let id = match key.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok()?,
        None => key.parse().ok()?,
    };
    matches!(id, 0..=6 | 0x80..=0xFF).then_some(id)
}

fn server_id(item: &Item<'_>) -> Option<ServerId> {
    let d = ServerId::default();
    item.table(|r| {
        let id = r.or("id", d.id, |item| {
            let id = bytes(&item)?;
            if id.is_empty() {
                item.note(Kind::NotAccepted, "found no bytes", Some("at least one byte".to_owned()));
            }
            Some(id)
        });
        let run = r.or("run", d.run, |item| item.flag());
        let extra = r.or("extra", d.extra, |item| bytes(&item));
        let total = id.len() + 1 + extra.len();
        if total > MAX_SERVER_ID {
            let message = format!("id, run indicator and extra are {total} bytes");
            r.note(Kind::TooMany, message, Some(format!("at most {MAX_SERVER_ID} bytes")));
        }
        ServerId { id, run, extra }
    })
}

/// A text, or a list of bytes.
pub(in crate::config) fn bytes(item: &Item<'_>) -> Option<Vec<u8>> {
    if item.is_text() {
        return item.text().map(|text| text.as_bytes().to_vec());
    }
    item.each("a string or a list of bytes", |item| item.integer(0..=u8::MAX))
}
