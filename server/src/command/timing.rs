//! How long a command took, for `commandstats`, `LATENCY` and `SLOWLOG`.
//!
//! Looking at the clock costs a tenth of a fast command: of commands that are flagged as fast only one call of `TIMED_EVERY` is timed, and figures
//! are extrapolated when they are shown; all other commands are timed always, and so are the fast ones while an operator wants to see each
//! (`slowlog-log-slower-than 0`, or a `latency-monitor-threshold`).

use super::flags::{FAST, SKIP_SLOWLOG};
use super::table::Entry;
use crate::client::Client;
use crate::latency::{COMMAND, FAST_COMMAND, Sample};
use crate::slow_log::{self, kept_arguments};
use crate::worker::Worker;
use sessile_wal::{Clock, SystemClock};

/// One call of this many of a fast command is timed.
const TIMED_EVERY: u64 = 64;

/// The time of one call, if it is timed.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Option<u64>);

impl Stopwatch {
    /// Begins to time a call, or does not.
    #[inline]
    pub fn start(worker: &Worker, entry: &Entry) -> Stopwatch {
        let is_due = || {
            let figures = worker.figures.commands.get(usize::from(entry.number));
            figures.is_some_and(|figures| figures.calls.get().is_multiple_of(TIMED_EVERY))
        };
        let timed = entry.command.flags & FAST == 0 || worker.live.times_all || is_due();
        Stopwatch(timed.then(|| SystemClock.monotonic_ns()))
    }

    /// The call is over; it also took `elsewhere_ns` on another thread.
    #[inline]
    pub fn stop(
        self,
        worker: &mut Worker,
        client: &Client,
        entry: &Entry,
        args: &[&[u8]],
        elsewhere_ns: u64,
    ) {
        let Some(begun_ns) = self.0 else { return };
        worker.seen_ns = SystemClock.monotonic_ns();
        let nanoseconds = worker.seen_ns.saturating_sub(begun_ns).saturating_add(elsewhere_ns);
        let live = &worker.live;
        if let Some(figures) = worker.figures.commands.get(usize::from(entry.number)) {
            figures.timed.add(1);
            figures.nanoseconds.add(nanoseconds);
            if live.latency_tracking {
                figures.histogram.get_or_init(Box::default).add(nanoseconds);
            }
        }
        if nanoseconds / 1_000_000 >= live.latency_ms_min {
            note_latency(worker, entry, nanoseconds / 1_000_000);
        }
        if nanoseconds / 1000 >= live.slow_us_min && entry.command.flags & SKIP_SLOWLOG == 0 {
            note_slow(worker, client, args, nanoseconds / 1000);
        }
    }
}

#[cold]
fn note_latency(worker: &Worker, entry: &Entry, milliseconds: u64) {
    let event = if entry.command.flags & FAST != 0 { FAST_COMMAND } else { COMMAND };
    let at_seconds = worker.server.db.now_ms() / 1000;
    worker.server.latency.add(event, Sample { at_seconds, milliseconds });
}

#[cold]
fn note_slow(worker: &Worker, client: &Client, args: &[&[u8]], microseconds: u64) {
    let entry = slow_log::Entry {
        id: 0,
        at_seconds: worker.server.db.now_ms() / 1000,
        microseconds,
        args: kept_arguments(args),
        address: client.card.origin.address.clone(),
        name: client.card.names.lock().name.clone(),
    };
    worker.server.slow_log.add(entry, worker.live.slow_log_entries_max);
}
