//! Device ports on the event loop.
//!
//! A [`Server`] is a TCP port on its loop. What happens at it is decided in the core, by
//! [`wharf_core::port::server`]; `site` carries that out on the sockets, whose callbacks are in `clients` and whose
//! listener is in `listening`. A program on the loop works with the port by [`Running`] and hears of it as a
//! [`Subscriber`], as `broker` and `log` do for two modes of a port; an echo is the machine's own business. Other threads
//! have [`Port`] and [`Subport`], whose calls wait; they are in `blocking`.
//!
//! A UDP port is another machine with another face, in [`udp`]: it has no slots.
//!
//! | module | holds |
//! | --- | --- |
//! | [`options`] | every key of a port: its name, values, default, and when it may be set |
//! | [`trace`] | a transfer as text, and the names of the files for it |

mod blocking;
mod broker;
mod calls;
mod clients;
mod common;
pub mod control;
mod delivery;
mod describe;
mod error;
mod heap;
mod lines;
mod listening;
mod log;
pub mod options;
pub mod report;
mod running;
mod sending;
mod server;
mod site;
mod subscribers;
mod tally;
pub mod trace;
mod traces;
pub mod udp;

pub use blocking::{Pending, Port, Subport, Told};
pub use calls::{Events, Threaded};
pub use describe::describe;
pub use error::Error;
pub use heap::Heap;
pub use lines::LineCounts;
pub use running::{Addr, Read, Running};
pub use sending::Broadcast;
pub use server::Server;
pub use subscribers::Subscriber;
pub use tally::{REASONS, Totals};
pub use wharf_core::port::server::{DownReason, Event, OnClose, OpenFailure};
