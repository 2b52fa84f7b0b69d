//! A trail of what happens to sessions: each event once, across any crash, since the cursor is kept with what was done.

use sessile::typed::StoreError;
use sessile::{Db, Expiry};
use std::thread::JoinHandle;

const CURSOR: &[u8] = b"audit:cursor";

/// Hands every event to `tell` as a line, from a thread that ends with the database. There are no tokens in events; handles are public.
pub fn begin(db: Db, tell: impl Fn(String) + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        if let Err(error) = follow(&db, &tell) {
            tell(format!("the trail has ended: {error}"));
        }
    })
}

fn follow(db: &Db, tell: &dyn Fn(String)) -> Result<(), StoreError> {
    let saved = db.get(CURSOR)?.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
    for event in db.session_events_after(saved) {
        let event = match event {
            Err(StoreError::EventsLost { .. }) => {
                tell("events were lost: the trail was not followed for too long".into());
                continue;
            }
            event => event?,
        };
        let (cursor, event) = (event.cursor, event.event);
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let handle = event.handle.map(|handle| handle.to_string()).unwrap_or_default();
        tell(format!("{} {} {handle} {}", event.at_ms, event.kind.name(), text(event.user)));
        db.set(CURSOR, cursor.to_string().as_bytes(), Expiry::Never)?;
    }
    Ok(())
}
