//! `loop-idle`: Wharf's echo server under a counting allocator, for `loop-bench idle`. It says `listening ADDRESS`, and
//! answers every line of its input with what is allocated and what the loop has counted.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use wharf_benches::loops::idle::Answer;
use wharf_benches::loops::servers::wharf;
use wharf_host::event_loop::LoopOptions;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let (mut lp, address) = match wharf::echo(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false, LoopOptions::default())
    {
        Ok(both) => both,
        Err(error) => {
            eprintln!("loop-idle: {error}");
            return ExitCode::from(3);
        }
    };
    let handle = lp.handle();
    wharf::answer(move || {
        let counts = wharf::counts(&handle);
        let stats = ALLOCATOR.stats();
        Answer { bytes: (stats.bytes_allocated - stats.bytes_deallocated) as u64, counts }
    });
    println!("listening {address}");
    match lp.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop-idle: {error}");
            ExitCode::from(3)
        }
    }
}
