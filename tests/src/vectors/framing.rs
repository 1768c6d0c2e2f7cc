//! The frame around the PDU: section 2, and section 11 as far as it is about frames.

use super::{Does, Vector, cat, frame, span, vector};

fn read(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &span(3, 0, 1))
}

fn value(transaction: u16) -> Vec<u8> {
    frame(transaction, 1, &[3, 2, 0x11, 0])
}

pub(super) fn vectors() -> Vec<Vector> {
    let mut all = good();
    all.extend(foreign());
    all.extend(lost());
    all
}

fn good() -> Vec<Vector> {
    let mut single = vector("single bytes make a frame", "2 (4), 11");
    let bytes = read(0x1234);
    for byte in &bytes[..bytes.len() - 1] {
        single = single.bytes([*byte], []);
    }
    single = single.bytes(&bytes[bytes.len() - 1..], value(0x1234));
    let longest = cat(&[&[8, 0, 0], &[0x77; 250]]);
    vec![
        single,
        vector("transaction and unit are copied to the reply", "2")
            .bytes([0xAB, 0xCD, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1], [0xAB, 0xCD, 0, 0, 0, 5, 1, 3, 2, 0x11, 0x00])
            .bytes([0, 0, 0, 0, 0, 6, 2, 3, 0, 0, 0, 1], [0, 0, 0, 0, 0, 5, 2, 3, 2, 0, 0])
            .bytes([0xFF, 0xFF, 0, 0, 0, 2, 9, 7], [0xFF, 0xFF, 0, 0, 0, 3, 9, 0x87, 0x0B]),
        vector("three frames in one segment give three replies in order", "2 (4), 11")
            .bytes(cat(&[&read(1), &read(2), &read(3)]), cat(&[&value(1), &value(2), &value(3)])),
        vector("a frame and a half, then the rest", "2 (4)")
            .bytes(cat(&[&read(1), &read(2)[..5]]), value(1))
            .bytes(cat(&[&read(2)[5..], &read(3)[..7]]), value(2))
            .bytes(&read(3)[7..], value(3)),
        vector("a frame of 8 bytes is the shortest", "2 (1)").bytes(frame(1, 1, &[7]), frame(1, 1, &[7, 0x6D])),
        vector("a frame of 260 bytes is the longest", "2 (1)")
            .bytes(frame(1, 1, &longest), frame(1, 1, &longest))
            .bytes(cat(&[&frame(2, 1, &longest), &read(3)]), cat(&[&frame(2, 1, &longest), &value(3)])),
        vector("any number of simple requests in one segment succeeds", "6.2")
            .bytes(read(5).repeat(100), value(5).repeat(100)),
        vector("a peer that ends its side between frames gets FIN", "6.1").bytes(read(1), value(1)).step(
            Does::Fin,
            vec![],
            true,
        ),
        vector("a peer that ends its side at once gets FIN", "6.1").step(Does::Fin, vec![], true),
    ]
}

fn foreign() -> Vec<Vector> {
    vec![
        vector("a frame of another protocol is skipped", "2 (3), 11")
            .bytes([0, 1, 0, 1, 0, 6, 1, 3, 0, 0, 0, 1], [])
            .bytes(read(2), value(2)),
        vector("a frame of another protocol is skipped within a segment", "2 (3)").bytes(
            cat(&[&read(1), &[0, 9, 0x01, 0, 0, 2, 1, 7], &read(2), &[0, 9, 0, 1, 0, 3, 1, 7, 7], &read(3)]),
            cat(&[&value(1), &value(2), &value(3)]),
        ),
        vector("a long frame of another protocol is skipped whole, in pieces", "2 (3)")
            .bytes([0, 1, 0xFF, 0xFF, 0, 254, 1], [])
            .bytes([0x11; 200], [])
            .bytes(cat(&[&[0x11; 53], &read(2)]), value(2)),
    ]
}

fn lost() -> Vec<Vector> {
    let http = b"GET / HTTP/1.1\r\nHost: example.invalid\r\n\r\n";
    vec![
        vector("length 0 ends the connection", "2 (2), 11").ends([0, 1, 0, 0, 0, 0], []),
        vector("length 1 ends the connection", "2 (2), 11").ends([0, 1, 0, 0, 0, 1], []),
        vector("length 255 ends the connection at its second byte", "2 (2), 11")
            .bytes([0, 1, 0, 0, 0], [])
            .ends([255], []),
        vector("length 65535 ends the connection", "2 (2), 11").ends([0, 1, 0, 0, 255, 255], []),
        vector("length 256 ends the connection", "2 (2)").ends([0, 1, 0, 0, 1, 0], []),
        vector("a write of 124 registers has length 255 and ends the connection", "11")
            .ends(cat(&[&[0, 1, 0, 0, 0, 255, 1], &span(16, 0, 124), &[248], &[0; 248]]), []),
        vector("a bad length is judged before the protocol id", "2 (3)").ends([0, 1, 0, 1, 0, 0], []),
        vector("replies to earlier frames are sent before the end", "2 (2), 11")
            .ends(cat(&[&read(1), &read(2), &[0, 3, 0, 0, 0, 0]]), cat(&[&value(1), &value(2)])),
        vector("nothing after a bad length is taken", "2 (2)")
            .ends(cat(&[&read(1), &[0, 3, 0, 0, 0, 1], &read(2)]), value(1))
            .step(Does::Bytes(read(3)), vec![], true)
            .step(Does::Fin, vec![], true),
        vector("HTTP ends at its sixth byte", "11").ends(http.as_slice(), []),
        vector("TLS ends at its sixth byte", "11").ends([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], []),
        vector("a stream that ends inside a header is closed", "2 (6), 11").bytes(&read(1)[..3], []).step(
            Does::Fin,
            vec![],
            true,
        ),
        vector("a stream that ends inside a frame is closed after the earlier replies", "2 (6), 11")
            .bytes(cat(&[&read(1), &read(2)[..11]]), value(1))
            .step(Does::Fin, vec![], true),
    ]
}
