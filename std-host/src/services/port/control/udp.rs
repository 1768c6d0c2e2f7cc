//! What is asked of a UDP port.

use super::{Port, Remote, metrics, place};
use crate::admin::answer::Refusal;
use crate::admin::exposition::Exposition;
use crate::event_loop::{ContextKey, Handle};
use crate::services::port::error::Error;
use crate::services::port::report::Level;
use crate::services::port::running::Addr;
use crate::services::port::udp::{Home, RunningUdp};
use serde_json::{Map, Value};
use std::ops::Range;
use std::sync::Arc;

/// The way to a port on the loop of this handle.
pub(super) fn remote<T: 'static>(handle: Handle<T>, key: ContextKey<Home>) -> Remote {
    Arc::new(move |job| {
        let _ = handle.defer(move |lp| Home::visit(lp, key, |port| job(port)));
    })
}

impl Port for RunningUdp<'_> {
    fn name(&self) -> &str {
        RunningUdp::name(self)
    }

    fn slots(&self) -> u32 {
        0
    }

    fn status(&self) -> Map<String, Value> {
        let report = RunningUdp::report(self, Level::Line);
        let counted = [("received", report.counters.received), ("sent", report.counters.sent)];
        let counted = counted.map(|(key, count)| (key.to_owned(), count.into()));
        [place(&report.about)].into_iter().chain(counted).collect()
    }

    fn metrics(&self) -> Exposition {
        metrics::of_udp(&RunningUdp::report(self, Level::Line))
    }

    fn report(&self, level: Level, _: Range<u32>, as_text: bool) -> Value {
        let report = RunningUdp::report(self, level);
        if as_text { report.to_string().into() } else { report.to_json().into() }
    }

    fn drop_client(&mut self, _: u16) -> Result<(), Refusal> {
        let name = RunningUdp::name(self);
        Err(Refusal::refused(format!("{name} is a UDP port: it has no clients, and so nobody to drop")))
    }

    fn option(&self, addr: Addr, key: &str) -> Result<String, Error> {
        RunningUdp::option(self, addr, key)
    }

    fn set_option(&mut self, addr: Addr, key: &str, value: &str) -> Result<(), Error> {
        RunningUdp::set_option(self, addr, key, value)
    }
}
