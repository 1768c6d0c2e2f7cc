//! What [`Shared`](super::shared::Shared) is built of: the standard library's primitives.
//!
//! `shared.rs` names them only through this module. Its model is the same file over a module like this one, made of
//! loom's.

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use std::sync::MutexGuard;

/// Takes a lock under which nothing can panic half-way.
#[cfg(not(wharf_tsan))]
pub(super) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The same for a run under ThreadSanitizer. The library that comes with the compiler is not instrumented, so what its
/// lock does after waiting goes unseen; an attempt that succeeds is compiled here, and seen.
#[cfg(wharf_tsan)]
pub(super) fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    use std::sync::TryLockError;
    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

/// A number of the calling thread, from 1, never used again.
pub(super) fn this_thread() -> u64 {
    use std::sync::atomic::Ordering;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
    // A thread that is being torn down has lost its number, and is inside no loop.
    NUMBER.try_with(|number| *number).unwrap_or(u64::MAX)
}
