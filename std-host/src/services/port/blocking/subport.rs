//! One slot as threads see it.

use super::ask::{Ask, Whom};
use super::{Pending, Port};
use crate::services::port::error::Error;
use crate::services::port::running::{Addr, Read};
use std::net::SocketAddr;
use std::time::Duration;
use wharf_core::slots::SlotId;

/// A handle of one slot, which it shares with the port and with other handles. It follows the slot through all its clients;
/// [`Subport::pin`] makes one that does not: its calls are [`Error::Stale`] once the client has left.
///
/// Timeouts and errors are those of [`Port`]. No call of a subport opens the port.
#[derive(Clone, Debug)]
pub struct Subport {
    port: Port,
    index: u16,
    whom: Whom,
}

impl Subport {
    pub(super) const fn new(port: Port, index: u16, whom: Whom) -> Self {
        Self { port, index, whom }
    }

    /// The name of the slot, such as `dev:0`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.port.name(), self.index)
    }

    /// The number of the slot.
    #[must_use]
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// The port that it belongs to.
    #[must_use]
    pub const fn port(&self) -> &Port {
        &self.port
    }

    /// A handle of the client that is there now, and of no other.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if nobody is there.
    pub fn pin(&self) -> Result<Self, Error> {
        let slot = self.slot_id()?.ok_or(Error::NotConnected)?;
        Ok(Self { whom: Whom { client: Some(slot), ..self.whom }, ..self.clone() })
    }

    /// Looks whether a client is there. It dials nobody and opens nothing.
    ///
    /// # Errors
    /// [`Error::NotConnected`] if nobody is there.
    pub fn connect(&self) -> Result<(), Error> {
        match self.wait_client(Some(Duration::ZERO)) {
            Ok(_) => Ok(()),
            Err(Error::Timeout { .. }) => Err(Error::NotConnected),
            Err(error) => Err(error),
        }
    }

    /// [`Subport::drop_client`].
    ///
    /// # Errors
    /// Only those of every call.
    pub fn disconnect(&self) -> Result<bool, Error> {
        self.drop_client()
    }

    /// [`Port::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, buffer: &mut [u8], timeout: Option<Duration>) -> Result<Read, Error> {
        self.port.read_whom(self.whom, buffer, timeout)
    }

    /// [`Port::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, bytes: &[u8], timeout: Option<Duration>) -> Result<usize, Error> {
        self.port.write_whom(self.whom, bytes, timeout)
    }

    /// [`Port::drain`].
    ///
    /// # Errors
    /// As there.
    pub fn drain(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.port.call(Ask::Drain(self.whom), timeout, |_| (), |_, _| ())
    }

    /// [`Port::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.port.done(Ask::ShutDown(self.whom))
    }

    /// [`Port::flush`].
    ///
    /// # Errors
    /// As there.
    pub fn flush(&self) -> Result<usize, Error> {
        self.port.count(Ask::Flush(self.whom))
    }

    /// [`Port::drop_client`].
    ///
    /// # Errors
    /// Only those of every call.
    pub fn drop_client(&self) -> Result<bool, Error> {
        self.port.found(Ask::Drop(self.whom))
    }

    /// [`Port::abort_client`].
    ///
    /// # Errors
    /// Only those of every call.
    pub fn abort_client(&self) -> Result<bool, Error> {
        self.port.found(Ask::Abort(self.whom))
    }

    /// [`Port::wait_client`].
    ///
    /// # Errors
    /// As there.
    pub fn wait_client(&self, timeout: Option<Duration>) -> Result<SlotId, Error> {
        self.port.await_whom(self.whom, timeout)
    }

    /// [`Port::peer`].
    ///
    /// # Errors
    /// Only those of every call.
    pub fn peer(&self) -> Result<Option<SocketAddr>, Error> {
        Ok(self.port.who(self.whom)?.peer)
    }

    /// [`Port::slot_id`].
    ///
    /// # Errors
    /// Only those of every call.
    pub fn slot_id(&self) -> Result<Option<SlotId>, Error> {
        Ok(self.port.who(self.whom)?.slot)
    }

    /// [`Port::pending`].
    ///
    /// # Errors
    /// Only those of every call.
    pub fn pending(&self) -> Result<Pending, Error> {
        self.port.pending_whom(self.whom)
    }

    /// [`Port::option`] of the slot.
    ///
    /// # Errors
    /// As there.
    pub fn option(&self, key: &str) -> Result<String, Error> {
        self.port.option(Addr::Slot(self.index), key)
    }

    /// [`Port::set_option`] of the slot. What belongs to the whole port, such as its address, is refused.
    ///
    /// # Errors
    /// As there.
    pub fn set_option(&self, key: &str, value: &str) -> Result<(), Error> {
        self.port.set_option(Addr::Slot(self.index), key, value)
    }
}
