//! Sets of IP addresses in the usual notation: one address, or a range as ADDRESS/PREFIX (RFC 4632, RFC 4291 2.3).
//!
//! An IPv4 address that arrives on an IPv6 socket as `::ffff:a.b.c.d` is the IPv4 address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// One address, or all that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    /// With the bits behind the prefix zero.
    base: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// What stands before the slash, or alone, is no IP address.
    Address,
    /// The prefix is no number, or longer than the address: 0..=32 for IPv4, 0..=128 for IPv6.
    Prefix,
    /// Bits behind the prefix are set, so that it is not clear which range is meant.
    HostBits,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Address => "not an IP address",
            Self::Prefix => "prefix is not 0..=32 (IPv4) or 0..=128 (IPv6)",
            Self::HostBits => "bits behind the prefix are set",
        })
    }
}

impl core::error::Error for Error {}

impl Network {
    /// The range of all addresses that share the first `prefix` bits of `base`.
    ///
    /// # Errors
    /// When `prefix` is longer than the address, or `base` has bits behind it.
    pub fn new(base: IpAddr, prefix: u8) -> Result<Self, Error> {
        if prefix > width(base) {
            return Err(Error::Prefix);
        }
        if masked(base, prefix) != base {
            return Err(Error::HostBits);
        }
        Ok(Self { base, prefix })
    }

    /// Whether `address` lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = match self.base {
            IpAddr::V4(_) => address.to_canonical(),
            IpAddr::V6(_) => address,
        };
        width(address) == width(self.base) && masked(address, self.prefix) == self.base
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self { base: address, prefix: width(address) }
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| Error::Address)?;
        match prefix {
            None => Ok(address.into()),
            // `parse` would take a sign.
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::new(address, digits.parse().map_err(|_| Error::Prefix)?)
            }
            Some(_) => Err(Error::Prefix),
        }
    }
}

impl core::fmt::Display for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.prefix == width(self.base) {
            return self.base.fmt(f);
        }
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Network {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with all bits behind the prefix zero.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let behind = u32::from(width(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(address) => {
            Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_range_holds_what_shares_its_prefix_and_nothing_else() {
        assert!(contains("10.1.0.0/16", "10.1.255.255"));
        assert!(!contains("10.1.0.0/16", "10.2.0.0"));
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "::1"));
        assert!(contains("fd00:1::/32", "fd00:1:2::3"));
        assert!(!contains("fd00:1::/32", "fd00:2::"));
        assert!(contains("127.0.0.1", "127.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2"));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_its_cause() {
        for (text, error) in [
            ("", Error::Address),
            ("10.0.0", Error::Address),
            ("10.0.0.0/", Error::Prefix),
            ("10.0.0.0/33", Error::Prefix),
            ("10.0.0.0/+8", Error::Prefix),
            ("::/129", Error::Prefix),
            ("::/999", Error::Prefix),
            ("10.0.0.1/8", Error::HostBits),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }

    #[test]
    fn it_reads_as_it_was_written() {
        for text in ["10.1.0.0/16", "127.0.0.1", "::1", "fd00::/8", "0.0.0.0/0"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
    }
}
