//! The event loop beside others: what `loop-bench` measures.
//!
//! * [`echo`]: servers that send back what they get, in processes of their own; [`client`] is their load, [`servers`]
//!   are the servers. [`scaling`]: two loops against one, with the same load.
//! * [`rush`]: a plain echo while many shake hands for TLS.
//! * [`sampling`]: what the loop's histograms cost.
//! * [`udp`]: the same for datagrams, in batches and one by one.
//! * [`deferred`]: calls from other threads. [`timers`]: arming, resetting and cancelling among many.
//! * [`idle`]: what ten thousand sockets cost that do nothing.
//!
//! Peers: bare `mio`, which is what Wharf's loop stands on and so the most that it can reach; tokio's current-thread
//! runtime, with tokio-rustls for TLS (feature `peers`); C uSockets, given by path. All are interleaved as [`crate::rounds`] says.

pub mod client;
pub mod deferred;
pub mod echo;
pub mod idle;
pub mod rush;
pub mod sampling;
pub mod scaling;
pub mod servers;
pub mod timers;
pub mod udp;

use clap::Args;
use std::time::Duration;

/// What every command has.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// A smoke run: few, small and short; its figures mean nothing
    #[arg(long)]
    pub quick: bool,
    /// How often each peer has its turn; without it so often as the command thinks right
    #[arg(long)]
    pub rounds: Option<usize>,
    /// The core of servers and loops
    #[arg(long, default_value_t = 0)]
    pub server_core: usize,
    /// The core of clients and callers
    #[arg(long, default_value_t = 1)]
    pub client_core: usize,
}

impl Common {
    /// How often each peer has its turn: once in a smoke run, else as asked, else `usual` times.
    #[must_use]
    pub fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(self.pick(usual, 1)).max(1)
    }

    /// `full`, or `quick` in a smoke run.
    pub fn pick<X>(&self, full: X, quick: X) -> X {
        if self.quick { quick } else { full }
    }

    /// How cores were used.
    #[must_use]
    pub fn cores(&self, pinned: bool) -> String {
        if pinned {
            format!("servers and loops on core {}, clients and callers on core {}", self.server_core, self.client_core)
        } else {
            "NO, the figures mean little".to_owned()
        }
    }
}

/// A span with its unit: `2s` or `150ms`.
///
/// # Errors
/// What is wrong with the text.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span such as 2s or 150ms");
    let (number, per_unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1000),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(per_unit).map(Duration::from_millis).ok_or_else(wrong)
}
