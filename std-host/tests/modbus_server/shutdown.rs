//! SIGINT, SIGTERM and SIGHUP (specification, 7.2).

use crate::harness::{End, WHARF, Wharf, one_server, plant_file};
use rustix::process::Signal;
use std::net::TcpStream;
use std::process::Command;
use wharf_tests::loopback;

/// Nothing but a signal and its peer can end a connection of this plant.
const PATIENT: &str = "linger = \"10m\"\nshutdown_timeout = \"0\"\nidle_timeout = \"0\"\nwrite_timeout = \"0\"\n\
                       frame_timeout = \"0\"\nsend_buffer = 4096";

#[test]
fn a_signal_ends_idle_connections_with_fin_and_the_process_with_0() {
    // A hangup that these tests were started to survive, as under `nohup`, ends no child of theirs either.
    let deaf = hangup_is_ignored();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().filter(|signal| *signal != Signal::HUP || !deaf)
    {
        let plant = one_server(PATIENT).replace("127.0.0.1:0", &format!("{}:0", loopback::own()));
        let wharf = Wharf::run(&plant, 1);
        let (mut served, mut silent, mut partial) = (wharf.connect(), wharf.connect(), wharf.connect());
        partial.send(&[0, 1, 0, 0, 0]);
        served.is_served();
        wharf.logged("connection 3 from");
        wharf.signal(signal);
        for client in [&mut served, &mut silent, &mut partial] {
            assert_eq!(client.end(), (End::Fin, vec![]), "{signal:?}");
        }
        drop(served);
        wharf.logged("connection 1 ended (shutdown)");
        assert!(TcpStream::connect(wharf.address()).is_err());
        drop((silent, partial));
        let (status, log) = wharf.ended();
        assert_eq!(status, Some(0), "{signal:?}: {log}");
        assert!(log.ends_with("plant: stopped"), "{log}");
    }
}

fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap_or("0");
    u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & 1 == 1)
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let path = plant_file(&one_server(PATIENT));
    let deaf = "trap '' HUP; exec \"$0\" run \"$1\"";
    let wharf = Wharf::start(Command::new("sh").args(["-c", deaf, WHARF]).arg(path), 1);
    wharf.signal(Signal::HUP);
    wharf.connect().is_served();
    wharf.signal(Signal::TERM);
    let (status, log) = wharf.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("1 ok"), "{log}");
}

#[test]
fn a_request_that_came_before_the_signal_is_answered_before_the_fin() {
    let wharf = Wharf::run(&one_server(PATIENT), 1);
    let mut stuck = wharf.connect();
    stuck.get_stuck();
    let mut idle = wharf.connect();
    idle.is_served();
    wharf.signal(Signal::TERM);
    assert_eq!(idle.end().0, End::Fin);
    let (end, bytes) = stuck.end();
    assert_eq!((end, bytes.len() % 259), (End::Fin, 0));
    assert!(bytes.chunks(259).all(|reply| reply[..9] == [0, 1, 0, 0, 0, 253, 1, 3, 250]));
    drop((stuck, idle));
    assert_eq!(wharf.ended().0, Some(0));
}

#[test]
fn a_second_signal_cuts_a_peer_that_never_reads() {
    let mut wharf = Wharf::run(&one_server(PATIENT), 1);
    let mut stuck = wharf.connect();
    stuck.get_stuck();
    let mut idle = wharf.connect();
    idle.is_served();
    wharf.signal(Signal::TERM);
    assert_eq!(idle.end().0, End::Fin);
    drop(idle);
    wharf.logged("connection 2 ended");
    assert!(wharf.is_running());
    wharf.signal(Signal::INT);
    wharf.logged("connection 1 ended (shutdown_forced)");
    assert_eq!(stuck.end().0, End::Reset);
    let (status, log) = wharf.ended();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("stopped, 1 connections cut"), "{log}");
}

#[test]
fn shutdown_timeout_cuts_a_peer_that_never_reads() {
    let wharf =
        Wharf::run(&one_server(&PATIENT.replace("shutdown_timeout = \"0\"", "shutdown_timeout = \"100ms\"")), 1);
    let mut stuck = wharf.connect();
    stuck.get_stuck();
    wharf.signal(Signal::TERM);
    wharf.logged("connection 1 ended (shutdown_forced)");
    assert_eq!(stuck.end().0, End::Reset);
    assert_eq!(wharf.ended().0, Some(0));
}

#[test]
fn a_signal_as_soon_as_the_first_listener_is_open_is_heard() {
    for _ in 0..20 {
        let wharf = Wharf::run(&one_server(""), 0);
        wharf.logged("listening on");
        wharf.signal(Signal::TERM);
        let (status, log) = wharf.ended();
        assert_eq!(status, Some(0), "{log}");
    }
}
