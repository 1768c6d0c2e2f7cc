//! How a client leaves: the end of each direction, and what the program, the peer or a deadline asks for.

use super::client::{Ending, Expiry, News, State};
use super::event::{Failure, Reason};
use super::place::Place;
use super::{Error, How};
use crate::time::Instant;

impl Place<'_> {
    /// The peer has ended its output.
    pub(super) fn ended(&mut self, now: Instant) -> Result<(), Error> {
        self.client.most_asked()?;
        self.client.asked = 0;
        (self.client.readable, self.client.hung_up) = (false, false);
        self.client.input_ended = true;
        (self.client.read_at, self.client.since) =
            (now, if self.is(State::Flushing) { self.client.since } else { now });
        self.client.news.add(News::ENDED);
        match self.client.state {
            State::Open => {
                self.client.state = State::PeerEnded;
                self.client.since = now;
                self.seat.end_owed = true;
            }
            State::LocalEnded => {
                self.seat.end_owed = true;
                self.end(now, Reason::PeerClosed, How::Graceful);
            }
            State::Flushing => self.close_if_over(),
            State::PeerEnded | State::Closing | State::Residue | State::Gone => {}
        }
        Ok(())
    }

    /// The program wants output to end once the queue is sent.
    pub(super) const fn shut_down(&mut self) {
        if self.client.takes_output() {
            self.client.ending = Ending::Shutting;
        }
    }

    /// Our output has ended.
    pub(super) fn output_ended(&mut self) {
        self.client.ending = Ending::Shut;
        match self.client.state {
            State::Open => self.client.state = State::LocalEnded,
            State::PeerEnded => self.close(Reason::PeerClosed, How::Graceful),
            State::Flushing => self.close_if_over(),
            State::LocalEnded | State::Closing | State::Residue | State::Gone => {}
        }
    }

    /// The queue is to be sent, then the connection to be closed.
    pub(super) fn drop_client(&mut self, now: Instant, reason: Reason) {
        match self.client.state {
            State::Open | State::PeerEnded | State::LocalEnded => {
                if !reason.is_from_peer() {
                    self.give_up();
                }
                self.client.state = State::Flushing;
                self.client.reason = Some(reason);
                self.client.since = now;
                self.close_if_over();
            }
            State::Residue => self.gone(now),
            State::Flushing | State::Closing | State::Gone => {}
        }
    }

    /// The connection is broken.
    pub(super) fn failed(&mut self, now: Instant, kind: Failure) -> Result<(), Error> {
        if matches!(self.client.state, State::Residue | State::Gone) {
            return Err(Error::Unasked);
        }
        if !self.is(State::Closing) {
            self.client.read_at = now;
        }
        let reason = if kind == Failure::Reset { Reason::PeerReset } else { Reason::Failed(kind) };
        self.end(now, reason, How::Graceful);
        Ok(())
    }

    /// The connection ends now. A residue is given up.
    pub(super) fn end(&mut self, now: Instant, reason: Reason, how: How) {
        match self.client.state {
            State::Closing | State::Gone => {}
            State::Residue => self.gone(now),
            State::Open | State::PeerEnded | State::LocalEnded | State::Flushing => self.close(reason, how),
        }
    }

    /// The descriptor is released.
    pub(super) fn closed(&mut self, now: Instant) -> Result<(), Error> {
        if !self.client.close_said || !self.is(State::Closing) {
            return Err(Error::Unasked);
        }
        if self.client.rx.is_empty() {
            self.gone(now);
        } else {
            self.client.state = State::Residue;
        }
        Ok(())
    }

    /// A span has run out.
    pub(super) fn expire(&mut self, now: Instant, expiry: Expiry) {
        match expiry {
            Expiry::WriteStuck => self.end(now, Reason::WriteStuck, How::Abort),
            Expiry::IdleRx => self.end(now, Reason::IdleRx, How::Abort),
            Expiry::IdleAny => self.end(now, Reason::IdleAny, How::Abort),
            Expiry::Unread if self.is(State::Residue) => self.gone(now),
            Expiry::Unread => {
                self.give_up();
                self.client.gives_up = !self.client.input_ended;
            }
            Expiry::HalfClose => self.drop_client(now, Reason::PeerClosed),
            Expiry::Linger => self.end(now, Reason::LocalClosed, How::Graceful),
        }
    }

    /// Nothing is left of the client.
    pub(super) fn gone(&mut self, now: Instant) {
        self.give_up();
        self.client.state = State::Gone;
        self.seat.last = Some((self.client.reason(), now));
    }

    /// The socket is to be closed. What an ending of our own leaves unread is given up.
    fn close(&mut self, reason: Reason, how: How) {
        let reason = *self.client.reason.get_or_insert(reason);
        // Nobody reads what could not be sent back.
        if !reason.is_from_peer() || self.client.echoes(&self.seat.options) {
            self.give_up();
        }
        self.client.state = State::Closing;
        self.client.how = how;
        (self.client.asked, self.client.offered) = (0, 0);
    }

    /// Closes a client that is flushing and has ended both ways.
    fn close_if_over(&mut self) {
        if self.client.ending == Ending::Shut && self.client.input_ended {
            self.close(self.client.reason(), How::Graceful);
        }
    }
}
