//! `max_connections`, many connections, and no descriptors left (specification, 7.1).

use crate::harness::{Client, End, PATIENCE, WHARF, Wharf, frame, one_server, plant_file};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn a_newcomer_above_max_connections_learns_so_at_once_by_reset_or_fin() {
    for (word, expected) in [("rst", End::Reset), ("fin", End::Fin)] {
        let keys = format!("max_connections = 2\nreject_with = \"{word}\"");
        let wharf = Wharf::run(&one_server(&keys), 1);
        let (mut first, mut second) = (wharf.connect(), wharf.connect());
        first.is_served();
        second.is_served();
        for _ in 0..3 {
            assert_eq!(turned_away(&wharf), expected);
            wharf.logged("rejected (limit)");
        }
        first.is_served();
        drop(second);
        wharf.logged("connection 2 ended (peer_closed)");
        wharf.connect().is_served();
    }
}

/// How a connection ends that gets nothing.
fn turned_away(wharf: &Wharf) -> End {
    let ended = TcpStream::connect(wharf.address()).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_to_end(&mut Vec::new())
    });
    match ended {
        Ok(0) => End::Fin,
        // It may come before the system reports that it has connected.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_hundred_connections_at_once_are_all_answered() {
    let wharf = Wharf::run(&one_server(""), 1);
    let mut clients: Vec<_> = (0..300).map(|_| wharf.connect()).collect();
    for round in 0..3_u8 {
        // Each writes its own register and reads it back, in one segment.
        for (client, number) in clients.iter_mut().zip(0_u16..) {
            let [a1, a0] = number.to_be_bytes();
            let write = frame(number, 1, &[6, a1, a0, a0, round]);
            client.send(&[write, frame(number, 1, &[3, a1, a0, 0, 1])].concat());
        }
        for (client, number) in clients.iter_mut().zip(0_u16..) {
            let [a1, a0] = number.to_be_bytes();
            assert_eq!(client.reply(number, 1).unwrap(), [6, a1, a0, a0, round]);
            assert_eq!(client.reply(number, 1).unwrap(), [3, 2, a0, round]);
        }
    }
}

#[test]
fn without_descriptors_newcomers_are_turned_away_until_there_are_some_again() {
    let path = plant_file(&one_server("idle_timeout = \"0\""));
    let limited = "ulimit -n 32; exec \"$0\" run \"$1\"";
    let wharf = Wharf::start(Command::new("sh").args(["-c", limited, WHARF]).arg(path), 1);
    let warning = wharf.logged("descriptors are needed");
    assert!(warning.contains("WARN") && warning.contains("the limit is 32"), "{warning}");

    let mut served: Vec<Client> = Vec::new();
    loop {
        let mut client = wharf.connect();
        if let Err(error) = client.try_ask(1, &[3, 0, 0, 0, 1]) {
            // Ended, and not left waiting.
            let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(ended.contains(&error.kind()), "{error}");
            break;
        }
        served.push(client);
        assert!(served.len() < 32, "there are not so many descriptors");
    }
    wharf.logged("rejected (descriptors)");
    let line = wharf.logged("accepting goes on in");
    assert!(line.contains("WARN") && line.contains("accept on") && line.contains("ulimit -n"), "{line}");
    assert!(served.len() >= 8, "{} connections", served.len());
    served.iter_mut().for_each(Client::is_served);

    let freed = served.split_off(served.len() - 4);
    drop(freed);
    for _ in 0..4 {
        wharf.logged("ended (peer_closed)");
    }
    let mut newcomers = [wharf.connect(), wharf.connect()];
    newcomers.iter_mut().for_each(Client::is_served);
    served.iter_mut().for_each(Client::is_served);
}
