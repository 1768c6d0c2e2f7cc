//! A datagram costs a UDP port no allocation once it is warm: a test binary of its own, because the allocator is counted
//! for the whole process, and without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use wharf_host::event_loop::Loop;
use wharf_host::services::port::Addr;
use wharf_host::services::port::options::{Mode, Options, Udp};
use wharf_host::services::port::udp::{Event, Received, RunningUdp, UdpServer, UdpSubscriber};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Reads what comes and answers it.
struct Reader([u8; 2048]);

impl UdpSubscriber for Reader {
    fn hears_datagrams(&self) -> bool {
        false
    }

    fn event(&mut self, port: &mut RunningUdp<'_>, event: &Event) {
        if *event == Event::DataReady {
            let read = port.read(Addr::Slot(0), &mut self.0).unwrap();
            port.write(Addr::Slot(0), &self.0[..read.len]).unwrap();
        }
    }
}

/// Passes what comes on to somebody else, because its own port sends nothing.
struct Relay(UdpSocket);

impl UdpSubscriber for Relay {
    fn datagram(&mut self, _: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        self.0.send_to(datagram.bytes, datagram.peer).unwrap();
    }
}

/// So many datagrams there, and then back.
fn echo(client: &UdpSocket, to: SocketAddr, batch: usize) {
    let mut back = [0; 2048];
    for _ in 0..batch {
        client.send_to(&[5; 1000], to).unwrap();
    }
    for _ in 0..batch {
        assert_eq!(client.recv(&mut back).unwrap(), 1000);
    }
}

fn datagrams_allocate_nothing(what: &str, options: &Options, subscriber: Option<Box<dyn UdpSubscriber>>) {
    let mut lp = Loop::new().unwrap();
    let port = UdpServer::bind(&mut lp.loop_mut(), options, |port| {
        subscriber.into_iter().for_each(|subscriber| port.subscribe(subscriber));
    });
    let (to, handle) = (port.unwrap().local_addr().unwrap(), lp.handle());
    let client = thread::spawn(move || {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let rounds = |times| (0..times).for_each(|round| echo(&client, to, 1 + round % 40));
        rounds(100);
        let region = Region::new(ALLOCATOR);
        rounds(1000);
        let change = region.change();
        handle.stop();
        change
    });
    lp.run().unwrap();
    let change = client.join().unwrap();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{what}: {change:?}");
}

fn main() {
    let options = Options::new("dev", "127.0.0.1:0 udp").unwrap();
    datagrams_allocate_nothing("reader", &options, Some(Box::new(Reader([0; 2048]))));
    datagrams_allocate_nothing("echo", &Options { mode: Mode::Echo, ..options.clone() }, None);
    let relay = Relay(UdpSocket::bind("127.0.0.1:0").unwrap());
    datagrams_allocate_nothing("asyn", &Options { udp: Udp::Asyn, ..options }, Some(Box::new(relay)));
}
