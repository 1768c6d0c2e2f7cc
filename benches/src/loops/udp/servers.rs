//! UDP echo servers on Wharf's loop and on others, one thread each. They say `listening ADDRESS` when they do.
//!
//! What the system does not take for sending is lost, as datagrams may be.

use crate::loops::servers::wharf::answer_on;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use wharf_host::event_loop::{Error, Loop, LoopOptions, Out, Packets, Stats, Udp, UdpHandler, UdpOptions};

/// The most bytes of a datagram that a server takes: the same for all, and what Wharf has room for by default.
const BUFFER: usize = 2048;

/// What Wharf's server has counted of itself, in answer to a line on its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Calls that receive, those that found nothing included.
    pub receives: u64,
    /// Calls that send.
    pub sends: u64,
}

struct Echo;

impl UdpHandler for Echo {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        let mut back = [Out::default(); 64];
        for (out, packet) in back.iter_mut().zip(batch) {
            *out = Out::to(packet.peer, packet.payload);
        }
        let _ = u.send(&back[..batch.len()]);
    }
}

/// Serves on Wharf's loop, which takes up to `batch` datagrams with one call.
///
/// # Errors
/// Those of the loop.
pub fn wharf(address: SocketAddr, batch: usize) -> io::Result<()> {
    let failed = |error: Error| io::Error::other(error.to_string());
    let options = LoopOptions { udp_batch: batch, udp_payload: BUFFER, ..LoopOptions::default() };
    let mut lp = Loop::with_options((), options).map_err(failed)?;
    let mut set = lp.loop_mut();
    let id = set.bind_udp(address, Echo, UdpOptions::default()).map_err(failed)?;
    let bound = set.udp(id).and_then(|udp| udp.local_addr()).map_err(failed)?;
    answer_on(&mut lp.loop_mut(), counts).map_err(failed)?;
    println!("listening {bound}");
    lp.run().map_err(failed)
}

const fn counts(stats: &Stats) -> Counts {
    Counts {
        received: stats.datagrams_in,
        sent: stats.datagrams_out,
        receives: stats.datagram_reads,
        sends: stats.datagram_writes,
    }
}

/// Serves on bare `mio`: one call to receive and one to send for each datagram, until nothing is left; then it waits.
///
/// # Errors
/// Of epoll or of recvfrom(2).
pub fn bare(address: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut socket = mio::net::UdpSocket::bind(address)?;
    poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
    println!("listening {}", socket.local_addr()?);
    let mut buffer = vec![0; BUFFER];
    let mut events = Events::with_capacity(16);
    loop {
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((len, peer)) => {
                    let _ = socket.send_to(&buffer[..len], peer);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Serves on tokio's current-thread runtime, as its documentation shows it.
///
/// # Errors
/// Those of the runtime, of binding and of recvfrom(2).
#[cfg(feature = "peers")]
pub fn tokio(address: SocketAddr) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = tokio::net::UdpSocket::bind(address).await?;
        println!("listening {}", socket.local_addr()?);
        let mut buffer = vec![0; BUFFER];
        loop {
            let (len, peer) = socket.recv_from(&mut buffer).await?;
            let _ = socket.send_to(&buffer[..len], peer).await;
        }
    })
}
