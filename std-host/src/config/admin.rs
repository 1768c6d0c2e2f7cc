//! `[admin]`: where a running host can be asked, and told.

use super::print::{integer, table, text};
use super::reader::{Item, Reader, Seen};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The longest path that a plant may name, in bytes. How long that of a socket may be is the system's business.
const LONGEST_PATH: usize = 4095;

/// The two ways to a running host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The UNIX socket, mode 0600.
    pub socket: Socket,
    /// The address of `/metrics` and `/status` over HTTP; `None` is off. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
}

/// Where the admin socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Socket {
    /// In the runtime directory, named after the plant; a host that finds no place there does without.
    #[default]
    Usual,
    /// Here, or the host does not start.
    At(PathBuf),
    /// Nowhere.
    Off,
}

impl Admin {
    /// Has a relative path start at the folder of the plant.
    pub(super) fn start_at(&mut self, folder: &Path) {
        if let Socket::At(path) = &mut self.socket {
            let joined = folder.join(&*path);
            // Where not even the working directory is known, the path means what the system makes of it.
            *path = std::path::absolute(&joined).unwrap_or(joined);
        }
    }
}

pub(super) fn read(r: &mut Reader<'_>, addresses: &mut Seen<SocketAddr>) -> Admin {
    Admin {
        socket: r.option("socket", |item| socket(&item)).unwrap_or_default(),
        listen: r.option("listen", |item| listen(&item, addresses)).flatten(),
    }
}

fn socket(item: &Item<'_>) -> Option<Socket> {
    const ACCEPTED: &str = "a path, true for the usual place, or false for none";
    if item.is_flag() {
        return Some(if item.flag()? { Socket::Usual } else { Socket::Off });
    }
    if !item.is_text() {
        item.mistyped(ACCEPTED);
        return None;
    }
    let path = item.text()?;
    if path.is_empty() {
        return Some(Socket::Off);
    }
    // A name of Linux's own table has no mode bits: everybody on the machine could use it.
    if path.starts_with('@') {
        item.refuse(ACCEPTED);
        return None;
    }
    item.line_of_text(LONGEST_PATH).map(|path| Socket::At(path.into()))
}

fn listen(item: &Item<'_>, addresses: &mut Seen<SocketAddr>) -> Option<Option<SocketAddr>> {
    const ACCEPTED: &str =
        "an IP address and a port such as \"127.0.0.1:9502\", a port on 127.0.0.1, or false for none";
    let address = if item.is_flag() {
        let on = item.flag()?;
        if on {
            item.refuse(ACCEPTED);
        }
        return (!on).then_some(None);
    } else if item.is_integer() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, item.integer(0..=u16::MAX)?))
    } else if !item.is_text() {
        item.mistyped(ACCEPTED);
        return None;
    } else if let Ok(address) = item.text()?.parse::<SocketAddr>() {
        address
    } else {
        item.refuse(ACCEPTED);
        return None;
    };
    if address.port() != 0 {
        addresses.add(address, item);
    }
    Some(Some(address))
}

pub(super) fn print(admin: &Admin) -> Table {
    let socket = match &admin.socket {
        Socket::Usual => Value::Boolean(true),
        Socket::At(path) => text(&path.display().to_string()),
        Socket::Off => Value::Boolean(false),
    };
    let listen = match admin.listen {
        Some(SocketAddr::V4(address)) if *address.ip() == Ipv4Addr::LOCALHOST => integer(address.port()),
        Some(address) => text(&address.to_string()),
        None => Value::Boolean(false),
    };
    table([("socket", socket), ("listen", listen)])
}
