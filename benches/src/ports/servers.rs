//! Servers in processes of their own: a device port, and `ncat --broker`.

use crate::loops::servers::wharf;
use crate::machine;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use wharf_host::event_loop::{Loop, LoopOptions};
use wharf_host::services::port;

/// Descriptors of a server besides its clients.
const BESIDES: u64 = 64;

/// Serves as a port with these options, each with its value as in a plant file; without them it has the defaults. It says
/// `listening ADDRESS` and answers what it has counted.
///
/// # Errors
/// When an option is wrong, and those of the loop.
pub fn serve(settings: &[(String, String)]) -> io::Result<()> {
    let mut options = port::options::Options::new("bench", "127.0.0.1:0").map_err(io::Error::other)?;
    for (key, value) in settings {
        options.set(key, value).map_err(io::Error::other)?;
    }
    let _ = machine::raise_descriptors(u64::from(options.slots) + BESIDES);
    let mut lp = Loop::with_options((), LoopOptions::default()).map_err(io::Error::other)?;
    let server = port::Server::bind(&mut lp.loop_mut(), &options, |_| ()).map_err(io::Error::other)?;
    let Some(address) = server.local_addr() else {
        return Err(io::Error::other(server.failure().unwrap_or_default()));
    };
    wharf::answer_on(&mut lp.loop_mut(), wharf::counted).map_err(io::Error::other)?;
    println!("listening {address}");
    lp.run().map_err(io::Error::other)
}

/// The command of a port with these options.
///
/// # Errors
/// When this program cannot find itself.
pub fn port(settings: &[(&str, &str)]) -> io::Result<Vec<OsString>> {
    let mut command = vec![std::env::current_exe()?.into_os_string(), "serve".into(), "port".into()];
    command.extend(settings.iter().map(|(key, value)| format!("{key}={value}").into()));
    Ok(command)
}

/// The command of `ncat --broker` for so many clients. It cannot say where it listens, so it gets a port that was free a
/// moment ago; a client may be earlier than it.
///
/// # Errors
/// Why it cannot be run.
pub fn ncat(clients: usize) -> Result<Vec<OsString>, String> {
    let version = std::process::Command::new("ncat").arg("--version").output();
    version.map_err(|error| format!("ncat: {error}"))?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let address = free.map_err(|error| error.to_string())?;
    let (host, port) = (address.ip(), address.port());
    let line = format!("echo listening {address}; exec ncat --broker -m {clients} -l {host} {port}");
    Ok(["sh", "-c", &line].map(OsString::from).to_vec())
}
