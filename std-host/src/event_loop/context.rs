//! Contexts: a handler together with the data of its sockets.
//!
//! The data lie in buckets that only ever grow in number, so that a place never moves: one socket's data can be in use
//! by a callback while that callback adds sockets or reaches the data of others.

use super::handler::{AcceptFailed, Closed, ConnectFailed, Handler, Opened, PreOpen, RawSocket};
use super::state::Core;
use super::{ClientHello, CloseReason, Error, ListenerId, LoopMut, NameChoice, Socket, SocketId};
use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::marker::PhantomData;

/// Names a context of one loop.
pub struct ContextKey<H> {
    /// The number of the loop.
    pub(super) owner: u32,
    pub(super) index: u32,
    of: PhantomData<fn() -> H>,
}

impl<H> ContextKey<H> {
    pub(super) const fn new(owner: u32, index: u32) -> Self {
        Self { owner, index, of: PhantomData }
    }
}

impl<H> Clone for ContextKey<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for ContextKey<H> {}

impl<H> fmt::Debug for ContextKey<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ContextKey").field(&self.index).finish()
    }
}

/// A handler and the data of its sockets.
pub(super) struct Bound<H, D> {
    handler: RefCell<H>,
    /// Sockets are read by the handler itself.
    pub(super) manual_read: bool,
    pub(super) table: Table<D>,
}

impl<H, D> Bound<H, D> {
    pub(super) fn new(handler: H, manual_read: bool) -> Self {
        Self { handler: RefCell::new(handler), manual_read, table: Table::new() }
    }

    /// The handler, unless one of its callbacks is running.
    pub(super) fn handler(&self) -> Result<RefMut<'_, H>, Error> {
        self.handler.try_borrow_mut().map_err(|_| Error::Busy)
    }
}

/// What the last call for a socket is made of.
pub(super) struct Farewell {
    pub(super) reason: CloseReason,
    pub(super) unsent: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// A [`Bound`] whose handler's type is not known. `place` is where the socket's data lies.
pub(super) trait AnyContext<T: 'static> {
    fn as_any(&self) -> &dyn Any;
    fn manual_read(&self) -> bool;
    fn add_default(&self) -> u32;
    fn name(&self, place: u32, id: SocketId);
    fn unname(&self, place: u32);
    fn forget(&self, place: u32);
    fn pre_open(&self, raw: &mut RawSocket<'_>) -> PreOpen;
    fn server_name(&self, hello: &ClientHello<'_>) -> NameChoice;
    fn open(&self, core: &mut Core<T>, id: SocketId, place: u32, how: Opened);
    fn data(&self, core: &mut Core<T>, id: SocketId, place: u32, bytes: &[u8]);
    fn readable(&self, core: &mut Core<T>, id: SocketId, place: u32);
    fn writable(&self, core: &mut Core<T>, id: SocketId, place: u32);
    fn drained(&self, core: &mut Core<T>, id: SocketId, place: u32);
    fn timeout(&self, core: &mut Core<T>, id: SocketId, place: u32);
    fn long_timeout(&self, core: &mut Core<T>, id: SocketId, place: u32);
    fn end(&self, core: &mut Core<T>, id: SocketId, place: u32);
    fn close(&self, core: &mut Core<T>, id: SocketId, place: u32, last: Farewell);
    fn connect_error(&self, core: &mut Core<T>, id: SocketId, place: u32, error: Error, tried: u32);
    fn accept_error(&self, core: &mut Core<T>, id: ListenerId, failed: AcceptFailed);
}

impl<T: 'static, H: Handler<T>> AnyContext<T> for Bound<H, H::Data> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn manual_read(&self) -> bool {
        self.manual_read
    }

    fn add_default(&self) -> u32 {
        self.table.add(H::Data::default())
    }

    fn name(&self, place: u32, id: SocketId) {
        self.table.name(place, Some(id));
    }

    fn unname(&self, place: u32) {
        self.table.name(place, None);
    }

    fn forget(&self, place: u32) {
        self.table.remove(place);
    }

    fn pre_open(&self, raw: &mut RawSocket<'_>) -> PreOpen {
        self.handler.borrow_mut().pre_open(raw)
    }

    fn server_name(&self, hello: &ClientHello<'_>) -> NameChoice {
        self.handler.borrow_mut().server_name(hello)
    }

    fn open(&self, core: &mut Core<T>, id: SocketId, place: u32, how: Opened) {
        self.with(core, id, place, |handler, s| handler.open(s, how));
    }

    fn data(&self, core: &mut Core<T>, id: SocketId, place: u32, bytes: &[u8]) {
        self.with(core, id, place, |handler, s| handler.data(s, bytes));
    }

    fn readable(&self, core: &mut Core<T>, id: SocketId, place: u32) {
        self.with(core, id, place, H::readable);
    }

    fn writable(&self, core: &mut Core<T>, id: SocketId, place: u32) {
        self.with(core, id, place, H::writable);
    }

    fn drained(&self, core: &mut Core<T>, id: SocketId, place: u32) {
        self.with(core, id, place, H::drained);
    }

    fn timeout(&self, core: &mut Core<T>, id: SocketId, place: u32) {
        self.with(core, id, place, H::timeout);
    }

    fn long_timeout(&self, core: &mut Core<T>, id: SocketId, place: u32) {
        self.with(core, id, place, H::long_timeout);
    }

    fn end(&self, core: &mut Core<T>, id: SocketId, place: u32) {
        self.with(core, id, place, H::end);
    }

    fn close(&self, core: &mut Core<T>, id: SocketId, place: u32, last: Farewell) {
        let data = self.table.remove(place);
        let Farewell { reason, unsent, received, sent } = last;
        let closed = Closed { id, data, reason, unsent, received, sent };
        self.handler.borrow_mut().close(&mut LoopMut { core }, closed);
    }

    fn connect_error(&self, core: &mut Core<T>, id: SocketId, place: u32, error: Error, tried: u32) {
        let data = self.table.remove(place);
        self.handler.borrow_mut().connect_error(&mut LoopMut { core }, ConnectFailed { id, data, error, tried });
    }

    fn accept_error(&self, core: &mut Core<T>, id: ListenerId, failed: AcceptFailed) {
        self.handler.borrow_mut().accept_error(&mut LoopMut { core }, id, failed);
    }
}

impl<H, D> Bound<H, D> {
    fn with<T: 'static>(
        &self,
        core: &mut Core<T>,
        id: SocketId,
        place: u32,
        f: impl FnOnce(&mut H, &mut Socket<'_, T, D>),
    ) {
        // Callbacks never nest, so nobody else holds the handler or any socket's data.
        let mut handler = self.handler.borrow_mut();
        let mut data = self.table.place(place).data.borrow_mut();
        let data = data.as_mut().expect("a socket has data until its last callback");
        f(&mut handler, &mut Socket::new(core, id, data));
    }
}

/// Data by place. Places are used again once they are free.
pub(super) struct Table<D> {
    /// Bucket *n* has `FIRST << n` places.
    buckets: [OnceCell<Box<[Place<D>]>>; BUCKETS],
    free: RefCell<Vec<u32>>,
    used: Cell<u32>,
}

struct Place<D> {
    id: Cell<Option<SocketId>>,
    data: RefCell<Option<D>>,
}

const FIRST: u32 = 16;
const BUCKETS: usize = 28;

impl<D> Table<D> {
    fn new() -> Self {
        Self { buckets: [const { OnceCell::new() }; BUCKETS], free: RefCell::new(Vec::new()), used: Cell::new(0) }
    }

    /// Puts data into a free place.
    pub(super) fn add(&self, data: D) -> u32 {
        let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let fresh = self.used.get();
            self.used.set(fresh + 1);
            fresh
        });
        *self.place(place).data.borrow_mut() = Some(data);
        place
    }

    /// Says whose data lies at a place.
    pub(super) fn name(&self, place: u32, id: Option<SocketId>) {
        self.place(place).id.set(id);
    }

    /// Takes the data out of a place that is in use.
    fn remove(&self, place: u32) -> D {
        self.place(place).id.set(None);
        let data = self.place(place).data.borrow_mut().take().expect("a place in use has data");
        self.free.borrow_mut().push(place);
        data
    }

    /// The data at a place, unless it is free or in use by a callback.
    pub(super) fn borrow(&self, place: u32) -> Result<RefMut<'_, D>, Error> {
        let data = self.place(place).data.try_borrow_mut().map_err(|_| Error::Busy)?;
        RefMut::filter_map(data, Option::as_mut).map_err(|_| Error::Stale)
    }

    /// The sockets that have data here.
    pub(super) fn ids(&self) -> impl Iterator<Item = SocketId> {
        (0..self.used.get()).filter_map(|place| self.place(place).id.get())
    }

    fn place(&self, place: u32) -> &Place<D> {
        let number = place + FIRST;
        let bucket = number.ilog2() - FIRST.ilog2();
        let places = self.buckets[bucket as usize].get_or_init(|| {
            let empty = || Place { id: Cell::new(None), data: RefCell::new(None) };
            std::iter::repeat_with(empty).take((FIRST << bucket) as usize).collect()
        });
        &places[(number - (FIRST << bucket)) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_do_not_move_and_are_used_again() {
        let table = Table::new();
        let first = table.add(0_u32);
        let held = table.borrow(first).unwrap();
        for number in 1..1000 {
            assert_eq!(table.add(number), number);
        }
        assert!(matches!(table.borrow(first), Err(Error::Busy)));
        assert_eq!(*held, 0);
        drop(held);
        assert_eq!(table.remove(500), 500);
        assert!(matches!(table.borrow(500), Err(Error::Stale)));
        assert_eq!(table.add(7), 500);
        assert_eq!((*table.borrow(500).unwrap(), *table.borrow(999).unwrap()), (7, 999));
    }
}
