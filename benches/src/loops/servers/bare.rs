//! Echo on bare `mio`: one wait, one read and one write for a message, and nothing else that can be left out.
//!
//! It is edge-triggered; a read that does not fill the buffer has emptied the socket, so it is not repeated. Write
//! interest is armed once a write has come up short.

use super::BUFFER;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

const LISTENER: Token = Token(usize::MAX);

/// Serves until the system fails.
///
/// # Errors
/// Of epoll or of accept(2).
pub fn serve(address: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("listening {}", listener.local_addr()?);
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, poll.registry(), &mut clients, &mut free)?;
                continue;
            }
            let index = event.token().0;
            let Some(client) = &mut clients[index] else { continue };
            if client.ready(&mut buffer, poll.registry(), event.token()).is_err() {
                clients[index] = None;
                free.push(index);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    registry: &Registry,
    clients: &mut Vec<Option<Client>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
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
        registry.register(&mut stream, Token(index), Interest::READABLE)?;
        clients[index] = Some(Client { stream, unsent: Vec::new(), waits: false });
    }
}

struct Client {
    stream: TcpStream,
    /// Bytes for which the kernel had no room.
    unsent: Vec<u8>,
    /// Write interest is armed.
    waits: bool,
}

impl Client {
    fn ready(&mut self, buffer: &mut [u8], registry: &Registry, token: Token) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let taken = write(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..taken);
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => {
                    let taken = if self.unsent.is_empty() { write(&mut self.stream, &buffer[..len])? } else { 0 };
                    self.unsent.extend_from_slice(&buffer[taken..len]);
                    if len < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if !self.unsent.is_empty() && !self.waits {
            self.waits = true;
            registry.reregister(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)?;
        }
        Ok(())
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(len) => {
                taken += len;
                if taken < bytes.len() {
                    // A short write has filled the kernel's buffer.
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
