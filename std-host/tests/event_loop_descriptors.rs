//! No descriptor is left behind: its own test binary, because descriptors are counted for the whole process.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use wharf_host::event_loop::{ConnectOptions, Handler, ListenOptions, Lookup, Loop, LoopOptions, UnixListenOptions};

struct Quiet;

impl Handler for Quiet {
    type Data = ();
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// An address that accepts nobody, because its backlog is full, and what keeps it so.
fn silent() -> (SocketAddr, socket2::Socket, TcpStream) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let filler = TcpStream::connect(addr).unwrap();
    (addr, socket, filler)
}

#[test]
fn no_descriptor_is_left_behind() {
    let (silent, _backlog, _filler) = silent();
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = here.local_addr().unwrap();
    let path = std::env::temp_dir().join(format!("wharf-descriptors-{}", std::process::id()));
    let (leave, leaves) = mpsc::channel::<()>();
    let leaves = Mutex::new(leaves);
    let lookup: Lookup = Arc::new(move |host, _| {
        if host == "slow.example" {
            // It fails when the test ends.
            let _ = leaves.lock().unwrap().recv();
        }
        Ok(vec![silent, open])
    });
    let before = descriptors();

    // Two are slow, and one of them goes on being looked up when nobody wants it any more.
    let bounds = LoopOptions { resolver_threads: 4, ..LoopOptions::default() };
    let mut lp = Loop::with_lookup((), bounds, lookup).unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Quiet);
    set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let closed = set.listen("127.0.0.1:0".parse().unwrap(), key, shared).unwrap();
    set.listen_unix(&path, key, UnixListenOptions::default()).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let adopted = set.adopt(ours, key, ()).unwrap();
    let options = ConnectOptions::default();
    set.connect(path.as_path(), key, (), options).unwrap();
    set.connect("slow.example:80", key, (), options).unwrap();
    // The first address is silent, and the second wins after a quarter of a second.
    set.connect("two.example:80", key, (), options).unwrap();
    set.listener(closed).unwrap().close();
    // The adopted one, both sides of the path, and the winner.
    assert!(lp.run_until(|lp| lp.stats().opened == 4).unwrap());
    drop(lp.loop_mut().detach(adopted).unwrap());
    let settled = descriptors();

    let mut set = lp.loop_mut();
    let cancelled = [
        set.connect("slow.example:80", key, (), options).unwrap(),
        set.connect(silent, key, (), options).unwrap(),
        set.connect("two.example:80", key, (), options).unwrap(),
    ];
    // Two of the three have an attempt that nobody answers, and the third has none.
    assert!(lp.run_until(|_| descriptors() == settled + 2).unwrap());
    for id in cancelled {
        lp.loop_mut().cancel(id).unwrap();
    }
    assert_eq!(descriptors(), settled);
    drop(lp);
    drop(theirs);
    assert_eq!(descriptors(), before);
    assert!(!path.exists());
    drop(leave);
}
