//! Limits at both ends, exact lengths, and the way back to the wire.

use super::*;

const E01: Result<Request<'_>, Exception> = Err(Exception::ILLEGAL_FUNCTION);
const E03: Result<Request<'_>, Exception> = Err(Exception::ILLEGAL_DATA_VALUE);

#[test]
fn a_limit_holds_at_both_of_its_ends() {
    for (code, most) in [(1u8, 2000u16), (2, 2000), (3, 125), (4, 125)] {
        for (quantity, good) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            let [a, b] = quantity.to_be_bytes();
            let pdu = [code, 0xFF, 0xFF, a, b];
            assert_eq!(Request::decode(&pdu).is_ok(), good, "function {code} quantity {quantity}");
        }
    }
}

#[test]
fn a_pdu_is_exactly_as_long_as_its_fields_demand() {
    assert_eq!(Request::decode(&[3, 0, 0]), E03);
    assert_eq!(Request::decode(&[3, 0, 0, 0, 1, 0, 0]), E03);
    assert_eq!(Request::decode(&[15, 0, 0, 0, 1, 2, 0, 0]), E03);
    assert_eq!(Request::decode(&[16, 0, 0, 0, 1, 2, 0]), E03);
    assert_eq!(Request::decode(&[16, 0, 0, 0, 1, 2, 0, 0, 0]), E03);
    assert_eq!(Request::decode(&[7, 0]), E03);
    assert_eq!(Request::decode(&[24, 0]), E03);
    assert_eq!(Request::decode(&[22, 0, 0, 0, 0, 0]), E03);
}

#[test]
fn query_data_reaches_to_the_end_of_the_longest_pdu_and_no_further() {
    let mut pdu = [0; MAX_PDU + 2];
    pdu[0] = function::DIAGNOSTICS;
    assert!(Request::decode(&pdu[..MAX_PDU]).is_ok());
    assert_eq!(Request::decode(&pdu), E03);
}

#[test]
fn what_is_not_public_is_illegal_before_its_length_is_judged() {
    for code in (0..=255u8).filter(|code| !function::PUBLIC.contains(code)) {
        assert_eq!(Request::decode(&[code]), E01, "function {code}");
    }
    assert_eq!(Request::decode(&[]), E01);
    assert_eq!(Request::decode(&[8, 0, 19]), E01);
    assert_eq!(Request::decode(&[8, 0, 21, 0, 0, 0]), E01);
    assert_eq!(Request::decode(&[8, 0]), E03);
    assert_eq!(Request::decode(&[43]), E03);
    assert_eq!(Request::decode(&[43, 13]), E01);
    assert_eq!(Request::decode(&[43, 14, 5, 0]), E03);
}

#[test]
fn file_groups_fill_their_byte_count_and_their_reply_fits() {
    assert!(Request::decode(&[20, 7, 6, 0, 4, 0, 1, 0, 124]).is_ok(), "reply of 252 bytes");
    assert_eq!(Request::decode(&[20, 7, 6, 0, 4, 0, 1, 0, 125]), E03, "reply of 254 bytes");
    assert_eq!(Request::decode(&[20, 7, 6, 0, 4, 0, 1, 0, 0]), E03);
    assert_eq!(Request::decode(&[20, 6, 6, 0, 4, 0, 1, 0]), E03);
    assert!(Request::decode(&[21, 9, 6, 0, 4, 0, 7, 0, 1, 1, 2]).is_ok());
    assert_eq!(Request::decode(&[21, 9, 6, 0, 4, 0, 7, 0, 2, 1, 2]), E03);
    assert_eq!(Request::decode(&[21, 16, 6, 0, 4, 0, 7, 0, 1, 1, 2, 6, 0, 4, 0, 7, 0, 0]), E03);
}

#[test]
fn what_decodes_encodes_to_the_same_bytes() {
    let wires: [&[u8]; 12] = [
        &[1, 0, 0x13, 0, 0x13],
        &[5, 0, 0xAC, 0xFF, 0],
        &[8, 0, 0, 0xA5, 0x37, 1, 2],
        &[8, 0, 1, 0xFF, 0],
        &[8, 0, 14, 0, 0],
        &[15, 0, 0x13, 0, 10, 2, 0xCD, 0xFF],
        &[16, 0, 1, 0, 2, 4, 0, 10, 1, 2],
        &[20, 14, 6, 0, 4, 0, 1, 0, 2, 6, 0, 3, 0, 9, 0, 2],
        &[21, 13, 6, 0, 4, 0, 7, 0, 3, 6, 0xAF, 4, 0xBE, 16, 13],
        &[22, 0, 4, 0, 0xF2, 0, 0x25],
        &[23, 0, 3, 0, 6, 0, 14, 0, 3, 6, 0, 255, 0, 255, 0, 255],
        &[43, 14, 1, 0],
    ];
    for wire in wires {
        let request = Request::decode(wire).unwrap();
        assert_eq!(request.function(), wire[0]);
        let mut out = [0; MAX_PDU];
        let len = request.encode(&mut out).unwrap();
        assert_eq!(&out[..len], wire);
        assert_eq!(request.encode(&mut out[..wire.len() - 1]), None, "no room for the last byte");
    }
}
