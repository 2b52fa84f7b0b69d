//! How long things took: the distribution of each command's durations ([`Histogram`]), and the moments when something took as long as
//! `latency-monitor-threshold` or longer ([`LatencyMonitor`]).
//!
//! A histogram is written by one loop with plain stores and read by any. Buckets are an eighth of a power of two wide, so that a percentile is told
//! to an eighth or better:
//!
//! ```text
//! bucket   0          1 … 8                 9 … 16                …   153 … 160
//! ns       below 1024 1024·2⁰ … 1024·2¹     1024·2¹ … 1024·2²     …   from 1024·2¹⁹ on
//! ```

use crate::worker::Figure;
use sessile_wal::sync::Mutex;
use std::collections::BTreeMap;
use std::collections::VecDeque;

/// Powers of two that are told apart, from the first on.
const OCTAVES: usize = 20;
/// Buckets of a power of two.
const BUCKETS_OF_OCTAVE: usize = 8;
const BUCKETS: usize = 1 + OCTAVES * BUCKETS_OF_OCTAVE;
/// The binary logarithm of where the first octave begins, ns.
const FIRST_OCTAVE_LOG2: u32 = 10;
/// Samples of an event that are kept.
const SAMPLES_MAX: usize = 160;

/// A command that is flagged as fast took long.
pub const FAST_COMMAND: &str = "fast-command";
/// Another command took long.
pub const COMMAND: &str = "command";
/// A write of the log to the disk took long that acknowledgements waited for.
pub const FSYNC: &str = "aof-fsync-always";

/// See the module's page.
#[derive(Debug)]
pub struct Histogram([Figure; BUCKETS]);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram(std::array::from_fn(|_| Figure::default()))
    }
}

fn bucket_of(nanoseconds: u64) -> usize {
    let log2 = nanoseconds.checked_ilog2().unwrap_or(0);
    let Some(octave) = log2.checked_sub(FIRST_OCTAVE_LOG2) else { return 0 };
    if octave as usize >= OCTAVES {
        return BUCKETS - 1;
    }
    let eighth = (nanoseconds >> (log2 - BUCKETS_OF_OCTAVE.ilog2())) as usize % BUCKETS_OF_OCTAVE;
    1 + octave as usize * BUCKETS_OF_OCTAVE + eighth
}

/// The first duration above a bucket, ns.
fn end_of(bucket: usize) -> u64 {
    let eighths = (bucket + BUCKETS_OF_OCTAVE) as u64;
    let (octave, eighth) = (eighths / BUCKETS_OF_OCTAVE as u64 - 1, eighths % BUCKETS_OF_OCTAVE as u64);
    let begin = 1_u64 << (u64::from(FIRST_OCTAVE_LOG2) + octave);
    begin + eighth * (begin / BUCKETS_OF_OCTAVE as u64)
}

impl Histogram {
    /// Adds a duration. Only the owning thread may.
    pub fn add(&self, nanoseconds: u64) {
        if let Some(bucket) = self.0.get(bucket_of(nanoseconds)) {
            bucket.add(1);
        }
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.0.iter().for_each(Figure::reset);
    }
}

/// The sum of histograms.
#[derive(Clone, Debug)]
pub struct Distribution {
    counts: [u64; BUCKETS],
    total: u64,
}

impl Distribution {
    /// Of these.
    pub fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Distribution {
        let mut counts = [0; BUCKETS];
        for histogram in histograms {
            for (count, figure) in counts.iter_mut().zip(&histogram.0) {
                *count += figure.get();
            }
        }
        Distribution { counts, total: counts.iter().sum() }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Upper bounds in microseconds, powers of two as Redis names them, and how many of `calls` took that long at most, extrapolated from those that
    /// were timed; only where there are more than below.
    pub fn cumulative(&self, calls: u64) -> Vec<(u64, u64)> {
        let mut bounds = Vec::new();
        let (mut below, mut shown) = (0_u64, 0);
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            let bound = end_of(bucket);
            if below > shown && bound.is_power_of_two() {
                shown = below;
                // What Redis's histogram takes to be the same as the bound.
                let microseconds = (bound + bound / 128) / 1000;
                let scaled = u128::from(below) * u128::from(calls) / u128::from(self.total.max(1));
                bounds.push((microseconds, u64::try_from(scaled).unwrap_or(u64::MAX)));
            }
        }
        bounds
    }

    /// The duration in microseconds that this percentage of durations does not exceed, to the width of a bucket.
    pub fn percentile(&self, percent: f64) -> f64 {
        let rank = ((self.total as f64 * percent / 100.0).ceil()).max(1.0);
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below as f64 >= rank {
                return (end_of(bucket) - 1) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// A moment when an event took long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, in seconds since the epoch.
    pub at_seconds: u64,
    /// The longest in that second, ms.
    pub milliseconds: u64,
}

/// An event's latest samples.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// Oldest first.
    pub samples: VecDeque<Sample>,
    /// The longest ever, ms.
    pub milliseconds_max: u64,
}

/// See the module's page.
#[derive(Debug, Default)]
pub struct LatencyMonitor(Mutex<BTreeMap<&'static str, Event>>);

impl LatencyMonitor {
    /// Notes that an event took so long; whether that is long is for the caller to say.
    pub fn add(&self, event: &'static str, sample: Sample) {
        let mut events = self.0.lock();
        let event = events.entry(event).or_default();
        event.milliseconds_max = event.milliseconds_max.max(sample.milliseconds);
        if let Some(last) = event.samples.back_mut()
            && last.at_seconds == sample.at_seconds
        {
            last.milliseconds = last.milliseconds.max(sample.milliseconds);
            return;
        }
        if event.samples.len() == SAMPLES_MAX {
            event.samples.pop_front();
        }
        event.samples.push_back(sample);
    }

    /// The event of this name, in any case, as it is now.
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, Event)> {
        let events = self.0.lock();
        let found = events.iter().find(|(event, _)| event.as_bytes().eq_ignore_ascii_case(name));
        found.map(|(name, event)| (*name, event.clone()))
    }

    /// All events, by name.
    pub fn all(&self) -> Vec<(&'static str, Event)> {
        self.0.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// Forgets these events, or all where none is named; how many there were.
    pub fn reset(&self, names: &[&[u8]]) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|event, _| {
            !names.is_empty() && !names.iter().any(|name| event.as_bytes().eq_ignore_ascii_case(name))
        });
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_bucket_that_ends_above_it() {
        for nanoseconds in (0..20_000).chain((14..30).map(|log2| (1 << log2) - 1)) {
            let bucket = bucket_of(nanoseconds);
            assert!(nanoseconds < end_of(bucket), "{nanoseconds}");
            assert!(bucket == 0 || nanoseconds >= end_of(bucket - 1), "{nanoseconds}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(end_of(0), 1024);
        assert_eq!(end_of(BUCKETS - 1), 1 << 30);
    }

    #[test]
    fn bounds_are_redis_s_and_counts_extrapolated() {
        let histogram = Histogram::default();
        for nanoseconds in [500, 15_000, 120_000, 1_060_000, 60_000_000] {
            histogram.add(nanoseconds);
        }
        let distribution = Distribution::of([&histogram].into_iter());
        assert_eq!(distribution.cumulative(10), [(1, 2), (16, 4), (132, 6), (2113, 8), (67_633, 10)]);
        assert!((distribution.percentile(50.0) - 120.0).abs() < 15.0, "{}", distribution.percentile(50.0));
        assert!((distribution.percentile(100.0) - 60_000.0).abs() < 7_500.0);
        assert!(distribution.percentile(0.0) < 1.1);
    }

    #[test]
    fn an_event_keeps_its_latest_samples() {
        let monitor = LatencyMonitor::default();
        for at_seconds in 0..200 {
            monitor.add(COMMAND, Sample { at_seconds, milliseconds: 10 });
            monitor.add(COMMAND, Sample { at_seconds, milliseconds: at_seconds });
        }
        let (name, event) = monitor.event(b"Command").expect("known");
        assert_eq!((name, event.samples.len(), event.milliseconds_max), (COMMAND, SAMPLES_MAX, 199));
        assert_eq!(event.samples[0], Sample { at_seconds: 40, milliseconds: 40 });
        assert_eq!(monitor.reset(&[b"nothing"]), 0);
        assert_eq!(monitor.reset(&[]), 1);
    }
}
