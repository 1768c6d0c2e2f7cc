//! What a socket can do, and bytes on their way: from the network into the receive queue and on to the program, and from
//! the send queue to the network.

use super::Error;
use super::client::{Client, News, State};
use super::place::Place;
use crate::time::Instant;

impl Client {
    /// The socket has something to be read.
    pub(super) const fn note_readable(&mut self) {
        self.readable = true;
        self.readable_again = self.asked > 0;
    }

    /// The socket has room.
    pub(super) const fn note_writable(&mut self) {
        self.writable = true;
        self.writable_again = self.offered > 0;
    }

    /// The peer has ended or reset the connection.
    pub(super) const fn note_hang_up(&mut self, now: Instant) {
        self.note_readable();
        self.note_writable();
        if !self.hung_up && !self.input_ended {
            self.hung_up = true;
            self.read_at = now;
        }
    }

    pub(super) fn read_blocked(&mut self) -> Result<(), Error> {
        self.most_asked()?;
        self.read_over(false);
        Ok(())
    }

    /// The read under way has been answered.
    const fn read_over(&mut self, more: bool) {
        self.asked = 0;
        self.readable = core::mem::replace(&mut self.readable_again, false) || more;
        // A peer that has hung up would not have left it at that.
        self.hung_up &= self.readable;
        self.gives_up &= self.readable;
    }

    pub(super) fn write_blocked(&mut self) -> Result<(), Error> {
        self.most_offered()?;
        self.offered = 0;
        self.writable = core::mem::take(&mut self.writable_again);
        Ok(())
    }

    /// The most that the read under way may bring.
    pub(super) const fn most_asked(&self) -> Result<u32, Error> {
        match self.asked {
            0 => Err(Error::Unasked),
            asked => Ok(asked),
        }
    }

    /// The most that the transmit under way may have taken.
    const fn most_offered(&self) -> Result<u32, Error> {
        match self.offered {
            0 => Err(Error::Unasked),
            offered => Ok(offered),
        }
    }
}

impl Place<'_> {
    pub(super) fn received(&mut self, now: Instant, bytes: &[u8], more: bool) -> Result<(), Error> {
        let asked = self.client.most_asked()?;
        let len = within(bytes.len(), asked)?;
        self.client.spend(self.turn, len, 0);
        self.client.received = self.client.received.saturating_add(len.into());
        (self.client.last_rx, self.client.last_any) = (now, now);
        if self.client.discards() {
            crate::log::discard("port", "input of a client that is being closed, or that nobody reads");
            self.client.unread = self.client.unread.saturating_add(len.into());
        } else {
            let rest = self.reflect(now, bytes);
            if !rest.is_empty() {
                self.client.rx.push(self.rx, rest);
                self.client.news.add(News::DATA);
            }
        }
        self.client.read_over(more);
        Ok(())
    }

    pub(super) fn transmitted(&mut self, now: Instant, len: usize) -> Result<(), Error> {
        let offered = self.client.most_offered()?;
        let len = within(len, offered)?;
        self.client.offered = 0;
        self.client.writable = core::mem::take(&mut self.client.writable_again) || len == offered;
        self.client.spend(self.turn, 0, len);
        self.client.tx.consume(self.tx_capacity(), len);
        self.client.boundaries.sent(self.boundaries, len);
        (self.client.last_any, self.client.stuck_since) = (now, now);
        // A queue that is filled up again at once was never low.
        self.echo(now);
        self.watch_low();
        Ok(())
    }

    pub(super) fn consume(&mut self, now: Instant, len: usize) -> Result<(), Error> {
        let queued = self.client.rx.len();
        let count = u32::try_from(len).unwrap_or(u32::MAX);
        if count > queued {
            return Err(Error::Length { len, max: usize::try_from(queued).unwrap_or(usize::MAX) });
        }
        self.client.rx.consume(self.rx_capacity(), count);
        self.client.scan.consumed(len);
        self.read(now);
        Ok(())
    }

    /// Discards what is received and unread; how much that was.
    pub(super) fn flush(&mut self, now: Instant) -> u32 {
        let discarded = self.discard();
        self.client.flushed = self.client.flushed.saturating_add(discarded.into());
        self.read(now);
        discarded
    }

    /// Other terminators count from now on, also for what is queued: it may be a message by now.
    pub(super) fn frame_anew(&mut self) {
        self.client.scan.restart();
        if !self.client.rx.is_empty() {
            self.client.news.add(News::DATA);
        }
    }

    /// Gives up what nobody has read.
    pub(super) fn give_up(&mut self) {
        let given_up = self.discard();
        self.client.unread = self.client.unread.saturating_add(given_up.into());
    }

    fn discard(&mut self) -> u32 {
        self.client.scan.restart();
        self.client.rx.consume(self.rx_capacity(), u32::MAX)
    }

    /// The program has read.
    fn read(&mut self, now: Instant) {
        self.client.read_at = now;
        self.attended(now);
        if self.is(State::Residue) && self.client.rx.is_empty() {
            self.gone(now);
        }
    }

    /// The program has read or written.
    pub(super) fn attended(&mut self, now: Instant) {
        if self.is(State::PeerEnded) {
            self.client.since = now;
        }
    }
}

/// A length in 1..=`max`.
fn within(len: usize, max: u32) -> Result<u32, Error> {
    match u32::try_from(len) {
        Ok(count) if 0 < count && count <= max => Ok(count),
        _ => Err(Error::Length { len, max: usize::try_from(max).unwrap_or(usize::MAX) }),
    }
}
