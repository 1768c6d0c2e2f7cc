//! Calls from other threads: workers compute, the loop collects.
//!
//! `cargo run --example deferred`

#![forbid(unsafe_code)]

use std::error::Error;
use std::thread;
use wharf_host::event_loop::Loop;

fn main() -> Result<(), Box<dyn Error>> {
    // The sums belong to the loop's thread alone. Workers never touch them: they send closures that do.
    let mut lp = Loop::with_data(Vec::new())?;
    let handle = lp.handle();
    // A loop without sockets and timers would end at once.
    handle.keep_alive(true);

    let workers: Vec<_> = (1..=4_u64)
        .map(|worker| {
            let handle = handle.clone();
            thread::spawn(move || {
                let sum: u64 = (1..=worker * 1000).sum();
                // Does not wait. It is refused only after the end of the loop or when too many calls are queued.
                handle.defer(move |lp| lp.data().push((worker, sum))).expect("the loop runs and has room");
                // Waits for the answer.
                handle.call(|lp| lp.data().len()).expect("the loop runs")
            })
        })
        .collect();

    // The last worker to leave lets the loop go.
    thread::spawn(move || {
        for worker in workers {
            let seen = worker.join().expect("a worker does not panic");
            assert!((1..=4).contains(&seen));
        }
        handle.stop();
    });

    lp.run()?;
    let mut lp = lp.loop_mut();
    lp.data().sort_unstable();
    for (worker, sum) in lp.data() {
        println!("worker {worker}: {sum}");
    }
    Ok(())
}
