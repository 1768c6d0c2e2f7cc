//! The table of keys.

use super::error::OptionError;
use super::form::Form;
use super::values::{Choice, Field, Value};
use super::{
    Consumer, Drop, HalfClose, Localhost, Mode, OnDisconnect, OnFull, Options, Overflow, Pick, Rest, Traced, Udp,
};
use crate::services::port::trace::{Formats, Levels, Parts};
use std::fmt;
use wharf_core::port::address::Protocol;

/// Bytes of the longest text for a client that is turned away.
const LONGEST_TEXT: usize = 256;
/// Bytes of the longest terminator.
const LONGEST_EOS: usize = 255;
/// The most bytes that a trace shows: more than any datagram has.
const TRACE_LIMIT: u32 = 64 << 10;
/// A queue: 64 B to 16 MiB.
const QUEUE: Form = Form::Size(64, 16 << 20);

/// One of the names of an enum.
const fn choice<T: Choice>() -> Form {
    Form::Choice(T::NAMES)
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// What it is called.
    pub name: &'static str,
    /// What it can be set for.
    pub scope: Scope,
    /// When it can be set.
    pub change: Change,
    /// Which ports have it.
    pub ports: Ports,
    pub(crate) form: Form,
    get: fn(&Options) -> Value,
    put: fn(&mut Options, Value) -> bool,
}

/// What a key can be set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole port.
    Port,
    /// One slot; or the port, which means every slot and the default.
    Slot,
}

/// When a key can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At any time.
    Live,
    /// Before the port is made, and while it is down.
    Down,
    /// Before the port is made.
    Fixed,
}

/// Which ports have a key. One that could never mean anything on a port is refused there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All.
    All,
    /// Those of TCP.
    Tcp,
    /// Those of UDP.
    Udp,
    /// Those of UDP with `udp = "asyn"`.
    Asyn,
    /// Those of UDP with `udp = "fifo"`.
    Fifo,
    /// All but those of UDP with `udp = "asyn"`.
    Queued,
}

impl Ports {
    /// Whether this port is one of them.
    #[must_use]
    pub fn has(self, port: &Options) -> bool {
        let kind = (port.address.protocol(), port.udp);
        match self {
            Self::All => true,
            Self::Tcp => matches!(kind, (Protocol::Tcp, _)),
            Self::Udp => matches!(kind, (Protocol::Udp, _)),
            Self::Asyn => kind == (Protocol::Udp, Udp::Asyn),
            Self::Fifo => kind == (Protocol::Udp, Udp::Fifo),
            Self::Queued => kind != (Protocol::Udp, Udp::Asyn),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "every port",
            Self::Tcp => "tcp ports",
            Self::Udp => "udp ports",
            Self::Asyn => "udp ports with udp = \"asyn\"",
            Self::Fifo => "udp ports with udp = \"fifo\"",
            Self::Queued => "tcp ports, and udp ports with udp = \"fifo\"",
        })
    }
}

impl Key {
    /// Which values it has, for messages.
    #[must_use]
    pub fn accepted(&self) -> String {
        self.form.accepted()
    }

    pub(crate) fn value(&self, options: &Options) -> Value {
        (self.get)(options)
    }

    /// False, and nothing changes, if the value is of another form.
    pub(super) fn put(&self, options: &mut Options, value: Value) -> bool {
        (self.put)(options, value)
    }
}

/// The key of this name.
pub(super) fn key(name: &str) -> Result<&'static Key, OptionError> {
    OPTIONS.iter().find(|key| key.name == name).ok_or_else(|| OptionError::unknown(name))
}

/// A row: scope, change, ports, field, form. The name is that of the field.
macro_rules! row {
    ($change:ident $ports:ident slot.$field:ident: $form:expr) => {
        row!(stringify!($field), Slot, $change, $ports, $form, slot.$field)
    };
    ($change:ident $ports:ident $field:ident: $form:expr) => {
        row!(stringify!($field), Port, $change, $ports, $form, $field)
    };
    ($name:expr, $scope:ident, $change:ident, $ports:ident, $form:expr, $($field:ident).+) => {
        Key {
            name: $name,
            scope: Scope::$scope,
            change: Change::$change,
            ports: Ports::$ports,
            form: $form,
            get: |options| options.$($field).+.value(),
            put: |options, value| {
                let field = Field::from_value(value);
                let is_one = field.is_some();
                options.$($field).+ = field.unwrap_or(options.$($field).+.clone());
                is_one
            },
        }
    };
}

/// Every key, in the order in which a plant is printed.
pub static OPTIONS: &[Key] = &[
    row!(Fixed All name: Form::Name),
    row!(Down All address: Form::Address),
    row!(Fixed Tcp slots: Form::Count(1, 65_535)),
    row!(Fixed Udp udp: choice::<Udp>()),
    row!(Fixed All mode: choice::<Mode>()),
    row!(Fixed All log_file: Form::Path),
    row!(Fixed Queued rx_queue: QUEUE),
    row!(Fixed Tcp tx_queue: QUEUE),
    row!(Fixed Tcp slot_budget: QUEUE),
    row!(Fixed Fifo depth: Form::Count(1, 4096)),
    row!(Fixed Tcp pick: choice::<Pick>()),
    row!(Down Tcp backlog: Form::Count(1, 65_535)),
    row!(Down All reuse_port: Form::Flag),
    row!(Down All v6only: Form::Flag),
    row!(Down All localhost: choice::<Localhost>()),
    row!(Live All auto_connect: Form::Flag),
    row!(Live All reopen: Form::Span),
    row!(Live Tcp on_disconnect: choice::<OnDisconnect>()),
    row!(Live Tcp on_full: choice::<OnFull>()),
    row!(Live Tcp full_text: Form::Bytes(LONGEST_TEXT)),
    row!(Live Tcp kick_after: Form::Span),
    row!(Live Tcp allow: Form::Networks),
    row!(Live Tcp deny_text: Form::Bytes(LONGEST_TEXT)),
    row!(Live Fifo rest: choice::<Rest>()),
    row!(Live Fifo drop: choice::<Drop>()),
    row!(Live Fifo peer_ttl: Form::Span),
    row!(Live Asyn cache_hold: Form::Span),
    row!(Live Tcp slot.idle_rx: Form::Span),
    row!(Live Tcp slot.idle_any: Form::Span),
    row!(Live Tcp slot.write_stuck: Form::Span),
    row!(Live Tcp slot.linger: Form::Span),
    row!(Live Tcp slot.half_close_linger: Form::Span),
    row!(Live Tcp slot.unread: Form::Span),
    row!(Live Tcp slot.disconnect_on_read_timeout: Form::Flag),
    row!(Live Tcp slot.nodelay: Form::Flag),
    row!(Live Tcp slot.keepalive: Form::Keepalive),
    row!(Live Tcp slot.half_close: choice::<HalfClose>()),
    row!(Live Tcp slot.input_eos: Form::Bytes(LONGEST_EOS)),
    row!(Live Tcp slot.output_eos: Form::Bytes(LONGEST_EOS)),
    row!(Live Tcp slot.process_eos: Form::Flag),
    row!(Live Tcp slot.consumer: choice::<Consumer>()),
    row!(Live Tcp slot.overflow: choice::<Overflow>()),
    row!(Live Tcp slot.watermarks: Form::Watermarks),
    row!(Live All slot.trace: choice::<Traced>()),
    row!(Live All slot.trace_limit: Form::Size(0, TRACE_LIMIT)),
    row!(Live All slot.trace_mask: Form::Set(Levels::NAMES)),
    row!(Live All slot.trace_io: Form::Set(Formats::NAMES)),
    row!(Live All slot.trace_info: Form::Set(Parts::NAMES)),
    row!(Live All slot.trace_file: Form::FileName),
];
