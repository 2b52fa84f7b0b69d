//! Shopping carts: hashes whose fields are articles, and a login that takes the anonymous cart over in one atomic step.
//!
//! ```console
//! $ cargo run --release -p sessile --example carts
//! ```

use sessile::{Db, Durability, Error, Expiry, Options, WrongKind};
use std::error::Error as StdError;
use std::time::Duration;

/// An anonymous cart is kept for a week.
const ANONYMOUS: Duration = Duration::from_secs(7 * 24 * 3_600);

fn count(bytes: Option<&[u8]>) -> u32 {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Puts some of an article into a cart. Reading and writing are one step: no other thread comes between.
fn add(db: &Db, cart: &[u8], article: &str, more: u32) -> Result<u32, Error> {
    let sum = db.transaction(&[cart], |txn, keys| {
        let sum = count(txn.hash_get(&keys[0], article.as_bytes())?) + more;
        txn.hash_set(&keys[0], article.as_bytes(), sum.to_string().as_bytes())?;
        Ok::<u32, WrongKind>(sum)
    })?;
    Ok(sum?)
}

/// A login: what is in the anonymous cart goes into the user's, and the anonymous one is gone. After a crash both have happened, or
/// neither.
fn take_over(db: &Db, anonymous: &[u8], own: &[u8]) -> Result<usize, Error> {
    let moved = db.transaction(&[anonymous, own], |txn, keys| {
        let mut articles = Vec::new();
        txn.hash_for_each(&keys[0], &mut |article, sum| articles.push((article.to_vec(), count(Some(sum)))))?;
        for (article, more) in &articles {
            let sum = count(txn.hash_get(&keys[1], article)?) + more;
            txn.hash_set(&keys[1], article, sum.to_string().as_bytes())?;
        }
        txn.delete(&keys[0]);
        Ok::<usize, WrongKind>(articles.len())
    })?;
    Ok(moved?)
}

fn show(db: &Db, cart: &[u8]) -> Result<String, Error> {
    let articles = db.hash_get_all(cart)?;
    let line = |(article, sum): &(Vec<u8>, Vec<u8>)| {
        format!("{} × {}", String::from_utf8_lossy(sum), String::from_utf8_lossy(article))
    };
    Ok(if articles.is_empty() {
        "nothing".into()
    } else {
        articles.iter().map(line).collect::<Vec<_>>().join(", ")
    })
}

fn main() -> Result<(), Box<dyn StdError>> {
    let dir = tempfile::tempdir()?;
    // A cart is money: what has been acknowledged survives a power cut.
    let db = Options::new().durability(Durability::Always).open(dir.path().join("data"))?;
    let (anonymous, own) = (&b"cart:anonymous:81f0"[..], &b"cart:user:7"[..]);

    add(&db, own, "coffee", 1)?;
    println!("from last week, in the user's cart: {}", show(&db, own)?);

    add(&db, anonymous, "coffee", 2)?;
    add(&db, anonymous, "mugs", 6)?;
    db.touch(anonymous, ANONYMOUS)?;
    let days = db.time_to_live(anonymous)?.flatten().unwrap_or_default().as_secs_f64() / 86_400.0;
    println!("before the login, in an anonymous cart: {} (kept for {days:.0} days)", show(&db, anonymous)?);

    println!("two tabs put mugs into it at the same time, 50 each");
    let tabs: Vec<_> = (0..2)
        .map(|_| {
            let db = db.clone();
            let add_one = move |_| add(&db, b"cart:anonymous:81f0", "mugs", 1).map(drop);
            std::thread::spawn(move || (0..50).try_for_each(add_one))
        })
        .collect();
    for tab in tabs {
        tab.join().map_err(|_| "a tab crashed")??;
    }
    println!("  none is lost: {}", show(&db, anonymous)?);

    let moved = take_over(&db, anonymous, own)?;
    println!("login: {moved} articles move into the user's cart: {}", show(&db, own)?);
    println!("  and in the anonymous one there is {}", show(&db, anonymous)?);

    // A string is no cart.
    db.set(b"cart:broken", b"oops", Expiry::Never)?;
    match add(&db, b"cart:broken", "mugs", 1) {
        Err(Error::WrongKind(error)) => println!("a key of another kind is refused: {error}"),
        other => return Err(format!("accepted: {other:?}").into()),
    }

    drop(db);
    let db = Db::open(dir.path().join("data"))?;
    println!("after a restart, in the user's cart: {}", show(&db, own)?);
    Ok(())
}
