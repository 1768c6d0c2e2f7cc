//! How clients leave, and what they leave behind.

use super::harness::{Bench, Got, plain};
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Command, Error, Event, Failure, HalfClose, How, OnFull, Reason, SlotOption, State};
use wharf_core::slots::SlotId;

fn bench() -> Bench {
    Bench::new(plain(OnFull::Close), 2)
}

fn left(slot: SlotId, reason: Reason, unread: u64, unsent: u64) -> Event {
    Event::Disconnected { slot, reason, unread, unsent }
}

fn drop_client(bench: &mut Bench, who: usize) {
    bench.ask(Command::Drop { slot: bench.slot(who), reason: Reason::LocalClosed }).unwrap();
}

#[test]
fn reset_and_broken_pipe_free_the_slot() {
    for (kind, reason) in [
        (Failure::Reset, Reason::PeerReset),
        (Failure::BrokenPipe, Reason::Failed(Failure::BrokenPipe)),
        (Failure::TimedOut, Reason::Failed(Failure::TimedOut)),
        (Failure::Unreachable, Reason::Failed(Failure::Unreachable)),
        (Failure::Other, Reason::Failed(Failure::Other)),
    ] {
        let mut bench = bench();
        let who = bench.client();
        let slot = bench.slot(who);
        bench.breaks(who, kind);
        bench.run();
        assert_eq!(bench.events.last(), Some(&left(slot, reason, 0, 0)), "found out by a read");
        let who = bench.client();
        let slot = bench.slot(who);
        assert_eq!(slot.index(), 0, "{kind:?}: the slot is free");
        bench.deafen(who);
        bench.write(slot, b"never sent").unwrap();
        bench.peers[who].window = 100;
        bench.breaks(who, kind);
        bench.run();
        assert_eq!(bench.events.last(), Some(&left(slot, reason, 0, 10)));
        assert_eq!((bench.server.taken(), bench.descriptors), (0, 1));
    }
}

#[test]
fn a_closed_peer_reads_as_end_not_error() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.news();
    bench.sends(who, b"last");
    bench.ends(who);
    bench.run();
    assert_eq!(bench.news(), [Event::DataReady { slot }, Event::InputEnded { slot }]);
    assert_eq!(bench.server.state(slot), Some(State::PeerEnded));
    assert_eq!(bench.read(0), Got::Bytes(b"last".to_vec(), Eom::NONE));
    assert_eq!(bench.read(0), Got::End);
    assert_eq!(bench.read(0), Got::NotConnected);
}

#[test]
fn the_end_is_owed_until_another_client_takes_the_slot() {
    let mut bench = bench();
    let who = bench.client();
    bench.ends(who);
    bench.sleep(10_000);
    assert_eq!(bench.server.taken(), 0, "it has long been closed");
    assert_eq!(bench.read(0), Got::End);
    assert_eq!(bench.read(0), Got::NotConnected);
    let second = bench.client();
    bench.ends(second);
    bench.sleep(10_000);
    bench.client();
    assert_eq!(bench.read(0), Got::Nothing, "this is somebody else");
}

#[test]
fn every_byte_can_be_read_after_the_peer_has_gone() {
    for kind in [None, Some(Failure::Reset)] {
        let mut bench = bench();
        let who = bench.client();
        let slot = bench.slot(who);
        bench.sends(who, b"what it sent");
        match kind {
            None => bench.hangs_up(who),
            Some(kind) => bench.breaks(who, kind),
        }
        bench.sleep(3000);
        assert!(bench.peers[who].closed.is_some(), "the descriptor is gone");
        assert_eq!(bench.server.state(slot), Some(State::Residue));
        let gone = |event: &Event| matches!(event, Event::Disconnected { .. });
        assert!(!bench.events.iter().any(gone), "but the client is not, as long as there is something to be read");
        assert_eq!(bench.write(slot, b"x"), Err(Error::OutputEnded { slot }));
        assert_eq!(bench.read_all(0), b"what it sent");
        let reason = if kind.is_some() { Reason::PeerReset } else { Reason::PeerClosed };
        assert_eq!(bench.events.last(), Some(&left(slot, reason, 0, 0)));
    }
}

#[test]
fn an_unread_client_gives_its_slot_back() {
    // With room in the queue: the end is seen at once.
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"nobody reads this");
    bench.ends(who);
    bench.sleep(4999);
    assert_eq!(bench.server.state(slot), Some(State::Residue));
    bench.sleep(1);
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::PeerClosed, 17, 0)));
    // With a full queue only the hang-up is seen, which starts the timer.
    let mut bench = Bench::new(plain(OnFull::Close), 1);
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, &[b'x'; 100]);
    bench.hangs_up(who);
    bench.sleep(4999);
    assert_eq!(bench.server.state(slot), Some(State::Open));
    bench.sleep(20_000);
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::PeerClosed, 100, 0)), "every byte is counted");
    assert_eq!(bench.descriptors, 1);
}

#[test]
fn reading_puts_the_end_of_unread_bytes_off() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"abc");
    bench.breaks(who, Failure::Reset);
    bench.sleep(4000);
    assert_eq!(bench.read_upto(0, 1), Got::Bytes(b"a".to_vec(), Eom::CNT));
    bench.sleep(4999);
    assert_eq!(bench.server.state(slot), Some(State::Residue));
    bench.sleep(1);
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::PeerReset, 2, 0)));
}

#[test]
fn the_end_of_input_does_not_stop_output_nor_the_end_of_output_input() {
    for peer_first in [true, false] {
        let mut bench = bench();
        let who = bench.client();
        let slot = bench.slot(who);
        bench.sends(who, b"question");
        if peer_first {
            bench.ends(who);
            bench.run();
            bench.write(slot, b"answer").unwrap();
            assert_eq!(bench.read_all(0), b"question");
            bench.ask(Command::ShutDown { slot }).unwrap();
        } else {
            bench.write(slot, b"answer").unwrap();
            bench.ask(Command::ShutDown { slot }).unwrap();
            assert_eq!(bench.server.state(slot), Some(State::LocalEnded));
            assert_eq!(bench.write(slot, b"more"), Err(Error::OutputEnded { slot }));
            bench.sends(who, b", and more");
            bench.run();
            assert_eq!(bench.read_all(0), b"question, and more");
            bench.ends(who);
            bench.run();
        }
        assert_eq!(bench.peers[who].got, b"answer");
        assert!(bench.peers[who].saw_end || bench.peers[who].closed == Some(How::Graceful));
        assert_eq!(bench.events.last(), Some(&left(slot, Reason::PeerClosed, 0, 0)), "peer first: {peer_first}");
    }
}

#[test]
fn our_output_ends_once_the_queue_is_sent() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    bench.write(slot, b"slow").unwrap();
    bench.ask(Command::ShutDown { slot }).unwrap();
    assert_eq!((bench.server.state(slot), bench.peers[who].saw_end), (Some(State::Open), false));
    bench.takes(who, 100);
    bench.run();
    assert_eq!((bench.server.state(slot), bench.peers[who].saw_end), (Some(State::LocalEnded), true));
    assert_eq!(bench.peers[who].got, b"slow");
}

#[test]
fn a_dropped_client_is_sent_the_rest_and_its_end_is_awaited() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"unread");
    bench.run();
    bench.deafen(who);
    bench.write(slot, b"goodbye").unwrap();
    drop_client(&mut bench, who);
    assert_eq!(bench.read(0), Got::NotConnected, "an ending of our own discards what is unread");
    bench.takes(who, 100);
    bench.run();
    assert_eq!((bench.peers[who].got.as_slice(), bench.peers[who].saw_end), (&b"goodbye"[..], true));
    assert_eq!(bench.peers[who].closed, None, "a close now could destroy the last bytes by a reset");
    bench.sends(who, b"too late");
    bench.ends(who);
    bench.run();
    assert_eq!(bench.peers[who].closed, Some(How::Graceful));
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::LocalClosed, 14, 0)), "what it still sent is counted too");
}

#[test]
fn a_dropped_client_that_does_not_end_is_closed_after_linger() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.deafen(who);
    bench.write(slot, b"goodbye").unwrap();
    bench.sleep(500);
    drop_client(&mut bench, who);
    bench.sleep(1000);
    drop_client(&mut bench, who);
    bench.sleep(999);
    assert_eq!(bench.server.state(slot), Some(State::Flushing));
    bench.sleep(1);
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::LocalClosed, 0, 7)));
}

#[test]
fn an_aborted_client_is_closed_at_once_by_a_reset() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.sends(who, b"unread");
    bench.run();
    bench.deafen(who);
    bench.write(slot, b"unsent").unwrap();
    bench.ask(Command::Abort { slot }).unwrap();
    assert_eq!(bench.peers[who].closed, Some(How::Abort));
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::LocalAborted, 6, 6)));
}

#[test]
fn half_close_is_drained_a_second_after_the_program_last_read_or_wrote() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.ends(who);
    bench.sleep(999);
    bench.write(slot, b"one").unwrap();
    bench.sleep(999);
    assert_eq!(bench.server.state(slot), Some(State::PeerEnded));
    bench.write(slot, b"two").unwrap();
    bench.sleep(1000);
    assert_eq!(bench.peers[who].got, b"onetwo");
    assert_eq!(bench.peers[who].closed, Some(How::Graceful));
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::PeerClosed, 0, 0)));
}

#[test]
fn to_read_the_end_puts_half_close_off_as_every_read_does() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.ends(who);
    bench.sleep(900);
    assert_eq!(bench.read(0), Got::End);
    bench.sleep(999);
    assert_eq!(bench.server.state(slot), Some(State::PeerEnded));
    assert!(bench.write(slot, b"an answer to all of it").is_ok());
}

#[test]
fn half_close_that_is_kept_has_no_timer() {
    let mut bench = bench();
    bench.ask(Command::Set { index: None, option: SlotOption::HalfClose(HalfClose::Keep) }).unwrap();
    let who = bench.client();
    let slot = bench.slot(who);
    bench.ends(who);
    bench.sleep(3_600_000);
    bench.write(slot, b"still here").unwrap();
    assert_eq!(bench.peers[who].got, b"still here");
    bench.ask(Command::ShutDown { slot }).unwrap();
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::PeerClosed, 0, 0)));
}

#[test]
fn a_reset_in_answer_to_our_end_leaves_the_reason_as_it_was() {
    let mut bench = bench();
    let who = bench.client();
    let slot = bench.slot(who);
    drop_client(&mut bench, who);
    bench.breaks(who, Failure::Reset);
    bench.run();
    assert_eq!(bench.events.last(), Some(&left(slot, Reason::LocalClosed, 0, 0)));
}
