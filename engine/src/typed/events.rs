//! What happens to sessions, for a consumer that waits for it.

use super::StoreError;
use crate::db::Db;
use crate::sessions::NumberedEvent;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Events that are read together.
const READ_TOGETHER: usize = 256;

/// How long a consumer is ready to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    For(Duration),
    Endless,
}

/// Events in order, each once: an iterator that waits for the next one. It holds the database open, and ends when that is [closed](Db::close).
///
/// Save the [cursor](Self::cursor) together with what was done with the events, and go on from it ([`Db::session_events_after`],
/// [`Sessions::events_after`](super::Sessions::events_after)): then each event is seen exactly once, across any crash. What it gives is durable. If events that
/// follow the cursor are no longer kept it says so, with [`StoreError::EventsLost`], and goes on with the oldest.
///
/// ```
/// # use sessile::{Db, sessions::EventKind, typed::{ClassPolicy, Opening}};
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// let sessions = db.sessions::<()>(&ClassPolicy::aal2())?;
/// let mut events = sessions.events();
/// # let listener =
/// std::thread::spawn(move || {
///     for event in &mut events {
///         let event = event?;
///         println!("{} of {:?}", event.event.kind.name(), event.event.handle);
/// #       if event.event.kind == EventKind::Ended { break }
///     }
///     Ok::<_, sessile::typed::StoreError>(events.cursor())
/// });
/// # let (token, _) = sessions.create(Opening::of("ann"), &())?;
/// # sessions.end(token.as_str())?;
/// # assert!(listener.join().expect("it ends")?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events {
    db: Db,
    /// `None`: those of all.
    class: Option<Arc<str>>,
    read: VecDeque<NumberedEvent>,
    /// Behind what was given, or passed over.
    cursor: Option<u64>,
    /// Behind what was read.
    ahead: Option<u64>,
    ended: bool,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("class", &self.class)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// What happens to sessions of all classes, after a saved [cursor](Events::cursor), or from the oldest that is kept on.
    pub fn session_events_after(&self, cursor: Option<u64>) -> Events {
        Events::new(self.clone(), cursor, None)
    }
}

impl Events {
    pub(super) fn new(db: Db, cursor: Option<u64>, class: Option<Arc<str>>) -> Events {
        Events { db, class, read: VecDeque::new(), cursor, ahead: cursor, ended: false }
    }

    /// To go on with, behind the last event that was given; `None` if there was none, nor a cursor to begin with.
    pub fn cursor(&self) -> Option<u64> {
        self.cursor
    }

    /// The next event if there is one now.
    ///
    /// # Errors
    /// [`StoreError::EventsLost`]; those of the database.
    pub fn try_next(&mut self) -> Result<Option<NumberedEvent>, StoreError> {
        self.next_within(Duration::ZERO)
    }

    /// The next event, which is waited for as long as that.
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next_within(&mut self, at_most: Duration) -> Result<Option<NumberedEvent>, StoreError> {
        let patience = if at_most.is_zero() { Patience::None } else { Patience::For(at_most) };
        self.advance(patience, &|| false)
    }

    #[cfg(feature = "async")]
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// The next event, unless patience or the database ends first, or `is_over`, which is asked whenever the listeners are told.
    pub(super) fn advance(
        &mut self,
        mut patience: Patience,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Option<NumberedEvent>, StoreError> {
        // By the database's clock: waking up for events of other classes does not prolong the wait.
        let until_ms = match patience {
            Patience::For(at_most) => {
                let at_most_ms = u64::try_from(at_most.as_millis()).unwrap_or(u64::MAX).max(1);
                Some(self.db.now_ms().saturating_add(at_most_ms))
            }
            _ => None,
        };
        loop {
            if let Some(event) = self.read.pop_front() {
                self.cursor = Some(event.cursor);
                return Ok(Some(event));
            }
            // Nothing that was read is left.
            self.cursor = self.ahead;
            let told = self.db.inner.sessions.listeners.told();
            self.db.inner.check_open()?;
            if is_over() {
                return Ok(None);
            }
            let page = self.db.session_events(self.ahead, READ_TOGETHER)?;
            let some_read = !page.events.is_empty();
            let lost = page.lost.then_some(self.ahead.unwrap_or(0));
            if some_read || self.ahead.is_some() || page.lost {
                self.ahead = Some(page.cursor);
            }
            let class = self.class.as_deref();
            self.read.extend(page.events.into_iter().filter(|event| {
                class.is_none() || event.event.class.is_none() || event.event.class.as_deref() == class
            }));
            if let Some(cursor) = lost {
                return Err(StoreError::EventsLost { cursor });
            }
            if some_read {
                continue;
            }
            let at_most = match (patience, until_ms) {
                (Patience::None, _) => return Ok(None),
                (_, None) => None,
                (_, Some(until_ms)) => {
                    let left_ms = until_ms.saturating_sub(self.db.now_ms());
                    if left_ms == 0 {
                        return Ok(None);
                    }
                    Some(Duration::from_millis(left_ms))
                }
            };
            if !self.db.inner.sessions.listeners.wait(told, at_most) {
                // A last look.
                patience = Patience::None;
            }
        }
    }
}

impl Iterator for Events {
    type Item = Result<NumberedEvent, StoreError>;

    /// The next event, however long it takes. After an error that lasts, such as of a database that was closed, there is none.
    fn next(&mut self) -> Option<Result<NumberedEvent, StoreError>> {
        if self.ended {
            return None;
        }
        match self.advance(Patience::Endless, &|| false) {
            Ok(event) => event.map(Ok),
            Err(StoreError::Sessions(crate::sessions::SessionError::Db(crate::Error::Closed))) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = !matches!(error, StoreError::EventsLost { .. });
                Some(Err(error))
            }
        }
    }
}
