//! What is thrown away is counted by its reason, on its connection, and logged (specification, 2).

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for some events among all")]

use crate::harness::{Client, End, PATIENCE, WHARF, Wharf, frame, one_server, plant_file};
use std::net::Shutdown;
use std::process::Command;
use std::time::Duration;
use wharf_core::modbus::server::Reason;
use wharf_core::modbus::service::Discard;
use wharf_host::config::modbus::{Server as Described, Unit, Unit255, UnitZero, UnknownUnit};
use wharf_host::services::modbus::{Event, Server};

#[test]
fn each_discard_is_counted_by_its_reason_and_to_its_connection() {
    let server = Server::spawn(Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 10), Unit::with_size(2, 10)],
        unknown_unit: UnknownUnit::Silent,
        unit_0: UnitZero::Broadcast,
        unit_255: Unit255::Ignore,
        frame_timeout: Some(Duration::from_millis(50)),
        ..Described::new("discarding")
    })
    .unwrap();
    let events = server.subscribe(1024);
    let read = |unit| frame(7, unit, &[3, 0, 0, 0, 1]);
    let listening = [frame(7, 2, &[8, 0, 4, 0, 0]), read(2)].concat();
    let half = read(1)[..9].to_vec();
    let (stays, shuts) = (Reason::PeerClosed, Reason::PeerClosed);
    for (reason, bytes, closed) in [
        (Discard::ProtocolId, vec![0, 7, 0, 1, 0, 2, 1, 7], stays),
        (Discard::LengthShort, vec![0, 7, 0, 0, 0, 1], Reason::BadFrame),
        (Discard::LengthLong, vec![0, 7, 0, 0, 0, 255], Reason::BadFrame),
        (Discard::Truncated, half.clone(), shuts),
        (Discard::FrameTimeout, half, Reason::FrameTimeout),
        (Discard::UnknownUnit, read(9), stays),
        (Discard::IgnoredUnit, read(255), stays),
        (Discard::BroadcastRead, read(0), stays),
        (Discard::ListenOnly, listening, stays),
    ] {
        let mut client = Client::connect(server.local_addrs()[0]);
        client.send(&bytes);
        if reason == Discard::Truncated {
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        if closed == stays && reason != Discard::Truncated {
            client.is_served();
        } else {
            assert_eq!(client.end(), (End::Fin, vec![]), "{reason:?}");
        }
        drop(client);
        let (mut told, mut ended) = (Vec::new(), None);
        while ended.is_none() {
            match events.next_within(PATIENCE).expect("the connection ends") {
                Event::Discarded { reason, .. } => told.push(reason),
                Event::Disconnected { statistics, reason, .. } => ended = Some((statistics.discards, reason)),
                _ => {}
            }
        }
        assert_eq!((told, ended), (vec![reason], Some((1, closed))), "{reason:?}");
        assert_eq!(server.metrics().unwrap().discards(reason), 1, "{reason:?}");
    }
    let counted: u64 = Discard::ALL.iter().map(|reason| server.metrics().unwrap().discards(*reason)).sum();
    assert_eq!(counted, 9, "each of them under its own reason alone");
}

#[test]
fn a_discard_is_logged_at_debug() {
    let mut command = Command::new(WHARF);
    command.args(["--log", "debug", "run"]).arg(plant_file(&one_server("")));
    let wharf = Wharf::start(&mut command, 1);
    let mut client = wharf.connect();
    client.send(&[0, 7, 0, 1, 0, 2, 1, 7]);
    client.is_served();
    let line = wharf.logged("discarded (protocol_id)");
    assert!(line.contains("DEBUG") && line.contains("connection 1"), "{line}");
}
