//! One connection of the load: its outstanding requests, its partial reply, its unsent bytes.

use super::{Failure, Options};
use crate::measure::{Phase, Tally};
use crate::wire::{ECHO_FILL, OWN_QUANTITY, OWN_START, Operation, READ_AREA, Ticket, WRITE_START, verify};
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

/// A request on its way.
#[derive(Clone, Copy)]
struct Pending {
    operation: Operation,
    ticket: Ticket,
    sent: Instant,
}

pub(super) struct Connection {
    number: u16,
    stream: TcpStream,
    /// In order of sending, which is the order that replies come in on one connection (MG 4.4.2.1 lets a client pair
    /// them by transaction id; every server here answers in order, and one that does not is found out by its data).
    pending: VecDeque<Pending>,
    /// Begin of a reply whose rest has yet to come.
    partial: Vec<u8>,
    /// Bytes the kernel had no room for.
    unsent: Vec<u8>,
    expected: Vec<u8>,
    sequence: u16,
    /// Tag of the last write of [`Operation::WriteMost`] that was answered.
    written: Option<u16>,
}

impl Connection {
    /// Connects, blocking.
    pub(super) fn open(options: &Options, number: u16) -> std::io::Result<Self> {
        let stream = std::net::TcpStream::connect_timeout(&options.address, options.patience)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            number,
            stream: TcpStream::from_std(stream),
            pending: VecDeque::with_capacity(options.depth),
            partial: Vec::new(),
            unsent: Vec::new(),
            expected: Vec::new(),
            sequence: 0,
            written: None,
        })
    }

    pub(super) fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn last_write(&self) -> Option<u16> {
        self.written
    }

    /// Sends the first requests, as many as the depth.
    pub(super) fn begin(&mut self, options: &Options, now: Instant) -> Result<(), Failure> {
        for _ in 0..options.depth {
            self.ask(options, now);
        }
        self.flush()
    }

    /// Works off what the socket has. Gives the time of the last right reply, if there was one.
    pub(super) fn ready(
        &mut self,
        options: &Options,
        buffer: &mut [u8],
        tally: &mut Tally,
    ) -> Result<Option<Instant>, Failure> {
        let mut last = None;
        loop {
            let len = match self.stream.read(buffer) {
                Ok(0) => return Err(self.closed()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.lost(&error)),
            };
            let now = Instant::now();
            if self.accept(options, &buffer[..len], now, tally)? {
                last = Some(now);
            }
            if len < buffer.len() {
                break;
            }
        }
        self.flush()?;
        Ok(last)
    }

    /// Verifies what has been read and asks anew for each right reply. True if there was one.
    fn accept(&mut self, options: &Options, bytes: &[u8], now: Instant, tally: &mut Tally) -> Result<bool, Failure> {
        if self.partial.is_empty() {
            let used = self.take_replies(options, bytes, now, tally)?;
            self.partial.extend_from_slice(&bytes[used..]);
            return Ok(used > 0);
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(bytes);
        let used = self.take_replies(options, &joined, now, tally)?;
        joined.drain(..used);
        self.partial = joined;
        Ok(used > 0)
    }

    /// How many bytes at the front of `bytes` are whole right replies.
    fn take_replies(
        &mut self,
        options: &Options,
        bytes: &[u8],
        now: Instant,
        tally: &mut Tally,
    ) -> Result<usize, Failure> {
        let mut used = 0;
        while used < bytes.len() {
            let Some(&Pending { operation, ticket, sent }) = self.pending.front() else {
                return Err(Failure::Wrong(format!("connection {}: bytes that nothing asked for", self.number)));
            };
            self.expected.clear();
            if options.echo {
                self.expected.resize(operation.reply_len(), ECHO_FILL);
            } else {
                ticket.encode_reply(&mut self.expected);
            }
            match verify(&self.expected, &bytes[used..]) {
                Ok(Some(len)) => used += len,
                Ok(None) => break,
                Err(why) => {
                    return Err(Failure::Wrong(format!("connection {}, {}: {why}", self.number, operation)));
                }
            }
            tally.reply(sent, now);
            if operation == Operation::WriteMost {
                self.written = Some(ticket.tag);
            }
            self.pending.pop_front();
            if tally.phase != Phase::Rest {
                self.ask(options, now);
            }
        }
        Ok(used)
    }

    /// Queues the next request.
    fn ask(&mut self, options: &Options, now: Instant) {
        self.sequence = self.sequence.wrapping_add(1);
        let operation = options.mix[usize::from(self.sequence) % options.mix.len()];
        let (address, tag) = match operation {
            Operation::ReadTen | Operation::ReadMost => {
                (self.sequence.wrapping_mul(7) % (READ_AREA - operation.quantity() + 1), 0)
            }
            Operation::WriteMost => (WRITE_START, self.sequence.wrapping_add(self.number << 7)),
            Operation::ReadWrite => {
                // The echo server has no registers that could run out.
                let own = if options.echo { 0 } else { self.number * OWN_QUANTITY };
                (OWN_START + own, self.sequence)
            }
        };
        let transaction = self.sequence.wrapping_add(self.number.wrapping_mul(257));
        let (function, quantity) = (operation.function(), operation.quantity());
        let ticket = Ticket { transaction, unit: options.unit, function, address, quantity, tag };
        ticket.encode_request(&mut self.unsent);
        self.pending.push_back(Pending { operation, ticket, sent: now });
    }

    fn flush(&mut self) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(len) => {
                    self.unsent.drain(..len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.lost(&error)),
            }
        }
        Ok(())
    }

    fn closed(&self) -> Failure {
        Failure::Wrong(format!(
            "connection {} closed with {} replies owed, after {} bytes of the next",
            self.number,
            self.pending.len(),
            self.partial.len()
        ))
    }

    fn lost(&self, error: &std::io::Error) -> Failure {
        Failure::Wrong(format!("connection {} lost: {error}", self.number))
    }
}
