//! Frame cutting: segmentation carries no meaning.

use super::Source;
use wharf_core::modbus::mbap::{self, Decoded};
use wharf_core::modbus::server::{Config, Connection, Input, MIN_BUFFER, Output, Transaction};
use wharf_core::modbus::service::{Answer, Discard, Indication, ReplyPdu, Service};
use wharf_core::{Instant, Machine, Step};

/// What a stream holds, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Frame {
        transaction: u16,
        unit: u8,
        pdu: Vec<u8>,
    },
    Foreign {
        protocol: u16,
    },
    /// The length field cannot be; nothing comes behind it.
    Lost {
        length: u16,
    },
}

/// Cuts a stream whole and in pieces, with the codec alone and through a connection, and by a second rule written from
/// section 2 of the specification. The first byte says how many of the next are lengths of pieces, taken in turn.
///
/// # Panics
/// When they do not agree.
pub fn mbap_stream(data: &[u8]) {
    let mut source = Source::new(data);
    let count = usize::from(source.byte() % 16);
    let lengths = source.take(count);
    let stream = source.0;
    let (expected, _) = by_the_specification(stream);
    assert_eq!(by_the_codec(stream, &[]), expected, "the codec, whole");
    assert_eq!(by_the_codec(stream, lengths), expected, "the codec, in pieces of {lengths:?}");
    let whole = by_a_connection(stream, &[]);
    assert_eq!(whole.pieces(), of_a_connection(&expected), "a connection, whole");
    assert_eq!(by_a_connection(stream, lengths), whole, "a connection, in pieces of {lengths:?}");
}

/// The pieces of a stream and how many bytes they take.
pub(super) fn by_the_specification(stream: &[u8]) -> (Vec<Piece>, usize) {
    let word = |at: usize| u16::from(stream[at]) << 8 | u16::from(stream[at + 1]);
    let (mut pieces, mut at) = (Vec::new(), 0);
    while stream.len() >= at + 6 {
        let length = word(at + 4);
        if !(2..=254).contains(&length) {
            pieces.push(Piece::Lost { length });
            return (pieces, stream.len());
        }
        let end = at + 6 + usize::from(length);
        if stream.len() < end {
            break;
        }
        pieces.push(match word(at + 2) {
            0 => Piece::Frame { transaction: word(at), unit: stream[at + 6], pdu: stream[at + 7..end].to_vec() },
            protocol => Piece::Foreign { protocol },
        });
        at = end;
    }
    (pieces, at)
}

/// The lengths of the pieces in turn, 0 standing for 256; without any, one piece.
pub(super) fn split<'s>(stream: &'s [u8], lengths: &[u8]) -> Vec<&'s [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), stream);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let length = if *length == 0 { 256 } else { usize::from(*length) };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

fn by_the_codec(stream: &[u8], lengths: &[u8]) -> Vec<Piece> {
    let (mut pieces, mut kept) = (Vec::new(), Vec::new());
    for segment in split(stream, lengths) {
        kept.extend_from_slice(segment);
        loop {
            match mbap::decode(&kept) {
                Ok(Decoded::Incomplete { need }) => {
                    assert!(need > kept.len() && need <= mbap::MAX_FRAME, "{need} bytes needed of {}", kept.len());
                    break;
                }
                Ok(Decoded::Frame { frame, len }) => {
                    let mut wire = [0; mbap::MAX_FRAME];
                    assert_eq!(mbap::encode(&frame, &mut wire), Some(len));
                    assert_eq!(wire[..len], kept[..len], "a frame encodes back");
                    assert_eq!(wire[..7], mbap::header(frame.transaction, frame.unit, frame.pdu.len()));
                    let (transaction, unit, pdu) = (frame.transaction, frame.unit, frame.pdu.to_vec());
                    pieces.push(Piece::Frame { transaction, unit, pdu });
                    kept.drain(..len);
                }
                Ok(Decoded::Foreign { protocol, len }) => {
                    pieces.push(Piece::Foreign { protocol });
                    kept.drain(..len);
                }
                Err(mbap::Error::LengthShort { length } | mbap::Error::LengthLong { length }) => {
                    pieces.push(Piece::Lost { length });
                    return pieces;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    pieces
}

/// What a connection made of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    asked: Vec<(u8, Vec<u8>)>,
    discarded: Vec<Discard>,
    sent: Vec<u8>,
    ended: bool,
}

/// The same without what was sent, which follows from what was asked.
type Pieces = (Vec<(u8, Vec<u8>)>, Vec<Discard>, bool);

impl Taken {
    fn pieces(&self) -> Pieces {
        (self.asked.clone(), self.discarded.clone(), self.ended)
    }
}

fn of_a_connection(expected: &[Piece]) -> Pieces {
    let (mut asked, mut discarded) = (Vec::new(), Vec::new());
    for piece in expected {
        match piece {
            Piece::Frame { unit, pdu, .. } => asked.push((*unit, pdu.clone())),
            Piece::Foreign { .. } => discarded.push(Discard::ProtocolId),
            Piece::Lost { length: 0 | 1 } => discarded.push(Discard::LengthShort),
            Piece::Lost { .. } => discarded.push(Discard::LengthLong),
        }
    }
    let ended = matches!(expected.last(), Some(Piece::Lost { .. }));
    (asked, discarded, ended)
}

/// Answers every request with itself.
#[derive(Debug, Default)]
struct Echo(Vec<(u8, Vec<u8>)>);

impl Service for Echo {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        self.0.push((request.unit, request.pdu.to_vec()));
        reply[..request.pdu.len()].copy_from_slice(request.pdu);
        Answer::Reply { len: request.pdu.len() }
    }
}

fn by_a_connection(stream: &[u8], lengths: &[u8]) -> Taken {
    let places: [Transaction; 0] = [];
    let mut connection = Connection::new(Config::DEFAULT, [0; MIN_BUFFER + 64], places, Instant::ORIGIN);
    let (mut echo, mut taken) = (Echo::default(), Taken::default());
    for segment in split(stream, lengths) {
        let mut rest = segment;
        while !rest.is_empty() {
            let input = Input::Received { bytes: rest, service: &mut echo };
            connection.handle_input(Instant::ORIGIN, input).expect("bytes are welcome");
            let done = connection.taken();
            assert!(done > 0, "a connection whose peer reads takes something");
            rest = &rest[done..];
            while let Step::Do(output) = connection.poll_output() {
                match output {
                    Output::Transmit => {
                        let shown = connection.transmit().concat();
                        taken.sent.extend_from_slice(&shown);
                        let input = Input::Transmitted { len: shown.len() };
                        connection.handle_input(Instant::ORIGIN, input).expect("what was shown may leave");
                    }
                    Output::Discarded(reason) => taken.discarded.push(reason),
                    Output::CloseWrite => taken.ended = true,
                    Output::Pause | Output::Resume | Output::Processed(_) => {}
                    Output::Close { .. } => panic!("closed before the peer has ended"),
                }
            }
        }
    }
    let replies: Vec<u8> = by_the_specification(stream)
        .0
        .iter()
        .filter_map(|piece| match piece {
            Piece::Frame { transaction, unit, pdu } => {
                Some([&mbap::header(*transaction, *unit, pdu.len())[..], pdu].concat())
            }
            Piece::Foreign { .. } | Piece::Lost { .. } => None,
        })
        .flatten()
        .collect();
    assert_eq!(taken.sent, replies, "every request is echoed");
    taken.asked = echo.0;
    taken
}
