//! Events as an asynchronous stream, for any runtime.
//!
//! Reading events waits for the disk, which must not be done where tasks are polled: a thread of the stream's own reads them, a few ahead. It ends with the
//! stream, or with the database.

use super::events::Patience;
use super::{Events, StoreError};
use crate::db::Inner;
use crate::sessions::{NumberedEvent, SessionError};
use futures_core::Stream;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// Events that wait to be polled, at most.
const READ_AHEAD: usize = 64;

#[derive(Default)]
struct State {
    ready: VecDeque<Result<NumberedEvent, StoreError>>,
    waker: Option<Waker>,
    /// The stream is gone.
    dropped: bool,
    /// The thread is gone.
    finished: bool,
}

/// Between the stream and its thread. Its lock is a leaf: neither holds it while reading or waking.
#[derive(Default)]
struct Channel {
    state: Mutex<State>,
    room: Condvar,
}

/// Events in order, each once, as [`Events`] has them; it ends with the database, or after an error that lasts.
///
/// It holds the database open until it is dropped.
pub struct EventStream {
    channel: Arc<Channel>,
    database: Weak<Inner>,
    cursor: Option<u64>,
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl Events {
    /// The same events, as a stream.
    ///
    /// # Errors
    /// [`StoreError::Thread`].
    pub fn into_stream(self) -> Result<EventStream, StoreError> {
        let channel = Arc::new(Channel::default());
        let (database, cursor) = (Arc::downgrade(&self.db().inner), self.cursor());
        let of_thread = channel.clone();
        std::thread::Builder::new()
            .name("session-events".into())
            .spawn(move || of_thread.run(self))
            .map_err(StoreError::Thread)?;
        Ok(EventStream { channel, database, cursor })
    }
}

impl Channel {
    fn run(&self, mut events: Events) {
        loop {
            let next = match events.advance(Patience::Endless, &|| self.state.lock().dropped) {
                Ok(Some(event)) => Ok(event),
                Ok(None) | Err(StoreError::Sessions(SessionError::Db(crate::Error::Closed))) => break,
                Err(error) => Err(error),
            };
            let lasts = matches!(&next, Err(error) if !matches!(error, StoreError::EventsLost { .. }));
            let waker = {
                let mut state = self.state.lock();
                while state.ready.len() >= READ_AHEAD && !state.dropped {
                    self.room.wait(&mut state);
                }
                state.ready.push_back(next);
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
            if lasts {
                break;
            }
        }
        // The database is let go of before anybody hears of the end.
        drop(events);
        let waker = {
            let mut state = self.state.lock();
            state.finished = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl EventStream {
    /// To go on with, behind the last event that was given; `None` if there was none, nor a cursor to begin with.
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }
}

impl Stream for EventStream {
    type Item = Result<NumberedEvent, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let channel = self.channel.clone();
        let mut state = channel.state.lock();
        match state.ready.pop_front() {
            Some(next) => {
                channel.room.notify_one();
                if let Ok(event) = &next {
                    self.cursor = Some(event.cursor);
                }
                Poll::Ready(Some(next))
            }
            None if state.finished => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.channel.state.lock().dropped = true;
        self.channel.room.notify_one();
        if let Some(inner) = self.database.upgrade() {
            inner.sessions.listeners.tell();
        }
    }
}
