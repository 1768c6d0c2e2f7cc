//! The seam between a connection and whoever answers its requests.
//!
//! A connection cuts frames and hands each request to a [`Service`] at once. The service writes the reply where the
//! connection wants it, refuses, stays silent, or says [`Answer::Later`] and answers through the connection's inputs.

use super::mbap::MAX_PDU;
use super::pdu::Exception;

/// A place for one reply PDU of the greatest length.
pub type ReplyPdu = [u8; MAX_PDU];

/// Names an accepted request until its reply is queued: a place and how often it has been used.
///
/// Transaction ids on the wire may repeat; this name does not, within 65,536 uses of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RequestId {
    pub(crate) index: u8,
    pub(crate) generation: u16,
}

/// A request as a connection hands it to its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Indication<'a> {
    /// Its transaction id on the wire, which need not be unique.
    pub transaction: u16,
    /// The name under which it can be answered later; `None` where the connection has no place to remember it, and
    /// [`Answer::Later`] is then answered with exception 06.
    pub id: Option<RequestId>,
    /// The unit asked for.
    pub unit: u8,
    /// 1..=253 bytes: the function code and its data.
    pub pdu: &'a [u8],
}

impl Indication<'_> {
    /// The function code.
    #[must_use]
    pub fn function(&self) -> u8 {
        self.pdu.first().copied().unwrap_or(0)
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Answer {
    /// The reply PDU is in the first `len` bytes, 1..=253.
    Reply {
        /// Its length in bytes.
        len: usize,
    },
    /// An exception reply.
    Exception(Exception),
    /// The reply comes later, by `Replied` or `Failed`, or the request times out with exception 06. Who put it off is
    /// told when it has ended; [`Answer::LATER`] is for those to whom that means nothing.
    Later(Answerer),
    /// Executed, and no reply is due: a broadcast, or a handler that wants none.
    Silent,
    /// Not executed, and no reply is due.
    Discard(Discard),
}

impl Answer {
    /// The reply comes later, and who gives it need not be remembered.
    pub const LATER: Self = Self::Later(Answerer(0));
}

/// Names whoever has put a request off, for the service's own use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Answerer(pub(crate) u32);

/// Why something from the wire was thrown away (the label `reason` of the metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Discard {
    /// A frame of another protocol.
    ProtocolId,
    /// A length field of 0 or 1; the connection closes.
    LengthShort,
    /// A length field above 254; the connection closes.
    LengthLong,
    /// The stream ended inside a frame.
    Truncated,
    /// A frame was not complete in time; the connection closes.
    FrameTimeout,
    /// No such unit, and the policy is silence.
    UnknownUnit,
    /// The policy ignores this unit.
    IgnoredUnit,
    /// A request that makes no sense as a broadcast.
    BroadcastRead,
    /// The unit is in listen-only mode.
    ListenOnly,
    /// A fault holds the connection.
    Held,
    /// A drain has begun.
    Draining,
}

impl Discard {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 11] = [
        Self::ProtocolId,
        Self::LengthShort,
        Self::LengthLong,
        Self::Truncated,
        Self::FrameTimeout,
        Self::UnknownUnit,
        Self::IgnoredUnit,
        Self::BroadcastRead,
        Self::ListenOnly,
        Self::Held,
        Self::Draining,
    ];

    /// The name in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProtocolId => "protocol_id",
            Self::LengthShort => "length_short",
            Self::LengthLong => "length_long",
            Self::Truncated => "truncated",
            Self::FrameTimeout => "frame_timeout",
            Self::UnknownUnit => "unknown_unit",
            Self::IgnoredUnit => "ignored_unit",
            Self::BroadcastRead => "broadcast_read",
            Self::ListenOnly => "listen_only",
            Self::Held => "held",
            Self::Draining => "draining",
        }
    }
}

impl core::fmt::Display for Discard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// Whoever answers the requests of a connection.
pub trait Service {
    /// Answers one request. What is left in `reply` counts only with [`Answer::Reply`].
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer;

    /// The connection itself has refused a well-formed request, before any unit saw it.
    fn refused(&mut self, _request: &Indication<'_>, _exception: Exception) {}

    /// A fault keeps a well-formed request from being carried out; with an exception that is what the peer is told.
    fn prevented(&mut self, _request: &Indication<'_>, _exception: Option<Exception>) {}

    /// Reads what a request of functions 1..=4 would read, for a fault that makes a reply longer, and counts nothing; the
    /// length of the reply PDU, or nothing where that cannot be had or is not permitted.
    fn peek(&mut self, _unit: u8, _pdu: &[u8], _reply: &mut ReplyPdu) -> Option<usize> {
        None
    }

    /// The connection has thrown away what never became a request, in the course of one input. A frame that
    /// its stream or its time leaves unfinished is told by the connection's output alone.
    fn discarded(&mut self, _reason: Discard) {}
}
