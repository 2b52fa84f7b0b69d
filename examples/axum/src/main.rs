//! `cargo run -p sessile-example-axum [directory] [address]`, then <http://localhost:3000>: log in as `ann` or `ben`, with the password `sessile`.

use sessile::Db;
use sessile_example_axum::{Application, audit, router};
use std::error::Error;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(|| PathBuf::from("example-axum-data"), PathBuf::from);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    let db = Db::open(&directory)?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://localhost:{} (data in {})", listener.local_addr()?.port(), directory.display());
    drop(audit::begin(db.clone(), |line| println!("{line}")));
    // Until a signal ends the process, which needs no preparation: what was acknowledged is there the next time.
    axum::serve(listener, router(Application::new(&db)?)).await?;
    Ok(())
}
