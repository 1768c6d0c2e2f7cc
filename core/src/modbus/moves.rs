//! Moving bytes within a buffer. `copy_within` and `rotate` carry checks that panic; a queue of a few kilobytes moves fast
//! enough byte by byte.

use core::cell::Cell;

/// Moves all but the last `by` bytes up by `by`.
pub(super) fn shift_up(bytes: &mut [u8], by: usize) {
    let cells = Cell::from_mut(bytes).as_slice_of_cells();
    let Some(targets) = cells.get(by..) else { return };
    for (target, source) in targets.iter().rev().zip(cells.iter().rev().skip(by)) {
        target.set(source.get());
    }
}

/// Moves all but the first `by` bytes down by `by`.
pub(super) fn shift_down(bytes: &mut [u8], by: usize) {
    let cells = Cell::from_mut(bytes).as_slice_of_cells();
    for (target, source) in cells.iter().zip(cells.get(by..).unwrap_or_default()) {
        target.set(source.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_shift_both_ways() {
        let mut bytes = [1, 2, 3, 4, 0, 0];
        shift_up(&mut bytes, 2);
        assert_eq!(bytes[2..], [1, 2, 3, 4]);
        shift_down(&mut bytes, 2);
        assert_eq!(bytes[..4], [1, 2, 3, 4]);
    }
}
