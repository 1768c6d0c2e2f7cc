//! Who may do what: the authorisation hook of a server.
//!
//! A hook says yes or no to one request of one unit, after the unit has counted it and before anything of it is judged:
//! ahead of the function's being known, and whether or not the PDU is one at all. What it refuses is answered 01, counts
//! as any exception does, and does nothing. A broadcast is asked about once for each unit that takes it. A fault that makes a
//! reply longer asks once more, about the longer request that was never made.
//!
//! It is not asked about requests that reach no unit, that a unit in listen-only mode ignores, that the connection
//! answers 06, or that a fault keeps from being carried out.

use super::access::{Accesses, accesses};

/// A request as a hook sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AccessRequest<'a> {
    /// The role of the client; `None` is the null role, that of whoever comes without a certificate.
    pub role: Option<&'a str>,
    /// The unit that would act, whichever id brought the request to it; `None` is the default device apart from the
    /// units.
    pub unit: Option<u8>,
    /// The unit id on the wire: 0 and 255 may lead to another unit, and so may any unknown one.
    pub asked: u8,
    /// Whether it is a broadcast to which this unit does not reply.
    pub broadcast: bool,
    /// The connection it came by, as its driver names it.
    pub connection: u64,
    /// The function code and its data, 1..=253 bytes, right or wrong.
    pub pdu: &'a [u8],
}

impl<'a> AccessRequest<'a> {
    /// The function code.
    #[must_use]
    pub fn function(&self) -> u8 {
        self.pdu.first().copied().unwrap_or(0)
    }

    /// What the request names, as [`accesses`] says. A PDU that is cut short names only what is there whole, and is
    /// answered 03 if the hook agrees. There is none for functions without addresses; and a handler may take any PDU as it
    /// likes.
    #[must_use]
    pub const fn accesses(&self) -> Accesses<'a> {
        accesses(self.pdu)
    }
}

/// Says who may do what. It must not block.
pub trait Authorisation {
    /// Whether this request may be carried out.
    fn permits(&mut self, request: &AccessRequest<'_>) -> bool;
}

impl<F: FnMut(&AccessRequest<'_>) -> bool> Authorisation for F {
    fn permits(&mut self, request: &AccessRequest<'_>) -> bool {
        self(request)
    }
}

/// The hook of a server that has none. It cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAuthorisation {}

impl Authorisation for NoAuthorisation {
    fn permits(&mut self, _: &AccessRequest<'_>) -> bool {
        match *self {}
    }
}

#[cfg(test)]
mod tests;
