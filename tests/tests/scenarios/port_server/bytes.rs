//! Bytes come in, wait, and are cut into messages.

use super::harness::{Bench, Got, plain};
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Command, Error, Event, OnFull, Output, SlotOption, State};

fn bench(eos: &[u8]) -> Bench {
    let mut bench = Bench::new(plain(OnFull::Close), 2);
    bench.ask(Command::Set { index: None, option: SlotOption::InputEos(eos) }).unwrap();
    bench
}

fn data(bytes: &[u8], eom: Eom) -> Got {
    Got::Bytes(bytes.to_vec(), eom)
}

#[test]
fn bytes_wait_for_a_reader_and_are_told_of() {
    let mut bench = bench(b"");
    let who = bench.client();
    bench.news();
    bench.sends(who, b"abc");
    bench.run();
    assert_eq!(bench.news(), [Event::DataReady { slot: bench.slot(who) }]);
    bench.sleep(3_600_000);
    assert_eq!(bench.read_upto(0, 2), data(b"ab", Eom::CNT));
    assert_eq!(bench.read_upto(0, 2), data(b"c", Eom::NONE));
    assert_eq!(bench.read_upto(0, 2), Got::Nothing);
}

#[test]
fn a_full_receive_queue_stops_reading_and_room_goes_on_with_it() {
    let mut bench = bench(b"");
    let who = bench.client();
    let text: Vec<u8> = (0..200).collect();
    bench.sends(who, &text);
    bench.run();
    let slot = bench.slot(who);
    assert_eq!(bench.server.counters(slot).unwrap().queued_rx, 64);
    let reads = |bench: &Bench| bench.outputs.iter().filter(|output| matches!(output, Output::Read { .. })).count();
    let before = reads(&bench);
    bench.sleep(60_000);
    bench.sends(who, b"");
    bench.run();
    assert_eq!(reads(&bench), before, "nothing is read that has no room");
    assert_eq!(bench.read_upto(0, 10), data(&text[..10], Eom::CNT));
    assert_eq!(bench.server.counters(slot).unwrap().queued_rx, 64, "the latch has remembered that there is more");
    assert_eq!(bench.read_all(0), text[10..]);
}

#[test]
fn subscribers_get_framed_messages_without_a_reader() {
    let mut bench = bench(b"\r\n");
    let who = bench.client();
    let slot = bench.slot(who);
    bench.news();
    let mut messages = Vec::new();
    // What a driver does for subscribers: at each DataReady it takes every whole message off the queue.
    for part in ["*ID", "N?\r", "\nMEAS?\r\nREA", "D?\r\n\r\n"] {
        bench.sends(who, part.as_bytes());
        bench.run();
        for event in bench.news() {
            assert_eq!(event, Event::DataReady { slot });
            while let Got::Bytes(bytes, eom) = bench.read(0) {
                assert_eq!(eom, Eom::EOS);
                messages.push(String::from_utf8(bytes).unwrap());
            }
        }
    }
    assert_eq!(messages, ["*IDN?", "MEAS?", "READ?", ""]);
    let counters = bench.server.counters(slot).unwrap();
    assert_eq!((counters.received, counters.consumed, counters.queued_rx), (23, 23, 0));
}

#[test]
fn a_full_queue_without_terminator_gives_its_decided_bytes() {
    let mut bench = bench(b"\r\n");
    let who = bench.client();
    bench.sends(who, &[&[b'x'; 63][..], b"\r\ny\r\n"].concat());
    bench.run();
    assert_eq!(bench.read(0), data(&[b'x'; 63], Eom::CNT), "the last byte may begin a terminator");
    assert_eq!(bench.read(0), data(b"", Eom::EOS));
    assert_eq!(bench.read(0), data(b"y", Eom::EOS));
}

#[test]
fn a_terminator_above_half_the_queue_is_refused() {
    let mut bench = bench(b"");
    let set = |bytes| Command::Set { index: None, option: SlotOption::InputEos(bytes) };
    assert_eq!(bench.ask(set(&[1; 33])), Err(Error::TerminatorTooLong { len: 33, max: 32 }));
    assert_eq!(bench.ask(set(&[1; 32])), Ok(()));
    let out = |bytes| Command::Set { index: None, option: SlotOption::OutputEos(bytes) };
    assert!(bench.ask(out(&[1; 33])).is_err());
}

#[test]
fn a_new_terminator_counts_for_every_byte_that_is_not_delivered() {
    let mut bench = bench(b"\n");
    let who = bench.client();
    bench.sends(who, b"one;two;three\nfour");
    bench.run();
    assert_eq!(bench.read_upto(0, 3), data(b"one", Eom::CNT));
    bench.ask(Command::Set { index: Some(0), option: SlotOption::InputEos(b";") }).unwrap();
    assert_eq!(bench.read(0), data(b"", Eom::EOS));
    assert_eq!(bench.read(0), data(b"two", Eom::EOS));
    assert_eq!(bench.read(0), Got::Nothing);
    bench.ask(Command::Set { index: Some(0), option: SlotOption::ProcessEos(false) }).unwrap();
    assert_eq!(bench.read(0), data(b"three\nfour", Eom::NONE));
}

#[test]
fn held_back_bytes_are_data_at_the_end_of_input() {
    let mut bench = bench(b"\r\n");
    let who = bench.client();
    bench.sends(who, b"tail\r");
    bench.run();
    assert_eq!(bench.read(0), Got::Nothing);
    bench.ends(who);
    bench.run();
    assert_eq!(bench.read(0), data(b"tail\r", Eom::NONE));
    assert_eq!(bench.read(0), Got::End);
    assert_eq!(bench.read(0), Got::NotConnected);
}

#[test]
fn flush_discards_what_is_received_and_says_how_much() {
    let mut bench = bench(b"");
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"old");
    bench.run();
    bench.ask(Command::Flush { slot }).unwrap();
    assert_eq!(bench.server.receipt().discarded, 3);
    bench.sends(who, b"new");
    bench.run();
    assert_eq!(bench.read(0), data(b"new", Eom::NONE));
    let counters = bench.server.counters(slot).unwrap();
    assert_eq!((counters.received, counters.flushed, counters.consumed), (6, 3, 3));
    assert_eq!(bench.server.state(slot), Some(State::Open));
}

#[test]
fn more_than_is_queued_cannot_be_consumed() {
    let mut bench = bench(b"");
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"abc");
    bench.run();
    assert_eq!(bench.ask(Command::Consume { slot, len: 4 }), Err(Error::Length { len: 4, max: 3 }));
    assert_eq!(bench.read_all(0), b"abc");
}

#[test]
fn no_slot_takes_more_than_64_kib_a_turn_from_the_others() {
    let mut config = plain(OnFull::Close);
    config.rx_queue = 1 << 20;
    config.tx_queue = 1 << 20;
    let mut bench = Bench::new(config, 2);
    let [flood, quiet] = core::array::from_fn(|_| bench.client());
    bench.sends(flood, &vec![b'f'; 300_000]);
    bench.sends(quiet, b"q");
    bench.turn();
    let queued = |bench: &Bench, who| bench.server.counters(bench.slot(who)).unwrap().queued_rx;
    assert_eq!((queued(&bench, flood), queued(&bench, quiet)), (65_536, 1));
    assert!(bench.outputs.contains(&Output::Yield), "the rest is not forgotten");
    bench.turn();
    assert_eq!(queued(&bench, flood), 131_072);
    bench.run();
    assert_eq!(queued(&bench, flood), 300_000);
    let turns = bench.turns;
    bench.write(bench.slot(flood), &vec![b'o'; 200_000]).unwrap();
    assert!(bench.turns > turns + 1, "output is rationed as well");
    assert_eq!(bench.peers[flood].got.len(), 200_000);
}

#[test]
fn every_slot_that_is_always_busy_is_served_first_at_times() {
    let mut config = plain(OnFull::Close);
    config.rx_queue = 1 << 20;
    let mut bench = Bench::new(config, 3);
    let all: [_; 3] = core::array::from_fn(|_| bench.client());
    for who in all {
        bench.sends(who, &vec![b'x'; 900_000]);
    }
    let mut first = Vec::new();
    for _ in 0..6 {
        let before = bench.outputs.len();
        bench.turn();
        first.extend(bench.outputs[before..].iter().find_map(|output| match output {
            Output::Read { slot, .. } => Some(slot.index()),
            _ => None,
        }));
    }
    for index in 0..3 {
        assert!(first.contains(&index), "slot {index} was never first: {first:?}");
    }
}
