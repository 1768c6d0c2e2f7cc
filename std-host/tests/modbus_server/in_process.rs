//! What only the loop's own counters can show: a `Server` on a loop of this process.

use crate::harness::{Client, frame};
use std::net::TcpStream;
use std::time::Duration;
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::{Loop, Stats};
use wharf_host::services::modbus::Server;

fn described() -> Described {
    Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 10)],
        ..Described::new("inside")
    }
}

/// What sixteen requests in one segment cost.
fn cost_of_sixteen(coalesce: bool) -> Stats {
    let described = Described { coalesce, ..described() };
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &described, |_| ()).unwrap();
    let mut client = Client::connect(server.local_addrs().next().unwrap());
    let requests: Vec<u8> = (0..16).flat_map(|number| frame(number, 1, &[3, 0, 0, 0, 10])).collect();
    client.send(&requests);
    assert!(lp.run_until(|lp| lp.stats().bytes_out == 16 * 29).unwrap());
    for number in 0..16 {
        assert_eq!(client.reply(number, 1).unwrap().len(), 22);
    }
    lp.loop_mut().stats()
}

#[test]
fn replies_made_from_one_read_leave_in_one_write_unless_coalesce_is_off() {
    let together = cost_of_sixteen(true);
    assert_eq!((together.reads, together.writes), (1, 1), "{together:?}");
    let apart = cost_of_sixteen(false);
    assert_eq!((apart.reads, apart.writes), (1, 16), "{apart:?}");
}

/// How many of fifty clients the system lets connect while the server accepts nobody.
fn waiting(backlog: u16) -> usize {
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &Described { backlog, ..described() }, |_| ()).unwrap();
    let address = server.local_addrs().next().unwrap();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(3)).ok();
    (0..50).map_while(connect).collect::<Vec<_>>().len()
}

#[test]
fn no_more_connections_wait_to_be_accepted_than_the_backlog_says() {
    assert_eq!(waiting(1024), 50);
    // Systems round it up a little.
    let few = waiting(4);
    assert!((4..=10).contains(&few), "{few}");
}
