//! The options as the machines of the core take them. What those do not know is the host's own: who gets messages, who may
//! connect, options of sockets, trace.

use super::{Key, Mode, Options};
use wharf_core::port::datagrams::{self, Setting};
use wharf_core::port::server::{self, Command, PortOption, SlotOption};

impl Options {
    /// What the machine of a TCP port is made with. The terminators are not in it: see [`Options::terminators`].
    #[must_use]
    pub fn server(&self) -> server::Config {
        let text = |bytes: &[u8]| bytes.iter().copied().take(server::MAX_TEXT).collect();
        let slot = &self.slot;
        server::Config {
            rx_queue: self.rx_queue,
            tx_queue: self.tx_queue,
            slot_budget: self.slot_budget,
            pick: self.pick,
            port: server::PortOptions {
                on_full: self.on_full,
                kick_after: self.kick_after.0,
                reopen: self.reopen.0,
                auto_connect: self.auto_connect,
                full_text: text(&self.full_text),
                deny_text: text(&self.deny_text),
            },
            slots: server::Options {
                idle_rx: slot.idle_rx.0,
                idle_any: slot.idle_any.0,
                write_stuck: slot.write_stuck.0,
                linger: slot.linger.0,
                half_close_linger: slot.half_close_linger.0,
                unread: slot.unread.0,
                half_close: slot.half_close,
                overflow: slot.overflow,
                watermarks: slot.watermarks,
                process_eos: slot.process_eos,
                echo: self.mode == Mode::Echo,
            },
        }
    }

    /// What is asked of that machine as soon as it is made.
    #[must_use]
    pub fn terminators(&self) -> [Command<'_>; 2] {
        let set = |option| Command::Set { index: None, option };
        [set(SlotOption::InputEos(&self.slot.input_eos)), set(SlotOption::OutputEos(&self.slot.output_eos))]
    }

    /// What is asked of that machine once a key [was changed](Options::change), for the slot of this index or for all;
    /// `None` if the key is none of its business.
    #[must_use]
    pub fn command(&self, key: &Key, index: Option<u32>) -> Option<Command<'_>> {
        let slot = &self.slot;
        let option = match key.name {
            "on_full" => return Some(Command::SetPort(PortOption::OnFull(self.on_full))),
            "kick_after" => return Some(Command::SetPort(PortOption::KickAfter(self.kick_after.0))),
            "reopen" => return Some(Command::SetPort(PortOption::Reopen(self.reopen.0))),
            "auto_connect" => return Some(Command::SetPort(PortOption::AutoConnect(self.auto_connect))),
            "full_text" => return Some(Command::SetPort(PortOption::FullText(&self.full_text))),
            "deny_text" => return Some(Command::SetPort(PortOption::DenyText(&self.deny_text))),
            "idle_rx" => SlotOption::IdleRx(slot.idle_rx.0),
            "idle_any" => SlotOption::IdleAny(slot.idle_any.0),
            "write_stuck" => SlotOption::WriteStuck(slot.write_stuck.0),
            "linger" => SlotOption::Linger(slot.linger.0),
            "half_close_linger" => SlotOption::HalfCloseLinger(slot.half_close_linger.0),
            "unread" => SlotOption::Unread(slot.unread.0),
            "half_close" => SlotOption::HalfClose(slot.half_close),
            "overflow" => SlotOption::Overflow(slot.overflow),
            "watermarks" => SlotOption::Watermarks(slot.watermarks),
            "process_eos" => SlotOption::ProcessEos(slot.process_eos),
            "input_eos" => SlotOption::InputEos(&slot.input_eos),
            "output_eos" => SlotOption::OutputEos(&slot.output_eos),
            _ => return None,
        };
        Some(Command::Set { index, option })
    }

    /// What the machine of a UDP port is made with.
    #[must_use]
    pub const fn datagrams(&self) -> datagrams::Config {
        datagrams::Config {
            mode: self.udp,
            cache_hold: self.cache_hold.as_duration(),
            rest: self.rest,
            overflow: self.drop,
            peer_ttl: self.peer_ttl.as_duration(),
            reopen: self.reopen.as_duration(),
            auto_connect: self.auto_connect,
            ..datagrams::Config::DEFAULT
        }
    }

    /// What that machine is told once a key [was changed](Options::change); `None` if the key is none of its business.
    #[must_use]
    pub fn setting(&self, key: &Key) -> Option<Setting> {
        match key.name {
            "cache_hold" => Some(Setting::CacheHold(self.cache_hold.as_duration())),
            "rest" => Some(Setting::Rest(self.rest)),
            "drop" => Some(Setting::Overflow(self.drop)),
            "peer_ttl" => Some(Setting::PeerTtl(self.peer_ttl.as_duration())),
            "reopen" => Some(Setting::Reopen(self.reopen.as_duration())),
            "auto_connect" => Some(Setting::AutoConnect(self.auto_connect)),
            _ => None,
        }
    }
}
