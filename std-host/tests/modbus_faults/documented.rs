//! The examples of `docs/modbus-faults.md`: each is run, and a client reads what the page says.

use crate::harness::{Client, End, Faulty, frame, holding, read, serve};
use std::net::TcpStream;

const PAGE: &str = include_str!("../../../docs/modbus-faults.md");

/// What a client reads, and how the connection ends if it does so by itself.
fn expected(text: &str) -> (Vec<u8>, Option<End>) {
    let (hex, end) = match text.trim() {
        "nothing" => ("", None),
        text if text.ends_with("FIN") => (text.trim_end_matches("FIN"), Some(End::Fin)),
        text if text.ends_with("RST") => (text.trim_end_matches("RST"), Some(End::Reset)),
        text => (text, None),
    };
    let hex = hex.trim().trim_matches('`');
    (hex.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect(), end)
}

/// Waits until somebody listens.
fn listens(server: &Faulty) {
    let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    while TcpStream::connect(server.address()).is_err_and(refused) {}
}

#[test]
fn every_example_of_the_page_does_what_the_page_says() {
    let mut kinds = Vec::new();
    let honest = frame(1, 1, &holding(3, 2));
    assert!(PAGE.contains(&honest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")));
    for line in PAGE.lines().filter(|line| line.starts_with("| `{ name = \"f\"")) {
        let [_, example, reads, _] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let server = serve(example.trim().trim_matches('`'));
        kinds.push(server.faults().unwrap()[0].fault.kind.name());
        listens(&server);
        let request = frame(1, 1, &read(3, 2));
        let (bytes, end) = expected(reads);
        if let Some(end) = end {
            assert_eq!(Client::ended(server.address(), &request), (end, bytes), "{line}");
            continue;
        }
        let mut client = server.connect();
        client.send(&request);
        assert_eq!(client.take(bytes.len()), bytes, "{line}");
        while server.metrics().unwrap().requests(3) == 0 {
            std::thread::yield_now();
        }
        server.shutdown();
        assert_eq!(client.end(), (End::Fin, vec![]), "nothing more: {line}");
    }
    kinds.dedup();
    assert_eq!(kinds.len(), 25, "an example for every kind: {kinds:?}");
}
