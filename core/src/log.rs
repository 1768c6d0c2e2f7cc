//! Debug-level logging of discards, and the only file that names a logging backend.
//!
//! Outputs are the log of a machine, and its driver writes them down in one place. What a machine throws away on its own
//! account is also said here, to `log` and to `defmt` alike, because it is what one looks for on a chip without a driver
//! that keeps a log.

/// Logs a discard at debug level through every enabled backend, and does nothing without one.
pub(crate) fn discard(protocol: &'static str, reason: &'static str) {
    #[cfg(feature = "log")]
    ::log::debug!("{protocol}: discarded ({reason})");
    #[cfg(feature = "defmt")]
    ::defmt::debug!("{=str}: discarded ({=str})", protocol, reason);
    #[cfg(not(any(feature = "log", feature = "defmt")))]
    let _ = (protocol, reason);
}
