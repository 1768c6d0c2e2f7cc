//! What happens at a port, in words.

use wharf_core::port::server::{DownReason, Event, OpenFailure, Refusal};

/// An event of a port, for people. A client goes by the name of its slot.
#[must_use]
pub fn describe(name: &str, event: &Event) -> String {
    match event {
        Event::PortUp { local } => format!("{name} listens on {local}"),
        Event::PortDown { reason } => format!("{name} is down: {}", down(*reason)),
        Event::Refused { peer, why } => format!("{name} refused {peer}: {}", refusal(*why)),
        Event::AcceptPaused => format!("{name} accepts nobody for now"),
        Event::AcceptResumed => format!("{name} accepts again"),
        Event::Connected { slot, peer } => format!("{name}:{} connected {peer}", slot.index()),
        Event::DataReady { slot } => format!("{name}:{} has bytes", slot.index()),
        Event::InputEnded { slot } => format!("{name}:{} input ended", slot.index()),
        Event::HighWater { slot } => format!("{name}:{} send queue is high", slot.index()),
        Event::LowWater { slot } => format!("{name}:{} send queue is low again", slot.index()),
        Event::Overflowed { slot, lost } => format!("{name}:{} lost {lost} bytes to newer ones", slot.index()),
        Event::Disconnected { slot, reason, unread, unsent } => {
            let mut text = format!("{name}:{} disconnected {reason}", slot.index());
            for (bytes, what) in [(unread, "unread"), (unsent, "unsent")] {
                if *bytes > 0 {
                    text.push_str(&format!(", {bytes} bytes {what}"));
                }
            }
            text
        }
        other => format!("{name} {other:?}"),
    }
}

fn down(reason: DownReason) -> &'static str {
    let failed = DownReason::OpenFailed;
    [
        (DownReason::Closed, "closed"),
        (failed(OpenFailure::InUse), "the address is in use"),
        (failed(OpenFailure::NotAvailable), "the address is none of this machine's"),
        (failed(OpenFailure::Denied), "the system does not permit the address"),
        (failed(OpenFailure::Unresolved), "the name has no address"),
        (DownReason::AcceptFailed, "its listening socket broke"),
    ]
    .into_iter()
    .find(|(known, _)| *known == reason)
    .map_or("it could not listen", |(_, text)| text)
}

fn refusal(why: Refusal) -> &'static str {
    if why == Refusal::Full {
        "no slot is free"
    } else if why == Refusal::Denied {
        "its address is not allowed"
    } else {
        "the port is down"
    }
}
