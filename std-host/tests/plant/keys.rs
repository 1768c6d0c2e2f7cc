//! Which keys may be there, and which must.

use crate::harness::{one_problem, one_unit_problem, refused};
use wharf_host::config::error::Kind;

#[test]
fn unknown_keys_name_the_nearest_key() {
    let errors = refused("[loop]\naccept_budge = 1\n");
    assert_eq!(
        errors.to_string(),
        "plant.toml:2:1: loop.accept_budge: unknown key, did you mean `accept_budget`?; accepted: threads, pin, \
         receive_buffer, read_budget, accept_budget, handshake_budget, timer_budget, tx_limit, deferred_limit, \
         slow_callback, udp_batch, udp_payload, resolver_threads"
    );
}

#[test]
fn unknown_keys_are_refused_with_those_accepted() {
    one_problem(
        r#"colour = "red""#,
        Kind::UnknownKey,
        "4:1: modbus.server[0].colour: unknown key; accepted: name, unit, listen, backlog, max_connections, when_full, \
         max_per_address, allow, priority, priority_max, accept_rate, request_rate, rate_action, reject_with, keepalive, nodelay, receive_buffer, send_buffer, shutdown_timeout, seed, coalesce, \
         max_outstanding, overflow, request_timeout, frame_timeout, idle_timeout, write_timeout, linger, unit_0, \
         unit_255, unknown_unit, fault, default, default_unit",
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
