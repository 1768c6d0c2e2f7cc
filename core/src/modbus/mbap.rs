//! MBAP framing: the seven bytes that stand before a PDU on TCP (MG 3.1.3).
//!
//! Plain functions over slices. A frame is 8..=260 bytes: transaction id (2), protocol id (2, zero), length (2, the
//! bytes after it), unit id (1) and a PDU of 1..=253 bytes (AP 4.1). MG prints no bounds for the length; 2..=254
//! follows from the bounds of the PDU.
//!
//! [`decode`] judges the length as soon as its second byte is there. A length outside of its bounds means that frame
//! boundaries are lost for good: the connection can only end. Another protocol in a frame of legal length is skipped
//! whole and the connection goes on.

/// Bytes of the header, the unit id included (MG 3.1.3).
pub const HEADER_LEN: usize = 7;
/// The longest PDU in bytes (AP 4.1).
pub const MAX_PDU: usize = 253;
/// The longest frame in bytes: header and PDU (AP 4.1).
pub const MAX_FRAME: usize = 260;
/// The least value of the length field: unit id and a PDU of one byte.
pub const MIN_LENGTH: u16 = 2;
/// The greatest value of the length field: unit id and a PDU of 253 bytes.
pub const MAX_LENGTH: u16 = 254;

/// Bytes up to and including the length field, after which a frame's end is known.
const PREFIX_LEN: usize = 6;

/// One frame, its PDU borrowed from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frame<'a> {
    /// Chosen by the client, copied to the reply.
    pub transaction: u16,
    /// Selects the unit, copied to the reply.
    pub unit: u8,
    /// 1..=253 bytes: the function code and its data.
    pub pdu: &'a [u8],
}

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Decoded<'a> {
    /// The front is a beginning: the frame is not decided before it has this many bytes (1..=260).
    Incomplete {
        /// Length of the frame if its length field is there, otherwise the bytes up to the end of that field.
        need: usize,
    },
    /// A whole Modbus frame.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// Its bytes on the wire, 8..=260.
        len: usize,
    },
    /// A whole frame of another protocol, to be skipped without an answer (MG 4.4.2.2).
    Foreign {
        /// Its protocol id, not 0.
        protocol: u16,
        /// Its bytes on the wire, 8..=260.
        len: usize,
    },
}

/// The length field cannot be: frame boundaries are lost and the connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The length field is 0 or 1.
    LengthShort {
        /// The length field.
        length: u16,
    },
    /// The length field is above 254.
    LengthLong {
        /// The length field.
        length: u16,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::LengthShort { length } => write!(f, "mbap length {length} is below {MIN_LENGTH}"),
            Self::LengthLong { length } => write!(f, "mbap length {length} is above {MAX_LENGTH}"),
        }
    }
}

impl core::error::Error for Error {}

/// Decodes what stands at the front of `stream`, which may go on after it.
///
/// # Errors
/// When the length field cannot be. It is judged before the protocol id, and before any byte behind it has come.
pub fn decode(stream: &[u8]) -> Result<Decoded<'_>, Error> {
    let Some((&[t0, t1, p0, p1, l0, l1], rest)) = stream.split_first_chunk::<PREFIX_LEN>() else {
        return Ok(Decoded::Incomplete { need: PREFIX_LEN });
    };
    let length = u16::from_be_bytes([l0, l1]);
    if length < MIN_LENGTH {
        return Err(Error::LengthShort { length });
    }
    if length > MAX_LENGTH {
        return Err(Error::LengthLong { length });
    }
    let len = PREFIX_LEN.saturating_add(usize::from(length));
    let Some((&unit, pdu)) = rest.get(..usize::from(length)).and_then(<[u8]>::split_first) else {
        return Ok(Decoded::Incomplete { need: len });
    };
    Ok(match u16::from_be_bytes([p0, p1]) {
        0 => Decoded::Frame { frame: Frame { transaction: u16::from_be_bytes([t0, t1]), unit, pdu }, len },
        protocol => Decoded::Foreign { protocol, len },
    })
}

/// The header of a frame whose PDU has `pdu_len` bytes. A length above 253 is written as 253.
#[must_use]
pub fn header(transaction: u16, unit: u8, pdu_len: usize) -> [u8; HEADER_LEN] {
    #[expect(clippy::cast_possible_truncation, reason = "at most 253 by the line itself")]
    let length = (pdu_len.min(MAX_PDU) as u16).saturating_add(1);
    let ([t0, t1], [l0, l1]) = (transaction.to_be_bytes(), length.to_be_bytes());
    [t0, t1, 0, 0, l0, l1, unit]
}

/// Writes a frame to the front of `out` and returns its bytes on the wire, or `None` where the PDU is not 1..=253 bytes
/// long or `out` is too short for the frame; then nothing is written.
#[must_use]
pub fn encode(frame: &Frame<'_>, out: &mut [u8]) -> Option<usize> {
    if frame.pdu.is_empty() || frame.pdu.len() > MAX_PDU {
        return None;
    }
    let len = HEADER_LEN.checked_add(frame.pdu.len())?;
    let (head, body) = out.get_mut(..len)?.split_first_chunk_mut::<HEADER_LEN>()?;
    *head = header(frame.transaction, frame.unit, frame.pdu.len());
    body.copy_from_slice(frame.pdu);
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: [u8; 12] = [0x12, 0x34, 0, 0, 0, 6, 0x11, 3, 0, 0, 0, 10];

    #[test]
    fn a_frame_needs_all_of_its_bytes_and_no_more() {
        for cut in 0..READ.len() {
            let need = if cut < 6 { 6 } else { 12 };
            assert_eq!(decode(&READ[..cut]), Ok(Decoded::Incomplete { need }), "cut at {cut}");
        }
        let frame = Frame { transaction: 0x1234, unit: 0x11, pdu: &READ[7..] };
        assert_eq!(decode(&READ), Ok(Decoded::Frame { frame, len: 12 }));
        let mut more = [0xAA; 40];
        more[..12].copy_from_slice(&READ);
        assert_eq!(decode(&more), Ok(Decoded::Frame { frame, len: 12 }));
    }

    #[test]
    fn the_length_is_judged_with_its_second_byte_and_before_the_protocol() {
        for length in [0u16, 1] {
            let [a, b] = length.to_be_bytes();
            assert_eq!(decode(&[0, 0, 9, 9, a, b]), Err(Error::LengthShort { length }));
        }
        for length in [255u16, 256, 65535] {
            let [a, b] = length.to_be_bytes();
            assert_eq!(decode(&[0, 0, 9, 9, a, b]), Err(Error::LengthLong { length }));
        }
        for length in [2u16, 254] {
            let [a, b] = length.to_be_bytes();
            assert_eq!(
                decode(&[0, 0, 0, 0, a, b]),
                Ok(Decoded::Incomplete { need: 6 + usize::from(length) }),
                "length {length}"
            );
        }
    }

    #[test]
    fn another_protocol_is_known_only_when_its_frame_is_whole() {
        let foreign = [0, 1, 0, 1, 0, 3, 9, 9, 9];
        assert_eq!(decode(&foreign[..8]), Ok(Decoded::Incomplete { need: 9 }));
        assert_eq!(decode(&foreign), Ok(Decoded::Foreign { protocol: 1, len: 9 }));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let mut wire = [0; MAX_FRAME];
        for len in [1, 5, MAX_PDU] {
            let pdu = [7; MAX_PDU];
            let frame = Frame { transaction: 0xBEEF, unit: 255, pdu: &pdu[..len] };
            let written = encode(&frame, &mut wire).unwrap();
            assert_eq!(decode(&wire), Ok(Decoded::Frame { frame, len: written }));
        }
        assert_eq!(encode(&Frame { transaction: 0, unit: 0, pdu: &[] }, &mut wire), None);
        assert_eq!(encode(&Frame { transaction: 0, unit: 0, pdu: &[0; 254] }, &mut wire), None);
        assert_eq!(encode(&Frame { transaction: 0, unit: 0, pdu: &[0; 2] }, &mut wire[..8]), None);
    }
}
