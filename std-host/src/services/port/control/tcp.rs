//! What is asked of a TCP port.

use super::{Port, Remote, metrics, place, refusal};
use crate::admin::answer::Refusal;
use crate::admin::exposition::Exposition;
use crate::event_loop::{ContextKey, Handle};
use crate::services::port::clients::Clients;
use crate::services::port::error::Error;
use crate::services::port::report::Level;
use crate::services::port::running::{Addr, Running};
use serde_json::{Map, Value};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

/// The way to a port on the loop of this handle.
pub(super) fn remote<T: 'static>(handle: Handle<T>, key: ContextKey<Clients>) -> Remote {
    Arc::new(move |job| {
        let _ = handle.defer(move |lp| {
            let site = lp.handler(key).map(|clients| Rc::clone(&clients.site));
            let site = site.expect("a deferred call runs on its own loop, and inside no callback");
            site.with(lp, |port| job(port));
        });
    })
}

impl Port for Running<'_> {
    fn name(&self) -> &str {
        Running::name(self)
    }

    fn slots(&self) -> u32 {
        Running::slots(self)
    }

    fn status(&self) -> Map<String, Value> {
        let report = self.report_of(Level::Line, 0..0);
        let clients = format!("{} of {}", report.taken, report.slots);
        Map::from_iter([place(&report.about), ("clients".to_owned(), clients.into())])
    }

    fn metrics(&self) -> Exposition {
        metrics::of(&self.report_of(Level::Line, 0..0))
    }

    fn report(&self, level: Level, slots: Range<u32>, as_text: bool) -> Value {
        let is_first = slots.start == 0;
        let report = self.report_of(level, slots);
        match as_text {
            true if is_first => Value::String(report.to_string()),
            true => Value::String(report.seats_to_string()),
            false => report.to_json().into(),
        }
    }

    fn drop_client(&mut self, slot: u16) -> Result<(), Refusal> {
        match Running::drop_client(self, Addr::Slot(slot)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::refused(format!("nobody is connected to {}:{slot}", Running::name(self)))),
            Err(error) => Err(refusal(self, &error)),
        }
    }

    fn option(&self, addr: Addr, key: &str) -> Result<String, Error> {
        Running::option(self, addr, key)
    }

    fn set_option(&mut self, addr: Addr, key: &str, value: &str) -> Result<(), Error> {
        Running::set_option(self, addr, key, value)
    }
}
