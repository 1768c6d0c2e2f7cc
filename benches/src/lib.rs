//! Load generators, peers and the runner that measures them side by side.
//!
//! * [`wire`]: the requests of the load and the one right reply to each, by hand from the standard and not through
//!   `wharf-core`, so that a fault of the codec under test cannot hide itself.
//! * [`client`]: the closed-loop generator; [`prepare`]: what it does to a server before and after a run.
//! * [`echo`]: a bare `mio` server of the same byte counts; [`peers`]: servers of other projects (feature `peers`).
//! * [`runner`]: servers and client pinned and interleaved; [`table`]: medians, spread and ratios; [`machine`]: facts
//!   about the computer and its processes.
//! * [`beside`]: a good client beside a bad one; [`neighbour`]: what the bad ones do.
//! * [`measure`], [`rounds`], [`process`], [`report`]: what all side-by-side runs share.
//! * [`loops`]: the event loop beside others. [`ports`]: device ports beside others.
//! * [`micro`]: the parts of one request in `wharf-core`, timed by `benches/modbus.rs`; [`count`]: their instructions.
//!
//! Nothing here is part of Wharf at run time, and nothing here is measured but the servers.

pub mod beside;
pub mod client;
pub mod count;
pub mod echo;
pub mod loops;
pub mod machine;
pub mod measure;
pub mod micro;
pub mod neighbour;
pub mod peers;
pub mod ports;
pub mod prepare;
pub mod process;
pub mod report;
pub mod rounds;
pub mod runner;
pub mod table;
pub mod wire;
