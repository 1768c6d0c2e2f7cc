//! What threads hear of a UDP port.

use crate::services::port::calls::{Feed, Item};
use crate::services::port::udp::running::{Origin, RunningUdp};
use crate::services::port::udp::subscribers::{Received, UdpSubscriber};
use wharf_core::port::datagrams::Event;

/// What a subscriber of a UDP port is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UdpTold {
    /// Something happened.
    Event(Event),
    /// A datagram has come.
    Datagram {
        /// All of it.
        bytes: Vec<u8>,
        /// Who sent it, whether it was cut, and when it came.
        from: Origin,
    },
    /// So many datagrams are gone that came before the next one: they were dropped when the ring was full.
    Lost(u64),
    /// So many of the above came before the next one and were not taken in time.
    Missed(u64),
}

impl Item for UdpTold {
    fn missed(count: u64) -> Self {
        Self::Missed(count)
    }

    fn bytes(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Datagram { bytes, .. } => Some(bytes),
            Self::Event(_) | Self::Lost(_) | Self::Missed(_) => None,
        }
    }
}

/// One that gets every datagram.
pub(super) struct Ear(pub(super) Feed<UdpTold>);

impl UdpSubscriber for Ear {
    fn event(&mut self, _: &mut RunningUdp<'_>, event: &Event) {
        self.0.tell(UdpTold::Event(*event));
    }

    fn datagram(&mut self, _: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        let Received { bytes, peer, truncated, at } = *datagram;
        self.0.tell_with(UdpTold::Datagram { bytes: Vec::new(), from: Origin { peer, truncated, at } }, bytes);
    }

    fn lost(&mut self, _: &mut RunningUdp<'_>, count: u64) {
        self.0.tell(UdpTold::Lost(count));
    }

    fn has_left(&self) -> bool {
        self.0.has_left()
    }
}

/// One that hears of events alone, and is none for whom datagrams are kept.
pub(super) struct Watch(pub(super) Feed<UdpTold>);

impl UdpSubscriber for Watch {
    fn hears_datagrams(&self) -> bool {
        false
    }

    fn event(&mut self, _: &mut RunningUdp<'_>, event: &Event) {
        self.0.tell(UdpTold::Event(*event));
    }

    fn has_left(&self) -> bool {
        self.0.has_left()
    }
}
