//! What a process was given by whoever started it.

/// Whether the process was started with this signal ignored, as `nohup` does with SIGHUP. False where the system does
/// not tell.
pub(crate) fn ignores(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status, signal))
}

fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The lowest bit is signal 1.
    u32::try_from(signal - 1).ok().and_then(|bit| mask.checked_shr(bit)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read_from_its_lowest_bit() {
        let status = "Name:\twharf\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert!(is_ignored(status, libc::SIGHUP) && is_ignored(status, libc::SIGPIPE));
        assert!(!is_ignored(status, libc::SIGINT) && !is_ignored(status, 0) && !is_ignored("", libc::SIGHUP));
    }
}
