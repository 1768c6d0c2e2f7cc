//! What to tell a user whose plant cannot be run.

use super::Status;
use crate::event_loop::Error;
use crate::services::port::OpenFailure;
use std::io::ErrorKind;
use wharf_core::port::datagrams;

const PRIVILEGES: &str = "\n  ports below 1024 need privileges: choose a higher one, or grant CAP_NET_BIND_SERVICE";
const NAME: &str =
    "\n  check how the name is written (`getent hosts NAME` asks the same), or listen on an address of this machine";

/// What the system refused, its likely cause and the next step.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
pub(super) fn explained(error: Error) -> (Status, String) {
    let advice = if let Error::Io { op: "listen on", source, .. } = &error {
        advice(source.kind())
    } else if let Error::Io { op: "append to", .. } = &error {
        "\n  make the folder, or name a file that this user may write to"
    } else {
        ""
    };
    (Status::Unreachable, format!("{error}{advice}"))
}

/// What to do about a device port that cannot be opened.
pub(super) fn advice_on(failure: OpenFailure) -> &'static str {
    [
        (OpenFailure::InUse, advice(ErrorKind::AddrInUse)),
        (OpenFailure::Denied, advice(ErrorKind::PermissionDenied)),
        (OpenFailure::NotAvailable, advice(ErrorKind::AddrNotAvailable)),
        (OpenFailure::Unresolved, NAME),
    ]
    .into_iter()
    .find(|(known, _)| *known == failure)
    .map_or("", |(_, advice)| advice)
}

/// The same for one of UDP.
pub(super) const fn advice_on_udp(failure: datagrams::OpenFailure) -> &'static str {
    match failure {
        datagrams::OpenFailure::AddressInUse => {
            "\n  another program has this address (`ss -lunp` names it): stop it, or listen elsewhere"
        }
        datagrams::OpenFailure::Denied => PRIVILEGES,
        datagrams::OpenFailure::NoAddress => NAME,
        datagrams::OpenFailure::Exhausted | datagrams::OpenFailure::Other => "",
    }
}

/// What to do about an address that cannot be had.
fn advice(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::AddrInUse {
        "\n  another program has this address, perhaps another wharf (`ss -ltnp` names it): stop it, or listen elsewhere"
    } else if kind == ErrorKind::PermissionDenied {
        PRIVILEGES
    } else if kind == ErrorKind::AddrNotAvailable {
        "\n  no interface of this machine has this address (`ip address` lists them)"
    } else {
        ""
    }
}
