//! `wharf status`: which host is asked, and what is shown.

use crate::harness::{Folder, servers};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;

#[test]
fn the_only_host_is_asked() {
    let folder = Folder::new();
    let host = folder.host("hall", &servers(&["a", "b"]));
    let _connection = TcpStream::connect(host.addresses[0]).unwrap();
    let shown = folder.run(&["status"]);
    assert_eq!((shown.status, shown.stderr.as_str()), (0, ""));
    let lines: Vec<_> = shown.stdout.lines().collect();
    let first = format!("plant hall, process {}, wharf {}, up ", host.id(), env!("CARGO_PKG_VERSION"));
    assert!(lines[0].starts_with(&first), "{lines:?}");
    assert_eq!(lines[1], format!("admin socket {}", folder.socket("hall").display()));
    assert!(lines[2].starts_with(&format!("modbus a: listen {}; connections ", host.addresses[0])), "{lines:?}");
    assert!(lines[3].starts_with(&format!("modbus b: listen {}; connections 0", host.addresses[1])), "{lines:?}");
    let told = folder.run(&["status", "--json"]).json();
    assert_eq!((&told["plant"], &told["entries"][1]["name"]), (&"hall".into(), &"b".into()));
}

#[test]
fn of_several_hosts_one_has_to_be_named() {
    let folder = Folder::new();
    let (_one, _two) = (folder.host("one", &servers(&["a"])), folder.host("two", &servers(&["b"])));
    // A socket that nobody answers on is no host.
    folder.host("three", &servers(&["c"])).kill();
    assert!(folder.socket("three").exists());
    let refused = folder.run(&["status"]);
    let (one, two) = (folder.socket("one"), folder.socket("two"));
    let expected = format!(
        "wharf: several hosts run, say which one is meant:\n  --admin {}\n  --admin {}\n",
        one.display(),
        two.display()
    );
    assert_eq!((refused.status, refused.stdout.as_str(), refused.stderr), (2, "", expected));
    let told = folder.run(&["status", "--json", "--admin", two.to_str().unwrap()]).json();
    assert_eq!(told["entries"][0]["name"], "b");
}

#[test]
fn without_a_host_the_next_step_is_told() {
    let folder = Folder::new();
    let none = folder.run(&["status"]);
    assert_eq!((none.status, none.stdout.as_str()), (3, ""));
    let expected = format!(
        "wharf: no host answers in {}\n  start one (`wharf run`), or name the socket of one that runs elsewhere (`--admin \
         SOCKET`)\n",
        folder.runtime().display()
    );
    assert_eq!(none.stderr, expected);
    assert_eq!(folder.run(&["status", "--admin", "none.sock"]).status, 3);
}

#[test]
fn who_speaks_otherwise_has_broken_the_protocol() {
    let folder = Folder::new();
    for (words, why) in [
        ("HTTP/1.1 400 Bad Request\r\n", "a line is no JSON object"),
        ("{\"protocol\":2}\n", "the host speaks protocol 2, not 1"),
        ("{}\n", "its first line does not say which protocol it speaks"),
        ("{\"protocol\":1}\n{\"id\":9,\"ok\":1}\n", "a line belongs to no request"),
        ("{\"protocol\":1}\n{\"id\":1}\n", "a line is neither an event nor an outcome"),
    ] {
        let path = folder.path().join("other.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let other = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(words.as_bytes()).unwrap();
            // Until the client has had enough.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let done = folder.run(&["status", "--admin", "other.sock"]);
        assert_eq!((done.status, done.stderr), (4, format!("wharf: other.sock: no admin socket of a host: {why}\n")));
        other.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
