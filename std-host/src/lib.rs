//! Wharf on a host: the event loop, and the services that drive the machines of `wharf-core` on it.

pub mod event_loop;
mod sys;
