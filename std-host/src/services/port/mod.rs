//! Device ports on the event loop.
//!
//! | module | holds |
//! | --- | --- |
//! | [`options`] | every key of a port: its name, values, default, and when it may be set |
//! | [`trace`] | a transfer as text, and the names of the files for it |

pub mod options;
pub mod trace;
