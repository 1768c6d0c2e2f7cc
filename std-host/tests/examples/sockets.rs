//! The examples with sockets: echo, chat, proxy.

use crate::Example;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

#[test]
fn the_echo_server_gives_back_what_it_gets() {
    let mut echo = Example::start("echo", &[]);
    assert_echo(echo.address());
    echo.interrupt();
}

#[test]
fn the_proxy_joins_its_clients_to_the_server() {
    let mut echo = Example::start("echo", &[]);
    let server = echo.address();
    let mut proxy = Example::start("proxy", &["127.0.0.1:0", &server.to_string()]);
    let addr = proxy.address();
    assert_echo(addr);
    // Without a server the client is let go.
    echo.interrupt();
    let mut client = TcpStream::connect(addr).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    proxy.interrupt();
}

#[test]
fn the_http_server_answers_every_request_of_a_pipeline() {
    let mut http = Example::start("http", &[]);
    let mut client = TcpStream::connect(http.address()).unwrap();
    // In pieces: the end of a request may be cut anywhere.
    for piece in ["GET / HTTP/1.1\r\n\r", "\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nGET", " /b HTTP/1.1\r\n\r\n"] {
        client.write_all(piece.as_bytes()).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("\r\n\r\nhello\n").count(), 3, "{answers}");
    http.interrupt();
}

#[test]
fn all_others_in_the_chat_hear_what_one_says() {
    let mut chat = Example::start("chat", &[]);
    let addr = chat.address();
    let mut clients = Vec::new();
    for number in 1..=3 {
        clients.push(BufReader::new(TcpStream::connect(addr).unwrap()));
        assert_eq!(heard(&mut clients[number - 1]), format!("{number} in the room\n"));
    }
    // In two pieces: others hear whole lines.
    for said in ["one: hel", "lo\none: again\n"] {
        clients[0].get_mut().write_all(said.as_bytes()).unwrap();
    }
    for other in &mut clients[1..] {
        assert_eq!((heard(other), heard(other)), ("one: hello\n".to_owned(), "one: again\n".to_owned()));
    }
    clients[1].get_mut().write_all(b"two: hello\n").unwrap();
    assert_eq!(
        (heard(&mut clients[0]), heard(&mut clients[2])),
        ("two: hello\n".to_owned(), "two: hello\n".to_owned())
    );
    chat.interrupt();
}

fn heard(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line
}

/// Sends a lot, then its end, and has all of it back before the end of the server.
fn assert_echo(addr: SocketAddr) {
    let mut client = TcpStream::connect(addr).unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let mut sender = client.try_clone().unwrap();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == bytes, "{} of {} bytes came back, or others", back.len(), bytes.len());
}
