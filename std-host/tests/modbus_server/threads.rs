//! A plant on several loops (specification of the event loop, 14).

use crate::harness::{Client, End, WHARF, Wharf, plant_file, wharf};
use rustix::process::Signal;
use std::net::TcpListener;
use std::process::Command;

/// Three servers whose registers hold their number; nothing but a signal and its peer can end a connection.
fn three_servers(settings: &str) -> String {
    let server = |number: u8| {
        format!(
            "[[modbus.server]]\nname = \"s{number}\"\nlisten = [\"127.0.0.1:0\"]\n\
             unit = [{{ id = 1, block = [{{ table = \"holding\", start = 0, len = 125, default = {number} }}] }}]\n\
             shutdown_timeout = \"0\"\nidle_timeout = \"0\"\nwrite_timeout = \"0\"\nframe_timeout = \"0\"\n\
             send_buffer = 4096\nlinger = \"10m\"\n"
        )
    };
    format!("[loop]\n{settings}\n{}{}{}", server(1), server(2), server(3))
}

/// The threads of a process by name, in order of their making.
#[cfg(target_os = "linux")]
fn threads(wharf: &Wharf) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", wharf.id())).unwrap();
    let mut paths: Vec<_> = tasks.map(|task| task.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|task| std::fs::read_to_string(task.join("comm")).unwrap().trim_end().to_owned()).collect()
}

fn all_are_served(wharf: &Wharf) {
    // The lines that announce them are in file order.
    for (address, number) in wharf.addresses.iter().zip(1..) {
        assert_eq!(Client::connect(*address).ask(1, &[3, 0, 0, 0, 1]), [3, 2, 0, number]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_entries_of_a_plant_are_dealt_over_as_many_threads_as_asked_for() {
    let of_the_file = Wharf::run(&three_servers("threads = 2"), 3);
    assert_eq!(threads(&of_the_file), ["wharf", "wharf-0", "wharf-1"]);
    all_are_served(&of_the_file);
    let path = plant_file(&three_servers("threads = 2\npin = true"));
    for (number, names) in [("3", &["wharf", "wharf-0", "wharf-1", "wharf-2"][..]), ("1", &["wharf", "wharf-0"])] {
        let told = Wharf::start(Command::new(WHARF).args(["run", "--threads", number]).arg(&path), 3);
        assert_eq!(threads(&told), names);
        all_are_served(&told);
    }
    let single = Wharf::run(&three_servers("threads = 1"), 3);
    assert_eq!(threads(&single), ["wharf"]);
    all_are_served(&single);
}

#[test]
fn a_signal_lets_the_connections_of_every_loop_end_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let wharf = Wharf::run(&three_servers("threads = 3"), 3);
        let mut clients: Vec<_> = wharf.addresses.iter().map(|address| Client::connect(*address)).collect();
        for client in &mut clients {
            client.is_served();
        }
        wharf.signal(signal);
        for client in &mut clients {
            assert_eq!(client.end(), (End::Fin, vec![]), "{signal:?}");
        }
        drop(clients);
        let (status, log) = wharf.ended();
        assert_eq!(status, Some(0), "{signal:?}: {log}");
        for server in ["s1", "s2", "s3"] {
            assert!(log.lines().any(|line| line.ends_with(&format!("{server}: stopped"))), "{log}");
        }
    }
}

#[test]
fn a_second_signal_cuts_a_peer_on_another_loop_than_the_first() {
    let mut wharf = Wharf::run(&three_servers("threads = 3"), 3);
    let mut stuck = Client::connect(wharf.addresses[2]);
    stuck.get_stuck();
    wharf.signal(Signal::TERM);
    // The first two servers have nothing to wait for, but the first loop has to hear the second signal.
    wharf.logged(": stopped");
    wharf.logged(": stopped");
    assert!(wharf.is_running());
    wharf.signal(Signal::INT);
    wharf.logged("connection 1 ended (shutdown_forced)");
    assert_eq!(stuck.end().0, End::Reset);
    let (status, log) = wharf.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("s3: stopped, 1 connections cut"), "{log}");
}

#[test]
fn an_address_in_use_on_any_loop_ends_with_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let plant = three_servers("threads = 3");
    let (rest, last) = plant.rsplit_once("127.0.0.1:0").unwrap();
    for plant in [plant.replacen("127.0.0.1:0", &address, 1), format!("{rest}{address}{last}")] {
        let path = plant_file(&plant);
        let output = wharf(&["run", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains(&format!("listen on {address}: ")) && text.contains("stop it, or listen elsewhere"),
            "{text}"
        );
        assert!(output.stdout.is_empty());
    }
}
