//! Messages in a ring: what each read gives, against a reader that looks at every byte anew each time.
//!
//! # Script
//!
//! The size of the ring, halved and less one; where it begins; a terminator; then steps, each of which is a byte with its
//! operands behind it. Whatever is above a limit wraps, and bytes for which the ring has no room do not come.
//!
//! | byte | step, operands |
//! | --- | --- |
//! | 0 | bytes come: how many, below 32, and the bytes |
//! | 1 | the beginning of the terminator comes, or all of it: how many bytes of it |
//! | 2 | one byte comes several times: which, how often |
//! | 3 | a read: its room, 255 standing for any |
//! | 4 | a read that can wait no longer: the same |
//! | 5 | whole messages are read as long as there are any |
//! | 6 | another terminator: as at the beginning |
//! | 7 | a flush |
//! | 8 | bytes leave by number: how many |
//! | 9 | the input ends, and nothing comes from now on |
//!
//! A terminator is its form and its length. Form 0: the bytes follow. 1: `a` and, as the last, `b`. 2: `a` and `b` in
//! turn. 3: `a` alone.

use super::super::Source;
use crate::naive::port::framing::{CNT, END, EOS, Matter, Queue, split};
use wharf_core::port::framing::{Error, Flow, Piece, Scan, Terminator};

/// More steps than this prove nothing new and only slow the fuzzer down.
const MAX_STEPS: usize = 200;
const ANY: usize = usize::MAX;

/// Plays a script on a scan over a ring, and on the naive queue.
///
/// # Panics
/// When they give different pieces, or when a byte is lost or comes twice.
pub fn port_framing(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(&mut source);
    for _ in 0..MAX_STEPS {
        if source.is_empty() {
            break;
        }
        rig.step(&mut source);
    }
    rig.finish(usize::from(source.byte()) + 1);
}

/// Bytes that wrap.
struct Ring {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let at = (self.start + self.len) % self.bytes.len();
            self.bytes[at] = byte;
            self.len += 1;
        }
    }

    fn shown(&self) -> [&[u8]; 2] {
        let end = self.start + self.len;
        let wrapped = end.saturating_sub(self.bytes.len());
        [&self.bytes[self.start..end - wrapped], &self.bytes[..wrapped]]
    }

    fn pop(&mut self, len: usize) -> Vec<u8> {
        let popped = self.shown().concat()[..len].to_vec();
        self.start = (self.start + len) % self.bytes.len();
        self.len -= len;
        popped
    }
}

struct Rig {
    ring: Ring,
    scan: Scan,
    terminator: Terminator,
    naive: Queue,
    ended: bool,
    /// All bytes that came, and all that left, in order.
    came: Vec<u8>,
    left: Vec<u8>,
    /// Messages, and the bytes read behind the last of them.
    messages: Vec<Vec<u8>>,
    open: Vec<u8>,
    /// One terminator from the first byte on, and no byte left unread.
    undisturbed: bool,
}

impl Rig {
    fn new(source: &mut Source<'_>) -> Self {
        let capacity = 2 * (usize::from(source.byte()) + 1);
        let start = usize::from(source.byte()) % capacity;
        let mut rig = Self {
            ring: Ring { bytes: vec![0xEE; capacity], start, len: 0 },
            scan: Scan::START,
            terminator: Terminator::OFF,
            naive: Queue::default(),
            ended: false,
            came: Vec::new(),
            left: Vec::new(),
            messages: Vec::new(),
            open: Vec::new(),
            undisturbed: true,
        };
        rig.set_terminator(source);
        rig
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() % 10 {
            0 => {
                let count = source.byte() % 32;
                self.receive(source.take(count.into()));
            }
            1 => {
                let terminator = self.terminator;
                let count = usize::from(source.byte()) % (terminator.len() + 1);
                self.receive(&terminator.as_bytes()[..count]);
            }
            2 => {
                let byte = source.byte();
                self.receive(&vec![byte; source.byte().into()]);
            }
            3 => {
                let room = room(source);
                self.read(room, false);
            }
            4 => {
                let room = room(source);
                self.read(room, true);
            }
            // The end of input is told again and again to who asks for it.
            5 => while self.read(ANY, false).is_some_and(|piece| piece.taken() > 0) {},
            6 => {
                self.set_terminator(source);
                self.undisturbed = false;
            }
            7 => {
                self.left.extend(self.ring.pop(self.ring.len));
                self.scan.restart();
                self.naive.bytes.clear();
                self.undisturbed = false;
            }
            8 => {
                let count = usize::from(source.byte()) % (self.ring.len + 1);
                self.left.extend(self.ring.pop(count));
                self.scan.consumed(count);
                self.naive.bytes.drain(..count);
                self.undisturbed = false;
            }
            _ => self.ended = true,
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let room = if self.ended { 0 } else { self.ring.bytes.len() - self.ring.len };
        let bytes = &bytes[..bytes.len().min(room)];
        self.ring.push(bytes);
        self.naive.bytes.extend(bytes);
        self.came.extend(bytes);
    }

    fn set_terminator(&mut self, source: &mut Source<'_>) {
        let (form, len) = (source.byte() % 4, usize::from(source.byte()));
        let bytes: Vec<u8> = match form {
            0 => source.take(len).to_vec(),
            1 => (1..=len).map(|nth| if nth < len { b'a' } else { b'b' }).collect(),
            2 => b"ab".iter().copied().cycle().take(len).collect(),
            _ => vec![b'a'; len],
        };
        let terminator = Terminator::new(&bytes).expect("255 bytes are not too many");
        assert_eq!(terminator.as_bytes(), bytes);
        let capacity = self.ring.bytes.len();
        if 2 * bytes.len() > capacity {
            assert_eq!(terminator.check_queue(capacity), Err(Error::AboveHalf { len: bytes.len(), capacity }));
            return;
        }
        assert_eq!(terminator.check_queue(capacity), Ok(()));
        self.terminator = terminator;
        self.naive.terminator = bytes;
        self.scan.restart();
    }

    fn read(&mut self, room: usize, timed_out: bool) -> Option<Piece> {
        let full = self.ring.len == self.ring.bytes.len();
        let (flow, matter) = match (self.ended, full, timed_out) {
            (true, _, _) => (Flow::Ended, Matter::Ended),
            (_, true, _) => (Flow::Full, Matter::Full),
            (_, _, true) => (Flow::TimedOut, Matter::Timeout),
            (false, false, false) => (Flow::Open, Matter::Nothing),
        };
        let piece = self.scan.next(&self.terminator, self.ring.shown(), room, flow);
        assert_eq!(self.scan.next(&self.terminator, self.ring.shown(), room, flow), piece, "asked again");
        if room == 0 {
            assert_eq!(piece, None, "there is no room");
            return None;
        }
        let expected = self.naive.read(room, matter);
        let told = piece.map(|piece| {
            let taken = self.ring.pop(piece.taken());
            self.scan.consumed(piece.taken());
            self.left.extend(&taken);
            (taken[..piece.len].to_vec(), piece.skip, piece.eom.bits())
        });
        assert_eq!(told, expected.map(|read| (read.bytes, read.removed, read.eom)), "room {room}, {flow:?}");
        assert_eq!(self.ring.shown().concat(), self.naive.bytes);
        let (bytes, skip, eom) = told?;
        assert!([0, CNT, EOS, END].contains(&eom), "one reason at most: {eom}");
        assert!(!bytes.is_empty() || skip > 0 || eom == END, "a read that gives nothing waits");
        assert!(eom != END || self.ring.len == 0, "nothing comes behind the end");
        self.open.extend(bytes);
        if eom == EOS {
            self.messages.push(std::mem::take(&mut self.open));
        }
        piece
    }

    /// Reads what is there, and looks back.
    fn finish(&mut self, room: usize) {
        self.ended = true;
        while self.read(room, false).is_some_and(|piece| piece.taken() > 0) {}
        assert_eq!(self.left, self.came, "every byte leaves once, in order");
        if self.undisturbed {
            let (messages, open) = split(&self.came, self.terminator.as_bytes());
            assert_eq!((&self.messages, &self.open), (&messages, &open), "messages depend on the stream alone");
        }
    }
}

fn room(source: &mut Source<'_>) -> usize {
    match source.byte() {
        255 => ANY,
        room => room.into(),
    }
}
