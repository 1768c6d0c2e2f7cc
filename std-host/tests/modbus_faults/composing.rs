//! How faults act together, on whom, and how often, seen at a socket (8.1, 8.4).

use crate::harness::{UNIT_1, frame, framed, holding, read, serve, serve_with};
use std::time::{Duration, Instant};

/// A fault on unit 1 under a name of its own.
fn named(name: &str, kind: &str, keys: &str) -> String {
    format!("{{ name = '{name}', kind = '{kind}', {UNIT_1}, {keys} }}")
}

#[test]
fn within_a_stage_each_works_on_what_the_one_before_left() {
    let cut = |name| named(name, "truncate", "mode = 'remove_last', bytes = 1");
    let server = serve(&[cut("a"), named("b", "extra", "mode = 'duplicate_last', count = 1"), cut("c")].join(", "));
    server.connect().asks(&read(3, 2), &frame(1, 1, &[3, 4, 0x10, 3, 0x10]));
    assert_eq!(server.report("a").bytes, 2, "the byte that is gone, and one of the length field");
}

#[test]
fn stages_go_before_the_order_of_the_file() {
    let faults = [
        named("last", "wrong_length", "mode = 'fixed', value = 9"),
        named("then", "truncate", "mode = 'fixed_bytes', bytes = 3"),
        named("first", "wrong_count", "count = 1"),
    ];
    serve(&faults.join(", ")).connect().asks(&read(3, 2), &framed(1, 9, 1, &[3, 2, 0x10]));
}

#[test]
fn silence_beats_what_is_done_to_the_reply_and_the_first_exception_and_ending_act() {
    let faults = [
        named("flip", "corrupt", ""),
        named("silent", "no_response", "addresses = [3, 3]"),
        named("four", "exception", "code = 4"),
        named("five", "exception", "code = 5"),
        named("end", "close", "addresses = [4, 4]"),
        named("cut", "cut_frame", "addresses = [4, 4]"),
    ];
    let server = serve(&faults.join(", "));
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 1)));
    client.is_served();
    client.send(&frame(2, 1, &read(4, 1)));
    let (_, bytes) = client.end();
    assert_eq!((bytes.len(), &bytes[..8]), (9, &frame(2, 1, &[0x84 - 1, 4])[..8]));
    assert_ne!(bytes[8], 4, "the exception too has one bit flipped");
    let suppressed = |name| server.counts(name)[3];
    assert_eq!(["flip", "silent", "four", "five", "end", "cut"].map(suppressed), [1, 0, 1, 2, 0, 1]);
    assert_eq!(server.counts("flip"), [3, 2, 1, 1]);
}

#[test]
fn cut_points_unite_and_a_piece_waits_for_the_longest_gap() {
    let faults =
        [named("halves", "split", "at = [6], gap = '10ms'"), named("quarters", "split", "at = [3, 9], gap = '30ms'")];
    let server = serve(&faults.join(", "));
    let begun = Instant::now();
    server.connect().asks(&read(3, 2), &frame(1, 1, &holding(3, 2)));
    assert!(begun.elapsed() >= Duration::from_millis(4 * 30));
}

#[test]
fn faults_see_replies_of_units_that_do_not_exist() {
    let server = serve("{ name = 'f', kind = 'wrong_transaction', reply = 'exception' }");
    let mut client = server.connect();
    client.send(&frame(1, 99, &read(3, 1)));
    client.sees(&frame(2, 99, &[0x83, 0x0B]));
    client.is_served();
    assert_eq!(server.counts("f"), [2, 1, 1, 0]);
}

#[test]
fn a_target_takes_unit_function_table_addresses_and_quantity_together() {
    let target = "functions = [3, 4], table = 'holding', addresses = [10, 19], match = 'within', quantity = [2, 3]";
    let server = serve(&named("f", "exception", &format!("code = 9, {target}")));
    let mut client = server.connect();
    let hit = frame(1, 1, &[0x83, 9]);
    client.asks(&read(10, 2), &hit);
    client.asks(&read(17, 3), &hit);
    for (address, quantity) in [(10, 1), (10, 4), (9, 2), (18, 3)] {
        client.asks(&read(address, quantity), &frame(1, 1, &holding(address, quantity)));
    }
    client.asks(&[1, 0, 10, 0, 2], &frame(1, 1, &[1, 1, 0]));
    client.send(&frame(2, 2, &read(10, 2)));
    client.sees(&frame(2, 2, &holding(10, 2)));
    assert_eq!(server.counts("f"), [8, 2, 2, 0]);
}

#[test]
fn peers_are_aimed_at_by_their_addresses() {
    let to = |peers: &str| named("f", "exception", &format!("peers = [{peers}]"));
    serve(&to("'127.0.0.0/8'")).connect().asks(&read(3, 1), &frame(1, 1, &[0x83, 4]));
    serve(&to("'127.0.0.2', '::1'")).connect().asks(&read(3, 1), &frame(1, 1, &holding(3, 1)));
}

#[test]
fn skip_every_and_max_count_the_matches() {
    let server = serve(&named("f", "exception", "skip = 1, every = 2, max = 2"));
    let mut client = server.connect();
    let acted: Vec<bool> = (0..8)
        .map(|_| {
            client.send(&frame(1, 1, &read(200, 1)));
            client.take(9)[8] == 4
        })
        .collect();
    assert_eq!(acted, [false, false, true, false, true, false, false, false]);
    assert_eq!(server.counts("f"), [8, 8, 2, 0]);
}

#[test]
fn a_probability_follows_from_the_seed() {
    let acted = |keys: &str, server_keys: &str| -> Vec<bool> {
        let server = serve_with(server_keys, &named("f", "exception", &format!("probability = 0.5, {keys}")));
        let mut client = server.connect();
        (0..64)
            .map(|_| {
                client.send(&frame(1, 1, &read(200, 1)));
                client.take(9)[8] == 4
            })
            .collect()
    };
    let one = acted("", "");
    assert_eq!(one, acted("", ""));
    assert_ne!(one, acted("", "seed = 1"));
    assert_ne!(one, acted("seed = 1", ""));
    assert_eq!(acted("seed = 1", ""), acted("seed = 1", "seed = 7"));
    assert!((16..=48).contains(&one.iter().filter(|acted| **acted).count()), "{one:?}");
}

#[test]
fn a_window_is_counted_from_the_start_of_the_server() {
    let server = serve(&named("f", "exception", "from = '150ms'"));
    let mut client = server.connect();
    loop {
        client.send(&frame(1, 1, &read(200, 1)));
        if client.take(9)[8] == 4 {
            break;
        }
    }
    assert!(server.before.elapsed() >= Duration::from_millis(150));
    let server = serve(&named("f", "exception", "from = '1h'"));
    server.connect().asks(&read(3, 1), &frame(1, 1, &holding(3, 1)));
    assert_eq!(server.counts("f"), [0; 4]);
}
