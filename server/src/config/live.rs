//! The configuration as the server works with it: typed, and read without a lock.

use super::Config;
use crate::command::Settings;
use crate::notify;
use sessile::{Db, Durability, Eviction, Options};
use std::time::Duration;

/// Who may use a command that is not for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugAccess {
    /// Nobody.
    No,
    /// Clients on this machine.
    Local,
    /// Everybody.
    Yes,
}

/// The least important message that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Also what is rarely of use.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// Only what is wrong.
    Warning,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How many bytes of replies are held for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// More disconnects at once; 0 is no limit.
    pub hard_bytes: usize,
    /// More disconnects after a while; 0 is no limit.
    pub soft_bytes: usize,
    /// How long.
    pub soft_ms: u64,
}

/// How much of memory and disk the engine may use, and how it goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageLimits {
    /// `maxmemory`; `u64::MAX` is no limit.
    pub memory_bytes_max: u64,
    /// `maxdisk`; `u64::MAX` is no limit.
    pub disk_bytes_max: u64,
    /// `maxmemory-policy`.
    pub eviction: Eviction,
    /// `idle-compression`.
    pub idle_compression: bool,
    /// `checkpoint-log-size`.
    pub checkpoint_log_bytes: u64,
    /// `checkpoint-interval`.
    pub checkpoint_interval: Duration,
    /// `session-events-max-age`; the longest there is if it is not limited.
    pub session_events_max_age: Duration,
    /// `session-events-max-bytes`; `u64::MAX` is no limit.
    pub session_events_bytes_max: u64,
}

impl StorageLimits {
    fn from_config(config: &Config) -> StorageLimits {
        let limit = |name: &str| match config.get(name).parse() {
            Ok(0) | Err(_) => u64::MAX,
            Ok(bytes) => bytes,
        };
        StorageLimits {
            memory_bytes_max: limit("maxmemory"),
            disk_bytes_max: limit("maxdisk"),
            eviction: match config.get("maxmemory-policy") {
                "allkeys-lru" | "allkeys-lfu" => Eviction::AllKeysLru,
                "allkeys-random" => Eviction::AllKeysRandom,
                "volatile-lru" | "volatile-lfu" => Eviction::VolatileLru,
                "volatile-random" => Eviction::VolatileRandom,
                "volatile-ttl" => Eviction::VolatileTtl,
                _ => Eviction::None,
            },
            idle_compression: config.get("idle-compression") == "yes",
            checkpoint_log_bytes: limit("checkpoint-log-size"),
            checkpoint_interval: Duration::from_secs(limit("checkpoint-interval")),
            session_events_max_age: Duration::from_secs(limit("session-events-max-age")),
            session_events_bytes_max: limit("session-events-max-bytes"),
        }
    }

    /// How to open a database with them.
    pub fn options(&self) -> Options {
        Options::new()
            .memory_bytes_max(self.memory_bytes_max)
            .disk_bytes_max(self.disk_bytes_max)
            .eviction(self.eviction)
            .idle_compression(self.idle_compression)
            .checkpoint_log_bytes(self.checkpoint_log_bytes)
            .checkpoint_interval(self.checkpoint_interval)
    }

    /// Puts them into force in an open database.
    pub fn apply(&self, db: &Db) {
        db.set_eviction(self.eviction);
        db.set_memory_bytes_max(self.memory_bytes_max);
        db.set_disk_bytes_max(self.disk_bytes_max);
        db.set_idle_compression(self.idle_compression);
        db.set_checkpoint_trigger(self.checkpoint_log_bytes, self.checkpoint_interval);
        db.set_session_events_kept(self.session_events_max_age, self.session_events_bytes_max);
    }
}

/// The classes of events that are published anywhere.
fn published(flags: u32) -> u32 {
    if flags & (notify::KEYSPACE | notify::KEYEVENT) == 0 { 0 } else { flags }
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Live {
    /// What changes the data commands' answers.
    pub settings: Settings,
    /// What the engine is told of memory and disk.
    pub storage: StorageLimits,
    /// `acl-pubsub-default`: whether a new user may use all channels.
    pub acl_all_channels: bool,
    /// `acllog-max-len`.
    pub acl_log_entries_max: usize,
    /// `slowlog-log-slower-than`, in microseconds; `u64::MAX` is never.
    pub slow_us_min: u64,
    /// `slowlog-max-len`.
    pub slow_log_entries_max: usize,
    /// `latency-monitor-threshold`; `u64::MAX` is none.
    pub latency_ms_min: u64,
    /// `latency-tracking`.
    pub latency_tracking: bool,
    /// Whether an operator wants to see each command that takes long, so that all are timed.
    pub times_all: bool,
    /// `protected-mode`.
    pub protected_mode: bool,
    /// `script-time-limit`: how long a script may run, in ms; 0 for any time.
    pub script_ms_max: u64,
    /// `script-memory-limit`: what the scripts of one thread may hold at a time, in bytes.
    pub script_memory_bytes_max: usize,
    /// `maxclients`.
    pub clients_max: usize,
    /// `timeout`; 0 is never.
    pub idle_ms_max: u64,
    /// `tcp-keepalive`; 0 is none.
    pub keepalive_seconds: u64,
    /// `tracking-table-max-keys`; 0 is any number.
    pub tracking_keys_max: usize,
    /// `client-query-buffer-limit`.
    pub query_bytes_max: usize,
    /// `client-output-buffer-limit` of ordinary clients.
    pub output_limit: OutputLimit,
    /// `client-output-buffer-limit` of subscribers.
    pub pubsub_output_limit: OutputLimit,
    /// `appendfsync`.
    pub durability: Durability,
    /// `loglevel`.
    pub log_level: LogLevel,
    /// `log-format`.
    pub log_format: LogFormat,
    /// `enable-debug-command`.
    pub debug_access: DebugAccess,
    /// `shutdown-timeout`.
    pub shutdown_ms: u64,
}

impl Live {
    /// How many bytes a client may have been told and not taken; 0 is any number.
    pub fn pushed_bytes_max(&self) -> usize {
        self.pubsub_output_limit.hard_bytes
    }

    /// Derives it. The values have been checked when they were set, so that what does not parse here (it can't be) counts as 0.
    pub fn from_config(config: &Config) -> Live {
        let number = |name: &str| config.get(name).parse::<u64>().unwrap_or(0);
        let size = |name: &str| usize::try_from(number(name)).unwrap_or(usize::MAX);
        let limits: Vec<&str> = config.get("client-output-buffer-limit").split(' ').collect();
        let word = |place: usize| limits.get(place).and_then(|word| word.parse().ok()).unwrap_or(0);
        // In the canonical form a class is followed by its three numbers.
        let limit = |class: &str| {
            let place = limits.iter().position(|word| *word == class).unwrap_or(usize::MAX - 3);
            OutputLimit {
                hard_bytes: word(place + 1),
                soft_bytes: word(place + 2),
                soft_ms: word(place + 3) as u64 * 1000,
            }
        };
        // Negative is never, and does not parse as a number without a sign.
        let slow_us_min = config.get("slowlog-log-slower-than").parse().unwrap_or(u64::MAX);
        let latency_ms_min = match number("latency-monitor-threshold") {
            0 => u64::MAX,
            milliseconds => milliseconds,
        };
        Live {
            slow_us_min,
            slow_log_entries_max: size("slowlog-max-len"),
            latency_ms_min,
            latency_tracking: config.get("latency-tracking") == "yes",
            times_all: slow_us_min == 0 || latency_ms_min != u64::MAX,
            settings: Settings {
                proto_max_bulk_len: size("proto-max-bulk-len"),
                hash_max_listpack_entries: size("hash-max-listpack-entries"),
                hash_max_listpack_value: size("hash-max-listpack-value"),
                set_max_intset_entries: size("set-max-intset-entries"),
                hll_sparse_max_bytes: size("hll-sparse-max-bytes"),
                zset_max_listpack_entries: size("zset-max-listpack-entries"),
                zset_max_listpack_value: size("zset-max-listpack-value"),
                notify_events: published(notify::parse(config.get("notify-keyspace-events")).unwrap_or(0)),
            },
            storage: StorageLimits::from_config(config),
            acl_all_channels: config.get("acl-pubsub-default") == "allchannels",
            acl_log_entries_max: size("acllog-max-len"),
            protected_mode: config.get("protected-mode") == "yes",
            script_ms_max: config.get("script-time-limit").parse().unwrap_or(0),
            script_memory_bytes_max: size("script-memory-limit"),
            clients_max: size("maxclients"),
            idle_ms_max: number("timeout") * 1000,
            keepalive_seconds: number("tcp-keepalive"),
            tracking_keys_max: size("tracking-table-max-keys"),
            query_bytes_max: size("client-query-buffer-limit"),
            output_limit: limit("normal"),
            pubsub_output_limit: limit("pubsub"),
            durability: match config.get("appendfsync") {
                "always" => Durability::Always,
                "no" => Durability::No,
                _ => Durability::EverySecond,
            },
            log_level: match config.get("loglevel") {
                "debug" => LogLevel::Debug,
                "verbose" => LogLevel::Verbose,
                "warning" => LogLevel::Warning,
                _ => LogLevel::Notice,
            },
            log_format: if config.get("log-format") == "json" { LogFormat::Json } else { LogFormat::Text },
            debug_access: match config.get("enable-debug-command") {
                "no" => DebugAccess::No,
                "yes" => DebugAccess::Yes,
                _ => DebugAccess::Local,
            },
            shutdown_ms: number("shutdown-timeout") * 1000,
        }
    }
}
