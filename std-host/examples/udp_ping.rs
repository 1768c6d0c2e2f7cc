//! Packets there and back: a server that returns what it gets, and a client that measures how long that takes.
//!
//! `cargo run --example udp_ping -- server 127.0.0.1:7000`, then, in another terminal,
//! `cargo run --example udp_ping -- client 127.0.0.1:7000 5`. Ctrl-C ends the server.

#![forbid(unsafe_code)]

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use wharf_core::Instant;
use wharf_host::event_loop::{self, Loop, Out, Packets, Signal, Udp, UdpHandler, UdpOptions};

/// From one ping to the next, and the longest wait for the last answer.
const INTERVAL: Duration = Duration::from_millis(200);

struct Echo;

impl UdpHandler for Echo {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        let mut back = [Out::default(); 64];
        for (out, packet) in back.iter_mut().zip(batch) {
            *out = Out::to(packet.peer, packet.payload);
        }
        // What the system does not take is lost, as packets may be.
        if let Err(error) = u.send(&back[..batch.len()]) {
            eprintln!("{error}");
        }
    }
}

fn serve(addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut server = Loop::new()?;
    let mut lp = server.loop_mut();
    let id = lp.bind_udp(addr, Echo, UdpOptions::default())?;
    println!("listening on {}", lp.udp(id)?.local_addr()?);
    lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
    Ok(server.run()?)
}

struct Pinger {
    count: usize,
    /// When each ping left.
    sent: Vec<Instant>,
    answered: usize,
}

impl Pinger {
    /// Sends the next ping, which is its number, or ends after the last.
    fn next(&mut self, u: &mut Udp<'_, ()>) {
        if self.sent.len() == self.count {
            return u.loop_mut().stop();
        }
        let number = self.sent.len().to_string();
        self.sent.push(u.now());
        if let Err(error) = u.send(&[Out::connected(number.as_bytes())]) {
            println!("{number}: {error}");
        }
    }
}

impl UdpHandler for Pinger {
    fn packets(&mut self, u: &mut Udp<'_, ()>, batch: Packets<'_>) {
        for packet in batch {
            let number = std::str::from_utf8(packet.payload).ok().and_then(|text| text.parse::<usize>().ok());
            if let Some((number, sent)) = number.and_then(|number| Some((number, self.sent.get(number)?))) {
                println!("{number}: {:?}", u.now().saturating_duration_since(*sent));
                self.answered += 1;
            }
        }
        if self.answered >= self.count {
            u.loop_mut().stop();
        }
    }

    fn error(&mut self, _: &mut Udp<'_, ()>, error: event_loop::Error) {
        println!("{error}");
    }
}

fn ping(server: SocketAddr, count: usize) -> Result<(), Box<dyn Error>> {
    let mut client = Loop::new()?;
    let mut lp = client.loop_mut();
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let pinger = Pinger { count, sent: Vec::new(), answered: 0 };
    let id = lp.bind_udp(SocketAddr::new(any, 0), pinger, UdpOptions::default())?;
    lp.udp(id)?.connect(server)?;
    lp.add_timer(Duration::ZERO, Some(INTERVAL), move |lp, _| {
        // The socket lives as long as the loop.
        let _ = lp.with_udp(id, Pinger::next);
    })?;
    client.run()?;
    let answered = client.loop_mut().stats().datagrams_in;
    println!("{answered} of {count} answered");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", addr] => serve(addr.parse()?),
        ["client", addr, count] => ping(addr.parse()?, count.parse()?),
        _ => Err("usage: udp_ping server ADDRESS | udp_ping client ADDRESS COUNT".into()),
    }
}
