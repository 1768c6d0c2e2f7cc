//! A blocking Modbus TCP client: one connection, one request at a time, a deadline for each.
//!
//! It belongs to the command line alone. Its connection is good for the next request only after a proper reply, normal
//! or exception; after any other failure it must be dropped, because a late reply could be taken for the next one.

use super::target::Host;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use wharf_core::modbus::mbap::{self, Decoded, Frame, MAX_FRAME, MAX_PDU};
use wharf_core::modbus::pdu::{Exception, Reply, ReplyError, Request};

/// Why there is no normal reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// No connection, or it ended before a byte of the reply came.
    Connect(String),
    /// The time was over.
    Timeout,
    /// The server answered with an exception.
    Exception(Exception),
    /// What came is no reply to the request.
    Protocol {
        /// What is wrong with it.
        why: String,
        /// What came.
        bytes: Vec<u8>,
    },
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    timeout: Option<Duration>,
    transaction: u16,
}

impl Connection {
    /// Connects to the first address of `host` that accepts, all of them within `timeout`.
    pub(super) fn open(host: &Host, timeout: Option<Duration>) -> Result<Self, NoReply> {
        let deadline = Deadline::after(timeout);
        let addresses = (host.name.as_str(), host.port)
            .to_socket_addrs()
            .map_err(|error| NoReply::Connect(format!("cannot resolve {host}: {error}")))?;
        let mut failure = NoReply::Connect(format!("{host} has no address"));
        for address in addresses {
            let connected = match deadline.left()? {
                Some(left) => TcpStream::connect_timeout(&address, left),
                None => TcpStream::connect(address),
            };
            match connected {
                // Requests are single small segments that nothing should hold back; without it they are only slower.
                Ok(stream) => {
                    drop(stream.set_nodelay(true));
                    return Ok(Self { stream, timeout, transaction: 0 });
                }
                Err(error) => failure = NoReply::Connect(format!("cannot connect to {address}: {error}")),
            }
        }
        Err(failure)
    }

    /// Sends `request` to `unit`, waits for its reply in `buffer`, and returns it.
    pub(super) fn ask<'b>(
        &mut self,
        unit: u8,
        request: &Request<'_>,
        buffer: &'b mut [u8; MAX_FRAME],
    ) -> Result<Reply<'b>, NoReply> {
        self.transaction = self.transaction.wrapping_add(1);
        let deadline = Deadline::after(self.timeout);
        self.send(unit, request, deadline)?;
        let received = receive(buffer, |room| self.read(room, deadline))?;
        let broken = |why: String| NoReply::Protocol { why, bytes: received.to_vec() };
        let frame = match mbap::decode(received) {
            Ok(Decoded::Frame { frame, len }) if len == received.len() => frame,
            Ok(Decoded::Frame { len, .. }) => return Err(broken(format!("{} bytes too many", received.len() - len))),
            Ok(Decoded::Foreign { protocol, .. }) => {
                return Err(broken(format!("protocol id {protocol} instead of 0")));
            }
            Ok(Decoded::Incomplete { .. }) => return Err(broken("the connection ended inside the reply".to_owned())),
            Err(error) => return Err(broken(error.to_string())),
        };
        if frame.transaction != self.transaction {
            return Err(broken(format!("transaction id {} instead of {}", frame.transaction, self.transaction)));
        }
        if frame.unit != unit {
            return Err(broken(format!("unit id {} instead of {unit}", frame.unit)));
        }
        Reply::decode(request, frame.pdu).map_err(|error| {
            if let ReplyError::Exception(exception) = error {
                return NoReply::Exception(exception);
            }
            broken(error.to_string())
        })
    }

    fn send(&mut self, unit: u8, request: &Request<'_>, deadline: Deadline) -> Result<(), NoReply> {
        let (mut pdu, mut frame) = ([0; MAX_PDU], [0; MAX_FRAME]);
        let len = request.encode(&mut pdu).and_then(|len| {
            let pdu = pdu.get(..len)?;
            mbap::encode(&Frame { transaction: self.transaction, unit, pdu }, &mut frame)
        });
        let bytes = len.and_then(|len| frame.get(..len)).expect("253 bytes hold every request that is in bounds");
        let left = deadline.left()?;
        self.stream.set_write_timeout(left).and_then(|()| self.stream.write_all(bytes)).map_err(|error| failed(&error))
    }

    fn read(&mut self, room: &mut [u8], deadline: Deadline) -> Result<usize, NoReply> {
        loop {
            let left = deadline.left()?;
            match self.stream.set_read_timeout(left).and_then(|()| self.stream.read(room)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|error| failed(&error)),
            }
        }
    }
}

/// Reads until a frame is whole, cannot become one, or the stream ends inside it.
fn receive(
    buffer: &mut [u8; MAX_FRAME],
    mut read: impl FnMut(&mut [u8]) -> Result<usize, NoReply>,
) -> Result<&[u8], NoReply> {
    let mut filled = 0;
    while filled < MAX_FRAME && matches!(mbap::decode(&buffer[..filled]), Ok(Decoded::Incomplete { .. })) {
        match read(&mut buffer[filled..])? {
            0 if filled == 0 => {
                return Err(NoReply::Connect("the server closed the connection without a reply".to_owned()));
            }
            0 => break,
            count => filled += count,
        }
    }
    Ok(&buffer[..filled])
}

/// When to stop waiting, if ever.
#[derive(Clone, Copy, Debug)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The time that is left, never zero, which sockets take for no limit.
    fn left(self) -> Result<Option<Duration>, NoReply> {
        let Some(deadline) = self.0 else { return Ok(None) };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(NoReply::Timeout),
            left => Ok(Some(left)),
        }
    }
}

fn failed(error: &io::Error) -> NoReply {
    if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        return NoReply::Timeout;
    }
    NoReply::Connect(format!("the connection failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_comes_byte_by_byte_is_put_together() {
        let frame = [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 42];
        let mut bytes = frame.iter();
        let mut buffer = [0; MAX_FRAME];
        let received = receive(&mut buffer, |room| {
            room[0] = *bytes.next().expect("nothing is read behind the frame");
            Ok(1)
        });
        assert_eq!(received.unwrap(), frame);
    }

    #[test]
    fn a_length_that_cannot_be_is_not_waited_for() {
        let mut bytes = [0, 1, 0, 0, 0, 0].iter();
        let mut buffer = [0; MAX_FRAME];
        let received = receive(&mut buffer, |room| {
            room[0] = *bytes.next().expect("nothing is read behind the length");
            Ok(1)
        });
        assert_eq!(received.unwrap().len(), 6);
    }
}
