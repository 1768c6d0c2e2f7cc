//! A port opens and closes.

use crate::harness::{AT_ONCE, Client, PATIENT, SOON, UNHURRIED, event, options, port, slot, until};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::OpenFailure;
use wharf_host::event_loop::{Lookup, Loop, LoopOptions};
use wharf_host::services::port::options::Options;
use wharf_host::services::port::{Addr, Error, Event, OnClose, Port, Server};
use wharf_tests::loopback;

#[test]
fn a_failed_bind_is_down() {
    let taken = TcpListener::bind((loopback::own(), 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut options = options(&[("auto_connect", "false")]);
    options.set("address", &address.to_string()).unwrap();
    let port = Server::spawn(options).unwrap();
    let events = port.subscribe().unwrap();
    for _ in 0..3 {
        let Err(Error::PortDown { why: Some(why) }) = port.connect(PATIENT) else { panic!("the address is taken") };
        assert!(why.contains("listen") && why.contains(&address.to_string()), "{why:?} names what failed, and where");
        assert_eq!(port.local_addr(), None);
        let reason = event(&events, |event| if let Event::PortDown { reason } = event { Some(*reason) } else { None });
        assert_eq!(reason, wharf_core::port::server::DownReason::OpenFailed(OpenFailure::InUse));
        assert!(matches!(port.broadcast(b"x", None), Err(Error::PortDown { why: Some(_) })));
        assert_eq!(port.read(slot(0), &mut [0; 1], None), Err(Error::NotConnected));
    }
    // The port has not been harmed.
    drop(taken);
    port.connect(PATIENT).unwrap();
    assert_eq!(port.local_addr(), Some(address));
    let _client = Client::seated(&port, 0);
}

#[test]
fn a_port_that_opens_by_itself_comes_up_after_a_failure() {
    let taken = TcpListener::bind((loopback::own(), 0)).unwrap();
    let mut options = options(&[("reopen", "1ms")]);
    options.set("address", &taken.local_addr().unwrap().to_string()).unwrap();
    let port = Server::spawn(options).unwrap();
    assert!(matches!(port.connect(PATIENT), Err(Error::PortDown { why: Some(_) })));
    drop(taken);
    until(|| port.local_addr().is_some());
    let _client = Client::seated(&port, 0);
}

#[test]
fn a_subport_never_dials_its_own_listener() {
    let port = port(&[]);
    let events = port.subscribe().unwrap();
    let child = port.subport(0).unwrap();
    for _ in 0..10 {
        assert_eq!(child.connect(), Err(Error::NotConnected));
    }
    assert_eq!(child.disconnect(), Ok(false));
    assert_eq!(port.slot_id(slot(0)), Ok(None));
    assert_eq!(events.try_next(), None, "nothing has happened");
    let mut client = Client::seated(&port, 0);
    assert_eq!((child.connect(), child.peer()), (Ok(()), Ok(Some(client.address()))));
    assert_eq!(port.run(|port| port.totals().accepted), Ok(1));
    assert_eq!(child.disconnect(), Ok(true));
    assert_eq!(client.rest(), b"");
    port.disconnect(OnClose::Keep).unwrap();
    assert_eq!(child.connect(), Err(Error::NotConnected));
    assert_eq!(port.local_addr(), None, "it opens nothing either");
}

#[test]
fn disconnect_keep_leaves_the_clients() {
    let port = port(&[("slots", "2"), ("address", &format!("{}:0", loopback::own()))]);
    let mut client = Client::seated(&port, 0);
    let address = port.local_addr().unwrap();
    port.disconnect(OnClose::Keep).unwrap();
    assert_eq!(port.local_addr(), None);
    TcpStream::connect(address).expect_err("nobody is let in");
    for _ in 0..3 {
        assert_eq!(port.write(slot(0), b"there", PATIENT), Ok(5));
        assert_eq!(client.take(5), b"there");
        client.send(b"back");
        assert_eq!(port.read(slot(0), &mut [0; 4], PATIENT).map(|read| (read.len, read.eom)), Ok((4, Eom::CNT)));
        port.disconnect(OnClose::Keep).unwrap();
    }
    let id = port.slot_id(slot(0)).unwrap();
    port.connect(PATIENT).unwrap();
    assert_eq!(port.slot_id(slot(0)).unwrap(), id);
    let _second = Client::seated(&port, 1);
    port.disconnect(OnClose::Drop).unwrap();
    assert_eq!(client.rest(), b"");
}

#[test]
fn opening_waits_until_the_last_client_has_left_and_may_be_repeated() {
    let port = port(&UNHURRIED);
    for _ in 0..10 {
        let client = Client::seated(&port, 0);
        port.disconnect(OnClose::Drop).unwrap();
        assert_eq!(port.connect(SOON), Err(Error::Timeout { bytes: 0 }), "a client is still there");
        drop(client);
        port.connect(PATIENT).unwrap();
        port.connect(AT_ONCE).unwrap();
    }
}

#[test]
fn stopping_sends_what_is_queued_and_ends_the_loop() {
    let port = port(&[("linger", "60s")]);
    let mut client = Client::seated(&port, 0);
    // The client has not read, so that the system has taken all it can and the queue is full.
    let filled = crate::writing::fill(&port, 0);
    assert!(port.pending(slot(0)).unwrap().tx > 0);
    let (after, id) = (port.port(), port.slot_id(slot(0)).unwrap());
    thread::scope(|scope| {
        let stopped = scope.spawn(|| port.stop());
        // It listens no more, and the loop goes on for the client.
        until(|| after.local_addr().is_none());
        let opened = scope.spawn(|| {
            let opened = after.connect(None);
            if opened.is_ok() {
                // Else the loop would go on for ever.
                after.disconnect(OnClose::Drop).unwrap();
            }
            opened
        });
        for _ in 0..100 {
            assert_eq!(after.slot_id(slot(0)), Ok(id));
        }
        assert!(client.rest() == vec![b'.'; filled]);
        drop(client);
        stopped.join().unwrap().unwrap();
        assert_eq!(opened.join().unwrap(), Err(Error::Ended), "nobody opens a port that is being stopped");
    });
    assert_eq!(after.connect(None), Err(Error::Ended));
    assert_eq!(after.local_addr(), None);
}

#[test]
fn a_port_whose_loop_was_ended_by_force_is_down() {
    let port = port(&[]);
    let after = port.port();
    assert!(after.local_addr().is_some());
    drop(port);
    assert_eq!(after.local_addr(), None);
}

#[test]
fn a_port_whose_options_contradict_each_other_is_not_made() {
    let error = Server::spawn(options(&[("on_full", "text")])).unwrap_err().to_string();
    assert!(error.contains("port dev") && error.contains("full_text"), "{error}");
}

#[test]
fn who_waits_for_a_port_hears_that_it_is_closed_again() {
    let (asked, asks) = mpsc::sync_channel(1);
    let (say, said) = mpsc::channel::<()>();
    let said = std::sync::Mutex::new(said);
    let lookup: Lookup = Arc::new(move |_, port| {
        asked.send(()).unwrap();
        said.lock().unwrap().recv().unwrap();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    });
    with_lookup(lookup, "slow.example:0", |port| {
        thread::scope(|scope| {
            let waits = scope.spawn(|| port.connect(PATIENT));
            asks.recv_timeout(crate::harness::PATIENCE).unwrap();
            assert_eq!(port.connect(SOON), Err(Error::Timeout { bytes: 0 }));
            port.disconnect(OnClose::Keep).unwrap();
            assert!(matches!(waits.join().unwrap(), Err(Error::PortDown { why: Some(_) })));
        });
        assert_eq!(port.connect(SOON), Err(Error::Timeout { bytes: 0 }));
        // The name is found at last, and nobody wants it any more.
        let events = port.subscribe().unwrap();
        say.send(()).unwrap();
        event(&events, |event| matches!(event, Event::PortDown { .. }).then_some(()));
        assert_eq!(port.local_addr(), None);
        say.send(()).unwrap();
        port.connect(PATIENT).unwrap();
    });
}

/// Calls `f` with a port that opens when it is asked to, on a loop that looks names up like this.
fn with_lookup(lookup: Lookup, address: &str, f: impl FnOnce(&Port)) {
    let mut options = Options::new("named", address).unwrap();
    options.set("auto_connect", "false").unwrap();
    let (sender, receiver) = mpsc::channel();
    let serve = thread::spawn(move || {
        let mut lp = Loop::with_lookup((), LoopOptions::default(), lookup).unwrap();
        let server = Server::bind(&mut lp.loop_mut(), &options, |_| ()).unwrap();
        let handle = lp.handle();
        handle.keep_alive(true);
        sender.send((server.port(), handle)).unwrap();
        lp.run().unwrap();
    });
    let (port, handle) = receiver.recv().unwrap();
    f(&port);
    handle.stop();
    serve.join().unwrap();
}

#[test]
fn localhost_empty_host_and_names_really_bind() {
    let lookup = |addresses: &'static [[u8; 4]]| -> Lookup {
        Arc::new(move |host, port| {
            assert_eq!(host, "bench.example");
            Ok(addresses.iter().map(|ip| SocketAddr::from((*ip, port))).collect())
        })
    };
    let here = lookup(&[[127, 0, 0, 1]]);
    for (address, ip) in [
        ("localhost:0", "127.0.0.1"),
        ("LOCALHOST:0", "127.0.0.1"),
        (":0", "0.0.0.0"),
        ("bench.example:0", "127.0.0.1"),
    ] {
        with_lookup(Arc::clone(&here), address, |port| {
            port.connect(PATIENT).unwrap();
            let local = port.local_addr().unwrap();
            assert_eq!(local.ip().to_string(), ip, "{address}");
            assert_ne!(local.port(), 0);
            let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], local.port())));
            port.wait_client(Addr::Port, PATIENT).unwrap();
            assert_eq!(port.write(slot(0), address.as_bytes(), PATIENT), Ok(address.len()));
            assert_eq!(client.take(address.len()), address.as_bytes());
        });
    }
    // Of several addresses the first that can be had, and none at all in place of a name that has none here.
    with_lookup(lookup(&[[192, 0, 2, 1], [127, 0, 0, 1]]), "bench.example:0", |port| {
        port.connect(PATIENT).unwrap();
        assert_eq!(port.local_addr().unwrap().ip().to_string(), "127.0.0.1");
    });
    with_lookup(lookup(&[[192, 0, 2, 1]]), "bench.example:0", |port| {
        let Err(Error::PortDown { why: Some(why) }) = port.connect(PATIENT) else { panic!("that is not ours") };
        assert!(why.contains("192.0.2.1"), "{why}");
        assert_eq!(port.local_addr(), None);
    });
}
