//! Which reply there is (stage 1).

use crate::harness::{fault, frame, holding, read, serve, write};

#[test]
fn no_response_carries_the_request_out_or_not() {
    for (keys, value) in [("", 7), ("execute = true", 7), ("execute = false", 0x1003_u16)] {
        let server = serve(&fault("no_response", &format!("functions = [6], {keys}")));
        let mut client = server.connect();
        client.send(&frame(1, 1, &write(3, 7)));
        let [high, low] = value.to_be_bytes();
        client.asks(&read(3, 1), &frame(1, 1, &[3, 2, high, low]));
        let metrics = server.metrics().unwrap();
        assert_eq!(metrics.responses(wharf_host::services::modbus::Response::None), 1, "a dropped reply is no ok");
        assert_eq!(server.counts("f"), [2, 1, 1, 0]);
    }
}

#[test]
fn an_exception_takes_the_place_of_the_reply() {
    for (keys, code, value) in [("", 4, 0x1003_u16), ("code = 0x99", 0x99, 0x1003), ("execute = true", 4, 7)] {
        let server = serve(&fault("exception", &format!("functions = [6, 1], {keys}")));
        let mut client = server.connect();
        client.asks(&write(3, 7), &frame(1, 1, &[0x86, code]));
        let [high, low] = value.to_be_bytes();
        client.asks(&read(3, 1), &frame(1, 1, &[3, 2, high, low]));
        // One exception takes the place of another.
        client.asks(&[1, 0xFF, 0xFF, 0, 2], &frame(1, 1, &[0x81, code]));
    }
}

#[test]
fn a_wrong_count_makes_a_reply_that_is_consistent_in_itself() {
    let shorter = serve(&fault("wrong_count", ""));
    let mut client = shorter.connect();
    client.asks(&read(3, 4), &frame(1, 1, &holding(3, 3)));
    client.asks(&read(3, 1), &frame(1, 1, &holding(3, 1)));
    client.asks(&[1, 0, 0, 0, 9], &frame(1, 1, &[1, 1, 0x49]));
    client.asks(&[1, 0, 0, 0, 8], &frame(1, 1, &[1, 1, 0x49]));
    client.asks(&[1, 0, 0, 0, 7], &frame(1, 1, &[1, 1, 0x09]));
    client.asks(&[23, 0, 5, 0, 2, 0, 50, 0, 1, 2, 0xAB, 0xCD], &frame(1, 1, &[23, 2, 0x10, 5]));
    // Neither a write nor an exception has a quantity that could be wrong.
    client.asks(&write(3, 7), &frame(1, 1, &write(3, 7)));
    client.asks(&read(200, 1), &frame(1, 1, &[0x83, 2]));
    let fixed = serve(&fault("wrong_count", "count = 3"));
    let mut client = fixed.connect();
    client.asks(&read(3, 1), &frame(1, 1, &holding(3, 3)));
    let behind_the_last = &[3, 6, 0x10, 99, 0, 0, 0, 0];
    client.asks(&read(99, 1), &frame(1, 1, behind_the_last));
    client.asks(&[8, 0, 14, 0, 0], &frame(1, 1, &[8, 0, 14, 0, 3]));
    client.asks(&read(3, 4), &frame(1, 1, &holding(3, 3)));
    let longer = serve(&fault("wrong_count", "delta = 1"));
    longer.connect().asks(&[1, 0, 0, 0, 8], &frame(1, 1, &[1, 2, 0x49, 0]));
}
