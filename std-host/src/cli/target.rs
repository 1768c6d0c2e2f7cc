//! What the arguments of `wharf modbus` mean: hosts, tables, addresses, types, units.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use wharf_core::modbus::pdu::{Request, Span};
use wharf_core::modbus::typed::Type;
use wharf_host::config::scalar::parse_span;

/// The port of Modbus TCP (MG 4.2).
const PORT: u16 = 502;

/// `HOST[:PORT]`; an IPv6 address with a port stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
                let port =
                    if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or("expected [HOST]:PORT")?) };
                (name, port)
            }
            // Two colons or more without brackets are an IPv6 address and no port.
            None => match text.split_once(':') {
                Some((name, port)) if !port.contains(':') => (name, Some(port)),
                Some(_) | None => (text, None),
            },
        };
        if name.is_empty() {
            return Err("the host is empty".to_owned());
        }
        let port = match port {
            None => PORT,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{port:?} is no port, 1..=65535"))?
            }
        };
        Ok(Self { name: name.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port } = self;
        if name.contains(':') { write!(f, "[{name}]:{port}") } else { write!(f, "{name}:{port}") }
    }
}

/// What `read` reads and `write` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Coils,
    Discrete,
    Input,
    Holding,
    File(u16),
    Fifo,
    Identity,
    ServerId,
    Status,
    Diag(u16),
    Events,
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_prefix("file:") {
            return number
                .parse()
                .ok()
                .filter(|number| *number != 0)
                .map(Self::File)
                .ok_or("files are 1..=65535".into());
        }
        if let Some(sub) = text.strip_prefix("diag:") {
            return sub.parse().map(Self::Diag).map_err(|_| "sub-functions are 0..=65535".into());
        }
        Ok(match text {
            "coils" => Self::Coils,
            "discrete" => Self::Discrete,
            "input" => Self::Input,
            "holding" => Self::Holding,
            "fifo" => Self::Fifo,
            "identity" => Self::Identity,
            "server-id" => Self::ServerId,
            "status" => Self::Status,
            "events" => Self::Events,
            _ => {
                return Err("accepted: coils, discrete, input, holding, file:N, fifo, identity, server-id, status, \
                            diag:SUB, events"
                    .to_owned());
            }
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coils => f.write_str("coils"),
            Self::Discrete => f.write_str("discrete"),
            Self::Input => f.write_str("input"),
            Self::Holding => f.write_str("holding"),
            Self::File(number) => write!(f, "file:{number}"),
            Self::Fifo => f.write_str("fifo"),
            Self::Identity => f.write_str("identity"),
            Self::ServerId => f.write_str("server-id"),
            Self::Status => f.write_str("status"),
            Self::Diag(sub) => write!(f, "diag:{sub}"),
            Self::Events => f.write_str("events"),
        }
    }
}

impl Table {
    /// Whether it is one of the four tables.
    const fn is_plain(self) -> bool {
        self.reference_digit().is_some()
    }

    pub(super) const fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::Discrete)
    }

    /// The leading digit of its reference numbers, for the four tables.
    const fn reference_digit(self) -> Option<u32> {
        match self {
            Self::Coils => Some(0),
            Self::Discrete => Some(1),
            Self::Input => Some(3),
            Self::Holding => Some(4),
            Self::File(_)
            | Self::Fifo
            | Self::Identity
            | Self::ServerId
            | Self::Status
            | Self::Diag(_)
            | Self::Events => None,
        }
    }

    /// The PDU address that `text` means: zero-based, or with `reference` a reference number of five or six digits.
    pub(super) fn address(self, text: &str, reference: bool) -> Result<u16, String> {
        let number = match text.strip_prefix("0x") {
            Some(digits) if !reference => u32::from_str_radix(digits, 16),
            Some(_) | None => text.parse(),
        };
        let number = number.map_err(|_| format!("{text:?} is no address: decimal, or zero-based with 0x"))?;
        let Some(digit) = self.reference_digit().filter(|_| reference) else {
            return u16::try_from(number).map_err(|_| format!("{text} is no address: 0..=65535"));
        };
        let (short, long) = (digit * 10_000, digit * 100_000);
        // Coils have no leading digit to tell the two forms apart, and need none.
        let offset = match digit {
            0 => number.checked_sub(1),
            _ if (short + 1..=short + 9999).contains(&number) => Some(number - short - 1),
            _ => number.checked_sub(long + 1),
        };
        offset.and_then(|offset| u16::try_from(offset).ok()).ok_or_else(|| {
            let short = if digit == 0 { String::new() } else { format!("{}..={} or ", short + 1, short + 9999) };
            format!("{text} is no reference number of {self}: {short}{}..={}", long + 1, long + 65_536)
        })
    }

    /// How `address` is shown: as it would be typed.
    pub(super) fn label(self, address: u32, reference: bool) -> String {
        match self.reference_digit().filter(|_| reference) {
            Some(digit) if address < 9999 => format!("{:05}", digit * 10_000 + address + 1),
            Some(digit) => format!("{:06}", digit * 100_000 + address + 1),
            None => address.to_string(),
        }
    }
}

/// `TABLE:ADDRESS`, one entry to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    table: Table,
    address: u16,
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').map(|(table, address)| (table.parse::<Table>(), address));
        let Some((Ok(table), address)) = parts.filter(|(table, _)| matches!(table, Ok(table) if table.is_plain()))
        else {
            return Err("expected coils, discrete, input or holding and an address, such as holding:0".to_owned());
        };
        Ok(Self { table, address: table.address(address, false)? })
    }
}

impl Probe {
    /// The request that reads it.
    pub(super) const fn request(self) -> Request<'static> {
        let span = Span { start: self.address, quantity: 1 };
        match self.table {
            Table::Coils => Request::ReadCoils(span),
            Table::Discrete => Request::ReadDiscreteInputs(span),
            Table::Input => Request::ReadInputRegisters(span),
            // Only the four tables can be parsed.
            Table::Holding
            | Table::File(_)
            | Table::Fifo
            | Table::Identity
            | Table::ServerId
            | Table::Status
            | Table::Diag(_)
            | Table::Events => Request::ReadHoldingRegisters(span),
        }
    }
}

/// The type of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One bit.
    Bool,
    /// A number over one or more registers.
    Number(Type),
    /// A text of this many registers.
    Text(u16),
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "bool" {
            return Ok(Self::Bool);
        }
        if let Some(number) = Type::ALL.into_iter().find(|number| number.name() == text) {
            return Ok(Self::Number(number));
        }
        let registers = text.strip_prefix("string(").and_then(|rest| rest.strip_suffix(')'));
        if let Some(registers) = registers {
            let fits = registers.parse().ok().filter(|registers| (1..=125).contains(registers));
            return fits.map(Self::Text).ok_or_else(|| "a string has 1..=125 registers".to_owned());
        }
        Err("accepted: u16, i16, u32, i32, f32, u64, i64, f64, string(N), bool".to_owned())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Number(number) => f.write_str(number.name()),
            Self::Text(registers) => write!(f, "string({registers})"),
        }
    }
}

/// A span; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Option<Duration>);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = parse_span(text).ok_or("expected a number with a unit (us, ms, s, m, h) such as 500ms, or 0")?;
        Ok(Self((!span.is_zero()).then_some(span)))
    }
}

/// The span between two polls, at least a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Every(pub(super) Duration);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = parse_span(text).filter(|span| *span >= Duration::from_millis(1));
        span.map(Self)
            .ok_or_else(|| "expected a number with a unit (ms, s, m, h) such as 500ms, at least 1ms".to_owned())
    }
}

/// Unit ids such as `1,3-5`, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Units(pub(super) Vec<u8>);

impl FromStr for Units {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |text: &str| text.parse::<u8>().map_err(|_| format!("{text:?} is no unit id, 0..=255"));
        let mut ids = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (id(first)?, id(last)?);
            if first > last {
                return Err(format!("{part:?} goes backwards"));
            }
            ids.extend(first..=last);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Self(ids))
    }
}

/// `AND,OR`, the two masks of function 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) and: u16,
    pub(super) or: u16,
}

impl FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = |text: &str| {
            text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u16::from_str_radix(digits, 16).ok())
        };
        let masks = text.split_once(',').and_then(|(and, or)| Some(Self { and: word(and)?, or: word(or)? }));
        masks.ok_or_else(|| "expected two words such as 0xF2,0x25".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_502_unless_it_is_given() {
        let host = |text: &str| text.parse::<Host>().map(|host| (host.name, host.port));
        let is = |name: &str, port| Ok((name.to_owned(), port));
        assert_eq!(host("plc"), is("plc", 502));
        assert_eq!(host("plc:5020"), is("plc", 5020));
        assert_eq!(host("::1"), is("::1", 502));
        assert_eq!(host("[::1]"), is("::1", 502));
        assert_eq!(host("[::1]:5020"), is("::1", 5020));
        assert_eq!("[::1]:5020".parse::<Host>().unwrap().to_string(), "[::1]:5020");
        for wrong in ["", ":5", "plc:", "plc:0", "plc:65536", "[::1", "[::1]5"] {
            assert!(host(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn reference_numbers_count_from_one_behind_the_digit_of_the_table() {
        let address = |table: Table, text| table.address(text, true).ok();
        assert_eq!(address(Table::Holding, "40001"), Some(0));
        assert_eq!(address(Table::Holding, "49999"), Some(9998));
        assert_eq!(address(Table::Holding, "400001"), Some(0));
        assert_eq!(address(Table::Holding, "465536"), Some(65_535));
        assert_eq!(address(Table::Input, "30011"), Some(10));
        assert_eq!(address(Table::Discrete, "10001"), Some(0));
        assert_eq!(address(Table::Coils, "00001"), Some(0));
        assert_eq!(address(Table::Coils, "65536"), Some(65_535));
        for (table, wrong) in [(Table::Holding, "30001"), (Table::Holding, "40000"), (Table::Holding, "465537")] {
            assert_eq!(address(table, wrong), None, "{wrong}");
        }
        assert_eq!(address(Table::Coils, "0"), None);
        assert_eq!(
            Table::Holding.address("7", true).unwrap_err(),
            "7 is no reference number of holding: 40001..=49999 or 400001..=465536"
        );
        assert_eq!(Table::Holding.label(0, true), "40001");
        assert_eq!(Table::Holding.label(65_535, true), "465536");
    }

    #[test]
    fn zero_based_addresses_are_decimal_or_hexadecimal() {
        assert_eq!(Table::Holding.address("40001", false), Ok(40_001));
        assert_eq!(Table::Holding.address("0xFFFF", false), Ok(65_535));
        for wrong in ["65536", "-1", "x", "", "0x10000"] {
            assert!(Table::Holding.address(wrong, false).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn unit_lists_are_sorted_and_free_of_duplicates() {
        assert_eq!("3-5,1,4".parse(), Ok(Units(vec![1, 3, 4, 5])));
        assert_eq!("0-255".parse::<Units>().unwrap().0.len(), 256);
        for wrong in ["", "1,", "5-3", "256", "a"] {
            assert!(wrong.parse::<Units>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn types_and_tables_are_printed_as_they_are_typed() {
        for text in ["u16", "f64", "string(125)", "bool"] {
            assert_eq!(text.parse::<Kind>().unwrap().to_string(), text);
        }
        for text in ["coils", "file:65535", "fifo", "server-id", "diag:11", "events"] {
            assert_eq!(text.parse::<Table>().unwrap().to_string(), text);
        }
        for wrong in ["u8", "string(0)", "string(126)", "string()"] {
            assert!(wrong.parse::<Kind>().is_err(), "{wrong:?}");
        }
        for wrong in ["coil", "file:0", "file:", "diag:-1"] {
            assert!(wrong.parse::<Table>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_probe_is_one_entry_of_a_table() {
        let probe = |text: &str| text.parse().map(Probe::request);
        assert_eq!(probe("coils:0x10"), Ok(Request::ReadCoils(Span { start: 16, quantity: 1 })));
        assert_eq!(probe("holding:65535"), Ok(Request::ReadHoldingRegisters(Span { start: 65_535, quantity: 1 })));
        for wrong in ["", "holding", "holding:", "holding:65536", "file:1", "file:1:0", "fifo:0", "coil:1"] {
            assert!(probe(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn masks_are_two_words() {
        assert_eq!("0xF2,37".parse(), Ok(Mask { and: 0xF2, or: 37 }));
        for wrong in ["1", "1,2,3", "0x10000,0", ","] {
            assert!(wrong.parse::<Mask>().is_err(), "{wrong:?}");
        }
    }
}
