//! Which values a key may have.

use crate::harness::{accepted, one_problem, one_unit_problem, refused};
use wharf_host::config::error::Kind;

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
        r#"4:13: modbus.server[0].when_full: found "drop"; accepted: "reject", "evict""#,
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
fn settings_of_the_loop_have_their_ranges() {
    let ranges = [
        ("threads", "1", "1024", "0", "1025", "1..=1024"),
        ("receive_buffer", "4096", "'64M'", "4095", "'65M'", "4KiB to 64MiB"),
        ("read_budget", "1024", "'64M'", "1023", "'65M'", "1KiB to 64MiB"),
        ("accept_budget", "1", "65535", "0", "65536", "1..=65535"),
        ("handshake_budget", "1", "65535", "0", "65536", "1..=65535"),
        ("timer_budget", "1", "1000000", "0", "1000001", "1..=1000000"),
        ("tx_limit", "1024", "'1G'", "1023", "'2G'", "1KiB to 1GiB"),
        ("deferred_limit", "1", "16777216", "0", "16777217", "1..=16777216"),
        ("udp_batch", "1", "64", "0", "65", "1..=64"),
        ("udp_payload", "1", "65535", "0", "'64k'", "1 to 65535"),
        ("resolver_threads", "1", "64", "0", "65", "1..=64"),
    ];
    for (key, least, most, below, above, words) in ranges {
        for value in [least, most] {
            accepted(&format!("loop = {{ {key} = {value} }}"));
        }
        for value in [below, above] {
            let problem = refused(&format!("loop = {{ {key} = {value} }}")).to_string();
            let place = format!("plant.toml:1:{}: loop.{key}: found ", "loop = {  = ".len() + key.len() + 1);
            assert!(problem.starts_with(&place) && problem.ends_with(&format!("; accepted: {words}")), "{problem}");
        }
    }
    let problem = refused("loop = { pin = 1 }").to_string();
    assert_eq!(problem, "plant.toml:1:16: loop.pin: found 1; accepted: true or false");
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
    one_unit_problem(
        &format!("fifo = [{{ pointer = 1, values = [{}] }}]", "1,".repeat(65_536)),
        Kind::TooMany,
        "6:33: modbus.server[0].unit[0].fifo[0].values: found 65536 values; accepted: at most 65535 values",
    );
}

#[test]
fn a_server_id_has_at_most_251_bytes() {
    let with_extra = |len: usize| format!("server_id = {{ extra = \"{}\" }}", "x".repeat(len));
    accepted(&format!("[[modbus.server]]\nname = \"a\"\n[[modbus.server.unit]]\nid = 1\n{}", with_extra(245)));
    let words = "6:13: modbus.server[0].unit[0].server_id: id, run indicator and extra are 252 bytes; accepted: at most 251 bytes";
    one_unit_problem(&with_extra(246), Kind::TooMany, words);
}

#[test]
fn an_object_of_the_identity_has_at_most_244_bytes() {
    let with_product = |len: usize| format!("identity = {{ product = \"{}\" }}", "x".repeat(len));
    accepted(&format!("[[modbus.server]]\nname = \"a\"\n[[modbus.server.unit]]\nid = 1\n{}", with_product(244)));
    let words = format!(
        "6:24: modbus.server[0].unit[0].identity.product: found \"{}\" and more; accepted: 1 to 244 bytes without control \
         characters",
        "x".repeat(60)
    );
    one_unit_problem(&with_product(245), Kind::NotAccepted, &words);
}

#[test]
fn what_is_no_address_range_or_rate_is_refused() {
    const NETWORKS: &str = r#"a list of IP addresses and ranges such as ["192.0.2.7", "10.0.0.0/8", "fd00::/8"]"#;
    let network = |key: &str, text: &str, why: &str| {
        let column = key.len() + 5;
        let words = format!("4:{column}: modbus.server[0].{key}[0]: {why}; accepted: {NETWORKS}");
        one_problem(&format!("{key} = [\"{text}\"]"), Kind::NotAccepted, &words);
    };
    for key in ["allow", "priority"] {
        network(key, "localhost", "not an IP address");
        network(key, "10.0.0.0/33", "prefix is not 0..=32 (IPv4) or 0..=128 (IPv6)");
        network(key, "10.0.0.1/8", "bits behind the prefix are set");
    }
    one_problem(
        "allow = []",
        Kind::NotAccepted,
        "4:9: modbus.server[0].allow: found an empty list, which would let nobody in; accepted: at least one address",
    );
    one_problem(
        "priority_max = 0",
        Kind::NotAccepted,
        "4:16: modbus.server[0].priority_max: found 0; accepted: 1..=1000",
    );
    for key in ["accept_rate", "request_rate"] {
        let column = key.len() + 4;
        let accepted = "accepted: false, or a table with per_second, burst";
        let words = format!("4:{column}: modbus.server[0].{key}: found 5; {accepted}");
        one_problem(&format!("{key} = 5"), Kind::WrongType, &words);
        let words = format!("4:{column}: modbus.server[0].{key}: found true; {accepted}");
        one_problem(&format!("{key} = true"), Kind::NotAccepted, &words);
        let words = format!("4:{column}: modbus.server[0].{key}.per_second: missing; accepted: 1..=1000000");
        one_problem(&format!("{key} = {{ burst = 5 }}"), Kind::Missing, &words);
        let column = key.len() + 19;
        let words = format!("4:{column}: modbus.server[0].{key}.per_second: found 0; accepted: 1..=1000000");
        one_problem(&format!("{key} = {{ per_second = 0 }}"), Kind::NotAccepted, &words);
    }
}
