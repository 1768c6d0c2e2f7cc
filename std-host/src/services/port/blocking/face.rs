//! How the calls of threads reach a TCP port.

use super::ask::{Answer, Ask, Notes};
use crate::event_loop::{ContextKey, LoopMut};
use crate::services::port::calls::{Calls, Face};
use crate::services::port::clients::Clients;
use crate::services::port::running::Running;
use crate::services::port::site::Site;
use std::rc::Rc;

impl Face for Site {
    type Ask = Ask;
    type Answer = Answer;
    type Notes = Notes;
    type Running<'a> = Running<'a>;

    fn look<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        self.begin(lp);
        self.desk.receive(&mut self.running());
        self.drive(lp);
    }

    fn run<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, job: impl FnOnce(&mut Running<'_>)) {
        self.with(lp, job);
    }
}

/// Says where the port is. Once, before any call.
pub(in crate::services::port) fn reach<T: 'static>(calls: &Calls<Site>, lp: &LoopMut<'_, T>, key: ContextKey<Clients>) {
    calls.reach(lp, move |lp| {
        let site = lp.handler(key).map(|clients| Rc::clone(&clients.site));
        site.expect("a deferred call runs on its own loop, and inside no callback")
    });
}
