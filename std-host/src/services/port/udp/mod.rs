//! UDP ports on the event loop.
//!
//! A [`UdpServer`] is a UDP port on its loop: one socket, no slots, addresses -1 and 0 alike. What happens at it is
//! decided in the core, by [`wharf_core::port::datagrams`]; `site` carries that out, `binding` opens the socket and
//! `socket` has its callbacks. A program on the loop works with the port by [`RunningUdp`], and hears of it as a
//! [`UdpSubscriber`]; `echo` and `log` are those that the plant file offers. What is seen of it from outside, its trace
//! and its report, is in `seen` and `report`; `home` is how those who come from other threads find it.
//! Other threads have [`UdpPort`], whose calls wait; it is in `blocking`.
//!
//! # Why a face of its own
//!
//! [`UdpServer::spawn`] is to [`Server::spawn`](super::Server::spawn) what [`UdpServer::bind`] is to
//! [`Server::bind`](super::Server::bind): which kind of port an address means is chosen by name, and each refuses the
//! other's addresses in words. One `spawn` for both would give a handle that has slots, clients and half-closes without a
//! meaning on UDP, and a read that could not tell whose datagram it is.
//!
//! # Receiving
//!
//! The loop hands packets over in batches, so the machine's one `Receive` is answered when something comes and not by
//! "nothing now". In asyn mode the loop may take one packet for each `Receive`, and the rest waits in the system. One
//! that is known to have come is taken at once: whoever has read a datagram to its end finds the next one there.
//!
//! A batch is bounded by the loop, so each packet of it may use a whole budget of the machine.

mod binding;
mod blocking;
mod describe;
mod echo;
mod heap;
mod home;
mod log;
mod report;
mod running;
mod seen;
mod server;
mod site;
mod socket;
mod subscribers;

pub use blocking::{UdpPort, UdpTold};
pub use describe::describe;
pub(super) use home::Home;
pub use report::UdpReport;
pub use running::{Origin, ReadUdp, RunningUdp, UdpBroadcast};
pub use server::UdpServer;
pub use subscribers::{Received, UdpSubscriber};
pub use wharf_core::port::datagrams::{Counters, Event, Outcome, Pending, Reason};
