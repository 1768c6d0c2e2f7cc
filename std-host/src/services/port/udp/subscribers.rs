//! Who hears of a UDP port's events and datagrams, on its loop.

use super::heap::Machine;
use super::running::RunningUdp;
use super::site::join;
use crate::services::port::trace::{Direction, Levels};
use std::cell::RefCell;
use std::net::SocketAddr;
use wharf_core::Instant;
use wharf_core::port::datagrams::{Cursor, Event, Next};

/// A whole datagram, with all that is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its bytes; none of an empty one.
    pub bytes: &'a [u8],
    /// Who sent it. An IPv4 peer is one on an IPv6 socket too.
    pub peer: SocketAddr,
    /// It was longer than all of the ring, or than the system had room for; the rest is lost.
    pub truncated: bool,
    /// When it came.
    pub at: Instant,
}

/// One who hears what happens at a UDP port, on its loop and at once. What it does to the port meanwhile is carried out
/// when all have heard.
#[expect(unused_variables, reason = "the defaults ignore what the names document")]
pub trait UdpSubscriber {
    /// Whether datagrams are for it too. The presence of one who gets datagrams changes what the port keeps for readers
    /// (section 9 of the ports specification); that of one who hears events alone changes nothing.
    fn hears_datagrams(&self) -> bool {
        true
    }

    /// Something happened.
    fn event(&mut self, port: &mut RunningUdp<'_>, event: &Event) {}

    /// A datagram has come. Each comes once, in order.
    fn datagram(&mut self, port: &mut RunningUdp<'_>, datagram: &Received<'_>) {}

    /// So many datagrams are gone that came before the next one: they were dropped when the ring was full.
    fn lost(&mut self, port: &mut RunningUdp<'_>, count: u64) {}

    /// Whether it wants to hear no more, and may be dropped.
    fn has_left(&self) -> bool {
        false
    }
}

/// All of them, in the order in which they came, each with how far it has got if datagrams are for it.
#[derive(Default)]
pub(super) struct Subscribers(Vec<(Box<dyn UdpSubscriber>, Option<Cursor>)>);

impl Subscribers {
    pub(super) fn add(&mut self, subscriber: Box<dyn UdpSubscriber>, cursor: Option<Cursor>) {
        self.0.push((subscriber, cursor));
    }

    /// Drops those that have left; how many of them got datagrams.
    pub(super) fn forget_left(&mut self) -> usize {
        let mut left = 0;
        self.0.retain(|(subscriber, cursor)| {
            let has_left = subscriber.has_left();
            left += usize::from(has_left && cursor.is_some());
            !has_left
        });
        left
    }

    pub(super) fn tell(&mut self, port: &mut RunningUdp<'_>, event: &Event) {
        self.0.iter_mut().for_each(|(subscriber, _)| subscriber.event(port, event));
    }

    /// Gives each what it has not had. `whole` is memory for one datagram: whoever gets it may act on the port
    /// meanwhile, and so cannot be shown where it lies.
    pub(super) fn deliver(&mut self, port: &mut RunningUdp<'_>, machine: &RefCell<Machine>, whole: &mut Vec<u8>) {
        // All get the same, so that in the trace the first stands for all.
        let mut untraced = true;
        for (subscriber, cursor) in &mut self.0 {
            let Some(cursor) = cursor else { continue };
            let traces = std::mem::take(&mut untraced);
            loop {
                let next = match machine.borrow().next(cursor) {
                    None => break,
                    Some(Next::Lost(count)) => Err(count),
                    Some(Next::Datagram(datagram)) => {
                        join(whole, datagram.bytes);
                        Ok((datagram.peer, datagram.truncated, datagram.at))
                    }
                };
                match next {
                    Ok((peer, truncated, at)) => {
                        if traces {
                            port.trace(Some(peer), Levels::FILTER, Direction::Rx, whole, "message");
                        }
                        subscriber.datagram(port, &Received { bytes: whole, peer, truncated, at });
                    }
                    Err(count) => subscriber.lost(port, count),
                }
            }
        }
    }

    /// Puts those that have heard before those that came meanwhile.
    pub(super) fn join(&mut self, mut heard: Self) {
        heard.0.append(&mut self.0);
        *self = heard;
    }
}
