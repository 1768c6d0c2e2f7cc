//! The example of a Modbus server: modbus_server.

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
    assert!(server.line().starts_with("connection 1 from 127.0.0.1:"));
    assert_eq!(server.line(), "connection 1: unit 1 function 5 address 0 quantity 1: ok");
    drop(client);
    while server.line() != "stopped" {}
    server.ends();
}
