//! Who hears of a server's events on its own loop, at once.

use super::Event;

/// Hears of the events of a server, on its loop and in their order. It must not block.
pub trait Observer {
    /// Something has happened.
    fn event(&self, event: &Event);

    /// Whether it wants to hear of requests at present. If not, no event is made for them, which saves a busy server time.
    fn hears_requests(&self) -> bool {
        true
    }
}

/// Hears everything.
pub(super) struct EveryEvent<F>(pub(super) F);

impl<F: Fn(&Event)> Observer for EveryEvent<F> {
    fn event(&self, event: &Event) {
        (self.0)(event);
    }
}
