//! UNIX sockets: paths that go with their listeners, and abstract names.

use super::start_lock::StartLock;
use crate::event_loop::Address;
use crate::event_loop::net::UnixListenOptions;
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// A listener, and the path that goes with it. The path goes first, so that nobody finds it without an answer.
pub(super) struct Listener {
    _path: Option<OwnPath>,
    pub(super) socket: mio::net::UnixListener,
}

impl Listener {
    pub(super) fn new(at: &Address, options: &UnixListenOptions) -> io::Result<Self> {
        // From before the first look at the path until somebody answers on it. Bound and not listening it looks stale.
        let _starting = if let Address::Path(path) = at { Some(StartLock::take(path)?) } else { None };
        if let Address::Path(path) = at {
            remove_stale(path)?;
        }
        let socket = new_socket()?;
        socket.bind(&sock_addr(at)?)?;
        let path = if let Address::Path(path) = at { Some(OwnPath::new(path)?) } else { None };
        if let Some(OwnPath { path, .. }) = &path {
            // Nobody can connect before `listen`, so nobody does under other mode bits.
            std::fs::set_permissions(path, Permissions::from_mode(options.mode))?;
        }
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(Self { _path: path, socket: mio::net::UnixListener::from_std(UnixListener::from(socket)) })
    }
}

/// A socket connected to `to`. Unlike TCP's, it is so at once or not at all.
pub(super) fn connect(to: &Address) -> io::Result<mio::net::UnixStream> {
    let socket = new_socket()?;
    socket.connect(&sock_addr(to)?)?;
    Ok(mio::net::UnixStream::from_std(socket.into()))
}

/// A path that is removed when this is dropped, unless another file has taken its place.
struct OwnPath {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnPath {
    fn new(path: &Path) -> io::Result<Self> {
        // A later change of the working directory must not lead to another file.
        let path = std::path::absolute(path)?;
        let file = path.symlink_metadata()?;
        Ok(Self { path, device: file.dev(), inode: file.ino() })
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let file = self.path.symlink_metadata();
        if file.is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode))
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the path of a listener");
        }
    }
}

/// Removes what a listener that is gone left behind: a socket on which nobody answers, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !file.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // A full backlog is an answer too, and so is a lack of permission: only a refusal says that nobody is there.
    match new_socket()?.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Its listener has just gone, and taken the path with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn sock_addr(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Path(path) => SockAddr::unix(path),
        Address::Abstract(name) if cfg!(target_os = "linux") => {
            SockAddr::unix(OsString::from_vec([b"\0", &**name].concat()))
        }
        Address::Abstract(_) => Err(io::ErrorKind::Unsupported.into()),
        Address::Inet(_) | Address::Unnamed => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// A socket that never blocks.
fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
