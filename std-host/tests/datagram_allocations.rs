//! Packets cost no allocation: a test binary of its own, because the allocator is counted for the whole process, and
//! without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::net::UdpSocket;
use std::thread;
use wharf_host::event_loop::{Loop, LoopOptions, Out, Packets, Udp, UdpHandler, UdpOptions};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Echo;

impl UdpHandler for Echo {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        let mut back = [Out::default(); 64];
        for (out, packet) in back.iter_mut().zip(batch) {
            *out = Out::to(packet.peer, packet.payload);
        }
        assert_eq!(u.send(&back[..batch.len()]).unwrap(), batch.len());
    }
}

/// So many packets there, and then back.
fn echo(client: &UdpSocket, batch: usize) {
    let mut back = [0; 64];
    for _ in 0..batch {
        client.send(&[5; 12]).unwrap();
    }
    for _ in 0..batch {
        assert_eq!(client.recv(&mut back).unwrap(), 12);
    }
}

fn the_arena_comes_with_the_first_bind_and_packets_allocate_nothing() {
    let region = Region::new(ALLOCATOR);
    let options = LoopOptions { receive_buffer: 1, ..LoopOptions::default() };
    let mut lp = Loop::with_options((), options).unwrap();
    let without = region.change().bytes_allocated;
    let any = || "127.0.0.1:0".parse().unwrap();
    let bytes = |lp: &mut Loop| {
        let region = Region::new(ALLOCATOR);
        let id = lp.loop_mut().bind_udp(any(), Echo, UdpOptions::default()).unwrap();
        (id, region.change().bytes_allocated)
    };
    // 32 places of 2048 bytes.
    let ((id, first), (_, second)) = (bytes(&mut lp), bytes(&mut lp));
    assert!(first >= 65_536 && first - second >= 65_536 && without < 65_536, "{without}, then {first}, then {second}");
    let addr = lp.loop_mut().udp(id).unwrap().local_addr().unwrap();
    let handle = lp.handle();
    let client = thread::spawn(move || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(addr).unwrap();
        let rounds = |times| {
            for round in 0..times {
                echo(&client, 1 + round % 40);
            }
        };
        rounds(100);
        let region = Region::new(ALLOCATOR);
        rounds(1000);
        let change = region.change();
        handle.stop();
        change
    });
    lp.run().unwrap();
    let change = client.join().unwrap();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}

fn main() {
    the_arena_comes_with_the_first_bind_and_packets_allocate_nothing();
}
