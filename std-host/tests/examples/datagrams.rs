//! The example with packets: pings.

use crate::Example;
use std::net::UdpSocket;

#[test]
fn the_pings_come_back() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let mut server = Example::start("udp_ping", &["server", any]);
        let addr = server.address();
        let mut client = Example::start("udp_ping", &["client", &addr.to_string(), "3"]);
        for number in 0..3 {
            let line = client.line();
            assert!(line.starts_with(&format!("{number}: ")), "{line}");
        }
        assert_eq!(client.line(), "3 of 3 answered");
        client.ends();
        server.interrupt();
    }
}

#[test]
fn a_ping_to_nobody_says_so() {
    // A socket that keeps others from its address and hears another peer alone.
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    holder.connect("127.0.0.1:9").unwrap();
    let nobody = holder.local_addr().unwrap();
    let mut client = Example::start("udp_ping", &["client", &nobody.to_string(), "1"]);
    assert_eq!(client.line(), format!("reach {nobody}: connection refused"));
    assert_eq!(client.line(), "0 of 1 answered");
    client.ends();
}
