//! The table of directives: those that do something here first, then those that Redis has and Sessile does not need.

use super::directive::{Directive, Kind, Role};

const fn used(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    mutable: bool,
    summary: &'static str,
) -> Directive {
    Directive { name, alias: None, kind, default, mutable, role: Role::Used, summary }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a constant function can't take a part of what it is given a reference to"
)]
const fn renamed(alias: &'static str, directive: Directive) -> Directive {
    Directive { alias: Some(alias), ..directive }
}

const fn ignored(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    mutable: bool,
    why: &'static str,
) -> Directive {
    Directive { name, alias: None, kind, default, mutable, role: Role::Ignored, summary: why }
}

const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn bytes(min: i64, max: i64) -> Kind {
    Kind::Bytes { min, max }
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const CONTAINERS: &str =
    "containers that are small are flat here by our own limits; reported for clients that ask";
const NO_SNAPSHOTS: &str = "the log is always on and checkpoints need no save points; see checkpoint-log-size and checkpoint-interval";
const NO_AOF: &str =
    "there is one log, always on, and checkpoints release it; see appendfsync and checkpoint-log-size";
const NO_REPLICAS: &str = "there is no replication";
const NO_DEFRAG: &str = "there is no defragmentation to tune";
const NO_LAZYFREE: &str = "what is removed is always freed in small steps";
const OWN_EVICTION: &str = "what leaves memory is chosen in another way; see maxmemory-policy";

/// Every directive that Sessile knows.
pub const DIRECTIVES: &[Directive] = &[
    used(
        "bind",
        Kind::Words,
        "127.0.0.1 -::1",
        false,
        "addresses to listen on; one with '-' before it may be missing on this machine",
    ),
    used("port", integer(0, 65535), "6379", false, "TCP port to listen on; 0 for none"),
    used("unixsocket", Kind::Text, "", false, "path of a Unix socket to listen on"),
    used(
        "unixsocketperm",
        Kind::Octal,
        "0",
        false,
        "permissions of the Unix socket, octal; 0 leaves them to the umask",
    ),
    used("tcp-backlog", integer(0, INT), "511", false, "length of the queue of connections to be accepted"),
    used("tcp-keepalive", integer(0, INT), "300", true, "seconds between TCP keep-alives; 0 for none"),
    used(
        "tracking-table-max-keys",
        integer(0, LONG),
        "1000000",
        true,
        "keys that are remembered for clients that track what they read (0: any number)",
    ),
    used(
        "timeout",
        integer(0, INT),
        "0",
        true,
        "seconds after which an idle client is disconnected; 0 for never",
    ),
    used(
        "protected-mode",
        Kind::Flag,
        "yes",
        true,
        "refuse clients from other machines while there is no password",
    ),
    used("requirepass", Kind::Text, "", true, "password of the default user"),
    used("maxclients", integer(1, u32::MAX as i64), "10000", true, "most clients at a time"),
    used("io-threads", integer(0, 128), "0", false, "event loops; 0 for one per core"),
    used("dir", Kind::Text, "./data", false, "the data directory; created if missing"),
    used(
        "appendfsync",
        Kind::Choice(&["everysec", "always", "no"]),
        "everysec",
        true,
        "what an acknowledged write survives: always a power cut, everysec any crash of the process (a power cut costs a second at most), no any crash of the process",
    ),
    used(
        "maxmemory",
        bytes(0, LONG),
        "0",
        true,
        "bytes of memory that the process may hold, RSS; beyond, maxmemory-policy says what gives way; 0 for no limit",
    ),
    used(
        "session-events-max-age",
        integer(0, INT),
        "604800",
        true,
        "seconds for which SESSION.EVENTS keeps an event; 0 for no limit",
    ),
    used(
        "session-events-max-bytes",
        bytes(0, LONG),
        "67108864",
        true,
        "bytes of events that SESSION.EVENTS keeps, the oldest go first; 0 for no limit",
    ),
    used(
        "maxmemory-policy",
        Kind::Choice(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
        "noeviction",
        true,
        "noeviction: idle values leave memory for the disk, no data is lost, and writes are not refused (unlike Redis); the others delete keys as in Redis, the lfu ones as if they were lru",
    ),
    used(
        "maxdisk",
        bytes(0, LONG),
        "0",
        true,
        "bytes that the data directory may hold; beyond, commands that may add data answer -OOM; 0 for no limit (not in Redis)",
    ),
    used(
        "idle-compression",
        Kind::Flag,
        "no",
        true,
        "hold idle values compressed in memory; the first read of one costs about 1.5 us more (not in Redis)",
    ),
    used(
        "checkpoint-log-size",
        bytes(1 << 20, LONG),
        "268435456",
        true,
        "bytes of log written since the last checkpoint that begin the next (not in Redis)",
    ),
    used(
        "checkpoint-interval",
        integer(1, INT),
        "900",
        true,
        "seconds after the last checkpoint that begin the next, if anything was written (not in Redis)",
    ),
    used(
        "proto-max-bulk-len",
        bytes(1 << 20, sessile::VALUE_BYTES_MAX as i64),
        "536870912",
        true,
        "longest argument and string value; at most 512mb",
    ),
    used(
        "script-time-limit",
        integer(0, LONG),
        "0",
        true,
        "milliseconds that a script may run; 0 for any time, since one that runs long stops nobody (not in Redis)",
    ),
    used(
        "script-memory-limit",
        bytes(4 << 20, 4 << 30),
        "67108864",
        true,
        "bytes that the scripts of a thread may hold at a time (not in Redis)",
    ),
    used(
        "client-query-buffer-limit",
        bytes(1 << 20, LONG),
        "1073741824",
        true,
        "longest request, and most that MULTI queues",
    ),
    used(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        true,
        "replies held for a client before it is disconnected: class, hard limit, soft limit, seconds over the soft limit; without one, a client that takes no replies is not executed for",
    ),
    used(
        "notify-keyspace-events",
        Kind::EventClasses,
        "",
        true,
        "which events of keys are published: K by key, E by event, and classes of events (g$lshzxetdmn, A for most)",
    ),
    used(
        "loglevel",
        Kind::Choice(&["debug", "verbose", "notice", "warning"]),
        "notice",
        true,
        "least important message that is logged",
    ),
    used(
        "log-format",
        Kind::Choice(&["text", "json"]),
        "text",
        false,
        "how log lines are written (not in Redis)",
    ),
    used("enable-debug-command", Kind::Choice(&["no", "local", "yes"]), "local", false, "who may use DEBUG"),
    used(
        "enable-protected-configs",
        Kind::Choice(&["no", "local", "yes"]),
        "no",
        false,
        "who may change dir and its like",
    ),
    used(
        "shutdown-timeout",
        integer(0, INT),
        "10",
        true,
        "seconds that clients have at shutdown to take their replies",
    ),
    renamed(
        "hash-max-ziplist-entries",
        used(
            "hash-max-listpack-entries",
            integer(0, LONG),
            "512",
            true,
            "what OBJECT ENCODING calls a listpack: fields",
        ),
    ),
    renamed(
        "hash-max-ziplist-value",
        used(
            "hash-max-listpack-value",
            integer(0, LONG),
            "64",
            true,
            "what OBJECT ENCODING calls a listpack: bytes of a value",
        ),
    ),
    ignored("maxmemory-samples", integer(1, INT), "5", true, OWN_EVICTION),
    ignored("maxmemory-clients", Kind::Text, "0", true, OWN_EVICTION),
    ignored("maxmemory-eviction-tenacity", integer(0, 100), "10", true, OWN_EVICTION),
    ignored("lfu-log-factor", integer(0, INT), "10", true, OWN_EVICTION),
    ignored("lfu-decay-time", integer(0, INT), "1", true, OWN_EVICTION),
    renamed(
        "list-max-ziplist-size",
        ignored("list-max-listpack-size", integer(-5, INT), "-2", true, CONTAINERS),
    ),
    ignored("list-compress-depth", integer(0, INT), "0", true, CONTAINERS),
    used(
        "set-max-intset-entries",
        integer(0, LONG),
        "512",
        true,
        "what OBJECT ENCODING calls an intset: members",
    ),
    ignored("set-max-listpack-entries", integer(0, LONG), "128", true, CONTAINERS),
    ignored("set-max-listpack-value", integer(0, LONG), "64", true, CONTAINERS),
    renamed(
        "zset-max-ziplist-entries",
        used(
            "zset-max-listpack-entries",
            integer(0, LONG),
            "128",
            true,
            "what OBJECT ENCODING calls a listpack, of sorted sets: members",
        ),
    ),
    renamed(
        "zset-max-ziplist-value",
        used(
            "zset-max-listpack-value",
            integer(0, LONG),
            "64",
            true,
            "what OBJECT ENCODING calls a listpack, of sorted sets: bytes of a member",
        ),
    ),
    used(
        "hll-sparse-max-bytes",
        bytes(0, LONG),
        "3000",
        true,
        "a HyperLogLog longer than this becomes a dense one",
    ),
    ignored("stream-node-max-bytes", bytes(0, LONG), "4096", true, CONTAINERS),
    ignored("stream-node-max-entries", integer(0, LONG), "100", true, CONTAINERS),
    ignored("databases", integer(1, 16), "16", false, "there are always 16"),
    ignored("save", Kind::SavePoints, "", true, NO_SNAPSHOTS),
    ignored("dbfilename", Kind::Text, "dump.rdb", false, NO_SNAPSHOTS),
    ignored("rdbcompression", Kind::Flag, "yes", true, NO_SNAPSHOTS),
    ignored("rdbchecksum", Kind::Flag, "yes", false, NO_SNAPSHOTS),
    ignored("rdb-del-sync-files", Kind::Flag, "no", true, NO_SNAPSHOTS),
    ignored("rdb-save-incremental-fsync", Kind::Flag, "yes", true, NO_SNAPSHOTS),
    ignored("sanitize-dump-payload", Kind::Choice(&["no", "yes", "clients"]), "no", true, NO_SNAPSHOTS),
    ignored("stop-writes-on-bgsave-error", Kind::Flag, "yes", true, NO_SNAPSHOTS),
    ignored("appendonly", Kind::Flag, "yes", false, NO_AOF),
    ignored("appendfilename", Kind::Text, "appendonly.aof", false, NO_AOF),
    ignored("appenddirname", Kind::Text, "appendonlydir", false, NO_AOF),
    ignored("no-appendfsync-on-rewrite", Kind::Flag, "no", true, NO_AOF),
    ignored("auto-aof-rewrite-percentage", integer(0, INT), "100", true, NO_AOF),
    ignored("auto-aof-rewrite-min-size", bytes(0, LONG), "67108864", true, NO_AOF),
    ignored("aof-load-truncated", Kind::Flag, "yes", true, NO_AOF),
    ignored("aof-use-rdb-preamble", Kind::Flag, "yes", true, NO_AOF),
    ignored("aof-rewrite-incremental-fsync", Kind::Flag, "yes", true, NO_AOF),
    ignored("aof-timestamp-enabled", Kind::Flag, "no", true, NO_AOF),
    ignored("activedefrag", Kind::Flag, "no", true, NO_DEFRAG),
    ignored("active-defrag-cycle-min", integer(1, 99), "1", true, NO_DEFRAG),
    ignored("active-defrag-cycle-max", integer(1, 99), "25", true, NO_DEFRAG),
    ignored("active-defrag-ignore-bytes", bytes(1, LONG), "104857600", true, NO_DEFRAG),
    ignored("active-defrag-max-scan-fields", integer(1, LONG), "1000", true, NO_DEFRAG),
    ignored("active-defrag-threshold-lower", integer(0, 1000), "10", true, NO_DEFRAG),
    ignored("active-defrag-threshold-upper", integer(0, 1000), "100", true, NO_DEFRAG),
    ignored("active-expire-effort", integer(1, 10), "1", true, "expiry is exact and needs no effort set"),
    ignored("activerehashing", Kind::Flag, "yes", true, "the index grows in small steps, always"),
    ignored("lazyfree-lazy-eviction", Kind::Flag, "no", true, NO_LAZYFREE),
    ignored("lazyfree-lazy-expire", Kind::Flag, "no", true, NO_LAZYFREE),
    ignored("lazyfree-lazy-server-del", Kind::Flag, "no", true, NO_LAZYFREE),
    ignored("lazyfree-lazy-user-del", Kind::Flag, "no", true, NO_LAZYFREE),
    ignored("lazyfree-lazy-user-flush", Kind::Flag, "no", true, NO_LAZYFREE),
    ignored("replica-lazy-flush", Kind::Flag, "no", true, NO_LAZYFREE),
    ignored("daemonize", Kind::Choice(&["no"]), "no", false, "a service manager keeps it in the background"),
    ignored(
        "supervised",
        Kind::Choice(&["no", "upstart", "systemd", "auto"]),
        "no",
        false,
        "a service manager needs no word from it",
    ),
    ignored("pidfile", Kind::Text, "", false, "the lock in the data directory holds the process id"),
    ignored("logfile", Kind::Text, "", false, "the log goes to standard output; a service manager keeps it"),
    ignored("syslog-enabled", Kind::Flag, "no", false, "the log goes to standard output"),
    ignored("syslog-ident", Kind::Text, "redis", false, "the log goes to standard output"),
    ignored("syslog-facility", Kind::Text, "local0", false, "the log goes to standard output"),
    ignored("crash-log-enabled", Kind::Flag, "yes", true, "a panic is always logged"),
    ignored("crash-memcheck-enabled", Kind::Flag, "yes", true, "there is no memory check"),
    ignored("always-show-logo", Kind::Flag, "no", false, "there is no logo"),
    ignored("set-proc-title", Kind::Flag, "yes", false, "the process keeps its title"),
    ignored(
        "proc-title-template",
        Kind::Text,
        "{title} {listen-addr} {server-mode}",
        true,
        "the process keeps its title",
    ),
    ignored("hz", integer(0, INT), "10", true, "nothing is done by a fixed beat"),
    ignored("dynamic-hz", Kind::Flag, "yes", true, "nothing is done by a fixed beat"),
    ignored("io-threads-do-reads", Kind::Flag, "yes", false, "every loop reads, executes and writes"),
    ignored("lua-time-limit", integer(0, LONG), "5000", true, "a script that takes long stops nobody"),
    ignored("busy-reply-threshold", integer(0, LONG), "5000", true, "a script that takes long stops nobody"),
    used(
        "slowlog-log-slower-than",
        integer(-1, LONG),
        "10000",
        true,
        "commands that run longer, in microseconds, are in SLOWLOG; 0 all, negative none",
    ),
    used("slowlog-max-len", integer(0, LONG), "128", true, "most entries of SLOWLOG"),
    used(
        "latency-monitor-threshold",
        integer(0, LONG),
        "0",
        true,
        "events that take as long, in milliseconds, are in LATENCY; 0 for none",
    ),
    used(
        "latency-tracking",
        Kind::Flag,
        "yes",
        true,
        "time every command for INFO latencystats and LATENCY HISTOGRAM",
    ),
    used(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        true,
        "percentiles of INFO latencystats",
    ),
    used("acllog-max-len", integer(0, LONG), "128", true, "most entries of ACL LOG"),
    used("aclfile", Kind::Text, "", false, "file that users are read from, and written to by ACL SAVE"),
    used(
        "acl-pubsub-default",
        Kind::Choice(&["allchannels", "resetchannels"]),
        "resetchannels",
        true,
        "channels of a new user",
    ),
    ignored("cluster-enabled", Kind::Choice(&["no"]), "no", false, "there is no cluster"),
    ignored("replica-read-only", Kind::Flag, "yes", true, NO_REPLICAS),
    ignored("replica-serve-stale-data", Kind::Flag, "yes", true, NO_REPLICAS),
    ignored("replica-priority", integer(0, INT), "100", true, NO_REPLICAS),
    ignored("replicaof", Kind::Words, "", false, NO_REPLICAS),
    ignored("repl-backlog-size", bytes(1, LONG), "1048576", true, NO_REPLICAS),
    ignored("repl-backlog-ttl", integer(0, INT), "3600", true, NO_REPLICAS),
    ignored("repl-disable-tcp-nodelay", Kind::Flag, "no", true, NO_REPLICAS),
    ignored("repl-diskless-sync", Kind::Flag, "yes", true, NO_REPLICAS),
    ignored("repl-diskless-sync-delay", integer(0, INT), "5", true, NO_REPLICAS),
    ignored(
        "repl-diskless-load",
        Kind::Choice(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        true,
        NO_REPLICAS,
    ),
    ignored("repl-timeout", integer(1, INT), "60", true, NO_REPLICAS),
    ignored("min-replicas-to-write", integer(0, INT), "0", true, NO_REPLICAS),
    ignored("min-replicas-max-lag", integer(0, INT), "10", true, NO_REPLICAS),
    ignored(
        "disable-thp",
        Kind::Flag,
        "yes",
        false,
        "memory is never shared with a forked child, so huge pages do no harm",
    ),
    ignored("jemalloc-bg-thread", Kind::Flag, "yes", true, "the allocator is another"),
    ignored(
        "oom-score-adj",
        Kind::Choice(&["no", "yes", "relative", "absolute"]),
        "no",
        true,
        "a service manager sets it",
    ),
    ignored("oom-score-adj-values", Kind::Words, "0 200 800", true, "a service manager sets it"),
    ignored("server_cpulist", Kind::Text, "", false, "a service manager sets it"),
    ignored("bio_cpulist", Kind::Text, "", false, "a service manager sets it"),
    ignored("aof_rewrite_cpulist", Kind::Text, "", false, "a service manager sets it"),
    ignored("bgsave_cpulist", Kind::Text, "", false, "a service manager sets it"),
    ignored("ignore-warnings", Kind::Text, "", false, "there are no such warnings"),
];
