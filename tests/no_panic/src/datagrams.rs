//! A UDP port.

use crate::opaque::{any, memory, now, sink};
use core::hint::black_box;
use wharf_core::Machine;
use wharf_core::port::datagrams::{Config, Datagrams, Input, Record};

type Port<'a> = Datagrams<&'a mut [u8], &'a mut [Record], &'a mut [u8]>;

pub(crate) fn check() {
    let mut rx = any([0; 64]);
    let mut records = any([Record::EMPTY; 2]);
    let mut tx = any([0; 64]);
    if let Ok(mut port) = any(Port::new(any(Config::DEFAULT), memory(&mut rx), memory(&mut records), memory(&mut tx))) {
        drive(&mut port);
        look(&port);
    }
}

/// What changes a port.
fn drive(port: &mut Port<'_>) {
    sink(black_box(&mut *port).handle_input(now(), any(Input::TurnStarted)));
    black_box(&mut *port).handle_timeout(now());
    sink(black_box(port).poll_output());
}

/// What asks a port.
fn look(port: &Port<'_>) {
    let port = black_box(port);
    sink((port.piece(), port.flushed(), port.transmit(), port.last_read(), port.pending(), port.outgoing()));
    port.outcomes().for_each(sink);
    sink((port.local_addr(), port.is_down(), port.is_owed(), port.counters(), port.config()));
    let mut cursor = any(port.cursor());
    sink(port.next(&mut cursor));
    sink((cursor, port.cursor_at_unread()));
}
