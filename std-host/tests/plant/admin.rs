//! `[admin]`: where a running host can be reached.

use crate::harness::{accepted, refused};
use std::path::Path;
use wharf_host::config::admin::{Admin, Socket};
use wharf_host::config::{load, parse};

fn admin(keys: &str) -> Admin {
    let plant = accepted(&format!("[admin]\n{keys}\n"));
    assert_eq!(parse(&plant.to_toml(), "again.toml").unwrap(), plant, "{}", plant.to_toml());
    plant.admin
}

fn problem(keys: &str) -> String {
    refused(&format!("[admin]\n{keys}\n")).to_string()
}

#[test]
fn the_socket_is_in_the_usual_place_unless_a_path_or_none_is_asked_for() {
    assert_eq!(accepted("").admin, Admin { socket: Socket::Usual, listen: None });
    assert_eq!(admin("socket = true").socket, Socket::Usual);
    assert_eq!(admin("socket = \"./@a.sock\"").socket, Socket::At("./@a.sock".into()));
    for off in ["socket = false", "socket = \"\""] {
        assert_eq!(admin(off).socket, Socket::Off);
    }
    let accepted = "accepted: a path, true for the usual place, or false for none";
    assert_eq!(problem("socket = 3"), format!("plant.toml:2:10: admin.socket: found 3; {accepted}"));
    assert_eq!(problem("socket = \"@hall\""), format!("plant.toml:2:10: admin.socket: found \"@hall\"; {accepted}"));
    assert!(problem("socket = \"a\\u0000b\"").contains("without control characters"));
}

#[test]
fn http_is_off_unless_an_address_or_a_port_on_loopback_is_given() {
    let address = |keys| admin(keys).listen.map(|address| address.to_string());
    assert_eq!(address("listen = false"), None);
    assert_eq!(address("listen = 9502").as_deref(), Some("127.0.0.1:9502"));
    assert_eq!(address("listen = \"127.0.0.1:0\"").as_deref(), Some("127.0.0.1:0"));
    assert_eq!(address("listen = \"0.0.0.0:9502\"").as_deref(), Some("0.0.0.0:9502"));
    assert_eq!(address("listen = \"[::1]:9502\"").as_deref(), Some("[::1]:9502"));
    for (keys, found) in [("listen = true", "true"), ("listen = \"9502\"", "\"9502\""), ("listen = []", "a list")] {
        let accepted = "an IP address and a port such as \"127.0.0.1:9502\", a port on 127.0.0.1, or false for none";
        assert_eq!(problem(keys), format!("plant.toml:2:10: admin.listen: found {found}; accepted: {accepted}"));
    }
    assert_eq!(problem("listen = 65536"), "plant.toml:2:10: admin.listen: found 65536; accepted: 0..=65535");
}

#[test]
fn http_and_a_server_cannot_have_one_address() {
    let server = "[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:9502\"]";
    assert_eq!(
        problem(&format!("listen = 9502\n{server}")),
        "plant.toml:5:11: modbus.server[0].listen[0]: 127.0.0.1:9502 was used before, on line 2; accepted: an address \
         that nobody else listens on"
    );
}

#[test]
fn a_relative_path_starts_at_the_folder_of_the_plant() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plant-admin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("hall.toml");
    std::fs::write(&file, "[admin]\nsocket = \"run/hall.sock\"\n").unwrap();
    assert_eq!(load(&file).unwrap().admin.socket, Socket::At(folder.join("run/hall.sock")));
    std::fs::write(&file, "[admin]\nsocket = \"/run/hall.sock\"\n").unwrap();
    assert_eq!(load(&file).unwrap().admin.socket, Socket::At("/run/hall.sock".into()));
    std::fs::remove_dir_all(&folder).unwrap();
}
