# One entry point for people; each recipe runs what CI runs. Plain cargo works without it.

# Everything that CI checks
check:
    bash .ci/run

# All tests
test:
    cargo test --workspace

# Real processes on real disks that are killed, starved of memory, descriptors and space, and failed by their disk: `just crash 200`
crash rounds="100":
    SESSILE_CRASH_ROUNDS={{rounds}} cargo test -p sessile --test crash_process -- --nocapture
    SESSILE_KILL_ROUNDS={{rounds}} cargo test -p sessile-server --test kill -- --nocapture
    SESSILE_CRASH_ROUNDS={{rounds}} cargo test -p sessile-server --test crash

# Every file of a loaded directory damaged in turn: `just corrupt 1200`; 0 is all of them
corrupt cases="600":
    SESSILE_CORRUPT_CASES={{cases}} SESSILE_CORRUPT_JOBS=4 cargo test -p sessile-server --test corrupt -- --nocapture

# A web application with logins and chats in one process: http://localhost:3000, as ann or ben, with the password sessile
example:
    cargo run -p sessile-example-axum

# Fail every call to the disk in every way, and every large allocation
nth:
    SESSILE_SEEDS=1 cargo test -p sessile --test main -- nth:: --nocapture
    SESSILE_SEEDS=1 cargo test -p sessile --test allocation -- --nocapture

# The whole server on a simulated machine: `just sim --minutes 10`, `just sim --seed 7 --trace`, `just sim --help`
sim *arguments:
    cargo run --quiet --profile sim -p sessile-sim -- {{arguments}}

# Real clients: Express, Django, ioredis, node-redis, redis-py, redis-cli, redis-benchmark, the examples in other languages
clients:
    server/tests/clients/prepare
    SESSILE_REQUIRE_ORACLES=1 cargo test -p sessile-server --test clients

# Beside redis-server, in turns: `just bench --quick --only web`
bench *arguments: build-server
    cargo run --release -p sessile-benches --bin versus_redis -- {{arguments}}

[private]
build-server:
    cargo build --release -p sessile-server

# The engine in-process
bench-engine *arguments:
    cargo run --release -p sessile-benches --bin engine -- {{arguments}}

# Memory, disk, restart, and latency while the background works: `just bench-storage memory wave --quick`
bench-storage *arguments: build-server
    cargo run --release -p sessile-benches --bin storage -- {{arguments}}

# Each fuzz target for some seconds, on the stable compiler: `just fuzz 600 request`
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# Every execution of the hand-made synchronisation, up to so many preemptions (default: each model's own): `just loom 4`
loom preemptions="":
    {{ if preemptions == "" { "" } else { "LOOM_MAX_PREEMPTIONS=" + preemptions } }} RUSTFLAGS="--cfg loom" cargo test -p sessile-wal --lib models -- --nocapture

# Random schedules of log, engine and server: `just shuttle 100000`; a failure prints its seed and its schedule
shuttle schedules="1000":
    SESSILE_SCHEDULES={{schedules}} .ci/shuttle

# Unsafe modules under Miri, each with so many seeds of its schedules: `just miri 16`; needs `rustup +nightly component add miri rust-src`
miri seeds="1":
    .ci/miri {{seeds}}

# Log and engine under ThreadSanitizer, with a standard library that is instrumented too; needs nightly's `rust-src`
tsan *filter:
    .ci/tsan {{filter}}

# Attacks of every kind while bystanders are timed: `just abuse`, `just abuse 10` (percent of the sizes), `just abuse 100 'SORT|KEYS'`
abuse scale="100" only="": build-server
    SESSILE_BIN=${SESSILE_BIN:-${CARGO_TARGET_DIR:-target}/release/sessile} SESSILE_ABUSE_SCALE={{scale}} SESSILE_ABUSE_ONLY='{{only}}' SESSILE_ABUSE_JOBS=1 SESSILE_ABUSE_WAIT_MS=100 SESSILE_ABUSE_MEMORY_MIB=128 cargo test --release -p sessile-server --test abuse -- --nocapture nobody_is_kept_waiting
# Which lines and functions no fuzz input reaches
fuzz-coverage *targets:
    fuzz/coverage {{targets}}
