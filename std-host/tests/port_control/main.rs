//! What a device port tells of itself, and what it writes down: report, trace, log.

mod folder;
mod harness;
mod log;
mod report;
mod trace;
