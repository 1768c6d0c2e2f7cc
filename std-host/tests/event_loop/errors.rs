//! Errors: every operation that the system can refuse says what was done to what.

use crate::harness::{bench, quiet};
use crate::unix::Folder;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use wharf_host::event_loop::{
    CloseReason, Closed, ConnectFailed, ConnectOptions, Error, Handler, ListenOptions, LoopMut, PreOpen, RawSocket,
    UnixListenOptions,
};

/// Keeps the errors of its sockets.
#[derive(Default)]
struct Keeper(Rc<RefCell<Vec<String>>>);

impl Handler for Keeper {
    type Data = ();

    fn pre_open(&mut self, raw: &mut RawSocket<'_>) -> PreOpen {
        self.0.borrow_mut().push(raw.set_nodelay(true).unwrap_err().to_string());
        PreOpen::Reject
    }

    fn connect_error(&mut self, _: &mut LoopMut<'_>, failed: ConnectFailed<()>) {
        self.0.borrow_mut().push(failed.error.to_string());
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<()>) {
        let CloseReason::Failed(error) = closed.reason else { panic!("{:?}", closed.reason) };
        self.0.borrow_mut().push(error.to_string());
    }
}

#[test]
fn every_error_names_operation_and_object() {
    let folder = Folder::new();
    let (path, fifo, missing) = (folder.join("socket"), folder.join("fifo"), folder.join("no").join("socket"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_addr = taken.local_addr().unwrap();
    // Bound and not listening, so that nobody else can have the port and listen there.
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let gone = nobody.local_addr().unwrap().as_socket().unwrap();
    let mut bench = bench(quiet);
    let key = bench.key;
    let said = Rc::default();
    let mut set = bench.lp.loop_mut();
    let keeper = set.context(Keeper(Rc::clone(&said)));

    let unix = UnixListenOptions::default();
    let unconnected = UnixStream::from(std::os::fd::OwnedFd::from(
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap(),
    ));
    let pair = UnixStream::pair().unwrap();
    let local = set.adopt(pair.0, key, Vec::new()).unwrap();
    let refused = [
        set.listen(taken_addr, key, ListenOptions::default()).map(drop),
        set.listen_unix(&missing, key, unix).map(drop),
        set.adopt(unconnected, key, Vec::new()).map(drop),
        set.adopt_fd(File::open("/dev/null").unwrap().into(), key, Vec::new()).map(drop),
        set.connect("no port", key, Vec::new(), ConnectOptions::default()).map(drop),
        set.resolve("host:99999", |_, _| ()),
        set.stream(local).unwrap().local_addr().map(drop),
    ];
    let refused = refused.map(|outcome| outcome.unwrap_err().to_string());
    assert_eq!(
        refused,
        [
            format!("listen on {taken_addr}: address in use"),
            format!("listen on {}: entity not found", missing.display()),
            "adopt a UNIX stream: not connected".to_owned(),
            "adopt a descriptor: permission denied".to_owned(),
            "resolve no port: there is no port".to_owned(),
            "resolve host:99999: the port is not a number up to 65535".to_owned(),
            "ask for the IP address of an unnamed peer: unsupported".to_owned(),
        ]
    );

    // What is told later: a refusal, options and a rejection on a socket that connects, and a write that fails.
    set.listen_unix(&path, keeper, unix).unwrap();
    let options = ConnectOptions::default();
    set.connect(path.as_path(), keeper, (), options).unwrap();
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_bits_truncate(0o600), 0).unwrap();
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
    let reader = OpenOptions::new().read(true).custom_flags(nonblocking).open(&fifo).unwrap();
    let reader = set.adopt_fd(reader.into(), keeper, ()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 1).unwrap());
    let mut set = bench.lp.loop_mut();
    let mut stream = set.stream(reader).unwrap();
    stream.pause().unwrap();
    assert_eq!(stream.write(b"x").unwrap(), 0);
    bench.run_to_closed(1);
    let said = said.borrow().clone();
    for expected in [
        // How the library prints this number differs between its versions.
        format!("set nodelay on {}: ", path.display()),
        format!("connect to {}: connection aborted", path.display()),
        "write to an unnamed peer: Bad file descriptor (os error 9)".to_owned(),
    ] {
        assert!(said.iter().any(|said| said.starts_with(&expected)), "{expected}: {said:?}");
    }
    let failed = bench.lp.loop_mut().connect(gone, key, b"data".to_vec(), options).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 2).unwrap());
    assert!(matches!(bench.lp.loop_mut().stream(failed), Err(Error::Stale)));
    assert!(bench.log().last().unwrap().ends_with(&format!("connect to {gone}: connection refused")));
}
