//! Wharf on a host: the event loop, and the services that drive the machines of `wharf-core` on it.

pub mod admin;
mod calendar;
pub mod config;
pub mod event_loop;
pub mod run;
pub mod services;
mod sys;
