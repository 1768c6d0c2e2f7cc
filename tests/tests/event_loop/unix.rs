//! UNIX sockets: paths, names and backlogs, and what is seen of the other side.

use crate::harness::{Bench, bench, echo, quiet};
use std::path::Path;
use std::time::Duration;
use wharf_host::event_loop::{Address, ConnectOptions, Error, Handler, ListenerId, Socket, UnixListenOptions};
use wharf_tests::sim_net::{Ended, Peer};

const AT: &str = "/run/wharf/echo";

fn listen(bench: &mut Bench, at: &str, options: UnixListenOptions) -> Result<ListenerId, Error> {
    let key = bench.key;
    bench.lp().listen_unix(at, key, options)
}

fn connect(bench: &mut Bench, to: &str, timeout: Duration) {
    let key = bench.key;
    let options = ConnectOptions { timeout, ..ConnectOptions::default() };
    bench.lp().connect(to, key, Vec::new(), options).unwrap();
}

fn dial(bench: &Bench) -> Peer {
    bench.sim.world.connect_unix(AT).expect("somebody listens, and the backlog has room")
}

#[test]
fn a_unix_listener_serves_and_its_path_goes_with_it() {
    let mut bench = bench(echo);
    let id = listen(&mut bench, AT, UnixListenOptions::default()).unwrap();
    assert_eq!(*bench.lp().listener(id).unwrap().local(), Address::Path(Path::new(AT).into()));
    let peer = dial(&bench);
    assert_eq!(peer.send(b"hello"), 5);
    bench.sim.run_until_idle();
    assert_eq!(peer.receive(), b"hello");
    peer.end();
    bench.sim.run_until_idle();
    assert_eq!(peer.ended(), Some(Ended::InOrder));
    assert_eq!(bench.log(), ["open Accepted", "end after 5", "close Peer with 5 bytes"]);
    bench.lp().listener(id).unwrap().close();
    assert!(!bench.sim.world.has_file(AT));

    // So it does when the loop is gone.
    listen(&mut bench, AT, UnixListenOptions::default()).unwrap();
    let world = bench.sim.world.clone();
    assert!(world.has_file(AT));
    drop(bench);
    assert!(!world.has_file(AT));
    assert_eq!((world.open(), world.calls().strays), (0, 0));
}

#[test]
fn a_stale_path_is_removed_only_if_nobody_answers_on_it() {
    let mut bench = bench(quiet);
    let refusal = |bench: &mut Bench| listen(bench, AT, UnixListenOptions::default()).unwrap_err().to_string();
    let live = bench.sim.world.listen_unix(AT);
    assert_eq!(refusal(&mut bench), format!("listen on {AT}: address in use"));
    assert!(live.accept().is_none(), "asking leaves nothing behind");
    drop(live);
    assert!(bench.sim.world.has_file(AT));
    let id = listen(&mut bench, AT, UnixListenOptions::default()).unwrap();
    let _peer = dial(&bench);

    bench.sim.world.put_file(AT);
    assert_eq!(refusal(&mut bench), format!("listen on {AT}: entity already exists"));
    bench.lp().listener(id).unwrap().close();
    assert!(bench.sim.world.has_file(AT), "another's");
}

#[test]
fn abstract_names_and_unnamed_peers() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            assert!(s.peer_addr().is_none() && s.local_addr().is_err());
            let names = [s.peer().to_string(), s.local().unwrap().to_string()];
            s.data().extend_from_slice(names.join(" ").as_bytes());
        }
    });
    let id = listen(&mut bench, "@name", UnixListenOptions::default()).unwrap();
    let refused = listen(&mut bench, "@name", UnixListenOptions::default()).unwrap_err();
    assert_eq!(refused.to_string(), "listen on @name: address in use");
    connect(&mut bench, "@name", Duration::from_secs(1));
    bench.sim.run_until_idle();
    let key = bench.key;
    let mut lp = bench.lp();
    let ids: Vec<_> = lp.sockets(key).collect();
    let mut seen: Vec<_> =
        ids.iter().map(|id| String::from_utf8(lp.user(key, *id).unwrap().clone()).unwrap()).collect();
    seen.sort();
    assert_eq!(seen, ["@name an unnamed peer", "an unnamed peer @name"]);
    lp.listener(id).unwrap().close();
    listen(&mut bench, "@name", UnixListenOptions::default()).unwrap();
}

#[test]
fn nobody_at_an_address_is_told_at_once() {
    let mut bench = bench(quiet);
    drop(bench.sim.world.listen_unix(AT));
    let before = bench.sim.world.now();
    for to in [AT, "/run/gone", "@gone"] {
        connect(&mut bench, to, Duration::from_secs(30));
        bench.sim.run_until_idle();
    }
    assert_eq!(
        bench.log(),
        [
            format!("connect_error after 1 with 0 bytes: connect to {AT}: connection refused"),
            "connect_error after 1 with 0 bytes: connect to /run/gone: entity not found".to_owned(),
            "connect_error after 1 with 0 bytes: connect to @gone: connection refused".to_owned(),
        ]
    );
    assert_eq!((bench.sim.world.now(), bench.lp().stats().connect_failed), (before, 3));
}

#[test]
fn a_full_backlog_is_tried_again_until_there_is_room_or_no_time() {
    let mut bench = bench(quiet);
    let id = listen(&mut bench, AT, UnixListenOptions { backlog: 1, ..UnixListenOptions::default() }).unwrap();
    bench.lp().listener(id).unwrap().pause();
    let _first = dial(&bench);
    connect(&mut bench, AT, Duration::from_secs(1));
    connect(&mut bench, AT, Duration::from_secs(10));
    bench.sim.run_for(Duration::from_millis(1100));
    assert_eq!(bench.log(), [format!("connect_error after 1 with 0 bytes: connect to {AT}: timed out")]);
    // Four times a second each, and not more often.
    assert_eq!(bench.sim.world.calls().connects, 4 + 5);
    bench.lp().listener(id).unwrap().resume();
    bench.sim.run_for(Duration::from_millis(150));
    assert_eq!(bench.log()[1..], ["open Accepted", "open Accepted", "open Connected"]);
    assert_eq!(bench.sim.world.calls().connects, 10);
}

#[test]
fn a_limit_of_sockets_holds_the_rest_in_the_backlog() {
    let mut bench = bench(quiet);
    listen(&mut bench, AT, UnixListenOptions { max_sockets: Some(2), ..UnixListenOptions::default() }).unwrap();
    let mut peers: Vec<Peer> = (0..5).map(|_| dial(&bench)).collect();
    bench.sim.run_until_idle();
    assert_eq!(bench.lp().stats().accepted, 2);
    peers.remove(0);
    bench.sim.run_until_idle();
    assert_eq!(bench.lp().stats().accepted, 3);
}

#[test]
fn exhaustion_does_not_spin() {
    let mut bench = bench(quiet);
    listen(&mut bench, AT, UnixListenOptions::default()).unwrap();
    bench.sim.world.limit_descriptors(Some(2));
    let peers: Vec<Peer> = (0..9).map(|_| dial(&bench)).collect();
    let before = bench.iterations();
    bench.sim.run_for(Duration::from_secs(3));
    assert!(bench.iterations() - before <= 20, "{} iterations", bench.iterations() - before);
    assert_eq!(bench.sim.world.calls().accepts, 10);
    assert_eq!(peers.iter().filter(|peer| peer.ended() == Some(Ended::InOrder)).count(), 5);
    bench.sim.world.limit_descriptors(None);
    bench.sim.run_for(Duration::from_secs(5));
    assert_eq!(bench.lp().stats().accepted, 4);
}

/// Keeps its side open when the peer has ended its own.
struct Patient;

impl Handler for Patient {
    type Data = u32;

    fn end(&mut self, s: &mut Socket<'_, (), u32>) {
        *s.data() += 1;
    }
}

#[test]
fn a_half_open_unix_socket_does_not_spin() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            s.pause().unwrap();
        }
    });
    let world = bench.sim.world.clone();
    let [(ours, theirs), (half, peer)] = [(); 2].map(|()| world.pair().unwrap());
    let [theirs, peer] = [theirs, peer].map(|ticket| world.hold(ticket).unwrap());
    let key = bench.key;
    let mut lp = bench.lp();
    let patient = lp.context(Patient);
    let paused = lp.adopt(ours, key, Vec::new()).unwrap();
    let half = lp.adopt(half, patient, 0).unwrap();
    bench.sim.run_until_idle();
    // One has ended its half; the other is gone altogether, and nobody reads that.
    peer.end();
    drop(theirs);
    let before = bench.iterations();
    bench.sim.run_for(Duration::from_secs(3600));
    assert_eq!(bench.iterations() - before, 2, "one for both events, and one that waits");
    assert_eq!(*bench.lp().user(patient, half).unwrap(), 1);
    // It hangs up altogether: one more event.
    drop(peer);
    bench.sim.run_for(Duration::from_secs(3600));
    assert_eq!(bench.iterations() - before, 4);
    assert_eq!(*bench.lp().user(patient, half).unwrap(), 1, "an end is told once");
    let mut lp = bench.lp();
    assert!(lp.stream(half).unwrap().is_hung_up() && lp.stream(paused).unwrap().is_hung_up());
    assert_eq!(lp.stream(half).unwrap().write(b"x").unwrap(), 0);
    lp.stream(paused).unwrap().resume().unwrap();
    bench.sim.run_until_idle();
    assert_eq!(bench.log()[1..], ["end after 0", "close Peer with 0 bytes"]);
    assert_eq!((world.open(), world.calls().strays), (1, 0));
}

#[test]
fn a_peer_that_leaves_bytes_unread_is_a_reset() {
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            assert_eq!(s.write(b"unread").unwrap(), 6);
        }
    });
    listen(&mut bench, AT, UnixListenOptions::default()).unwrap();
    let peer = dial(&bench);
    assert_eq!(peer.send(b"abc"), 3);
    bench.sim.run_until_idle();
    drop(peer);
    bench.sim.run_until_idle();
    assert_eq!(bench.log(), ["open Accepted", "close PeerReset with 3 bytes"]);
}
