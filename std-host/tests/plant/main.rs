//! The plant file: what it accepts, what it refuses and in which words, and that it survives being printed.

mod admin;
mod faults;
mod harness;
mod keys;
mod points;
mod ports;
mod problems;
mod reading;
mod relations;
mod values;
