//! The options as the machine of a UDP port takes them, and the memory that it has.

use crate::services::port::options::{Drop, Key, Options, Rest, Udp};
use wharf_core::port::datagrams::{self, Config, Datagrams, Error, MAX_PAYLOAD, Mode, Overflow, Record, Setting};

/// The machine in boxed slices. What was never used costs no memory: the system maps a page when it is first touched.
pub(super) type Machine = Datagrams<Box<[u8]>, Box<[Record]>, Box<[u8]>>;

/// Bytes of the datagrams that wait to be sent: 64 of 4 KiB, or 4 of the longest.
const OUTPUT_BYTES: usize = 256 << 10;

/// The machine of a port with these options.
pub(super) fn machine(options: &Options) -> Result<Machine, Error> {
    let (rx, depth, tx) = match options.udp {
        Udp::Asyn => (MAX_PAYLOAD, 1, 0),
        Udp::Fifo => (options.rx_queue as usize, options.depth.into(), OUTPUT_BYTES),
    };
    Datagrams::new(config(options), vec![0; rx].into(), vec![Record::EMPTY; depth].into(), vec![0; tx].into())
}

fn config(options: &Options) -> Config {
    Config {
        mode: match options.udp {
            Udp::Asyn => Mode::Asyn,
            Udp::Fifo => Mode::Fifo,
        },
        cache_hold: options.cache_hold.as_duration(),
        rest: rest(options),
        overflow: overflow(options),
        peer_ttl: options.peer_ttl.as_duration(),
        reopen: options.reopen.as_duration(),
        auto_connect: options.auto_connect,
        ..Config::DEFAULT
    }
}

/// What is asked of the machine once a key was changed; `None` if the key is none of its business.
pub(super) fn setting(options: &Options, key: &Key) -> Option<Setting> {
    Some(match key.name {
        "cache_hold" => Setting::CacheHold(options.cache_hold.as_duration()),
        "rest" => Setting::Rest(rest(options)),
        "drop" => Setting::Overflow(overflow(options)),
        "peer_ttl" => Setting::PeerTtl(options.peer_ttl.as_duration()),
        "reopen" => Setting::Reopen(options.reopen.as_duration()),
        "auto_connect" => Setting::AutoConnect(options.auto_connect),
        _ => return None,
    })
}

const fn rest(options: &Options) -> datagrams::Rest {
    match options.rest {
        Rest::Keep => datagrams::Rest::Keep,
        Rest::Discard => datagrams::Rest::Discard,
    }
}

const fn overflow(options: &Options) -> Overflow {
    match options.drop {
        Drop::Newest => Overflow::DropNewest,
        Drop::Oldest => Overflow::DropOldest,
    }
}
