//! Who hears of a port's events and messages, on its loop.

use super::running::Running;
use super::trace::{Direction, Levels};
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Event;
use wharf_core::slots::SlotId;

/// One who hears what happens at a port, on its loop and at once. What it does to the port meanwhile is carried out when
/// all have heard.
#[expect(unused_variables, reason = "the defaults ignore what the names document")]
pub trait Subscriber {
    /// Something happened.
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {}

    /// A client with `consumer = "push"` has sent a message, without its terminator. With the terminator off, whatever has
    /// arrived is one.
    fn message(&mut self, port: &mut Running<'_>, slot: SlotId, bytes: &[u8], eom: Eom) {}

    /// Whether it wants to hear no more, and may be dropped.
    fn has_left(&self) -> bool {
        false
    }
}

/// All of them, in the order in which they came.
#[derive(Default)]
pub(super) struct Subscribers(Vec<Box<dyn Subscriber>>);

impl Subscribers {
    pub(super) fn add(&mut self, subscriber: Box<dyn Subscriber>) {
        self.0.push(subscriber);
    }

    pub(super) fn tell(&mut self, port: &mut Running<'_>, event: &Event) {
        self.0.retain_mut(|subscriber| {
            subscriber.event(port, event);
            !subscriber.has_left()
        });
    }

    pub(super) fn message(&mut self, port: &mut Running<'_>, slot: SlotId, bytes: &[u8], eom: Eom) {
        port.site().trace(Some(slot), Levels::FILTER, Direction::Rx, [bytes, &[]], "message");
        self.0.iter_mut().for_each(|subscriber| subscriber.message(port, slot, bytes, eom));
    }

    /// Puts those that have heard before those that came meanwhile.
    pub(super) fn join(&mut self, mut heard: Self) {
        heard.0.append(&mut self.0);
        *self = heard;
    }
}
