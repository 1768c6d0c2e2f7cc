//! A bare `mio` server of given byte counts: the most that an epoll server on one thread can do for such a load.
//!
//! For each `reads` bytes it receives it owes `writes` bytes of [`ECHO_FILL`]. It looks at nothing, and does per
//! readiness what a request cannot do without: one wait, one read, one write.

use crate::wire::ECHO_FILL;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

/// The server, bound but not yet running.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    listener: TcpListener,
    reads: usize,
    writes: usize,
}

const LISTENER: Token = Token(usize::MAX);
static FILL: [u8; 64 * 1024] = [ECHO_FILL; 64 * 1024];

impl Server {
    /// Binds `address`. For each `reads` bytes (at least 1) received, `writes` bytes will be sent.
    ///
    /// # Errors
    /// Those of the system, when the address cannot be had.
    pub fn bind(address: SocketAddr, reads: usize, writes: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { poll, listener, reads: reads.max(1), writes })
    }

    /// The address bound.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the system fails.
    ///
    /// # Errors
    /// Of epoll or of accept(2).
    pub fn run(mut self) -> io::Result<()> {
        let mut clients: Vec<Option<Client>> = Vec::new();
        let mut free = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept(&mut clients, &mut free)?;
                    continue;
                }
                let index = event.token().0;
                let Some(client) = &mut clients[index] else { continue };
                if client.ready(&mut buffer, self.reads, self.writes).is_err() {
                    clients[index] = None;
                    free.push(index);
                }
            }
        }
    }

    fn accept(&mut self, clients: &mut Vec<Option<Client>>, free: &mut Vec<usize>) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = free.pop().unwrap_or_else(|| {
                clients.push(None);
                clients.len() - 1
            });
            self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            clients[index] = Some(Client { stream, received: 0, owed: 0 });
        }
    }
}

struct Client {
    stream: TcpStream,
    /// Bytes received of the next request.
    received: usize,
    /// Bytes still to send.
    owed: usize,
}

impl Client {
    fn ready(&mut self, buffer: &mut [u8], reads: usize, writes: usize) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    self.received += len;
                    self.owed += self.received / reads * writes;
                    self.received %= reads;
                    if len < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        while self.owed > 0 {
            match self.stream.write(&FILL[..self.owed.min(FILL.len())]) {
                Ok(len) => self.owed -= len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_request_in_two_parts_is_answered_once_and_when_it_is_whole() {
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 12, 29).unwrap();
        let mut client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        std::thread::spawn(move || server.run());
        let mut reply = [0; 29];
        client.write_all(&[0; 17]).unwrap();
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, [ECHO_FILL; 29]);
        client.write_all(&[0; 7]).unwrap();
        client.read_exact(&mut reply).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut reply).unwrap(), 0);
    }
}
