//! An echo server over TLS. Its certificate and key come from PEM files.
//!
//! `cargo run --example echo_tls -- CERTIFICATE.pem KEY.pem 127.0.0.1:7000`, then
//! `openssl s_client -connect 127.0.0.1:7000`. The passphrase of an encrypted key is read from `KEY_PASSPHRASE`. Ctrl-C
//! ends it.

#![forbid(unsafe_code)]

use std::error::Error;
use wharf_host::event_loop::{
    Closed, Handler, ListenOptions, Loop, LoopMut, Opened, Pem, Signal, Socket, TlsBuilder, TlsConfig,
};

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn open(&mut self, s: &mut Socket<'_, (), ()>, _: Opened) {
        // After the handshake: everything is settled.
        let version = s.tls_version().map_or_else(String::new, |version| version.to_string());
        println!("TLS {version}, resumed: {}", s.resumed());
    }

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        // The queue is empty here, or the socket would be paused; so all bytes are taken.
        let _ = s.write(bytes);
        if s.queued() > 0 {
            let _ = s.pause();
        }
    }

    fn drained(&mut self, s: &mut Socket<'_, (), ()>) {
        let _ = s.resume();
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<()>) {
        // A handshake that failed is told here as well.
        println!("closed: {:?}", closed.reason);
    }
}

fn configuration(certificate: &str, key: &str) -> Result<TlsConfig, wharf_host::event_loop::Error> {
    let mut builder = TlsBuilder::new().certificate(Pem::file(certificate)).key(Pem::file(key));
    if let Ok(passphrase) = std::env::var("KEY_PASSPHRASE") {
        builder = builder.passphrase(passphrase);
    }
    builder.server()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) else {
        return Err("usage: echo_tls CERTIFICATE.pem KEY.pem [ADDRESS]".into());
    };
    let addr = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned()).parse()?;
    let tls = configuration(&certificate, &key)?;

    let mut echo = Loop::new()?;
    let mut lp = echo.loop_mut();
    let context = lp.context(Echo);
    let id = lp.listen_tls(addr, context, &tls, ListenOptions::default())?;
    println!("listening on {}", lp.listener(id)?.local_addr());
    lp.on_signal(&[Signal::Interrupt, Signal::Terminate], |lp, _| lp.stop())?;
    echo.run()?;
    Ok(())
}
