//! What happens at a UDP port, in words.

use wharf_core::port::datagrams::{Event, Kind, OpenFailure, Reason};

/// An event of a UDP port, for people.
#[must_use]
pub fn describe(name: &str, event: &Event) -> String {
    match event {
        Event::PortUp { local } => format!("{name} listens on {local}"),
        Event::PortDown { reason } => format!("{name} is down: {}", down(*reason)),
        Event::DataReady => format!("{name} has a datagram"),
        Event::Overflowed { lost } => format!("{name} lost {lost} datagrams because its ring was full"),
    }
}

const fn down(reason: Reason) -> &'static str {
    match reason {
        Reason::PortClosed => "closed",
        Reason::Failed(Kind::Unreachable) => "its network is gone",
        Reason::Failed(Kind::Other) => "its socket broke",
        Reason::NotOpened(OpenFailure::AddressInUse) => "the address is in use",
        Reason::NotOpened(OpenFailure::Denied) => "the system does not permit the address",
        Reason::NotOpened(OpenFailure::NoAddress) => {
            "the name has no address, or the address is none of this machine's"
        }
        Reason::NotOpened(OpenFailure::Exhausted) => "descriptors or memory have run out",
        Reason::NotOpened(OpenFailure::Other) => "it could not be opened",
    }
}
