//! The plant file: what it accepts, what it refuses and in which words, and that it survives being printed.

use std::time::Duration;
use wharf_host::config::error::{Errors, Kind};
use wharf_host::config::modbus::{
    Access, DefaultDevice, Device, ExceptionStatus, Fill, Keepalive, Overflow, RejectWith, Table, Unit255, UnitZero,
    UnknownUnit,
};
use wharf_host::config::{DEFAULT, DEFAULT_NAME, Plant, load, parse};

/// Every key of a server and a unit that is accepted, none at its default.
const EVERYTHING: &str = r#"
[loop]
receive_buffer = "128k"
read_budget = 32768
accept_budget = 16
timer_budget = 512
tx_limit = "2MiB"
deferred_limit = 1000
slow_callback = "10ms"
resolver_threads = 3
udp_batch = 16
udp_payload = "9000"

[[modbus.server]]
name = "hall.3"
listen = ["127.0.0.1:0", "[::1]:1502"]
backlog = 64
max_connections = 100
when_full = "reject"
reject_with = "fin"
keepalive = { idle = "2m", interval = "5s", probes = 3 }
nodelay = false
receive_buffer = "16k"
send_buffer = 5000
shutdown_timeout = "1.5s"
seed = 42
coalesce = false
max_outstanding = 4
overflow = "wait"
request_timeout = "2s"
frame_timeout = "3s"
idle_timeout = "0"
write_timeout = "4s"
linger = "250ms"
unit_0 = "broadcast_reply"
unit_255 = "unit"
unknown_unit = "silent"
[modbus.server.default]
denied = 4
[[modbus.server.unit]]
id = 17
name = "boiler"
enabled = false
functions = [3, 1, 16, 43]
serial_functions = false
listen_only = false
denied = 1
exception_status_coils = 8
diagnostic_register = 0xBEEF
block = [
  { table = "coils", start = 0, len = 16, bits = "AC DB" },
  { table = "discrete", start = 4, values = [true, 0, 1] },
  { table = "input", start = 65530, len = 6, default = 7 },
  { table = "holding", start = 0, len = 65536, random = { min = 1, max = 9, seed = 3 } },
]
access = [
  { table = "holding", start = 100, len = 10, access = "ro" }, { table = "holding", start = 110, len = 1, access = "wo" },
  { table = "input", start = 65530, len = 1, access = "none" }, { table = "coils", start = 0, len = 1, access = "rw" },
]
file = [{ number = 4, records = 100, values = [1, 2, 3], read_only = true, parity_error = [90, 99] }]
fifo = [{ pointer = 1246, values = [440, 4740] }]
identity = { vendor = "Acme", product = "boiler", 2 = "1.0", url = "https://example.invalid", 0x80 = "hall \"3\"" }
server_id = { id = [0xB4, 0], run = false, extra = "LMB3.1.6" }
[[modbus.server]]
name = "plain"
listen = ["127.0.0.1:1503"]
keepalive = false
default_unit = 2
unit = [{ id = 1, block = [] }, { id = 2, exception_status = 0x55 }]
"#;

fn accepted(text: &str) -> Plant {
    parse(text, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn refused(text: &str) -> Errors {
    parse(text, "plant.toml").expect_err(text)
}

/// The problems of one server whose body is `body`, as `(kind, text)`; the body starts on line 4.
fn problems(body: &str) -> Vec<(Kind, String)> {
    let text = format!("[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n{body}");
    let errors = refused(&text);
    let lines = errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    errors.problems.iter().map(|problem| problem.kind).zip(lines).collect()
}

/// Asserts that `body` has exactly one problem, of this kind and in these words.
#[track_caller]
fn one_problem(body: &str, kind: Kind, words: &str) {
    assert_eq!(problems(body), [(kind, format!("plant.toml:{words}"))]);
}

/// The same for a unit whose keys are `keys`.
#[track_caller]
fn one_unit_problem(keys: &str, kind: Kind, words: &str) {
    one_problem(&format!("[[modbus.server.unit]]\nid = 1\n{keys}"), kind, words);
}

#[test]
fn every_key_is_read() {
    let plant = accepted(EVERYTHING);
    assert_eq!(plant.event_loop.accept_budget, 16);
    assert_eq!((plant.event_loop.receive_buffer, plant.event_loop.tx_limit), (131_072, 2 << 20));
    assert_eq!(plant.event_loop.slow_callback, Some(Duration::from_millis(10)));
    assert_eq!(plant.event_loop.resolver_threads, 3);
    let [server, plain] = plant.modbus.as_slice() else { panic!("{plant:?}") };
    assert_eq!(server.name, "hall.3");
    assert_eq!(server.listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:1502".parse().unwrap()]);
    assert_eq!((server.backlog, server.max_connections, server.reject_with), (64, 100, RejectWith::Finish));
    assert_eq!(server.keepalive, Some(Keepalive { idle_seconds: 120, interval_seconds: 5, probes: 3 }));
    assert_eq!((server.nodelay, server.coalesce, server.seed), (false, false, 42));
    assert_eq!((server.receive_buffer, server.send_buffer), (Some(16_384), Some(5000)));
    assert_eq!((server.max_outstanding, server.overflow), (4, Overflow::Wait));
    assert_eq!(server.shutdown_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(server.request_timeout, Some(Duration::from_secs(2)));
    assert_eq!(server.frame_timeout, Some(Duration::from_secs(3)));
    assert_eq!(server.idle_timeout, None);
    assert_eq!(server.write_timeout, Some(Duration::from_secs(4)));
    assert_eq!(server.linger, Some(Duration::from_millis(250)));
    assert_eq!((server.unit_0, server.unit_255), (UnitZero::BroadcastReply, Unit255::Unit));
    assert_eq!(server.unknown_unit, UnknownUnit::Silent);
    assert!(matches!(&server.default_device, DefaultDevice::Own(device) if device.denied == 4));

    let [unit] = server.units.as_slice() else { panic!("{:?}", server.units) };
    assert_eq!((unit.id, unit.name.as_deref(), unit.enabled), (17, Some("boiler"), false));
    let device = &unit.device;
    assert_eq!(device.functions, [1, 3, 16, 43]);
    assert_eq!((device.serial_functions, device.listen_only, device.denied), (false, false, 1));
    assert_eq!(device.exception_status, ExceptionStatus::Coils(8));
    assert_eq!(device.diagnostic_register, 0xBEEF);
    let blocks: Vec<_> = device.blocks.iter().map(|block| (block.table, block.start, block.len)).collect();
    assert_eq!(
        blocks,
        [(Table::Coils, 0, 16), (Table::Discrete, 4, 3), (Table::Input, 65_530, 6), (Table::Holding, 0, 65_536)]
    );
    assert_eq!(device.blocks[0].fill, Fill::Bits(vec![0xAC, 0xDB]));
    assert_eq!(device.blocks[1].fill, Fill::Values(vec![1, 0, 1]));
    assert_eq!(device.blocks[2].fill, Fill::Value(7));
    assert!(matches!(device.blocks[3].fill, Fill::Random(r) if (r.min, r.max, r.seed) == (1, 9, Some(3))));
    let access: Vec<_> = device.access.iter().map(|range| range.access).collect();
    assert_eq!(access, [Access::ReadOnly, Access::WriteOnly, Access::None, Access::ReadWrite]);
    let file = &device.files[0];
    assert_eq!((file.number, file.records, file.values.as_slice()), (4, 100, [1, 2, 3].as_slice()));
    assert_eq!((file.read_only, file.parity_error.as_slice()), (true, [(90, 99)].as_slice()));
    assert_eq!((device.queues[0].pointer, device.queues[0].values.as_slice()), (1246, [440, 4740].as_slice()));
    let objects: Vec<_> = device.identity.objects.iter().map(|(id, text)| (*id, text.as_str())).collect();
    assert_eq!(objects, [(0, "Acme"), (1, "boiler"), (2, "1.0"), (3, "https://example.invalid"), (0x80, "hall \"3\"")]);
    assert_eq!((device.server_id.id.as_slice(), device.server_id.run), ([0xB4, 0].as_slice(), false));
    assert_eq!(device.server_id.extra, b"LMB3.1.6");

    assert_eq!((plain.keepalive, &plain.default_device), (None, &DefaultDevice::Unit(2)));
    assert!(plain.units[0].device.blocks.is_empty());
    assert_eq!(plain.units[1].device.exception_status, ExceptionStatus::Value(0x55));
}

#[test]
fn a_printed_plant_reads_back_as_the_same_plant() {
    for text in [EVERYTHING, DEFAULT, "", "[[modbus.server]]\nname = \"a\"\n"] {
        let plant = accepted(text);
        let printed = plant.to_toml();
        assert_eq!(parse(&printed, "printed"), Ok(plant), "{printed}");
    }
}

#[test]
fn absent_keys_have_the_defaults_of_the_specification() {
    let plant = accepted("[[modbus.server]]\nname = \"a\"\n");
    let server = &plant.modbus[0];
    assert_eq!(server.listen, ["0.0.0.0:502".parse().unwrap()]);
    assert_eq!((server.backlog, server.max_connections, server.reject_with), (1024, 10_000, RejectWith::Reset));
    assert_eq!(server.keepalive, Some(Keepalive { idle_seconds: 60, interval_seconds: 15, probes: 4 }));
    let timeouts = [
        (server.request_timeout, 5),
        (server.frame_timeout, 10),
        (server.idle_timeout, 300),
        (server.write_timeout, 10),
        (server.linger, 1),
        (server.shutdown_timeout, 30),
    ];
    for (timeout, seconds) in timeouts {
        assert_eq!(timeout, Some(Duration::from_secs(seconds)));
    }
    assert_eq!((server.max_outstanding, server.overflow, server.coalesce), (16, Overflow::Busy, true));
    assert_eq!((server.unit_0, server.unit_255), (UnitZero::Device, Unit255::Device));
    assert_eq!(
        (server.unknown_unit, &server.default_device),
        (UnknownUnit::GatewayTargetFailed, &DefaultDevice::LowestUnit)
    );
    assert_eq!(plant.event_loop.receive_buffer, 262_144);
}

#[test]
fn a_server_without_units_has_an_unconfigured_unit_1() {
    let plant = accepted("[[modbus.server]]\nname = \"a\"\n");
    let [unit] = plant.modbus[0].units.as_slice() else { panic!("{plant:?}") };
    assert_eq!((unit.id, &unit.device), (1, &Device::with_size(10_000)));
    let blocks: Vec<_> = unit.device.blocks.iter().map(|block| (block.table, block.start, block.len)).collect();
    assert_eq!(blocks, Table::ALL.map(|table| (table, 0, 10_000)));
    let own = accepted("[[modbus.server]]\nname = \"a\"\ndefault = {}\n");
    assert!(own.modbus[0].units.is_empty());
}

#[test]
fn a_device_serves_what_both_function_keys_allow() {
    let device = Device { serial_functions: false, functions: vec![3, 8], ..Device::empty() };
    assert_eq!([3, 4, 8].map(|code| device.serves(code)), [true, false, false]);
    assert!(Device::empty().serves(8));
}

#[test]
fn the_embedded_plant_listens_on_loopback_5020() {
    let plant = parse(DEFAULT, DEFAULT_NAME).unwrap();
    assert_eq!(plant.modbus[0].listen, ["127.0.0.1:5020".parse().unwrap()]);
    let ids: Vec<_> = plant.modbus[0].units.iter().map(|unit| unit.id).collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn all_problems_are_reported_at_once_in_file_order() {
    let body = "idle_timout = \"1s\"\nbacklog = 0\nlinger = 5\n[[modbus.server.unit]]\nid = 256\n[lop]\n";
    let kinds: Vec<_> = problems(body).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::UnknownKey, Kind::NotAccepted, Kind::WrongType, Kind::NotAccepted, Kind::UnknownKey],);
}

#[test]
fn an_unreadable_file_is_a_problem_without_a_place() {
    let errors = load(std::path::Path::new("/nonexistent/plant.toml")).unwrap_err();
    assert_eq!(errors.problems[0].kind, Kind::Unreadable);
    assert_eq!(errors.to_string(), "/nonexistent/plant.toml: cannot read: No such file or directory (os error 2)");
}

#[test]
fn every_syntax_error_has_its_place() {
    let errors = refused("a = \nb = 1\nc = ]\n");
    let lines: Vec<_> = errors.problems.iter().map(|p| (p.kind, p.position.unwrap().line)).collect();
    assert_eq!(lines, [(Kind::Syntax, 1), (Kind::Syntax, 3)]);
    assert_eq!(refused("x = \"é\"\ny = \"é\" é").problems[0].position.map(|p| (p.line, p.column)), Some((2, 9)));
    assert_eq!(refused("a = 1\na = 2").to_string(), "plant.toml:2:1: duplicate key");
}

#[test]
fn unknown_keys_name_the_nearest_key() {
    let errors = refused("[loop]\naccept_budge = 1\n");
    assert_eq!(
        errors.to_string(),
        "plant.toml:2:1: loop.accept_budge: unknown key, did you mean `accept_budget`?; accepted: receive_buffer, \
         read_budget, accept_budget, timer_budget, tx_limit, deferred_limit, slow_callback, \
         resolver_threads, udp_batch, udp_payload"
    );
}

#[test]
fn values_of_another_type_are_refused() {
    one_problem(
        r#"backlog = "many""#,
        Kind::WrongType,
        r#"4:11: modbus.server[0].backlog: found "many"; accepted: 1..=65535"#,
    );
    one_problem("nodelay = 1", Kind::WrongType, "4:11: modbus.server[0].nodelay: found 1; accepted: true or false");
    one_problem(
        "idle_timeout = 5",
        Kind::WrongType,
        r#"4:16: modbus.server[0].idle_timeout: found 5; accepted: a string with a unit (us, ms, s, m, h) such as "500ms", or "0" for off"#,
    );
    one_problem(
        "keepalive = 3",
        Kind::WrongType,
        "4:13: modbus.server[0].keepalive: found 3; accepted: true, false, or a table with idle, interval, probes",
    );
    one_problem(
        "send_buffer = true",
        Kind::WrongType,
        r#"4:15: modbus.server[0].send_buffer: found true; accepted: bytes, or a string in powers of 1024 such as "64k" or "4.4MiB""#,
    );
    one_problem(
        "overflow = 1",
        Kind::WrongType,
        r#"4:12: modbus.server[0].overflow: found 1; accepted: "busy", "wait""#,
    );
    one_problem("unit = 3", Kind::WrongType, "4:8: modbus.server[0].unit: found 3; accepted: a list of tables");
    one_problem("unit = [3]", Kind::WrongType, "4:9: modbus.server[0].unit[0]: found 3; accepted: a table");
    one_problem(
        r#"[[modbus.server]]
name = "b"
listen = "127.0.0.1:1""#,
        Kind::WrongType,
        r#"6:10: modbus.server[1].listen: found "127.0.0.1:1"; accepted: a list of addresses such as ["127.0.0.1:502", "[::1]:502"]"#,
    );
}

#[test]
fn values_out_of_range_or_off_the_list_are_refused() {
    one_problem(
        "backlog = 70000",
        Kind::NotAccepted,
        "4:11: modbus.server[0].backlog: found 70000; accepted: 1..=65535",
    );
    one_problem(
        r#"idle_timeout = "5""#,
        Kind::NotAccepted,
        r#"4:16: modbus.server[0].idle_timeout: found "5"; accepted: a string with a unit (us, ms, s, m, h) such as "500ms", or "0" for off"#,
    );
    one_problem(
        r#"idle_timeout = "2000h""#,
        Kind::NotAccepted,
        r#"4:16: modbus.server[0].idle_timeout: found "2000h"; accepted: at most "1193h""#,
    );
    one_problem(
        r#"keepalive = { idle = "1.5s" }"#,
        Kind::NotAccepted,
        r#"4:22: modbus.server[0].keepalive.idle: found "1.5s"; accepted: whole seconds, "1s" to "32767s""#,
    );
    one_problem(
        "keepalive = { probes = 0 }",
        Kind::NotAccepted,
        "4:24: modbus.server[0].keepalive.probes: found 0; accepted: 1..=127",
    );
    one_problem(
        r#"send_buffer = "1T""#,
        Kind::NotAccepted,
        r#"4:15: modbus.server[0].send_buffer: found "1T"; accepted: bytes, or a string in powers of 1024 such as "64k" or "4.4MiB""#,
    );
    one_problem(
        r#"send_buffer = "2G""#,
        Kind::NotAccepted,
        r#"4:15: modbus.server[0].send_buffer: found "2G"; accepted: 1 to 1GiB"#,
    );
    one_problem(
        r#"overflow = "drop""#,
        Kind::NotAccepted,
        r#"4:12: modbus.server[0].overflow: found "drop"; accepted: "busy", "wait""#,
    );
    one_problem(
        r#"when_full = "drop""#,
        Kind::NotAccepted,
        r#"4:13: modbus.server[0].when_full: found "drop"; accepted: "reject""#,
    );
    one_problem(
        r#"unknown_unit = "0C""#,
        Kind::NotAccepted,
        r#"4:16: modbus.server[0].unknown_unit: found "0C"; accepted: "0B", "0A", "silent", "default""#,
    );
    one_problem(
        "max_outstanding = 17",
        Kind::NotAccepted,
        "4:19: modbus.server[0].max_outstanding: found 17; accepted: 1..=16",
    );
    one_problem(
        "seed = -1",
        Kind::NotAccepted,
        "4:8: modbus.server[0].seed: found -1; accepted: 0..=9223372036854775807",
    );
    one_problem(
        r#"[[modbus.server]]
name = "b"
listen = []"#,
        Kind::NotAccepted,
        "6:10: modbus.server[1].listen: found an empty list; accepted: at least one address",
    );
    one_unit_problem(
        "functions = [3, 9]",
        Kind::NotAccepted,
        "6:17: modbus.server[0].unit[0].functions[1]: found 9; accepted: 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43",
    );
    one_unit_problem(
        "functions = [200]",
        Kind::NotAccepted,
        "6:14: modbus.server[0].unit[0].functions[0]: found 200; accepted: 1..=127",
    );
    one_unit_problem(
        "denied = 5",
        Kind::NotAccepted,
        "6:10: modbus.server[0].unit[0].denied: found 5; accepted: 1..=4",
    );
    one_unit_problem(
        "exception_status_coils = 65530",
        Kind::NotAccepted,
        "6:26: modbus.server[0].unit[0].exception_status_coils: found 65530; accepted: 0..=65528",
    );
    one_unit_problem(
        r#"block = [{ table = "coil", start = 0, len = 1 }]"#,
        Kind::NotAccepted,
        r#"6:20: modbus.server[0].unit[0].block[0].table: found "coil"; accepted: "coils", "discrete", "input", "holding""#,
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 65530, len = 7 }]"#,
        Kind::NotAccepted,
        "6:50: modbus.server[0].unit[0].block[0].len: found 7, which with start 65530 ends after address 65535; accepted: 1..=6",
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 70000, len = 7 }]"#,
        Kind::NotAccepted,
        "6:37: modbus.server[0].unit[0].block[0].start: found 70000; accepted: 0..=65535",
    );
    one_unit_problem(
        r#"block = [{ table = "coils", start = 0, len = 8, bits = "A" }]"#,
        Kind::NotAccepted,
        r#"6:56: modbus.server[0].unit[0].block[0].bits: found "A"; accepted: pairs of hex digits such as "AC DB 35""#,
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 0, len = 8, bits = "AA" }]"#,
        Kind::NotAccepted,
        "6:56: modbus.server[0].unit[0].block[0].bits: `bits` is for coils and discrete; accepted: default, values, random",
    );
    one_unit_problem(
        r#"block = [{ table = "coils", start = 0, len = 8, values = [2] }]"#,
        Kind::NotAccepted,
        "6:59: modbus.server[0].unit[0].block[0].values[0]: found 2; accepted: 0..=1",
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 0, len = 8, values = [65536] }]"#,
        Kind::NotAccepted,
        "6:59: modbus.server[0].unit[0].block[0].values[0]: found 65536; accepted: 0..=65535",
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 0, len = 8, random = { min = 5, max = 4 } }]"#,
        Kind::NotAccepted,
        "6:75: modbus.server[0].unit[0].block[0].random.max: found 4; accepted: 5..=65535",
    );
    one_unit_problem(
        r#"access = [{ table = "input", start = 0, len = 1, access = "rw" }]"#,
        Kind::NotAccepted,
        r#"6:59: modbus.server[0].unit[0].access[0].access: found "rw"; accepted: "ro", "none""#,
    );
    one_unit_problem(
        "file = [{ number = 1, records = 2, parity_error = [1, 2] }]",
        Kind::NotAccepted,
        "6:55: modbus.server[0].unit[0].file[0].parity_error[1]: found 2; accepted: 1..=1",
    );
    one_unit_problem(
        "file = [{ number = 1, records = 2, parity_error = [[0, 1], [1]] }]",
        Kind::NotAccepted,
        "6:60: modbus.server[0].unit[0].file[0].parity_error[1]: found a list; accepted: [first, last]",
    );
}

#[test]
fn planned_keys_are_refused_as_not_supported_yet() {
    for key in ["allow", "priority", "priority_max", "accept_rate", "request_rate", "rate_action"] {
        let words = format!("4:1: modbus.server[0].{key}: this key is not supported by this version yet");
        one_problem(&format!("{key} = 1"), Kind::NotSupported, &words);
    }
    for key in ["point", "response_delay"] {
        let words = format!("6:1: modbus.server[0].unit[0].{key}: this key is not supported by this version yet");
        one_unit_problem(&format!("{key} = 1"), Kind::NotSupported, &words);
    }
    one_problem(
        r#"when_full = "evict""#,
        Kind::NotSupported,
        r#"4:13: modbus.server[0].when_full: "evict" is not supported by this version yet"#,
    );
    one_problem(
        "max_per_address = 3",
        Kind::NotSupported,
        "4:1: modbus.server[0].max_per_address: this key is not supported by this version yet",
    );
    one_problem(
        "fault = []",
        Kind::NotSupported,
        "4:1: modbus.server[0].fault: this key is not supported by this version yet",
    );
}

#[test]
fn keys_without_a_default_must_be_there() {
    one_problem("unit = [{}]", Kind::Missing, "4:9: modbus.server[0].unit[0].id: missing; accepted: 0..=255");
    one_problem(
        r#"[[modbus.server]]
listen = ["127.0.0.1:99"]"#,
        Kind::Missing,
        "4:1: modbus.server[1].name: missing; accepted: a name that is unique within the plant",
    );
}

#[test]
fn names_ids_and_addresses_occur_once() {
    one_unit_problem(
        "file = [{ number = 1, records = 2 }, { number = 1, records = 2 }]",
        Kind::Duplicate,
        "6:49: modbus.server[0].unit[0].file[1].number: 1 was used before, on line 6; accepted: each file number once \
         per unit",
    );
    one_problem(
        "[[modbus.server]]\nname = \"b\"\nlisten = [\"[::1]:99\", \"[::1]:99\"]",
        Kind::Duplicate,
        "6:23: modbus.server[1].listen[1]: [::1]:99 was used before, on line 6; accepted: an address that nobody else \
         listens on",
    );
    one_unit_problem(
        "identity = { vendor = \"x\", 0 = \"y\" }",
        Kind::Duplicate,
        "6:32: modbus.server[0].unit[0].identity.0: 0 was used before, on line 6; accepted: each object once",
    );
    one_problem(
        "unit = [{ id = 1 }, { id = 1 }]",
        Kind::Duplicate,
        "4:28: modbus.server[0].unit[1].id: 1 was used before, on line 4; accepted: each unit id once per server",
    );
    one_problem(
        r#"unit = [{ id = 1, name = "x" }, { id = 2, name = "x" }]"#,
        Kind::Duplicate,
        r#"4:50: modbus.server[0].unit[1].name: "x" was used before, on line 4; accepted: a name that is unique within the server"#,
    );
    one_problem(
        r#"[[modbus.server]]
name = "a"
listen = ["127.0.0.1:0"]"#,
        Kind::Duplicate,
        r#"5:8: modbus.server[1].name: "a" was used before, on line 2; accepted: a name that is unique within the plant"#,
    );
    one_unit_problem(
        "functions = [3, 3]",
        Kind::Duplicate,
        "6:17: modbus.server[0].unit[0].functions[1]: 3 was used before, on line 6; accepted: each function code once",
    );
    one_unit_problem(
        "fifo = [{ pointer = 5 }, { pointer = 5 }]",
        Kind::Duplicate,
        "6:38: modbus.server[0].unit[0].fifo[1].pointer: 5 was used before, on line 6; accepted: each pointer once per unit",
    );
}

#[test]
fn ranges_of_one_table_do_not_overlap() {
    one_unit_problem(
        r#"block = [
{ table = "input", start = 0, len = 8 },
{ table = "input", start = 7, len = 1 }]"#,
        Kind::Overlap,
        "8:1: modbus.server[0].unit[0].block[1]: input 7..=7 overlaps 0..=7 on line 7",
    );
    one_unit_problem(
        r#"access = [{ table = "holding", start = 0, len = 5, access = "rw" }, { table = "holding", start = 0, len = 1, access = "ro" }]"#,
        Kind::Overlap,
        "6:69: modbus.server[0].unit[0].access[1]: holding 0..=0 overlaps 0..=4 on line 6",
    );
}

#[test]
fn lists_longer_than_what_they_fill_are_refused() {
    one_unit_problem(
        r#"block = [{ table = "input", start = 65535, values = [1, 2] }]"#,
        Kind::TooMany,
        "6:10: modbus.server[0].unit[0].block[0]: 2 values from start 65535 end after address 65535; accepted: at most 1 values",
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 0, len = 1, values = [1, 2] }]"#,
        Kind::TooMany,
        "6:10: modbus.server[0].unit[0].block[0]: found 2 values for 1 addresses; accepted: at most 1 values",
    );
    one_unit_problem(
        r#"block = [{ table = "coils", start = 0, len = 8, bits = "AA BB" }]"#,
        Kind::TooMany,
        "6:10: modbus.server[0].unit[0].block[0]: found 16 values for 8 addresses; accepted: at most 8 values",
    );
}

#[test]
fn keys_that_exclude_each_other_are_refused() {
    one_problem(
        "default = {}\ndefault_unit = 1\nunit = [{ id = 1 }]",
        Kind::Conflict,
        "5:16: modbus.server[0].default_unit: found beside `default`; accepted: one of default, default_unit",
    );
    one_unit_problem(
        "exception_status_coils = 0\nexception_status = 1",
        Kind::Conflict,
        "7:20: modbus.server[0].unit[0].exception_status: found beside `exception_status_coils`; accepted: one of exception_status, exception_status_coils",
    );
    one_unit_problem(
        r#"block = [{ table = "input", start = 0, len = 8, default = 1, values = [1] }]"#,
        Kind::Conflict,
        "6:71: modbus.server[0].unit[0].block[0].values: found beside `default`; accepted: at most one of default, values, bits, random",
    );
}

#[test]
fn references_must_lead_somewhere() {
    one_problem(
        "default_unit = 9",
        Kind::Dangling,
        "4:16: modbus.server[0].default_unit: found 9, which is no unit of this server",
    );
    one_unit_problem(
        "exception_status_coils = 9995",
        Kind::Dangling,
        "6:26: modbus.server[0].unit[0].exception_status_coils: coils 9995..=10002 do not all exist",
    );
}

#[test]
fn unknown_keys_are_refused_with_those_accepted() {
    one_problem(
        r#"colour = "red""#,
        Kind::UnknownKey,
        "4:1: modbus.server[0].colour: unknown key; accepted: name, when_full, unit, listen, backlog, max_connections, \
         reject_with, keepalive, nodelay, receive_buffer, send_buffer, shutdown_timeout, seed, coalesce, \
         max_outstanding, overflow, request_timeout, frame_timeout, idle_timeout, write_timeout, linger, unit_0, \
         unit_255, unknown_unit, default, default_unit",
    );
    one_unit_problem(
        r#"identity = { vendr = "x" }"#,
        Kind::UnknownKey,
        "6:22: modbus.server[0].unit[0].identity.vendr: unknown object; accepted: vendor, product, revision, url, name, model, application, or a number 0..=6, 0x80..=0xFF",
    );
    one_problem(
        "[modbus.serve]",
        Kind::UnknownKey,
        "4:9: modbus.serve: unknown key, did you mean `server`?; accepted: server",
    );
}

#[test]
fn several_problems_in_one_table_are_all_named() {
    let lines = |body: &str| problems(body).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
    assert_eq!(
        lines("[[modbus.server.unit]]\nid = 1\nfile = [{ number = 0, records = 10001 }]"),
        [
            "plant.toml:6:20: modbus.server[0].unit[0].file[0].number: found 0; accepted: 1..=65535",
            "plant.toml:6:33: modbus.server[0].unit[0].file[0].records: found 10001; accepted: 1..=10000",
        ]
    );
    assert_eq!(lines("[admin]\nsocket = \"x\"\n[[port]]\n[[face]]\n[[child]]\n").len(), 4,);
}

#[test]
fn a_server_id_has_at_most_251_bytes() {
    let with_extra = |len: usize| format!("server_id = {{ extra = \"{}\" }}", "x".repeat(len));
    accepted(&format!("[[modbus.server]]\nname = \"a\"\n[[modbus.server.unit]]\nid = 1\n{}", with_extra(245)));
    let words = "6:13: modbus.server[0].unit[0].server_id: id, run indicator and extra are 252 bytes; accepted: at most 251 bytes";
    one_unit_problem(&with_extra(246), Kind::TooMany, words);
}

#[test]
fn errors_of_later_lines_do_not_hide_behind_a_bad_element() {
    let body = "unit = [{ id = 1, block = [{ table = \"x\", start = 0, len = 1 }, { table = \"input\", start = -1, len = 1 }] }]";
    let kinds: Vec<_> = problems(body).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::NotAccepted, Kind::NotAccepted]);
}

#[test]
fn a_problem_brings_no_others_in_its_train() {
    let kinds = |body: &str| problems(body).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds("default_unit = 9\nunit = [{ id = 999 }]"), [Kind::NotAccepted]);
    let unit = "exception_status_coils = 0, block = [{ table = \"coils\", start = 0, len = 0 }]";
    assert_eq!(kinds(&format!("unit = [{{ id = 1, {unit} }}]")), [Kind::NotAccepted]);
}

#[test]
fn damaged_plants_are_refused_or_read_but_never_panic() {
    for (at, _) in EVERYTHING.char_indices().step_by(3) {
        let (before, after) = EVERYTHING.split_at(at);
        let damaged = [before.to_owned(), format!("{before}{}", &after[1..]), format!("{before}9{after}")];
        for text in damaged {
            if let Ok(plant) = parse(&text, "damaged") {
                assert_eq!(parse(&plant.to_toml(), "printed").as_ref(), Ok(&plant), "{text}");
            }
        }
    }
}

#[test]
fn the_plants_of_the_docs_are_accepted() {
    let page = include_str!("../../docs/modbus.md");
    let plants: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!plants.is_empty());
    for plant in plants {
        accepted(plant);
    }
}
