//! Messages cut out of a queue of bytes: the rules of end of message, read once more.

/// The reader's buffer was filled, or a full queue holds no terminator.
pub const CNT: u8 = 1;
/// The terminator was found and removed.
pub const EOS: u8 = 2;
/// The input has ended.
pub const END: u8 = 4;

/// What is the matter with a queue beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Nothing: the reader waits for what is to come.
    Nothing,
    /// No byte more has room in it.
    Full,
    /// No byte more will ever come.
    Ended,
    /// The reader does not wait any longer.
    Timeout,
}

/// What a read gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The bytes that the reader gets.
    pub bytes: Vec<u8>,
    /// How many bytes of the terminator were removed behind them.
    pub removed: usize,
    /// The sum of the reasons.
    pub eom: u8,
}

/// Received bytes that nobody has read.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// The first to be read in front.
    pub bytes: Vec<u8>,
    /// None of them: no terminator.
    pub terminator: Vec<u8>,
}

impl Queue {
    /// Reads at most `room` bytes, of which there is at least one. `None` if the reader gets nothing yet.
    pub fn read(&mut self, room: usize, matter: Matter) -> Option<Read> {
        let waits_for_a_terminator = !self.terminator.is_empty();
        // Up to the first place where the terminator stands, or may yet stand: as far as there are bytes, it is there.
        let mut data = self.bytes.len();
        let mut found = false;
        for at in (0..self.bytes.len()).rev() {
            let here = &self.bytes[at..];
            if waits_for_a_terminator && here.starts_with(&self.terminator) {
                (data, found) = (at, true);
            } else if waits_for_a_terminator && matter != Matter::Ended && self.terminator.starts_with(here) {
                (data, found) = (at, false);
            }
        }
        if data >= room {
            return Some(self.take(room, 0, CNT));
        }
        if found {
            return Some(self.take(data, self.terminator.len(), EOS));
        }
        if matter == Matter::Ended && self.bytes.is_empty() {
            return Some(self.take(0, 0, END));
        }
        if data == 0 || (matter == Matter::Nothing && waits_for_a_terminator) {
            return None;
        }
        let cut = matter == Matter::Full && waits_for_a_terminator;
        Some(self.take(data, 0, if cut { CNT } else { 0 }))
    }

    fn take(&mut self, len: usize, removed: usize, eom: u8) -> Read {
        let bytes = self.bytes.drain(..len).collect();
        self.bytes.drain(..removed);
        Read { bytes, removed, eom }
    }
}

/// The messages of a whole stream, and what stands behind the last terminator.
#[must_use]
pub fn split(stream: &[u8], terminator: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut messages, mut open) = (Vec::new(), Vec::new());
    for &byte in stream {
        open.push(byte);
        if !terminator.is_empty() && open.ends_with(terminator) {
            open.truncate(open.len() - terminator.len());
            messages.push(std::mem::take(&mut open));
        }
    }
    (messages, open)
}
