//! Faults at run time: switched, added, changed and cleared; what they count and tell (8.1, 7.3, 7.4).

use crate::harness::{Faulty, fault, frame, holding, read, serve, serve_with};
use std::time::{Duration, Instant, SystemTime};
use wharf_host::admin::exposition::Exposition;
use wharf_host::config::modbus::Fault;
use wharf_host::services::modbus::Event;

/// A fault as a plant would describe it.
fn described(text: &str) -> Fault {
    let plant = format!("[[modbus.server]]\nname = 'x'\nfault = [{text}]");
    wharf_host::config::parse(&plant, "plant.toml").unwrap().modbus[0].faults[0].clone()
}

fn wrong() -> Vec<u8> {
    frame(1, 1, &[0x83, 4])
}

fn right() -> Vec<u8> {
    frame(1, 1, &holding(3, 2))
}

#[test]
fn a_fault_is_switched_from_the_next_request_on() {
    let server = serve(&fault("exception", "enabled = false"));
    let mut client = server.connect();
    client.asks(&read(3, 2), &right());
    assert!(!server.report("f").enabled);
    assert!(server.fault("f", true, None).unwrap());
    client.asks(&read(3, 2), &wrong());
    assert!(server.report("f").enabled);
    assert!(server.fault("f", false, None).unwrap());
    client.asks(&read(3, 2), &right());
    assert!(!server.fault("g", true, None).unwrap(), "there is none of this name");
    assert_eq!(server.counts("f"), [1, 1, 1, 0], "what is off is not looked at");
}

#[test]
fn a_fault_is_switched_on_for_a_while() {
    let server = serve(&fault("exception", "enabled = false"));
    let mut client = server.connect();
    let begun = Instant::now();
    assert!(server.fault("f", true, Some(Duration::from_millis(150))).unwrap());
    let until = server.report("f").until;
    assert!(until.is_none_or(|until| until <= SystemTime::now() + Duration::from_millis(150)));
    loop {
        client.send(&frame(1, 1, &read(200, 1)));
        if client.take(9)[8] == 2 {
            break;
        }
    }
    assert!(begun.elapsed() >= Duration::from_millis(150));
    let report = server.report("f");
    assert_eq!((report.enabled, report.until), (false, None));
}

#[test]
fn faults_are_added_changed_removed_and_cleared() {
    let server = serve("");
    let mut client = server.connect();
    client.asks(&read(3, 2), &right());
    // A connection that lives already sees them all.
    assert!(!server.put_fault(described(&fault("exception", ""))).unwrap());
    client.asks(&read(3, 2), &wrong());
    assert!(server.put_fault(described(&fault("exception", "code = 9"))).unwrap());
    client.asks(&read(3, 2), &frame(1, 1, &[0x83, 9]));
    assert_eq!(server.counts("f"), [2, 2, 2, 0], "a fault that changes keeps its counters");
    let second = fault("truncate", "skip = 1, scope = 'connection'").replace("'f'", "'g'");
    assert!(!server.put_fault(described(&second)).unwrap());
    client.asks(&read(3, 2), &frame(1, 1, &[0x83, 9]));
    client.asks(&read(3, 2), &frame(1, 1, &[0x83]));
    assert!(server.remove_fault("f").unwrap());
    assert!(!server.remove_fault("f").unwrap());
    client.asks(&read(3, 2), &frame(1, 1, &[3]));
    // The counts of a connection outlive a change elsewhere, and begin anew for a fault that comes back.
    let names = |server: &Faulty| -> Vec<String> {
        server.faults().unwrap().iter().map(|fault| fault.name.to_string()).collect()
    };
    assert_eq!(names(&server), ["g"]);
    server.clear_faults().unwrap();
    assert!(names(&server).is_empty());
    client.asks(&read(3, 2), &right());
    server.put_fault(described(&second)).unwrap();
    client.asks(&read(3, 2), &right());
    client.asks(&read(3, 2), &frame(1, 1, &[3]));
}

#[test]
fn a_list_tells_what_each_fault_did() {
    let server = serve(&format!("{}, {}", fault("corrupt", "skip = 1"), fault("extra", "").replace("'f'", "'g'")));
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 2)).repeat(2));
    client.take(2 * (13 + 4));
    let list = server.faults().unwrap();
    let [f, g] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((&*f.name, f.fault.kind.name(), f.enabled), ("f", "corrupt", true));
    assert_eq!([f.checked, f.matched, f.applied, f.suppressed, f.bytes], [2, 2, 1, 0, 1]);
    assert_eq!([g.checked, g.matched, g.applied, g.suppressed], [2, 2, 2, 0]);
    assert_eq!(g.bytes, 2 * 5, "four bytes that came, and one of the length field");
    assert!(f.last.unwrap() <= SystemTime::now() && f.last >= g.last.map(|last| last - Duration::from_secs(60)));
}

#[test]
fn the_metrics_count_faults_by_outcome() {
    let server = serve(&format!(
        "{}, {}",
        fault("no_response", "skip = 1"),
        fault("delay", "delay = '1ms'").replace("'f'", "'g'")
    ));
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 2)).repeat(2));
    client.sees(&right());
    client.is_served();
    let metrics = server.metrics().unwrap();
    let mut text = Exposition::default();
    metrics.expose(&mut text);
    let text = text.to_string();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("wharf_modbus_faults_total{")).collect();
    let line = |fault, outcome, count| {
        format!("wharf_modbus_faults_total{{server=\"faulty\",fault=\"{fault}\",outcome=\"{outcome}\"}} {count}")
    };
    let outcomes = |fault, counts: [u64; 4]| {
        ["checked", "matched", "applied", "suppressed"].into_iter().zip(counts).map(move |(o, n)| line(fault, o, n))
    };
    let expected: Vec<_> = outcomes("f", [3, 2, 1, 0]).chain(outcomes("g", [3, 2, 1, 1])).collect();
    assert_eq!(lines, expected);
    let json = metrics.to_json();
    assert_eq!(json["faults_total"]["g"]["suppressed"], 1);
    // The reply that came late has been measured, the one that never came has not.
    assert_eq!(metrics.durations().count(), 2);
    assert_eq!(metrics.responses(wharf_host::services::modbus::Response::Ok), 2);
    assert_eq!(metrics.responses(wharf_host::services::modbus::Response::None), 1);
}

#[test]
fn events_tell_which_fault_acted_on_what_and_how_many_on_a_request() {
    let server = serve(&format!("{}, {}", fault("delay", "delay = '1ms'"), fault("corrupt", "").replace("'f'", "'g'")));
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 2)));
    client.take(13);
    let mut told = Vec::new();
    let faults = server.until(|event| match event {
        Event::Processed { request, .. } => Some(request.faults),
        _ => None,
    });
    assert_eq!(faults, 2);
    client.is_served();
    let faults = server.until(|event| match event {
        Event::Processed { request, .. } => Some(request.faults),
        _ => None,
    });
    assert_eq!(faults, 0);
    assert_eq!(server.connections().unwrap()[0].statistics.faults, 2);
    client.send(&frame(2, 1, &read(3, 2)));
    client.take(13);
    for _ in 0..2 {
        told.push(server.until(|event| match event {
            Event::Fault { id, fault, request } => Some((*id, fault.to_string(), *request)),
            _ => None,
        }));
    }
    assert_eq!(told, [(Some(1), "f".to_owned(), Some((1, 3))), (Some(1), "g".to_owned(), Some((1, 3)))]);
}

#[test]
fn a_fault_that_finds_no_reply_is_suppressed_and_not_told() {
    let server = serve_with("unknown_unit = 'silent'", "{ name = 'f', kind = 'delay', delay = '1ms' }");
    let mut client = server.connect();
    client.send(&frame(1, 99, &read(3, 2)));
    client.is_served();
    assert_eq!(server.counts("f"), [2, 2, 1, 1]);
    let told = server.until(|event| match event {
        Event::Fault { request, .. } => Some(*request),
        _ => None,
    });
    assert_eq!(told, Some((2, 3)), "of the one that got its reply");
}
