//! What a server counts (specification, 7.4).

use crate::harness::{Client, End, PATIENCE, frame};
use std::time::Duration;
use wharf_core::modbus::server::Reason;
use wharf_core::modbus::service::Discard;
use wharf_host::admin::exposition::Exposition;
use wharf_host::config::modbus::{Server as Described, Unit, UnknownUnit};
use wharf_host::services::modbus::{Event, Rejection, Response, Server, Threaded, Timeout};

fn described() -> Described {
    Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 125), Unit::with_size(2, 10)],
        ..Described::new("counted")
    }
}

fn spawn(described: Described) -> Threaded {
    Server::spawn(described).unwrap()
}

fn connect(server: &Threaded) -> Client {
    Client::connect(server.local_addrs()[0])
}

/// Lets a test wait for the end of connections.
fn ends(server: &Threaded) -> impl FnMut() -> Reason + use<> {
    let events = server.subscribe(1024);
    move || loop {
        if let Event::Disconnected { reason, .. } = events.next_within(PATIENCE).expect("a connection ends") {
            return reason;
        }
    }
}

#[test]
fn requests_are_counted_by_function_unit_and_outcome() {
    let server = spawn(described());
    let mut client = connect(&server);
    client.is_served();
    assert_eq!(client.ask(2, &[6, 0, 0, 0, 1]), [6, 0, 0, 0, 1]);
    assert_eq!(client.ask(2, &[3, 0, 10, 0, 1]), [0x83, 2]);
    assert_eq!(client.ask(9, &[3, 0, 0, 0, 1]), [0x83, 0x0B]);
    assert_eq!(client.ask(1, &[0x64, 1]), [0xE4, 1]);
    // Listen-only mode begins, which nobody answers; what is asked next is thrown away.
    client.send(&[frame(1, 2, &[8, 0, 4, 0, 0]), frame(2, 2, &[3, 0, 0, 0, 1])].concat());
    client.is_served();
    let metrics = server.metrics().unwrap();
    assert_eq!([3, 6, 8, 0x64, 16].map(|function| metrics.requests(function)), [4, 1, 1, 1, 0]);
    assert_eq!([1, 2, 9, 3].map(|unit| metrics.unit_requests(unit)), [3, 3, 1, 0]);
    let responses = [Response::Ok, Response::Exception, Response::None].map(|status| metrics.responses(status));
    assert_eq!(responses, [3, 3, 1]);
    assert_eq!([1, 2, 11, 3].map(|code| metrics.exceptions(code)), [1, 1, 1, 0]);
    assert_eq!(metrics.discards(Discard::ListenOnly), 1);
    assert_eq!((metrics.units, metrics.connections, metrics.connections_active), (2, 1, 1));
    assert_eq!(metrics.durations().count(), 6, "those that were answered");
    assert!(metrics.durations().sum() > Duration::ZERO);
    assert!(metrics.requests_per_second() > 0.0 && metrics.uptime > Duration::ZERO);
}

#[test]
fn every_byte_counts_discarded_or_not() {
    let server = spawn(described());
    let mut ended = ends(&server);
    let mut client = connect(&server);
    client.is_served();
    // A length that cannot be, and what comes behind it.
    client.send(&[[0, 1, 0, 0, 0xFF, 0xFF].as_slice(), &[7; 94]].concat());
    assert_eq!(client.end(), (End::Fin, vec![]));
    drop(client);
    assert_eq!(ended(), Reason::BadFrame);
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.bytes_in, metrics.bytes_out), (12 + 100, 11));
    assert_eq!(metrics.discards(Discard::LengthLong), 1);
    assert_eq!((metrics.closed(Reason::BadFrame), metrics.connections_active), (1, 0));
}

#[test]
fn timeouts_are_counted_by_kind() {
    let short = Duration::from_millis(50);
    let quick = Described {
        frame_timeout: Some(short),
        write_timeout: Some(short),
        idle_timeout: Some(Duration::from_millis(200)),
        send_buffer: Some(4096),
        ..described()
    };
    let server = spawn(quick);
    let mut ended = ends(&server);
    let mut partial = connect(&server);
    partial.send(&[0, 1, 0]);
    assert_eq!(partial.end(), (End::Fin, vec![]));
    drop(partial);
    assert_eq!(ended(), Reason::FrameTimeout);
    let mut idle = connect(&server);
    assert_eq!(idle.end(), (End::Fin, vec![]));
    drop(idle);
    assert_eq!(ended(), Reason::Idle);
    let mut stuck = connect(&server);
    stuck.send(&crate::harness::more_than_fits());
    assert_eq!(ended(), Reason::WriteStuck);
    let metrics = server.metrics().unwrap();
    let timeouts = [Timeout::Frame, Timeout::Idle, Timeout::Write, Timeout::Request];
    assert_eq!(timeouts.map(|kind| metrics.timeouts(kind)), [1, 1, 1, 0]);
    // Whatever was accepted and never left is no reply.
    let all: u64 = [Response::Ok, Response::Exception, Response::None].iter().map(|s| metrics.responses(*s)).sum();
    assert_eq!(all, metrics.requests(3));
    assert!(metrics.responses(Response::None) > 0 && metrics.responses(Response::Ok) > 0);
    assert_eq!(metrics.durations().count(), metrics.responses(Response::Ok));
}

#[test]
fn newcomers_that_are_turned_away_are_counted_by_reason() {
    let server = spawn(Described { max_connections: 1, ..described() });
    let mut first = connect(&server);
    first.is_served();
    // It may learn so before it knows that it has connected.
    if let Ok(stream) = std::net::TcpStream::connect(server.local_addrs()[0]) {
        let mut second = Client { transaction: 0, stream };
        assert_eq!(second.end().0, End::Reset);
    }
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.rejected(Rejection::Limit), metrics.rejected(Rejection::Descriptors)), (1, 0));
    assert_eq!((metrics.connections, metrics.connections_active), (1, 1));
}

/// The value of a series in the text format.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

#[test]
fn every_series_of_the_text_carries_the_server() {
    let server = spawn(Described { unknown_unit: UnknownUnit::Silent, ..described() });
    let mut client = connect(&server);
    for _ in 0..3 {
        client.is_served();
    }
    client.send(&frame(1, 7, &[3, 0, 0, 0, 1]));
    assert_eq!(client.ask(1, &[3, 1, 0, 0, 1]), [0x83, 2]);
    let mut all = Exposition::default();
    server.metrics().unwrap().expose(&mut all);
    let text = all.to_string();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("wharf_modbus_") && line.contains("{server=\"counted\""), "{line}");
    }
    let of = |name: &str, label: &str| value(&text, &format!("wharf_modbus_{name}{{server=\"counted\"{label}}}"));
    let exactly = |found: f64, expected: u32| assert!((found - f64::from(expected)).abs() < 1e-9, "{found} {expected}");
    exactly(of("connections_total", ""), 1);
    exactly(of("connections_active", ""), 1);
    exactly(of("connections_rejected_total", ",reason=\"limit\""), 0);
    exactly(of("connections_closed_total", ",reason=\"idle\""), 0);
    exactly(of("bytes_total", ",direction=\"in\""), 5 * 12);
    exactly(of("bytes_total", ",direction=\"out\""), 3 * 11 + 9);
    exactly(of("requests_total", ",function=\"3\""), 4);
    exactly(of("unit_requests_total", ",unit=\"1\""), 4);
    exactly(of("responses_total", ",status=\"ok\""), 3);
    exactly(of("responses_total", ",status=\"exception\""), 1);
    exactly(of("responses_total", ",status=\"none\""), 0);
    exactly(of("exceptions_total", ",code=\"2\""), 1);
    exactly(of("late_replies_total", ""), 0);
    exactly(of("discards_total", ",reason=\"unknown_unit\""), 1);
    exactly(of("timeouts_total", ",kind=\"request\""), 0);
    exactly(of("errors_total", ",operation=\"accept\""), 0);
    exactly(of("events_missed_total", ""), 0);
    exactly(of("requests_in_flight", ""), 0);
    exactly(of("units", ""), 2);
    assert!(of("start_time_seconds", "") > 1.7e9);
    exactly(of("request_duration_seconds_count", ""), 4);
    exactly(of("request_duration_seconds_bucket", ",le=\"+Inf\""), 4);
    assert!(of("request_duration_seconds_sum", "") > 0.0);
    let bounds: Vec<f64> = text
        .lines()
        .filter_map(|line| line.split_once("_bucket{server=\"counted\",le=\"")?.1.split_once('"')?.0.parse().ok())
        .collect();
    assert_eq!((bounds.len(), bounds[0], bounds[16]), (18, 0.000_01, 5.0));
}

#[test]
fn the_same_as_json_has_rates_and_quantiles_besides() {
    let server = spawn(described());
    let mut client = connect(&server);
    client.is_served();
    assert_eq!(client.ask(2, &[6, 0, 99, 0, 1]), [0x86, 2]);
    let json = serde_json::Value::Object(server.metrics().unwrap().to_json());
    assert_eq!(json["server"], "counted");
    assert_eq!(json["requests_total"], serde_json::json!({ "3": 1, "6": 1 }));
    assert_eq!(json["exceptions_total"], serde_json::json!({ "2": 1 }));
    assert_eq!(json["responses_total"], serde_json::json!({ "ok": 1, "exception": 1, "none": 0 }));
    assert_eq!((&json["connections_total"], &json["bytes_total"]["in"]), (&1.into(), &24.into()));
    for key in ["uptime_seconds", "requests_per_second"] {
        assert!(json[key].as_f64().unwrap() > 0.0, "{key}: {json}");
    }
    let p99 = json["p99_us"].as_u64().expect("two replies on loopback take less than five seconds");
    assert!(json["mean_us"].as_u64().unwrap() <= p99 && json["p50_us"].as_u64().unwrap() <= p99);
}
