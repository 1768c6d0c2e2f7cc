//! What is hard to bring about, or to see, from outside of the service.

mod failures;
mod options;
mod points;
