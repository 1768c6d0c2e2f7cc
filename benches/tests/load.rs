//! The load generator against servers on loopback: the echo server, a right one, and ones that err once.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use wharf_benches::client::{self, Failure, Measurement, Options};
use wharf_benches::echo;
use wharf_benches::wire::Operation;

/// What a server does to its replies from the hundredth request of a connection on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// Flips one bit of the reply's last byte.
    WrongByte,
    /// Answers under the next transaction id.
    WrongTransaction,
    /// Sends all but the last byte, then closes.
    ShortThenClose,
    /// Answers exception 04.
    Exception,
    /// Says nothing more.
    Silence,
    /// Adds a byte to the reply.
    Longer,
    /// Answers a write without carrying it out.
    LostWrite,
}

/// A server over 1000 holding registers, one thread for each connection, that tells one kind of lie.
fn start_server(lie: Lie) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let holding = Arc::new(Mutex::new(vec![0; 1000]));
    // The threads end with their connections and with the test process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, holding) = (stream.unwrap(), Arc::clone(&holding));
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || converse(stream, &holding, lie));
        }
    });
    address
}

fn converse(mut stream: TcpStream, holding: &Mutex<Vec<u16>>, lie: Lie) -> io::Result<()> {
    let mut requests = 0;
    loop {
        let mut header = [0; 7];
        stream.read_exact(&mut header)?;
        let mut pdu = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
        stream.read_exact(&mut pdu)?;
        requests += 1;
        let lie = if requests < 100 { Lie::None } else { lie };
        let answer = execute(&pdu, &mut holding.lock().unwrap(), lie == Lie::LostWrite);
        let answer = if lie == Lie::Exception { vec![pdu[0] | 0x80, 4] } else { answer };
        let mut reply = header.to_vec();
        reply[4..6].copy_from_slice(&u16::try_from(answer.len() + 1).unwrap().to_be_bytes());
        reply.extend_from_slice(&answer);
        let last = reply.len() - 1;
        match lie {
            Lie::None | Lie::Exception | Lie::LostWrite => {}
            Lie::WrongByte => reply[last] ^= 1,
            Lie::WrongTransaction => reply[1] = reply[1].wrapping_add(1),
            Lie::ShortThenClose => return stream.write_all(&reply[..last]),
            Lie::Silence => continue,
            Lie::Longer => reply.push(0),
        }
        stream.write_all(&reply)?;
    }
}

/// Functions 3, 16 and 23 as the standard says, with nothing checked: the load asks only what is right.
fn execute(pdu: &[u8], holding: &mut [u16], lose_writes: bool) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_be_bytes([pdu[at], pdu[at + 1]]));
    let mut write = |start: usize, bytes: &[u8]| {
        for (register, value) in holding[start..].iter_mut().zip(bytes.chunks(2)) {
            if !lose_writes {
                *register = u16::from_be_bytes([value[0], value[1]]);
            }
        }
    };
    match pdu[0] {
        16 => {
            write(word(1), &pdu[6..]);
            pdu[..5].to_vec()
        }
        3 | 23 => {
            if pdu[0] == 23 {
                write(word(5), &pdu[10..]);
            }
            let span = &holding[word(1)..][..word(3)];
            let mut reply = vec![pdu[0], u8::try_from(2 * span.len()).unwrap()];
            reply.extend(span.iter().flat_map(|value| value.to_be_bytes()));
            reply
        }
        function => vec![function | 0x80, 1],
    }
}

fn options(address: SocketAddr, mix: &[Operation]) -> Options {
    Options {
        address,
        connections: 3,
        depth: 4,
        mix: mix.to_vec(),
        duration: Duration::from_millis(100),
        warmup: Duration::from_millis(10),
        unit: 1,
        registers: 1000,
        echo: false,
        pid: None,
        patience: Duration::from_secs(20),
    }
}

fn wrong(lie: Lie, mix: &[Operation]) -> String {
    match client::run(&options(start_server(lie), mix)) {
        Err(Failure::Wrong(detail)) => detail,
        other => panic!("{lie:?} was not caught: {other:?}"),
    }
}

fn is_sound(measurement: &Measurement) {
    assert!(measurement.requests > 0);
    assert!(measurement.seconds >= 0.1);
    // No request over loopback is answered within a microsecond.
    assert!(measurement.latency.p50 > 1.0);
    assert!(measurement.latency.max >= measurement.latency.p50);
}

#[test]
fn a_right_server_passes_under_every_load_and_under_their_mix() {
    let address = start_server(Lie::None);
    for operation in Operation::ALL {
        is_sound(&client::run(&options(address, &[operation])).unwrap());
    }
    is_sound(&client::run(&options(address, &Operation::ALL)).unwrap());
}

#[test]
fn the_echo_server_answers_every_load_with_the_bytes_that_a_right_server_would_send() {
    for operation in Operation::ALL {
        let server =
            echo::Server::bind("127.0.0.1:0".parse().unwrap(), operation.request_len(), operation.reply_len()).unwrap();
        let address = server.local_addr().unwrap();
        thread::spawn(move || server.run());
        is_sound(&client::run(&Options { echo: true, ..options(address, &[operation]) }).unwrap());
    }
}

#[test]
fn an_echo_server_of_other_byte_counts_is_caught() {
    let server = echo::Server::bind("127.0.0.1:0".parse().unwrap(), 12, 30).unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || server.run());
    let outcome = client::run(&Options { echo: true, depth: 1, ..options(address, &[Operation::ReadTen]) });
    assert!(matches!(outcome, Err(Failure::Wrong(_))), "{outcome:?}");
}

#[test]
fn the_echo_server_is_no_modbus_server() {
    let server = echo::Server::bind("127.0.0.1:0".parse().unwrap(), 12, 29).unwrap();
    let address = server.local_addr().unwrap();
    thread::spawn(move || server.run());
    let outcome = client::run(&options(address, &[Operation::ReadTen]));
    assert!(matches!(outcome, Err(Failure::Wrong(_))), "{outcome:?}");
}

#[test]
fn one_wrong_byte_is_caught() {
    assert!(wrong(Lie::WrongByte, &[Operation::ReadTen]).contains("data: byte 28"));
    assert!(wrong(Lie::WrongByte, &[Operation::ReadMost]).contains("data: byte 258"));
    assert!(wrong(Lie::WrongByte, &[Operation::WriteMost]).contains("data: byte 11"));
    assert!(wrong(Lie::WrongByte, &[Operation::ReadWrite]).contains("data: byte 28"));
}

#[test]
fn one_wrong_transaction_id_is_caught() {
    assert!(wrong(Lie::WrongTransaction, &[Operation::ReadTen]).contains("transaction id: byte 1"));
}

#[test]
fn a_short_reply_before_the_end_of_the_stream_is_caught() {
    let detail = wrong(Lie::ShortThenClose, &[Operation::ReadTen]);
    assert!(detail.contains("closed with") || detail.contains("lost"), "{detail}");
}

#[test]
fn an_exception_is_caught_and_named() {
    assert!(wrong(Lie::Exception, &[Operation::ReadWrite]).contains("exception 04 to function 23"));
}

#[test]
fn a_byte_too_many_is_caught() {
    wrong(Lie::Longer, &[Operation::ReadTen]);
}

#[test]
fn a_write_that_is_answered_and_not_carried_out_is_caught() {
    assert!(wrong(Lie::LostWrite, &[Operation::WriteMost]).contains("last write"));
    assert!(wrong(Lie::LostWrite, &[Operation::ReadWrite]).contains("data"));
}

#[test]
fn a_server_that_falls_silent_is_caught() {
    let address = start_server(Lie::Silence);
    let patience = Duration::from_millis(200);
    let outcome = client::run(&Options { patience, ..options(address, &[Operation::ReadTen]) });
    assert!(matches!(&outcome, Err(Failure::Wrong(detail)) if detail.contains("no reply")), "{outcome:?}");
}

#[test]
fn nobody_listening_is_not_a_wrong_reply() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = client::run(&options(address, &[Operation::ReadTen]));
    assert!(matches!(outcome, Err(Failure::Unreachable(_))), "{outcome:?}");
}

#[test]
fn more_connections_than_own_registers_are_refused_before_anything_is_sent() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = client::run(&Options { connections: 61, ..options(address, &[Operation::ReadWrite]) });
    assert!(matches!(outcome, Err(Failure::Usage(_))), "{outcome:?}");
}
