//! The options of the sockets of clients, as the system has them.

use crate::harness::{Client, port, slot};
use std::net::SocketAddr;
use wharf_host::services::port::Addr;

/// Whether small segments are sent at once; and seconds until a silent peer is asked, seconds between questions, and how many
/// there are.
pub(crate) type Tuning = (bool, Option<(u64, u64, u32)>);

/// What the options of a port say unless they are set.
pub(crate) const DEFAULT: Tuning = (true, Some((15, 5, 3)));

/// What the socket of this process has that is connected to `peer`.
pub(crate) fn tuning(peer: SocketAddr) -> Tuning {
    use rustix::net::sockopt;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let sockets = numbers.filter_map(|number| {
        let socket = pidfd_getfd(&own, number.to_str()?.parse().ok()?, PidfdGetfdFlags::empty()).ok()?;
        let found = SocketAddr::try_from(rustix::net::getpeername(&socket).ok()??).ok()?;
        (found == peer).then_some(socket)
    });
    let socket = sockets.last().expect("the port has a socket for its client");
    let keepalive = || {
        let (idle, interval) = (sockopt::tcp_keepidle(&socket).unwrap(), sockopt::tcp_keepintvl(&socket).unwrap());
        (idle.as_secs(), interval.as_secs(), sockopt::tcp_keepcnt(&socket).unwrap())
    };
    (sockopt::tcp_nodelay(&socket).unwrap(), sockopt::socket_keepalive(&socket).unwrap().then(keepalive))
}

#[test]
fn options_of_sockets_reach_the_clients_that_are_there_and_those_that_come() {
    let port = port(&[("slots", "2")]);
    let set = |addr, key, value| {
        port.set_option(addr, key, value).unwrap();
        // It is with the sockets once the port has seen to everything, and so before the next call.
        port.slot_id(slot(0)).unwrap();
    };
    let [first, second] = [0, 1].map(|index| Client::seated(&port, index));
    let tunings = || [&first, &second].map(|client| tuning(client.address()));
    assert_eq!(tunings(), [DEFAULT; 2]);
    set(slot(1), "nodelay", "false");
    assert_eq!(tunings(), [DEFAULT, (false, DEFAULT.1)], "it is set for the one alone");
    set(slot(0), "keepalive", "60s/2s/9");
    assert_eq!(tunings(), [(true, Some((60, 2, 9))), (false, DEFAULT.1)]);
    set(Addr::Port, "keepalive", "off");
    assert_eq!(tunings(), [(true, None), (false, None)], "for both, and what else a slot has is its own");
    set(Addr::Port, "nodelay", "false");
    set(slot(1), "keepalive", "20s/1s/2");
    assert_eq!(tunings(), [(false, None), (false, Some((20, 1, 2)))]);
    // Whoever comes next has what the port has, or the slot.
    for (index, client, expected) in [(0, first, (false, None)), (1, second, (false, Some((20, 1, 2))))] {
        port.abort_client(slot(index)).unwrap();
        crate::harness::until(|| port.slot_id(slot(index)).unwrap().is_none());
        drop(client);
        let next = Client::seated(&port, index);
        assert_eq!(tuning(next.address()), expected, "{index}");
    }
}
