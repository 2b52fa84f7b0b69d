# One entry point for people; each recipe runs what CI runs. Plain cargo works without it.

# Everything that CI checks
check:
    bash .ci/run

# All tests
test:
    cargo test --workspace

# kill -9 at random moments: `just crash 200`
crash rounds="100":
    SESSILE_KILL_ROUNDS={{rounds}} cargo test -p sessile-server --test kill -- --nocapture

# Real clients: Express, Django, ioredis, node-redis, redis-py, redis-cli, redis-benchmark
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

# Which lines and functions no fuzz input reaches
fuzz-coverage *targets:
    fuzz/coverage {{targets}}
