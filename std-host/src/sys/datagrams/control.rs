//! Control messages: what the system says of a datagram beside its payload.
//!
//! | message | says | IPv4 | IPv6 |
//! | --- | --- | --- | --- |
//! | packet information | local address and interface | `IP_PKTINFO` | `IPV6_PKTINFO` (RFC 3542, section 6) |
//! | traffic class | ECN | `IP_TOS` | `IPV6_TCLASS` (RFC 3542, section 6.5) |
//! | drop counter | datagrams dropped for want of room | `SO_RXQ_OVFL`, Linux alone | the same |

use super::{empty_header, set_option};
use crate::event_loop::net::Ecn;
use std::ffi::c_void;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

/// Asks the system for all it can say of the datagrams of a socket. What it cannot stays unknown.
pub(crate) fn announce(fd: BorrowedFd<'_>, family_v6: bool) {
    for (level, name) in wanted(family_v6) {
        let on: libc::c_int = 1;
        if let Err(error) = set_option(fd, level, name, &on) {
            note_refusal(level, name, &error);
        }
    }
}

pub(super) fn note_refusal(level: libc::c_int, name: libc::c_int, error: &io::Error) {
    tracing::debug!(level, name, %error, "the system will not tell all of a datagram");
}

/// The options to be set, by level and name.
fn wanted(family_v6: bool) -> impl Iterator<Item = (libc::c_int, libc::c_int)> {
    // A socket of IPv6 that takes IPv4 packets too is told of their class by the option of IPv4.
    let v4: &[_] = &[(libc::IPPROTO_IP, libc::IP_RECVTOS)];
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "netbsd"))]
    let v4_alone: &[_] = &[(libc::IPPROTO_IP, libc::IP_PKTINFO)];
    #[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "netbsd")))]
    let v4_alone: &[(libc::c_int, libc::c_int)] = &[];
    let v6: &[_] = &[(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)];
    #[cfg(target_os = "linux")]
    let any: &[_] = &[(libc::SOL_SOCKET, libc::SO_RXQ_OVFL)];
    #[cfg(not(target_os = "linux"))]
    let any: &[(libc::c_int, libc::c_int)] = &[];
    let of_family = if family_v6 { v6 } else { v4_alone };
    v4.iter().chain(of_family).chain(any).copied()
}

/// Room for the messages of one datagram, aligned as they have to be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control([u8; SPACE]);

/// More than the messages above need together.
const SPACE: usize = 192;

const _: () = assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>(), "messages lie aligned");

/// What the messages of one datagram say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) local: Option<IpAddr>,
    pub(super) interface: Option<u32>,
    pub(super) ecn: Option<Ecn>,
    pub(super) dropped: Option<u32>,
}

impl Control {
    pub(super) const EMPTY: Self = Self([0; SPACE]);

    /// Where the system may write to, in the type that a header has for the length.
    pub(super) fn as_buffer<L: TryFrom<usize>>(&mut self) -> (*mut c_void, L) {
        let len = L::try_from(SPACE).unwrap_or_else(|_| unreachable!("the room for control messages is small"));
        ((&raw mut self.0).cast(), len)
    }

    /// What the first `len` bytes say. Whatever they are, nothing outside of them is read.
    pub(super) fn read(&self, len: impl TryInto<usize>) -> Said {
        let mut said = Said::default();
        self.for_each(len, |level, kind, data| {
            said.take(level, kind, data);
        });
        said
    }

    /// Shows `f` level, kind and data of every message in the first `len` bytes, whose type differs between systems.
    pub(super) fn for_each(&self, len: impl TryInto<usize>, mut f: impl FnMut(libc::c_int, libc::c_int, &[u8])) {
        let len = len.try_into().map_or(0, |len: usize| len.min(SPACE));
        let messages = &self.0[..len];
        let end = messages.as_ptr_range().end.addr();
        let mut header = empty_header();
        header.msg_control = messages.as_ptr().cast_mut().cast();
        header.msg_controllen = len as _;
        // SAFETY: the header names `len` initialised bytes that are aligned for messages.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        while !next.is_null() {
            // SAFETY: the macros of the system give a message whose header lies within the bytes that were named.
            let message = unsafe { next.read() };
            // SAFETY: as before; data begin right behind the header and its padding.
            let data = unsafe { libc::CMSG_DATA(next) };
            // SAFETY: it only computes a length.
            let overhead = unsafe { libc::CMSG_LEN(0) } as usize;
            // A message that claims to reach beyond the end is the last, and of no use.
            let Some(room) = end.checked_sub(data.addr()) else { return };
            let Some(claimed) = (message.cmsg_len as usize).checked_sub(overhead) else { return };
            if claimed > room {
                return;
            }
            // SAFETY: `claimed` bytes from `data` on lie within the bytes that were named, as was just checked.
            f(message.cmsg_level, message.cmsg_type, unsafe { std::slice::from_raw_parts(data, claimed) });
            // SAFETY: the header still names the bytes, and `next` is a message within them.
            next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        }
    }
}

impl Said {
    fn take(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        match (level, kind) {
            #[cfg(any(target_os = "linux", target_os = "macos", target_os = "netbsd"))]
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // in_pktinfo: the interface, the address to answer from, the address in the packet.
                if let (Some(index), Some(addr)) = (word(data, 0), word(data, 8)) {
                    (self.interface, self.local) = (Some(index), Some(Ipv4Addr::from(addr.to_ne_bytes()).into()));
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // in6_pktinfo: the address, then the interface.
                if let (Some(addr), Some(index)) = (data.first_chunk::<16>(), word(data, 16)) {
                    (self.interface, self.local) = (Some(index), Some(Ipv6Addr::from(*addr).into()));
                }
            }
            // The BSDs name the message like the option.
            (libc::IPPROTO_IP, libc::IP_TOS | libc::IP_RECVTOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                self.ecn = traffic_class(data).map(Ecn::from_traffic_class);
            }
            #[cfg(target_os = "linux")]
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => self.dropped = word(data, 0),
            _ => {}
        }
    }
}

/// The four bytes at `at`, in the system's order.
pub(super) fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// One byte, or an `int`.
fn traffic_class(data: &[u8]) -> Option<u8> {
    match data {
        [class] => Some(*class),
        _ => word(data, 0).map(|class| class.to_le_bytes()[0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as the system lays them out.
    fn written(messages: &[(libc::c_int, libc::c_int, &[u8])]) -> (Control, usize) {
        let (mut control, mut at) = (Control::EMPTY, 0);
        for (level, kind, data) in messages {
            let size = u32::try_from(data.len()).unwrap();
            // SAFETY: both only compute a length.
            let (len, space) = unsafe { (libc::CMSG_LEN(size) as usize, libc::CMSG_SPACE(size) as usize) };
            let begin = len - data.len();
            control.0[at..at + size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            let (level_at, kind_at) = (
                at + std::mem::offset_of!(libc::cmsghdr, cmsg_level),
                at + std::mem::offset_of!(libc::cmsghdr, cmsg_type),
            );
            control.0[level_at..level_at + 4].copy_from_slice(&level.to_ne_bytes());
            control.0[kind_at..kind_at + 4].copy_from_slice(&kind.to_ne_bytes());
            control.0[at + begin..at + len].copy_from_slice(data);
            at += space;
        }
        (control, at)
    }

    #[test]
    fn all_messages_together_are_read_and_strange_ones_passed_over() {
        let mut v6 = [0; 20];
        v6[15] = 1;
        v6[16..].copy_from_slice(&7_u32.to_ne_bytes());
        let (control, len) = written(&[
            (libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[1; 16]),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &v6),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &2_i32.to_ne_bytes()),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &9_u32.to_ne_bytes()),
        ]);
        let said = Said {
            local: Some(Ipv6Addr::LOCALHOST.into()),
            interface: Some(7),
            ecn: Some(Ecn::Capable0),
            dropped: Some(9),
        };
        assert_eq!(control.read(len), said);
    }

    #[test]
    fn a_message_that_is_cut_says_nothing_and_ends_the_reading() {
        let messages: [(_, _, &[u8]); 2] =
            [(libc::IPPROTO_IP, libc::IP_TOS, &[3]), (libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &[1, 0, 0, 0])];
        let (control, whole) = written(&messages);
        let congested = Said { ecn: Some(Ecn::CongestionExperienced), ..Said::default() };
        // The padding behind the last message need not be there.
        assert_eq!(control.read(whole - 5), congested);
        assert_eq!(control.read(0_usize), Said::default());
        let (short, len) =
            written(&[(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1; 11]), (libc::IPPROTO_IP, libc::IP_TOS, &[])]);
        assert_eq!(short.read(len), Said::default());
    }

    #[test]
    fn no_bytes_lead_out_of_the_buffer() {
        // Every length that a hostile header could claim, at every length of the buffer.
        for claimed in (0..300).chain([usize::MAX, usize::MAX - 7, isize::MAX as usize]) {
            for len in 0..=SPACE + 8 {
                let mut control = Control([0xff; SPACE]);
                control.0[..size_of::<usize>()].copy_from_slice(&claimed.to_ne_bytes());
                let mut seen = 0;
                control.for_each(len, |_, _, data| seen += data.len());
                assert!(seen <= len);
                assert_eq!(control.read(len), Said::default());
            }
        }
    }
}
