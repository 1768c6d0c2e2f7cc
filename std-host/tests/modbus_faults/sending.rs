//! When and how the reply leaves (stages 4 and 5).

use crate::harness::{Client, fault, frame, holding, read, serve, serve_with};
use std::time::{Duration, Instant};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Asks for two registers from address 3 on and asserts what comes, and that it is not there before so long.
#[track_caller]
fn not_before(client: &mut Client, least: Duration, expected: &[u8]) {
    let begun = Instant::now();
    client.asks(&read(3, 2), expected);
    let took = begun.elapsed();
    assert!(took >= least, "{took:?}");
}

fn honest() -> Vec<u8> {
    frame(1, 1, &holding(3, 2))
}

#[test]
fn a_delay_is_never_short_and_later_replies_wait_behind_it() {
    let server = serve(&fault("delay", "delay = '60ms', addresses = [3, 3]"));
    let mut client = server.connect();
    not_before(&mut client, ms(60), &honest());
    let begun = Instant::now();
    client.send(&[frame(1, 1, &read(3, 1)), frame(2, 1, &read(9, 1))].concat());
    client.sees(&frame(1, 1, &holding(3, 1)));
    assert!(begun.elapsed() >= ms(60));
    client.sees(&frame(2, 1, &holding(9, 1)));
}

#[test]
fn jitter_only_adds() {
    let server = serve(&fault("delay", "delay = '20ms', jitter = '20ms'"));
    let mut client = server.connect();
    for _ in 0..5 {
        not_before(&mut client, ms(20), &honest());
    }
}

#[test]
fn a_duplicate_is_sent_again() {
    let server = serve(&fault("duplicate", ""));
    let mut client = server.connect();
    client.asks(&read(3, 2), &[honest(), honest()].concat());
    client.is_served();
    let server = serve(&fault("duplicate", "copies = 2, gap = '30ms'"));
    let mut client = server.connect();
    not_before(&mut client, ms(60), &honest().repeat(3));
    client.is_served();
}

#[test]
fn a_reordered_reply_leaves_behind_later_ones_or_after_its_wait() {
    let server = serve(&fault("reorder", "behind = 2, wait = '1h', addresses = [3, 3]"));
    let mut client = server.connect();
    let asked: Vec<u8> = (1..=4).flat_map(|n| frame(n, 1, &read(if n == 1 { 3 } else { 9 }, 1))).collect();
    client.send(&asked);
    for (transaction, address) in [(2, 9), (3, 9), (1, 3), (4, 9)] {
        client.sees(&frame(transaction, 1, &holding(address, 1)));
    }
    let server = serve(&fault("reorder", "wait = '40ms'"));
    not_before(&mut server.connect(), ms(40), &honest());
}

#[test]
fn frames_that_nobody_asked_for_come_before_and_after() {
    let other = |transaction| frame(transaction, 1, &holding(3, 2));
    let server = serve(&fault("unsolicited", ""));
    let mut client = server.connect();
    client.asks(&read(3, 2), &[honest(), other(0xFFFF)].concat());
    client.is_served();
    let server = serve(&fault("unsolicited", "when = 'before', transaction = 9"));
    server.connect().asks(&read(3, 2), &[other(9), honest()].concat());
    let server = serve(&fault("unsolicited", "bytes = [0xDE, 0xAD]"));
    let mut client = server.connect();
    client.asks(&read(3, 2), &[honest(), vec![0xDE, 0xAD]].concat());
    client.is_served();
}

#[test]
fn a_frame_that_nobody_asked_for_comes_on_a_quiet_connection() {
    let server = serve(&fault("unsolicited", "when = 'idle', idle = '50ms', max = 1"));
    let mut client = server.connect();
    let begun = Instant::now();
    client.asks(&read(3, 2), &honest());
    client.sees(&frame(0xFFFF, 1, &holding(3, 2)));
    assert!(begun.elapsed() >= ms(50));
    client.is_served();
}

#[test]
fn pieces_of_a_frame_wait_one_by_one_and_the_first_too() {
    let server = serve(&fault("split", ""));
    let mut client = server.connect();
    not_before(&mut client, ms(40), &honest());
    client.is_served();
    let server = serve(&fault("split", "at = [9, 2], gap = '10ms'"));
    not_before(&mut server.connect(), ms(30), &honest());
    let server = serve(&fault("dribble", ""));
    not_before(&mut server.connect(), ms(5 * 13), &honest());
    let server = serve(&fault("dribble", "chunk = 5, gap = '20ms'"));
    let mut client = server.connect();
    let begun = Instant::now();
    client.send(&frame(1, 1, &read(3, 2)));
    for (chunk, gaps) in honest().chunks(5).zip(1..) {
        client.sees(chunk);
        assert!(begun.elapsed() >= ms(20) * gaps, "piece {gaps}");
    }
}

#[test]
fn a_unit_may_answer_late_without_a_fault() {
    let server = serve_with("default = { response_delay = '50ms' }\nunknown_unit = 'default'", "");
    let mut client = server.connect();
    let begun = Instant::now();
    client.send(&frame(1, 77, &[3, 0, 0, 0, 1]));
    client.sees(&frame(1, 77, &[3, 2, 0, 0]));
    assert!(begun.elapsed() >= ms(50));
    assert!(server.faults().unwrap().is_empty());
    assert!(server.metrics().unwrap().faults.is_empty());
    assert_eq!(server.connections().unwrap()[0].statistics.faults, 0);
    // It can be changed at run time, with the other units.
    server.with_unit(2, |unit| unit.response_delay = ms(40)).unwrap().unwrap();
    let begun = Instant::now();
    client.is_served();
    assert!(begun.elapsed() >= ms(40));
    server.with_unit(2, |unit| unit.enabled = false).unwrap().unwrap();
    let begun = Instant::now();
    client.send(&frame(1, 2, &[3, 0, 0, 0, 1]));
    client.sees(&frame(1, 2, &[3, 2, 0, 0]));
    assert!(begun.elapsed() >= ms(50), "the default device answers for it, as late as it does");
}
