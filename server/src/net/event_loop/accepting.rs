//! Who comes in: accepting, deciding whether a client is welcome, and finding it a loop.

use super::{EventLoop, Slot};
use crate::client::{Client, Origin};
use crate::connection::Connection;
use crate::net::Message;
use crate::net::stream::Stream;
use mio::{Interest, Token};
use rustix::process::{Resource, getrlimit};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Connections accepted in one turn.
const ACCEPTS_MAX: usize = 1000;

/// How often the log is told at most that accepting fails.
const COMPLAINT_INTERVAL_MS: u64 = 10_000;

const PROTECTED_MODE: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.\r\n";
const CLIENTS_MAX: &[u8] = b"-ERR max number of clients reached\r\n";

/// Descriptors that are kept for the files of the data, lest clients take the log its next file and checkpoints their segments (24 at
/// once, and an index file, the manifest, the directory): at most a quarter of all.
const DESCRIPTORS_KEPT: u64 = 48;

/// Whether the client's descriptor is one of the last that the process may have. The kernel gives the lowest that is free.
fn takes_a_kept_descriptor(stream: &Stream) -> bool {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return false };
    let number = u64::try_from(stream.as_fd().as_raw_fd()).unwrap_or(0);
    number >= limit - DESCRIPTORS_KEPT.min(limit / 4)
}

impl EventLoop {
    /// Takes in whoever waits at the listening sockets.
    pub(super) fn accept(&mut self) {
        self.accept_again = false;
        if self.worker.server.is_shutting_down() {
            return;
        }
        self.worker.begin_batch();
        let mut accepted = 0;
        for index in 0..self.listeners.len() {
            loop {
                if accepted == ACCEPTS_MAX {
                    self.accept_again = true;
                    self.handle.wake();
                    return;
                }
                match self.listeners[index].accept(self.worker.live.keepalive_seconds) {
                    Ok((stream, origin)) => {
                        accepted += 1;
                        self.admit(stream, origin);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                        ) => {}
                    Err(error) => {
                        // Most likely no descriptors are left. The kernel won't mention this listener again for the connections
                        // that wait already: the next tick tries again, which is soon enough and does not spin.
                        self.complain_of_accepting(&format!(
                            "accepting a connection failed: {error}; trying again every second (raise the limit of open files?)"
                        ));
                        self.accept_failed = true;
                        break;
                    }
                }
            }
        }
    }

    /// Says that clients can't come in, now and then: at the limit, each that leaves lets one in, and the next fails again.
    fn complain_of_accepting(&mut self, what: &str) {
        let now_ms = self.worker.now_ms;
        let said = self.accept_complained_ms;
        if said.is_none_or(|said_ms| now_ms.saturating_sub(said_ms) >= COMPLAINT_INTERVAL_MS) {
            tracing::warn!("{what}");
            self.accept_complained_ms = Some(now_ms);
        }
    }

    /// Decides whether a client is welcome, and where it will live.
    fn admit(&mut self, mut stream: Stream, origin: Origin) {
        let server = Arc::clone(&self.worker.server);
        let live = &self.worker.live;
        let refusal = if live.protected_mode && server.acl.lets_anybody_in() && !origin.local {
            Some(PROTECTED_MODE)
        } else if server.clients.count() + server.arriving.load(Ordering::Relaxed) >= live.clients_max {
            Some(CLIENTS_MAX)
        } else if takes_a_kept_descriptor(&stream) {
            self.complain_of_accepting(
                "descriptors run short: clients are refused, what is left is kept for the data's files (raise the limit of open files)",
            );
            Some(CLIENTS_MAX)
        } else {
            None
        };
        if let Some(text) = refusal {
            // As much as fits the socket's buffer, which all of it does.
            let _ = stream.write(text);
            server.shared.rejected.fetch_add(1, Ordering::Relaxed);
            return;
        }
        server.shared.connections.fetch_add(1, Ordering::Relaxed);
        let loops = server.active_loops();
        let best = loops
            .iter()
            .enumerate()
            .min_by_key(|(_, handle)| handle.connections.load(Ordering::Relaxed))
            .map_or(self.number, |(number, _)| number);
        server.arriving.fetch_add(1, Ordering::Relaxed);
        match loops.get(best) {
            Some(handle) if best != self.number => {
                handle.connections.fetch_add(1, Ordering::Relaxed);
                handle.send(Message::Connection(stream, origin));
            }
            _ => {
                self.handle.connections.fetch_add(1, Ordering::Relaxed);
                self.adopt(stream, origin);
            }
        }
    }

    /// Takes in a connection that is counted already.
    pub(super) fn adopt(&mut self, mut stream: Stream, origin: Origin) {
        let server = Arc::clone(&self.worker.server);
        let token = self.free_token();
        let registered =
            self.poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE);
        server.arriving.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = registered {
            tracing::warn!(%error, "a connection can't be watched and is closed");
            self.free.push(token);
            self.handle.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.worker.begin_batch();
        let card = server.clients.join(origin, self.worker.now_ms);
        server.shared.clients_peak.fetch_max(server.clients.count(), Ordering::Relaxed);
        *card.place.lock() = Some((self.number, token));
        let client = Client::new(card, &server.acl);
        self.slots[token] = Some(Box::new(Slot {
            stream,
            connection: Connection::new(client),
            readable: true,
            writable: true,
            read_closed: false,
            queued: false,
            to_flush: false,
            in_parked: false,
            timer_ms: None,
            in_postponed: false,
            in_syncing: false,
        }));
    }
}
