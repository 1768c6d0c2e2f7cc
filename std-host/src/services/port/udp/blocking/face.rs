//! How the calls of threads reach a UDP port.

use super::ask::{Answer, Ask, Notes};
use crate::event_loop::{ContextKey, LoopMut};
use crate::services::port::calls::Face;
use crate::services::port::udp::home::Home;
use crate::services::port::udp::running::RunningUdp;
use crate::services::port::udp::site::Site;
use std::rc::Rc;

impl Face for Site {
    type Ask = Ask;
    type Answer = Answer;
    type Notes = Notes;
    type Running<'a> = RunningUdp<'a>;

    fn look<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>) {
        self.begin(lp);
        self.desk.receive(&mut self.running());
        self.drive(lp);
    }

    fn run<T: 'static>(self: &Rc<Self>, lp: &mut LoopMut<'_, T>, job: impl FnOnce(&mut RunningUdp<'_>)) {
        self.with(lp, job);
    }
}

/// Says where the port is. Once, before any call.
pub(in crate::services::port::udp) fn reach<T: 'static>(lp: &mut LoopMut<'_, T>, site: &Site, home: ContextKey<Home>) {
    site.desk.calls().reach(lp, move |lp| Home::find(lp, home));
}
