//! What the fuzz targets do with their bytes. Each body is an ordinary function, so that the seeds in `fuzz/seeds` are
//! replayed by the ordinary tests and a finding is debugged without a fuzzer.

use crate::fixture::{LATER, Plant, UnitLast, UnitZero, Unknown};
use crate::modbus::{CORE_BUFFER, Core};
use crate::naive::Naive;
use crate::vectors::{Server, frame, hex};
use wharf_core::modbus::mbap::{self, Decoded};
use wharf_core::modbus::pdu::{Reply, Request, request::named_span};

/// What a target does with its bytes; it panics at a finding.
pub type Body = fn(&[u8]);

/// The name of every target and its body.
pub const TARGETS: [(&str, Body); 3] = [("mbap_stream", mbap_stream), ("request", request), ("connection", connection)];

/// Any split of a stream gives the same frames.
///
/// Byte 0 says how many bytes arrive at a time; the stream follows.
///
/// # Panics
/// When the frames differ, or a frame does not encode to the bytes it was decoded from.
pub fn mbap_stream(data: &[u8]) {
    let Some((&step, stream)) = data.split_first() else { return };
    let whole = frames(stream);
    let mut held = Vec::new();
    let mut pieces = Vec::new();
    for piece in stream.chunks(usize::from(step).max(1)) {
        held.extend(piece);
        let (found, rest) = frames(&held);
        pieces.extend(found);
        let Some(rest) = rest else {
            assert_eq!((pieces, None), whole);
            return;
        };
        held = rest;
    }
    assert_eq!((pieces, Some(held)), whole);
}

/// The frames at the front of a stream as wire bytes, each with whether it is Modbus, and what is left: `None` where
/// frame boundaries are lost.
type Cutting = (Vec<(bool, Vec<u8>)>, Option<Vec<u8>>);

fn frames(mut stream: &[u8]) -> Cutting {
    let mut found = Vec::new();
    loop {
        let (len, native) = match mbap::decode(stream) {
            Err(_) => return (found, None),
            Ok(Decoded::Incomplete { need }) => {
                assert!(need > stream.len() && need <= mbap::MAX_FRAME, "needs {need} with {}", stream.len());
                return (found, Some(stream.to_vec()));
            }
            Ok(Decoded::Foreign { protocol, len }) => {
                assert_ne!(protocol, 0);
                (len, false)
            }
            Ok(Decoded::Frame { frame, len }) => {
                let mut out = [0; mbap::MAX_FRAME];
                assert_eq!(mbap::encode(&frame, &mut out), Some(len));
                assert_eq!(out[..len], stream[..len]);
                (len, true)
            }
        };
        assert!((8..=mbap::MAX_FRAME).contains(&len), "a frame of {len} bytes");
        found.push((native, stream[..len].to_vec()));
        stream = &stream[len..];
    }
}

/// Decoding a request never panics, and what is accepted encodes to the same bytes.
///
/// Byte 0 says how many bytes are the request; the rest is looked at as a reply to it.
///
/// # Panics
/// When the bytes differ.
pub fn request(data: &[u8]) {
    let Some((&len, rest)) = data.split_first() else { return };
    let (pdu, reply) = rest.split_at(usize::from(len).min(rest.len()).min(mbap::MAX_PDU));
    let _any = named_span(pdu);
    let Ok(request) = Request::decode(pdu) else { return };
    let mut out = [0; mbap::MAX_PDU];
    let len = request.encode(&mut out).expect("253 bytes take every request");
    assert_eq!(hex(&out[..len]), hex(pdu));
    assert_eq!(request.function(), pdu[0]);
    let _any = Reply::decode(&request, reply);
}

/// Bytes in one script, at most: no more requests than the connection under test has room for replies to, so that it
/// never has to wait for its socket. The shortest request has 8 bytes, the longest reply 260.
const MAX_BYTES: usize = CORE_BUFFER / 260 * 8 - 8;

/// A whole connection against the naive server: whatever comes in, the same bytes go out.
///
/// Byte 0 chooses the policies. Then come steps: a byte whose low three bits name the step and whose top bit hands the
/// bytes over one by one, and its operands. 0 to 3: a frame (unit, length, PDU); 4: bytes (length, bytes);
/// 5: deferred request `nth` is answered; 6: it fails (nth, exception); 7: the peer ends its side.
///
/// # Panics
/// When the servers differ.
pub fn connection(data: &[u8]) {
    let mut data = Cursor(data);
    let Some(policies) = data.byte() else { return };
    let plant = plant(policies);
    let (mut core, mut naive) = (Core::new(&plant), Naive::new(&plant));
    let mut sent = 0;
    while let Some(step) = data.byte() {
        let one_by_one = step & 0x80 != 0;
        match step & 7 {
            0..=4 => {
                let bytes = if step & 7 == 4 {
                    let len = usize::from(data.byte().unwrap_or(0));
                    data.bytes(len).to_vec()
                } else {
                    let unit = [1, 2, 3, 4, 0, 255, 9, 1][usize::from(data.byte().unwrap_or(0) & 7)];
                    let len = 1 + usize::from(data.byte().unwrap_or(0)).min(252);
                    let pdu = data.bytes(len);
                    frame(u16::from(step) << 8 | u16::from(policies), unit, if pdu.is_empty() { &[7] } else { pdu })
                };
                sent += bytes.len();
                if sent > MAX_BYTES || bytes.is_empty() {
                    return;
                }
                let expected = naive.bytes(&bytes);
                let got = if one_by_one {
                    bytes.iter().flat_map(|byte| core.bytes(&[*byte])).collect()
                } else {
                    core.bytes(&bytes)
                };
                same(&got, &expected, &format!("after {}", hex(&bytes)));
            }
            5 => {
                let nth = usize::from(data.byte().unwrap_or(0));
                let pdu = [LATER, step];
                same(&core.answer(nth, Ok(&pdu)), &naive.answer(nth, Ok(&pdu)), &format!("after reply {nth}"));
            }
            6 => {
                let nth = usize::from(data.byte().unwrap_or(0));
                let code = data.byte().unwrap_or(1).max(1);
                same(&core.answer(nth, Err(code)), &naive.answer(nth, Err(code)), &format!("after failure {nth}"));
            }
            _ => same(&core.fin(), &naive.fin(), "after FIN"),
        }
        assert_eq!(core.has_ended(), naive.has_ended(), "whether the connection has ended, after step {step:02X}");
    }
}

fn same(got: &[u8], expected: &[u8], when: &str) {
    assert!(got == expected, "{when}\n  naive {}\n  core  {}", hex(expected), hex(got));
}

/// The standard plant with policies chosen by the bits of a byte, and without its largest file, which would take most
/// of the fuzzer's time.
fn plant(choice: u8) -> Plant {
    let mut plant = Plant::standard();
    plant.unit(1).files.retain(|file| file.number != 4);
    plant.unit_0 =
        [UnitZero::Device, UnitZero::Broadcast, UnitZero::BroadcastReply, UnitZero::Ignore][usize::from(choice & 3)];
    plant.unit_255 =
        [UnitLast::Device, UnitLast::Unit, UnitLast::Ignore, UnitLast::Device][usize::from(choice >> 2 & 3)];
    plant.unknown_unit =
        [Unknown::NoTarget, Unknown::NoPath, Unknown::Silent, Unknown::Default][usize::from(choice >> 4 & 3)];
    plant.no_serial_functions = choice & 0x40 != 0;
    plant
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}
