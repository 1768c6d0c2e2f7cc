//! Scripts for a server port, in the terms of the table in `port/server.rs`.

use crate::fuzz::seeds::Seed;

/// One slot, queues of 64 bytes, the newline as either terminator, everything else at its default.
const ONE: [u8; 8] = [0; 8];
/// The same with two slots, or with three.
const TWO: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
const THREE: [u8; 8] = [2, 0, 0, 0, 0, 0, 0, 0];
/// Nothing is a terminator.
const RAW: u8 = 8;

const COME: [u8; 2] = [1, 0];
const TURN: [u8; 1] = [0];
/// To the next deadline, with an early timeout just before.
const DEADLINE: [u8; 2] = [14, 3];
/// Answers are put off from now on, and the first one of them is given.
const POSTPONE: [u8; 3] = [0x16, 0, 0];
const ANSWER: [u8; 2] = [7, 0];
/// The system has found its answer, which is given later.
const FIND: [u8; 2] = [0x87, 0];
const FIN: u8 = 0;
const HANG_UP: u8 = 2;
const RESET: u8 = 3;

const fn sends(slot: u8, len: u8) -> [u8; 3] {
    [2, slot, len]
}

const fn ends(slot: u8, how: u8) -> [u8; 3] {
    [4, slot, how]
}

/// Whole messages, as much as there is.
const fn read(slot: u8) -> [u8; 3] {
    [10, slot, 255]
}

const fn write(slot: u8, len: u8) -> [u8; 3] {
    [8, slot, len]
}

const fn to_all(len: u8) -> [u8; 2] {
    [9, len]
}

/// Sockets take so many bytes, then no more until they are told.
const fn window(len: u8) -> [u8; 3] {
    [0x86, 0, len]
}

const fn takes(slot: u8, len: u8) -> [u8; 3] {
    [3, slot, len]
}

const fn set(which: u8, value: u8) -> [u8; 4] {
    [13, 0, which, value]
}

const fn drops(slot: u8) -> [u8; 3] {
    [11, slot, 4]
}

const fn port(what: u8) -> [u8; 2] {
    [12, what]
}

fn script(setting: [u8; 8], steps: &[&[u8]]) -> Vec<u8> {
    [&setting[..], &steps.concat()].concat()
}

/// A setting with another byte in one place.
fn with(mut setting: [u8; 8], at: usize, value: u8) -> [u8; 8] {
    setting[at] = value;
    setting
}

pub(in crate::fuzz::seeds) fn servers() -> Vec<Seed> {
    let raw = |setting| with(setting, 6, RAW);
    let on_full = |how| with(ONE, 1, how);
    let echo = |setting| with(setting, 7, 32);
    let overflow = |how| with(raw(TWO), 2, how);
    let seed = |name, setting, steps: &[&[u8]]| (name, script(setting, steps));
    vec![
        seed("nothing", ONE, &[]),
        seed("a_client_talks_and_ends", ONE, &[&COME, &sends(0, 40), &read(0), &write(0, 20), &ends(0, FIN), &read(0)]),
        seed("one_byte_at_a_time", ONE, &[&COME, &[6, 1, 1], &sends(0, 64), &write(0, 60), &read(0), &ends(0, FIN)]),
        seed(
            "a_full_receive_queue_and_a_hang_up",
            ONE,
            &[&COME, &sends(0, 200), &ends(0, HANG_UP), &DEADLINE, &read(0)],
        ),
        seed(
            "a_reset_with_unread_bytes",
            raw(ONE),
            &[&COME, &sends(0, 30), &ends(0, RESET), &read(0), &read(0), &TURN, &COME],
        ),
        seed("a_residue_makes_room", raw(ONE), &[&COME, &sends(0, 9), &ends(0, RESET), &COME, &TURN, &read(0), &COME]),
        seed(
            "a_residue_runs_out",
            raw(ONE),
            &[&COME, &sends(0, 9), &ends(0, RESET), &DEADLINE, &read(0), &TURN, &COME],
        ),
        seed(
            "half_close_is_drained",
            ONE,
            &[&COME, &ends(0, FIN), &write(0, 5), &read(0), &read(0), &DEADLINE, &DEADLINE],
        ),
        seed(
            "half_close_is_kept",
            with(ONE, 2, 4),
            &[&COME, &ends(0, FIN), &write(0, 9), &DEADLINE, &write(0, 9), &[11, 0, 2]],
        ),
        seed(
            "more_messages_than_are_told_apart",
            with(overflow(3), 3, 0x20),
            &[&window(3), &COME, &to_all(1).repeat(70), &to_all(99)],
        ),
        seed("an_echo", echo(ONE), &[&COME, &sends(0, 40), &write(0, 20), &sends(0, 9), &ends(0, FIN)]),
        seed(
            "an_echo_with_more_than_fits_and_a_hang_up",
            echo(ONE),
            &[&window(3), &COME, &sends(0, 250), &ends(0, HANG_UP), &DEADLINE, &takes(0, 255), &TURN],
        ),
        seed(
            "an_echo_to_a_client_that_takes_little",
            echo(TWO),
            &[&window(3), &COME, &sends(0, 200), &ends(0, FIN), &takes(0, 9), &takes(0, 90), &takes(0, 255)],
        ),
        seed(
            "an_echo_whose_client_is_stuck",
            echo(ONE),
            &[&window(3), &COME, &sends(0, 200), &ends(0, FIN), &DEADLINE, &TURN, &COME],
        ),
        seed("our_end_comes_first", ONE, &[&COME, &[11, 0, 2], &sends(0, 9), &ends(0, FIN), &read(0), &read(0)]),
        seed(
            "our_end_waits_for_the_queue",
            ONE,
            &[&window(3), &COME, &write(0, 20), &[11, 0, 2], &takes(0, 255), &ends(0, FIN)],
        ),
        seed("linger_runs_out", ONE, &[&window(3), &COME, &write(0, 20), &drops(0), &DEADLINE, &TURN, &COME]),
        seed(
            "a_deaf_client_is_stuck",
            TWO,
            &[&window(3), &COME, &COME, &to_all(30), &takes(1, 255), &to_all(30), &DEADLINE],
        ),
        seed(
            "a_message_in_parts",
            overflow(1),
            &[&window(3), &COME, &write(0, 50), &write(0, 50), &takes(0, 40), &write(0, 50)],
        ),
        seed(
            "a_message_too_many_ends_it",
            overflow(2),
            &[&window(3), &COME, &write(0, 50), &write(0, 50), &TURN, &COME],
        ),
        seed(
            "the_oldest_messages_go",
            overflow(3),
            &[&window(3), &COME, &to_all(9), &to_all(9), &to_all(44), &to_all(60), &to_all(70)],
        ),
        seed(
            "more_messages_than_boundaries",
            with(overflow(3), 3, 0x40),
            &[&window(3), &COME, &[0x09, 1].repeat(90), &to_all(99), &to_all(170)],
        ),
        seed("bytes_are_fed", ONE, &[&window(3), &COME, &[0x18, 0, 200], &takes(0, 30), &[0x18, 0, 40], &[0x19, 90]]),
        seed("all_but_one", THREE, &[&COME, &COME, &[0x89, 12, 1], &[0x89, 12, 3], &[0x49, 12]]),
        seed("full_and_refused", on_full(0), &[&COME, &COME, &ends(0, FIN), &COME, &drops(0), &COME, &TURN, &COME]),
        seed("full_and_held_back", on_full(2), &[&COME, &COME, &ends(0, RESET), &TURN, &COME]),
        seed("the_oldest_is_kicked", with(TWO, 1, 3), &[&COME, &[14, 40], &COME, &COME, &TURN, &COME, &TURN]),
        seed(
            "the_idle_one_is_kicked",
            with(with(TWO, 1, 4), 7, 3),
            &[&COME, &COME, &COME, &[14, 160], &sends(0, 5), &COME, &TURN],
        ),
        seed("a_stranger_is_denied", with(TWO, 1, 0x80), &[&[1, 1], &COME, &[1, 1]]),
        seed("round_and_round", with(THREE, 0, 10), &[&COME, &drops(0), &ends(0, FIN), &TURN, &COME, &COME, &COME]),
        seed("twenty_at_once", with(ONE, 0, 7), &[&[0x80, 19, 0], &TURN, &[0x80, 19, 0], &to_all(9)]),
        seed(
            "slots_and_accepts_are_used_up_at_once",
            with(ONE, 0, 7),
            &[&COME.repeat(4), &TURN, &[0x80, 19, 0], &TURN],
        ),
        seed(
            "idle_in_every_way",
            with(THREE, 4, 3),
            &[&COME, &COME, &sends(0, 3), &write(1, 3), &DEADLINE, &DEADLINE, &DEADLINE],
        ),
        seed(
            "descriptors_are_short",
            ONE,
            &[&port(5), &DEADLINE, &port(5), &port(5), &DEADLINE, &COME, &port(5), &DEADLINE],
        ),
        seed("the_listener_breaks", ONE, &[&COME, &port(7), &sends(0, 5), &read(0), &DEADLINE, &COME]),
        seed(
            "it_cannot_listen",
            ONE,
            &[&port(3), &[0x46, 0, 0], &port(0), &DEADLINE, &DEADLINE, &[6, 0, 0], &DEADLINE],
        ),
        seed("closed_and_the_clients_stay", TWO, &[&COME, &port(3), &COME, &write(0, 9), &to_all(9), &port(0), &COME]),
        seed(
            "closed_and_the_clients_go",
            TWO,
            &[&window(3), &COME, &COME, &to_all(9), &port(2), &takes(0, 255), &ends(0, FIN), &DEADLINE, &port(0)],
        ),
        seed("nobody_can_be_registered", TWO, &[&[0x26, 0, 0], &COME, &COME, &TURN, &COME]),
        seed(
            "answers_are_put_off",
            TWO,
            &[
                &POSTPONE,
                &COME,
                &sends(0, 9),
                &write(0, 9),
                &ANSWER,
                &ends(0, FIN),
                &ANSWER,
                &ANSWER,
                &drops(0),
                &ANSWER,
            ],
        ),
        seed(
            "an_edge_before_its_answer",
            ONE,
            &[&POSTPONE, &COME, &[5, 0, 0], &FIND, &sends(0, 9), &ANSWER, &[5, 0, 0], &ANSWER],
        ),
        seed("readiness_for_nothing", TWO, &[&COME, &[5, 0, 0], &[5, 0, 1], &[5, 0, 2], &write(0, 9), &[5, 0, 1]]),
        seed(
            "terminators_come_and_go",
            with(ONE, 6, 0x60),
            &[&COME, &sends(0, 60), &read(0), &set(10, 3), &read(0), &set(9, 1), &read(0), &set(11, 5)],
        ),
        seed(
            "options_for_one_slot",
            TWO,
            &[&COME, &COME, &[13, 1, 0x40, 5], &[13, 1, 0x48, 9], &write(1, 9), &DEADLINE, &[13, 2, 0x40, 5]],
        ),
        seed(
            "whoever_has_left",
            TWO,
            &[&COME, &drops(0), &ends(0, FIN), &TURN, &COME, &write(2, 9), &[11, 2, 6], &[15, 2], &[15, 0]],
        ),
        seed(
            "more_than_a_turn_carries",
            with(raw(ONE), 3, 0x77),
            &[&COME, &[0x82, 0, 255].repeat(4), &read(0), &read(0), &TURN, &read(0), &TURN],
        ),
    ]
}
