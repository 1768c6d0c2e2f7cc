//! Two sessions, and what travels between them.

use crate::event_loop::tls::session::{Session, Step};
use crate::event_loop::tls::testing::{Authority, Identity};
use crate::event_loop::tls::{
    ClientHello, ClientVerification, NameChoice, TlsBuilder, TlsClientConfig, TlsConfig, TlsVersion,
};
use rustls::pki_types::ServerName;
use std::io::IoSlice;

struct Pair {
    client: Session,
    server: Session,
    /// The longest piece in which ciphertext travels.
    piece: usize,
}

fn named(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

fn nobody(_: &ClientHello<'_>) -> NameChoice {
    NameChoice::Default
}

fn sent(from: &mut Session) -> Vec<u8> {
    let mut cipher = Vec::new();
    while from.wants_transmit() {
        from.transmit(&mut cipher).unwrap();
    }
    cipher
}

impl Pair {
    fn new(client: &TlsClientConfig, name: &str, server: &TlsConfig, piece: usize) -> Self {
        Self { client: Session::client(client, named(name)), server: Session::server(server), piece }
    }

    /// Steps until both are done or one fails; the errors of both.
    fn shake(&mut self, ask: &dyn Fn(&ClientHello<'_>) -> NameChoice) -> Result<(), (String, String)> {
        let (mut done, mut errors) = ([false; 2], [String::new(), String::new()]);
        assert!(self.client.speaks_first() && !self.server.speaks_first());
        assert_eq!(self.client.handshake(&[], nobody).unwrap(), Step::Blocked);
        for _ in 0..10 {
            for at in [0, 1] {
                let (from, to) =
                    if at == 0 { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) };
                for cipher in sent(from).chunks(self.piece) {
                    if done[at] || !errors[at].is_empty() {
                        // What follows a handshake belongs to the session: an alert, or tickets.
                        match to.decrypt(cipher, &mut [0; 1]) {
                            Ok(count) => assert_eq!(count, 0),
                            Err(error) => errors[at] = error.to_string(),
                        }
                        continue;
                    }
                    match to.handshake(cipher, ask) {
                        Ok(step) => done[at] = step == Step::Done,
                        Err(error) => errors[at] = error.to_string(),
                    }
                }
            }
        }
        let [server, client] = errors;
        if server.is_empty() && client.is_empty() {
            assert_eq!(done, [true, true]);
            Ok(())
        } else {
            Err((client, server))
        }
    }
}

/// All of `cipher` in pieces, decrypted with room for `room` bytes at a time.
fn received(to: &mut Session, cipher: &[u8], piece: usize, room: usize) -> Vec<u8> {
    let (mut plain, mut buffer) = (Vec::new(), vec![0; room]);
    for part in cipher.chunks(piece) {
        let mut count = to.decrypt(part, &mut buffer).unwrap();
        while count > 0 {
            plain.extend_from_slice(&buffer[..count]);
            count = to.decrypt(&[], &mut buffer).unwrap();
        }
    }
    assert!(!to.has_input());
    plain
}

fn connected(server: TlsBuilder, client: TlsBuilder, piece: usize) -> Pair {
    let mut pair = Pair::new(&client.client().unwrap(), "localhost", &server.server().unwrap(), piece);
    pair.shake(&nobody).unwrap();
    pair
}

#[test]
fn bytes_cross_in_both_directions_in_pieces_of_any_size() {
    let authority = Authority::new();
    let all: Vec<u8> = (0..=250).cycle().take(100_000).collect();
    for version in ["1.2", "1.3"] {
        for (piece, room) in [(1, 1000), (7, 1), (1500, 100_000), (100_000, 333)] {
            let (server, client) = (authority.server(&["localhost"]), authority.client());
            let mut pair = connected(server.versions([version]), client, piece);
            assert_eq!(pair.client.encrypt(&[IoSlice::new(&all[..9]), IoSlice::new(&all[9..])]), all.len());
            let cipher = sent(&mut pair.client);
            assert!(received(&mut pair.server, &cipher, piece, room) == all, "{version} {piece} {room}");
            pair.server.encrypt(&[IoSlice::new(b"thanks")]);
            let cipher = sent(&mut pair.server);
            assert_eq!(received(&mut pair.client, &cipher, piece, room), b"thanks");
            let versions = [&pair.client, &pair.server].map(|session| session.version().unwrap().to_string());
            assert_eq!(versions, [version, version]);
        }
    }
}

#[test]
fn what_there_is_no_room_for_stays_inside() {
    let authority = Authority::new();
    let mut pair = connected(authority.server(&["localhost"]), authority.client(), 1500);
    pair.client.encrypt(&[IoSlice::new(&[7; 50_000])]);
    let cipher = sent(&mut pair.client);
    let mut room = [0; 10];
    assert_eq!(pair.server.decrypt(&cipher, &mut room).unwrap(), 10);
    assert_eq!(room, [7; 10]);
    assert!(pair.server.has_input());
    assert_eq!(pair.server.decrypt(&[], &mut []).unwrap(), 0);
    assert!(pair.server.has_input());
    let mut rest = vec![0; 60_000];
    assert_eq!(pair.server.decrypt(&[], &mut rest).unwrap(), 49_990);
    assert!(!pair.server.has_input());
}

#[test]
fn an_end_is_seen_after_all_that_came_before_it() {
    let authority = Authority::new();
    let mut pair = connected(authority.server(&["localhost"]), authority.client(), 1500);
    pair.client.encrypt(&[IoSlice::new(b"last words")]);
    pair.client.close_notify();
    let mut cipher = sent(&mut pair.client);
    cipher.extend_from_slice(b"whatever comes after it");
    let mut room = [0; 5];
    assert_eq!(pair.server.decrypt(&cipher, &mut room).unwrap(), 5);
    assert!(!pair.server.peer_has_ended());
    assert_eq!(pair.server.decrypt(&[], &mut room).unwrap(), 5);
    assert_eq!(&room, b"words");
    assert_eq!(pair.server.decrypt(&[], &mut room).unwrap(), 0);
    assert!(pair.server.peer_has_ended() && !pair.server.has_input());
    // The other direction goes on.
    pair.server.encrypt(&[IoSlice::new(b"still here")]);
    let cipher = sent(&mut pair.server);
    assert_eq!(received(&mut pair.client, &cipher, 1, 99), b"still here");
}

#[test]
fn a_damaged_record_fails_after_the_good_ones_and_sends_an_alert() {
    let authority = Authority::new();
    let mut pair = connected(authority.server(&["localhost"]), authority.client(), 1500);
    pair.client.encrypt(&[IoSlice::new(b"good")]);
    let mut cipher = sent(&mut pair.client);
    pair.client.encrypt(&[IoSlice::new(b"bad")]);
    cipher.extend(sent(&mut pair.client));
    *cipher.last_mut().unwrap() ^= 1;
    let mut room = [0; 99];
    assert_eq!(pair.server.decrypt(&cipher, &mut room).unwrap(), 4);
    assert!(pair.server.has_input());
    pair.server.decrypt(&[], &mut room).unwrap_err();
    let alert = sent(&mut pair.server);
    let heard = pair.client.decrypt(&alert, &mut room).unwrap_err().to_string();
    assert!(heard.contains("BadRecordMac"), "{heard}");
}

#[test]
fn a_damaged_record_behind_a_handshake_is_no_failure_of_the_handshake() {
    let authority = Authority::new();
    let (client, server) = (authority.client().client().unwrap(), authority.server(&["localhost"]).server().unwrap());
    let mut pair = Pair::new(&client, "localhost", &server, 1500);
    assert_eq!(pair.client.handshake(&[], nobody).unwrap(), Step::Blocked);
    assert_eq!(pair.server.handshake(&sent(&mut pair.client), nobody).unwrap(), Step::Blocked);
    assert_eq!(pair.client.handshake(&sent(&mut pair.server), nobody).unwrap(), Step::Done);
    pair.client.encrypt(&[IoSlice::new(b"good")]);
    // All that the server has to get yet, in one piece.
    let mut cipher = sent(&mut pair.client);
    cipher.extend([23, 3, 3, 0, 20]);
    cipher.extend([0; 20]);
    assert_eq!(pair.server.handshake(&cipher, nobody).unwrap(), Step::Done);
    let mut room = [0; 10];
    assert!(pair.server.has_input());
    assert_eq!((pair.server.decrypt(&[], &mut room).unwrap(), &room[..4]), (4, &b"good"[..]));
    pair.server.decrypt(&[], &mut room).unwrap_err();
    assert!(pair.server.wants_transmit(), "the client is told");
}

#[test]
fn what_is_no_tls_is_refused() {
    let authority = Authority::new();
    let mut server = Session::server(&authority.server(&["localhost"]).server().unwrap());
    server.handshake(b"GET / HTTP/1.1\r\n\r\n", nobody).unwrap_err();
    let alert = sent(&mut server);
    assert_eq!((alert[0], alert.len()), (21, 7));
    server.handshake(b"more", nobody).unwrap_err();
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = theirs.server(&["localhost"]).server().unwrap();
    let mut pair = Pair::new(&ours.client().client().unwrap(), "localhost", &server, 1);
    let (client, server) = pair.shake(&nobody).unwrap_err();
    assert!(client.contains("invalid peer certificate") && server.contains("fatal alert"), "{client} / {server}");
    let server = ours.server(&["localhost"]).server().unwrap();
    let mut pair = Pair::new(&ours.client().client().unwrap(), "example.org", &server, 1);
    let (client, _) = pair.shake(&nobody).unwrap_err();
    assert!(client.contains("not valid for name"), "{client}");
}

#[test]
fn a_client_is_asked_for_a_certificate_as_configured() {
    use ClientVerification::{None, Optional, Required};
    let (authority, stranger) = (Authority::new(), Authority::new());
    let good = authority.identity(&["client"]);
    let bad = stranger.identity(&["client"]);
    for version in ["1.2", "1.3"] {
        for (mode, identity, certificates) in [
            (None, Some(&good), Some(0)),
            (Optional, Option::None, Some(0)),
            (Optional, Some(&good), Some(1)),
            (Optional, Some(&bad), Option::None),
            (Required, Option::None, Option::None),
            (Required, Some(&good), Some(1)),
            (Required, Some(&bad), Option::None),
        ] {
            let server = authority.server(&["localhost"]).client_verification(mode).versions([version]);
            let server = if mode == None { server } else { server.ca(authority.pem()) };
            let client = identity.map_or_else(TlsBuilder::new, Identity::builder).ca(authority.pem());
            let mut pair = Pair::new(&client.client().unwrap(), "localhost", &server.server().unwrap(), 999);
            let outcome = pair.shake(&nobody);
            match certificates {
                Some(count) => {
                    outcome.unwrap();
                    assert_eq!(pair.server.peer_certificates().len(), count, "{mode:?}");
                }
                Option::None => {
                    let (client, server) = outcome.unwrap_err();
                    assert!(!server.is_empty() && client.contains("fatal alert"), "{mode:?} {client} / {server}");
                }
            }
            assert!(certificates.is_none() || pair.client.peer_certificates().len() == 1);
        }
    }
}

#[test]
fn protocols_versions_and_ciphers_are_agreed_on() {
    let authority = Authority::new();
    let agreed = |ours: &[&str], theirs: &[&str]| {
        let server = authority.server(&["localhost"]).alpn(ours.to_vec()).server().unwrap();
        let client = authority.client().alpn(theirs.to_vec()).client().unwrap();
        let mut pair = Pair::new(&client, "localhost", &server, 999);
        pair.shake(&nobody).map(|()| (pair.client.alpn().map(<[u8]>::to_vec), pair.server.alpn().map(<[u8]>::to_vec)))
    };
    let both = |name: &str| Ok((Some(name.as_bytes().to_vec()), Some(name.as_bytes().to_vec())));
    assert_eq!(agreed(&["h2", "echo"], &["echo", "h2"]), both("h2"));
    assert_eq!(agreed(&["h2", "echo"], &["echo"]), both("echo"));
    assert_eq!(agreed(&["h2"], &[]), Ok((None, None)));
    assert!(agreed(&["h2"], &["echo"]).unwrap_err().0.contains("NoApplicationProtocol"));

    let server = authority.server(&["localhost"]).versions(["1.2"]).server().unwrap();
    let client = authority.client().versions(["1.3"]).client().unwrap();
    assert!(Pair::new(&client, "localhost", &server, 999).shake(&nobody).is_err());

    let cipher = |ours: &[&str], theirs: &[&str]| {
        let server = authority.server(&["localhost"]).ciphers(ours.to_vec());
        let pair = connected(server, authority.client().ciphers(theirs.to_vec()), 999);
        pair.server.cipher().unwrap()
    };
    let (small, large) = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384");
    assert_eq!(cipher(&[small, large], &[large, small]), small);
    assert_eq!(cipher(&[large, small], &[small, large]), large);
    assert_eq!(cipher(&[], &[small, large]), small);
}

#[test]
fn sessions_are_resumed_by_ticket_and_by_cache() {
    let authority = Authority::new();
    for version in ["1.2", "1.3"] {
        for (tickets, cache, resumes) in [(true, 0, true), (false, 9, true), (false, 0, false)] {
            let mut server = authority.server(&["localhost"]).versions([version]).session_cache(cache);
            if !tickets {
                server = server.tickets(None);
            }
            let server = server.server().unwrap();
            let client = authority.client().client().unwrap();
            for expected in [false, resumes, resumes] {
                let mut pair = Pair::new(&client, "localhost", &server, 999);
                pair.shake(&nobody).unwrap();
                let outcome = (pair.client.resumed(), pair.server.resumed());
                assert_eq!(outcome, (expected, expected), "{version} {tickets} {cache}");
            }
        }
    }
}

#[test]
fn a_client_without_a_cache_resumes_nothing() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]).server().unwrap();
    let client = authority.client().session_cache(0).client().unwrap();
    for _ in 0..2 {
        let mut pair = Pair::new(&client, "localhost", &server, 999);
        pair.shake(&nobody).unwrap();
        assert!(!pair.server.resumed());
    }
}

#[test]
fn low_memory_sends_small_records() {
    let authority = Authority::new();
    for (low, largest) in [(false, 16_384), (true, 4096)] {
        let mut builders = [authority.server(&["localhost"]), authority.client()];
        if low {
            builders = builders.map(TlsBuilder::low_memory);
        }
        let [server, client] = builders;
        let mut pair = connected(server, client, 999);
        for session in [&mut pair.client, &mut pair.server] {
            sent(session);
            session.encrypt(&[IoSlice::new(&[0; 40_000])]);
            let cipher = sent(session);
            // TLS 1.3 adds the type and a tag of 16 bytes.
            assert_eq!(usize::from(u16::from_be_bytes([cipher[3], cipher[4]])), largest + 17);
        }
    }
}

#[test]
fn names_come_and_go_and_the_handler_is_asked_for_the_rest() {
    let authority = Authority::new();
    let config = |names: &[&str]| authority.server(names).server().unwrap();
    let client = authority.client().client().unwrap();
    let default = config(&["localhost"]);
    let shake = |server: &TlsConfig, name: &str, ask: &dyn Fn(&ClientHello<'_>) -> NameChoice| {
        let mut pair = Pair::new(&client, name, server, 999);
        pair.shake(ask).map(|()| (pair.server.server_tag(), pair.server.server_name().map(str::to_owned)))
    };
    assert!(shake(&default, "a.example.org", &nobody).unwrap_err().0.contains("not valid for name"));
    default.add_server_name("a.example.org", &config(&["a.example.org"]), 7).unwrap();
    default.add_server_name("*.example.org", &config(&["*.example.org"]), 8).unwrap();
    let tagged = |tag, name: &str| Ok((tag, Some(name.to_owned())));
    assert_eq!(shake(&default, "a.example.org", &nobody), tagged(Some(7), "a.example.org"));
    assert_eq!(shake(&default, "b.example.org", &nobody), tagged(Some(8), "b.example.org"));
    assert_eq!(shake(&default, "localhost", &nobody), tagged(None, "localhost"));
    assert!(default.remove_server_name("a.example.org"));
    assert_eq!(shake(&default, "a.example.org", &nobody), tagged(Some(8), "a.example.org"));
    assert!(default.remove_server_name("*.example.org"));

    let late = config(&["late.example.org"]);
    let ask = move |hello: &ClientHello<'_>| match hello.server_name() {
        Some("late.example.org") => NameChoice::Config(late.clone()),
        Some("localhost") => NameChoice::Default,
        _ => NameChoice::Refuse,
    };
    assert_eq!(shake(&default, "late.example.org", &ask), tagged(None, "late.example.org"));
    assert_eq!(shake(&default, "localhost", &ask), tagged(None, "localhost"));
    let (client_heard, server) = shake(&default, "other.example.org", &ask).unwrap_err();
    assert!(
        client_heard.contains("UnrecognisedName") && server.starts_with("no certificate"),
        "{client_heard} {server}"
    );

    let strict = authority.server(&["localhost"]).refuse_unknown_names().server().unwrap();
    assert!(shake(&strict, "localhost", &nobody).is_err());
    strict.add_server_name("localhost", &default, 1).unwrap();
    assert_eq!(shake(&strict, "localhost", &nobody), tagged(Some(1), "localhost"));
}

#[test]
fn a_hello_names_its_protocols() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]).alpn(["b"]).server().unwrap();
    let client = authority.client().alpn(["a", "b"]).client().unwrap();
    let ask = |hello: &ClientHello<'_>| {
        assert_eq!(hello.alpn().collect::<Vec<_>>(), [b"a", b"b"]);
        NameChoice::Default
    };
    let mut pair = Pair::new(&client, "localhost", &server, 1);
    pair.shake(&ask).unwrap();
    assert_eq!(pair.client.version(), Some(TlsVersion::Tls13));
}
