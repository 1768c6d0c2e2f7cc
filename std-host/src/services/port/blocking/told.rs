//! What threads hear of a TCP port.

use crate::services::port::calls::{Feed, Item};
use crate::services::port::running::Running;
use crate::services::port::subscribers::Subscriber;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Event;
use wharf_core::slots::SlotId;

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// Something happened.
    Event(Event),
    /// A client with `consumer` `"push"` or `"both"` has sent a message.
    Message {
        /// Who.
        slot: SlotId,
        /// Without its terminator.
        bytes: Vec<u8>,
        /// Why it ends there.
        eom: Eom,
    },
    /// So many of the above came before the next one and were not taken in time.
    Missed(u64),
}

impl Item for Told {
    fn missed(count: u64) -> Self {
        Self::Missed(count)
    }

    fn bytes(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Message { bytes, .. } => Some(bytes),
            Self::Event(_) | Self::Missed(_) => None,
        }
    }
}

impl Subscriber for Feed<Told> {
    fn event(&mut self, _: &mut Running<'_>, event: &Event) {
        self.tell(Told::Event(*event));
    }

    fn message(&mut self, _: &mut Running<'_>, slot: SlotId, bytes: &[u8], eom: Eom) {
        self.tell_with(Told::Message { slot, bytes: Vec::new(), eom }, bytes);
    }

    fn has_left(&self) -> bool {
        Self::has_left(self)
    }
}
