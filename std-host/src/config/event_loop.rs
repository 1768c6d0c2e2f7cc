//! `[loop]`: how the event loop shares its time and memory.

use super::print::{integer, size, span, table};
use super::reader::Reader;
use std::time::Duration;
use toml::Table;

/// The settings of the event loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLoop {
    /// The shared receive buffer in bytes, 4 KiB to 64 MiB.
    pub receive_buffer: u32,
    /// Bytes read from one socket in one iteration, 1 KiB to 64 MiB.
    pub read_budget: u32,
    /// Connections accepted from one listener in one iteration, 1..=65535.
    pub accept_budget: u16,
    /// Timers fired in one iteration, 1..=1000000.
    pub timer_budget: u32,
    /// Bytes queued for one socket, 1 KiB to 1 GiB.
    pub tx_limit: u32,
    /// Deferred calls that may wait, 1..=16777216.
    pub deferred_limit: u32,
    /// A callback that takes longer is logged; `None` is off.
    pub slow_callback: Option<Duration>,
    /// Threads that look names up, 1..=64.
    pub resolver_threads: u16,
    /// Packets received together, 1..=64.
    pub udp_batch: u8,
    /// Bytes of a received packet, 1..=65535.
    pub udp_payload: u32,
}

impl Default for EventLoop {
    fn default() -> Self {
        Self {
            receive_buffer: 256 << 10,
            read_budget: 64 << 10,
            accept_budget: 64,
            timer_budget: 1024,
            tx_limit: 1 << 20,
            deferred_limit: 65_536,
            slow_callback: Some(Duration::from_millis(50)),
            resolver_threads: 2,
            udp_batch: 32,
            udp_payload: 2048,
        }
    }
}

/// Keys of the design that this version does not implement: several loops, TLS.
const PLANNED: &[&str] = &["threads", "pin", "handshake_budget"];

pub(super) fn read(r: &mut Reader<'_>) -> EventLoop {
    r.not_yet(PLANNED);
    let d = EventLoop::default();
    EventLoop {
        receive_buffer: r.or("receive_buffer", d.receive_buffer, |item| item.size(4 << 10..=64 << 20)),
        read_budget: r.or("read_budget", d.read_budget, |item| item.size(1 << 10..=64 << 20)),
        accept_budget: r.or("accept_budget", d.accept_budget, |item| item.integer(1..=u16::MAX)),
        timer_budget: r.or("timer_budget", d.timer_budget, |item| item.integer(1..=1_000_000)),
        tx_limit: r.or("tx_limit", d.tx_limit, |item| item.size(1 << 10..=1 << 30)),
        deferred_limit: r.or("deferred_limit", d.deferred_limit, |item| item.integer(1..=1 << 24)),
        slow_callback: r.or("slow_callback", d.slow_callback, |item| item.span_or_off()),
        resolver_threads: r.or("resolver_threads", d.resolver_threads, |item| item.integer(1..=64)),
        udp_batch: r.or("udp_batch", d.udp_batch, |item| item.integer(1..=64)),
        udp_payload: r.or("udp_payload", d.udp_payload, |item| item.size(1..=65_535)),
    }
}

pub(super) fn print(settings: &EventLoop) -> Table {
    table([
        ("receive_buffer", size(settings.receive_buffer)),
        ("read_budget", size(settings.read_budget)),
        ("accept_budget", integer(settings.accept_budget)),
        ("timer_budget", integer(settings.timer_budget)),
        ("tx_limit", size(settings.tx_limit)),
        ("deferred_limit", integer(settings.deferred_limit)),
        ("slow_callback", span(settings.slow_callback)),
        ("resolver_threads", integer(settings.resolver_threads)),
        ("udp_batch", integer(settings.udp_batch)),
        ("udp_payload", size(settings.udp_payload)),
    ])
}
