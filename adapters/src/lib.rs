//! Wharf machines on the stream traits of the embedded world.
//!
//! One file per trait family, chosen by features that carry the trait crate's version, and no logic: a decision about a
//! protocol belongs to `wharf-core`. The families (`embedded-io`, `embedded-io-async`, `nb`) are not here yet.
#![no_std]
#![forbid(unsafe_code)]
