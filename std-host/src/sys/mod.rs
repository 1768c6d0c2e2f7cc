//! The only place that names the system's C interface: one file per kernel resource, each a safe face over it.

pub(crate) mod clock;
pub(crate) mod datagrams;
pub(crate) mod errno;
pub(crate) mod inherited;
