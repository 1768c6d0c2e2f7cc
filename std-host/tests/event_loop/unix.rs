//! UNIX sockets, and descriptors that are no sockets.

use crate::harness::{Bench, bench, quiet};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use wharf_host::event_loop::{
    Address, AnyStream, ConnectOptions, Detached, Error, Handler, ListenerId, LoopMut, Socket, UnixListenOptions,
};

/// A directory of the test's own, which goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wharf-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listen(bench: &mut Bench, path: impl AsRef<Path>) -> Result<ListenerId, Error> {
    let key = bench.key;
    bench.lp.loop_mut().listen_unix(path, key, UnixListenOptions::default())
}

fn echoes(what: &str, s: &mut Socket<'_, (), Vec<u8>>, bytes: &[u8]) {
    if what == "data" {
        s.write(bytes).unwrap();
    }
}

#[test]
fn a_unix_listener_serves_and_its_path_goes_with_it() {
    let folder = Folder::new();
    let path = folder.join("echo");
    let mut bench = bench(echoes);
    let id = listen(&mut bench, &path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(*bench.lp.loop_mut().listener(id).unwrap().local(), Address::Path(path.as_path().into()));
    let at = path.clone();
    let client = thread::spawn(move || {
        let mut stream = UnixStream::connect(at).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
    });
    bench.run_to_closed(1);
    client.join().unwrap();
    assert_eq!(bench.log()[..1], ["open Accepted"]);
    bench.lp.loop_mut().listener(id).unwrap().close();
    assert!(!path.exists());
    assert!(matches!(bench.lp.loop_mut().listener(id), Err(Error::Stale)));

    // So it does when the loop is dropped.
    listen(&mut bench, &path).unwrap();
    assert!(path.exists());
    drop(bench);
    assert!(!path.exists());
}

#[test]
fn the_mode_bits_are_those_asked_for() {
    let folder = Folder::new();
    let mut bench = bench(quiet);
    for mode in [0o666, 0o620, 0] {
        let options = UnixListenOptions { mode, ..UnixListenOptions::default() };
        let path = folder.join("socket");
        let key = bench.key;
        let id = bench.lp.loop_mut().listen_unix(&path, key, options).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        bench.lp.loop_mut().listener(id).unwrap().close();
    }
}

#[test]
fn a_stale_path_is_removed_only_if_nobody_answers_on_it() {
    let folder = Folder::new();
    let mut bench = bench(quiet);

    let stale = folder.join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let id = listen(&mut bench, &stale).unwrap();
    UnixStream::connect(&stale).unwrap();

    let live = folder.join("live");
    let other = UnixListener::bind(&live).unwrap();
    let refused = listen(&mut bench, &live).unwrap_err().to_string();
    assert_eq!(refused, format!("listen on {}: address in use", live.display()));
    assert!(UnixStream::connect(&live).is_ok());
    drop(other);

    let file = folder.join("file");
    fs::write(&file, "precious").unwrap();
    let refused = listen(&mut bench, &file).unwrap_err().to_string();
    assert_eq!(refused, format!("listen on {}: entity already exists", file.display()));
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    // A path that somebody else has taken meanwhile stays.
    fs::remove_file(&stale).unwrap();
    fs::write(&stale, "another's").unwrap();
    bench.lp.loop_mut().listener(id).unwrap().close();
    assert_eq!(fs::read(&stale).unwrap(), b"another's");
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_and_unnamed_peers() {
    let name = format!("@wharf-test-{}", std::process::id());
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            let (peer, local) = (s.peer().clone(), s.local().unwrap());
            assert!(s.peer_addr().is_none() && s.local_addr().is_err());
            assert!([&peer, &local].contains(&&Address::Unnamed), "{peer} {local}");
        }
    });
    let id = listen(&mut bench, &name).unwrap();
    assert_eq!(bench.lp.loop_mut().listener(id).unwrap().local().to_string(), name);
    assert!(!Path::new(&name).exists());
    assert!(listen(&mut bench, &name).unwrap_err().to_string().ends_with("address in use"));
    let key = bench.key;
    let id = bench.lp.loop_mut().connect(name.as_str(), key, Vec::new(), ConnectOptions::default()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 2).unwrap());
    assert_eq!(bench.lp.loop_mut().stream(id).unwrap().peer().to_string(), name);
}

#[test]
fn connecting_to_a_path_works_or_says_why_not() {
    let folder = Folder::new();
    let (path, gone) = (folder.join("here"), folder.join("gone"));
    let mut bench = bench(quiet);
    listen(&mut bench, &path).unwrap();
    let key = bench.key;
    bench.lp.loop_mut().connect(path.as_path(), key, b"data".to_vec(), ConnectOptions::default()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 2).unwrap());
    bench.lp.loop_mut().connect(gone.as_path(), key, b"data".to_vec(), ConnectOptions::default()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().connect_failed == 1).unwrap());
    let said = bench.log().pop().unwrap();
    assert_eq!(said, format!("connect_error after 1 with 4 bytes: connect to {}: entity not found", gone.display()));
}

#[test]
fn a_full_backlog_is_waited_for() {
    let folder = Folder::new();
    let path = folder.join("full");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let mut bench = bench(quiet);
    let key = bench.key;
    let id = bench.lp.loop_mut().connect(path.as_path(), key, Vec::new(), ConnectOptions::default()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(matches!(bench.lp.loop_mut().stream(id).unwrap().write(b"x"), Err(Error::NotOpen)));
    let _accepted = socket.accept().unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().opened == 1).unwrap());
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
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (half, peer) = UnixStream::pair().unwrap();
    let key = bench.key;
    let mut set = bench.lp.loop_mut();
    let patient = set.context(Patient);
    let paused = set.adopt(ours, key, Vec::new()).unwrap();
    let half = set.adopt(half, patient, 0).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    // One has ended its half; the other is gone altogether, and nobody reads that.
    peer.shutdown(Shutdown::Write).unwrap();
    drop(theirs);
    let before = bench.lp.loop_mut().stats();
    bench.lp.loop_mut().add_timer(Duration::from_secs(1), None, |_, _| ()).unwrap();
    assert!(bench.lp.run_until(|lp| lp.stats().timers_fired == 1).unwrap());
    let after = bench.lp.loop_mut().stats();
    assert!(after.iterations - before.iterations <= 10, "{} iterations", after.iterations - before.iterations);
    assert_eq!(*bench.lp.loop_mut().user(patient, half).unwrap(), 1);
    let mut set = bench.lp.loop_mut();
    assert!(set.stream(half).unwrap().is_hung_up() && set.stream(paused).unwrap().is_hung_up());
    set.stream(paused).unwrap().resume().unwrap();
    bench.run_to_closed(1);
}

#[test]
fn a_fifo_is_read_and_written() {
    let folder = Folder::new();
    let path = folder.join("fifo");
    let fifo = |bits: u32| rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_bits_truncate(bits), 0);
    fifo(0o600).unwrap();
    let open = |read: bool| -> File {
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        OpenOptions::new().read(read).write(!read).custom_flags(nonblocking).open(&path).unwrap()
    };
    let mut bench = bench(quiet);
    let key = bench.key;
    let mut set = bench.lp.loop_mut();
    set.adopt_fd(open(true).into(), key, Vec::new()).unwrap();
    let writer = set.adopt_fd(open(false).into(), key, Vec::new()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    let mut set = bench.lp.loop_mut();
    let mut stream = set.stream(writer).unwrap();
    assert_eq!(*stream.peer(), Address::Unnamed);
    assert_eq!(stream.write(&[7; 100_000]).unwrap(), 100_000);
    // There is no half of a FIFO to shut, so the close is what the reader sees.
    stream.finish().unwrap();
    bench.run_to_closed(2);
    let log = bench.log();
    assert_eq!(log.iter().filter(|said| said.starts_with("open")).count(), 4);
    for said in ["close Local { code: 0 } with 0 bytes", "end after 100000", "close Peer with 100000 bytes"] {
        assert!(log.iter().any(|line| line == said), "{said}: {log:?}");
    }

    // A writer learns that its readers have gone.
    let reader = open(true);
    let id = bench.lp.loop_mut().adopt_fd(open(false).into(), key, Vec::new()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    drop(reader);
    bench.run_to_closed(3);
    assert!(matches!(bench.lp.loop_mut().stream(id), Err(Error::Stale)));
}

#[test]
fn a_pseudo_terminal_ends_when_its_other_side_is_gone() {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    let noctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
    let mut user = OpenOptions::new().read(true).write(true).custom_flags(noctty).open(name).unwrap();
    let mut bench = bench(|what, s, _| {
        if what == "open" {
            s.write(b"typed\n").unwrap();
        }
    });
    let key = bench.key;
    let id = bench.lp.loop_mut().adopt_fd(controller, key, Vec::new()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    let mut line = [0; 6];
    user.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"typed\n");
    user.write_all(b"out").unwrap();
    // What was typed is echoed, and the end of a line printed as two bytes.
    let all = |lp: &mut LoopMut<'_>| lp.stats().bytes_in == b"typed\r\nout".len() as u64;
    assert!(bench.lp.run_until(all).unwrap());
    assert_eq!(*bench.lp.loop_mut().user(key, id).unwrap(), b"typed\r\nout");
    drop(user);
    bench.run_to_closed(1);
    assert_eq!(bench.log()[2..], ["end after 10", "close Peer with 10 bytes"]);
}

#[test]
fn what_cannot_be_polled_is_refused() {
    let folder = Folder::new();
    let file = File::create(folder.join("file")).unwrap();
    let mut bench = bench(quiet);
    let key = bench.key;
    let refused = bench.lp.loop_mut().adopt_fd(file.into(), key, Vec::new()).unwrap_err();
    assert_eq!(refused.to_string(), "adopt a descriptor: permission denied");
    assert_eq!(bench.lp.loop_mut().stats().sockets, 0);
    assert_eq!(bench.lp.loop_mut().sockets(key).count(), 0);
}

#[test]
fn a_descriptor_that_is_a_socket_is_treated_as_one() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    assert!(matches!(AnyStream::from(OwnedFd::from(ours)), AnyStream::Unix(_)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(matches!(AnyStream::from(OwnedFd::from(tcp)), AnyStream::Tcp(_)));
    assert!(matches!(AnyStream::from(OwnedFd::from(File::open("/dev/null").unwrap())), AnyStream::Other(_)));
    drop(theirs);
}

#[test]
fn a_detached_stream_goes_on_in_the_loop_of_another_thread_without_losing_a_byte() {
    let (ready, is_ready) = mpsc::channel();
    let there = thread::spawn(move || {
        let mut bench = bench(|what, s, bytes| {
            if what == "open" {
                // What the first loop had queued comes with the stream.
                let (unsent, stream) = s.split();
                assert_eq!(stream.write(unsent).unwrap(), unsent.len());
            }
            echoes(what, s, bytes);
        });
        ready.send((bench.lp.handle(), bench.key)).unwrap();
        bench.run_to_closed(1);
        bench.log()
    });
    let (other, other_key) = is_ready.recv().unwrap();

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    // More than the system buffers, so that the loop has to queue, and less than it may queue.
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut peer, bytes) = (theirs.try_clone().unwrap(), sent.clone());
    let writer = thread::spawn(move || {
        peer.write_all(&bytes).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
    });
    let mut bench = bench(echoes);
    let key = bench.key;
    let id = bench.lp.loop_mut().adopt(ours, key, Vec::new()).unwrap();
    assert!(matches!(bench.lp.loop_mut().detach(id), Err(Error::NotOpen)));
    assert!(bench.lp.run_until(|lp| lp.stats().queued > 0).unwrap());
    let queued = bench.lp.loop_mut().stream(id).unwrap().queued();
    let Detached { stream, unread, unsent, .. } = bench.lp.loop_mut().detach(id).unwrap();
    assert_eq!((unread.len(), unsent.len()), (0, queued));
    assert!(matches!(bench.lp.loop_mut().detach(id), Err(Error::Closed)));
    other.defer(move |lp| assert!(lp.adopt(stream, other_key, unsent).is_ok())).unwrap();

    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert!(matches!(bench.lp.loop_mut().detach(id), Err(Error::Stale)));
    assert!(bench.log().last().unwrap().starts_with("close Detached"));
    assert_eq!(bench.lp.loop_mut().stats().unsent, 0);
    let mut back = Vec::new();
    theirs.read_to_end(&mut back).unwrap();
    assert!(back == sent, "{} bytes of {} came back", back.len(), sent.len());
    writer.join().unwrap();
    assert!(there.join().unwrap().last().unwrap().starts_with("close Peer"));
}

#[test]
fn a_closed_id_is_stale() {
    let folder = Folder::new();
    let mut bench = bench(quiet);
    let key = bench.key;
    let path = folder.join("socket");
    let listener = listen(&mut bench, &path).unwrap();
    let mut set = bench.lp.loop_mut();
    let cancelled = set.connect(path.as_path(), key, Vec::new(), ConnectOptions::default()).unwrap();
    set.cancel(cancelled).unwrap();
    let pairs = [(); 5].map(|()| UnixStream::pair().unwrap());
    // The other sides stay open.
    let [first, second, later @ ..] = pairs.each_ref().map(|(ours, _)| ours.try_clone().unwrap());
    let [closed, detached] = [first, second].map(|ours| set.adopt(ours, key, Vec::new()).unwrap());
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    let mut set = bench.lp.loop_mut();
    set.stream(closed).unwrap().close(1);
    let kept = set.detach(detached).unwrap();
    set.listener(listener).unwrap().close();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();

    // Places and descriptors are used again at once; the old ids do not reach who has them now.
    let mut set = bench.lp.loop_mut();
    set.listen_unix(&path, key, UnixListenOptions::default()).unwrap();
    for ours in later {
        set.adopt(ours, key, Vec::new()).unwrap();
    }
    assert!(matches!(set.listener(listener), Err(Error::Stale)));
    for id in [cancelled, closed, detached] {
        assert!(matches!(set.stream(id), Err(Error::Stale)));
        assert!(matches!(set.cancel(id), Err(Error::Stale)));
        assert!(matches!(set.detach(id), Err(Error::Stale)));
        assert!(matches!(set.user(key, id), Err(Error::Stale)));
    }
    drop(kept);
}

#[test]
fn a_failure_to_send_closes_the_socket_after_what_has_arrived() {
    let mut bench = bench(quiet);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let key = bench.key;
    let id = bench.lp.loop_mut().adopt(ours, key, Vec::new()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    // The peer takes nothing any more, but its own side is open: no end will ever be read.
    theirs.write_all(b"abc").unwrap();
    theirs.shutdown(Shutdown::Read).unwrap();
    let mut set = bench.lp.loop_mut();
    let mut stream = set.stream(id).unwrap();
    assert_eq!(stream.write(b"x").unwrap(), 0);
    assert!(matches!(stream.write(b"x"), Err(Error::Closed)));
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(bench.log()[2..], ["close PeerReset with 3 bytes"]);
}

#[test]
fn a_detached_stream_remembers_that_its_output_has_ended() {
    let (mut bench, mut other) = (bench(quiet), bench(quiet));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let id = bench.lp.loop_mut().adopt(ours, bench.key, Vec::new()).unwrap();
    bench.lp.turn(Some(Duration::ZERO)).unwrap();
    bench.lp.loop_mut().stream(id).unwrap().shutdown().unwrap();
    let detached = bench.lp.loop_mut().detach(id).unwrap();
    let patient = other.lp.loop_mut().context(Patient);
    let id = other.lp.loop_mut().adopt(detached.stream, patient, 0).unwrap();
    other.lp.turn(Some(Duration::ZERO)).unwrap();
    let mut set = other.lp.loop_mut();
    let mut stream = set.stream(id).unwrap();
    assert!(stream.is_shut_down());
    assert!(matches!(stream.write(b"x"), Err(Error::ShutDown)));
    // Input goes on, and when that ends too nothing is left, though the handler would keep its side open.
    theirs.write_all(b"abc").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    other.run_to_closed(1);
    assert_eq!((other.lp.loop_mut().stats().bytes_in, other.lp.loop_mut().stats().closed_peer), (3, 1));
    assert!(matches!(other.lp.loop_mut().stream(id), Err(Error::Stale)));
}

#[test]
fn whoever_is_starting_on_a_stale_path_is_left_alone() {
    let folder = Folder::new();
    let mut bench = bench(quiet);
    let path = folder.join("socket");
    // Another process has taken the path and does not listen yet: like this, a path looks stale.
    let lock = File::create(folder.join("socket.wharf-lock")).unwrap();
    let other = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    other.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let refused = listen(&mut bench, &path).unwrap_err().to_string();
    assert_eq!(refused, format!("listen on {}: address in use", path.display()));
    other.listen(1).unwrap();
    UnixStream::connect(&path).unwrap();
    // A lock whose owner has died is nobody's.
    drop((lock, other));
    listen(&mut bench, &path).unwrap();
    UnixStream::connect(&path).unwrap();
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["socket"], "nothing is left beside the path");
}

#[test]
fn what_looks_like_a_lock_and_is_none_is_not_touched() {
    let folder = Folder::new();
    let mut bench = bench(quiet);
    fs::write(folder.join("socket.wharf-lock"), "precious").unwrap();
    listen(&mut bench, folder.join("socket")).unwrap();
    assert_eq!(fs::read(folder.join("socket.wharf-lock")).unwrap(), b"precious");
    fs::write(folder.join("target"), "").unwrap();
    std::os::unix::fs::symlink(folder.join("target"), folder.join("other.wharf-lock")).unwrap();
    assert!(listen(&mut bench, folder.join("other")).is_err());
    assert!(!folder.join("other").exists() && folder.join("target").exists());
}

#[test]
fn of_many_that_start_over_one_stale_path_one_has_it_and_answers() {
    const RIVALS: usize = 4;
    let folder = Folder::new();
    let path = folder.join("socket");
    let barrier = std::sync::Barrier::new(RIVALS);
    for _ in 0..50 {
        drop(UnixListener::bind(&path).unwrap());
        let won = thread::scope(|scope| {
            let rivals = [(); RIVALS].map(|()| {
                scope.spawn(|| {
                    let mut bench = bench(quiet);
                    barrier.wait();
                    let listens = listen(&mut bench, &path);
                    // Nobody goes before all have tried.
                    barrier.wait();
                    let answers = UnixStream::connect(&path).is_ok();
                    barrier.wait();
                    let heard = bench.lp.turn(Some(Duration::ZERO)).map(|_| bench.lp.loop_mut().stats().accepted);
                    (listens.is_ok(), answers, heard.unwrap())
                })
            });
            rivals.map(|rival| rival.join().unwrap())
        });
        assert!(won.iter().all(|(_, answers, _)| *answers), "{won:?}");
        assert_eq!(won.iter().filter(|(listens, ..)| *listens).count(), 1, "{won:?}");
        // Those who looked whether anybody answers were heard as well.
        let rivals = RIVALS as u64;
        assert!(won.iter().all(|(listens, _, heard)| if *listens { *heard >= rivals } else { *heard == 0 }), "{won:?}");
        assert!(!path.exists());
    }
}
