//! Address text (section 3), read by trying.
//!
//! What is accepted is found by cutting the text in every way that the grammar may mean and keeping the cuts of which all
//! parts fit; there must never be two. Only a text without any is looked through for what is wrong with it, in the order
//! in which the rules are listed in `fault`.

use std::net::Ipv4Addr;

/// What an address text means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The part before the port.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// Whether it speaks UDP.
    pub udp: bool,
}

/// What the part before the port means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Every IPv4 interface.
    Any,
    /// The word `localhost`.
    Localhost,
    /// Four bytes.
    V4([u8; 4]),
    /// Eight groups, and the zone.
    V6([u16; 8], Option<String>),
    /// A name.
    Name(String),
}

/// What is wrong with a text, by the names of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table says it")]
pub enum Fault {
    Empty,
    TooLong,
    NotAscii,
    NoPort,
    BadPort,
    PortRange,
    Unbracketed,
    NoBracket,
    BadHost,
    UnknownProtocol,
    Trailing,
}

/// What `text` means, or what is wrong with it and at which byte.
///
/// # Panics
/// When the grammar leaves it open what is meant, or nothing wrong can be found in a text that means nothing.
///
/// # Errors
/// When it is no address.
pub fn read(text: &str) -> Result<Reading, (Fault, usize)> {
    let text: Vec<char> = text.chars().collect();
    if let Some(outside) = outside(&text) {
        return Err(outside);
    }
    let mut readings = Vec::new();
    for begin in (0..=text.len()).take_while(|begin| all(&text[..*begin], is_blank)) {
        for end in begin..=text.len() {
            if let Some(udp) = rest(&text[end..]) {
                let hostports = hostports(&text[begin..end]);
                readings.extend(hostports.into_iter().map(|(host, port)| Reading { host, port, udp }));
            }
        }
    }
    assert!(readings.len() <= 1, "{text:?} may mean any of {readings:?}");
    readings.pop().ok_or_else(|| fault(&text))
}

/// The bytes that may not be there at all; every character before them is a byte.
fn outside(text: &[char]) -> Option<(Fault, usize)> {
    for (at, char) in text.iter().enumerate() {
        if at == 300 {
            return Some((Fault::TooLong, at));
        }
        if !char.is_ascii() {
            return Some((Fault::NotAscii, at));
        }
    }
    None
}

/// `[ 1*WSP protocol ] *WSP`: whether it says UDP.
fn rest(text: &[char]) -> Option<bool> {
    let Some(last) = text.iter().rposition(|char| !is_blank(*char)) else { return Some(false) };
    match &text[..=last] {
        [blanks @ .., a, b, c] if !blanks.is_empty() && all(blanks, is_blank) => match lower(&[*a, *b, *c]).as_str() {
            "tcp" => Some(false),
            "udp" => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// `[ host ] ":" port`, with each colon in turn as the one that is meant.
fn hostports(text: &[char]) -> Vec<(Host, u16)> {
    let colons = (0..text.len()).filter(|at| text[*at] == ':');
    let cut = |at| {
        let port = port(&text[at + 1..])?;
        Some((host(&text[..at])?, port))
    };
    colons.filter_map(cut).collect()
}

fn host(text: &[char]) -> Option<Host> {
    if text.is_empty() {
        return Some(Host::Any);
    }
    let readings = [bracketed(text), ipv4(text).map(of_ipv4), name(text)];
    let mut readings = readings.into_iter().flatten();
    let host = readings.next()?;
    assert_eq!(readings.next(), None, "{text:?} may be either");
    Some(host)
}

fn of_ipv4(bytes: [u8; 4]) -> Host {
    if bytes == [0; 4] { Host::Any } else { Host::V4(bytes) }
}

fn bracketed(text: &[char]) -> Option<Host> {
    let ['[', inner @ .., ']'] = text else { return None };
    if let Some(groups) = ipv6(inner) {
        return Some(Host::V6(groups, None));
    }
    (0..inner.len()).filter(|at| inner[*at] == '%').find_map(|at| {
        let (groups, zone) = (ipv6(&inner[..at])?, &inner[at + 1..]);
        is_zone(zone).then(|| Host::V6(groups, Some(zone.iter().collect())))
    })
}

fn is_zone(text: &[char]) -> bool {
    (1..=15).contains(&text.len()) && all(text, |char| char.is_ascii_alphanumeric() || "._-".contains(char))
}

fn ipv4(text: &[char]) -> Option<[u8; 4]> {
    let mut bytes = Vec::new();
    for number in text.split(|char| *char == '.') {
        let leading_zero = number.len() > 1 && number[0] == '0';
        if number.is_empty() || number.len() > 3 || leading_zero || !all(number, |char| char.is_ascii_digit()) {
            return None;
        }
        bytes.push(u8::try_from(value(number, 10)).ok()?);
    }
    bytes.try_into().ok()
}

/// RFC 4291 2.2: eight groups of one to four digits, the last two of them perhaps as an IPv4 address, and any one `::` for
/// one or more groups of zeros.
fn ipv6(text: &[char]) -> Option<[u16; 8]> {
    if let Some(all) = groups(text, true).filter(|all| all.len() == 8) {
        return all.try_into().ok();
    }
    (0..text.len().saturating_sub(1)).filter(|at| text[*at..*at + 2] == [':', ':']).find_map(|at| {
        let (mut all, behind) = (groups(&text[..at], false)?, groups(&text[at + 2..], true)?);
        let zeros = 8_usize.checked_sub(all.len() + behind.len()).filter(|zeros| *zeros > 0)?;
        all.extend(vec![0; zeros]);
        all.extend(behind);
        all.try_into().ok()
    })
}

fn groups(text: &[char], may_end_in_ipv4: bool) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts: Vec<&[char]> = text.split(|char| *char == ':').collect();
    let mut groups = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if may_end_in_ipv4
            && at + 1 == parts.len()
            && let Some(bytes) = ipv4(part)
        {
            let bits = Ipv4Addr::from(bytes).to_bits();
            groups.extend([bits >> 16, bits & 0xFFFF]);
        } else if (1..=4).contains(&part.len()) && all(part, |char| char.is_ascii_hexdigit()) {
            groups.push(value(part, 16));
        } else {
            return None;
        }
    }
    groups.into_iter().map(|group| u16::try_from(group).ok()).collect()
}

fn name(text: &[char]) -> Option<Host> {
    let name: String = text.iter().collect();
    let mut labels: Vec<&str> = name.split('.').collect();
    if labels.last() == Some(&"") {
        labels.pop();
    }
    let is_name = name.len() <= 253
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len())
                && label.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char))
                && ![label.chars().next(), label.chars().last()].contains(&Some('-'))
        })
        && labels.last()?.chars().any(|char| !char.is_ascii_digit());
    let localhost = name.to_lowercase() == "localhost";
    is_name.then_some(if localhost { Host::Localhost } else { Host::Name(name) })
}

fn port(text: &[char]) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && all(text, |char| char.is_ascii_digit());
    if digits { u16::try_from(value(text, 10)).ok() } else { None }
}

/// What is wrong with a text that means nothing, though it is short and ASCII.
fn fault(text: &[char]) -> (Fault, usize) {
    // Where each word begins, and its characters.
    let mut words: Vec<(usize, Vec<char>)> = Vec::new();
    for (at, char) in text.iter().enumerate().filter(|(_, char)| !is_blank(**char)) {
        if at > 0 && !is_blank(text[at - 1]) {
            words.last_mut().expect("what is no blank belongs to a word").1.push(*char);
        } else {
            words.push((at, vec![*char]));
        }
    }
    let Some((begin, word)) = words.first() else { return (Fault::Empty, text.len()) };
    let first = |wanted: char| word.iter().position(|char| *char == wanted);
    // The shape first.
    let host_len = if word[0] == '[' {
        match first(']') {
            Some(at) => at + 1,
            None => return (Fault::NoBracket, *begin),
        }
    } else {
        let address = &word[..first('%').unwrap_or(word.len())];
        let last_colon = address.iter().rposition(|char| *char == ':');
        if ipv6(address).is_some() || last_colon.is_some_and(|at| ipv6(&address[..at]).is_some()) {
            return (Fault::Unbracketed, *begin);
        }
        first(':').unwrap_or(word.len())
    };
    if word.get(host_len) != Some(&':') {
        return (Fault::NoPort, begin + host_len);
    }
    // Then the parts from left to right.
    let (before, after) = (&word[..host_len], &word[host_len + 1..]);
    if host(before).is_none() {
        let zone_alone = first('%').filter(|at| before[0] == '[' && *at < host_len && ipv6(&word[1..*at]).is_some());
        return (Fault::BadHost, begin + zone_alone.map_or(0, |at| at + 1));
    }
    if port(after).is_none() {
        let number = !after.is_empty() && all(after, |char| char.is_ascii_digit());
        let significant = after.iter().skip_while(|digit| **digit == '0').copied().collect::<Vec<_>>();
        let large = significant.len() > 5 || number && value(&significant, 10) > 65535;
        return (if number && large { Fault::PortRange } else { Fault::BadPort }, begin + host_len + 1);
    }
    let (begin, protocol) = words.get(1).expect("host and port without anything else would be an address");
    if !["tcp", "udp"].contains(&lower(protocol).as_str()) {
        return (Fault::UnknownProtocol, *begin);
    }
    (Fault::Trailing, words.get(2).expect("without a third word it would be an address").0)
}

fn is_blank(char: char) -> bool {
    char == ' ' || char == '\t'
}

fn all(text: &[char], fits: impl Fn(char) -> bool) -> bool {
    text.iter().all(|char| fits(*char))
}

fn lower(text: &[char]) -> String {
    text.iter().collect::<String>().to_lowercase()
}

/// The value of at most five digits.
fn value(digits: &[char], radix: u32) -> u32 {
    digits.iter().fold(0, |value, digit| value * radix + digit.to_digit(radix).expect("only digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_accepts_what_the_table_accepts() {
        let reading = |host: Host, port, udp| Ok(Reading { host, port, udp });
        let zone = |zone: &str| Some(zone.to_owned());
        for (text, expected) in [
            (":5025", reading(Host::Any, 5025, false)),
            ("0.0.0.0:5025 TCP", reading(Host::Any, 5025, false)),
            ("localhost:5001", reading(Host::Localhost, 5001, false)),
            ("LOCALHOST:5001", reading(Host::Localhost, 5001, false)),
            ("127.0.0.1:0", reading(Host::V4([127, 0, 0, 1]), 0, false)),
            ("ioc-7.lab.example:4000 Udp", reading(Host::Name("ioc-7.lab.example".into()), 4000, true)),
            ("[::]:7000", reading(Host::V6([0; 8], None), 7000, false)),
            ("[::1]:7000 udp", reading(Host::V6([0, 0, 0, 0, 0, 0, 0, 1], None), 7000, true)),
            ("[fe80::1%eth0]:7000", reading(Host::V6([0xFE80, 0, 0, 0, 0, 0, 0, 1], zone("eth0")), 7000, false)),
            (":00080", reading(Host::Any, 80, false)),
            ("\t : ", Err((Fault::BadPort, 3))),
            ("\t :80  udp\t", reading(Host::Any, 80, true)),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    #[test]
    fn it_rejects_what_the_table_rejects() {
        for (text, fault, at) in [
            ("", Fault::Empty, 0),
            (&" ".repeat(301), Fault::TooLong, 300),
            ("127.0.0.1", Fault::NoPort, 9),
            ("[::1]7000", Fault::NoPort, 5),
            ("host:", Fault::BadPort, 5),
            ("host:+80", Fault::BadPort, 5),
            ("host:80x", Fault::BadPort, 5),
            (":5025udp", Fault::BadPort, 1),
            ("host:65536", Fault::PortRange, 5),
            ("host:70000", Fault::PortRange, 5),
            ("host:123456", Fault::PortRange, 5),
            ("::1:7000", Fault::Unbracketed, 0),
            ("[::1:7000", Fault::NoBracket, 0),
            ("256.1.1.1:80", Fault::BadHost, 0),
            ("1.2.3:80", Fault::BadHost, 0),
            ("-a:80", Fault::BadHost, 0),
            ("*:80", Fault::BadHost, 0),
            ("[1.2.3.4]:1", Fault::BadHost, 0),
            (":80 sctp", Fault::UnknownProtocol, 4),
            (":80 SO_REUSEPORT", Fault::UnknownProtocol, 4),
            (":80 tcp udp", Fault::Trailing, 8),
            ("müller:80", Fault::NotAscii, 1),
        ] {
            assert_eq!(read(text), Err((fault, at)), "{text:?}");
        }
    }
}
