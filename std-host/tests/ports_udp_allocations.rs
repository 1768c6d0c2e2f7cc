//! A datagram costs a UDP port no allocation once it is warm, nor does a call that waits for it: a test binary of its own,
//! because the allocator is counted for the whole process, and without the test harness, whose thread allocates when it likes.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::Loop;
use wharf_host::services::port::options::{Mode, Options, Udp};
use wharf_host::services::port::udp::{
    Event, Received, RunningUdp, UdpBroadcast, UdpPort, UdpServer, UdpSubscriber, UdpTold,
};
use wharf_host::services::port::{Addr, Error, Events};

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

/// Sends what comes to all, by one call or the other.
#[derive(Default)]
struct Crier {
    told: UdpBroadcast,
    writes: bool,
}

impl UdpSubscriber for Crier {
    fn datagram(&mut self, port: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        if self.writes {
            assert_eq!(port.write(Addr::Port, datagram.bytes), Ok(datagram.bytes.len()));
        } else {
            port.broadcast_into(datagram.bytes, &mut self.told).unwrap();
            assert_eq!((self.told.queued, self.told.accepted), (1, datagram.bytes.len()));
        }
        self.writes = !self.writes;
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

const PATIENT: Option<Duration> = Some(Duration::from_secs(30));
const ONE: Addr = Addr::Slot(0);
/// Longer than any datagram.
static HUGE: [u8; 1 << 20] = [0; 1 << 20];

/// Every call that waits, and some that do not. A reader that waits is woken by the client.
fn calls(port: &UdpPort, client: &UdpSocket, rounds: usize, told: &mut UdpBroadcast) {
    let (mut buffer, mut back) = ([0; 2048], [0; 2048]);
    for round in 0..rounds {
        let timeout = if round % 2 == 0 { None } else { PATIENT };
        client.send(&[6; 1000]).unwrap();
        let read = port.read(ONE, &mut buffer, timeout).unwrap();
        assert_eq!(read.len, 1000);
        assert_eq!(port.write(ONE, &buffer[..1000], timeout), Ok(1000));
        port.reply(read.from.unwrap().peer, b"by name", timeout).unwrap();
        port.broadcast_into(b"to all", timeout, told).unwrap();
        assert_eq!(port.write(Addr::Port, b"sum", timeout), Ok(3));
        port.drain(ONE, timeout).unwrap();
        for len in [1000, 7, 6, 3] {
            assert_eq!(client.recv(&mut back).unwrap(), len);
        }
        assert!(port.peer(ONE).unwrap().is_some());
        assert_eq!(port.read(ONE, &mut buffer, Some(Duration::ZERO)), Err(Error::Timeout { bytes: 0 }));
        if round % 100 == 0 {
            assert_eq!(port.read(ONE, &mut buffer, Some(Duration::from_micros(1))), Err(Error::Timeout { bytes: 0 }));
        }
        assert_eq!((port.flush(ONE).unwrap(), port.pending(ONE).unwrap().rx), (0, 0));
    }
}

/// The same of a cache: what is there is read at once, and no more.
fn cached(port: &UdpPort, client: &UdpSocket, rounds: usize) {
    let mut buffer = [0; 64];
    for _ in 0..rounds {
        client.send(&[7; 100]).unwrap();
        while port.pending(ONE).unwrap().rx == 0 {
            thread::yield_now();
        }
        for len in [64, 36, 0] {
            assert_eq!(port.read(ONE, &mut buffer, None).unwrap().len, len);
        }
        assert_eq!(port.write(ONE, b"no", None), Err(Error::ReadOnly));
    }
}

/// Takes datagrams of 1 to 100 bytes as they come.
fn hear(client: &UdpSocket, events: &Events<UdpTold>, rounds: usize, told: &mut UdpTold) {
    for round in 0..rounds {
        let datagram = &[8; 100][..=round % 100];
        client.send(datagram).unwrap();
        loop {
            assert!(events.next_into(told, PATIENT));
            if let UdpTold::Datagram { bytes, .. } = &*told {
                assert_eq!(bytes, datagram);
                break;
            }
        }
    }
}

fn calls_on_a_warm_handle_allocate_nothing(options: &Options, calls: impl Fn(&UdpPort, &UdpSocket, usize)) {
    let port = UdpServer::spawn(options.clone()).unwrap();
    port.connect(PATIENT).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(PATIENT).unwrap();
    client.connect(port.local_addr().unwrap()).unwrap();
    // What goes out has come to the end of its memory a few times, where a datagram is put together.
    calls(&port, &client, 1500);
    let region = Region::new(ALLOCATOR);
    calls(&port, &client, 3000);
    // What no peer could get is refused before it is copied.
    let too_long = Err(Error::TooLong { len: HUGE.len(), max: 65_507 });
    assert_eq!(port.reply(client.local_addr().unwrap(), &HUGE, PATIENT), too_long);
    let too_long = Err(Error::TooLong { len: HUGE.len(), max: 65_527 });
    assert_eq!(port.write(ONE, &HUGE, PATIENT), too_long);
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{:?}: {change:?}", options.udp);
    port.stop().unwrap();
}

fn main() {
    let options = Options::new("dev", "127.0.0.1:0 udp").unwrap();
    datagrams_allocate_nothing("reader", &options, Some(Box::new(Reader([0; 2048]))));
    datagrams_allocate_nothing("echo", &Options { mode: Mode::Echo, ..options.clone() }, None);
    let relay = Relay(UdpSocket::bind("127.0.0.1:0").unwrap());
    let asyn = Options { udp: Udp::Asyn, ..options.clone() };
    datagrams_allocate_nothing("crier", &options, Some(Box::new(Crier::default())));
    datagrams_allocate_nothing("asyn", &asyn, Some(Box::new(relay)));
    let told = std::cell::RefCell::new(UdpBroadcast::default());
    calls_on_a_warm_handle_allocate_nothing(&options, |port, client, rounds| {
        calls(port, client, rounds, &mut told.borrow_mut());
    });
    calls_on_a_warm_handle_allocate_nothing(&asyn, cached);
    let heard = std::cell::RefCell::new((None, UdpTold::Missed(0)));
    calls_on_a_warm_handle_allocate_nothing(&options, |port, client, rounds| {
        let (subscriptions, told) = &mut *heard.borrow_mut();
        // From the second nothing is ever taken, so that its oldest datagrams go.
        let (events, _) = subscriptions.get_or_insert_with(|| (port.subscribe().unwrap(), port.subscribe().unwrap()));
        hear(client, events, rounds, told);
    });
}
