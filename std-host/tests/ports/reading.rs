//! What a reader gets, when, and in which order.

use crate::harness::{
    AT_ONCE, Client, PATIENT, SOON, UNHURRIED, departure, event, options, port, slot, until_received, until_waiting,
};
use std::thread;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Reason;
use wharf_host::event_loop::Loop;
use wharf_host::services::port::{Addr, Error, OnClose, Port, Read, Server};

/// The bytes of a read, and why they end there.
fn read(port: &Port, index: u16, room: usize) -> Result<(Vec<u8>, Eom), Error> {
    let mut buffer = vec![0; room];
    port.read(slot(index), &mut buffer, PATIENT).map(|read| (buffer[..read.len].to_vec(), read.eom))
}

#[test]
fn a_waiting_reader_blocks_neither_writer_nor_drop() {
    let port = port(&[]);
    let mut client = Client::seated(&port, 0);
    let reader = port.port();
    thread::scope(|scope| {
        let waits = scope.spawn(move || reader.read(slot(0), &mut [0; 8], PATIENT));
        until_waiting(&port, 1);
        assert_eq!(port.write(slot(0), b"hello", PATIENT), Ok(5));
        assert_eq!(client.take(5), b"hello");
        assert_eq!(port.peer(slot(0)), Ok(Some(client.address())));
        assert_eq!(port.option(slot(0), "linger").unwrap(), "2s");
        assert_eq!(port.flush(slot(0)), Ok(0));
        assert_eq!(port.run(|port| port.waiting()), Ok(1), "none of this ends the read");
        assert_eq!(port.drop_client(slot(0)), Ok(true));
        assert_eq!(waits.join().unwrap(), Err(Error::NotConnected));
    });
    assert_eq!(client.rest(), b"");
    drop(client);

    let _client = Client::seated(&port, 0);
    let reader = port.port();
    thread::scope(|scope| {
        let waits = scope.spawn(move || reader.read(slot(0), &mut [0; 8], PATIENT));
        until_waiting(&port, 1);
        port.disconnect(OnClose::Drop).unwrap();
        assert_eq!(waits.join().unwrap(), Err(Error::NotConnected));
    });
}

#[test]
fn readers_of_a_slot_are_served_in_the_order_of_their_calls() {
    let port = port(&[("input_eos", r"\n")]);
    let mut client = Client::seated(&port, 0);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..5)
            .map(|number| {
                let reader = port.port();
                let waits = scope.spawn(move || read(&reader, 0, 16));
                until_waiting(&port, number + 1);
                waits
            })
            .collect();
        // In the order of its call, this one would be the last; it is the only one that cannot wait.
        client.send(b"no");
        until_received(&port, 0, 2);
        assert_eq!(port.read(slot(0), &mut [0; 8], AT_ONCE), Err(Error::Timeout { bytes: 0 }));
        assert_eq!(port.read(slot(0), &mut [0; 8], SOON), Err(Error::Timeout { bytes: 0 }));
        client.send(b"ught\none\ntwo\nthree\nfour\n");
        let messages: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap().unwrap()).collect();
        let expected = ["nought", "one", "two", "three", "four"].map(|text| (text.as_bytes().to_vec(), Eom::EOS));
        assert_eq!(messages, expected);
    });
}

#[test]
fn a_reader_whose_time_is_over_gets_what_is_known_to_be_data() {
    let port = port(&[("input_eos", r"\r\n")]);
    let mut client = Client::seated(&port, 0);
    assert_eq!(port.read(slot(0), &mut [0; 8], SOON), Err(Error::Timeout { bytes: 0 }));
    client.send(b"AB\r");
    until_received(&port, 0, 3);
    let mut buffer = [0; 8];
    let slot_id = port.slot_id(slot(0)).unwrap();
    assert_eq!(port.read(slot(0), &mut buffer, SOON), Ok(Read { len: 2, eom: Eom::NONE, slot: slot_id }));
    assert_eq!(&buffer[..2], b"AB");
    // The rest may yet be half of a terminator.
    assert_eq!(port.read(slot(0), &mut buffer, AT_ONCE), Err(Error::Timeout { bytes: 0 }));
    client.send(b"\nC\r\nDE\r\n");
    assert_eq!(read(&port, 0, 8), Ok((b"".to_vec(), Eom::EOS)));
    assert_eq!(read(&port, 0, 8), Ok((b"C".to_vec(), Eom::EOS)));
    assert_eq!(read(&port, 0, 2), Ok((b"DE".to_vec(), Eom::CNT)));
    assert_eq!(read(&port, 0, 2), Ok((b"".to_vec(), Eom::EOS)));
}

#[test]
fn reading_into_nothing_closes_nobody() {
    let port = port(&[]);
    let mut client = Client::seated(&port, 0);
    for timeout in [AT_ONCE, SOON, None] {
        assert_eq!(port.read(slot(0), &mut [], timeout), Err(Error::EmptyBuffer));
    }
    client.send(b"still here");
    assert_eq!(read(&port, 0, 10), Ok((b"still here".to_vec(), Eom::CNT)));
    assert_eq!(port.read(slot(0), &mut [], None), Err(Error::EmptyBuffer));
    assert_eq!(port.write(slot(0), b"so are we", PATIENT), Ok(9));
    assert_eq!(client.take(9), b"so are we");
}

#[test]
fn what_is_no_slot_is_refused_by_name() {
    let port = port(&[("slots", "2")]);
    assert_eq!(port.read(Addr::Port, &mut [0; 1], AT_ONCE), Err(Error::NotASlot));
    let outside = Error::OutOfRange { addr: 2, slots: 2 };
    assert_eq!(port.read(slot(2), &mut [0; 1], AT_ONCE), Err(outside.clone()));
    assert_eq!(port.write(slot(2), b"x", AT_ONCE), Err(outside.clone()));
    assert_eq!(port.subport(2).map(|_| ()), Err(outside.clone()));
    assert_eq!(port.child_name(2), Err(outside));
    assert_eq!(port.child_names().collect::<Vec<_>>(), ["dev:0", "dev:1"]);
    assert_eq!(Addr::new(-2), Err(Error::OutOfRange { addr: -2, slots: 65_535 }));
    assert_eq!(port.read(slot(1), &mut [0; 1], None), Err(Error::NotConnected));
}

#[test]
fn a_closed_peer_reads_as_end_not_error() {
    let port = port(&[&UNHURRIED[..], &[("input_eos", r"\n")]].concat());
    let mut client = Client::seated(&port, 0);
    client.send(b"bye");
    drop(client);
    assert_eq!(read(&port, 0, 8), Ok((b"bye".to_vec(), Eom::NONE)));
    assert_eq!(read(&port, 0, 8), Ok((b"".to_vec(), Eom::END)));
    assert_eq!(read(&port, 0, 8), Err(Error::NotConnected));
    assert_eq!(port.wait_client(slot(0), AT_ONCE).is_ok(), port.slot_id(slot(0)).unwrap().is_some());
}

#[test]
fn the_end_is_given_to_the_first_reader_that_waits_and_to_no_other() {
    let port = port(&[]);
    let client = Client::seated(&port, 0);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|number| {
                let reader = port.port();
                let waits = scope.spawn(move || read(&reader, 0, 16));
                until_waiting(&port, number + 1);
                waits
            })
            .collect();
        client.end();
        let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        assert_eq!(ends, [Ok((Vec::new(), Eom::END)), Err(Error::NotConnected), Err(Error::NotConnected)]);
    });
}

#[test]
fn reader_and_flush_race_cleanly() {
    const RECORDS: u32 = 100_000;
    let port = port(&UNHURRIED);
    let client = Client::seated(&port, 0);
    let (reader, flusher) = (port.port(), port.port());
    let (read, flushed) = thread::scope(|scope| {
        let read = scope.spawn(move || {
            let (mut buffer, mut bytes) = ([0; 1000], Vec::new());
            loop {
                match reader.read(slot(0), &mut buffer, PATIENT) {
                    Ok(Read { eom: Eom::END, .. }) => return bytes,
                    Ok(read) => bytes.extend_from_slice(&buffer[..read.len]),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let flushed = scope.spawn(move || {
            let mut flushed = 0;
            while let Ok(discarded) = flusher.flush(slot(0)) {
                flushed += discarded;
            }
            flushed
        });
        let mut client = client;
        (0..RECORDS).for_each(|number| client.send(&number.to_be_bytes()));
        client.end();
        let read = read.join().unwrap();
        port.drop_client(slot(0)).unwrap();
        drop(client);
        (read, flushed.join().unwrap())
    });
    assert_eq!(read.len() + flushed, 4 * RECORDS as usize);
    // What was flushed is missing, and everything else is there once and in its order.
    let mut stream = (0..RECORDS).flat_map(u32::to_be_bytes);
    assert!(read.iter().all(|byte| stream.any(|sent| sent == *byte)), "no byte comes twice or too early");
}

#[test]
fn a_reader_that_waited_in_vain_may_cost_the_connection() {
    let port = port(&[("disconnect_on_read_timeout", "true")]);
    let events = port.subscribe().unwrap();
    let mut client = Client::seated(&port, 0);
    assert_eq!(port.read(slot(0), &mut [0; 8], AT_ONCE), Err(Error::Timeout { bytes: 0 }));
    client.send(b"x");
    assert_eq!(read(&port, 0, 8), Ok((b"x".to_vec(), Eom::NONE)));
    assert_eq!(port.read(slot(0), &mut [0; 8], SOON), Err(Error::Timeout { bytes: 0 }));
    assert_eq!(client.rest(), b"");
    drop(client);
    assert_eq!(event(&events, departure).1, Reason::ReadTimeout);
}

#[test]
fn a_call_on_the_thread_of_the_loop_would_wait_for_itself() {
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &options(&[]), |_| ()).unwrap();
    let port = server.port();
    assert_eq!(port.read(slot(0), &mut [0; 8], AT_ONCE), Err(Error::OnLoopThread));
    assert_eq!(port.connect(None), Err(Error::OnLoopThread));
    assert_eq!(port.option(Addr::Port, "linger"), Err(Error::OnLoopThread));
    assert!(port.local_addr().is_some(), "what needs no answer is told everywhere");
}
