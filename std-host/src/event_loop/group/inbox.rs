//! Connections on their way from the loop that accepts them to the loop that serves them.

use std::any::Any;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection and whose it is.
pub(in crate::event_loop) type Arrival = (TcpStream, SocketAddr);

/// What has been handed to a listener that accepts nothing itself. A queue between two threads, with an end.
pub(in crate::event_loop) struct Inbox {
    queue: Mutex<Queue>,
    room: usize,
    /// Keeps the listener open that fills this.
    _door: Arc<dyn Any + Send + Sync>,
}

struct Queue {
    waiting: VecDeque<Arrival>,
    closed: bool,
}

/// Why an inbox did not take a connection.
pub(super) enum Refusal {
    /// As many as it has room for are waiting.
    Full(Arrival),
    /// Nobody will look into it any more.
    Closed(Arrival),
}

impl Inbox {
    /// For `room` connections, which come as long as `door` exists.
    pub(super) fn new(room: u32, door: Arc<dyn Any + Send + Sync>) -> Self {
        let queue = Queue { waiting: VecDeque::new(), closed: false };
        Self { queue: Mutex::new(queue), room: room as usize, _door: door }
    }

    pub(super) fn put(&self, arrival: Arrival) -> Result<(), Refusal> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Refusal::Closed(arrival));
        }
        if queue.waiting.len() >= self.room {
            return Err(Refusal::Full(arrival));
        }
        queue.waiting.push_back(arrival);
        Ok(())
    }

    /// The latest connection, to be handed to another.
    pub(super) fn take_back(&self) -> Option<Arrival> {
        self.lock().waiting.pop_back()
    }

    /// The next connection.
    pub(in crate::event_loop) fn take(&self) -> Option<Arrival> {
        self.lock().waiting.pop_front()
    }

    /// Takes nothing any more; what is there stays.
    pub(in crate::event_loop) fn close(&self) {
        self.lock().closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under this lock can panic half-way but an allocation, which leaves the queue whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
