//! What happens at a port, as threads hear of it.

use super::{ONE, PATIENT, caller, ended, local, port, read, until_waiting};
use std::thread;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::Events;
use wharf_host::services::port::udp::{Event, Origin, Reason, UdpTold};

fn next(events: &Events<UdpTold>) -> UdpTold {
    events.next(PATIENT).expect("it is told in time")
}

#[test]
fn a_subscriber_gets_every_datagram_whole_whoever_reads() {
    let port = port(&[]);
    let (events, watch, caller) = (port.subscribe().unwrap(), port.watch().unwrap(), caller(&port));
    let ready = || UdpTold::Event(Event::DataReady);
    for text in [b"0123456789".as_slice(), b"", b"ab"] {
        caller.send(text).unwrap();
        assert_eq!((next(&events), next(&watch)), (ready(), ready()));
        let UdpTold::Datagram { bytes, from: Origin { peer, truncated, .. } } = next(&events) else { panic!("none") };
        assert_eq!((bytes.as_slice(), peer, truncated), (text, caller.local_addr().unwrap(), false));
        // In FIFO mode a reader that comes late finds what is still there.
        let whole = read(&port, 20, PATIENT).unwrap();
        assert_eq!(whole, (text.to_vec(), Eom::END));
    }
    // One that waits for it takes the begin of it alone.
    let reader = port.port();
    let waits = thread::spawn(move || read(&reader, 4, None));
    until_waiting(&port, 1);
    caller.send(b"0123456789").unwrap();
    assert_eq!(ended(waits), Ok((b"0123".to_vec(), Eom::CNT)));
    assert_eq!((next(&events), next(&watch)), (ready(), ready()));
    let told = next(&events);
    assert!(matches!(&told, UdpTold::Datagram { bytes, .. } if bytes == b"0123456789"), "{told:?}");
    port.disconnect().unwrap();
    let closed = UdpTold::Event(Event::PortDown { reason: Reason::PortClosed });
    assert_eq!((next(&events), next(&watch)), (closed.clone(), closed));
    port.connect(PATIENT).unwrap();
    let up = UdpTold::Event(Event::PortUp { local: local(&port) });
    assert_eq!((next(&events), next(&watch)), (up.clone(), up));
    assert_eq!((events.try_next(), watch.try_next()), (None, None));
}

#[test]
fn one_who_hears_late_is_told_how_much_it_missed() {
    let port = port(&[]);
    let (slow, prompt, caller) = (port.subscribe().unwrap(), port.subscribe().unwrap(), caller(&port));
    let (mut told, mut datagrams) = (0, 0);
    for number in 0..1000_u32 {
        caller.send(&number.to_be_bytes()).unwrap();
        while datagrams <= number {
            told += 1;
            datagrams += u32::from(matches!(next(&prompt), UdpTold::Datagram { .. }));
        }
    }
    // All is told to one before it is told to the other, but for the last.
    super::until_received(&port, 1000);
    assert_eq!(port.flush(ONE).map(|_| ()), Ok(()));
    assert_eq!(next(&slow), UdpTold::Missed(told - 1024));
    let (mut kept, mut last) = (0, None);
    while let Some(told) = slow.try_next() {
        kept += 1;
        if let UdpTold::Datagram { bytes, .. } = told {
            last = Some(u32::from_be_bytes(bytes.try_into().unwrap()));
        }
    }
    assert_eq!((kept, last), (1024, Some(999)));
}

#[test]
fn a_full_ring_tells_a_subscriber_how_many_it_lost() {
    let port = port(&[("depth", "1")]);
    let (events, caller) = (port.subscribe().unwrap(), caller(&port));
    // A reader that takes part and does not read.
    read(&port, 1, Some(std::time::Duration::ZERO)).unwrap_err();
    caller.send(b"kept").unwrap();
    caller.send(b"dropped").unwrap();
    let mut lost = 0;
    while lost == 0 {
        if let UdpTold::Lost(count) = next(&events) {
            lost += count;
        }
    }
    assert_eq!((lost, read(&port, 8, PATIENT)), (1, Ok((b"kept".to_vec(), Eom::END))));
}
