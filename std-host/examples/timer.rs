//! Timers: one that repeats without drift, one that stops the loop.
//!
//! `cargo run --example timer`

#![forbid(unsafe_code)]

use std::time::Duration;
use wharf_host::event_loop::{Error, Loop};

fn main() -> Result<(), Error> {
    // The loop owns one value that every callback reaches: here the number of ticks.
    let mut lp = Loop::with_data(0)?;
    let mut set = lp.loop_mut();

    let period = Duration::from_millis(10);
    set.add_timer(period, Some(period), |lp, tick| {
        // Ticks that came due while something else took long arrive as one call.
        *lp.data() += 1 + tick.missed;
        println!("{} ticks", lp.data());
        if *lp.data() >= 5 {
            let id = tick.id;
            lp.close(id).expect("a timer may be closed in its own callback");
        }
    })?;

    // When no timer is armed and no socket is open, the loop ends by itself. This one does not keep it alive.
    let guard = set.add_timer(Duration::from_secs(60), None, |lp, _| lp.stop())?;
    set.unref_timer(guard, true)?;

    lp.run()?;
    println!("done");
    Ok(())
}
