//! Terminators and reads, in the terms of the table in `fuzz/port/framing.rs`.

use super::super::Seed;

/// A ring of 8 bytes that wraps behind the first 3 of them, and one that takes every terminator.
const SMALL: [u8; 2] = [3, 5];
const LARGE: [u8; 2] = [255, 100];
/// Room for any message.
const ANY: u8 = 255;

const OFF: &[u8] = &[0, 0];
const NEWLINE: &[u8] = &[0, 1, b'\n'];
const CR_LF: &[u8] = &[0, 2, b'\r', b'\n'];

const PUSH: &[u8] = &[5];
const FLUSH: &[u8] = &[7];
const END: &[u8] = &[9];

fn comes(bytes: &[u8]) -> Vec<u8> {
    [&[0, u8::try_from(bytes.len()).expect("few")], bytes].concat()
}

const fn read(room: u8) -> [u8; 2] {
    [3, room]
}

const fn timed_out(room: u8) -> [u8; 2] {
    [4, room]
}

/// The terminator `a`, `a`, … `b`.
const fn alike(len: u8) -> [u8; 2] {
    [1, len]
}

fn script(ring: [u8; 2], terminator: &[u8], steps: &[&[u8]]) -> Vec<u8> {
    [&ring, terminator, &steps.concat()].concat()
}

pub(in super::super) fn framing() -> Vec<Seed> {
    let byte_by_byte = |bytes: &[u8]| bytes.iter().flat_map(|&byte| [0, 1, byte, 3, ANY]).collect::<Vec<_>>();
    vec![
        ("two_lines_and_a_half", {
            script(LARGE, CR_LF, &[&comes(b"one\r\n\r\ntw"), &read(80), &read(80), &read(80), &comes(b"o\r\n"), PUSH])
        }),
        ("a_terminator_byte_by_byte", script(LARGE, CR_LF, &[&byte_by_byte(b"\r\r\nx\r\n")])),
        ("a_terminator_across_the_wrap", script(SMALL, CR_LF, &[&comes(b"ab\r\ncd\r\n"), &read(9), &read(9)])),
        ("a_terminator_that_resembles_itself", {
            script(LARGE, &alike(3), &[&comes(b"aaa"), &timed_out(9), &comes(b"ab"), &read(9), &comes(b"aab"), PUSH])
        }),
        ("matches_that_would_overlap", script(LARGE, &[3, 2], &[&comes(b"aaaaa"), PUSH, END, PUSH])),
        ("room_of_the_message_and_one_more", {
            script(LARGE, NEWLINE, &[&comes(b"abc\nabc\n"), &read(3), &read(3), &read(4), &read(4)])
        }),
        (
            "room_for_nothing",
            script(LARGE, NEWLINE, &[&read(0), &comes(b"a\n"), &read(0), &timed_out(0), END, &read(0)]),
        ),
        ("reads_of_one_byte", {
            script(
                SMALL,
                CR_LF,
                &[&comes(b"ab\r\n"), &read(1), &read(1), &read(1), &comes(b"\r\r"), &read(1), &read(1)],
            )
        }),
        ("a_full_queue_without_terminator", {
            script(SMALL, CR_LF, &[&comes(b"abcdefg\r"), &read(ANY), &read(ANY), &comes(b"\n"), &read(ANY)])
        }),
        ("a_full_queue_with_the_longest_terminator_it_allows", {
            script(SMALL, &alike(4), &[&[2, b'a', 8], &read(ANY), &comes(b"b"), &read(ANY)])
        }),
        ("a_terminator_above_half_the_queue", script(SMALL, &alike(5), &[&comes(b"aaaab"), &read(ANY)])),
        ("a_terminator_of_255_bytes", {
            script(LARGE, &alike(255), &[&[1, 254], &timed_out(3), &[2, b'a', 9, 1, 255], &read(ANY), PUSH])
        }),
        ("all_but_its_last_byte_again_and_again", {
            script(LARGE, &[2, 101], &[&[1, 100, 1, 100, 1, 99], &timed_out(50), &[1, 101], PUSH, &timed_out(ANY)])
        }),
        ("bytes_held_back_at_the_end_of_input", {
            script(LARGE, &alike(5), &[&comes(b"xaaaa"), &read(ANY), END, &read(2), &read(2), &read(2), &read(2)])
        }),
        ("messages_before_the_end_of_input", {
            script(LARGE, CR_LF, &[&comes(b"one\r\ntwo\r"), END, &comes(b"never"), &read(ANY), &read(ANY), &read(ANY)])
        }),
        ("an_end_without_a_byte", script(LARGE, NEWLINE, &[END, &read(1), &read(1)])),
        ("a_timeout_with_bytes_held_back", {
            script(LARGE, CR_LF, &[&comes(b"abc\r"), &timed_out(9), &timed_out(9), &comes(b"\n"), &timed_out(9)])
        }),
        ("a_new_terminator_for_bytes_that_wait", {
            let newline = [&[6], NEWLINE].concat();
            script(LARGE, &alike(3), &[&comes(b"one\ntwo\naa"), &read(ANY), &newline, PUSH, &[6, 0, 0], &read(ANY)])
        }),
        ("a_flush_with_bytes_held_back", {
            script(LARGE, &alike(3), &[&comes(b"xaa"), &read(ANY), FLUSH, &comes(b"b"), &timed_out(9), &read(9)])
        }),
        ("bytes_that_leave_by_number", {
            script(LARGE, &alike(4), &[&comes(b"xaaa"), &read(ANY), &[8, 2], &comes(b"b"), &timed_out(ANY)])
        }),
        ("no_terminator", script(SMALL, OFF, &[&comes(b"abc"), &read(2), &read(2), &comes(b"abcdefgh"), &read(ANY)])),
        ("bytes_of_0_and_255", {
            script(LARGE, &[0, 2, 255, 0], &[&comes(&[255, 255, 0, 0, 255, 0, 255]), PUSH, &timed_out(ANY)])
        }),
        ("a_ring_of_two_bytes", script([0, 1], &[3, 1], &[&comes(b"xa"), PUSH, &comes(b"ax"), PUSH, &timed_out(1)])),
        ("nothing", Vec::new()),
    ]
}
