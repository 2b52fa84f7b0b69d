//! `INFO`: the state of the server, for people and for what watches over it. A field that nothing is measured for is left out.

use super::args::is;
use super::connection::REDIS_VERSION;
use super::flags::{LOADING, STALE};
use super::latency::distribution;
use super::table::table;
use super::{Command, CommandResult, KeySpec, Run, ServerCall};
use crate::process;
use crate::pubsub::Kind;
use crate::server::Server;
use crate::worker::{CommandFigures, Figures};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[Command {
    name: "info",
    arity: -1,
    flags: LOADING | STALE,
    keys: KeySpec::None,
    categories: &["dangerous"],
    group: "server",
    since: "1.0.0",
    summary: "Figures and facts about the server",
    complexity: "O(N) where N is the number of commands and event loops",
    subcommands: &[],
    run: Run::Server(info),
}];

/// Writes one section. Writing into a `String` can't fail, so that results are not looked at.
type Section = fn(&mut String, &Server, u64);

/// Sections in order: name, title, whether it is among the default ones, and what writes it.
const SECTIONS: &[(&str, &str, bool, Section)] = &[
    ("server", "Server", true, server_section),
    ("clients", "Clients", true, clients),
    ("memory", "Memory", true, memory),
    ("persistence", "Persistence", true, persistence),
    ("stats", "Stats", true, stats),
    ("replication", "Replication", true, replication),
    ("cpu", "CPU", true, cpu),
    ("modules", "Modules", true, |_, _, _| {}),
    ("commandstats", "Commandstats", false, commandstats),
    ("errorstats", "Errorstats", true, errorstats),
    ("latencystats", "Latencystats", false, latencystats),
    ("cluster", "Cluster", true, |text, _, _| text.push_str("cluster_enabled:0\r\n")),
    ("keyspace", "Keyspace", true, keyspace),
    ("sessile", "Sessile", true, sessile_section),
    ("sessions", "Sessions", true, sessions_section),
    ("storage", "Storage", true, storage_section),
];

fn info(call: &mut ServerCall<'_>) -> CommandResult {
    let wanted = &call.args[1..];
    let any = |name: &str| wanted.iter().any(|section| is(section, name));
    let everything = any("all") || any("everything");
    let default = wanted.is_empty() || any("default");
    let mut text = String::new();
    for (name, title, is_default, write) in SECTIONS {
        if everything || (default && *is_default) || any(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {title}\r\n");
            write(&mut text, &call.worker.server, call.worker.now_ms);
        }
    }
    call.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// The sum of a figure over the loops.
fn sum(server: &Server, figure: impl Fn(&Figures) -> u64) -> u64 {
    server.figures.lock().iter().map(|figures| figure(figures)).sum()
}

/// Bytes for people, as Redis writes them.
fn human(bytes: u64) -> String {
    let bytes_f = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes}B"),
        1_024..1_048_576 => format!("{:.2}K", bytes_f / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.2}M", bytes_f / 1_048_576.0),
        1_073_741_824..1_099_511_627_776 => format!("{:.2}G", bytes_f / 1_073_741_824.0),
        _ => format!("{:.2}T", bytes_f / 1_099_511_627_776.0),
    }
}

fn server_section(text: &mut String, server: &Server, now_ms: u64) {
    let config = server.config();
    let uptime = now_ms.saturating_sub(server.started_ms) / 1000;
    let _ = write!(
        text,
        "redis_version:{REDIS_VERSION}\r\nsessile_version:{}\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0\r\nredis_mode:standalone\r\nos:{}\r\narch_bits:{}\r\nmultiplexing_api:epoll\r\nprocess_id:{}\r\nprocess_supervised:no\r\nrun_id:{}\r\ntcp_port:{}\r\nserver_time_usec:{}\r\nuptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\nhz:{}\r\nconfigured_hz:{}\r\nexecutable:{}\r\nconfig_file:{}\r\nio_threads_active:{}\r\n",
        env!("CARGO_PKG_VERSION"),
        process::operating_system(),
        usize::BITS,
        std::process::id(),
        server.run_id,
        config.get("port"),
        server.db.now_us(),
        uptime / 86_400,
        config.get("hz"),
        config.get("hz"),
        std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
        server.config_file.as_deref().unwrap_or_default(),
        u8::from(server.loops.get().is_some_and(|loops| loops.len() > 1)),
    );
}

fn clients(text: &mut String, server: &Server, _: u64) {
    let cards = server.clients.all();
    let watched = || cards.iter().map(|card| card.watched.load(Ordering::Relaxed));
    let _ = write!(
        text,
        "connected_clients:{}\r\ncluster_connections:0\r\nmaxclients:{}\r\nblocked_clients:{}\r\ntracking_clients:{}\r\npubsub_clients:{}\r\nwatching_clients:{}\r\nclients_in_timeout_table:{}\r\ntotal_watched_keys:{}\r\ntotal_blocking_keys:{}\r\n",
        server.clients.count(),
        server.config().get("maxclients"),
        server.blocked.count(),
        server.tracking.count(),
        cards.iter().filter(|card| card.is_subscriber()).count(),
        watched().filter(|keys| *keys > 0).count(),
        server.blocked.count_with_deadline(),
        watched().sum::<usize>(),
        server.blocked.count_keys(),
    );
}

fn memory(text: &mut String, server: &Server, _: u64) {
    let stats = server.db.stats();
    let used = stats.memory_bytes;
    let resident = process::resident_bytes();
    let total = process::machine_memory_bytes();
    let config = server.config();
    let limit: u64 = config.get("maxmemory").parse().unwrap_or(0);
    for (name, bytes) in [
        ("used_memory", used),
        ("used_memory_rss", resident),
        ("used_memory_peak", stats.memory_peak_bytes),
        ("total_system_memory", total),
        ("maxmemory", limit),
    ] {
        let _ = write!(text, "{name}:{bytes}\r\n{name}_human:{}\r\n", human(bytes));
    }
    let _ = write!(
        text,
        "used_memory_peak_perc:{:.2}%\r\nused_memory_dataset:{used}\r\nused_memory_dataset_perc:100.00%\r\nmaxmemory_policy:{}\r\nmem_fragmentation_ratio:{:.2}\r\nmem_fragmentation_bytes:{}\r\nmem_clients_normal:{}\r\nmem_allocator:{}\r\nactive_defrag_running:0\r\n",
        used as f64 * 100.0 / stats.memory_peak_bytes.max(1) as f64,
        config.get("maxmemory-policy"),
        resident as f64 / used.max(1) as f64,
        resident.saturating_sub(used),
        client_bytes(server),
        process::ALLOCATOR,
    );
}

fn client_bytes(server: &Server) -> usize {
    server
        .clients
        .all()
        .iter()
        .map(|card| card.query_bytes.load(Ordering::Relaxed) + card.reply_bytes.load(Ordering::Relaxed))
        .sum()
}

/// A checkpoint is to Redis's words a save and a rewrite at once: both families of fields tell of it. Segments and index are the base file,
/// the log since then is what has been appended to it.
fn persistence(text: &mut String, server: &Server, now_ms: u64) {
    let stats = server.db.stats();
    let storage = &stats.storage;
    let write_status =
        if stats.log.poisoned || stats.log.disk_full || storage.short_of_space { "err" } else { "ok" };
    let status = if storage.last_checkpoint_failed { "err" } else { "ok" };
    let seconds = |ms: u64| (ms / 1000) as i64;
    let last = if storage.checkpoints > 0 { seconds(storage.last_checkpoint_took_ms) } else { -1 };
    let current = server.checkpoints.observe(storage.checkpoint_running, now_ms).map_or(-1, seconds);
    let running = i64::from(storage.checkpoint_running);
    let base_bytes = (storage.segment_bytes + storage.index_bytes) as i64;
    let number = |text: &mut String, name: &str, value: i64| {
        let _ = write!(text, "{name}:{value}\r\n");
    };
    let word = |text: &mut String, name: &str, value: &str| {
        let _ = write!(text, "{name}:{value}\r\n");
    };
    number(text, "loading", 0);
    number(text, "async_loading", 0);
    number(text, "rdb_changes_since_last_save", storage.changes_since_checkpoint as i64);
    number(text, "rdb_bgsave_in_progress", running);
    number(text, "rdb_last_save_time", seconds(server.last_checkpoint_ms()));
    word(text, "rdb_last_bgsave_status", status);
    number(text, "rdb_last_bgsave_time_sec", last);
    number(text, "rdb_current_bgsave_time_sec", current);
    number(text, "rdb_saves", storage.checkpoints as i64);
    number(text, "rdb_last_cow_size", 0);
    number(text, "rdb_last_load_keys_loaded", server.db.recovery().keys as i64);
    number(text, "aof_enabled", 1);
    number(text, "aof_rewrite_in_progress", running);
    number(text, "aof_rewrite_scheduled", i64::from(server.checkpoints.is_scheduled()));
    number(text, "aof_last_rewrite_time_sec", last);
    number(text, "aof_current_rewrite_time_sec", current);
    word(text, "aof_last_bgrewrite_status", status);
    number(text, "aof_rewrites", storage.checkpoints as i64);
    word(text, "aof_last_write_status", write_status);
    number(text, "aof_last_cow_size", 0);
    number(text, "module_fork_in_progress", 0);
    number(text, "module_fork_last_cow_size", 0);
    number(text, "aof_current_size", base_bytes + storage.log_bytes_since_checkpoint as i64);
    number(text, "aof_base_size", base_bytes);
}

fn stats(text: &mut String, server: &Server, _: u64) {
    let rate = server.rate();
    let figures = server.db.stats();
    for (name, value) in [
        ("total_connections_received", server.shared.connections.load(Ordering::Relaxed)),
        ("total_commands_processed", sum(server, |figures| figures.processed.get())),
        ("instantaneous_ops_per_sec", rate.commands_per_second),
        ("total_net_input_bytes", sum(server, |figures| figures.bytes_in.get())),
        ("total_net_output_bytes", sum(server, |figures| figures.bytes_out.get())),
    ] {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    let _ = write!(
        text,
        "instantaneous_input_kbps:{:.2}\r\ninstantaneous_output_kbps:{:.2}\r\n",
        rate.bytes_in_per_second as f64 / 1024.0,
        rate.bytes_out_per_second as f64 / 1024.0,
    );
    let (tracked_keys, tracked_items, tracked_prefixes) = server.tracking.figures();
    for (name, value) in [
        ("rejected_connections", server.shared.rejected.load(Ordering::Relaxed)),
        ("expired_keys", figures.expired_keys),
        ("evicted_keys", figures.storage.keys_evicted),
        ("keyspace_hits", sum(server, |figures| figures.hits.get())),
        ("keyspace_misses", sum(server, |figures| figures.misses.get())),
        ("evicted_clients", 0),
        ("pubsub_channels", server.pubsub.names_count(Kind::Channel) as u64),
        ("pubsub_patterns", server.pubsub.names_count(Kind::Pattern) as u64),
        ("pubsubshard_channels", server.pubsub.names_count(Kind::Shard) as u64),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        ("tracking_total_keys", tracked_keys as u64),
        ("tracking_total_items", tracked_items as u64),
        ("tracking_total_prefixes", tracked_prefixes as u64),
        ("total_error_replies", sum(server, |figures| figures.errors.get())),
        ("client_query_buffer_limit_disconnections", sum(server, |figures| figures.query_overruns.get())),
        ("client_output_buffer_limit_disconnections", sum(server, |figures| figures.output_overruns.get())),
        ("acl_access_denied_auth", server.shared.authentication_failures.load(Ordering::Relaxed)),
    ] {
        let _ = write!(text, "{name}:{value}\r\n");
    }
}

fn replication(text: &mut String, server: &Server, _: u64) {
    let _ = write!(
        text,
        "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\nmaster_replid:{}\r\nmaster_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_size:0\r\nrepl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n",
        server.run_id,
    );
}

fn cpu(text: &mut String, _: &Server, _: u64) {
    let (user, system) = process::cpu_seconds();
    let _ = write!(text, "used_cpu_sys:{system:.6}\r\nused_cpu_user:{user:.6}\r\n");
}

fn commandstats(text: &mut String, server: &Server, _: u64) {
    let loops = server.figures.lock().clone();
    for number in 0..table().numbers() {
        let sum = |figure: fn(&CommandFigures) -> u64| -> u64 {
            loops.iter().filter_map(|figures| figures.commands.get(number)).map(figure).sum()
        };
        let (calls, rejected) = (sum(|figures| figures.calls.get()), sum(|figures| figures.rejected.get()));
        if calls + rejected == 0 {
            continue;
        }
        let nanoseconds = u128::from(sum(|figures| figures.nanoseconds.get()));
        let timed = u128::from(sum(|figures| figures.timed.get()).max(1));
        let microseconds = nanoseconds * u128::from(calls) / timed / 1000;
        let _ = write!(
            text,
            "cmdstat_{}:calls={calls},usec={microseconds},usec_per_call={:.2},rejected_calls={rejected},failed_calls={}\r\n",
            table().name(number as u16),
            microseconds as f64 / calls.max(1) as f64,
            sum(|figures| figures.failed.get()),
        );
    }
}

fn errorstats(text: &mut String, server: &Server, _: u64) {
    for (code, count) in &*server.errors.lock() {
        let _ = write!(text, "errorstat_{code}:count={count}\r\n");
    }
}

/// Percentiles of how long commands take.
fn latencystats(text: &mut String, server: &Server, _: u64) {
    let config = server.config();
    let percentiles: Vec<&str> = config.get("latency-tracking-info-percentiles").split_whitespace().collect();
    for number in 0..table().numbers() {
        let (_, distribution) = distribution(server, number as u16);
        if distribution.is_empty() {
            continue;
        }
        let shown: Vec<String> = percentiles
            .iter()
            .map(|percentile| {
                let percent = percentile.parse().unwrap_or(100.0);
                format!("p{percentile}={:.3}", distribution.percentile(percent))
            })
            .collect();
        let name = table().name(number as u16);
        let _ = write!(text, "latency_percentiles_usec_{name}:{}\r\n", shown.join(","));
    }
}

fn keyspace(text: &mut String, server: &Server, _: u64) {
    for database in 0..sessile::DATABASES {
        let keys = server.db.len_of(database);
        if keys > 0 {
            let expires = server.db.len_with_deadline(database);
            let _ = write!(text, "db{database}:keys={keys},expires={expires},avg_ttl=0\r\n");
        }
    }
}

fn sessile_section(text: &mut String, server: &Server, _: u64) {
    let stats = server.db.stats();
    let loops = server.loops.get().map_or(0, Vec::len) as u64;
    for (name, value) in [
        ("event_loops", loops),
        ("resident_peak_bytes", process::resident_peak_bytes()),
        ("event_loops_active", server.active_loops().len() as u64),
        ("event_loop_turns", sum(server, |figures| figures.turns.get())),
        ("clients_peak", server.shared.clients_peak.load(Ordering::Relaxed) as u64),
        ("expiry_lag_ms", stats.expiry_lag_ms),
        ("expiry_lag_max_ms", stats.expiry_lag_max_ms),
        ("log_appended_bytes", stats.log.appended_bytes),
        ("log_records", stats.log.records),
        ("log_writes", stats.log.writes),
        ("log_syncs", stats.log.syncs),
        ("log_last_sync_us", stats.log.last_sync_us),
        ("log_files", stats.log.files),
        ("log_file_bytes", stats.log.file_bytes),
        ("log_failed", u64::from(stats.log.poisoned)),
        ("disk_full", u64::from(stats.log.disk_full || stats.storage.short_of_space)),
    ] {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    let _ = write!(text, "appendfsync:{}\r\n", server.config().get("appendfsync"));
}

/// What there is of native sessions.
fn sessions_section(text: &mut String, server: &Server, now_ms: u64) {
    let _ = write!(
        text,
        "sessions:{}\r\nsessions_expired:{}\r\nsession_classes:{}\r\nsession_leases:{}\r\n",
        server.db.sessions_kept(),
        server.db.sessions_expired(),
        server.db.session_policies().len(),
        server.leases.held(now_ms),
    );
}

/// Where the data is, and what checkpoints and compaction do.
fn storage_section(text: &mut String, server: &Server, _: u64) {
    let storage = server.db.stats().storage;
    for (name, value) in [
        ("checkpoint_in_progress", u64::from(storage.checkpoint_running)),
        ("checkpoints", storage.checkpoints),
        ("checkpoints_failed", storage.checkpoints_failed),
        ("last_checkpoint_failed", u64::from(storage.last_checkpoint_failed)),
        ("last_checkpoint_ms", storage.last_checkpoint_ms),
        ("last_checkpoint_took_ms", storage.last_checkpoint_took_ms),
        ("changes_since_checkpoint", storage.changes_since_checkpoint),
        ("log_bytes_since_checkpoint", storage.log_bytes_since_checkpoint),
        ("values_resident", storage.values_resident),
        ("values_compressed", storage.values_compressed),
        ("values_cold", storage.values_cold),
        ("slab_bytes", storage.slab_bytes),
        ("values_dirty", storage.values_dirty),
        ("values_evicted", storage.values_evicted),
        ("keys_evicted", storage.keys_evicted),
        ("cold_reads", storage.cold_reads),
        ("cold_reads_waited", storage.cold_reads_waited),
        ("damaged_reads", storage.damaged_reads),
        ("segments", storage.segments),
        ("segment_bytes", storage.segment_bytes),
        ("segment_live_bytes", storage.segment_live_bytes),
        ("index_bytes", storage.index_bytes),
        ("disk_bytes", storage.disk_bytes),
        ("segments_compacted", storage.segments_compacted),
        ("compacted_bytes", storage.compacted_bytes),
        ("segments_dropped", storage.segments_dropped),
        ("bytes_written", storage.bytes_written),
        ("dictionaries", storage.dictionaries),
        ("compressed_from_bytes", storage.compressed_from_bytes),
        ("compressed_to_bytes", storage.compressed_to_bytes),
    ] {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    let _ = write!(text, "maxdisk:{}\r\n", server.config().get("maxdisk"));
}
