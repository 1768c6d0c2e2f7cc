//! How a port is made for threads, opens, closes, and ends with its loop.

use super::{
    ALL, AT_ONCE, ONE, PATIENT, SOON, at_once, caller, ended, local, port, read, until, until_received, until_waiting,
};
use crate::harness::{V4, options};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use wharf_core::port::framing::Eom;
use wharf_host::event_loop::{Loop, LoopOptions};
use wharf_host::services::port::udp::{Event, Reason, RunningUdp, UdpPort, UdpServer, UdpSubscriber, UdpTold};
use wharf_host::services::port::{Error, Server};

#[test]
fn handles_go_to_any_thread() {
    const fn any_thread<T: Clone + Send + Sync + 'static>() {}
    any_thread::<UdpPort>();
}

#[test]
fn disconnect_ends_the_wait_of_every_reader_and_connect_may_follow_any_number_of_times() {
    let port = port(&[]);
    for round in 0..5 {
        let readers: Vec<_> = (0..3)
            .map(|number| {
                let reader = port.port();
                let waits = thread::spawn(move || read(&reader, 8, None));
                until_waiting(&port, number + 1);
                waits
            })
            .collect();
        port.disconnect().unwrap();
        assert_eq!(port.local_addr(), None, "it is closed when the call returns");
        for reader in readers {
            assert_eq!(ended(reader), Err(Error::NotConnected));
        }
        port.disconnect().unwrap();
        assert_eq!(at_once(&port, |port| read(port, 8, None)), Err(Error::NotConnected));
        assert_eq!(port.flush(ONE), Err(Error::NotConnected));
        assert_eq!(at_once(&port, |port| port.drain(ONE, None)), Err(Error::NotConnected));
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(at_once(&port, move |port| port.reply(to, b"x", None)), Err(Error::PortDown { why: None }));
        assert_eq!(at_once(&port, |port| port.broadcast(b"x", None)), Err(Error::PortDown { why: None }));
        port.connect(PATIENT).unwrap();
        port.connect(AT_ONCE).unwrap();
        let caller = caller(&port);
        caller.send(b"unread").unwrap();
        until_received(&port, 2 * round + 1);
        assert_eq!(port.flush(ALL), Ok(6));
        caller.send(b"read").unwrap();
        assert_eq!(read(&port, 8, PATIENT), Ok((b"read".to_vec(), Eom::END)));
        assert_eq!(port.write(ONE, b"answer", PATIENT), Ok(6));
        assert_eq!(crate::harness::hear(&caller), b"answer");
    }
}

#[test]
fn a_port_that_is_disconnected_has_given_its_address_back() {
    let port = port(&[]);
    let address = local(&port);
    port.disconnect().unwrap();
    port.set_option(ALL, "address", &format!("{address} udp")).unwrap();
    for _ in 0..100 {
        port.connect(PATIENT).unwrap();
        assert_eq!(port.local_addr(), Some(address));
        port.disconnect().unwrap();
        drop(UdpSocket::bind(address).expect("nobody has the address"));
    }
}

#[test]
fn a_failed_bind_is_down() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = UdpServer::spawn(options(&format!("{address} udp"), &[("auto_connect", "false")])).unwrap();
    let events = port.watch().unwrap();
    for _ in 0..3 {
        let Err(Error::PortDown { why: Some(why) }) = port.connect(PATIENT) else { panic!("the address is taken") };
        assert!(why.contains("bind") && why.contains(&address.to_string()), "{why:?} names what failed, and where");
        assert_eq!(port.local_addr(), None);
        let told = events.next(PATIENT).unwrap();
        assert!(matches!(told, UdpTold::Event(Event::PortDown { reason: Reason::NotOpened(_) })), "{told:?}");
        assert_eq!(port.write(ALL, b"x", None), Err(Error::PortDown { why: Some(why) }));
        assert_eq!(read(&port, 1, None), Err(Error::NotConnected));
    }
    drop(taken);
    port.connect(PATIENT).unwrap();
    assert_eq!(port.local_addr(), Some(address));
}

#[test]
fn a_port_that_opens_by_itself_comes_up_after_a_failure() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("{} udp", taken.local_addr().unwrap());
    let port = UdpServer::spawn(options(&address, &[("reopen", "1ms")])).unwrap();
    assert!(matches!(port.connect(PATIENT), Err(Error::PortDown { why: Some(_) })));
    drop(taken);
    until(|| port.local_addr().is_some());
    caller(&port).send(b"x").unwrap();
    assert_eq!(read(&port, 8, PATIENT), Ok((b"x".to_vec(), Eom::END)));
}

/// A port whose name is found when the sender says so, on a loop that runs.
fn looked_up(keys: &[(&str, &str)]) -> (UdpPort, mpsc::Sender<()>, impl FnOnce()) {
    let (answer, may_answer) = mpsc::channel();
    let may_answer = Mutex::new(may_answer);
    let lookup = move |_: &str, port: u16| {
        // A sender that is gone answers, too.
        let _ = may_answer.lock().unwrap().recv();
        Ok(vec![([127, 0, 0, 1], port).into()])
    };
    let options = options("device.example:0 udp", keys);
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let mut lp = Loop::with_lookup((), LoopOptions::default(), Arc::new(lookup)).unwrap();
        let server = UdpServer::bind(&mut lp.loop_mut(), &options, |_| {}).unwrap();
        let handle = lp.handle();
        handle.keep_alive(true);
        sender.send((server.port(), handle)).unwrap();
        lp.run().unwrap();
    });
    let (port, handle) = receiver.recv().unwrap();
    let end = move || {
        handle.stop();
        thread.join().unwrap();
    };
    (port, answer, end)
}

#[test]
fn a_connect_whose_time_is_over_leaves_the_port_closed() {
    let (port, answer, end) = looked_up(&[("auto_connect", "false")]);
    let events = port.watch().unwrap();
    for timeout in [SOON, AT_ONCE] {
        assert_eq!(port.connect(timeout), Err(Error::Timeout { bytes: 0 }));
        let closed = UdpTold::Event(Event::PortDown { reason: Reason::PortClosed });
        assert_eq!(events.next(PATIENT), Some(closed), "nobody opens it any more");
    }
    // One that is closed meanwhile is told so at once.
    let opener = port.clone();
    let waits = thread::spawn(move || opener.connect(None));
    until_waiting(&port, 1);
    port.disconnect().unwrap();
    assert!(matches!(ended(waits), Err(Error::PortDown { why: Some(why) }) if why.contains("closed")));
    drop(answer);
    port.connect(PATIENT).unwrap();
    assert!(port.local_addr().is_some());
    end();
}

#[test]
fn a_call_ends_with_the_loop_and_none_is_made_after_it() {
    let port = port(&[]);
    let events = port.subscribe().unwrap();
    let (reader, after) = (port.port(), port.port());
    let waits = thread::spawn(move || read(&reader, 8, None));
    until_waiting(&port, 1);
    // By force.
    drop(port);
    assert_eq!(ended(waits), Err(Error::Ended));
    assert_eq!(at_once(&after, |port| read(port, 8, None)), Err(Error::Ended));
    assert_eq!(at_once(&after, |port| port.write(ONE, b"x", None)), Err(Error::Ended));
    assert_eq!(at_once(&after, |port| port.connect(None)), Err(Error::Ended));
    assert_eq!(at_once(&after, |port| port.flush(ONE)), Err(Error::Ended));
    assert_eq!(after.option(ALL, "rest"), Err(Error::Ended));
    assert_eq!(after.local_addr(), None);
    ended(thread::spawn(move || while events.next(None).is_some() {}));
}

#[test]
fn stopping_closes_the_port_and_ends_the_loop() {
    let port = port(&[]);
    let (events, after) = (port.watch().unwrap(), port.port());
    ended(thread::spawn(move || port.stop())).unwrap();
    let closed = UdpTold::Event(Event::PortDown { reason: Reason::PortClosed });
    let told = ended(thread::spawn(move || (events.next(None), events.next(None))));
    assert_eq!(told, (Some(closed), None));
    assert_eq!(after.connect(None), Err(Error::Ended));
}

/// Opens the port whenever it goes down.
struct Opener;

impl UdpSubscriber for Opener {
    fn event(&mut self, port: &mut RunningUdp<'_>, event: &Event) {
        if matches!(event, Event::PortDown { .. }) {
            port.connect();
        }
    }
}

#[test]
fn a_port_that_is_being_stopped_is_opened_by_nobody() {
    let port = UdpServer::spawn_with(options(V4, &[]), |port| port.subscribe(Box::new(Opener))).unwrap();
    port.connect(PATIENT).unwrap();
    port.disconnect().unwrap();
    until(|| port.local_addr().is_some());
    // A port that were opened again and again would never be down, which is when its loop ends.
    ended(thread::spawn(move || port.stop())).unwrap();
}

#[test]
fn a_call_on_the_thread_of_the_loop_would_wait_for_itself() {
    let mut lp = Loop::new().unwrap();
    let port = UdpServer::bind(&mut lp.loop_mut(), &options(V4, &[]), |_| {}).unwrap().port();
    assert_eq!(read(&port, 8, AT_ONCE), Err(Error::OnLoopThread));
    assert_eq!(port.write(ONE, b"x", AT_ONCE), Err(Error::OnLoopThread));
    assert_eq!(port.connect(None), Err(Error::OnLoopThread));
    assert_eq!(port.disconnect(), Err(Error::OnLoopThread));
    assert_eq!(port.option(ALL, "rest"), Err(Error::OnLoopThread));
    assert_eq!(port.subscribe().map(|_| ()), Err(Error::OnLoopThread));
    assert!(port.local_addr().is_some(), "what needs no answer is told everywhere");
}

#[test]
fn a_port_without_slots_has_no_children() {
    let port = port(&[]);
    assert_eq!((port.name(), local(&port).port() > 0), ("dev", true));
    for index in [0, 1, u16::MAX] {
        let none = Error::OutOfRange { addr: index.into(), slots: 0 };
        assert_eq!(port.child_name(index), Err(none.clone()));
        assert_eq!(port.subport(index).map(|_| ()), Err(none));
    }
    assert_eq!(port.child_names().count(), 0);
}

#[test]
fn each_kind_of_port_is_started_by_its_own_server() {
    let error = Server::spawn(options(V4, &[])).unwrap_err().to_string();
    assert!(error.contains("udp::UdpServer"), "{error}");
    let error = UdpServer::spawn(options("127.0.0.1:0", &[])).unwrap_err().to_string();
    assert!(error.contains("is no UDP address: add udp"), "{error}");
}

#[test]
fn what_is_prepared_is_there_before_the_port_opens() {
    let (sender, receiver) = mpsc::channel();
    let prepare = move |port: &mut RunningUdp<'_>| {
        sender.send((port.name().to_owned(), port.local_addr())).unwrap();
    };
    let port = UdpServer::spawn_with(options(V4, &[]), prepare).unwrap();
    port.connect(PATIENT).unwrap();
    assert_eq!(receiver.recv().unwrap(), ("dev".to_owned(), None));
}
