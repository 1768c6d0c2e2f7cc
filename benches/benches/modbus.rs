//! Time and allocations of the parts of one request: `cargo bench -p wharf-benches --bench modbus`.
//!
//! The column of allocations stays empty where there are none. Figures are per step; see `wharf_benches::micro`.
//! Where divan would take one step for a sample, which a timer of 20 ns cannot resolve, the number of steps is given.

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use wharf_benches::micro::{Bench, Part};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn steps(bencher: Bencher<'_, '_>, part: Part) {
    let mut bench = Bench::new();
    bencher.counter(ItemsCount::new(part.requests())).bench_local(|| bench.step(part));
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    steps(bencher, Part::Decode);
}

#[divan::bench]
fn execute(bencher: Bencher<'_, '_>) {
    steps(bencher, Part::Execute);
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    steps(bencher, Part::Encode);
}

#[divan::bench]
fn request(bencher: Bencher<'_, '_>) {
    steps(bencher, Part::Request);
}

#[divan::bench(sample_size = 256)]
fn machine(bencher: Bencher<'_, '_>) {
    steps(bencher, Part::Machine);
}

#[divan::bench(sample_size = 256)]
fn machine_batch(bencher: Bencher<'_, '_>) {
    steps(bencher, Part::MachineBatch);
}
