//! Where messages end.

use crate::opaque::{any, bytes, print, sink};
use core::hint::black_box;
use wharf_core::port::framing::{Eom, Error, Flow, Piece, Scan, Terminator};

pub(crate) fn check() {
    sink(Terminator::new(bytes()));
    let terminator = &any(Terminator::OFF);
    sink((terminator.as_bytes(), terminator.len(), terminator.is_off()));
    sink((terminator.check_queue(any(0)), terminator.framed_len(any(0))));
    let mut scan = any(Scan::START);
    sink(scan.next(terminator, [bytes(), bytes()], any(0), any(Flow::Open)));
    black_box(&mut scan).consumed(any(0));
    black_box(&mut scan).restart();
    sink(scan);
    let eom = any(Eom::NONE);
    sink((eom.bits(), eom.is_empty(), eom.contains(any(eom)), eom | any(eom)));
    sink(any(Piece { len: 0, skip: 0, eom }).taken());
    print(&eom);
    print(&any(Error::TooLong { len: 0, max: 0 }));
}
