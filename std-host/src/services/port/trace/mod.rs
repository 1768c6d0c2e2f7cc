//! Trace: what goes over a port, as text (section 11).
//!
//! A [`Transfer`] is bytes that went one way at one moment. A [`Style`] writes it as one line and, with [`Formats::HEX`],
//! rows below:
//!
//! ```text
//! 2031-05-06T07:08:09.123456Z dev:3 < 7 *IDN?\r\n
//! 0000  2a 49 44 4e 3f 0d 0a                             *IDN?..
//! ```
//!
//! `<` comes from the client and `>` goes to it. The number is the true length; no more than [`Style::limit`] bytes are
//! shown. Every byte is shown as printable ASCII, so that no client writes to the terminal of who reads the trace, or begins
//! a line of its own.
//!
//! Which transfers are traced, and where the text goes, is not decided here. There is no clock: the time is the caller's.

mod file_name;
mod sets;
#[cfg(test)]
mod tests;

pub use file_name::{FileName, FileNameError};
pub use sets::{Formats, Levels, Parts};

use crate::calendar::Utc;
use crate::services::port::options::escape;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

/// The bytes of one row of [`Formats::HEX`].
const ROW: usize = 16;

/// How a transfer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// How its bytes are shown.
    pub formats: Formats,
    /// What stands before them.
    pub parts: Parts,
    /// The most bytes that are shown.
    pub limit: u32,
}

/// Bytes that went one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// When. A moment before 1970 is shown as the first of that year.
    pub at: SystemTime,
    /// The name of the port.
    pub port: &'a str,
    /// The slot; `None` for a port without children.
    pub slot: Option<u16>,
    /// Who is at the other end of such a port, if it is one.
    pub peer: Option<SocketAddr>,
    /// What in the host has written this, such as `file.rs:12`.
    pub source: &'a str,
    /// The name of its thread.
    pub thread: &'a str,
    /// Which way.
    pub direction: Direction,
    /// The bytes, in two pieces as a ring has them.
    pub bytes: [&'a [u8]; 2],
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Rx,
    /// To the client.
    Tx,
}

impl Style {
    /// Appends the text of a transfer to `text`: lines with a newline between them and none at the end. It allocates
    /// only what `text` has no room for.
    pub fn write(&self, transfer: &Transfer<'_>, text: &mut String) {
        let [first, second] = transfer.bytes;
        let limit = self.limit as usize;
        let shown = [&first[..first.len().min(limit)], &second[..second.len().min(limit.saturating_sub(first.len()))]];
        self.write_parts(transfer, text);
        let arrow = match transfer.direction {
            Direction::Rx => '<',
            Direction::Tx => '>',
        };
        append(text, format_args!("{arrow} {}", first.len() + second.len()));
        if shown.iter().any(|piece| !piece.is_empty()) {
            if self.formats.contains(Formats::ESCAPE) {
                text.push(' ');
                shown.iter().for_each(|piece| escape::print_to(text, piece));
            } else if self.formats.contains(Formats::ASCII) {
                text.push(' ');
                text.extend(shown.iter().copied().flatten().map(|byte| printable(*byte)));
            }
        }
        if self.formats.contains(Formats::HEX) {
            rows(shown, text);
        }
    }

    /// What stands before the arrow, each part with a blank behind it.
    pub(super) fn write_parts(&self, transfer: &Transfer<'_>, text: &mut String) {
        if self.parts.contains(Parts::TIME) {
            append(text, format_args!("{} ", Utc::at(transfer.at)));
        }
        if self.parts.contains(Parts::PORT) {
            text.push_str(transfer.port);
            if let Some(slot) = transfer.slot {
                append(text, format_args!(":{slot}"));
            }
            text.push(' ');
            if let Some(peer) = transfer.peer {
                append(text, format_args!("{peer} "));
            }
        }
        if self.parts.contains(Parts::SOURCE) {
            append(text, format_args!("[{}] ", transfer.source));
        }
        if self.parts.contains(Parts::THREAD) {
            append(text, format_args!("[{}] ", transfer.thread));
        }
    }
}

/// Rows of offset, bytes in hexadecimal, and the same bytes as characters.
fn rows(pieces: [&[u8]; 2], text: &mut String) {
    let len = pieces[0].len() + pieces[1].len();
    let byte = |at: usize| pieces[0].get(at).or_else(|| pieces[1].get(at - pieces[0].len()));
    for offset in (0..len).step_by(ROW) {
        append(text, format_args!("\n{offset:04x} "));
        let row = || (offset..offset + ROW).map(byte);
        for byte in row() {
            match byte {
                Some(byte) => append(text, format_args!(" {byte:02x}")),
                None => text.push_str("   "),
            }
        }
        text.push_str("  ");
        text.extend(row().flatten().map(|byte| printable(*byte)));
    }
}

const fn printable(byte: u8) -> char {
    match byte {
        b' '..=b'~' => byte as char,
        _ => '.',
    }
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes whatever it is given");
}
