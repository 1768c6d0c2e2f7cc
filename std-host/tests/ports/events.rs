//! What happens at a port, as threads hear of it.

use crate::harness::{AT_ONCE, Client, PATIENCE, PATIENT, event, port, slot};
use std::sync::mpsc;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Reason;
use wharf_host::services::port::{Event, Events, Running, Subscriber, Told};

fn next(events: &Events) -> Told {
    events.next(PATIENT).expect("it is told in time")
}

#[test]
fn a_client_comes_and_goes_in_order() {
    let port = port(&[("consumer", "push"), ("input_eos", r"\n")]);
    let events = port.subscribe().unwrap();
    let mut client = Client::seated(&port, 0);
    let id = port.slot_id(slot(0)).unwrap().unwrap();
    assert_eq!(next(&events), Told::Event(Event::Connected { slot: id, peer: client.address() }));
    client.send(b"message\n");
    assert_eq!(next(&events), Told::Event(Event::DataReady { slot: id }));
    assert_eq!(next(&events), Told::Message { slot: id, bytes: b"message".to_vec(), eom: Eom::EOS });
    client.end();
    assert_eq!(next(&events), Told::Event(Event::InputEnded { slot: id }));
    assert_eq!(port.drop_client(slot(0)), Ok(true));
    let left = Event::Disconnected { slot: id, reason: Reason::LocalClosed, unread: 0, unsent: 0 };
    assert_eq!(next(&events), Told::Event(left));
    assert_eq!(events.try_next(), None);
}

#[test]
fn who_is_1024_events_behind_loses_the_oldest_and_is_told() {
    let port = port(&[("consumer", "push"), ("input_eos", r"\n")]);
    let (slow, quick) = (port.subscribe().unwrap(), port.subscribe().unwrap());
    let mut client = Client::seated(&port, 0);
    (0..2000).for_each(|number| client.send(format!("{number}\n").as_bytes()));
    let mut told = 0_u64;
    loop {
        match next(&quick) {
            Told::Missed(missed) => told += missed,
            Told::Message { bytes, .. } if bytes == b"1999" => break,
            Told::Event(_) | Told::Message { .. } => told += 1,
            other => panic!("{other:?}"),
        }
        assert!(told < 10_000);
    }
    assert_eq!(next(&slow), Told::Missed(told + 1 - 1024));
    let (mut kept, mut messages) = (0, Vec::new());
    while let Some(told) = slow.try_next() {
        kept += 1;
        if let Told::Message { bytes, .. } = told {
            messages.push(String::from_utf8(bytes).unwrap().parse::<u32>().unwrap());
        }
    }
    assert_eq!((kept, messages.last()), (1024, Some(&1999)));
    assert!(messages.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the latest are there, in order");
}

#[test]
fn what_is_taken_in_place_of_another_uses_its_memory_again() {
    let port = port(&[("consumer", "push"), ("input_eos", r"\n")]);
    let events = port.subscribe().unwrap();
    let mut told = Told::Missed(7);
    assert!(!events.next_into(&mut told, AT_ONCE));
    assert_eq!(told, Told::Missed(7), "it stays as it was");
    let mut client = Client::seated(&port, 0);
    let id = port.slot_id(slot(0)).unwrap().unwrap();
    assert!(events.next_into(&mut told, PATIENT));
    assert_eq!(told, Told::Event(Event::Connected { slot: id, peer: client.address() }));
    let mut memory = None;
    for message in ["the longest", "", "shorter", "as long too"] {
        client.send(format!("{message}\n").as_bytes());
        assert!(events.next_into(&mut told, PATIENT));
        assert_eq!(told, Told::Event(Event::DataReady { slot: id }));
        assert!(events.next_into(&mut told, PATIENT));
        assert_eq!(told, Told::Message { slot: id, bytes: message.into(), eom: Eom::EOS });
        let Told::Message { bytes, .. } = &told else { unreachable!("it is one") };
        assert_eq!(*memory.get_or_insert(bytes.as_ptr()), bytes.as_ptr());
    }
    port.stop().unwrap();
    while events.next_into(&mut told, PATIENT) {}
    assert!(matches!(told, Told::Event(Event::PortDown { .. })), "the last stays: {told:?}");
}

/// One who hears no more once it has been told something, and tells that it is gone.
struct Once {
    told: bool,
    _gone: mpsc::Sender<()>,
}

impl Subscriber for Once {
    fn event(&mut self, _: &mut Running<'_>, _: &Event) {
        assert!(!std::mem::replace(&mut self.told, true), "it is told no more");
    }

    fn has_left(&self) -> bool {
        self.told
    }
}

#[test]
fn a_subscription_that_is_over_is_forgotten_and_no_other() {
    let port = port(&[]);
    let (dropped, kept) = (port.subscribe().unwrap(), port.subscribe().unwrap());
    drop(dropped);
    let (sender, gone) = mpsc::channel();
    port.run(|port| port.subscribe(Box::new(Once { told: false, _gone: sender }))).unwrap();
    let client = Client::seated(&port, 0);
    event(&kept, |event| matches!(event, Event::Connected { .. }).then_some(()));
    assert_eq!(kept.try_next(), None);
    assert_eq!(gone.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    drop(client);
    event(&kept, |event| matches!(event, Event::Disconnected { .. }).then_some(()));
}
