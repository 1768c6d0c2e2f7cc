//! Address text: where a port listens, as `HOST:PORT PROTOCOL`.
//!
//! ```text
//! text     = *WSP hostport [ 1*WSP protocol ] *WSP     ; at most 300 bytes of ASCII; WSP is space or tab
//! hostport = [ host ] ":" port
//! host     = "[" ipv6 [ "%" zone ] "]" / ipv4 / name   ; zone: 1-15 of letter digit "." "_" "-"
//! name     = label *( "." label ) [ "." ]              ; at most 253 bytes; label: 1-63 of letter digit "-" "_",
//!                                                      ; no "-" at either end; the last label is not all digits
//! port     = 1*5DIGIT                                  ; 0-65535; 0 lets the system pick
//! protocol = "tcp" / "udp"                             ; any case; default tcp
//! ```
//!
//! `ipv6` is any text form of RFC 4291 2.2, `ipv4` four decimal numbers without leading zeros. A final dot counts among
//! the 253 bytes of a name. Only the word `localhost`, in any case, is [`Host::Localhost`]; `localhost.` is a name for the
//! resolver like any other.
//!
//! [`parse`] is a plain function that borrows from its text, takes all of it or nothing, and looks at each byte a bounded
//! number of times. What an [`Address`] that it gave prints, parses to the same value.
//!
//! # Errors
//!
//! A text may be wrong in several ways and is refused for one. The rules are tried in this order:
//!
//! 1. bytes: [`NotAscii`](Error::NotAscii) or [`TooLong`](Error::TooLong), whichever comes first in the text;
//! 2. words: [`Empty`](Error::Empty) if there is none. The first word is `hostport`, the second `protocol`;
//! 3. the shape of `hostport`: [`NoBracket`](Error::NoBracket), [`Unbracketed`](Error::Unbracketed),
//!    [`NoPort`](Error::NoPort). The host ends at the bracket that closes it, otherwise before the first colon;
//! 4. the parts from left to right: [`BadHost`](Error::BadHost), [`BadPort`](Error::BadPort) or
//!    [`PortRange`](Error::PortRange), [`UnknownProtocol`](Error::UnknownProtocol), [`Trailing`](Error::Trailing).
//!
//! Each error carries the byte offset at which the part begins that is wrong, or at which the part that is missing would
//! have to stand; so it may be the length of the text, and is never more. A part is what has a name in the grammar, and a
//! host begins with its bracket.
//!
//! An error here means that no socket has been touched: the text is refused and a running port stays as it is.
//!
//! # What it does not do
//!
//! It resolves no names and knows no interfaces: whether a name, a zone or a port can be had shows when the port opens.
//! Multicast addresses are addresses here. Socket options are keys of the configuration and no words of this text.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// The longest address text in bytes, blanks included.
pub const MAX_TEXT: usize = 300;
/// The longest host name in bytes, a final dot included.
pub const MAX_NAME: usize = 253;
/// The longest label of a host name in bytes.
pub const MAX_LABEL: usize = 63;
/// The longest zone of an IPv6 address in bytes: that of a Linux interface name.
pub const MAX_ZONE: usize = 15;

/// The most digits of a port.
const MAX_DIGITS: usize = 5;
/// The groups of 16 bits in an IPv6 address.
const GROUPS: u32 = 8;

/// Where a port listens. What it borrows is part of the text that it was read from.
///
/// It prints as one text of the grammar, with its protocol, in at most [`MAX_TEXT`] bytes. That text parses to the same
/// value if the address came from [`parse`]; one put together by hand can hold a host that no text means, such as
/// [`Host::V4`] of 0.0.0.0 or a name with a blank in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address<'a> {
    /// The interface, by address or by name.
    pub host: Host<'a>,
    /// The port number; with 0 the system picks one.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// The part of an address before its port. It prints as it stands there, an IPv6 address in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// Every IPv4 interface: no host at all, or 0.0.0.0, as which it prints.
    Any,
    /// The word `localhost` in any case. It prints in lower case.
    Localhost,
    /// An IPv4 address. [`parse`] gives any but 0.0.0.0, which is [`Host::Any`].
    V4(Ipv4Addr),
    /// An IPv6 address. `::` is every interface of both families.
    V6 {
        /// The address, as it was written: an IPv4 address in IPv6 clothes is one of these.
        address: Ipv6Addr,
        /// The interface of a link-local address, by name or by number: 1..=[`MAX_ZONE`] bytes.
        zone: Option<&'a str>,
    },
    /// A name for the resolver, as it was written: 1..=[`MAX_NAME`] bytes.
    Name(&'a str),
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Protocol {
    /// A stream per client. It is meant where the text names no protocol.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// Why a text is no address; see the [module](self) for the order in which the rules are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// There is nothing but blanks.
    Empty {
        /// The end of the text.
        offset: usize,
    },
    /// There are more than [`MAX_TEXT`] bytes.
    TooLong {
        /// The first byte too many.
        offset: usize,
    },
    /// A byte is not ASCII.
    NotAscii {
        /// That byte.
        offset: usize,
    },
    /// Behind the host there is no colon, and so no port.
    NoPort {
        /// Where the colon would have to stand.
        offset: usize,
    },
    /// The port is not 1 to 5 digits, whatever follows the colon.
    BadPort {
        /// The begin of the port.
        offset: usize,
    },
    /// The port is a number above 65535.
    PortRange {
        /// The begin of the port.
        offset: usize,
    },
    /// The host is an IPv6 address without brackets, so that it is not clear where the port begins.
    Unbracketed {
        /// The begin of the host.
        offset: usize,
    },
    /// No bracket closes the one at the begin of the host.
    NoBracket {
        /// The opening bracket.
        offset: usize,
    },
    /// The host is no IPv4 address and no name, or what stands in brackets is no IPv6 address or has a zone that is none.
    BadHost {
        /// The begin of the zone if that alone is wrong, else that of the host.
        offset: usize,
    },
    /// The second word is neither `tcp` nor `udp`.
    UnknownProtocol {
        /// The begin of that word.
        offset: usize,
    },
    /// There is a third word.
    Trailing {
        /// The begin of that word.
        offset: usize,
    },
}

impl Error {
    /// The byte at which the wrong part begins or the missing one would have to stand: 0..=the length of the text, and at
    /// most [`MAX_TEXT`].
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::Empty { offset }
            | Self::TooLong { offset }
            | Self::NotAscii { offset }
            | Self::NoPort { offset }
            | Self::BadPort { offset }
            | Self::PortRange { offset }
            | Self::Unbracketed { offset }
            | Self::NoBracket { offset }
            | Self::BadHost { offset }
            | Self::UnknownProtocol { offset }
            | Self::Trailing { offset } => offset,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self {
            Self::Empty { .. } => "no address",
            Self::TooLong { .. } => "text is too long",
            Self::NotAscii { .. } => "not ascii",
            Self::NoPort { .. } => "no colon and port behind the host",
            Self::BadPort { .. } => "port is not 1 to 5 digits",
            Self::PortRange { .. } => "port is above 65535",
            Self::Unbracketed { .. } => "ipv6 address without brackets",
            Self::NoBracket { .. } => "bracket is not closed",
            Self::BadHost { .. } => "malformed host",
            Self::UnknownProtocol { .. } => "protocol is neither tcp nor udp",
            Self::Trailing { .. } => "more words than host:port and protocol",
        };
        write!(f, "{cause}, at byte {}", self.offset())
    }
}

impl core::error::Error for Error {}

/// Reads all of `text` as an address.
///
/// # Errors
/// When it is none; the [module](self) says which error comes first.
pub fn parse(text: &str) -> Result<Address<'_>, Error> {
    let (hostport, rest) = ascii(text)?.word();
    if hostport.text.is_empty() {
        return Err(Error::Empty { offset: hostport.offset });
    }
    let (host, port) = host_and_port(hostport)?;
    let (host, port) = (read_host(host)?, read_port(port)?);
    let (protocol, rest) = rest.word();
    let protocol = read_protocol(protocol)?;
    let (surplus, _) = rest.word();
    if !surplus.text.is_empty() {
        return Err(Error::Trailing { offset: surplus.offset });
    }
    Ok(Address { host, port, protocol })
}

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.host, self.port, self.protocol)
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ipv4Addr::UNSPECIFIED.fmt(f),
            Self::Localhost => f.write_str(LOCALHOST),
            Self::V4(address) => address.fmt(f),
            Self::V6 { address, zone: None } => write!(f, "[{address}]"),
            Self::V6 { address, zone: Some(zone) } => write!(f, "[{address}%{zone}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        })
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Address<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Host<'_> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

const LOCALHOST: &str = "localhost";
const TCP: &str = "tcp";
const UDP: &str = "udp";

/// A piece of the text, and the offset at which it begins. It is ASCII, so that every cut is one between characters.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Part<'a> {
    /// The first `len` bytes and the rest; all and nothing if there are no more than that.
    fn cut(self, len: usize) -> (Self, Self) {
        let (front, rest) = self.text.split_at_checked(len).unwrap_or((self.text, ""));
        (Self { text: front, ..self }, Self { text: rest, offset: self.offset.saturating_add(front.len()) })
    }

    /// What is before the first byte that `is_end` holds for, and the rest.
    fn cut_before(self, is_end: impl Fn(u8) -> bool) -> (Self, Self) {
        self.cut(self.text.bytes().position(is_end).unwrap_or(self.text.len()))
    }

    /// The first word and what follows it; an empty word at the end if there are only blanks.
    fn word(self) -> (Self, Self) {
        let (_, begin) = self.cut_before(|byte| !is_blank(byte));
        begin.cut_before(is_blank)
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The text as one part, once it is known to be short and ASCII. No byte behind the first one too many is looked at.
fn ascii(text: &str) -> Result<Part<'_>, Error> {
    match text.bytes().take(MAX_TEXT).position(|byte| !byte.is_ascii()) {
        Some(offset) => Err(Error::NotAscii { offset }),
        None if text.len() > MAX_TEXT => Err(Error::TooLong { offset: MAX_TEXT }),
        None => Ok(Part { text, offset: 0 }),
    }
}

/// Cuts `word` around the colon before the port. The host keeps its brackets.
fn host_and_port(word: Part<'_>) -> Result<(Part<'_>, Part<'_>), Error> {
    let (host, rest) = if word.text.starts_with('[') {
        let (_, closing) = word.cut_before(|byte| byte == b']');
        if closing.text.is_empty() {
            return Err(Error::NoBracket { offset: word.offset });
        }
        word.cut(closing.offset.saturating_sub(word.offset).saturating_add(1))
    } else {
        if is_unbracketed(word) {
            return Err(Error::Unbracketed { offset: word.offset });
        }
        word.cut_before(|byte| byte == b':')
    };
    let (colon, port) = rest.cut(1);
    if colon.text != ":" {
        return Err(Error::NoPort { offset: colon.offset });
    }
    Ok((host, port))
}

/// Whether `word` is an IPv6 address, alone or with a zone, or is one as far as its last colon. One that is both, such as
/// `::1:7000`, is why brackets are asked for.
fn is_unbracketed(word: Part<'_>) -> bool {
    let (address, _) = word.cut_before(|byte| byte == b'%');
    let last_colon = address.text.bytes().rposition(|byte| byte == b':');
    let before_port = last_colon.map(|at| address.cut(at).0);
    [Some(address), before_port].into_iter().flatten().any(|address| ipv6(address).is_some())
}

fn read_host(host: Part<'_>) -> Result<Host<'_>, Error> {
    if host.text.is_empty() {
        return Ok(Host::Any);
    }
    if host.text.starts_with('[') {
        return read_ipv6(host);
    }
    if let Ok(address) = host.text.parse::<Ipv4Addr>() {
        return Ok(if address.is_unspecified() { Host::Any } else { Host::V4(address) });
    }
    if host.text.eq_ignore_ascii_case(LOCALHOST) {
        return Ok(Host::Localhost);
    }
    if !is_name(host.text) {
        return Err(Error::BadHost { offset: host.offset });
    }
    Ok(Host::Name(host.text))
}

/// The host that `host` means, brackets and all.
fn read_ipv6(host: Part<'_>) -> Result<Host<'_>, Error> {
    let (_, inner) = host.cut(1);
    let (inner, _) = inner.cut_before(|byte| byte == b']');
    let (address, zone) = inner.cut_before(|byte| byte == b'%');
    let address = ipv6(address).ok_or(Error::BadHost { offset: host.offset })?;
    let zone = match zone.cut(1) {
        (sign, _) if sign.text.is_empty() => None,
        (_, zone) if is_zone(zone.text) => Some(zone.text),
        (_, zone) => return Err(Error::BadHost { offset: zone.offset }),
    };
    Ok(Host::V6 { address, zone })
}

/// The address that `part` spells (RFC 4291 2.2): eight groups, or fewer and one `::` for the rest, which are zeros.
///
/// The parser of the standard library says the same, but the compiler cannot see that it never panics.
fn ipv6(part: Part<'_>) -> Option<Ipv6Addr> {
    let Some(gap) = part.text.as_bytes().windows(2).position(|pair| pair == b"::") else {
        return groups(part, true).filter(|(_, count)| *count == GROUPS).map(|(bits, _)| Ipv6Addr::from_bits(bits));
    };
    let (front, back) = part.cut(gap);
    let (front, front_count) = if front.text.is_empty() { (0, 0) } else { groups(front, false)? };
    let (_, back) = back.cut(2);
    let (back, back_count) = if back.text.is_empty() { (0, 0) } else { groups(back, true)? };
    let zeros = GROUPS.checked_sub(front_count)?.checked_sub(back_count)?;
    if zeros == 0 {
        return None;
    }
    // Nothing is left of no groups, which a shift by all bits stands for.
    let behind_front = GROUPS.saturating_sub(front_count).saturating_mul(16);
    Some(Ipv6Addr::from_bits(front.checked_shl(behind_front).unwrap_or(0) | back))
}

/// One to eight groups with colons between them, and how many these are. The last two may be written as an IPv4 address if
/// they are the last of the whole.
fn groups(part: Part<'_>, to_the_end: bool) -> Option<(u128, u32)> {
    let (mut bits, mut count, mut rest) = (0_u128, 0_u32, part);
    loop {
        let (group, behind) = rest.cut_before(|byte| byte == b':');
        let is_last = behind.text.is_empty();
        let dotted = if is_last && to_the_end { group.text.parse::<Ipv4Addr>().ok() } else { None };
        (bits, count) = match dotted {
            Some(address) => (bits << 32 | u128::from(address.to_bits()), count.saturating_add(2)),
            None => (bits << 16 | hexadecimal(group.text)?, count.saturating_add(1)),
        };
        if is_last || count > GROUPS {
            return Some((bits, count)).filter(|_| count <= GROUPS);
        }
        (_, rest) = behind.cut(1);
    }
}

/// The value of one to four hexadecimal digits.
fn hexadecimal(text: &str) -> Option<u128> {
    if text.is_empty() || text.len() > 4 {
        return None;
    }
    text.bytes().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Some(value << 4 | u128::from(digit & 0xF)),
        // `a` and `A` end in the bits of 1.
        b'a'..=b'f' | b'A'..=b'F' => Some(value << 4 | u128::from((digit & 0xF).saturating_add(9))),
        _ => None,
    })
}

fn is_zone(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_ZONE).contains(&text.len()) && text.bytes().all(fits)
}

fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text).as_bytes();
    let mut labels = labels.split(|byte| *byte == b'.');
    // With digits alone at the end it would be a misspelt IPv4 address, which some resolvers take for one.
    let ends_in_number = labels.clone().next_back().is_some_and(|last| last.iter().all(u8::is_ascii_digit));
    text.len() <= MAX_NAME && !ends_in_number && labels.all(is_label)
}

fn is_label(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_LABEL).contains(&text.len()) && text.iter().all(fits) && !text.starts_with(b"-") && !text.ends_with(b"-")
}

fn read_port(port: Part<'_>) -> Result<u16, Error> {
    let Part { text, offset } = port;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::BadPort { offset });
    }
    let append =
        |number: u32, digit: u8| number.saturating_mul(10).saturating_add(u32::from(digit.saturating_sub(b'0')));
    match u16::try_from(text.bytes().fold(0, append)) {
        Err(_) => Err(Error::PortRange { offset }),
        // So many zeros that it is no port, though its value would be.
        Ok(_) if text.len() > MAX_DIGITS => Err(Error::BadPort { offset }),
        Ok(port) => Ok(port),
    }
}

/// The protocol that `word` names; an empty one means the default.
fn read_protocol(word: Part<'_>) -> Result<Protocol, Error> {
    let is = |name: &str| word.text.eq_ignore_ascii_case(name);
    match word.text {
        "" => Ok(Protocol::default()),
        _ if is(TCP) => Ok(Protocol::Tcp),
        _ if is(UDP) => Ok(Protocol::Udp),
        _ => Err(Error::UnknownProtocol { offset: word.offset }),
    }
}

#[cfg(test)]
mod tests;
