//! A program that links only if no panic is reachable from device ports.
//!
//! It calls every public function of `wharf_core::port` in memory of a fixed size, as firmware would. The panic handler
//! calls a function that is nowhere: where the optimiser has removed every path to a panic, nobody asks for it. Whatever
//! goes into a call has passed through `black_box`, the machine and the lengths of its memory too. So what is shown holds
//! for every input in every state that the types permit, and not only for those that come up here. Nobody runs the program.
//!
//! Left out is what the library prints by code of its own that can panic: addresses ([`Display`] of `address::Address` and
//! `address::Host`), spans ([`Display`] of `datagrams::Error`), and all of [`Debug`](core::fmt::Debug).
//!
//! To see who panics, link nevertheless and look for the callers of `core::panicking`:
//!
//! ```text
//! RUSTFLAGS='-C link-arg=-Wl,--unresolved-symbols=ignore-all -C strip=none' cargo build --release
//! objdump -dC target/release/wharf-no-panic
//! ```
//!
//! [`Display`]: core::fmt::Display
#![no_std]
#![no_main]

mod address;
mod datagrams;
mod framing;
mod opaque;
mod server;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    address::check();
    framing::check();
    server::check();
    datagrams::check();
    #[cfg(feature = "seeded")]
    opaque::sink([0_u8][opaque::any(0)]);
    loop {
        core::hint::spin_loop();
    }
}

unsafe extern "C" {
    /// Defined nowhere.
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}
