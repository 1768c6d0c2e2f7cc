//! What only the loop's own counters can show: a `Server` on a loop of this process.

use crate::harness::{Client, frame};
use wharf_host::config::modbus::{Server as Described, Unit};
use wharf_host::event_loop::{Loop, Stats};
use wharf_host::services::modbus::Server;

/// What sixteen requests in one segment cost.
fn cost_of_sixteen(coalesce: bool) -> Stats {
    let described = Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![Unit::with_size(1, 10)],
        coalesce,
        ..Described::new("counted")
    };
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
