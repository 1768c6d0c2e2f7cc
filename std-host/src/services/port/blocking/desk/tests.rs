use super::*;
use crate::event_loop::Loop;
use crate::services::port::blocking::ask::Whom;
use crate::services::port::options::Options;
use crate::services::port::server::Server;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use wharf_core::port::server::{Input, Outcome, Output};
use wharf_core::{Machine, Step};

/// A call for which no thread waits.
fn call(ask: Ask, message: &[u8]) -> Arc<Transfer> {
    let transfer = Transfer::new(ask);
    transfer.state().begin(ask, true);
    transfer.state().put(message);
    transfer
}

/// A port with one client, between two turns of its loop.
fn with_a_client(f: impl FnOnce(&Site)) {
    let mut lp = Loop::new().unwrap();
    let options = Options::new("dev", "127.0.0.1:0").unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &options, |_| ()).unwrap();
    let site = lp.loop_mut().handler(server.context()).map(|clients| Rc::clone(&clients.site)).unwrap();
    let _client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while site.running().slot_at(0).is_none() {
        assert!(Instant::now() < end, "the client has come");
        lp.turn(Some(Duration::from_secs(1))).unwrap();
    }
    f(&site);
}

/// The system takes all that is queued, and the desk has not heard of it; what that was.
fn send_all(site: &Site) -> Vec<u8> {
    let mut sent = Vec::new();
    loop {
        let step = site.machine.borrow_mut().poll_output();
        let Step::Do(output) = step else { return sent };
        if let Output::Transmit { slot } = output {
            let bytes = site.machine.borrow().transmit(slot).concat();
            site.tell_now(Input::Transmitted { slot, len: bytes.len() });
            sent.extend(bytes);
        }
    }
}

#[test]
fn nobody_writes_into_the_middle_of_a_message_whoever_gives_up_behind_it() {
    with_a_client(|site| {
        let desk = &site.desk;
        let bring = |transfer: &Arc<Transfer>| {
            desk.calls().push(transfer);
            desk.receive(&mut site.running());
        };
        // What is on the loop could write now: there is room in the queue, and the line is not served yet.
        let is_kept_out = || {
            assert_eq!(site.running().write(Addr::Slot(0), b"x"), Err(Error::Full { room: 0 }));
            assert_eq!(site.running().broadcast(b"x").unwrap().outcomes, [Outcome::Full]);
        };
        // Longer than the queue, so that it waits in its middle.
        let long = call(Ask::Write(Whom { addr: Addr::Slot(0), client: None }), &[b'w'; 40_000]);
        bring(&long);
        desk.serve(site);
        let mut sent = send_all(site);
        assert!((1..40_000).contains(&sent.len()));
        is_kept_out();
        let behind = call(Ask::Broadcast, b"behind");
        bring(&behind);
        assert_eq!((desk.waiting(), behind.state().notes.awaited), (2, 1), "it waits behind the other");
        is_kept_out();
        behind.state().overdue = true;
        bring(&behind);
        assert_eq!((desk.waiting(), behind.state().is_waiting()), (1, false), "it has gone with its answer");
        is_kept_out();
        while long.state().is_waiting() {
            desk.touch(0);
            assert!(desk.serve(site), "there is room");
            sent.extend(send_all(site));
        }
        assert!(sent == [b'w'; 40_000], "nothing has come between");
        assert_eq!(site.running().write(Addr::Slot(0), b"x"), Ok(1));
    });
}

#[test]
fn a_message_that_is_given_up_in_its_middle_keeps_nobody_out() {
    with_a_client(|site| {
        let desk = &site.desk;
        for (ask, is_done) in [(Ask::Write(Whom { addr: Addr::Slot(0), client: None }), false), (Ask::Broadcast, true)]
        {
            let long = call(ask, &[b'w'; 40_000]);
            desk.calls().push(&long);
            desk.receive(&mut site.running());
            desk.serve(site);
            assert!(desk.has_begun(0) && desk.has_begun_any());
            long.state().overdue = true;
            desk.calls().push(&long);
            desk.receive(&mut site.running());
            desk.serve(site);
            assert_eq!(
                (long.wait(None, || ()).is_ok(), desk.waiting()),
                (is_done, 0),
                "a message for all has outcomes"
            );
            assert!(!desk.has_begun(0) && !desk.has_begun_any());
            send_all(site);
            assert_eq!(site.running().write(Addr::Slot(0), b"x"), Ok(1));
            send_all(site);
        }
    });
}

#[test]
fn a_writer_that_gives_up_lets_the_next_one_write() {
    with_a_client(|site| {
        let desk = &site.desk;
        let whom = Whom { addr: Addr::Slot(0), client: None };
        let slot = site.running().slot_at(0).unwrap();
        // There is room for a byte and no more.
        let full = vec![b'.'; site.options.borrow().tx_queue as usize - 1];
        site.running().write_to(slot, &full).unwrap();
        let [first, second, third] = ["first", "second", "3"].map(|text| call(Ask::Write(whom), text.as_bytes()));
        for transfer in [&first, &second, &third] {
            desk.calls().push(transfer);
        }
        desk.receive(&mut site.running());
        desk.serve(site);
        assert_eq!(desk.waiting(), 3, "none has room, or it is not the first");
        // One in the middle has its answer at once, and the others stay where they are.
        let give_up = |transfer: &Arc<Transfer>| {
            transfer.state().overdue = true;
            desk.calls().push(transfer);
            desk.receive(&mut site.running());
        };
        give_up(&second);
        assert_eq!((second.state().is_waiting(), desk.waiting()), (false, 2));
        give_up(&first);
        desk.serve(site);
        assert_eq!((first.state().is_waiting(), third.state().is_waiting(), desk.waiting()), (false, false, 0));
        let answers = [first, second, third].map(|transfer| transfer.wait(None, || ()).map(|_| ()));
        assert_eq!(answers, [Err(Error::Timeout { bytes: 0 }), Err(Error::Timeout { bytes: 0 }), Ok(())]);
        let queued = site.running().counters(slot).unwrap().queued_tx;
        assert_eq!(queued, full.len() as u64 + 1, "the one byte is the third's");
    });
}
