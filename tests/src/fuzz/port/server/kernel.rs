//! The system under a port, as far as a port can see it: sockets that hold bytes, take bytes and break.

use crate::rng::Rng;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};
use wharf_core::port::server::Failure;
use wharf_core::slots::SlotId;

/// What the peers send is made of these: terminators, their beginnings, and other bytes.
const ALPHABET: &[u8] = b"aab\r\r\nxyz";

/// One client's socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// From the peer, not read yet.
    pub(super) incoming: VecDeque<u8>,
    /// The peer has ended its output, behind those bytes.
    pub(super) fin: bool,
    pub(super) broken: Option<Failure>,
    /// Bytes that may be written before the socket is full.
    pub(super) window: usize,
    /// Our output has ended.
    pub(super) shut: bool,
    voice: Rng,
}

impl Socket {
    pub(super) fn new(id: SlotId, window: usize) -> Self {
        Self { incoming: VecDeque::new(), fin: false, broken: None, window, shut: false, voice: Rng::new(id.to_bits()) }
    }

    /// The peer sends so many bytes.
    pub(super) fn send(&mut self, len: usize) {
        if self.fin {
            return;
        }
        for _ in 0..len {
            self.incoming.push_back(*self.voice.pick(ALPHABET));
        }
    }

    pub(super) fn read(&mut self, max: usize) -> Answer {
        if let Some(kind) = self.broken {
            return Answer::Failed(kind);
        }
        let len = max.min(self.incoming.len());
        if len > 0 {
            let bytes = self.incoming.drain(..len).collect();
            // A read that was filled says nothing about what is left.
            return Answer::Received { bytes, more: len == max || self.fin };
        }
        if self.fin { Answer::Ended } else { Answer::ReadBlocked }
    }

    pub(super) fn write(&mut self, shown: usize, most: usize) -> Answer {
        assert!(!self.shut, "output after its end");
        if let Some(kind) = self.broken {
            return Answer::Failed(kind);
        }
        let len = shown.min(self.window).min(most);
        self.window -= len;
        if len > 0 { Answer::Transmitted(len) } else { Answer::WriteBlocked }
    }
}

/// What the system says to a read or a write.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Received { bytes: Vec<u8>, more: bool },
    ReadBlocked,
    Ended,
    Transmitted(usize),
    WriteBlocked,
    Failed(Failure),
}

/// All sockets, and who waits in front of the door.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    pub(super) sockets: BTreeMap<SlotId, Socket>,
    pub(super) waiting: Option<SocketAddr>,
    callers: u16,
}

impl Kernel {
    /// The address of one more caller, in one of two networks.
    pub(super) fn caller(&mut self, network: u8) -> SocketAddr {
        self.callers = self.callers.wrapping_add(1);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, network & 1, 7)), self.callers)
    }
}
