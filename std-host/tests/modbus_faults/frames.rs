//! What is in the frame (stages 2 and 3).

use crate::harness::{fault, frame, framed, holding, read, serve};

/// What a client sees of a request for two registers from address 3 on, transaction 0x0102.
#[track_caller]
fn sees(kind: &str, keys: &str, expected: &[u8]) {
    let server = serve(&fault(kind, keys));
    let mut client = server.connect();
    client.send(&frame(0x0102, 1, &read(3, 2)));
    client.sees(expected);
    // And nothing else of it.
    client.is_served();
    assert_eq!(server.counts("f"), [2, 1, 1, 0], "{kind} {keys}");
}

/// The bytes behind the header of what comes, its header checked.
fn pdu(kind: &str, keys: &str, len: usize) -> Vec<u8> {
    let server = serve(&fault(kind, keys));
    let mut client = server.connect();
    client.send(&frame(0x0102, 1, &read(3, 2)));
    let came = client.take(7 + len);
    client.is_served();
    assert_eq!(came[..4], [1, 2, 0, 0]);
    came[7..].to_vec()
}

fn honest(pdu: &[u8]) -> Vec<u8> {
    frame(0x0102, 1, pdu)
}

#[test]
fn a_wrong_function_answers_another_question() {
    let reply = |code: u8| [&[code], &holding(3, 2)[1..]].concat();
    sees("wrong_function", "", &honest(&reply(4)));
    sees("wrong_function", "mode = 'fixed'", &honest(&reply(0xFF)));
    sees("wrong_function", "mode = 'fixed', value = 6", &honest(&reply(6)));
    sees("wrong_function", "mode = 'swap_rw'", &honest(&reply(16)));
    let random = pdu("wrong_function", "mode = 'random'", 6);
    assert!((1..=127).contains(&random[0]) && random[0] != 3, "{random:?}");
    assert_eq!(random[1..], holding(3, 2)[1..]);
    assert_eq!(pdu("wrong_function", "mode = 'random'", 6), random, "the same plant gives the same bytes");
}

#[test]
fn corrupt_changes_bytes_behind_the_function_code() {
    sees("corrupt", "mode = 'set', offset = 1, count = 2, value = 0xEE", &honest(&[3, 4, 0xEE, 0xEE, 0x10, 4]));
    sees("corrupt", "mode = 'set', offset = 4, count = 9", &honest(&[3, 4, 0x10, 3, 0x10, 0]));
    let flipped = pdu("corrupt", "", 6);
    let bits: Vec<_> = flipped.iter().zip(holding(3, 2)).map(|(is, was)| (is ^ was).count_ones()).collect();
    assert_eq!((bits[0], bits.iter().sum::<u32>()), (0, 1), "one bit behind the code: {flipped:?}");
    let random = pdu("corrupt", "mode = 'random', offset = 2, count = 3", 6);
    let changed: Vec<_> = random.iter().zip(holding(3, 2)).map(|(is, was)| *is != was).collect();
    assert_eq!(changed, [false, false, false, true, true, true]);
}

#[test]
fn truncate_leaves_the_beginning() {
    sees("truncate", "", &honest(&[3]));
    sees("truncate", "mode = 'fixed_bytes', bytes = 2", &honest(&[3, 4]));
    sees("truncate", "mode = 'fixed_bytes', bytes = 253", &honest(&holding(3, 2)));
    sees("truncate", "mode = 'percentage'", &honest(&[3, 4, 0x10]));
    sees("truncate", "mode = 'percentage', percentage = 0", &honest(&[3]));
    sees("truncate", "mode = 'remove_last', bytes = 2", &honest(&[3, 4, 0x10, 3]));
    sees("truncate", "mode = 'remove_last', bytes = 50", &honest(&[3]));
    // The length field still announces all of it.
    sees("truncate", "mode = 'remove_last', relength = false", &framed(0x0102, 7, 1, &[3, 4, 0x10, 3, 0x10]));
}

#[test]
fn extra_bytes_follow_the_pdu() {
    let with = |more: &[u8]| [&holding(3, 2), more].concat();
    sees("extra", "mode = 'append', bytes = [1, 2]", &honest(&with(&[1, 2])));
    sees("extra", "mode = 'append', bytes = [1, 2], relength = false", &framed(0x0102, 7, 1, &with(&[1, 2])));
    sees("extra", "mode = 'duplicate_last', count = 3", &honest(&with(&[4, 4, 4])));
    sees("extra", "mode = 'append'", &honest(&holding(3, 2)));
    assert_eq!(pdu("extra", "", 10)[..6], holding(3, 2));
}

#[test]
fn a_wrong_unit_answers() {
    let from = |unit| frame(0x0102, unit, &holding(3, 2));
    sees("wrong_unit", "", &from(2));
    sees("wrong_unit", "mode = 'fixed'", &from(0xFF));
    sees("wrong_unit", "mode = 'fixed', value = 9", &from(9));
    sees("wrong_unit", "mode = 'swap'", &from(254));
    let server = serve(&fault("wrong_unit", "mode = 'random'"));
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 2)));
    let came = client.take(13);
    assert_eq!(came, frame(1, came[6], &holding(3, 2)));
    assert_ne!(came[6], 1);
}

#[test]
fn a_wrong_transaction_is_nobodys_reply() {
    let of = |transaction| frame(transaction, 1, &holding(3, 2));
    sees("wrong_transaction", "", &of(0x0103));
    sees("wrong_transaction", "mode = 'fixed'", &of(0xFFFF));
    sees("wrong_transaction", "mode = 'fixed', value = 5", &of(5));
    sees("wrong_transaction", "mode = 'swap_bytes'", &of(0x0201));
    let server = serve(&fault("wrong_transaction", "mode = 'random'"));
    let mut client = server.connect();
    client.send(&frame(1, 1, &read(3, 2)));
    let came = client.take(13);
    assert_ne!(came[..2], [0, 1]);
    assert_eq!(came[2..], frame(1, 1, &holding(3, 2))[2..]);
}

#[test]
fn a_wrong_protocol_and_a_wrong_length_lie_in_the_header_alone() {
    let with_protocol = |high, low| [&[1, 2, high, low], &frame(0, 1, &holding(3, 2))[4..]].concat();
    sees("wrong_protocol", "", &with_protocol(0, 1));
    sees("wrong_protocol", "value = 0xABCD", &with_protocol(0xAB, 0xCD));
    let with_length = |length| framed(0x0102, length, 1, &holding(3, 2));
    sees("wrong_length", "", &with_length(8));
    sees("wrong_length", "value = -3", &with_length(4));
    sees("wrong_length", "mode = 'fixed'", &with_length(1));
    sees("wrong_length", "mode = 'fixed', value = 65535", &with_length(65_535));
}
