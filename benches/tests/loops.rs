//! Every command of `loop-bench`, run small: the JSON has the shape that its readers expect, and nothing is wrong in it.

use serde_json::Value;
use std::process::Command;

/// Runs one command as a smoke run; gives its tables.
fn tables(command: &str, more: &[&str]) -> Vec<Value> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loop-bench"));
    // Without the names of foreign programs nothing of theirs is run.
    program.env_remove("WHARF_PEER_USOCKETS").env_remove("WHARF_TCP_LOAD_TEST").env_remove("CARGO");
    let output = program.args([command, "--quick", "--json"]).args(more).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} ended with {}: {said}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["bench"], command);
    assert!(report["facts"]["kernel"].is_string(), "{report}");
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
fn echo_has_figures_for_wharf_and_bare_mio_and_counts_system_calls() {
    let tables = tables("echo", &[]);
    for row in rows(&tables[0], "server", "wharf") {
        positive(row, &["messages/s", "p50 us", "server CPU us/msg", "polls/msg"]);
        // One write for a message: the kernel takes it whole, or this would be more.
        if row["bytes"] == 12.0 {
            let writes = row["writes/msg"].as_f64().unwrap();
            assert!((0.99..1.01).contains(&writes), "{row}");
            assert!(row["reads/msg"].as_f64().unwrap() < 1.1, "{row}");
        }
        assert!(row["wharf's rate to it"].is_null());
    }
    for row in rows(&tables[0], "server", "mio") {
        positive(row, &["messages/s", "server CPU us/msg", "wharf's rate to it", "wharf's CPU to it"]);
    }
    for row in rows(&tables[0], "server", "usockets") {
        assert_eq!(row["messages/s"], "not run");
    }
}

#[test]
fn udp_has_figures_in_batches_and_one_by_one_and_counts_system_calls() {
    let tables = tables("udp", &[]);
    let figures = ["datagrams/s", "server CPU us/datagram", "server busy", "receives/datagram", "sends/datagram"];
    let wharf = rows(&tables[0], "server", "wharf");
    assert!(wharf.iter().map(|row| &row["batch"]).eq([32.0, 1.0, 32.0, 1.0]), "{tables:?}");
    for row in wharf {
        positive(row, &figures);
        let (receives, sends) = (row["receives/datagram"].as_f64().unwrap(), row["sends/datagram"].as_f64().unwrap());
        if row["batch"] == 1.0 {
            // Now and then a call finds nothing; none takes more than one.
            assert!(receives >= 1.0 && sends >= 1.0, "{row}");
            positive(row, &["wharf's rate to it", "wharf's CPU to it"]);
        } else {
            assert!(receives < 1.0 && sends < 1.0, "{row}");
            assert!(row["wharf's rate to it"].is_null());
        }
    }
    for row in rows(&tables[0], "server", "mio") {
        positive(row, &figures);
        positive(row, &["wharf's rate to it", "wharf's CPU to it"]);
        assert!(row["loss"].is_number(), "{row}");
    }
}

#[test]
fn deferred_has_latency_and_throughput_and_loses_nothing() {
    let tables = tables("deferred", &[]);
    positive(rows(&tables[0], "loop", "wharf")[0], &["p50 us", "p99 us"]);
    positive(rows(&tables[0], "loop", "mio")[0], &["p50 us", "wharf's p50 to it", "wharf's p99 to it"]);
    let throughput = rows(&tables[1], "loop", "wharf");
    assert_eq!(throughput.len(), 2);
    for row in throughput {
        positive(row, &["callers", "calls/s", "calls per wake-up"]);
    }
}

#[test]
fn timers_have_a_row_for_every_number_and_the_growth_between_them() {
    let tables = tables("timers", &[]);
    let operations = rows(&tables[0], "loop", "wharf");
    assert_eq!(operations.len(), 2);
    positive(operations[1], &["inserts/s", "resets/s", "resets/s of any", "cancels/s"]);
    positive(rows(&tables[0], "loop", "map")[0], &["inserts/s", "wharf's resets to it"]);
    positive(rows(&tables[1], "loop", "wharf")[0], &["insert", "reset", "reset of any", "cancel"]);
}

#[test]
fn idle_sockets_are_counted() {
    let tables = tables("idle", &[]);
    let row = &tables[0]["rows"][0];
    positive(row, &["sockets", "bytes allocated per socket"]);
    // How many there are is the benchmark's to say: a short run sees the end of the connecting.
    assert!(row["wake-ups"].is_number(), "{row}");
}

#[test]
fn scaling_doubles_everything_on_two_cores_and_does_not_run_on_one() {
    let one = &tables("scaling", &["--cores", "1"])[0]["rows"];
    assert_eq!(one[0]["messages/s"], "not run");
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return;
    }
    let two = &tables("scaling", &["--cores", "2"])[0]["rows"];
    assert_eq!(two.as_array().unwrap().len(), 3);
    positive(&two[0], &["clients", "messages/s"]);
    assert!(two[0]["to one loop"].is_null(), "{two}");
    positive(&two[1], &["clients", "messages/s", "to one loop"]);
    positive(&two[2], &["clients", "messages/s", "to one loop"]);
}

#[test]
fn a_rush_has_figures_of_the_calm_and_of_itself_for_every_budget() {
    let tables = tables("rush", &["--budgets", "5,1"]);
    let wharf = rows(&tables[0], "server", "wharf");
    assert!(wharf.iter().map(|row| &row["budget"]).eq([5.0, 1.0]), "{tables:?}");
    for row in wharf {
        positive(row, &["calm p50 us", "calm p99 us", "rush p50 us", "rush p99 us", "rush max us"]);
        positive(row, &["echoes in rushes", "rush ms", "rush p99 to calm"]);
    }
    for row in rows(&tables[0], "server", "tokio") {
        if cfg!(feature = "peers") {
            positive(row, &["rush p99 us", "rush ms", "wharf's rush p99 to it", "wharf's rush ms to it"]);
        } else {
            assert_eq!(row["calm p50 us"], "not run");
        }
    }
}

#[test]
fn sampling_is_counted_in_instructions_where_there_is_valgrind_and_measured_in_time() {
    let tables = tables("sampling", &[]);
    for work in ["echo", "timer", "deferred"] {
        let row = rows(&tables[0], "work of an iteration", work)[0];
        if row["without"] != "not run" {
            positive(row, &["without", "sampled"]);
            // How much that is, the bench has to say: an iteration waits for the time, and whoever is kept waiting looks again.
            assert!(row["more"].is_number(), "{row}");
        }
    }
    for row in tables[1]["rows"].as_array().unwrap() {
        positive(row, &["messages/s without", "messages/s sampled", "sampled's rate to without"]);
        positive(row, &["CPU us/msg without", "CPU us/msg sampled", "sampled's CPU to without"]);
    }
}

#[test]
fn without_json_the_tables_are_markdown() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_loop-bench"));
    let output = program.args(["timers", "--quick"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("* CPU: ") && text.contains("\n| timers | loop |"), "{text}");
}
