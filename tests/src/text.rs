//! What the sides of a connection send: bytes that depend on who sends them and on their offset, so that a lost,
//! repeated or foreign byte is found. The first eight are the sender's number.

use crate::rng::Rng;
use std::sync::LazyLock;

/// Bytes at the begin of each stream that tell whose it is.
pub const HEADER: usize = 8;

/// A prime: a shift by a power of two, as that of a lost block, shows.
const PERIOD: usize = 1_048_573;

static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| Rng::new(0).bytes(PERIOD));

/// What the side `number` sends from `offset` on.
#[must_use]
pub fn text(number: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    let header = number.to_be_bytes();
    if let Some(rest) = usize::try_from(offset).ok().and_then(|offset| header.get(offset..)) {
        bytes.extend(rest.iter().take(len));
    }
    while bytes.len() < len {
        let at = (number.wrapping_mul(104_729) + offset + bytes.len() as u64) % PERIOD as u64;
        let piece = &NOISE[usize::try_from(at).expect("it is less than the period")..];
        bytes.extend(&piece[..piece.len().min(len - bytes.len())]);
    }
    bytes
}

/// One direction of a connection as its receiver sees it.
#[derive(Debug, Default)]
pub struct Heard {
    /// Bytes received, those that were thrown away included.
    pub count: u64,
    /// As much of the header as was delivered without a gap.
    pub header: Vec<u8>,
}

impl Heard {
    /// The sender's number, once it is known.
    #[must_use]
    pub fn sender(&self) -> Option<u64> {
        <[u8; HEADER]>::try_from(self.header.as_slice()).ok().map(u64::from_be_bytes)
    }

    /// The next bytes.
    ///
    /// # Panics
    /// If they are not those that the sender sends here.
    pub fn take(&mut self, who: u64, bytes: &[u8]) {
        if self.count == self.header.len() as u64 {
            self.header.extend(bytes.iter().take(HEADER - self.header.len()));
        }
        if let Some(sender) = self.sender() {
            let expected = text(sender, self.count, bytes.len());
            // The whole first: to look for one byte is slow.
            if bytes != expected {
                let same = bytes.iter().zip(&expected).take_while(|(one, other)| one == other).count();
                panic!("side {who}: byte {} of side {sender} is wrong", self.count + same as u64);
            }
        }
        self.count += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_does_not_depend_on_how_it_is_cut() {
        let whole = text(7, 0, 3 * PERIOD);
        assert_eq!(whole[..HEADER], 7_u64.to_be_bytes());
        for (from, len) in [(0, 3), (3, 9), (PERIOD - 5, PERIOD + 9), (8, 0)] {
            assert_eq!(text(7, from as u64, len), whole[from..from + len], "{from} {len}");
        }
        assert_ne!(text(8, 8, 100), whole[8..108]);
    }

    #[test]
    #[should_panic(expected = "byte 20 of side 7 is wrong")]
    fn a_lost_byte_is_found() {
        let mut bytes = text(7, 0, 100);
        bytes.remove(20);
        Heard::default().take(8, &bytes);
    }
}
