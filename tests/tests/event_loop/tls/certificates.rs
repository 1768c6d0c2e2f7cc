//! Certificates of clients.

use super::{authority, bench_with, builder, certificate, client_builder, identity, new_identity};
use crate::harness::{Log, Probe};
use std::rc::Rc;
use wharf_host::event_loop::{ClientVerification, ConnectOptions, LoopOptions, Pem};
use wharf_tests::sim_net::Sim;

#[test]
fn a_client_shows_a_certificate_as_the_server_asks() {
    use ClientVerification::{None, Optional, Required};
    let stranger = new_identity();
    let (good, bad) = (Some(identity()), Some(&stranger));
    for (mode, identity, shown) in [
        (None, good, Some(false)),
        (Optional, Option::None, Some(false)),
        (Optional, good, Some(true)),
        (Optional, bad, Option::None),
        (Required, Option::None, Option::None),
        (Required, good, Some(true)),
        (Required, bad, Option::None),
    ] {
        for version in ["1.2", "1.3"] {
            let (log, said) = meet(mode, identity, shown, version);
            let case = format!("{mode:?} {shown:?} {version} {log:?} {said:?}");
            if shown.is_some() {
                assert_eq!(log, ["open Accepted", "end after 0", "close Peer with 0 bytes"], "{case}");
                assert_eq!(said, ["open Connected", "end after 5", "close Peer with 5 bytes"], "{case}");
                continue;
            }
            assert!(log.len() == 1 && log[0].starts_with("close HandshakeFailed(Tls {"), "{case}");
            if version == "1.2" {
                assert!(said.len() == 1 && said[0].starts_with("connect_error after 1 with 0 bytes"), "{case}");
            } else {
                // To its client a handshake of 1.3 is done before the server has seen a certificate.
                assert!(said.len() == 2 && said[0] == "open Connected", "{case}");
                assert!(said[1].starts_with("close Failed(Tls {"), "{case}");
            }
        }
    }
}

/// What a server that expects `shown` and a client see of each other.
fn meet(
    mode: ClientVerification,
    identity: Option<&(String, String)>,
    shown: Option<bool>,
    version: &str,
) -> (Vec<String>, Vec<String>) {
    let server = builder().client_verification(mode);
    let server = if mode == ClientVerification::None { server } else { server.ca(authority()) };
    let mut bench = bench_with(Sim::strict(), LoopOptions::default(), &server.server().unwrap(), move |what, s, _| {
        if what == "open" {
            let expected = if shown == Some(true) { vec![certificate().to_vec()] } else { Vec::new() };
            assert!(shown.is_some() && s.peer_certificates().eq(expected.iter()));
            s.write(b"hello").unwrap();
            s.shutdown().unwrap();
        }
    });
    let client = client_builder().versions([version]);
    let client = match identity {
        Some((certificate, key)) => client.certificate(Pem::bytes(certificate.clone())).key(Pem::bytes(key.clone())),
        None => client,
    };
    let client = client.client().unwrap().expecting("localhost").unwrap();
    let (said, to) = (Log::default(), bench.addr);
    let key = bench.lp().context(Probe::new(&said, |what, s, _| {
        if what == "open" {
            assert!(s.peer_certificates().eq([certificate().to_vec()].iter()));
        }
    }));
    bench.lp().connect_tls(to, key, Vec::new(), &client, ConnectOptions::default()).unwrap();
    bench.sim.run_until_idle();
    assert_eq!((bench.sim.world.open(), Rc::strong_count(&said)), (1, 2));
    (bench.log(), said.take())
}
