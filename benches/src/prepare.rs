//! What the load does to a server outside the measured time: it writes the registers that will be read, reads them
//! back, and at the end looks whether the last write of the run is what the server holds.
//!
//! One blocking connection, one request at a time, each reply verified.

use crate::client::Failure;
use crate::wire::{Function, READ_AREA, Ticket, WRITE_QUANTITY, WRITE_START, pattern, verify};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A blocking connection to the server under load.
#[derive(Debug)]
pub struct Probe {
    stream: TcpStream,
    unit: u8,
    transaction: u16,
}

impl Probe {
    /// Connects; no call on the probe waits longer than `patience` for one reply.
    ///
    /// # Errors
    /// [`Failure::Unreachable`].
    pub fn connect(address: SocketAddr, unit: u8, patience: Duration) -> Result<Self, Failure> {
        let stream = TcpStream::connect_timeout(&address, patience)
            .and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                Ok(stream)
            })
            .map_err(|error| Failure::Unreachable(format!("connect {address}: {error}")))?;
        Ok(Self { stream, unit, transaction: 0 })
    }

    /// Writes the pattern to the registers that function 3 will read, and reads it back.
    ///
    /// # Errors
    /// [`Failure::Wrong`] if the server does not answer right.
    pub fn lay_pattern(&mut self) -> Result<(), Failure> {
        // Well below the largest write, which is itself a load that a server may fail.
        for address in (0..READ_AREA).step_by(50) {
            self.ask(Function::Write, address, 50, 0)?;
        }
        for address in (0..READ_AREA).step_by(10) {
            self.ask(Function::Read, address, 10, 0)?;
        }
        Ok(())
    }

    /// Reads the registers that function 16 wrote. They must hold one of `tags`, those of the last write of each
    /// connection, whole.
    ///
    /// # Errors
    /// [`Failure::Wrong`] if they hold anything else.
    pub fn find_last_write(&mut self, tags: &[u16]) -> Result<(), Failure> {
        // The first register is read by a request that accepts any value, the tag follows from it, and then every
        // register is read by requests that accept only that tag's.
        let mut bytes = Vec::new();
        let ticket = self.ticket(Function::Read, WRITE_START, 10, 0);
        ticket.encode_request(&mut bytes);
        let mut reply = vec![0; ticket.function.reply_len(ticket.quantity)];
        self.exchange(&bytes, &mut reply)?;
        let tag = u16::from_be_bytes([reply[9], reply[10]]) ^ pattern(WRITE_START);
        if !tags.contains(&tag) {
            return Err(Failure::Wrong("after the run the registers do not hold the last write".into()));
        }
        let last = WRITE_START + WRITE_QUANTITY - 10;
        for address in (WRITE_START..last).step_by(10).chain([last]) {
            self.ask(Function::Read, address, 10, tag)?;
        }
        Ok(())
    }

    fn ticket(&mut self, function: Function, address: u16, quantity: u16, tag: u16) -> Ticket {
        self.transaction = self.transaction.wrapping_add(1);
        Ticket { transaction: self.transaction, unit: self.unit, function, address, quantity, tag }
    }

    /// One request and its verified reply.
    fn ask(&mut self, function: Function, address: u16, quantity: u16, tag: u16) -> Result<(), Failure> {
        let ticket = self.ticket(function, address, quantity, tag);
        let (mut request, mut expected) = (Vec::new(), Vec::new());
        ticket.encode_request(&mut request);
        ticket.encode_reply(&mut expected);
        let mut reply = vec![0; expected.len()];
        let have = self.exchange(&request, &mut reply)?;
        match verify(&expected, &reply[..have]) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Failure::Wrong(format!(
                "outside the run, {function:?} x{quantity}: {have} bytes of a reply, then none"
            ))),
            Err(why) => Err(Failure::Wrong(format!("outside the run, {function:?} x{quantity}: {why}"))),
        }
    }

    /// Sends `request` and fills `reply` as far as the frame's own length field says, at most whole.
    fn exchange(&mut self, request: &[u8], reply: &mut [u8]) -> Result<usize, Failure> {
        let lost = |error: &std::io::Error| Failure::Wrong(format!("connection lost: {error}"));
        self.stream.write_all(request).map_err(|error| lost(&error))?;
        let mut have = 0;
        loop {
            let announced =
                if have < 6 { reply.len() } else { 6 + usize::from(u16::from_be_bytes([reply[4], reply[5]])) };
            if have >= announced.min(reply.len()) {
                return Ok(have);
            }
            match self.stream.read(&mut reply[have..]) {
                Ok(0) => return Ok(have),
                Ok(more) => have += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(have),
                Err(error) => return Err(lost(&error)),
            }
        }
    }
}
