//! Addresses of streams, and what can be connected to.

use super::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where one side of a stream is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A UNIX socket in the file system.
    Path(Box<Path>),
    /// A name of Linux's own table of UNIX sockets, without the leading zero byte.
    Abstract(Box<[u8]>),
    /// A UNIX socket without a name, as clients usually are, or a descriptor that is no socket.
    Unnamed,
}

impl Address {
    /// The address of a UNIX socket: the path, or with a leading `@` the abstract name. A file whose name begins so is
    /// reached by `./@name`.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match path.as_os_str().as_encoded_bytes() {
            [b'@', name @ ..] => Self::Abstract(name.into()),
            _ => Self::Path(path.into()),
        }
    }

    /// The IP address, if it is one.
    #[must_use]
    pub const fn inet(&self) -> Option<SocketAddr> {
        if let Self::Inet(addr) = self { Some(*addr) } else { None }
    }
}

/// As [`Address::unix`] and the system's tools write it; an unnamed one prints as words.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("an unnamed peer"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::Inet(addr)
    }
}

impl From<std::os::unix::net::SocketAddr> for Address {
    fn from(addr: std::os::unix::net::SocketAddr) -> Self {
        #[cfg(target_os = "linux")]
        if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(&addr) {
            return Self::Abstract(name.into());
        }
        addr.as_pathname().map_or(Self::Unnamed, |path| Self::Path(path.into()))
    }
}

/// What a stream is to be connected to. Text is read like this: an IP address with a port, `@name` or anything with a
/// slash for a UNIX socket, else `host:port`, whose host is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// One address.
    Address(Address),
    /// A host and a port, as text: `localhost:502`.
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::Address(Address::Inet(addr))
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        Self::Address(address)
    }
}

impl From<(IpAddr, u16)> for Target {
    fn from(addr: (IpAddr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(addr) => (addr, port).into(),
            Err(_) => Self::Name(format!("{host}:{port}")),
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            addr.into()
        } else if text.starts_with('@') || text.contains('/') {
            Self::Address(Address::unix(text))
        } else {
            Self::Name(text.to_owned())
        }
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&Path> for Target {
    fn from(path: &Path) -> Self {
        Self::Address(Address::unix(path))
    }
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        path.as_path().into()
    }
}

/// The two parts of `host:port`. The brackets of an IPv6 address with a scope, `[fe80::1%eth0]:502`, fall away.
pub(super) fn split_name(name: &str) -> Result<(&str, u16), Error> {
    let refused = |what| Error::resolve(name, io::Error::new(io::ErrorKind::InvalidInput, what));
    let (host, port) = name.rsplit_once(':').ok_or_else(|| refused("there is no port"))?;
    let port = port.parse().map_err(|_| refused("the port is not a number up to 65535"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() { Err(refused("there is no host")) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_by_its_text() {
        let unix = |path: &str| Target::Address(Address::Path(Path::new(path).into()));
        assert_eq!(Target::from("[::1]:80"), Target::from(("::1", 80)));
        assert_eq!(Target::from("127.0.0.1:80"), Target::from("127.0.0.1:80".parse::<SocketAddr>().unwrap()));
        assert_eq!(Target::from("localhost:80"), Target::Name("localhost:80".to_owned()));
        assert_eq!(Target::from("/run/a:b"), unix("/run/a:b"));
        assert_eq!(Target::from("./@a"), unix("./@a"));
        assert_eq!(Target::from("@a"), Target::Address(Address::Abstract(Box::from(*b"a"))));
        assert_eq!(Target::from(Path::new("a")), unix("a"));
        for text in ["[::1]:80", "localhost:80", "/run/a:b", "@a"] {
            assert_eq!(Target::from(text).to_string(), text);
        }
    }

    #[test]
    fn a_name_has_a_host_and_a_port() {
        assert_eq!(split_name("localhost:80").unwrap(), ("localhost", 80));
        assert_eq!(split_name("[fe80::1%lo]:80").unwrap(), ("fe80::1%lo", 80));
        for (name, why) in [
            ("localhost", "there is no port"),
            ("localhost:", "the port is not a number up to 65535"),
            ("localhost:65536", "the port is not a number up to 65535"),
            (":80", "there is no host"),
        ] {
            assert_eq!(split_name(name).unwrap_err().to_string(), format!("resolve {name}: {why}"));
        }
    }

    #[test]
    fn an_address_is_no_larger_than_that_of_an_inet_socket() {
        assert!(size_of::<Address>() <= size_of::<SocketAddr>().next_multiple_of(8));
    }
}
