//! Scripts, in the terms of the table in `fuzz/port/datagrams.rs`.

use super::super::Seed;

const FIFO: u8 = 0;
const ASYN: u8 = 1;
const NO_RETRY: u8 = 2;
const DISCARD: u8 = 4;
const OLDEST: u8 = 8;
/// All timeouts a second.
const SECONDS: u8 = 0x3F;

const UP: [u8; 2] = [5, 0x06];
const CLOSE: u8 = 0x15;
const SUBSCRIBED: [u8; 2] = [0x28, 1];
const NOBODY: [u8; 2] = [0x28, 0];
const LEAVE: u8 = 0x18;
const FLUSH: u8 = 8;
const DEADLINE: u8 = 11;
const TURN: u8 = 0x24;
const ALL_SENT: u8 = 0x13;

pub(in super::super) fn scripts() -> Vec<Seed> {
    // The least bytes, four records, a budget of 1 KiB.
    let script = |flags: u8, steps: &[&[u8]]| [&[flags, 0, 3, 0, 15, SECONDS][..], &UP, &steps.concat()].concat();
    let (came, longer, empty) = ([0, 10, 1], [0, 60, 2], [0, 0, 1]);
    let (read_4, read_all) = ([7, 4], [7, 255]);
    vec![
        ("asyn_partial_reads", script(ASYN, &[&came, &read_4, &read_4, &read_4, &read_4])),
        ("asyn_one_byte_at_a_time", script(ASYN, &[&[0, 2, 1, 7, 1, 7, 1, 7, 1]])),
        ("asyn_a_read_then_a_flush_then_the_next", script(ASYN, &[&came, &[7, 1], &[FLUSH], &came, &read_all])),
        ("asyn_ten_datagrams_for_subscribers_alone", script(ASYN, &[&SUBSCRIBED, &came.repeat(10), &[14; 12]])),
        ("asyn_a_slow_reader_loses_the_cache", {
            script(ASYN, &[&read_4, &SUBSCRIBED, &came, &read_4, &[14], &[DEADLINE], &longer, &[DEADLINE], &read_all])
        }),
        ("asyn_subscribers_come_to_a_full_cache", {
            script(
                ASYN,
                &[&came, &[0x6E], &SUBSCRIBED, &[14], &NOBODY, &longer, &read_4, &SUBSCRIBED, &[LEAVE], &empty],
            )
        }),
        ("asyn_empty_and_endless_datagrams", script(ASYN, &[&empty, &SUBSCRIBED, &empty, &[0x10, 255, 1, 0, 254, 1]])),
        ("asyn_nothing_is_sent", script(ASYN, &[&came, &read_all, &[9, 3, 1, 0x19, 3, 1, 0x29, 3, 1]])),
        ("fifo_a_full_ring_drops_the_newest", script(FIFO, &[&came.repeat(6), &read_all.repeat(5), &[14; 6]])),
        ("fifo_a_full_ring_drops_the_oldest", {
            script(OLDEST, &[&came.repeat(5), &longer, &read_all.repeat(2), &[14; 6]])
        }),
        ("fifo_a_begun_datagram_is_not_torn", script(OLDEST, &[&came, &read_4, &longer, &came.repeat(4), &[7, 6]])),
        ("fifo_the_rest_is_discarded", script(DISCARD, &[&came, &came, &read_4, &[7, 10], &[13 | 0x40, 0], &came])),
        ("fifo_slow_subscribers_lose_alone", {
            script(FIFO, &[&SUBSCRIBED, &came.repeat(3), &[14], &came.repeat(5), &[14, 0x1E].repeat(6), &read_all])
        }),
        ("fifo_a_datagram_across_the_end_of_the_ring", {
            script(FIFO, &[&[0, 40, 1], &read_all, &[0, 40, 1], &read_4, &[0, 20, 1], &read_all, &read_all])
        }),
        ("fifo_seventy_peers_and_a_broadcast", {
            script(FIFO, &[&[0x20, 1, 1, 70], &[0x29, 9, 0], &[TURN, ALL_SENT, TURN, ALL_SENT], &[10 | 0x30, 1], &came])
        }),
        ("fifo_a_broadcast_that_does_not_fit", {
            script(FIFO, &[&[0x20, 1, 1, 9], &[9, 40, 7, 0xA9, 30, 0, 0x29, 65, 0, 0x29, 20, 0], &[ALL_SENT]])
        }),
        ("fifo_seventy_answers_to_a_socket_that_takes_none", {
            script(FIFO, &[&came, &read_all, &[0x99, 1, 0, 0x11], &[0x59, 0, 0], &[0x14, ALL_SENT, TURN, ALL_SENT]])
        }),
        ("failures_for_now_and_for_good", {
            script(FIFO, &[&[2, 0x12, 9, 3, 1, 0x12], &came, &[0x22], &[0x26], &[DEADLINE, 6], &[9, 1, 1, 0x32, 0x26]])
        }),
        ("a_port_that_cannot_be_opened", {
            [
                &[NO_RETRY, 0, 0, 0, 0, SECONDS, 5, 0x16, 13 | 0x30, 0, 5, 0x16, 13 | 0x30, 1, 5, 0x16][..],
                &[DEADLINE, 6],
            ]
            .concat()
        }),
        ("opened_and_closed_in_every_order", {
            script(
                FIFO,
                &[&[0x80 | CLOSE, 0x85, 0x80 | CLOSE, 5, 0x26, 0x85, 0x80 | CLOSE, 5, CLOSE, 5, 0x26, 6, CLOSE]],
            )
        }),
        ("a_turn_is_used_up", {
            [&[FIFO, 0, 3, 0, 1, SECONDS][..], &UP, &[4], &came.repeat(3), &[TURN], &longer, &[0x49, 0, 3], &[ALL_SENT]]
                .concat()
        }),
        ("what_the_kernel_drops", script(FIFO, &[&[15, 3, 15, 9, 15, 2, CLOSE, 0x26, 5, 6, 15, 4]])),
        ("nothing", Vec::new()),
    ]
}
