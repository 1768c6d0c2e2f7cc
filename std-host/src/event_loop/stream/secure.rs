//! TLS on a stream: what takes the place of its one read and its one write, and what its users can ask.
//!
//! The queue holds plain bytes. They are encrypted when the system has room for them, a few records ahead, so that
//! every limit, return value and callback counts what the user wrote. `sealed` is what is encrypted and has not left.

use super::any::AnyStream;
use super::input::Taken;
use super::pool::{BLOCK, GATHER};
use super::{Phase, Stream, StreamState};
use crate::event_loop::handler::{Handler, Opened};
use crate::event_loop::net::{ConnectOptions, Net, NetId};
use crate::event_loop::state::{Core, Object};
use crate::event_loop::tls::{Session, TlsClientConfig, TlsConfig, TlsVersion};
use crate::event_loop::{CloseReason, ContextKey, Error, LoopMut, SocketId, Target};
use rustls::pki_types::ServerName;
use std::io::{self, IoSlice, Write};
use wharf_core::Instant;
use wharf_core::slots::SlotId;

/// What is read beyond the plaintext that there is room for: about a record's overhead, and not much more of the next.
const AHEAD: usize = 4096;
/// Ciphertext in one read.
const CIPHER: usize = 64 * 1024 + AHEAD;

pub(in crate::event_loop) struct Tls {
    pub(super) session: Session,
    /// How the socket opens when the handshake is done.
    pub(super) how: Opened,
    /// When the handshake began, and the how-manieth it was.
    pub(super) began: (Instant, u64),
    /// The system's side of the latch `readable`, which stands as well for what lies inside.
    pub(super) wire: bool,
    /// Plain bytes that are encrypted and have not left.
    pub(super) sealed: usize,
    /// Our close_notify is made.
    ended: bool,
    /// The number of addresses that were tried until the handshake began.
    pub(super) tried: u32,
}

impl Tls {
    fn new(session: Session) -> Box<Self> {
        let began = (Instant::default(), 0);
        Box::new(Self { session, how: Opened::Adopted, began, wire: false, sealed: 0, ended: false, tried: 0 })
    }

    pub(in crate::event_loop) fn server(config: &TlsConfig) -> Box<Self> {
        Self::new(Session::server(config))
    }

    fn client(config: &TlsClientConfig, name: ServerName<'static>) -> Box<Self> {
        Self::new(Session::client(config, name))
    }

    /// Whether reading may bring something.
    pub(super) fn is_readable(&self) -> bool {
        self.wire || self.session.has_input() || self.session.peer_has_ended()
    }
}

/// A writer that is one write of the system.
struct Wire<'a> {
    net: &'a mut dyn Net,
    id: NetId,
    offered: usize,
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.offered = pieces.iter().map(|piece| piece.len()).sum();
        loop {
            match self.net.write(self.id, pieces) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StreamState {
    /// Plain bytes that have not left.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.tls.as_ref().map_or(0, |tls| tls.sealed)
    }

    /// Whether anything waits for room in the system.
    pub(super) fn has_unsent(&self) -> bool {
        let sealed = || self.tls.as_ref().is_some_and(|tls| tls.session.wants_transmit());
        !self.queue.is_empty() || self.send_error.is_none() && sealed()
    }

    pub(super) fn peer_name(&self) -> String {
        self.peer.to_string()
    }

    /// A failure of the system in a handshake with this peer.
    pub(super) fn handshake_error(&self, source: io::Error) -> Error {
        Error::Io { op: "handshake with", object: self.peer_name(), source }
    }

    /// An error of TLS with this peer.
    pub(super) fn tls_error(&self, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
        Error::Tls { object: self.peer_name(), source }
    }
}

impl<T> Core<T> {
    /// The part of [`Core::take`] for TLS: at most one read of the system.
    #[inline(never)]
    pub(super) fn take_tls(&mut self, id: SlotId, plain: &mut [u8]) -> Taken {
        let mut cipher = std::mem::take(&mut self.cipher);
        cipher.resize(CIPHER, 0);
        let taken = self.decrypt(id, plain, &mut cipher);
        self.cipher = cipher;
        if self.stream(id).is_some_and(|stream| stream.tls.as_ref().is_some_and(|tls| tls.session.wants_transmit())) {
            // An answer to what was read: a new key, or an alert.
            self.flush(id);
        }
        taken
    }

    fn decrypt(&mut self, id: SlotId, plain: &mut [u8], cipher: &mut [u8]) -> Taken {
        let mut fresh = 0;
        loop {
            let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return Taken::Nothing };
            let (Some(tls), Some(net)) = (&mut stream.tls, stream.net) else { return Taken::Nothing };
            let outcome = tls.session.decrypt(&cipher[..fresh], plain);
            stream.readable = tls.is_readable();
            match outcome {
                Ok(0) if tls.session.peer_has_ended() => {
                    stream.readable = false;
                    return Taken::End;
                }
                Ok(0) if fresh > 0 => return Taken::Unripe(fresh),
                Ok(0) if !tls.wire => return Taken::Nothing,
                Ok(0) => {}
                Ok(count) => {
                    stream.note_taken(count, &mut *self.net);
                    return Taken::Bytes(count);
                }
                Err(failure) => {
                    return Taken::Over(Box::new(CloseReason::Failed(stream.tls_error(failure.into_source()))));
                }
            }
            let asked = (plain.len() + AHEAD).min(cipher.len());
            fresh = match self.read_wire(id, net, &mut cipher[..asked]) {
                Ok(0) => return self.wire_ended(id),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Taken::Nothing,
                Err(error) => return Taken::Failed(error),
            };
        }
    }

    /// One read of ciphertext, with what follows from it for the latch.
    pub(super) fn read_wire(&mut self, id: SlotId, net: NetId, cipher: &mut [u8]) -> io::Result<usize> {
        let outcome = loop {
            self.stats.reads += 1;
            match self.net.read(net, cipher) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.stats.bytes_in += *outcome.as_ref().unwrap_or(&0) as u64;
        let Some(stream) = self.stream_mut(id) else { return outcome };
        let nothing = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        let short = outcome.as_ref().is_ok_and(|count| *count < cipher.len());
        let ended = outcome.as_ref().is_ok_and(|count| *count == 0);
        if nothing {
            stream.hung_up = false;
        }
        if let Some(tls) = &mut stream.tls
            && (nothing || ended || short && !stream.hung_up)
        {
            tls.wire = false;
            stream.readable = tls.is_readable();
        }
        outcome
    }

    /// The system's end of the input, without that of TLS: a truncation, unless nobody waits for more.
    fn wire_ended(&mut self, id: SlotId) -> Taken {
        let Some(stream) = self.stream(id) else { return Taken::Nothing };
        let awaited = stream.phase == Phase::Open && !stream.discards && stream.send_error.is_none();
        if awaited { Taken::Over(Box::new(CloseReason::Truncated)) } else { Taken::End }
    }

    /// [`Core::send`] for TLS: what is queued and the two pieces behind it, record by record, until the system is full.
    #[inline(never)]
    pub(super) fn send_tls(&mut self, id: SlotId, head: &[u8], body: &[u8]) -> usize {
        let mut taken = 0;
        while self.transmit(id) {
            let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { break };
            let Some(tls) = stream.tls.as_mut().filter(|_| stream.writable) else { break };
            let batch = tls.session.batch();
            let mut pieces = [IoSlice::new(&[]); GATHER];
            let (mut count, queued) = match stream.queue.is_empty() {
                true => (0, 0),
                false => self.pool.front(&stream.queue, &mut pieces[..batch / BLOCK]),
            };
            let mut room = batch - queued;
            for piece in [head.get(taken..).unwrap_or_default(), &body[taken.saturating_sub(head.len())..]] {
                let piece = &piece[..piece.len().min(room)];
                if !piece.is_empty() {
                    pieces[count] = IoSlice::new(piece);
                    (count, room) = (count + 1, room - piece.len());
                }
            }
            if count == 0 {
                break;
            }
            tls.sealed = tls.session.encrypt(&pieces[..count]);
            taken += tls.sealed - queued;
            if queued > 0 {
                self.pool.consume(&mut stream.queue, queued);
            }
        }
        taken
    }

    /// Sends what is encrypted, as far as the system takes it. True if nothing of it is left.
    pub(super) fn transmit(&mut self, id: SlotId) -> bool {
        while let Some(Object::Stream(stream)) = self.objects.get_mut(id) {
            let (Some(tls), Some(net)) = (&mut stream.tls, stream.net) else { return false };
            if stream.phase == Phase::Closing || stream.send_error.is_some() {
                return false;
            }
            if !tls.session.wants_transmit() {
                stream.sent += std::mem::take(&mut tls.sealed) as u64;
                return true;
            }
            if !stream.writable {
                return false;
            }
            let mut wire = Wire { net: &mut *self.net, id: net, offered: 0 };
            let outcome = tls.session.transmit(&mut wire);
            let offered = wire.offered;
            if self.account(id, offered, outcome) > 0 {
                self.put_finish_off(id);
            }
        }
        false
    }

    /// Ends our side of TLS. True if the end has left, or need not.
    pub(super) fn end_tls(&mut self, id: SlotId) -> bool {
        let Some(stream) = self.stream_mut(id) else { return true };
        if stream.input_ended && stream.waiting() == 0 {
            return self.say_goodbye(id);
        }
        let Some(tls) = &mut stream.tls else { return true };
        if !std::mem::replace(&mut tls.ended, true) {
            tls.session.close_notify();
        }
        self.transmit(id)
    }

    /// Ends our side of TLS where nothing is lost if the peer does not hear of it. False if there was no room for that.
    pub(super) fn say_goodbye(&mut self, id: SlotId) -> bool {
        let Some(Object::Stream(stream)) = self.objects.get_mut(id) else { return true };
        let (Some(tls), Some(net)) = (&mut stream.tls, stream.net) else { return true };
        if !std::mem::replace(&mut tls.ended, true) {
            tls.session.close_notify();
        }
        while tls.session.wants_transmit() && stream.send_error.is_none() {
            if !stream.writable {
                return false;
            }
            let mut wire = Wire { net: &mut *self.net, id: net, offered: 0 };
            match tls.session.transmit(&mut wire) {
                Ok(count) => stream.writable = count == wire.offered,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable = false,
                // A peer that has said its own end and is gone needs no answer.
                Err(_) => break,
            }
        }
        true
    }
}

impl<T> LoopMut<'_, T> {
    /// [`LoopMut::connect`] with TLS. `open` follows the handshake; without one, `connect_error`. The server must prove
    /// to be who `tls` expects, or else the host or address of `to`; a UNIX socket names nobody.
    ///
    /// # Errors
    /// [`Error::Config`] if neither names a server, else as for [`LoopMut::connect`].
    pub fn connect_tls<H: Handler<T>>(
        &mut self,
        to: impl Into<Target>,
        key: ContextKey<H>,
        data: H::Data,
        tls: &TlsClientConfig,
        options: ConnectOptions,
    ) -> Result<SocketId, Error> {
        let to = to.into();
        let name = tls.name().cloned().map_or_else(|| name_of(&to), Ok)?;
        let id = self.connect(to, key, data, options)?;
        // It begins after the call, and so with what it is given here.
        if let Some(stream) = self.core.stream_mut(id.0) {
            stream.tls = Some(Tls::client(tls, name));
        }
        Ok(id)
    }

    /// [`LoopMut::adopt`] as the server of a TLS connection. A handshake that fails ends in `close`.
    ///
    /// # Errors
    /// As for [`LoopMut::adopt`].
    pub fn adopt_tls<H: Handler<T>>(
        &mut self,
        stream: impl Into<AnyStream>,
        key: ContextKey<H>,
        data: H::Data,
        tls: &TlsConfig,
    ) -> Result<SocketId, Error> {
        let id = self.adopt(stream, key, data)?;
        if let Some(stream) = self.core.stream_mut(id.0) {
            stream.tls = Some(Tls::server(tls));
        }
        Ok(id)
    }

    /// [`LoopMut::adopt`] as the client of a TLS connection, which must expect a name. A handshake that fails ends in
    /// `close`.
    ///
    /// # Errors
    /// [`Error::Config`] if `tls` expects nobody, else as for [`LoopMut::adopt`].
    pub fn adopt_tls_client<H: Handler<T>>(
        &mut self,
        stream: impl Into<AnyStream>,
        key: ContextKey<H>,
        data: H::Data,
        tls: &TlsClientConfig,
    ) -> Result<SocketId, Error> {
        let name = tls.name().cloned().ok_or_else(|| Error::config("server_name", "missing: whom to expect"))?;
        let id = self.adopt(stream, key, data)?;
        if let Some(stream) = self.core.stream_mut(id.0) {
            stream.tls = Some(Tls::client(tls, name));
        }
        Ok(id)
    }
}

/// The server that a target names.
fn name_of(to: &Target) -> Result<ServerName<'static>, Error> {
    let nobody = || Error::config("server_name", format_args!("{to} names no server: say whom to expect"));
    match to {
        Target::Address(address) => address.inet().map(|addr| ServerName::from(addr.ip())).ok_or_else(nobody),
        Target::Name(name) => {
            let host = name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            ServerName::try_from(host).map_err(|_| nobody())
        }
    }
}

impl<T> Stream<'_, T> {
    /// The version of TLS; `None` on a plain socket. So are the answers to the other questions about TLS.
    #[must_use]
    pub fn tls_version(&self) -> Option<TlsVersion> {
        self.session()?.version()
    }

    /// The cipher suite by its registered name.
    #[must_use]
    pub fn tls_cipher(&self) -> Option<String> {
        self.session()?.cipher()
    }

    /// The application protocol that was agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session()?.alpn()
    }

    /// The server's name: the one that the client asked for, or, on a client, the one that the server has proved.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.session()?.server_name()
    }

    /// The tag of the name by which the configuration was chosen: [`TlsConfig::add_server_name`].
    #[must_use]
    pub fn server_tag(&self) -> Option<u64> {
        self.session()?.server_tag()
    }

    /// The certificates that the peer has shown, in DER, its own first.
    pub fn peer_certificates(&self) -> impl Iterator<Item = &[u8]> {
        let shown = self.session().map(Session::peer_certificates).unwrap_or_default();
        shown.iter().map(|certificate| &**certificate)
    }

    /// Whether the handshake went on from an earlier session.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.session().is_some_and(Session::resumed)
    }

    fn session(&self) -> Option<&Session> {
        self.state().tls.as_ref().map(|tls| &tls.session)
    }
}
