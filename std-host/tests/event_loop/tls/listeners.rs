//! TLS on every kind of listener and of connection: UNIX sockets, groups, connections that are handed over.

use super::{Probed, end, read_all};
use crate::certificates::{Authority, dial};
use crate::harness::Bench;
use crate::unix::Folder;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use wharf_host::event_loop::{
    Address, ConnectOptions, Error, Group, GroupListener, GroupOptions, Handler, ListenOptions, LoopMut, LoopOptions,
    Opened, Socket, Spread, Target, TlsBuilder, TlsClientConfig, TlsConfig, UnixListenOptions,
};

/// A bench that listens on a UNIX socket.
fn bench_at(path: &Path, config: &TlsConfig, act: impl FnMut(&str, &mut Probed<'_>, &[u8]) + 'static) -> Bench {
    crate::harness::bench_on(LoopOptions::default(), act, |lp, key, _| {
        lp.listen_unix_tls(path, key, config, UnixListenOptions::default()).unwrap()
    })
}

fn echo(what: &str, s: &mut Probed<'_>, bytes: &[u8]) {
    if what == "data" {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

#[test]
fn a_unix_listener_speaks_tls() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let path = folder.join("echo");
    let config = authority.server("localhost");
    config.add_server_name("device.example", &authority.server("device.example"), 5).unwrap();
    let mut bench = bench_at(&path, &config, |what, s, bytes| {
        if what == "open" {
            assert_eq!((s.server_name(), s.server_tag()), (Some("device.example"), Some(5)));
        }
        echo(what, s, bytes);
    });
    let client_config = authority.client();
    let client = thread::spawn(move || {
        let name = "device.example".try_into().unwrap();
        let mut client =
            StreamOwned::new(ClientConnection::new(client_config, name).unwrap(), UnixStream::connect(path).unwrap());
        client.write_all(&[7; 100_000]).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        back
    });
    bench.run_to_closed(1);
    assert!(client.join().unwrap() == [7; 100_000]);
    assert_eq!(bench.log(), ["open Accepted", "opened", "end after 100000", "close Peer with 100000 bytes"]);
}

#[test]
fn a_client_of_a_unix_socket_says_whom_it_expects() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let path = folder.join("echo");
    let mut bench = bench_at(&path, &authority.server("localhost"), |what, s, bytes| match what {
        "open" if s.data() == b"client" => assert_eq!(s.write(b"ping").unwrap(), 4),
        "data" if s.data().starts_with(b"client") => s.finish().unwrap(),
        _ => echo(what, s, bytes),
    });
    let client = TlsBuilder::new().ca(authority.pem()).client().unwrap();
    let key = bench.key;
    let connect = |bench: &mut Bench, client: &TlsClientConfig| {
        let (to, options) = (Target::from(path.as_path()), ConnectOptions::default());
        bench.lp.loop_mut().connect_tls(to, key, b"client".to_vec(), client, options)
    };
    let nobody = connect(&mut bench, &client).unwrap_err();
    let expected = format!("server_name: {} names no server: say whom to expect", path.display());
    assert!(matches!(nobody, Error::Config { .. }) && nobody.to_string() == expected, "{nobody}");

    let id = connect(&mut bench, &client.expecting("localhost").unwrap()).unwrap();
    bench.run_to_closed(2);
    assert!(matches!(bench.lp.loop_mut().stream(id), Err(Error::Stale)));
    let log = bench.log();
    assert!(log.contains(&"close Local { code: 0 } with 10 bytes".to_owned()), "{log:?}");

    // One who is not whom it expects.
    bench.log.borrow_mut().clear();
    connect(&mut bench, &client.expecting("another").unwrap()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 1 && lp.stats().closed_failed == 1).unwrap());
    let at = Address::unix(&path);
    let failed = format!("connect_error after 1 with 6 bytes: TLS with {at}: invalid peer certificate");
    assert!(bench.log().iter().any(|line| line.starts_with(&failed)), "{:?}", bench.log());
}

#[test]
fn unix_streams_are_adopted_with_tls() {
    let authority = Authority::new();
    let mut bench = super::bench(&authority.server("localhost"), |what, s, bytes| match what {
        "open" if s.data() == b"client" => assert_eq!(s.write(b"ping").unwrap(), 4),
        "data" if s.data().starts_with(b"client") => s.finish().unwrap(),
        _ => echo(what, s, bytes),
    });
    let (ours, theirs) = UnixStream::pair().unwrap();
    let client = TlsBuilder::new().ca(authority.pem()).client().unwrap().expecting("localhost").unwrap();
    let key = bench.key;
    let mut lp = bench.lp.loop_mut();
    lp.adopt_tls(theirs, key, Vec::new(), &authority.server("localhost")).unwrap();
    lp.adopt_tls_client(ours, key, b"client".to_vec(), &client).unwrap();
    bench.run_to_closed(2);
    let log = bench.log();
    assert!(log.contains(&"close Local { code: 0 } with 10 bytes".to_owned()), "{log:?}");
}

/// Tells every client which loop it is on, by which name it was served and whether it is a session resumed; then echoes.
struct Greeter;

impl Handler<u8> for Greeter {
    type Data = ();

    fn open(&mut self, s: &mut Socket<'_, u8, ()>, how: Opened) {
        assert_eq!(how, Opened::Accepted);
        let tag = u8::try_from(s.server_tag().unwrap_or(0)).unwrap();
        let greeting = [*s.loop_mut().data(), tag, u8::from(s.resumed())];
        assert_eq!(s.write(&greeting).unwrap(), 3);
    }

    fn data(&mut self, s: &mut Socket<'_, u8, ()>, bytes: &[u8]) {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

/// Two loops that greet over TLS, with one configuration.
fn greeters(config: &TlsConfig, options: ListenOptions, spread: Spread) -> (Group<u8>, SocketAddr) {
    let listener = GroupListener::new("127.0.0.1:0".parse().unwrap(), options, spread);
    let (everywhere, config) = (listener.clone(), config.clone());
    let setup = move |_, lp: &mut LoopMut<'_, u8>| {
        let key = lp.context(Greeter);
        everywhere.listen_tls(lp, key, &config)?;
        Ok(())
    };
    let options = GroupOptions { loops: 2, ..GroupOptions::default() };
    let group = Group::with_options(options, |index| u8::try_from(index).unwrap(), setup).unwrap();
    (group, listener.local_addr())
}

/// What the client of a name is told, and whether it saw a session resumed itself.
fn greeted(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Result<[u8; 3], String> {
    let mut client = dial(addr, config, name);
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).map_err(|error| error.to_string())?;
    assert_eq!(greeting[2] == 1, client.conn.handshake_kind() == Some(HandshakeKind::Resumed));
    client.write_all(&[1; 50_000]).unwrap();
    end(&mut client);
    assert!(read_all(&mut client) == [1; 50_000]);
    Ok(greeting)
}

#[test]
fn connections_that_are_handed_over_shake_hands_where_they_land() {
    let authority = Authority::new();
    let config = authority.server("localhost");
    let (group, addr) = greeters(&config, ListenOptions::default(), Spread::InTurn);
    let client = authority.client();
    // The second loop goes on with a session that began on the first.
    let greetings = [(); 4].map(|()| greeted(addr, &client, "localhost").unwrap());
    assert_eq!(greetings, [[0, 0, 0], [1, 0, 1], [0, 0, 1], [1, 0, 1]]);
    let of = |index: usize| group.handles()[index].call(|lp| lp.stats()).unwrap();
    let (first, second) = (of(0), of(1));
    assert_eq!((first.taken, first.accepted, first.handshakes), (4, 2, 2));
    assert_eq!((second.taken, second.accepted, second.handshakes), (0, 2, 2));
}

#[test]
fn a_server_name_that_is_added_at_run_time_reaches_all_loops() {
    let authority = Authority::new();
    let config = authority.builder("localhost").session_cache(0).tickets(None).server().unwrap();
    let (_group, addr) = greeters(&config, ListenOptions::default(), Spread::InTurn);
    let client = authority.client();
    let both = |name| [(); 2].map(|()| greeted(addr, &client, name));
    let refused = both("device.example");
    assert!(refused.iter().all(|greeting| greeting.as_ref().is_err_and(|error| error.contains("not valid for name"))));

    config.add_server_name("device.example", &authority.server("device.example"), 9).unwrap();
    let mut served = both("device.example").map(Result::unwrap).map(|[index, tag, _]| (index, tag));
    served.sort_unstable();
    assert_eq!(served, [(0, 9), (1, 9)]);

    assert!(config.remove_server_name("device.example"));
    assert!(both("device.example").iter().all(Result::is_err));
    assert!(both("localhost").iter().all(Result::is_ok));
}

#[cfg(target_os = "linux")]
#[test]
fn listeners_among_which_the_system_spreads_speak_tls() {
    let authority = Authority::new();
    let config = authority.server("localhost");
    let (group, addr) = greeters(&config, ListenOptions::default(), Spread::System);
    let client = authority.client();
    // The system chooses by a hash of the client's port: 200 clients miss a loop once in 2^199 runs.
    let mut seen = [false; 2];
    for _ in 0..200 {
        let [index, ..] = greeted(addr, &client, "localhost").unwrap();
        seen[usize::from(index)] = true;
        if seen == [true; 2] {
            break;
        }
    }
    assert_eq!((seen, group.stats().unwrap().taken), ([true; 2], 0));
}
