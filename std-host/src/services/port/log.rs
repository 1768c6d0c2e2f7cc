//! `mode = "log"`: what clients send is appended to a file, a line for each message.
//!
//! A line is the time, the name of the slot, and the message without its terminator, with backslash sequences for what is
//! no printable ASCII: a client can neither end a line nor begin one. With the input terminator off, whatever has arrived
//! is a message.

use super::lines::{Lines, Sink};
use super::options::escape;
use super::running::Running;
use super::subscribers::Subscriber;
use crate::calendar::Utc;
use std::cell::RefCell;
use std::fmt::Write;
use std::fs::OpenOptions;
use std::io;
use std::rc::Rc;
use std::time::SystemTime;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::{Command, Event, Reason};
use wharf_core::slots::SlotId;

/// Bytes of the longest line's message; a longer one has several.
const CHUNK: usize = 64 * 1024;

/// The one who writes what clients send.
#[derive(Debug)]
pub(super) struct Log {
    lines: Rc<RefCell<Lines>>,
    file: Sink,
    buffer: Vec<u8>,
}

impl Log {
    pub(super) fn new(lines: Rc<RefCell<Lines>>, path: &str) -> Self {
        Self { lines, file: Sink::File(path.into()), buffer: vec![0; CHUNK] }
    }

    fn take(&mut self, port: &mut Running<'_>, slot: SlotId) {
        while let Some(piece) = port.piece(slot, self.buffer.len()) {
            if piece.eom == Eom::END {
                // Both are refused only if the client has just left.
                let _ = port.command(Command::TakeEnd { index: slot.index() });
                let _ = port.command(Command::Drop { slot, reason: Reason::PeerClosed });
                return;
            }
            let message = &mut self.buffer[..piece.len];
            port.copy(slot, message);
            self.lines.borrow_mut().put(&self.file, |text| {
                write!(text, "{} {}:{} ", Utc::at(SystemTime::now()), port.name(), slot.index())
                    .expect("a string takes whatever it is given");
                escape::print_to(text, message);
            });
            if port.command(Command::Consume { slot, len: piece.taken() }).is_err() {
                return;
            }
        }
    }
}

impl Subscriber for Log {
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        if let Event::DataReady { slot } | Event::InputEnded { slot } = *event {
            self.take(port, slot);
        }
    }
}

/// Whether the file can be appended to. What is no ordinary file is not tried, because opening it may wait.
pub(super) fn check(path: &str) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        _ => OpenOptions::new().append(true).create(true).open(path).map(drop),
    }
}
