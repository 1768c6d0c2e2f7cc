//! Clients come, go and are replaced.

use crate::harness::{
    AT_ONCE, Client, PATIENCE, PATIENT, SOON, UNHURRIED, departure, event, port, slot, until, until_waiting,
};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Reason;
use wharf_host::services::port::{Addr, Error};

#[test]
fn a_client_is_accepted_unasked() {
    // No call waits for it, and none is made before it has its slot.
    let port = port(&[]);
    let mut client = Client::connect(port.local_addr().unwrap());
    client.send(b"first");
    until(|| port.run(|port| port.totals().accepted).unwrap() == 1);
    let id = port.wait_client(slot(0), AT_ONCE).unwrap();
    assert_eq!(port.wait_client(Addr::Port, AT_ONCE), Ok(id));
    assert_eq!(port.peer(slot(0)), Ok(Some(client.address())));
    assert_eq!(port.read(slot(0), &mut [0; 5], PATIENT).map(|read| (read.len, read.slot)), Ok((5, Some(id))));
}

#[test]
fn what_clients_send_before_they_are_admitted_is_read() {
    // More than are admitted in one turn, so that some wait while their bytes are already there.
    const CLIENTS: u16 = 100;
    let port = port(&[("slots", &CLIENTS.to_string())]);
    let (go, wait) = mpsc::channel::<()>();
    let (loop_waits, address) = (port.port(), port.local_addr().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || loop_waits.run(move |_| wait.recv().unwrap()));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut client = Client::connect(address);
                client.send(&number.to_be_bytes());
                client
            })
            .collect();
        go.send(()).unwrap();
        for index in 0..CLIENTS {
            port.wait_client(slot(index), PATIENT).unwrap();
            assert_eq!(port.read(slot(index), &mut [0; 2], PATIENT).map(|read| read.len), Ok(2), "{index}");
        }
        drop(clients);
    });
}

#[test]
fn who_waits_for_a_client_gets_the_one_that_comes() {
    let port = port(&[("slots", "2")]);
    assert_eq!(port.wait_client(slot(1), SOON), Err(Error::Timeout { bytes: 0 }));
    let waiters = [port.port(), port.port(), port.port()];
    thread::scope(|scope| {
        let [any, first, second] = waiters;
        let any = scope.spawn(move || any.wait_client(Addr::Port, PATIENT).unwrap());
        let first = scope.spawn(move || first.wait_client(slot(0), PATIENT).unwrap());
        let second = scope.spawn(move || second.wait_client(slot(1), PATIENT).unwrap());
        until_waiting(&port, 3);
        let _one = Client::connect(port.local_addr().unwrap());
        assert_eq!(any.join().unwrap(), first.join().unwrap());
        assert!(!second.is_finished());
        let _other = Client::connect(port.local_addr().unwrap());
        assert_eq!(second.join().unwrap().index(), 1);
    });
}

#[test]
fn a_stale_id_never_reaches_the_next_client() {
    let port = port(&[]);
    let child = port.subport(0).unwrap();
    let mut client = Client::seated(&port, 0);
    let old = port.slot_id(slot(0)).unwrap().unwrap();
    let pinned = child.pin().unwrap();
    assert_eq!(port.write_to(old, b"you", PATIENT), Ok(3));
    assert_eq!(pinned.write(b"!", PATIENT), Ok(1));
    assert_eq!(client.take(4), b"you!");
    client.send(b"me");
    assert_eq!(pinned.read(&mut [0; 2], PATIENT).map(|read| read.slot), Ok(Some(old)));
    drop(client);
    until(|| port.slot_id(slot(0)).unwrap().is_none());
    assert_eq!(port.write_to(old, b"you", None), Err(Error::Stale));

    let mut next = Client::seated(&port, 0);
    next.send(b"secret");
    assert_eq!(port.write_to(old, b"for the old one", None), Err(Error::Stale));
    assert_eq!(pinned.write(b"for the old one", None), Err(Error::Stale));
    assert_eq!(pinned.read(&mut [0; 8], None), Err(Error::Stale));
    assert_eq!(pinned.drain(None), Err(Error::Stale));
    assert_eq!(pinned.flush(), Err(Error::Stale));
    assert_eq!((pinned.drop_client(), pinned.abort_client()), (Err(Error::Stale), Err(Error::Stale)));
    assert_eq!((pinned.peer(), pinned.slot_id()), (Err(Error::Stale), Err(Error::Stale)));
    assert_eq!((pinned.connect(), pinned.wait_client(None)), (Err(Error::Stale), Err(Error::Stale)));
    // The other handle has followed its slot.
    assert_eq!(child.peer(), Ok(Some(next.address())));
    assert_eq!(child.write(b"new", PATIENT), Ok(3));
    assert_eq!(next.take(3), b"new", "and nothing else");
    assert_eq!(child.read(&mut [0; 6], PATIENT).map(|read| read.len), Ok(6));
}

#[test]
fn peer_and_stream_change_together() {
    // Every client says where it comes from, so what is read names who sent it.
    let port = port(&[&UNHURRIED[..], &[("input_eos", r"\n")]].concat());
    let address = port.local_addr().unwrap();
    let over = AtomicBool::new(false);
    let peers = Mutex::new(HashMap::new());
    thread::scope(|scope| {
        let looker = port.port();
        scope.spawn(|| {
            let looker = looker;
            while !over.load(Ordering::Relaxed) {
                // Taken in one step, as `peer` and `slot_id` are each.
                let seen = looker.run(|port| Some((port.slot_id(slot(0)).unwrap()?, port.peer(slot(0)).unwrap()?)));
                if let Some((id, peer)) = seen.unwrap() {
                    let before = peers.lock().unwrap().insert(id, peer);
                    assert!(before.is_none_or(|before| before == peer), "one stay has one peer");
                }
            }
        });
        let server = port.port();
        let read = scope.spawn(move || {
            let mut messages = Vec::new();
            let mut buffer = [0; 64];
            while messages.len() < 200 {
                server.wait_client(slot(0), PATIENT).unwrap();
                match server.read(slot(0), &mut buffer, PATIENT) {
                    Ok(read) if read.eom == Eom::EOS => {
                        let text = String::from_utf8(buffer[..read.len].to_vec()).unwrap();
                        messages.push((read.slot.unwrap(), text.parse::<SocketAddr>().unwrap()));
                    }
                    Ok(_) | Err(Error::NotConnected) => {
                        server.drop_client(slot(0)).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            // The last one still waits for our end.
            server.drop_client(slot(0)).unwrap();
            messages
        });
        let mut served = 0;
        while served < 200 {
            let mut client = Client::connect(address);
            let line = format!("{}\n", client.address());
            // One that comes while the slot is taken is closed.
            if client.0.write_all(line.as_bytes()).is_ok() {
                client.end();
                let _ = client.0.read(&mut [0; 1]);
            }
            served = usize::try_from(port.run(|port| port.totals().accepted).unwrap()).unwrap();
        }
        let messages = read.join().unwrap();
        over.store(true, Ordering::Relaxed);
        let peers = peers.lock().unwrap();
        for (id, said) in messages {
            assert!(peers.get(&id).is_none_or(|peer| *peer == said), "{id} is not two clients");
        }
    });
}

#[test]
fn sixty_clients_rush_eight_slots_without_hang() {
    const CLIENTS: usize = 60;
    let port = port(&[("slots", "8"), ("input_eos", r"\n"), ("output_eos", r"\n")]);
    let address = port.local_addr().unwrap();
    let over = AtomicBool::new(false);
    let over = &over;
    thread::scope(|scope| {
        for index in 0..8 {
            let child = port.subport(index).unwrap();
            scope.spawn(move || {
                let mut buffer = [0; 64];
                while !over.load(Ordering::Relaxed) {
                    if child.wait_client(SOON).is_err() {
                        continue;
                    }
                    while let Ok(read) = child.read(&mut buffer, PATIENT) {
                        if read.eom != Eom::EOS || child.write(&buffer[..read.len], PATIENT).is_err() {
                            break;
                        }
                    }
                    child.drop_client().unwrap();
                }
            });
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let end = Instant::now() + PATIENCE;
                    let line = format!("client {number}\n");
                    // As often as it takes: the port is full most of the time.
                    while Instant::now() < end {
                        let Ok(mut stream) = TcpStream::connect(address) else { continue };
                        stream.set_read_timeout(PATIENT).unwrap();
                        let mut reply = vec![0; line.len()];
                        let served = stream.write_all(line.as_bytes()).and_then(|()| stream.read_exact(&mut reply));
                        if served.is_ok() {
                            return reply == line.as_bytes();
                        }
                        thread::yield_now();
                    }
                    false
                })
            })
            .collect();
        let served: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        assert_eq!(served, [true; CLIENTS]);
    });
    until(|| port.run(|port| (0..8).all(|index| port.seated(index).is_none())).unwrap());
}

#[test]
fn a_pulled_cable_is_noticed() {
    let port = port(&[("slots", "3")]);
    let events = port.subscribe().unwrap();
    let clients: Vec<_> = (0..3).map(|index| Client::seated(&port, index)).collect();
    // The system asks a silent peer whether it is there.
    #[cfg(target_os = "linux")]
    for client in &clients {
        assert_eq!(crate::sockets::tuning(client.address()), crate::sockets::DEFAULT);
    }
    // One that says nothing, one to which nothing goes either, and one that takes nothing: from here they look as they would
    // behind a cable that is gone.
    port.set_option(slot(0), "idle_rx", "20ms").unwrap();
    port.set_option(slot(1), "idle_any", "20ms").unwrap();
    port.set_option(slot(2), "write_stuck", "20ms").unwrap();
    let written = port.write(slot(2), &vec![0; 64 << 20], PATIENT);
    assert_eq!(written, Err(Error::NotConnected));
    let mut reasons = [None; 3];
    while reasons.contains(&None) {
        let (slot, reason) = event(&events, departure);
        assert_eq!(reasons[slot.index() as usize].replace(reason), None);
    }
    assert_eq!(reasons, [Some(Reason::IdleRx), Some(Reason::IdleAny), Some(Reason::WriteStuck)]);
    for index in 0..3 {
        assert_eq!(port.slot_id(slot(index)), Ok(None), "the slot is free");
    }
}
