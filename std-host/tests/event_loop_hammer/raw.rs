//! Clients that are not of the loop: they block, each on a thread of its own.

use crate::side::Report;
use crate::world::{At, Ticket, World};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Error, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use wharf_tests::rng::Rng;
use wharf_tests::text::{HEADER, Heard, text};

/// A stream whose own side can be ended.
pub(crate) trait Ends: Read + Write {
    fn end(&mut self) -> Result<(), Error>;

    fn is_secure(&self) -> bool {
        false
    }
}

impl Ends for TcpStream {
    fn end(&mut self) -> Result<(), Error> {
        self.shutdown(Shutdown::Write)
    }
}

impl Ends for UnixStream {
    fn end(&mut self) -> Result<(), Error> {
        self.shutdown(Shutdown::Write)
    }
}

impl Ends for StreamOwned<ClientConnection, TcpStream> {
    fn end(&mut self) -> Result<(), Error> {
        self.conn.send_close_notify();
        self.flush()
    }

    fn is_secure(&self) -> bool {
        true
    }
}

pub(crate) fn dial(at: &At, world: &World) -> Box<dyn Ends> {
    match (at, &world.tls) {
        (At::Tls(addr), Some(tls)) => {
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(Arc::clone(&tls.raw), name).unwrap();
            Box::new(StreamOwned::new(session, TcpStream::connect(addr).unwrap()))
        }
        (At::Tcp(addr) | At::Tls(addr), _) => Box::new(TcpStream::connect(addr).unwrap()),
        (At::Unix(path), _) => Box::new(UnixStream::connect(path).unwrap()),
    }
}

pub(crate) struct Raw {
    rng: Rng,
    rough: bool,
}

impl Raw {
    pub(crate) const fn new(rng: Rng, rough: bool) -> Self {
        Self { rng, rough }
    }

    /// Sends, ends its side and reads to the end; a rough one stops anywhere.
    pub(crate) fn live(mut self, mut stream: Box<dyn Ends>, world: &World, ticket: Ticket) {
        let (number, rough) = (world.number(), self.rough);
        let heard = Heard::default();
        let (secure, sent, most) = (stream.is_secure(), 0, 0);
        let (shut, ended, orderly) = (false, false, false);
        let mut report = Report { number, rough, heard, sent, most, secure, shut, ended, orderly };
        let outcome = self.talk(&mut *stream, &mut report, world);
        assert!(outcome.is_ok() || rough, "side {number}: {outcome:?}");
        (report.orderly, report.most) = (outcome.is_ok(), report.sent);
        // The descriptor goes before the ticket.
        drop(stream);
        world.report(report);
        drop(ticket);
    }

    fn talk(&mut self, stream: &mut dyn Ends, report: &mut Report, world: &World) -> Result<(), Error> {
        let most = if self.rng.chance(1, 20) { 5 * 1024 * 1024 } else { 5000 };
        let plan = self.rng.between(HEADER as u64, most);
        self.may_stop()?;
        while report.sent < plan {
            let much = usize::try_from(plan - report.sent).map_or(65_536, |left| left.min(65_536));
            report.sent += stream.write(&text(report.number, report.sent, much))? as u64;
            world.moved();
            self.may_stop()?;
        }
        report.shut = true;
        stream.end()?;
        let mut buffer = vec![0; 65_536];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                report.ended = true;
                return Ok(());
            }
            report.heard.take(report.number, &buffer[..count]);
            world.moved();
            self.may_stop()?;
        }
    }

    fn may_stop(&mut self) -> Result<(), Error> {
        let stops = self.rough && self.rng.chance(1, 10);
        if stops { Err(Error::other("enough")) } else { Ok(()) }
    }
}
