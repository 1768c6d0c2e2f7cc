//! How a running host is asked, and told.

pub mod exposition;
