//! Every row of the specification's table, the bounds of every part, which error comes first, and what is printed.

use super::*;
use crate::testing::SplitMix64;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, println};

const fn tcp(host: Host<'_>, port: u16) -> Result<Address<'_>, Error> {
    Ok(Address { host, port, protocol: Protocol::Tcp })
}

const fn udp(host: Host<'_>, port: u16) -> Result<Address<'_>, Error> {
    Ok(Address { host, port, protocol: Protocol::Udp })
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Host<'static> {
    Host::V4(Ipv4Addr::new(a, b, c, d))
}

fn v6<'a>(address: &str, zone: Option<&'a str>) -> Host<'a> {
    Host::V6 { address: address.parse().unwrap(), zone }
}

fn holds(rows: &[(&str, Result<Address<'_>, Error>)]) {
    for (text, expected) in rows {
        assert_eq!(parse(text), *expected, "{text:?}");
    }
}

/// Names with labels of 63 bytes, cut to `len` bytes, which must not end in a dot.
fn name(len: usize) -> String {
    let mut name = ["a".repeat(63).as_str(); 5].join(".");
    name.truncate(len);
    name
}

#[test]
fn what_the_table_accepts_means_what_it_says() {
    holds(&[
        (":5025", tcp(Host::Any, 5025)),
        ("0.0.0.0:5025 TCP", tcp(Host::Any, 5025)),
        ("localhost:5001", tcp(Host::Localhost, 5001)),
        ("LOCALHOST:5001", tcp(Host::Localhost, 5001)),
        ("127.0.0.1:0", tcp(v4(127, 0, 0, 1), 0)),
        ("ioc-7.lab.example:4000 Udp", udp(Host::Name("ioc-7.lab.example"), 4000)),
        ("[::]:7000", tcp(v6("::", None), 7000)),
        ("[::1]:7000 udp", udp(v6("::1", None), 7000)),
        ("[fe80::1%eth0]:7000", tcp(v6("fe80::1", Some("eth0")), 7000)),
        (":00080", tcp(Host::Any, 80)),
        ("  \t localhost:80 \t  uDP\t ", udp(Host::Localhost, 80)),
    ]);
}

#[test]
fn what_the_table_rejects_is_refused_with_its_cause_and_place() {
    let long = format!("{:301}", ":80");
    holds(&[
        ("", Err(Error::Empty { offset: 0 })),
        (" \t ", Err(Error::Empty { offset: 3 })),
        (&long, Err(Error::TooLong { offset: 300 })),
        ("127.0.0.1", Err(Error::NoPort { offset: 9 })),
        ("[::1]7000", Err(Error::NoPort { offset: 5 })),
        ("host:", Err(Error::BadPort { offset: 5 })),
        ("host:+80", Err(Error::BadPort { offset: 5 })),
        ("host:80x", Err(Error::BadPort { offset: 5 })),
        (":5025udp", Err(Error::BadPort { offset: 1 })),
        ("host:65536", Err(Error::PortRange { offset: 5 })),
        ("host:70000", Err(Error::PortRange { offset: 5 })),
        ("host:123456", Err(Error::PortRange { offset: 5 })),
        ("::1:7000", Err(Error::Unbracketed { offset: 0 })),
        ("[::1:7000", Err(Error::NoBracket { offset: 0 })),
        ("256.1.1.1:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3:80", Err(Error::BadHost { offset: 0 })),
        ("-a:80", Err(Error::BadHost { offset: 0 })),
        ("*:80", Err(Error::BadHost { offset: 0 })),
        ("[1.2.3.4]:1", Err(Error::BadHost { offset: 0 })),
        (":80 sctp", Err(Error::UnknownProtocol { offset: 4 })),
        (":80 SO_REUSEPORT", Err(Error::UnknownProtocol { offset: 4 })),
        (":80 tcp udp", Err(Error::Trailing { offset: 8 })),
        ("müller:80", Err(Error::NotAscii { offset: 1 })),
    ]);
}

#[test]
fn a_text_has_300_bytes_at_most_blanks_included() {
    assert_eq!(parse(&format!("{:>300}", ":80")), tcp(Host::Any, 80));
    assert_eq!(parse(&format!("{:>301}", ":80")), Err(Error::TooLong { offset: 300 }));
    assert_eq!(parse(&" ".repeat(300)), Err(Error::Empty { offset: 300 }));
    assert_eq!(parse(&" ".repeat(301)), Err(Error::TooLong { offset: 300 }));
}

#[test]
fn of_a_foreign_byte_and_a_byte_too_many_the_first_counts() {
    assert_eq!(parse(&format!("{:>299}é", "")), Err(Error::NotAscii { offset: 299 }));
    assert_eq!(parse(&format!("{:>300}é", "")), Err(Error::TooLong { offset: 300 }));
    assert_eq!(parse(&"é".repeat(151)), Err(Error::NotAscii { offset: 0 }));
    assert_eq!(parse("*:x ü"), Err(Error::NotAscii { offset: 4 }));
}

#[test]
fn a_port_is_one_to_five_digits_up_to_65535() {
    holds(&[
        (":0", tcp(Host::Any, 0)),
        (":9", tcp(Host::Any, 9)),
        (":65535", tcp(Host::Any, 65535)),
        (":65536", Err(Error::PortRange { offset: 1 })),
        (":99999", Err(Error::PortRange { offset: 1 })),
        (":4294967376", Err(Error::PortRange { offset: 1 })),
        (":18446744073709551696", Err(Error::PortRange { offset: 1 })),
        (":00000", tcp(Host::Any, 0)),
        (":000080", Err(Error::BadPort { offset: 1 })),
        (":0065536", Err(Error::PortRange { offset: 1 })),
        (":-1", Err(Error::BadPort { offset: 1 })),
        (":0x50", Err(Error::BadPort { offset: 1 })),
        (":http", Err(Error::BadPort { offset: 1 })),
        (":8/", Err(Error::BadPort { offset: 1 })),
        ("a: 80", Err(Error::BadPort { offset: 2 })),
    ]);
    assert_eq!(parse(&format!(":{}", "9".repeat(299))), Err(Error::PortRange { offset: 1 }));
}

#[test]
fn a_label_has_1_to_63_bytes_and_no_hyphen_at_either_end() {
    for (label, good) in [
        ("a".repeat(63), true),
        ("a".repeat(64), false),
        (format!("b.{}.c", "a".repeat(63)), true),
        (format!("b.{}.c", "a".repeat(64)), false),
        ("a-b".into(), true),
        ("a--b".into(), true),
        ("_a_".into(), true),
        ("a-".into(), false),
        ("a.-b".into(), false),
        ("a-.b".into(), false),
        ("-".into(), false),
        ("a..b".into(), false),
        (".a".into(), false),
        (".".into(), false),
    ] {
        let text = format!("{label}:80");
        let expected = if good { tcp(Host::Name(&label), 80) } else { Err(Error::BadHost { offset: 0 }) };
        assert_eq!(parse(&text), expected, "{text}");
    }
}

#[test]
fn a_name_has_253_bytes_at_most_its_final_dot_included() {
    let (longest, dotted) = (name(253), name(252) + ".");
    for name in [&longest, &dotted] {
        assert_eq!(parse(&format!("{name}:80")), tcp(Host::Name(name), 80), "{name}");
    }
    for name in [name(254), name(253) + "."] {
        assert_eq!(parse(&format!("{name}:80")), Err(Error::BadHost { offset: 0 }), "{name}");
    }
}

#[test]
fn a_final_dot_is_part_of_a_name_and_of_nothing_else() {
    holds(&[
        ("ioc.example.:80", tcp(Host::Name("ioc.example."), 80)),
        ("localhost.:80", tcp(Host::Name("localhost."), 80)),
        ("a..:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3.4.:80", Err(Error::BadHost { offset: 0 })),
        ("0.0.0.0.:80", Err(Error::BadHost { offset: 0 })),
    ]);
}

#[test]
fn a_last_label_of_digits_alone_makes_no_name() {
    holds(&[
        ("5025:80", Err(Error::BadHost { offset: 0 })),
        ("a.1:80", Err(Error::BadHost { offset: 0 })),
        ("a.1.:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3.4.5:80", Err(Error::BadHost { offset: 0 })),
        ("1.a:80", tcp(Host::Name("1.a"), 80)),
        ("1a:80", tcp(Host::Name("1a"), 80)),
        ("1.2.3.4_:80", tcp(Host::Name("1.2.3.4_"), 80)),
    ]);
}

#[test]
fn an_ipv4_address_is_four_decimal_numbers_without_leading_zeros() {
    holds(&[
        ("255.255.255.255:80", tcp(v4(255, 255, 255, 255), 80)),
        ("0.0.0.1:80", tcp(v4(0, 0, 0, 1), 80)),
        ("01.2.3.4:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3.04:80", Err(Error::BadHost { offset: 0 })),
        ("00.0.0.0:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3.256:80", Err(Error::BadHost { offset: 0 })),
        ("1..3.4:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3.+4:80", Err(Error::BadHost { offset: 0 })),
    ]);
}

#[test]
fn an_ipv6_address_is_what_it_is_in_any_spelling() {
    holds(&[
        ("[2001:DB8::aB]:80", tcp(v6("2001:db8::ab", None), 80)),
        ("[0:0:0:0:0:0:0:0]:80", tcp(v6("::", None), 80)),
        ("[0001::0001]:80", tcp(v6("1::1", None), 80)),
        ("[::ffff:10.0.0.7]:80", tcp(v6("::ffff:10.0.0.7", None), 80)),
        ("[::FFFF:a00:7%1]:80", tcp(v6("::ffff:10.0.0.7", Some("1")), 80)),
        ("[1:2:3:4:5:6:7:8]:80", tcp(v6("1:2:3:4:5:6:7:8", None), 80)),
        ("[]:80", Err(Error::BadHost { offset: 0 })),
        ("[:]:80", Err(Error::BadHost { offset: 0 })),
        ("[1:2:3:4:5:6:7]:80", Err(Error::BadHost { offset: 0 })),
        ("[1:2:3:4:5:6:7:8:9]:80", Err(Error::BadHost { offset: 0 })),
        ("[1::2::3]:80", Err(Error::BadHost { offset: 0 })),
        ("[00001::]:80", Err(Error::BadHost { offset: 0 })),
        ("[::g]:80", Err(Error::BadHost { offset: 0 })),
        ("[::1.2.3.04]:80", Err(Error::BadHost { offset: 0 })),
        ("[localhost]:80", Err(Error::BadHost { offset: 0 })),
        ("[[::1]:80", Err(Error::BadHost { offset: 0 })),
        ("\t[::1\0]:80", Err(Error::BadHost { offset: 1 })),
    ]);
}

#[test]
fn an_ipv6_address_is_spelled_as_the_standard_library_reads_it() {
    let pieces = ["::", ":", ":", ":", "0", "1", "aF", "fffF", "00000", "1.2.3.4", ".", "g"];
    let (mut good, mut bad) = (0, 0);
    for seed in 0..20_000 {
        let mut random = SplitMix64::new(seed);
        let text = match random.below(2) {
            0 => (0..random.below(18)).map(|_| random.pick(&pieces)).collect::<String>(),
            _ => {
                let groups = (0..5 + random.below(5)).map(|_| random.pick(&pieces[4..8]));
                let mut groups: Vec<_> = groups.collect();
                let at = random.index(groups.len());
                groups[at] = random.pick(&["", "", "7"]);
                let ends = [("", ""), ("", ""), (":", ""), ("", ":"), ("", ":1.2.3.4"), ("", ":0"), ("1.2.3.4:", "")];
                let (before, behind) = random.pick(&ends);
                format!("{before}{}{behind}", groups.join(":"))
            }
        };
        let expected = text.parse::<Ipv6Addr>().ok();
        assert_eq!(ipv6(Part { text: &text, offset: 0 }), expected, "seed {seed}: {text:?}");
        if expected.is_some() { good += 1 } else { bad += 1 }
    }
    assert!(good > 1000 && bad > 1000, "{good} of {} are addresses", good + bad);
}

#[test]
fn a_zone_is_1_to_15_letters_digits_dots_hyphens_and_underscores() {
    let at_7 = Err(Error::BadHost { offset: 7 });
    holds(&[
        ("[fe80::%a.B_-9]:80", tcp(v6("fe80::", Some("a.B_-9")), 80)),
        ("[fe80::%123456789012345]:80", tcp(v6("fe80::", Some("123456789012345")), 80)),
        ("[fe80::%1234567890123456]:80", Err(Error::BadHost { offset: 8 })),
        ("[fe80:%a]:80", Err(Error::BadHost { offset: 0 })),
        ("[fe8::%]:80", at_7),
        ("[fe8::%%]:80", at_7),
        ("[fe8::%a%b]:80", at_7),
        ("[fe8::%a/b]:80", at_7),
        ("[fe8::%a:b]:80", at_7),
        ("[%eth0]:80", Err(Error::BadHost { offset: 0 })),
        ("1.2.3.4%eth0:80", Err(Error::BadHost { offset: 0 })),
    ]);
}

#[test]
fn ipv6_without_brackets_is_told_from_a_wrong_port() {
    let unbracketed = Err(Error::Unbracketed { offset: 0 });
    holds(&[
        ("::1", unbracketed),
        ("::", unbracketed),
        (":::80", unbracketed),
        ("::1:", unbracketed),
        ("::1:80x", unbracketed),
        ("::1:123456", unbracketed),
        ("::ffff:1.2.3.4:80", unbracketed),
        ("1:2:3:4:5:6:7:8:80", unbracketed),
        ("fe80::1%eth0:7000", unbracketed),
        ("fe80::1%", unbracketed),
        (" \tFE80::1", Err(Error::Unbracketed { offset: 2 })),
        ("a:b:80", Err(Error::BadPort { offset: 2 })),
        ("host:80:90", Err(Error::BadPort { offset: 5 })),
        ("::1]:80", Err(Error::BadPort { offset: 1 })),
        ("::g:80", Err(Error::BadPort { offset: 1 })),
        (":", Err(Error::BadPort { offset: 1 })),
        ("a[::1]:80", Err(Error::BadHost { offset: 0 })),
    ]);
}

#[test]
fn the_colon_before_the_port_stands_right_behind_the_host() {
    holds(&[
        ("5025", Err(Error::NoPort { offset: 4 })),
        ("localhost 5001", Err(Error::NoPort { offset: 9 })),
        ("localhost :5001", Err(Error::NoPort { offset: 9 })),
        ("[::1]", Err(Error::NoPort { offset: 5 })),
        ("[::1] :80", Err(Error::NoPort { offset: 5 })),
        ("[::1]]:80", Err(Error::NoPort { offset: 5 })),
        ("[", Err(Error::NoBracket { offset: 0 })),
        ("  [::1 ]:80", Err(Error::NoBracket { offset: 2 })),
    ]);
}

#[test]
fn only_spaces_and_tabs_are_blanks() {
    holds(&[
        (":80\n", Err(Error::BadPort { offset: 1 })),
        (":80\0", Err(Error::BadPort { offset: 1 })),
        (":80\rtcp", Err(Error::BadPort { offset: 1 })),
        (":80 tcp\n", Err(Error::UnknownProtocol { offset: 4 })),
        (":80 tcp \x0B", Err(Error::Trailing { offset: 8 })),
        ("\n", Err(Error::NoPort { offset: 1 })),
        ("a\0b:80", Err(Error::BadHost { offset: 0 })),
        ("\x7F:80", Err(Error::BadHost { offset: 0 })),
        ("\x0C:80", Err(Error::BadHost { offset: 0 })),
        (":80\ttcp", tcp(Host::Any, 80)),
    ]);
}

#[test]
fn the_shape_is_judged_before_the_parts_and_these_from_left_to_right() {
    holds(&[
        ("-a", Err(Error::NoPort { offset: 2 })),
        ("[x]80", Err(Error::NoPort { offset: 3 })),
        ("*:x sctp more", Err(Error::BadHost { offset: 0 })),
        ("a:x sctp more", Err(Error::BadPort { offset: 2 })),
        ("a:99999 sctp more", Err(Error::PortRange { offset: 2 })),
        ("a:1 sctp more", Err(Error::UnknownProtocol { offset: 4 })),
        ("a:1 tcp more and more", Err(Error::Trailing { offset: 8 })),
        ("a:1 tcpudp", Err(Error::UnknownProtocol { offset: 4 })),
    ]);
}

#[test]
fn an_address_prints_in_full_and_in_lower_case() {
    for (text, printed) in [
        (":00080", "0.0.0.0:80 tcp"),
        ("\tLocalHost:1  UDP", "localhost:1 udp"),
        ("127.0.0.1:0", "127.0.0.1:0 tcp"),
        ("Ioc.Example.:65535", "Ioc.Example.:65535 tcp"),
        ("[0:0::0]:7000", "[::]:7000 tcp"),
        ("[FE80::0001%Eth0]:7000 udp", "[fe80::1%Eth0]:7000 udp"),
        ("[::ffff:a00:7]:7000", "[::ffff:10.0.0.7]:7000 tcp"),
    ] {
        assert_eq!(parse(text).unwrap().to_string(), printed, "{text:?}");
    }
}

#[test]
fn what_is_printed_parses_to_the_same_value() {
    let labels = ["a", "localhost", "0", "x-7", "_", &"m".repeat(63), &"9".repeat(63)];
    for seed in 0..2000 {
        println!("seed {seed}");
        let mut random = SplitMix64::new(seed);
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        // As many zeros as there may be, since that is where IPv6 addresses have many spellings.
        let bits = bits & u128::MAX.checked_shl(u32::try_from(random.below(129)).unwrap()).unwrap_or(0);
        let bits = bits >> random.below(128);
        let zone = random.pick(&[None, Some("eth0"), Some("A.b_c-d12345678")]);
        let parts: Vec<_> = (0..=random.below(3)).map(|_| random.pick(&labels)).collect();
        let name = parts.join(".") + random.pick(&["", ".", "e", "e."]);
        let digits = random.below(65_536).to_string();
        let host = match random.below(4) {
            0 => Ipv4Addr::from_bits(bits as u32).to_string(),
            1 => zone.map_or_else(
                || format!("[{}]", Ipv6Addr::from_bits(bits)),
                |zone| format!("[{}%{zone}]", Ipv6Addr::from_bits(bits)),
            ),
            2 => random.pick(&["", "LocalHost"]).to_string(),
            _ => name,
        };
        let text = format!(" {host}:{digits}\t{}", random.pick(&["", "UDP", "tCp "]));
        match parse(&text) {
            Ok(address) => {
                let printed = address.to_string();
                assert_eq!(parse(&printed), Ok(address), "{text:?} prints as {printed:?}");
                assert!(printed.len() <= MAX_TEXT);
                assert!(address.port.to_string() == digits, "{text:?}");
            }
            // A name whose last label is digits, or longer than it may be.
            Err(error) => assert_eq!(error, Error::BadHost { offset: 1 }, "{text:?}"),
        }
    }
}

#[test]
fn an_error_says_what_and_where() {
    for (text, said) in [
        (" ", "no address, at byte 1"),
        (&"a".repeat(301), "text is too long, at byte 300"),
        ("ä", "not ascii, at byte 0"),
        ("host", "no colon and port behind the host, at byte 4"),
        ("host:", "port is not 1 to 5 digits, at byte 5"),
        (":65536", "port is above 65535, at byte 1"),
        ("::1", "ipv6 address without brackets, at byte 0"),
        ("[::1:80", "bracket is not closed, at byte 0"),
        ("*:80", "malformed host, at byte 0"),
        (":80 sctp", "protocol is neither tcp nor udp, at byte 4"),
        (":80 tcp 1", "more words than host:port and protocol, at byte 8"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), said, "{text:?}");
    }
}

#[test]
fn ports_above_65535_and_glued_protocols_are_refused() {
    for text in [":65536", "host:70000", ":131072 tcp", "[::1]:99999 udp"] {
        assert!(matches!(parse(text), Err(Error::PortRange { .. })), "{text}");
    }
    for text in [":5025udp", "host:5025TCP", "127.0.0.1:5025,udp"] {
        assert!(matches!(parse(text), Err(Error::BadPort { .. })), "{text}");
    }
}
