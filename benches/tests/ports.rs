//! Every command of `port-bench`, run small: the JSON has the shape that its readers expect, and nothing is wrong in it.

use serde_json::Value;
use std::process::Command;

/// Runs one command as a smoke run; gives its tables.
fn tables(command: &str) -> Vec<Value> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_port-bench"));
    let output = program.args([command, "--quick", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command} ended with {}: {said}{printed}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["bench"], command);
    report["tables"].as_array().unwrap().clone()
}

/// The rows in which `column` says `value`.
fn rows<'a>(table: &'a Value, column: &str, value: &str) -> Vec<&'a Value> {
    let rows: Vec<_> = table["rows"].as_array().unwrap().iter().filter(|row| row[column] == value).collect();
    assert!(!rows.is_empty(), "no row of {value}: {table}");
    rows
}

fn positive(row: &Value, columns: &[&str]) {
    for column in columns {
        assert!(row[column].as_f64().is_some_and(|figure| figure > 0.0), "{column}: {row}");
    }
}

#[test]
fn echo_has_figures_for_ports_and_bare_mio_and_a_port_writes_once_for_a_message() {
    let tables = tables("echo");
    for server in ["port", "port, 256 KiB queues"] {
        for row in rows(&tables[0], "server", server) {
            positive(row, &["messages/s", "p50 us", "server CPU us/msg", "polls/msg", "rate to mio's", "CPU to mio's"]);
            // The kernel takes a short message whole, or this would be more.
            if row["bytes"] == 12.0 {
                assert!((0.99..1.01).contains(&row["writes/msg"].as_f64().unwrap()), "{row}");
            }
        }
    }
    for row in rows(&tables[0], "server", "mio") {
        positive(row, &["messages/s", "server CPU us/msg"]);
        assert!(row["rate to mio's"].is_null(), "{row}");
    }
}

#[test]
fn a_broadcast_has_figures_for_the_port_and_for_ncat_where_there_is_one() {
    let tables = tables("broadcast");
    let row = rows(&tables[0], "broker", "port")[0];
    positive(row, &["clients", "broadcasts/s", "p50 us", "p99 us", "CPU us/copy", "writes/copy"]);
    let row = rows(&tables[0], "broker", "ncat")[0];
    if row["broadcasts/s"] != "not run" {
        positive(row, &["broadcasts/s", "p50 us", "port's rate to it", "port's CPU to it"]);
    }
}

#[test]
fn clients_are_measured_beside_nobody_and_beside_one_that_never_reads() {
    let tables = tables("deaf");
    let figures = ["broadcasts/s", "p50 us", "p99 us", "CPU us/broadcast"];
    positive(rows(&tables[0], "beside", "nobody")[0], &figures);
    let row = rows(&tables[0], "beside", "one that never reads")[0];
    positive(row, &figures);
    positive(row, &["p99 to that beside nobody"]);
}

#[test]
fn idle_clients_have_a_price_and_an_active_one_is_measured_beside_them() {
    let tables = tables("idle");
    let row = &tables[0]["rows"][0];
    positive(row, &["clients", "MiB above empty"]);
    assert!(row["server CPU s"].is_number() && row["wake-ups"].is_number(), "{row}");
    positive(rows(&tables[1], "beside", "all of them")[0], &["p50 us", "p99 us", "p50 to that beside nobody"]);
    positive(rows(&tables[2], "record", "client, seat and timer")[0], &["bytes"]);
}

#[test]
fn an_option_that_no_port_has_is_refused_by_name() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_port-bench"));
    let output = program.args(["serve", "port", "slots=2", "speed=9"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("speed"), "{said}");
}
