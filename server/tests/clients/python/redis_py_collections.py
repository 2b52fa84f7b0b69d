"""redis-py beyond strings and hashes, over RESP2 and RESP3, sync and asyncio: collections, transactions, scripts, locks, pub/sub, expiry events,
client-side caching. The first wrong answer raises, which ends the process with status 1."""

import asyncio
import os
import threading
import time

import redis
import redis.asyncio
from redis.cache import CacheConfig

PORT = int(os.environ["REDIS_PORT"])


def collections(protocol):
    r = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
    r.flushall()
    assert r.rpush("list", "a", "b", "c") == 3 and r.lpush("list", "z") == 4
    assert r.lrange("list", 0, -1) == ["z", "a", "b", "c"]
    assert r.lpop("list", 2) == ["z", "a"] and r.rpoplpush("list", "other") == "c"
    assert r.lmpop(2, "none", "list", direction="LEFT", count=5) == ["list", ["b"]]
    assert not r.exists("list")
    assert r.sadd("set", "a", "b", "c") == 3 and r.smembers("set") == {"a", "b", "c"}
    assert r.spop("set") in {"a", "b", "c"} and r.scard("set") == 2
    assert r.zadd("scores", {"a": 1, "b": 2.5, "c": 3}) == 3
    flat = [list(pair) for pair in r.zrange("scores", 0, -1, withscores=True)]
    assert flat == [["a", 1.0], ["b", 2.5], ["c", 3.0]], flat
    assert r.zadd("scores", {"a": 5}, gt=True, ch=True) == 1 and r.zscore("scores", "a") == 5.0
    assert r.zrangebyscore("scores", "(2.5", "+inf") == ["c", "a"] and r.zrevrank("scores", "a") == 0
    assert r.zunionstore("sum", {"scores": 2, "set": 1}) >= 3
    assert r.zadd("scores", {"a": 1}, incr=True) == 6.0
    assert sorted(r.sscan_iter("set")) == sorted(r.smembers("set"))
    assert {member for member, _ in r.zscan_iter("scores")} == {"a", "b", "c"}
    payload = r.execute_command("OBJECT", "ENCODING", "scores")
    assert payload in ("listpack", "skiplist"), payload

    with r.pipeline(transaction=True) as pipe:
        pipe.rpush("chat", "turn").ltrim("chat", -50, -1).lrange("chat", 0, -1).expire("chat", 60)
        assert pipe.execute() == [1, True, ["turn"], True]
    with r.pipeline() as pipe:
        pipe.watch("chat")
        redis.Redis(port=PORT).rpush("chat", "another")
        pipe.multi()
        pipe.rpush("chat", "lost")
        try:
            pipe.execute()
            raise AssertionError("a watched key was changed")
        except redis.WatchError:
            pass
    assert r.llen("chat") == 2
    with r.pipeline() as pipe:
        pipe.set("text", "x").lpush("text", "y").get("text")
        try:
            pipe.execute()
            raise AssertionError("one of the commands is wrong")
        except redis.ResponseError as error:
            assert "WRONGTYPE" in str(error)
    assert r.get("text") == "x"

    script = r.register_script("return {KEYS[1], ARGV[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    assert script(keys=["n"], args=[5]) == ["n", "5", 5]
    r.script_flush()
    assert script(keys=["n"], args=[2]) == ["n", "2", 7]
    assert r.eval("return cjson.encode({a = 1, b = {1, 2}})", 0) in ('{"a":1,"b":[1,2]}', '{"b":[1,2],"a":1}')
    assert r.script_exists(script.sha, "0" * 40) == [True, False]
    try:
        r.eval("return redis.error_reply('MINE no')", 0)
        raise AssertionError("an error reply")
    except redis.ResponseError as error:
        assert str(error) == "MINE no", error


def locks():
    r = redis.Redis(port=PORT)
    total = 0
    r.set("count", 0)

    def work():
        mine = redis.Redis(port=PORT)
        for _ in range(10):
            with mine.lock("a lock", timeout=10, sleep=0.002):
                mine.set("count", int(mine.get("count")) + 1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert int(r.get("count")) == 60
    lock = r.lock("short", timeout=0.05)
    assert lock.acquire()
    time.sleep(0.1)
    try:
        lock.release()
        raise AssertionError("the lock was lost")
    except redis.exceptions.LockError:
        pass
    del total


def events(protocol):
    r = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
    r.config_set("notify-keyspace-events", "KEA")
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("__key*@0__:*")
    pubsub.get_message(timeout=1)
    r.set("short", "x", px=80)
    r.hset("hash", "field", "value")
    r.delete("hash")
    heard = []
    until = time.time() + 3
    while time.time() < until and ("__keyevent@0__:expired", "short") not in heard:
        message = pubsub.get_message(timeout=0.1)
        if message:
            heard.append((message["channel"], message["data"]))
    for expected in [
        ("__keyspace@0__:short", "set"),
        ("__keyevent@0__:hset", "hash"),
        ("__keyspace@0__:hash", "del"),
        ("__keyevent@0__:expired", "short"),
    ]:
        assert expected in heard, (expected, heard)
    pubsub.close()
    r.config_set("notify-keyspace-events", "")


def cached():
    version = redis.Redis(port=PORT, decode_responses=True).info("server")["redis_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < (7, 4):
        print(f"redis-py caches nothing of a server {version}: skipped")
        return
    r = redis.Redis(port=PORT, protocol=3, decode_responses=True, cache_config=CacheConfig())
    other = redis.Redis(port=PORT)
    other.set("cached", "old")
    assert r.get("cached") == "old" and r.get("cached") == "old"
    assert r.get_cache().size == 1
    other.set("cached", "new")
    until = time.time() + 2
    while r.get("cached") != "new":
        assert time.time() < until, "the cache was not told"


def fields_that_die(protocol):
    r = redis.Redis(port=PORT, protocol=protocol, decode_responses=True)
    if "hexpire" not in {name.lower() for name in r.command()}:
        print("no HEXPIRE here: skipped")
        return
    r.delete("session")
    r.hset("session", mapping={"csrf": "token", "user": "7"})
    assert r.hpexpire("session", 60, "csrf", "none") == [1, -2]
    assert 0 < r.hpttl("session", "csrf")[0] <= 60 and r.httl("session", "user") == [-1]
    time.sleep(0.1)
    assert r.hgetall("session") == {"user": "7"} and r.hlen("session") == 1
    assert r.hexpire("session", 100, "user") == [1] and r.hpersist("session", "user") == [1]
    assert r.hsetex("session", mapping={"otp": "123"}, ex=50) == 1 and r.hgetex("session", "otp", persist=True) == ["123"]
    assert r.hgetdel("session", "otp", "user") == ["123", "7"] and not r.exists("session")


async def asynchronous():
    r = redis.asyncio.Redis(port=PORT, protocol=3, decode_responses=True)
    other = redis.asyncio.Redis(port=PORT, protocol=3, decode_responses=True)
    await r.delete("jobs")
    waiting = asyncio.create_task(r.blpop(["jobs"], timeout=5))
    await asyncio.sleep(0.05)
    await other.rpush("jobs", "job")
    assert list(await waiting) == ["jobs", "job"]
    assert await r.blpop(["jobs"], timeout=0.1) is None
    heard = []
    async with other.pubsub() as pubsub:
        await pubsub.subscribe("channel")
        await pubsub.get_message(timeout=1)
        for number in range(100):
            await r.publish("channel", number)
        while len(heard) < 100:
            message = await pubsub.get_message(timeout=1, ignore_subscribe_messages=True)
            assert message is not None, heard
            heard.append(int(message["data"]))
    assert heard == list(range(100))
    async with r.pipeline(transaction=True) as pipe:
        answers = await pipe.hset("h", mapping={"a": 1}).hgetall("h").execute()
    assert answers == [1, {"a": "1"}], answers
    await r.aclose()
    await other.aclose()


for version in (2, 3):
    collections(version)
    events(version)
    fields_that_die(version)
locks()
cached()
asyncio.run(asynchronous())
print("done")
