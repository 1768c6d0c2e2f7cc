//! Pieces of small queues, one rule after another, and the search against a plain one.

use super::*;
use crate::testing::SplitMix64;
use core::cell::Cell;
use std::string::ToString;
use std::vec::Vec;
use std::{format, println, thread_local, vec};

thread_local! {
    /// Bytes compared on this thread. Each test has its own.
    pub(super) static COMPARISONS: Cell<usize> = const { Cell::new(0) };
}

/// Room for any message.
const ANY: usize = usize::MAX;

/// A queue with its scan, whose ring wraps behind the first `wrap` bytes.
struct Queue {
    terminator: Terminator,
    scan: Scan,
    bytes: Vec<u8>,
    wrap: usize,
}

impl Queue {
    fn new(terminator: &[u8]) -> Self {
        Self { terminator: Terminator::new(terminator).unwrap(), scan: Scan::START, bytes: Vec::new(), wrap: ANY }
    }

    fn holding(terminator: &[u8], bytes: &[u8]) -> Self {
        let mut queue = Self::new(terminator);
        queue.bytes.extend(bytes);
        queue
    }

    fn next(&mut self, room: usize, flow: Flow) -> Option<Piece> {
        let (front, back) = self.bytes.split_at(self.wrap.min(self.bytes.len()));
        self.scan.next(&self.terminator, [front, back], room, flow)
    }

    fn read_in(&mut self, room: usize, flow: Flow) -> Option<(Vec<u8>, Eom)> {
        let piece = self.next(room, flow)?;
        self.scan.consumed(piece.taken());
        let bytes = self.bytes.drain(..piece.taken()).take(piece.len).collect();
        Some((bytes, piece.eom))
    }

    fn read(&mut self, room: usize) -> Option<(Vec<u8>, Eom)> {
        self.read_in(room, Flow::Open)
    }

    /// Whole messages, without the end of input and what comes before it.
    fn messages(&mut self) -> Vec<Vec<u8>> {
        core::iter::from_fn(|| self.read(ANY)).inspect(|(_, eom)| assert_eq!(*eom, Eom::EOS)).map(|(m, _)| m).collect()
    }
}

fn given(bytes: impl AsRef<[u8]>, eom: Eom) -> Option<(Vec<u8>, Eom)> {
    Some((bytes.as_ref().to_vec(), eom))
}

/// A terminator that resembles itself as far as it can, and one whose bytes all differ. Neither has a `#`.
fn terminators(len: usize) -> [Vec<u8>; 2] {
    let mut alike = vec![b'a'; len];
    alike[len - 1] = b'b';
    let different = (0..=u8::MAX).filter(|byte| *byte != b'#').take(len).collect();
    [alike, different]
}

// Rule 1.

#[test]
fn a_terminator_has_0_to_255_bytes_of_any_value() {
    for len in 0..=255 {
        let bytes: Vec<u8> = (0..=254).rev().take(len).collect();
        let terminator = Terminator::new(&bytes).unwrap();
        assert_eq!((terminator.as_bytes(), terminator.len(), terminator.is_off()), (&bytes[..], len, len == 0));
    }
    assert_eq!(Terminator::new(&[]), Ok(Terminator::OFF));
    assert_eq!(Terminator::new(&[0; 256]), Err(Error::TooLong { len: 256, max: 255 }));
    assert_ne!(Terminator::new(&[0]), Terminator::new(&[0, 0]));
}

#[test]
fn without_a_terminator_every_byte_is_given_at_once() {
    let mut queue = Queue::holding(b"", b"abcdefgh");
    assert_eq!(queue.read(3), given("abc", Eom::CNT));
    assert_eq!(queue.read_in(3, Flow::TimedOut), given("def", Eom::CNT));
    assert_eq!(queue.read(3), given("gh", Eom::NONE));
    for flow in [Flow::Open, Flow::Full, Flow::TimedOut] {
        assert_eq!(queue.read_in(3, flow), None, "{flow:?}");
    }
    queue.bytes.extend(b"ij");
    assert_eq!(queue.read_in(2, Flow::Ended), given("ij", Eom::CNT));
    assert_eq!(queue.read_in(2, Flow::Ended), given("", Eom::END));
}

#[test]
fn a_full_queue_without_a_terminator_in_force_cuts_no_message() {
    assert_eq!(Queue::holding(b"", b"abcd").read_in(9, Flow::Full), given("abcd", Eom::NONE));
}

#[test]
fn bytes_of_0_and_255_are_like_any_other() {
    let mut queue = Queue::holding(&[0], &[255, 0, 0, 1, 0]);
    assert_eq!(queue.messages(), [&[255][..], &[], &[1]]);
    let mut queue = Queue::holding(&[255, 0], &[255, 255, 0, 0, 255, 0, 255]);
    assert_eq!(queue.messages(), [&[255][..], &[0]]);
    let mut queue = Queue::holding(&[255; 2], &[0, 255, 255, 255]);
    assert_eq!(queue.messages(), [[0]]);
    assert_eq!(queue.bytes, [255]);
}

// Rule 2.

#[test]
fn a_terminator_of_1_to_255_bytes_split_anywhere_is_found() {
    for len in 1..=255 {
        for terminator in terminators(len) {
            // A message with all of the terminator but its last byte in it, which is the worst that can be without one.
            let message = [b"#", &terminator[..len - 1], b"#"].concat();
            let stream = [&message[..], &terminator, b"##"].concat();
            let mut queue = Queue::new(&terminator);
            let mut piece = |first: usize, wrap: usize| {
                queue.scan.restart();
                queue.wrap = wrap;
                queue.bytes.clear();
                queue.bytes.extend(&stream[..first]);
                let early = queue.next(ANY, Flow::Open);
                queue.bytes.extend(&stream[first..]);
                (early, queue.next(ANY, Flow::Open))
            };
            let whole = Some(Piece { len: message.len(), skip: len, eom: Eom::EOS });
            let end = message.len() + len;
            for at in 0..=stream.len() {
                let early = if at < end { None } else { whole };
                // So every place is that of a wrap once.
                let wrap = (at + len / 2) % (stream.len() + 1);
                assert_eq!(piece(at, wrap), (early, whole), "{len} bytes, cut at {at}, the ring wraps at {wrap}");
            }
            // Both inside the terminator.
            for at in message.len()..end {
                let wrap = message.len() + (at * 7) % len;
                assert_eq!(piece(at, wrap), (None, whole), "{len} bytes, cut at {at}, the ring wraps at {wrap}");
            }
        }
    }
}

#[test]
fn matches_are_leftmost_and_do_not_overlap() {
    let cases: [(&str, &str, &[&str], &str); 8] = [
        ("aa", "aaaaa", &["", ""], "a"),
        ("aab", "aaaab", &["aa"], ""),
        ("\r\n", "\r\r\n", &["\r"], ""),
        ("\r\n", "x\r\n\n\r\r\r\n", &["x", "\n\r\r"], ""),
        ("aba", "ababa", &[""], "ba"),
        ("abab", "abaabababab", &["aba", ""], ""),
        ("abcabd", "abcabcabdabcab", &["abc"], "abcab"),
        ("a", "aaba", &["", "", "b"], ""),
    ];
    for (terminator, stream, messages, rest) in cases {
        let mut queue = Queue::holding(terminator.as_bytes(), stream.as_bytes());
        let found: Vec<_> = queue.messages().into_iter().map(|m| std::string::String::from_utf8(m).unwrap()).collect();
        assert_eq!(found, messages, "{terminator} in {stream}");
        assert_eq!(queue.bytes, rest.as_bytes(), "{terminator} in {stream}");
    }
}

/// Looks for the terminator at every place, one after another.
fn split(stream: &[u8], terminator: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut messages, mut rest) = (Vec::new(), stream);
    while let Some(at) = rest.windows(terminator.len()).position(|window| window == terminator) {
        messages.push(rest[..at].to_vec());
        rest = &rest[at + terminator.len()..];
    }
    (messages, rest.to_vec())
}

#[test]
fn messages_depend_neither_on_how_the_stream_is_cut_nor_on_the_room_of_readers() {
    for seed in 0..2000 {
        println!("seed {seed}");
        let mut rng = SplitMix64::new(seed);
        let terminator: Vec<u8> = (0..=rng.index(5)).map(|_| rng.pick(b"ab")).collect();
        let stream: Vec<u8> = (0..rng.index(80)).map(|_| rng.pick(b"aaab")).collect();
        let mut queue = Queue::new(&terminator);
        let (mut messages, mut open, mut unsent) = (Vec::new(), Vec::new(), stream.as_slice());
        loop {
            let (now, later) = unsent.split_at(rng.index(4).min(unsent.len()));
            queue.bytes.extend(now);
            unsent = later;
            queue.wrap = rng.index(9);
            let flow = match rng.below(4) {
                0 => Flow::TimedOut,
                1 => Flow::Full,
                _ if unsent.is_empty() => Flow::Ended,
                _ => Flow::Open,
            };
            let room = 1 + rng.index(6);
            let Some((bytes, eom)) = queue.read_in(room, flow) else { continue };
            open.extend(bytes);
            if eom == Eom::EOS {
                messages.push(core::mem::take(&mut open));
            }
            if eom == Eom::END {
                break;
            }
        }
        assert_eq!((messages, open), split(&stream, &terminator), "{terminator:?} in {stream:?}");
    }
}

/// The bytes compared until a reader that comes after each byte, and then at the end of input, has had the stream.
fn comparisons(terminator: &[u8], stream: &[u8], room: usize) -> usize {
    let mut queue = Queue::new(terminator);
    COMPARISONS.set(0);
    for (at, &byte) in stream.iter().enumerate() {
        queue.bytes.push(byte);
        queue.wrap = at % 7;
        while queue.read_in(room, if at % 3 == 0 { Flow::TimedOut } else { Flow::Open }).is_some() {}
    }
    while queue.read_in(room, Flow::Ended).is_some_and(|(_, eom)| eom != Eom::END) {}
    COMPARISONS.get()
}

#[test]
fn no_byte_is_searched_twice_whatever_the_terminator_and_however_bytes_come() {
    let [alike, different] = terminators(255);
    let mut fibonacci = (vec![b'a'], vec![b'a', b'b']);
    while fibonacci.1.len() < 1000 {
        fibonacci = (fibonacci.1.clone(), [fibonacci.1, fibonacci.0].concat());
    }
    let mostly_a: Vec<u8> = (1..=3000_u32).map(|at| if at % 254 == 0 { b'c' } else { b'a' }).collect();
    let short = alike[..254].to_vec();
    for terminator in [&alike, &different, &fibonacci.1[..233].to_vec(), &vec![b'a'; 255]] {
        for stream in [&vec![b'a'; 3000], &short, &fibonacci.1, &different.repeat(4), &alike[1..].repeat(8), &mostly_a]
        {
            for room in [1, 3, ANY] {
                let (count, len) = (comparisons(terminator, stream, room), stream.len());
                assert!(count <= 2 * len, "{count} comparisons for {len} bytes, {} in {}", terminator[0], stream[0]);
            }
        }
    }
    // The count does count.
    assert_eq!(comparisons(b"\n", b"abc", ANY), 3);
    assert_eq!(comparisons(b"ab", b"aaab", ANY), 7);
}

// Rule 3.

#[test]
fn bytes_that_may_yet_become_a_terminator_stay_until_decided() {
    let mut queue = Queue::holding(b"aab", b"xaa");
    assert_eq!(queue.read(1), given("x", Eom::CNT));
    for flow in [Flow::Open, Flow::TimedOut] {
        assert_eq!(queue.read_in(1, flow), None, "{flow:?}");
    }
    // The third `a` decides the first one.
    queue.bytes.push(b'a');
    assert_eq!(queue.read(1), given("a", Eom::CNT));
    assert_eq!(queue.read(1), None);
    queue.bytes.push(b'b');
    assert_eq!(queue.read(1), given("", Eom::EOS));
}

#[test]
fn data_short_of_the_room_waits_for_its_terminator() {
    let mut queue = Queue::holding(b"\n", b"abc");
    assert_eq!(queue.read(4), None);
    queue.bytes.extend(b"\nd");
    assert_eq!(queue.read(4), given("abc", Eom::EOS));
    assert_eq!(queue.read(4), None);
}

#[test]
fn the_same_question_has_the_same_answer_until_bytes_are_consumed() {
    for (terminator, room, flow) in [
        ("\n", 9, Flow::Open),
        ("\n", 2, Flow::Open),
        ("", 2, Flow::Open),
        ("bc", 9, Flow::Ended),
        ("x", 9, Flow::Full),
    ] {
        let mut queue = Queue::holding(terminator.as_bytes(), if terminator == "bc" { b"aab" } else { b"abc\nd" });
        let piece = queue.next(room, flow);
        assert!(piece.is_some());
        assert_eq!(queue.next(room, flow), piece);
    }
}

#[test]
fn consuming_among_bytes_held_back_searches_the_rest_anew() {
    let mut queue = Queue::holding(b"aaab", b"xaaa");
    assert_eq!(queue.read(ANY), None);
    queue.bytes.drain(..2);
    queue.scan.consumed(2);
    queue.bytes.push(b'b');
    assert_eq!(queue.read_in(ANY, Flow::TimedOut), given("aab", Eom::NONE));
}

// Rule 4.

#[test]
fn a_read_that_fills_its_buffer_returns_cnt_alone_and_the_next_one_finds_the_terminator() {
    let mut queue = Queue::holding(b"\r\n", b"abcd\r\nef\r\n");
    assert_eq!(queue.read(4), given("abcd", Eom::CNT));
    assert_eq!(queue.read(4), given("", Eom::EOS));
    assert_eq!(queue.read(3), given("ef", Eom::EOS));
    assert_eq!(queue.read(3), None);
}

#[test]
fn one_byte_more_than_the_message_is_room_enough_for_its_end() {
    for (room, eom) in [(3, Eom::CNT), (4, Eom::CNT), (5, Eom::EOS), (6, Eom::EOS)] {
        for flow in [Flow::Open, Flow::Full, Flow::Ended, Flow::TimedOut] {
            let mut queue = Queue::holding(b"\r\n", b"abcd\r\nef");
            assert_eq!(queue.read_in(room, flow), given(&b"abcd"[..room.min(4)], eom), "room {room}, {flow:?}");
        }
    }
}

#[test]
fn a_terminator_that_is_still_coming_does_not_hold_up_a_filled_buffer() {
    let mut queue = Queue::holding(b"\r\n", b"abcd\r");
    assert_eq!(queue.read(4), given("abcd", Eom::CNT));
    queue.bytes.push(b'\n');
    assert_eq!(queue.read(4), given("", Eom::EOS));
}

#[test]
fn a_reader_without_room_is_given_nothing() {
    for (terminator, bytes) in [("\n", "abc\n"), ("\n", "\n"), ("", "abc"), ("", ""), ("\n", "")] {
        for flow in [Flow::Open, Flow::Full, Flow::Ended, Flow::TimedOut] {
            let mut queue = Queue::holding(terminator.as_bytes(), bytes.as_bytes());
            assert_eq!(queue.next(0, flow), None, "{terminator} in {bytes}, {flow:?}");
        }
    }
}

// Rule 5.

#[test]
fn a_full_queue_without_terminator_gives_its_decided_bytes_with_cnt() {
    let mut queue = Queue::holding(b"\r\n", b"abcdefg\r");
    assert_eq!(queue.read_in(ANY, Flow::Full), given("abcdefg", Eom::CNT));
    assert_eq!(queue.read(ANY), None);
    queue.bytes.extend(b"\nxy");
    assert_eq!(queue.read(ANY), given("", Eom::EOS));
    // One with a terminator is like any other.
    let mut queue = Queue::holding(b"\r\n", b"abcd\r\ne\r");
    assert_eq!(queue.read_in(ANY, Flow::Full), given("abcd", Eom::EOS));
    assert_eq!(queue.read_in(ANY, Flow::Full), given("e", Eom::CNT));
    // And one that holds back all it has, which a queue of the right size never does, has nothing to give.
    assert_eq!(queue.read_in(ANY, Flow::Full), None);
}

#[test]
fn a_terminator_above_half_the_queue_is_refused() {
    let terminator = Terminator::new(b"abc").unwrap();
    for capacity in [0, 1, 4, 5] {
        assert_eq!(terminator.check_queue(capacity), Err(Error::AboveHalf { len: 3, capacity }));
    }
    for capacity in [6, 7, ANY] {
        assert_eq!(terminator.check_queue(capacity), Ok(()));
    }
    assert_eq!(Terminator::OFF.check_queue(0), Ok(()));
}

#[test]
fn a_full_queue_of_twice_the_terminator_always_has_a_byte_to_give() {
    for len in 1..=255 {
        for terminator in terminators(len) {
            // As much as can be held back.
            let bytes = [vec![b'#'; len + 1], terminator[..len - 1].to_vec()].concat();
            let mut queue = Queue::holding(&terminator, &bytes);
            assert_eq!(queue.next(ANY, Flow::Full), Some(Piece { len: len + 1, skip: 0, eom: Eom::CNT }));
        }
    }
}

// Rule 6.

#[test]
fn at_the_end_of_input_bytes_held_back_are_data_then_comes_end_alone() {
    let mut queue = Queue::holding(b"aab", b"xaa");
    assert_eq!(queue.read(ANY), None);
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("xaa", Eom::NONE));
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("", Eom::END));
}

#[test]
fn at_the_end_of_input_a_small_buffer_takes_bytes_held_back_in_turns() {
    let mut queue = Queue::holding(b"aaaab", b"xaaaa");
    for bytes in ["xa", "aa"] {
        assert_eq!(queue.read_in(2, Flow::Ended), given(bytes, Eom::CNT));
    }
    assert_eq!(queue.read_in(2, Flow::Ended), given("a", Eom::NONE));
    assert_eq!(queue.read_in(2, Flow::Ended), given("", Eom::END));
    // On an exact fit END still comes alone.
    let mut queue = Queue::holding(b"aaaab", b"xa");
    assert_eq!(queue.read_in(2, Flow::Ended), given("xa", Eom::CNT));
    assert_eq!(queue.read_in(2, Flow::Ended), given("", Eom::END));
}

#[test]
fn messages_before_the_end_of_input_end_with_their_terminator() {
    let mut queue = Queue::holding(b"\r\n", b"one\r\n\r\ntwo\r");
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("one", Eom::EOS));
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("", Eom::EOS));
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("two\r", Eom::NONE));
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("", Eom::END));
    let mut queue = Queue::holding(b"\r\n", b"one\r\n");
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("one", Eom::EOS));
    assert_eq!(queue.read_in(ANY, Flow::Ended), given("", Eom::END));
}

#[test]
fn at_a_timeout_only_decided_bytes_are_given() {
    let mut queue = Queue::holding(b"\r\n", b"abc\r");
    assert_eq!(queue.read_in(ANY, Flow::TimedOut), given("abc", Eom::NONE));
    assert_eq!(queue.read_in(ANY, Flow::TimedOut), None);
    queue.bytes.extend(b"\ndef");
    assert_eq!(queue.read_in(ANY, Flow::TimedOut), given("", Eom::EOS));
    assert_eq!(queue.read_in(3, Flow::TimedOut), given("def", Eom::CNT));
    assert_eq!(queue.read_in(3, Flow::TimedOut), None);
}

// Rule 7.

#[test]
fn a_new_terminator_applies_to_every_byte_not_yet_delivered() {
    let mut queue = Queue::holding(b"aab", b"one;two\naa");
    assert_eq!(queue.read(ANY), None);
    queue.terminator = Terminator::new(b";").unwrap();
    queue.scan.restart();
    assert_eq!(queue.read(ANY), given("one", Eom::EOS));
    queue.terminator = Terminator::new(b"\na").unwrap();
    queue.scan.restart();
    assert_eq!(queue.read(ANY), given("two", Eom::EOS));
    queue.terminator = Terminator::OFF;
    queue.scan.restart();
    assert_eq!(queue.read(ANY), given("a", Eom::NONE));
}

#[test]
fn a_message_takes_room_for_its_terminator_too() {
    let terminator = Terminator::new(b"\r\n").unwrap();
    assert_eq!([0, 5, ANY].map(|len| terminator.framed_len(len)), [2, 7, ANY]);
    assert_eq!(Terminator::OFF.framed_len(5), 5);
}

// What the types promise.

#[test]
fn a_scan_that_was_not_told_what_left_gives_nothing_beyond_the_queue() {
    for bytes in [&b"abcd"[..], b"abcd\r", b"ab\r\n"] {
        for left in 0..bytes.len() {
            for room in [1, 3, ANY] {
                for flow in [Flow::Open, Flow::Full, Flow::Ended, Flow::TimedOut] {
                    let mut queue = Queue::holding(b"\r\n", bytes);
                    let _ = queue.next(ANY, Flow::Open);
                    queue.bytes.truncate(left);
                    let taken = queue.next(room, flow).map_or(0, |piece| piece.taken());
                    assert!(taken <= left, "{taken} bytes of {left}");
                }
            }
        }
    }
}

#[test]
fn a_scan_is_eight_bytes() {
    assert_eq!(size_of::<Scan>(), 8);
}

#[test]
fn reasons_are_a_set_with_the_values_of_asyn() {
    assert_eq!([Eom::NONE, Eom::CNT, Eom::EOS, Eom::END].map(Eom::bits), [0, 1, 2, 4]);
    let both = Eom::CNT | Eom::END;
    assert_eq!((both.bits(), both), (5, Eom::END.union(Eom::CNT)));
    assert!(both.contains(Eom::CNT) && both.contains(Eom::END) && both.contains(both) && both.contains(Eom::NONE));
    assert!(!both.contains(Eom::EOS) && !both.contains(Eom::EOS | Eom::CNT) && !Eom::CNT.contains(both));
    assert!(Eom::NONE.is_empty() && !both.is_empty());
    let all = both | Eom::EOS;
    for (eom, text) in [(Eom::NONE, "none"), (Eom::EOS, "EOS"), (both, "CNT|END"), (all, "CNT|EOS|END")] {
        assert_eq!(eom.to_string(), text);
    }
}

#[test]
fn errors_and_terminators_say_what_they_are() {
    assert_eq!(Error::TooLong { len: 300, max: 255 }.to_string(), "terminator of 300 bytes is longer than 255");
    assert_eq!(
        Error::AboveHalf { len: 33, capacity: 64 }.to_string(),
        "terminator of 33 bytes is longer than half of a queue of 64"
    );
    assert_eq!(format!("{:?}", Terminator::new(b"\r\n\xFF").unwrap()), r#"Terminator("\r\n\xff")"#);
}
