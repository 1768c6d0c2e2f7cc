//! Values of which the optimiser knows nothing.

use core::fmt::{self, Display, Write};
use core::hint::black_box;
use wharf_core::Instant;

/// Any value of the type, as far as the optimiser knows.
pub(crate) fn any<T>(value: T) -> T {
    black_box(value)
}

/// What a function has given is used.
pub(crate) fn sink<T>(value: T) {
    let _ = black_box(value);
}

/// Any bytes.
pub(crate) fn bytes() -> &'static [u8] {
    any::<&[u8]>(&[])
}

/// Any time.
pub(crate) fn now() -> Instant {
    any(Instant::ORIGIN)
}

/// Memory of any length.
pub(crate) fn memory<T>(memory: &mut [T]) -> &mut [T] {
    any(memory)
}

/// Prints to nowhere.
pub(crate) fn print(value: &dyn Display) {
    sink(write!(Nowhere, "{value}"));
}

struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        sink(text);
        any(Ok(()))
    }
}
