//! Writes a server as it would stand in a plant file, every key included.

use super::data::OBJECT_NAMES;
use super::fault::print::fault;
use super::limits;
use super::point::print::point;
use super::{
    Access, AccessRange, Block, DefaultDevice, Device, ExceptionStatus, File, Fill, Identity, Keepalive, Overflow,
    Queue, Random, RejectWith, Server, ServerId, Unit, Unit255, UnitZero, UnknownUnit,
};
use crate::config::print::{integer, list, size, span, table, text};
use toml::{Table, Value};

pub(in crate::config) fn server(server: &Server) -> Value {
    let mut keys = table([
        ("name", text(&server.name)),
        ("listen", list(&server.listen, |address| text(&address.to_string()))),
        ("backlog", integer(server.backlog)),
        ("max_connections", integer(server.max_connections)),
        ("when_full", limits::name_of(&limits::WHEN_FULL, &server.when_full)),
        ("max_per_address", integer(server.max_per_address.unwrap_or(0))),
        ("priority", limits::print_networks(&server.priority)),
        ("priority_max", integer(server.priority_max)),
        ("accept_rate", limits::print_rate(server.accept_rate)),
        ("request_rate", limits::print_rate(server.request_rate)),
        ("rate_action", limits::name_of(&limits::RATE_ACTION, &server.rate_action)),
        ("reject_with", text(reject_with(server.reject_with))),
        ("keepalive", server.keepalive.map_or(Value::Boolean(false), keepalive)),
        ("nodelay", Value::Boolean(server.nodelay)),
        ("shutdown_timeout", span(server.shutdown_timeout)),
        ("seed", integer(i64::try_from(server.seed).unwrap_or(i64::MAX))),
        ("coalesce", Value::Boolean(server.coalesce)),
        ("max_outstanding", integer(server.max_outstanding)),
        ("overflow", text(overflow(server.overflow))),
        ("request_timeout", span(server.request_timeout)),
        ("frame_timeout", span(server.frame_timeout)),
        ("idle_timeout", span(server.idle_timeout)),
        ("write_timeout", span(server.write_timeout)),
        ("linger", span(server.linger)),
        ("unit_0", text(unit_0(server.unit_0))),
        ("unit_255", text(unit_255(server.unit_255))),
        ("unknown_unit", text(unknown_unit(server.unknown_unit))),
    ]);
    for (key, bytes) in [("receive_buffer", server.receive_buffer), ("send_buffer", server.send_buffer)] {
        keys.extend(bytes.map(|bytes| (key.to_owned(), size(bytes))));
    }
    keys.extend(server.allow.as_ref().map(|allow| ("allow".to_owned(), limits::print_networks(allow))));
    match &server.default_device {
        DefaultDevice::LowestUnit => {}
        DefaultDevice::Unit(id) => drop(keys.insert("default_unit".to_owned(), integer(*id))),
        DefaultDevice::Own(own) => drop(keys.insert("default".to_owned(), Value::Table(device(own)))),
    }
    keys.insert("fault".to_owned(), list(&server.faults, fault));
    keys.insert("unit".to_owned(), list(&server.units, unit));
    Value::Table(keys)
}

const fn reject_with(reject_with: RejectWith) -> &'static str {
    match reject_with {
        RejectWith::Reset => "rst",
        RejectWith::Finish => "fin",
    }
}

fn keepalive(keepalive: Keepalive) -> Value {
    Value::Table(table([
        ("idle", text(&format!("{}s", keepalive.idle_seconds))),
        ("interval", text(&format!("{}s", keepalive.interval_seconds))),
        ("probes", integer(keepalive.probes)),
    ]))
}

const fn overflow(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Busy => "busy",
        Overflow::Wait => "wait",
    }
}

const fn unit_0(policy: UnitZero) -> &'static str {
    match policy {
        UnitZero::Device => "device",
        UnitZero::Broadcast => "broadcast",
        UnitZero::BroadcastReply => "broadcast_reply",
        UnitZero::Ignore => "ignore",
    }
}

const fn unit_255(policy: Unit255) -> &'static str {
    match policy {
        Unit255::Device => "device",
        Unit255::Unit => "unit",
        Unit255::Ignore => "ignore",
    }
}

const fn unknown_unit(policy: UnknownUnit) -> &'static str {
    match policy {
        UnknownUnit::GatewayTargetFailed => "0B",
        UnknownUnit::GatewayPathUnavailable => "0A",
        UnknownUnit::Silent => "silent",
        UnknownUnit::Default => "default",
    }
}

fn unit(unit: &Unit) -> Value {
    let mut keys = table([("id", integer(unit.id))]);
    keys.extend(unit.name.as_ref().map(|name| ("name".to_owned(), text(name))));
    keys.insert("enabled".to_owned(), Value::Boolean(unit.enabled));
    keys.extend(device(&unit.device));
    Value::Table(keys)
}

fn device(device: &Device) -> Table {
    let status = match device.exception_status {
        ExceptionStatus::Value(value) => ("exception_status", integer(value)),
        ExceptionStatus::Coils(first) => ("exception_status_coils", integer(first)),
    };
    table([
        ("functions", list(&device.functions, |code| integer(*code))),
        ("serial_functions", Value::Boolean(device.serial_functions)),
        ("listen_only", Value::Boolean(device.listen_only)),
        ("denied", integer(device.denied)),
        status,
        ("diagnostic_register", integer(device.diagnostic_register)),
        ("identity", identity(&device.identity)),
        ("server_id", server_id(&device.server_id)),
        ("response_delay", span(Some(device.response_delay))),
        ("block", list(&device.blocks, block)),
        ("access", list(&device.access, access)),
        ("file", list(&device.files, file)),
        ("fifo", list(&device.queues, queue)),
        ("point", list(&device.points, point)),
    ])
}

fn identity(identity: &Identity) -> Value {
    let key =
        |id: u8| OBJECT_NAMES.get(usize::from(id)).map_or_else(|| format!("0x{id:02X}"), |name| (*name).to_owned());
    Value::Table(identity.objects.iter().map(|(id, object)| (key(*id), text(object))).collect())
}

fn server_id(server_id: &ServerId) -> Value {
    Value::Table(table([
        ("id", list(&server_id.id, |byte| integer(*byte))),
        ("run", Value::Boolean(server_id.run)),
        ("extra", list(&server_id.extra, |byte| integer(*byte))),
    ]))
}

fn block(block: &Block) -> Value {
    let fill = match &block.fill {
        Fill::Value(value) => ("default", integer(*value)),
        Fill::Values(values) => ("values", list(values, |value| integer(*value))),
        Fill::Bits(bytes) => ("bits", text(&hex(bytes))),
        Fill::Random(values) => ("random", random(*values)),
    };
    let (start, len) = (integer(block.start), integer(block.len));
    Value::Table(table([("table", text(block.table.name())), ("start", start), ("len", len), fill]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

fn random(random: Random) -> Value {
    let mut keys = table([("min", integer(random.min)), ("max", integer(random.max))]);
    keys.extend(random.seed.map(|seed| ("seed".to_owned(), integer(i64::try_from(seed).unwrap_or(i64::MAX)))));
    Value::Table(keys)
}

fn access(range: &AccessRange) -> Value {
    let access = match range.access {
        Access::ReadWrite => "rw",
        Access::ReadOnly => "ro",
        Access::WriteOnly => "wo",
        Access::None => "none",
    };
    Value::Table(table([
        ("table", text(range.table.name())),
        ("start", integer(range.start)),
        ("len", integer(range.len)),
        ("access", text(access)),
    ]))
}

fn file(file: &File) -> Value {
    Value::Table(table([
        ("number", integer(file.number)),
        ("records", integer(file.records)),
        ("values", list(&file.values, |value| integer(*value))),
        ("read_only", Value::Boolean(file.read_only)),
        ("parity_error", list(&file.parity_error, |(first, last)| list(&[*first, *last], |record| integer(*record)))),
    ]))
}

fn queue(queue: &Queue) -> Value {
    Value::Table(table([("pointer", integer(queue.pointer)), ("values", list(&queue.values, |value| integer(*value)))]))
}
