//! Sockets that change their context: protocol upgrades.

use super::{Phase, Stream};
use crate::event_loop::{ContextKey, Error, Handler};

impl<T> Stream<'_, T> {
    /// Gives the socket to another context, with new data. The next callback is the new handler's, which gets all bytes
    /// not yet delivered; `open` does not come again. The old data lives until the end of the iteration.
    ///
    /// # Errors
    /// [`Error::Stale`] for the key of another loop, [`Error::Closed`].
    pub fn move_to<H: Handler<T>>(&mut self, key: ContextKey<H>, data: H::Data) -> Result<(), Error> {
        let id = self.id();
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let context = self.loop_of().typed(key)?;
        let (place, manual) = (context.table.add(data), context.manual_read);
        context.table.name(place, Some(id));
        let core = self.core();
        let Some(stream) = core.stream_mut(id.0) else { return Err(Error::Stale) };
        let old = (std::mem::replace(&mut stream.context, key.index), std::mem::replace(&mut stream.place, place));
        stream.manual = manual;
        let readable = stream.readable && stream.phase == Phase::Open;
        // The old data may be in use by the callback that asks for this.
        core.context(old.0).unname(old.1);
        core.moved.push(old);
        if readable {
            core.mark_ready(id.0);
        }
        Ok(())
    }
}
