//! The example with several loops.

use crate::Example;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn the_group_serves_its_clients_by_both_loops_and_counts_them_all() {
    let mut group = Example::start("group", &[]);
    let addr = group.address();
    let clients: Vec<TcpStream> = (0..4)
        .map(|number| {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(b"hello").unwrap();
            let mut answer = [0; 12];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, format!("loop {}\nhello", number % 2).as_bytes());
            client
        })
        .collect();
    group.signal();
    assert_eq!(group.line(), "4 clients");
    group.ends();
    drop(clients);
}
