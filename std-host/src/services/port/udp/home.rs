//! Where a UDP port lives, for those who come from other threads.

use super::running::RunningUdp;
use super::site::Site;
use crate::event_loop::{ContextKey, Handler, LoopMut};
use std::rc::Rc;

/// A context without sockets, by which the loop of a port finds it.
pub(in crate::services::port) struct Home {
    pub(super) site: Rc<Site>,
}

impl Home {
    /// The port that lives there. Inside a deferred call, which is inside no callback.
    pub(super) fn find<T: 'static>(lp: &LoopMut<'_, T>, key: ContextKey<Self>) -> Rc<Site> {
        let site = lp.handler(key).map(|home| Rc::clone(&home.site));
        site.expect("a deferred call runs on its own loop, and inside no callback")
    }

    /// Lets `f` act on the port that lives there. Inside a deferred call, too.
    pub(in crate::services::port) fn visit<T: 'static>(
        lp: &mut LoopMut<'_, T>,
        key: ContextKey<Self>,
        f: impl FnOnce(&mut RunningUdp<'_>),
    ) {
        Self::find(lp, key).with(lp, f);
    }
}

impl<T: 'static> Handler<T> for Home {
    type Data = ();
}
