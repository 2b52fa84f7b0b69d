//! A connection given any bytes in any pieces: it never panics, answers no later than it has the bytes, and keeps no more than it
//! was sent and has to say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::Options;
use sessile_server::blocked::Ended;
use sessile_server::client::{Client, Origin};
use sessile_server::config::Config;
use sessile_server::connection::Connection;
use sessile_server::log::LogControl;
use sessile_server::server::Server;
use sessile_server::worker::Worker;
use sessile_wal::sim::{SimClock, SimFs};
use std::sync::Arc;

fuzz_target!(|input: (bool, Vec<&[u8]>)| {
    let (authenticated, pieces) = input;
    let (fs, clock) = (SimFs::new(1), SimClock::new(1_795_000_000_000));
    let db = Options::new()
        .file_system(Arc::new(fs))
        .clock(Arc::new(clock.clone()))
        .manual_background()
        .open("/data")
        .expect("a new directory");
    let server = Server::new(db.clone(), Config::default(), None, LogControl::default());
    let mut worker = Worker::new(Arc::clone(&server));
    let card = server.clients.join(Origin::none(), db.now_ms());
    let mut client = Client::new(card, &server.acl);
    client.authenticated = authenticated;
    let mut connection = Connection::new(client);
    for piece in pieces {
        if connection.wants_input(&worker) {
            connection.receive(&mut worker, piece);
        }
        // Nobody else is there who could serve one who waits: it is always his time that is up.
        loop {
            if let Some(mut errand) = connection.take_errand() {
                errand.run();
                connection.errand_done(errand);
            } else if connection.is_postponed() {
                server.end_pause();
                connection.end_pause();
            } else if let Some(wait) = connection.wait() {
                assert!(wait.end(Ended::TimedOut), "it was still going on");
            } else {
                break;
            }
            connection.resume(&mut worker);
        }
        db.push_log().expect("the disk is sound");
        connection.settle(db.acknowledged());
        assert!(!connection.is_parked(), "everything was acknowledged");
        while !connection.output().is_empty() {
            let count = connection.output().len();
            connection.sent(&mut worker, count);
        }
        if connection.is_finished(&worker) {
            return;
        }
        clock.advance_ms(7);
        db.step().expect("the disk is sound");
    }
});
