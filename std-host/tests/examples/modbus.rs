//! The examples of Modbus servers: modbus_server, modbus_handler, modbus_authorisation.

use crate::Example;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn the_modbus_server_serves_until_a_client_switches_it_off() {
    let mut server = Example::start("modbus_server", &[]);
    let mut client = TcpStream::connect(server.address()).unwrap();
    // Coil 0 of unit 1 becomes 1.
    let request = [0, 1, 0, 0, 0, 6, 1, 5, 0, 0, 0xFF, 0];
    client.write_all(&request).unwrap();
    let mut reply = [0; 12];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, request);
    drop(client);
    // What the example itself writes once a second is told in between.
    let connected = |line: &str| line.starts_with("connection 1 from 127.0.0.1:");
    let answered = |line: &str| line == "connection 1: unit 1 function 5 address 0 quantity 1: ok";
    let stopped = |line: &str| line == "stopped";
    for awaited in [&connected as &dyn Fn(&str) -> bool, &answered, &stopped] {
        let mut line = server.line();
        while !awaited(&line) {
            assert_ne!(line, "", "the example has ended");
            line = server.line();
        }
    }
    server.ends();
}

#[test]
fn the_modbus_handlers_answer_at_once_and_later() {
    let mut server = Example::start("modbus_handler", &[]);
    let mut client = TcpStream::connect(server.address()).unwrap();
    let mut ask = |pdu: &[u8], reply: &[u8]| ask(&mut client, pdu, reply);
    ask(&[16, 0, 2, 0, 3, 6, 1, 0, 2, 0, 3, 5], &[16, 0, 2, 0, 3]);
    ask(&[100, 2, 3], &[100, 0, 0, 6, 5]);
    ask(&[100, 99, 2], &[0xE4, 2]);
    ask(&[100], &[0xE4, 3]);
    ask(&[101, 1, 2, 3], &[101, 3, 2, 1]);
    ask(&[101], &[0xE5, 4]);
    drop(client);
    server.ends();
}

#[test]
fn the_modbus_authorisation_lets_everybody_read_and_write_setpoints() {
    let mut server = Example::start("modbus_authorisation", &[]);
    let mut client = TcpStream::connect(server.address()).unwrap();
    let mut ask = |pdu: &[u8], reply: &[u8]| ask(&mut client, pdu, reply);
    ask(&[6, 0, 9, 0, 7], &[6, 0, 9, 0, 7]);
    ask(&[16, 0, 9, 0, 2, 4, 0, 8, 0, 8], &[0x90, 1]);
    ask(&[5, 0, 0, 0xFF, 0], &[0x85, 1]);
    ask(&[3, 0, 9, 0, 2], &[3, 4, 0, 7, 0, 0]);
    ask(&[17], &[0x91, 1]);
    drop(client);
    server.ends();
}

/// Asks unit 1 and holds the reply against what must come.
fn ask(client: &mut TcpStream, pdu: &[u8], reply: &[u8]) {
    let header = |len: usize| [0, 9, 0, 0, 0, u8::try_from(len + 1).unwrap(), 1];
    client.write_all(&[&header(pdu.len()), pdu].concat()).unwrap();
    let mut got = vec![0; 7 + reply.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, [&header(reply.len()), reply].concat());
}
