//! What becomes of what is written.

use crate::harness::{AT_ONCE, Client, PATIENCE, PATIENT, SOON, UNHURRIED, port, slot, until, until_waiting};
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;
use wharf_core::port::framing::Eom;
use wharf_core::port::server::Outcome;
use wharf_host::services::port::{Addr, Broadcast, Error, Event, OnClose, Port, Running, Subscriber};

/// Writes to a client that does not read, until not even a byte is taken; how many bytes that were.
pub(crate) fn fill(port: &Port, index: u16) -> usize {
    let (mut taken, mut len, mut refused) = (0, 1000, 0);
    // A system that was slow is no client that is deaf: what it has put off it does before the next attempt, which counts anew.
    while refused < 3 {
        match port.write(slot(index), &vec![b'.'; len], SOON) {
            Ok(accepted) => (taken, len, refused) = (taken + accepted, (2 * len).min(1000), 0),
            Err(Error::Timeout { bytes }) => {
                (taken, len) = (taken + bytes, 1);
                refused = if bytes == 0 { refused + 1 } else { 0 };
            }
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

#[test]
fn sixteen_mebibytes_go_there_and_back() {
    const LEN: usize = 16 << 20;
    let port = port(&UNHURRIED);
    let mut client = Client::seated(&port, 0);
    let mut out = client.0.try_clone().unwrap();
    let sent: Vec<u8> = (0_u32..).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).take(LEN).collect();
    let (reader, writer) = (port.port(), port.port());
    thread::scope(|scope| {
        let received = scope.spawn(move || {
            // Less than the queue holds, so that it goes round and round.
            let (mut buffer, mut bytes) = (vec![0; 10_007], Vec::with_capacity(LEN));
            loop {
                let read = reader.read(slot(0), &mut buffer, PATIENT).unwrap();
                if read.eom == Eom::END {
                    return bytes;
                }
                bytes.extend_from_slice(&buffer[..read.len]);
            }
        });
        let written = scope.spawn(|| writer.write(slot(0), &sent, None));
        let whole = &sent;
        let feeds = scope.spawn(move || {
            out.write_all(whole).unwrap();
            out.shutdown(std::net::Shutdown::Write).unwrap();
        });
        assert!(client.take(LEN) == sent, "what was written arrives");
        feeds.join().unwrap();
        assert!(received.join().unwrap() == sent, "what was sent is read");
        assert_eq!(written.join().unwrap(), Ok(LEN));
    });
}

#[test]
fn a_write_that_runs_out_of_time_tells_how_much_was_taken() {
    let port = port(&[]);
    let mut client = Client::seated(&port, 0);
    let long = vec![b'x'; 64 << 20];
    // In pieces, for it is longer than the queue; a system that has not come to the second is given twice the time.
    let (mut bytes, mut time) = (0, Duration::from_millis(20));
    loop {
        let Err(Error::Timeout { bytes: taken }) = port.write(slot(0), &long, Some(time)) else {
            panic!("nobody reads")
        };
        bytes += taken;
        assert!(bytes < long.len() && time < PATIENCE, "{taken} of {bytes} in {time:?}");
        if taken > 16 * 1024 {
            break;
        }
        time *= 2;
    }
    let filled = fill(&port, 0);
    assert_eq!(port.write(slot(0), b"y", AT_ONCE), Err(Error::Timeout { bytes: 0 }));
    // A short one goes whole or not at all.
    let queued = port.pending(slot(0)).unwrap().tx;
    assert_eq!(port.write(slot(0), &[b'z'; 1000], SOON), Err(Error::Timeout { bytes: 0 }));
    assert_eq!(port.pending(slot(0)).unwrap().tx, queued);
    assert_eq!(port.drain(slot(0), SOON), Err(Error::Timeout { bytes: usize::try_from(queued).unwrap() }));
    assert_eq!(port.drain(Addr::Port, AT_ONCE), Err(Error::Timeout { bytes: usize::try_from(queued).unwrap() }));
    thread::scope(|scope| {
        let drains = scope.spawn(|| (port.drain(slot(0), PATIENT), port.drain(Addr::Port, PATIENT)));
        assert_eq!(client.take(bytes), &long[..bytes]);
        assert_eq!(client.take(filled), vec![b'.'; filled]);
        assert_eq!(drains.join().unwrap(), (Ok(()), Ok(())));
    });
    assert_eq!(port.pending(slot(0)).unwrap().tx, 0);
    port.shutdown(slot(0)).unwrap();
    assert_eq!(client.rest(), b"", "nothing else has come");
    // Input goes on.
    client.send(b"on");
    assert_eq!(port.read(slot(0), &mut [0; 2], PATIENT).unwrap().len, 2);
    assert_eq!(port.write(slot(0), b"y", None), Err(Error::OutputEnded));
}

/// One on the loop who writes whenever there is room in the queue, in the one way and the other.
struct Intruder(u32);

impl Subscriber for Intruder {
    fn event(&mut self, port: &mut Running<'_>, event: &Event) {
        let Event::LowWater { slot: id } = *event else { return };
        self.0 += 1;
        let queued = if self.0.is_multiple_of(2) { port.write_to(id, b"e") } else { port.write(Addr::Port, b"e") };
        assert!(matches!(queued, Ok(0 | 1) | Err(Error::Full { .. })), "{queued:?}");
    }
}

#[test]
fn messages_of_several_writers_do_not_mix() {
    // Longer than the queue, so that each goes in pieces.
    const LEN: usize = 40_000;
    const EACH: usize = 20;
    let port = port(&[("output_eos", r"\n")]);
    let mut client = std::io::BufReader::new(Client::seated(&port, 0).0);
    port.run(|port| port.subscribe(Box::new(Intruder(0)))).unwrap();
    thread::scope(|scope| {
        for letter in *b"abc" {
            let writer = port.port();
            scope.spawn(move || {
                for _ in 0..EACH {
                    assert_eq!(writer.write(slot(0), &[letter; LEN], None), Ok(LEN));
                }
            });
        }
        let broadcaster = port.port();
        scope.spawn(move || {
            for _ in 0..EACH {
                let told = broadcaster.broadcast(&[b'd'; LEN], None).unwrap();
                assert_eq!((told.queued, told.accepted), (1, LEN));
            }
        });
        let mut counts = [0; 5];
        while counts[..4] != [EACH; 4] {
            let mut line = Vec::new();
            std::io::BufRead::read_until(&mut client, b'\n', &mut line).unwrap();
            assert_eq!(line.pop(), Some(b'\n'));
            let letter = line[0];
            assert!(line.iter().all(|byte| *byte == letter), "a message of {} bytes is mixed", line.len());
            assert_eq!(line.len(), if letter == b'e' { 1 } else { LEN });
            counts[usize::from(letter - b'a')] += 1;
        }
    });
}

#[test]
fn a_deaf_client_does_not_stall_a_broadcast() {
    let port = port(&[("slots", "2")]);
    let _deaf = Client::seated(&port, 0);
    let mut good = Client::seated(&port, 1);
    fill(&port, 0);
    // It waits for the deaf client, and the other one has its copy meanwhile.
    let broadcaster = port.port();
    thread::scope(|scope| {
        let told = scope.spawn(move || broadcaster.broadcast(&[b'm'; 500], None).unwrap());
        assert_eq!(good.take(500), [b'm'; 500]);
        until_waiting(&port, 1);
        assert!(!told.is_finished());
        // So has everybody else who writes to it.
        assert_eq!(port.write(slot(1), b"more", PATIENT), Ok(4));
        assert_eq!(good.take(4), b"more");
        port.abort_client(slot(0)).unwrap();
        let told = told.join().unwrap();
        assert_eq!((told.queued, told.accepted), (1, 500));
        assert_eq!(told.outcomes, [Outcome::Closed, Outcome::Queued]);
    });
}

#[test]
fn a_broadcast_tells_each_outcome() {
    let port = port(&[("slots", "5"), ("output_eos", "!")]);
    let nobody = Broadcast { outcomes: vec![Outcome::Free; 5], ..Broadcast::default() };
    assert_eq!(port.broadcast(b"anybody?", None), Ok(nobody), "nobody is no error");
    let mut clients: Vec<_> = (0..4).map(|index| Client::seated(&port, index)).collect();
    port.set_option(slot(3), "overflow", "partial").unwrap();
    port.shutdown(slot(2)).unwrap();
    let before = [fill(&port, 1), fill(&port, 3)];
    assert!(before.iter().all(|taken| *taken > 0));
    // The one with the policy has taken parts and is full to the last byte that is not the end of a message.
    let room = port.run(|port| port.write(slot(3), b"12")).unwrap();
    assert_eq!(room, Err(Error::Full { room: 0 }));
    for timeout in [AT_ONCE, SOON] {
        let told = port.broadcast(b"message", timeout).unwrap();
        let outcomes = [Outcome::Queued, Outcome::Full, Outcome::Closed, Outcome::Full, Outcome::Free];
        assert_eq!((told.outcomes.as_slice(), told.queued, told.accepted), (outcomes.as_slice(), 1, 7));
        assert_eq!(clients[0].take(8), b"message!");
    }
    // A message that is longer than the queue is queued as far as there was room for it in time.
    let long = [b'l'; 20_000];
    let told = port.broadcast(&long, AT_ONCE).unwrap();
    let Outcome::Partial { accepted } = told.outcomes[0] else { panic!("{told:?}") };
    let part = |outcome: &Outcome| if let Outcome::Partial { accepted } = outcome { *accepted as usize } else { 0 };
    let parts = told.outcomes.iter().map(part);
    assert_eq!(told.accepted, parts.sum::<usize>());
    assert_eq!(clients[0].take(accepted as usize), &long[..accepted as usize]);
    assert_eq!(port.write(Addr::Port, b"sum", SOON), Ok(3));
    assert_eq!(clients[0].take(4), b"sum!");

    port.disconnect(OnClose::Keep).unwrap();
    assert!(matches!(port.broadcast(b"message", None), Err(Error::PortDown { .. })));
    assert_eq!(port.write(slot(0), b"kept", PATIENT), Ok(4));
    assert_eq!(clients[0].take(5), b"kept!");
}

#[test]
fn a_broadcast_waits_behind_the_message_that_a_client_is_getting() {
    let port = port(&[]);
    let mut client = Client::seated(&port, 0);
    let (writer, broadcaster) = (port.port(), port.port());
    let long = vec![b'w'; 32 << 20];
    thread::scope(|scope| {
        let written = scope.spawn(|| writer.write(slot(0), &long, None));
        until_waiting(&port, 1);
        let told = scope.spawn(move || broadcaster.broadcast(b"behind", None));
        until_waiting(&port, 2);
        // Neither is one without time let in between.
        assert_eq!(port.broadcast(b"x", AT_ONCE).unwrap().outcomes, [Outcome::Full]);
        assert_eq!(port.write(slot(0), b"x", AT_ONCE), Err(Error::Timeout { bytes: 0 }));
        assert_eq!(port.run(|port| port.write(slot(0), b"x")), Ok(Err(Error::Full { room: 0 })));
        assert_eq!(port.run(|port| port.broadcast(b"x")).unwrap().unwrap().outcomes, [Outcome::Full]);
        assert!(client.take(long.len()) == long);
        assert_eq!(client.take(6), b"behind");
        assert_eq!(written.join().unwrap(), Ok(long.len()));
        assert_eq!(told.join().unwrap().unwrap().outcomes, [Outcome::Queued]);
    });
    assert_eq!(port.write(slot(0), b"next", PATIENT), Ok(4));
    assert_eq!(client.take(4), b"next");
}

#[test]
fn a_writer_that_gives_up_lets_the_next_one_write() {
    let port = port(&[]);
    let mut client = Client::seated(&port, 0);
    let taken = fill(&port, 0);
    let (first, second) = (port.port(), port.port());
    thread::scope(|scope| {
        let gives_up = scope.spawn(move || first.write(slot(0), &[b'1'; 16 * 1024], SOON));
        until(|| gives_up.is_finished() || port.run(|port| port.waiting()).unwrap() == 1);
        let waits = scope.spawn(move || second.write(slot(0), b"second", PATIENT));
        assert_eq!(gives_up.join().unwrap(), Err(Error::Timeout { bytes: 0 }));
        let mut bytes = vec![0; taken];
        client.0.read_exact(&mut bytes).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(6));
        assert_eq!(client.take(6), b"second");
    });
}

#[test]
fn a_writer_hears_that_its_client_has_left() {
    let port = port(&[]);
    // The one who is ahead has tried before, the other has not.
    for exact_first in [false, true] {
        let client = Client::seated(&port, 0);
        let id = port.slot_id(slot(0)).unwrap().unwrap();
        fill(&port, 0);
        let write = |exact| {
            if exact { port.write_to(id, &[0; 9000], PATIENT) } else { port.write(slot(0), &[0; 9000], PATIENT) }
        };
        let expected = |exact| Err(if exact { Error::Stale } else { Error::NotConnected });
        thread::scope(|scope| {
            let ahead = scope.spawn(|| write(exact_first));
            until_waiting(&port, 1);
            let behind = scope.spawn(|| write(!exact_first));
            let drains = scope.spawn(|| port.drain(slot(0), PATIENT));
            until_waiting(&port, 3);
            // Bytes that it has not read make this a reset.
            drop(client);
            assert_eq!(ahead.join().unwrap(), expected(exact_first));
            assert_eq!(behind.join().unwrap(), expected(!exact_first));
            assert_eq!(drains.join().unwrap(), Err(Error::NotConnected));
        });
    }
}
