//! Address text.

use crate::opaque::{any, print, sink};
use wharf_core::port::address::{self, Error, Protocol};

pub(crate) fn check() {
    sink(address::parse(any("")));
    let error = any(Error::Empty { offset: 0 });
    sink(error.offset());
    print(&error);
    print(&any(Protocol::Tcp));
}
