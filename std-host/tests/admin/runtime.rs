//! Where admin sockets are, and what is in the way.

use crate::harness::{Client, Folder, servers};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

#[test]
fn the_socket_is_its_owners_alone_in_a_directory_of_the_same_kind() {
    let folder = Folder::new();
    let _host = folder.host("hall", &servers(&["a"]));
    let mode = |path: &std::path::Path| path.symlink_metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&folder.socket("hall")), 0o600);
    assert_eq!(mode(&folder.runtime()), 0o700);
}

#[test]
fn hosts_are_called_after_their_file_or_what_stands_for_it() {
    let folder = Folder::new();
    let _named = folder.host("my hall.v2", &servers(&["a"]));
    assert_eq!(Client::connect(&folder.socket("my hall.v2")).plant(), "my hall.v2");
    let mut serve = folder.wharf(&["modbus", "serve", "--listen", "127.0.0.1:0"]);
    let _shorthand = folder.start(&mut serve);
    assert_eq!(Client::connect(&folder.socket("modbus")).plant(), "modbus");
}

#[test]
fn a_second_host_of_one_name_has_its_number_added() {
    let folder = Folder::new();
    let first = folder.host("hall", &servers(&["a"]));
    let second = folder.host("hall", &servers(&["b"]));
    let own = folder.socket(&format!("hall-{}", second.id()));
    let entry = |path: &std::path::Path| Client::connect(path).ask("status")["ok"]["entries"][0]["name"].clone();
    assert_eq!((entry(&folder.socket("hall")), entry(&own)), ("a".into(), "b".into()));
    // Each takes its own along, and no other.
    assert_eq!(first.end().0, Some(0));
    assert_eq!(entry(&own), "b");
    assert_eq!(second.end().0, Some(0));
    assert!(folder.sockets().is_empty());
}

#[test]
fn what_killed_hosts_leave_behind_is_replaced_or_swept_away() {
    let folder = Folder::new();
    let (first, second) = (folder.host("hall", &servers(&["a"])), folder.host("hall", &servers(&["b"])));
    let left = format!("hall-{}.sock", second.id());
    first.kill();
    second.kill();
    assert_eq!(folder.sockets(), [left, "hall.sock".to_owned()]);
    let host = folder.host("hall", &servers(&["c"]));
    assert_eq!(folder.sockets(), ["hall.sock"]);
    assert_eq!(Client::connect(&folder.socket("hall")).plant(), "hall");
    assert_eq!(host.end().0, Some(0));
}

#[test]
fn hosts_that_start_at_once_all_start_and_all_can_be_asked() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("hall.toml"), servers(&["a"])).unwrap();
    let mut commands: Vec<_> = (0..12).map(|_| folder.wharf(&["run", "hall.toml"])).collect();
    let hosts: Vec<_> = std::thread::scope(|scope| {
        let starting: Vec<_> = commands.iter_mut().map(|command| scope.spawn(|| folder.start(command))).collect();
        starting.into_iter().map(|host| host.join().unwrap()).collect()
    });
    assert_eq!(folder.sockets().iter().filter(|name| name.ends_with(".sock")).count(), hosts.len());
    for host in &hosts {
        let own = folder.socket(&format!("hall-{}", host.id()));
        let path = if own.exists() { own } else { folder.socket("hall") };
        assert_eq!(Client::connect(&path).ask("status")["ok"]["pid"], host.id());
    }
}

#[test]
fn a_host_without_a_usable_directory_says_so_and_goes_on_without() {
    let folder = Folder::new();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let log = |why: &str| {
        let host = folder.host("hall", &servers(&["a"]));
        assert!(std::net::TcpStream::connect(host.addresses[0]).is_ok());
        let (status, log) = host.end();
        assert_eq!(status, Some(0));
        let warning = log.lines().find(|line| line.contains("no admin socket")).unwrap_or_else(|| panic!("{log}"));
        assert!(warning.contains(why), "{warning}");
    };
    std::fs::create_dir(folder.runtime()).unwrap();
    std::fs::set_permissions(folder.runtime(), Permissions::from_mode(0o777)).unwrap();
    log("everybody may write to it");
    std::fs::remove_dir(folder.runtime()).unwrap();
    symlink(&elsewhere, folder.runtime()).unwrap();
    log("it is no directory");
    std::fs::remove_file(folder.runtime()).unwrap();
    std::fs::write(folder.runtime(), "").unwrap();
    log("run: ");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_too_long_for_a_socket_costs_the_socket_alone() {
    let folder = Folder::new();
    let host = folder.host(&"x".repeat(200), &servers(&["a"]));
    let (status, log) = host.end();
    assert!(status == Some(0) && log.contains("no admin socket"), "{log}");
}

#[test]
fn a_path_of_the_plant_is_where_it_says_or_the_host_does_not_start() {
    let folder = Folder::new();
    let plant = format!("[admin]\nsocket = \"own.sock\"\n{}", servers(&["a"]));
    let host = folder.host("hall", &plant);
    let path = folder.path().join("own.sock");
    assert_eq!(Client::connect(&path).plant(), "hall");
    assert!(!folder.runtime().exists());
    let second = folder.run(&["run", "hall.toml"]);
    assert_eq!((second.status, second.stdout.as_str()), (3, ""));
    assert!(second.stderr.contains("own.sock"), "{}", second.stderr);
    assert_eq!(Client::connect(&path).plant(), "hall");
    assert_eq!(host.end().0, Some(0));
    assert!(!path.exists());
    // What is no socket is nobody's to remove.
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(folder.run(&["run", "hall.toml"]).status, 3);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_socket_can_be_turned_off() {
    let folder = Folder::new();
    let _host = folder.host("hall", &format!("[admin]\nsocket = false\n{}", servers(&["a"])));
    assert!(!folder.runtime().exists());
    assert_eq!(folder.run(&["status"]).status, 3);
}

#[test]
fn somebody_elses_socket_of_that_name_is_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir(folder.runtime()).unwrap();
    std::fs::set_permissions(folder.runtime(), Permissions::from_mode(0o700)).unwrap();
    let other = UnixListener::bind(folder.socket("hall")).unwrap();
    let host = folder.host("hall", &servers(&["a"]));
    assert_eq!(Client::connect(&folder.socket(&format!("hall-{}", host.id()))).plant(), "hall");
    drop(other);
}
