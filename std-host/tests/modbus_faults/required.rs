//! The list of 8.3: what each fault on a connection must do.

use crate::harness::{End, fault, frame, holding, read, serve, serve_with, write};
use std::time::{Duration, Instant};
use wharf_core::modbus::server::Reason;

fn reply() -> Vec<u8> {
    frame(1, 1, &holding(3, 2))
}

/// (1) `rst` arrives as a reset, unread input or not.
#[test]
fn a_reset_arrives_as_a_reset_whether_input_is_unread_or_not() {
    for kind in ["close", "cut_frame"] {
        let server = serve_with("overflow = 'wait'", &fault(kind, "how = 'rst', delay = '20ms'"));
        let mut client = server.connect();
        client.send(&frame(1, 1, &read(3, 2)));
        assert_eq!(client.end().0, End::Reset, "{kind}, all is read");
        let mut client = server.connect();
        // More than the server takes before it has answered the first.
        client.send(&frame(1, 1, &read(3, 2)).repeat(2000));
        let (end, bytes) = client.end();
        assert_eq!(end, End::Reset, "{kind}, much is unread");
        assert!(reply().starts_with(&bytes) || bytes.starts_with(&reply()), "{bytes:?}");
    }
    // Long enough for the second request to go out on a machine that has much else to do.
    let server = serve(&fault("stop_reading", "for = '2s', then = 'reset'"));
    let mut client = server.connect();
    client.asks(&read(3, 2), &reply());
    client.send(&frame(2, 1, &read(3, 2)));
    assert_eq!(client.end(), (End::Reset, vec![]), "the second request is never read");
}

/// (2) `cut_frame` sends the beginning of the reply itself and never follows a whole one; the bytes arrive before a reset.
#[test]
fn a_cut_frame_never_follows_a_whole_one() {
    for how in ["fin", "rst"] {
        let server = serve(&fault("cut_frame", &format!("how = '{how}', bytes = 12, addresses = [3, 3]")));
        let mut client = server.connect();
        // The replies before it are whole, and nothing comes behind it.
        let asked = [frame(1, 1, &read(9, 1)), frame(2, 1, &read(3, 2)), frame(3, 1, &read(9, 1))].concat();
        client.send(&asked);
        client.sees(&frame(1, 1, &holding(9, 1)));
        client.sees(&frame(2, 1, &holding(3, 2))[..12]);
        let end = if how == "fin" { End::Fin } else { End::Reset };
        assert_eq!(client.end(), (end, vec![]));
        let metrics = server.metrics().unwrap();
        assert_eq!(metrics.responses(wharf_host::services::modbus::Response::Ok), 1, "a part of a reply is none");
    }
}

/// (3) `hold_open` needs no other fault to trigger.
#[test]
fn a_connection_is_held_by_that_fault_alone() {
    let server = serve(&fault("hold_open", "for = '0'"));
    let mut client = server.connect();
    client.asks(&read(3, 2), &reply());
    client.send(&frame(2, 1, &read(3, 2)));
    // It was read, and thrown away.
    while server.metrics().unwrap().discards(wharf_core::modbus::service::Discard::Held) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(server.counts("f"), [1, 1, 1, 0]);
    server.shutdown();
    assert_eq!(client.end(), (End::Fin, vec![]));
    drop(client);
    server.stop();
}

/// (4) Counting includes dropped, delayed and faulted requests.
#[test]
fn requests_count_whatever_became_of_them() {
    let others = [
        fault("no_response", "addresses = [1, 1]").replace("'f'", "'drop'"),
        fault("delay", "delay = '1ms', addresses = [2, 2]").replace("'f'", "'late'"),
        fault("exception", "addresses = [3, 3]").replace("'f'", "'wrong'"),
        fault("close", "skip = 3, scope = 'connection'"),
    ];
    let server = serve(&others.join(", "));
    let mut client = server.connect();
    client.send(&(1..=4_u8).flat_map(|n| frame(n.into(), 1, &read(n, 1))).collect::<Vec<_>>());
    let whole = [frame(2, 1, &holding(2, 1)), frame(3, 1, &[0x83, 4]), frame(4, 1, &holding(4, 1))].concat();
    assert_eq!(client.end(), (End::Fin, whole));
    assert_eq!(server.counts("f"), [4, 4, 1, 0]);
    drop(client);
    assert_eq!(server.ended(), Reason::Fault);
}

/// (5) A wait holds up its own connection alone, and ends at shutdown.
#[test]
fn a_wait_holds_up_its_own_connection_and_ends_at_shutdown() {
    let kinds = ["delay = '1h'", "kind = 'dribble', gap = '1h'", "kind = 'split', gap = '1h'"];
    for keys in kinds {
        let keys = keys.strip_prefix("kind = ").map_or_else(
            || fault("delay", keys),
            |rest| {
                let (kind, rest) = rest.split_once(", ").unwrap();
                fault(kind.trim_matches('\''), rest)
            },
        );
        let server = serve_with("shutdown_timeout = '0'", &keys);
        let mut waiting = server.connect();
        waiting.send(&frame(1, 1, &read(3, 2)));
        while server.connections().unwrap().first().is_none_or(|connection| connection.outstanding == 0) {
            std::thread::yield_now();
        }
        server.connect().is_served();
        server.shutdown();
        assert_eq!(waiting.end(), (End::Fin, reply()), "{keys}");
        drop(waiting);
        server.stop();
    }
    // And those that hold a connection.
    for (kind, keys) in [
        ("hold_open", "for = '1h'"),
        ("stop_reading", "for = '1h'"),
        ("half_close", "for = '1h'"),
        ("close", "delay = '1h'"),
    ] {
        let server = serve_with("shutdown_timeout = '0'", &fault(kind, keys));
        let mut waiting = server.connect();
        waiting.asks(&read(3, 2), &reply());
        server.connect().is_served();
        server.shutdown();
        assert_eq!(waiting.end(), (End::Fin, vec![]), "{kind}");
        drop(waiting);
        server.stop();
    }
}

/// (6) Delay composes with every kind, and nothing altered is rebuilt.
#[test]
fn a_delay_composes_with_every_kind_and_changes_none_of_its_bytes() {
    let kinds = [
        ("exception", ""),
        ("wrong_count", ""),
        ("wrong_function", "mode = 'random'"),
        ("corrupt", "mode = 'random', count = 3"),
        ("truncate", "mode = 'remove_last', relength = false"),
        ("extra", "mode = 'random'"),
        ("wrong_unit", ""),
        ("wrong_transaction", "mode = 'random'"),
        ("wrong_protocol", ""),
        ("wrong_length", ""),
        ("delay", "delay = '1ms', jitter = '1ms'"),
        ("duplicate", "copies = 2"),
        ("reorder", "wait = '1ms'"),
        ("unsolicited", "when = 'before'"),
        ("unsolicited", "bytes = [1, 2, 3]"),
        // Whether a quiet time comes would be a matter of luck here.
        ("unsolicited", "when = 'idle', idle = '1h'"),
        ("split", "gap = '1ms'"),
        ("dribble", "gap = '1ms'"),
        ("close", "when = 'before'"),
        ("cut_frame", "how = 'rst', delay = '1ms'"),
        ("half_close", "for = '20ms'"),
        ("stop_reading", "for = '1ms', then = 'close'"),
        ("hold_open", "for = '1ms'"),
    ];
    let least = Duration::from_millis(40);
    for (kind, keys) in kinds {
        let ends = matches!(kind, "close" | "cut_frame" | "half_close" | "stop_reading" | "hold_open");
        // What does not end the connection by itself is followed by a reset after the second request.
        let ender = "{ name = 'end', kind = 'close', how = 'rst', delay = '30ms', units = [2] }";
        let late = fault("delay", "delay = '40ms'").replace("'f'", "'late'");
        let alone = format!("{}, {ender}", fault(kind, keys));
        // In either order.
        let all = [alone.clone(), format!("{late}, {alone}"), format!("{alone}, {late}")].map(|faults| {
            let server = serve(&faults);
            let mut client = server.connect();
            let begun = Instant::now();
            client.send(&frame(1, 1, &read(3, 2)));
            if !ends {
                // The reply is there before the next request goes out, so that nothing is reordered by it.
                while server.metrics().unwrap().requests(3) == 0 {
                    std::thread::yield_now();
                }
                client.send(&frame(2, 2, &write(3, 1)));
            }
            let seen = client.end();
            (seen, begun.elapsed())
        });
        let [(alone, _), (before, took), (after, took_too)] = all;
        assert_eq!(before, alone, "{kind} {keys}");
        assert_eq!(after, alone, "{kind} {keys}");
        assert!(took >= least && took_too >= least, "{kind} {keys}: {took:?}, {took_too:?}");
    }
}
