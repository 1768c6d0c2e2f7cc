//! Options of a port that runs, and of its slots.

use crate::harness::{AT_ONCE, Client, PATIENCE, PATIENT, port, slot, until, until_received, until_waiting};
use crate::writing::fill;
use wharf_core::port::framing::Eom;
use wharf_host::services::port::{Addr, Error, OnClose, Subport};

fn read(child: &Subport) -> (Vec<u8>, Eom) {
    let mut buffer = [0; 32];
    let read = child.read(&mut buffer, PATIENT).unwrap();
    (buffer[..read.len].to_vec(), read.eom)
}

#[test]
fn a_child_frames_traces_and_takes_options() {
    let port = port(&[("slots", "2"), ("input_eos", r"\n"), ("output_eos", r"\n")]);
    let mut clients: Vec<_> = (0..2).map(|index| Client::seated(&port, index)).collect();
    let [one, other] = [0, 1].map(|index| port.subport(index).unwrap());
    assert_eq!((one.name(), other.name()), ("dev:0".to_owned(), "dev:1".to_owned()));
    // It has the port's options until it is given its own.
    assert_eq!(one.option("input_eos").unwrap(), r"\n");
    one.set_option("input_eos", ";").unwrap();
    one.set_option("output_eos", r"\r\n").unwrap();
    let trace = std::env::temp_dir().join(format!("wharf-child-{}.trace", std::process::id()));
    one.set_option("trace_file", trace.to_str().unwrap()).unwrap();
    one.set_option("trace", "tx").unwrap();
    assert_eq!(one.option("input_eos").unwrap(), ";");
    assert_eq!((other.option("input_eos").unwrap(), port.option(Addr::Port, "input_eos").unwrap()).0, r"\n");
    for client in &mut clients {
        client.send(b"a;b\n");
    }
    assert_eq!(read(&one), (b"a".to_vec(), Eom::EOS));
    assert_eq!(read(&other), (b"a;b".to_vec(), Eom::EOS));
    // A new terminator is for every byte that is not delivered.
    one.set_option("input_eos", r"\n").unwrap();
    assert_eq!(read(&one), (b"b".to_vec(), Eom::EOS));
    for (child, client, expected) in [(&one, 0, "reply\r\n"), (&other, 1, "reply\n")] {
        assert_eq!(child.write(b"reply", PATIENT), Ok(5), "the terminator is not counted");
        assert_eq!(clients[client].take(expected.len()), expected.as_bytes());
    }
    one.set_option("process_eos", "false").unwrap();
    clients[0].send(b"x\n");
    let (mut bytes, mut eom) = read(&one);
    if bytes.len() < 2 {
        (bytes, eom) = ([bytes, read(&one).0].concat(), eom);
    }
    assert_eq!((bytes, eom), (b"x\n".to_vec(), Eom::NONE));
    // What the slot was given outlasts its client.
    let mut first = clients.remove(0);
    one.disconnect().unwrap();
    first.rest();
    drop(first);
    let _next = Client::seated(&port, 0);
    assert_eq!(one.option("process_eos").unwrap(), "false");
    // The whole port's is for all of them.
    port.set_option(Addr::Port, "idle_any", "1h").unwrap();
    assert_eq!((one.option("idle_any").unwrap(), other.option("idle_any").unwrap()), ("1h".into(), "1h".into()));

    let refused = |result: Result<(), Error>, what: &str| {
        let Err(Error::Option(text)) = result else { panic!("{result:?}") };
        assert!(text.contains(what), "{text}");
    };
    refused(one.set_option("address", ":0"), "address");
    refused(one.set_option("input_eoz", "x"), "input_eos");
    refused(one.set_option("unread", "soon"), "unread");
    refused(port.set_option(Addr::Port, "slots", "3"), "slots");
    refused(port.set_option(Addr::Port, "address", "127.0.0.1:0"), "disconnect it first");
    assert_eq!(one.option("unread").unwrap(), "5s", "the old value stays");
    assert_eq!(port.option(slot(2), "unread"), Err(Error::OutOfRange { addr: 2, slots: 2 }));

    // Its trace is its own, and written when the port has stopped.
    port.stop().unwrap();
    let traced = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(trace).unwrap();
    let (_, shown) = traced.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!(shown, r"dev:0 > 7 reply\r\n");
    assert!(!traced.contains("dev:1"), "{traced}");
}

#[test]
fn a_port_that_is_down_can_move() {
    let port = port(&[]);
    assert_eq!(port.local_addr().unwrap().ip().to_string(), "127.0.0.1");
    port.disconnect(OnClose::Drop).unwrap();
    port.set_option(Addr::Port, "address", "127.0.0.2:0").unwrap();
    port.connect(PATIENT).unwrap();
    assert_eq!(port.local_addr().unwrap().ip().to_string(), "127.0.0.2");
}

#[test]
fn a_reader_that_waits_hears_of_a_new_terminator() {
    let port = port(&[("input_eos", r"\n")]);
    let mut client = Client::seated(&port, 0);
    client.send(b"ready;");
    until_received(&port, 0, 6);
    let child = port.subport(0).unwrap();
    std::thread::scope(|scope| {
        // At its timeout it would be given the same.
        let waits = scope.spawn(|| child.read(&mut [0; 32], Some(2 * PATIENCE)));
        until_waiting(&port, 1);
        port.set_option(Addr::Port, "input_eos", ";").unwrap();
        until(|| waits.is_finished());
        assert_eq!(waits.join().unwrap().map(|read| (read.len, read.eom)), Ok((5, Eom::EOS)));
    });
    assert_eq!(child.read(&mut [0; 1], AT_ONCE), Err(Error::Timeout { bytes: 0 }));
}

#[test]
fn a_writer_that_waits_hears_that_it_is_not_to_wait_any_more() {
    let port = port(&[("write_stuck", "0")]);
    let _deaf = Client::seated(&port, 0);
    fill(&port, 0);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| port.write(slot(0), &[0; 1000], Some(2 * PATIENCE)));
        until_waiting(&port, 1);
        port.set_option(slot(0), "overflow", "disconnect").unwrap();
        until(|| waits.is_finished());
        assert_eq!(waits.join().unwrap(), Err(Error::NotConnected));
    });
}
