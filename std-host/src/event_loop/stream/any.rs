//! What a loop takes over and gives back: streams that belong to no loop.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// A connected stream, or another descriptor that can be polled. Made from a [`TcpStream`], a [`UnixStream`] or an
/// [`OwnedFd`], of which connected sockets are recognised.
#[derive(Debug)]
pub enum AnyStream {
    /// A TCP stream.
    Tcp(TcpStream),
    /// A stream between UNIX sockets.
    Unix(UnixStream),
    /// No stream socket: a pseudo-terminal, a FIFO.
    Other(OwnedFd),
}

impl From<TcpStream> for AnyStream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for AnyStream {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl From<OwnedFd> for AnyStream {
    fn from(fd: OwnedFd) -> Self {
        let socket = socket2::SockRef::from(&fd);
        let is_stream = socket.r#type().is_ok_and(|kind| kind == socket2::Type::STREAM);
        match socket.local_addr() {
            Ok(addr) if is_stream && addr.is_unix() => Self::Unix(fd.into()),
            Ok(addr) if is_stream && addr.as_socket().is_some() => Self::Tcp(fd.into()),
            Ok(_) | Err(_) => Self::Other(fd),
        }
    }
}

impl From<AnyStream> for OwnedFd {
    fn from(stream: AnyStream) -> Self {
        match stream {
            AnyStream::Tcp(stream) => stream.into(),
            AnyStream::Unix(stream) => stream.into(),
            AnyStream::Other(fd) => fd,
        }
    }
}
