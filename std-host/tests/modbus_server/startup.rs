//! What a plant opens, and what stops it from starting.

use crate::harness::{Client, WHARF, Wharf, one_server, plant_file, wharf};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_port_in_use_ends_with_3_and_names_address_and_cause() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = wharf(&["modbus", "serve", "--listen", "127.0.0.1:0", "--listen", &address]);
    assert_eq!(output.status.code(), Some(3));
    let text = stderr(&output);
    assert!(text.contains(&address) && text.contains("address in use"), "{text}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_bad_plant_ends_with_2_and_names_file_line_and_key() {
    let path = plant_file(&one_server("max_conections = 3"));
    let path = path.to_str().unwrap();
    for arguments in [&["run", path][..], &["modbus", "serve", path]] {
        let output = wharf(arguments);
        assert_eq!(output.status.code(), Some(2));
        let text = stderr(&output);
        assert!(text.contains(&format!("{path}:4")) && text.contains("max_conections"), "{text}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn the_default_plant_serves_what_the_readme_says() {
    // As `wharf check` prints it, but not on its fixed port, which may be in use.
    let default = wharf(&["check"]);
    assert_eq!(default.status.code(), Some(0));
    let path = plant_file(std::str::from_utf8(&default.stdout).unwrap());
    let server = Wharf::start(Command::new(WHARF).args(["modbus", "serve", "--listen", "127.0.0.1:0"]).arg(path), 1);
    let address = server.address().to_string();
    let values = |arguments: &[&str]| -> serde_json::Value {
        let output = wharf(&[&["modbus", "read", &address, "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["values"].take()
    };
    assert_eq!(values(&["holding", "0", "4"]), serde_json::json!([1, 2, 3, 4]));
    assert_eq!(values(&["holding", "10", "--type", "f32"]), serde_json::json!([123_456.0]));
    assert_eq!(wharf(&["modbus", "write", &address, "holding", "0", "42", "43"]).status.code(), Some(0));
    assert_eq!(values(&["holding", "0", "3"]), serde_json::json!([42, 43, 3]));
    assert_eq!(values(&["holding", "999", "--unit", "2"]), serde_json::json!([7]));
    assert_eq!(wharf(&["modbus", "read", &address, "holding", "0", "--unit", "3"]).status.code(), Some(1));
}

#[test]
fn every_listener_serves_and_ipv6_listeners_are_v6_only() {
    let plant = "[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\", \"[::1]:0\", \"[::]:0\"]\n\
                 [[modbus.server]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\"]\nunit = [{ id = 9 }]\n";
    let wharf = Wharf::run(plant, 4);
    let [v4, v6, any, other] = wharf.addresses[..] else { panic!("{:?}", wharf.addresses) };
    assert!(v4.is_ipv4() && v6.is_ipv6() && any.is_ipv6() && other.is_ipv4());
    let reached = SocketAddr::from((Ipv6Addr::LOCALHOST, any.port()));
    for address in [v4, v6, reached] {
        Client::connect(address).is_served();
        // They are one server: what one writes, the next reads.
        let reply = Client::connect(address).ask(1, &[6, 0, 0, 0, 5]);
        assert_eq!(reply, [6, 0, 0, 0, 5]);
        assert_eq!(Client::connect(v4).ask(1, &[3, 0, 0, 0, 1]), [3, 2, 0, 5]);
    }
    assert_eq!(Client::connect(other).ask(9, &[3, 0, 0, 0, 1]), [3, 2, 0, 0]);
    assert_eq!(Client::connect(other).ask(1, &[3, 0, 0, 0, 1]), [0x83, 0x0B]);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, any.port())).is_err());
}

#[test]
fn a_log_that_is_not_a_terminal_has_no_colours() {
    let wharf = Wharf::run(&one_server(""), 1);
    let line = wharf.logged("listening on");
    assert!(!line.contains('\u{1b}'), "{line:?}");
}
