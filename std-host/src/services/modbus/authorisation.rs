//! Who may do what on a server: a hook that is asked about each request, and can be changed while clients are connected.
//!
//! What it is asked, when, and what becomes of a request that it refuses is in [`wharf_core::modbus::authorisation`].

use super::Handle;
use super::running::Running;
use crate::event_loop::Error;

pub use wharf_core::modbus::access::{Access, Accesses, Area};
pub use wharf_core::modbus::authorisation::AccessRequest;

/// A hook as a server keeps it.
pub type Authorisation = Box<dyn FnMut(&AccessRequest<'_>) -> bool + Send>;

impl Running<'_> {
    /// Has `hook` say who may do what, from the next request on, whoever said it before. It runs on the loop, so it must
    /// not block.
    ///
    /// A client may be served before a hook that is set here at run time; [`Server::spawn_with`] sets one before anybody
    /// is let in.
    ///
    /// [`Server::spawn_with`]: super::Server::spawn_with
    pub fn set_authorisation(&mut self, hook: impl FnMut(&AccessRequest<'_>) -> bool + Send + 'static) {
        self.shared().units.borrow_mut().authorisation = Some(Box::new(hook));
    }

    /// Everybody may do everything again, from the next request on.
    pub fn clear_authorisation(&mut self) {
        self.shared().units.borrow_mut().authorisation = None;
    }
}

impl Handle {
    /// [`Running::set_authorisation`].
    ///
    /// # Errors
    /// As for [`Handle::call`].
    pub fn set_authorisation(
        &self,
        hook: impl FnMut(&AccessRequest<'_>) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        self.call(move |server| server.set_authorisation(hook))
    }

    /// [`Running::clear_authorisation`].
    ///
    /// # Errors
    /// As for [`Handle::call`].
    #[expect(clippy::redundant_closure_for_method_calls, reason = "the method alone is not general enough")]
    pub fn clear_authorisation(&self) -> Result<(), Error> {
        self.call(|server| server.clear_authorisation())
    }
}
