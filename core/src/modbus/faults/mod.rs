//! Faults: what goes wrong on purpose, as pure decisions.
//!
//! A [`Fault`] says what goes wrong, for whom and how often. A [`Plan`] is a server's list of them with their counters; it
//! makes a [`Decision`] about each request. A [`Connection`] is a server's connection that carries decisions out: on the
//! reply, on the wire, and on itself.
//!
//! # In which order
//!
//! Faults are chosen in file order before a request is executed, those that ask for its outcome after it. Then they act by
//! [`Stage`], within a stage in file order, each on what the one before left:
//!
//! 1. which reply there is: none, an exception, another quantity;
//! 2. its PDU: function code, bytes changed, taken away or added;
//! 3. its header: unit, transaction, protocol, length;
//! 4. when it leaves;
//! 5. how it leaves: twice, later than others, with frames that nobody asked for, in pieces;
//!
//! and at last what becomes of the connection. `no_response` beats stages 1 to 5; the first exception and the first fault
//! on the connection act; what loses is counted as suppressed.
//!
//! # What is out of reach
//!
//! The 06 for lack of a transaction is the connection's own and leaves as it is. A request whose `request_timeout` runs out
//! is seen by the faults that were chosen before it was executed, not by those that ask for its outcome.
//!
//! Random choices follow from the seed of each fault: the same plan, script and times give the same bytes.

mod alter;
mod asked;
mod connection;
mod decision;
mod fault;
mod held;
mod interceptor;
mod plan;
mod target;
#[cfg(test)]
mod tests;

pub use alter::{Frame, MAX_ALTERED};
pub use asked::Asked;
pub use connection::{Connection, Input};
pub use decision::{Choice, Cuts, Decision, MAX_CHOICES, Unsolicited};
pub use fault::{
    CorruptMode, Count, CutPoints, ExtraMode, Fault, FunctionMode, How, Keep, Kind, LengthMode, MAX_CUTS, MAX_PAYLOAD,
    Moment, Order, Payload, Quota, Scope, Stage, Then, TransactionMode, UnitMode, Window, seed_of,
};
pub use held::Held;
pub use plan::{Acting, Entry, FaultId, Listening, Plan, Statistics, Tally};
pub use target::{Addresses, ByteSet, MAX_PEERS, Peers, Relation, Reply, Target};

use crate::time::Instant;

/// How a request ended, before any fault touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Ended {
    /// With a normal reply.
    Normal,
    /// With an exception.
    Exception,
    /// Without a reply, or it was not executed.
    Silent,
}

/// Whoever decides what goes wrong: usually the [`Acting`] of a plan.
pub trait Faults {
    /// Chooses the faults that do not ask how the request ends, before it is executed.
    fn choose(&mut self, now: Instant, asked: &Asked, decision: &mut Decision);

    /// Chooses the others, after it has ended, and takes out those that lose.
    fn judge(&mut self, now: Instant, asked: &Asked, ended: Ended, decision: &mut Decision);

    /// A fault that was chosen could not act.
    fn suppressed(&mut self, fault: FaultId);

    /// A fault has changed so many bytes of a reply.
    fn altered(&mut self, fault: FaultId, bytes: usize);
}
