<?php
// PHP's own session handler on phpredis, with session locking: requests that change the same session at the same time lose nothing.
// Run without arguments it starts itself many times. The first wrong answer throws.

$port = (int) getenv('REDIS_PORT');
foreach ([
    'session.save_handler' => 'redis',
    'session.save_path' => "tcp://127.0.0.1:$port?prefix=PHPSESS:",
    'session.gc_maxlifetime' => '100',
    'session.use_cookies' => '0',
    'session.use_only_cookies' => '0',
    'session.cache_limiter' => '',
    'redis.session.locking_enabled' => '1',
    'redis.session.lock_expire' => '10',
    'redis.session.lock_wait_time' => '2000',
    'redis.session.lock_retries' => '2000',
] as $name => $value) {
    ini_set($name, $value);
}

function check(bool $holds, string $what): void
{
    if (!$holds) {
        throw new Exception("not so: $what");
    }
}

function begin(string $id): void
{
    session_id($id);
    check(session_start(), 'a session starts');
}

if (($argv[1] ?? '') === 'add') {
    for ($times = 0; $times < 10; $times++) {
        begin($argv[2]);
        $_SESSION['count'] = ($_SESSION['count'] ?? 0) + 1;
        usleep(random_int(0, 2000));
        session_write_close();
    }
    exit(0);
}

$redis = new Redis();
$redis->connect('127.0.0.1', $port);
$redis->flushAll();
$id = bin2hex(random_bytes(16));

begin($id);
$_SESSION['user'] = 'ann';
session_write_close();
check($redis->ttl("PHPSESS:$id") > 90, 'a session has a deadline');

$processes = [];
for ($number = 0; $number < 6; $number++) {
    $processes[] = proc_open([PHP_BINARY, __FILE__, 'add', $id], [], $pipes);
}
foreach ($processes as $process) {
    check(proc_close($process) === 0, 'a request succeeds');
}
begin($id);
check($_SESSION['count'] === 60, "60 additions are there, not {$_SESSION['count']}");
check($_SESSION['user'] === 'ann', 'the user is there');
check(count($redis->keys('*LOCK*')) === 1, 'the session is locked while it is open');
session_regenerate_id(true);
$new = session_id();
session_write_close();
check($redis->exists("PHPSESS:$id") === 0 && $redis->exists("PHPSESS:$new") === 1, 'the session has a new id');
check($redis->keys('*LOCK*') === [], 'no lock is left');
begin($new);
check($_SESSION['count'] === 60, 'with its content');
session_destroy();
check($redis->exists("PHPSESS:$new") === 0, 'a session that is destroyed is gone');

// The library itself.
check($redis->multi()->rPush('list', 'a', 'b')->lRange('list', 0, -1)->exec() === [2, ['a', 'b']], 'a transaction');
check($redis->eval("return {KEYS[1], ARGV[1]}", ['k', 'v'], 1) === ['k', 'v'], 'a script');
check($redis->zAdd('z', ['NX'], 1.5, 'a', 2, 'b') === 2 && $redis->zRange('z', 0, -1, true) === ['a' => 1.5, 'b' => 2.0], 'a sorted set');
$redis->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
$redis->mSet(array_combine(array_map(fn ($n) => "scan:$n", range(1, 300)), range(1, 300)));
$found = [];
for ($cursor = null; $keys = $redis->scan($cursor, 'scan:*', 100);) {
    $found = array_merge($found, $keys);
}
check(count(array_unique($found)) === 300, 'a scan finds all keys');
check($redis->set('lock', 'mine', ['NX', 'PX' => 5000]) === true && $redis->set('lock', 'yours', ['NX', 'PX' => 5000]) === false, 'SET NX PX');
echo "done\n";
