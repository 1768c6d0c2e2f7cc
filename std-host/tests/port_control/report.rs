//! Report: whoever is connected or not, and whatever they do.

use crate::harness::Bench;
use std::net::TcpStream;
use std::time::Duration;
use wharf_host::services::port::report::Level;
use wharf_host::services::port::{Addr, OnClose};

#[test]
fn report_answers_while_nobody_connects() {
    let mut bench = Bench::new(&[("slots", "2")]);
    let local = bench.port.local_addr().unwrap();
    let expected = format!(
        "port dev  connected  {local} tcp  slots 0 of 2  on_full close\n  accepted 0  refused full 0 denied 0  exhausted 0  \
         rx 0 B  tx 0 B\n  dev:0  free\n  dev:1  free\n"
    );
    assert_eq!(bench.report(Level::Slots).to_string(), expected);
    bench.with(|port| port.disconnect(OnClose::Drop));
    let down = bench.report(Level::Line).to_string();
    assert_eq!(down, "port dev  down  127.0.0.1:0 tcp  slots 0 of 2  on_full close\n");
}

#[test]
fn a_free_slot_shows_no_peer_and_the_bytes_of_who_was_there_are_kept() {
    let mut bench = Bench::new(&[("mode", "echo")]);
    let mut client = bench.client();
    bench.send(&mut client, b"12345");
    bench.run_until(|port| port.report(Level::Line).totals.tx == 5);
    let seat = &bench.report(Level::Slots).seats[0];
    let there = seat.client.unwrap();
    assert_eq!((there.peer, there.counters.received, there.counters.sent), (client.local_addr().unwrap(), 5, 5));
    drop(client);
    bench.run_until(|port| port.report(Level::Line).taken == 0);
    let report = bench.report(Level::Slots);
    assert!(report.seats[0].client.is_none());
    assert_eq!((report.totals.rx, report.totals.tx), (5, 5));
    let text = report.to_string();
    let (_, line) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(line.starts_with("  dev:0  free        last Peer") && line.ends_with(" s ago"), "{line}");
    let json = report.to_json();
    assert_eq!((&json["rx"], &json["clients"][0]["state"]), (&5.into(), &"free".into()));
    assert!(json["clients"][0].get("peer").is_none(), "{json:?}");
}

#[test]
fn the_report_names_a_client_that_does_not_read() {
    const QUEUE: usize = 4 << 20;
    // As much as the system takes in one go or two, for each goes through the loop.
    let mut bench = Bench::new(&[("slots", "2"), ("write_stuck", "0"), ("tx_queue", "4M")]);
    let (deaf, other) = (bench.client(), bench.client());
    // Until the system takes no more.
    let much = vec![b'x'; QUEUE];
    bench.run_until(|port| {
        let _ = port.write(Addr::Slot(0), &much);
        port.report(Level::Slots).seats[0].client.unwrap().stuck.is_some_and(|stuck| stuck > Duration::ZERO)
    });
    let report = bench.report(Level::All);
    let [first, second] = [0, 1].map(|index| report.seats[index].client.unwrap());
    assert!(first.counters.queued_tx > 0 && second.stuck.is_none(), "{report}");
    let longest = u64::from(report.seats[0].longest[1]);
    assert!(longest >= first.counters.queued_tx && longest <= QUEUE as u64, "{report}");
    let text = report.to_string();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("does not read: stuck ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("  dev:0  open  "), "{text}");
    assert!(report.to_json()["clients"][0]["stuck"].is_f64() && report.to_json()["clients"][1]["stuck"].is_null());
    // It reads after all.
    let reader = std::thread::spawn(move || std::io::copy(&mut &deaf, &mut std::io::sink()).unwrap());
    bench.run_until(|port| port.report(Level::Slots).seats[0].client.unwrap().counters.queued_tx == 0);
    assert!(bench.report(Level::Slots).seats[0].client.unwrap().stuck.is_none());
    bench.end();
    reader.join().unwrap();
    drop(other);
}

#[test]
fn who_was_refused_or_has_left_is_counted() {
    let mut bench = Bench::new(&[]);
    let client = bench.client();
    let local = bench.port.local_addr().unwrap();
    let refused = TcpStream::connect(local).unwrap();
    bench.run_until(|port| port.totals().full == 1);
    bench.with(|port| port.abort_client(Addr::Slot(0))).unwrap();
    bench.run_until(|port| port.report(Level::Line).taken == 0);
    let json = bench.report(Level::All).to_json();
    assert_eq!((&json["refused"]["full"], &json["accepted"]), (&1.into(), &1.into()));
    assert_eq!(json["left"], serde_json::json!({ "LocalAborted": 1 }));
    drop((client, refused));
}

#[test]
fn level_2_shows_what_differs_from_the_default_and_from_the_port() {
    let mut bench = Bench::new(&[("slots", "2"), ("idle_any", "10m")]);
    bench.with(|port| port.set_option(Addr::Slot(1), "idle_any", "20m")).unwrap();
    bench.with(|port| port.set_option(Addr::Slot(1), "linger", "2s")).unwrap();
    let report = bench.report(Level::All);
    assert_eq!(report.options, [("idle_any", "10m".to_owned())]);
    assert_eq!(report.seats[0].options, []);
    assert_eq!(report.seats[1].options, [("idle_any", "20m".to_owned())]);
    let masks: Vec<_> = report.masks.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(masks, ["trace=none", "trace_mask=error,driver,warning", "trace_io=escape", "trace_info=time,port"]);
}

#[test]
fn a_port_of_many_slots_tells_of_those_that_are_asked_for() {
    let mut bench = Bench::new(&[("slots", "65535"), ("rx_queue", "64"), ("tx_queue", "64")]);
    let part = bench.with(|port| port.report_of(Level::Slots, 65_530..70_000));
    let indices: Vec<_> = part.seats.iter().map(|seat| seat.index).collect();
    assert_eq!(indices, [65_530, 65_531, 65_532, 65_533, 65_534]);
}
