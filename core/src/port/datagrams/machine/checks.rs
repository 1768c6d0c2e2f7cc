//! What is refused. All of it is seen here, before anything changes.

use super::phases::Phase;
use super::{Datagrams, Record};
use crate::port::datagrams::{Command, Error, Input, MAX_PAYLOAD, MAX_TIMEOUT, Mode, Outcome, Setting, To};
use core::net::SocketAddr;
use core::time::Duration;

impl<B: AsRef<[u8]> + AsMut<[u8]>, R: AsRef<[Record]> + AsMut<[Record]>, T: AsRef<[u8]> + AsMut<[u8]>>
    Datagrams<B, R, T>
{
    /// Why an input cannot be taken, if so. Nothing is refused later.
    pub(super) fn check(&self, input: &Input<'_>) -> Result<(), Error> {
        let up = self.local_addr().is_some();
        let fits = match *input {
            Input::TurnStarted => true,
            Input::Opened { .. } | Input::OpenFailed { .. } => self.phase == Phase::Opening { asked: true },
            Input::Shut => matches!(self.phase, Phase::Closing { asked: true, .. }),
            Input::Readable | Input::Writable | Input::KernelDropped { .. } => {
                return up.then_some(()).ok_or(Error::NotConnected);
            }
            Input::Datagram { bytes, .. } if self.rx.asked && bytes.len() > MAX_PAYLOAD => {
                return Err(Error::Oversized { len: bytes.len(), max: MAX_PAYLOAD });
            }
            Input::Datagram { .. } | Input::Blocked | Input::Failed { .. } => self.rx.asked,
            Input::Sent | Input::SendBlocked | Input::SendFailed { .. } => self.tx.asked,
            Input::Requested(command) => return self.check_command(command, up),
        };
        fits.then_some(()).ok_or(Error::NotAsked)
    }

    fn check_command(&self, command: Command<'_>, up: bool) -> Result<(), Error> {
        match command {
            Command::Open | Command::Close | Command::Leave | Command::Subscribed { .. } => Ok(()),
            Command::Read { room: 0 } => Err(Error::EmptyBuffer),
            Command::Write { .. } if self.config.mode == Mode::Asyn => Err(Error::ReadOnly),
            Command::Read { .. } | Command::Flush | Command::Write { .. } if !up => Err(Error::NotConnected),
            Command::Read { .. } | Command::Flush | Command::Write { to: To::Everyone, .. } => Ok(()),
            Command::Write { to: To::Peer(peer), bytes } => self.check_room(peer, bytes.len()),
            Command::Write { to: To::LastRead, bytes } => {
                self.check_room(self.last_read.ok_or(Error::NoPeer)?, bytes.len())
            }
            Command::Set(Setting::CacheHold(timeout) | Setting::PeerTtl(timeout) | Setting::Reopen(timeout)) => {
                check_timeout(timeout)
            }
            Command::Set(Setting::Rest(_) | Setting::Overflow(_) | Setting::AutoConnect(_)) => Ok(()),
        }
    }

    fn check_room(&self, peer: SocketAddr, len: usize) -> Result<(), Error> {
        match self.outbox.judge(peer, len) {
            Outcome::Queued => Ok(()),
            Outcome::TooLong => Err(Error::TooLong { len, max: self.outbox.max(peer) }),
            Outcome::Full => Err(Error::Full { places: self.outbox.places(), room: self.outbox.room() }),
        }
    }
}

pub(super) fn check_timeout(asked: Duration) -> Result<(), Error> {
    if asked > MAX_TIMEOUT { Err(Error::BadTimeout { asked }) } else { Ok(()) }
}
