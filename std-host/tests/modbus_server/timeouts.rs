//! `frame_timeout`, `idle_timeout`, `write_timeout` and `linger`, each with all others off (specification, 6.3).

use crate::harness::{End, Wharf, more_than_fits, one_server};

/// A server on which only this timeout runs.
fn only(timeout: &str) -> Wharf {
    let keys = [("frame_timeout", "0"), ("idle_timeout", "0"), ("write_timeout", "0"), ("linger", "10m")];
    let keys = keys.map(|(key, off)| format!("{key} = \"{}\"\n", if key == timeout { "200ms" } else { off }));
    Wharf::run(&one_server(&format!("send_buffer = 4096\n{}", keys.concat())), 1)
}

#[test]
fn a_frame_that_is_never_finished_ends_its_connection() {
    let wharf = only("frame_timeout");
    let mut bystander = wharf.connect();
    let mut client = wharf.connect();
    client.is_served();
    client.send(&[0, 1, 0, 0, 0, 6, 1, 3]);
    assert_eq!(client.end(), (End::Fin, vec![]));
    drop(client);
    let line = wharf.logged("connection 2 ended");
    assert!(line.contains("(frame_timeout)") && line.contains("1 discards"), "{line}");
    bystander.is_served();
}

#[test]
fn a_quiet_connection_is_closed_after_idle_timeout() {
    let wharf = only("idle_timeout");
    let (mut silent, mut partial) = (wharf.connect(), wharf.connect());
    // Bytes that are no whole frame do not count as activity.
    partial.send(&[0, 1, 0]);
    for client in [&mut silent, &mut partial] {
        assert_eq!(client.end(), (End::Fin, vec![]));
    }
    drop((silent, partial));
    for _ in 0..2 {
        let line = wharf.logged(" ended ");
        assert!(line.contains("(idle)"), "{line}");
    }
}

#[test]
fn a_peer_that_never_reads_is_reset_after_write_timeout() {
    let wharf = only("write_timeout");
    let mut bystander = wharf.connect();
    let mut client = wharf.connect();
    client.send(&more_than_fits());
    wharf.logged("connection 2 ended (write_stuck)");
    let (end, bytes) = client.end();
    assert_eq!(end, End::Reset);
    assert!(bytes.chunks_exact(259).all(|reply| reply[..9] == [0, 1, 0, 0, 0, 253, 1, 3, 250]));
    bystander.is_served();
}

#[test]
fn a_peer_that_does_not_answer_a_fin_is_forgotten_after_linger() {
    let wharf = only("linger");
    let mut client = wharf.connect();
    client.send(&[0, 1, 0, 0, 0, 0]);
    assert_eq!(client.end(), (End::Fin, vec![]));
    wharf.logged("connection 1 ended (bad_frame)");
}
