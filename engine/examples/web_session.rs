//! What a web application does with its sessions: login, a touch with every request, logout, and the sessions that nobody logs out of.
//!
//! ```console
//! $ cargo run --release -p sessile --example web_session
//! ```

use sessile::{Db, Error, Expiry, Touch};
use std::error::Error as StdError;
use std::time::Duration;

/// A session ends after this long without a request …
const IDLE: Duration = Duration::from_millis(400);
/// … and after this long in any case. (An application would say half an hour, and twelve.)
const ABSOLUTE: Duration = Duration::from_secs(2);

fn key(token: &str) -> Vec<u8> {
    format!("session:{token}").into_bytes()
}

/// A new session; the token goes into the browser's cookie. (It must not be guessable: take it from the system's random source.)
fn login(db: &Db, token: &str, user: &str) -> Result<(), Error> {
    let expiry = Expiry::Idle { idle: IDLE, absolute: Some(ABSOLUTE) };
    db.set(&key(token), format!(r#"{{"user":"{user}"}}"#), expiry)
}

/// What each request does: reads the session, and moves its deadline. Both in one step.
fn request(db: &Db, token: &str) -> Result<Option<String>, Error> {
    let session = db.get_and_touch(&key(token), Touch::Policy)?;
    Ok(session.map(|session| String::from_utf8_lossy(&session).into_owned()))
}

fn logout(db: &Db, token: &str) -> Result<bool, Error> {
    db.delete(&key(token))
}

/// Lets time pass. An application has better things to do.
#[expect(clippy::disallowed_methods, reason = "an example that shows what time does")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn main() -> Result<(), Box<dyn StdError>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("data"))?;
    println!("a database in {}", db.directory().display());

    login(&db, "ada", "Ada")?;
    login(&db, "bob", "Bob")?;
    println!("Ada and Bob have logged in: {} sessions", db.len());

    println!("Ada's browser, four tabs at once, for a second; Bob has gone to lunch");
    let tabs: Vec<_> = (0..4)
        .map(|_| {
            let db = db.clone();
            std::thread::spawn(move || -> Result<u32, Error> {
                let mut answered = 0;
                for _ in 0..20 {
                    answered += u32::from(request(&db, "ada")?.is_some());
                    wait(Duration::from_millis(50));
                }
                Ok(answered)
            })
        })
        .collect();
    let mut answered = 0;
    for tab in tabs {
        answered += tab.join().map_err(|_| "a tab crashed")??;
    }
    println!("  {answered} of 80 requests found Ada's session: {:?}", request(&db, "ada")?);
    println!("  Bob's has ended by itself: {:?}, {} session left in memory", request(&db, "bob")?, db.len());

    login(&db, "eve", "Eve")?;
    let left = db.time_to_live(&key("eve"))?.flatten().unwrap_or_default();
    println!("Eve logs in, has {left:?} for her next request, and logs out: {}", logout(&db, "eve")?);

    println!("Ada goes on and on, but not beyond the absolute limit");
    let mut requests = 0;
    while request(&db, "ada")?.is_some() {
        requests += 1;
        wait(Duration::from_millis(50));
    }
    println!("  after {requests} more requests she has to log in again");

    login(&db, "ada", "Ada")?;
    drop(db);
    let db = Db::open(dir.path().join("data"))?;
    println!("restarted in {:?}; Ada is still logged in: {:?}", db.recovery().elapsed, request(&db, "ada")?);
    Ok(())
}
