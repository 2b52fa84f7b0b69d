"""redis-py over RESP2, RESP3, pipelines and asyncio: strings, hashes, expiry, scans, CLIENT, INFO, COMMAND, CONFIG.
The first wrong answer raises, which ends the process with status 1."""

import asyncio
import os
import time

import redis
import redis.asyncio

PORT = int(os.environ["REDIS_PORT"])


def raises(kind, call, *arguments):
    try:
        call(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call} {arguments} should have failed")


def commands(protocol):
    r = redis.Redis(port=PORT, protocol=protocol, decode_responses=True, client_name=f"redis-py-{protocol}")
    assert r.ping() is True
    r.flushall()

    assert r.set("text", "one", ex=100) is True
    assert r.set("text", "two", nx=True) is None
    assert r.set("text", "two", xx=True, get=True, keepttl=True) == "one"
    assert 90 < r.ttl("text") <= 100
    assert r.getex("text", persist=True) == "two"
    assert r.ttl("text") == -1 and r.ttl("nothing") == -2
    assert r.append("text", "!") == 4 and r.strlen("text") == 4
    assert r.getrange("text", 0, 1) == "tw" and r.setrange("text", 0, "T") == 4
    assert r.incr("count", 41) == 41 and r.incr("count") == 42 and r.decr("count", 2) == 40
    assert r.incrbyfloat("count", 0.5) == 40.5
    assert "not an integer" in raises(redis.ResponseError, r.incr, "text")
    assert r.mset({"a": 1, "b": 2}) is True and r.mget("a", "none", "b") == ["1", None, "2"]
    assert not r.msetnx({"b": 3, "c": 4}) and r.exists("a", "b", "c") == 2
    assert r.getdel("a") == "1" and r.get("a") is None
    assert r.set(b"\x00\xff binary", b"\r\n") and r.delete(b"\x00\xff binary") == 1

    assert r.hset("hash", mapping={"one": 1, "two": 2}) == 2
    assert r.hgetall("hash") == {"one": "1", "two": "2"}
    assert r.hmget("hash", "two", "none") == ["2", None] and r.hget("hash", "none") is None
    assert r.hincrby("hash", "one", 9) == 10 and r.hincrbyfloat("hash", "one", 0.5) == 10.5
    assert not r.hsetnx("hash", "one", 1) and r.hexists("hash", "one") and r.hstrlen("hash", "one") == 4
    assert sorted(r.hkeys("hash")) == ["one", "two"] and sorted(r.hvals("hash")) == ["10.5", "2"]
    assert r.hdel("hash", "two", "none") == 1 and r.hlen("hash") == 1
    assert r.hrandfield("hash") == "one"
    assert raises(redis.ResponseError, r.get, "hash").startswith("WRONGTYPE")

    assert r.expire("b", 100) and not r.expire("b", 50, gt=True) and r.expire("b", 50, lt=True)
    deadline = int(time.time()) + 1000
    assert r.expireat("b", deadline) and r.expiretime("b") == deadline and r.pexpiretime("b") == deadline * 1000
    assert r.persist("b") and r.pttl("b") == -1
    assert r.psetex("soon", 30, "x")
    time.sleep(0.08)
    assert r.get("soon") is None
    assert r.rename("b", "c") and r.renamenx("c", "d") and r.copy("d", "e") and r.touch("d", "e") == 2
    assert r.unlink("d", "e") == 2 and r.type("hash") == "hash" and r.randomkey() in r.keys()
    assert raises(redis.ResponseError, r.rename, "nothing", "x") == "no such key"
    assert r.object("encoding", "text") in ("embstr", "raw") and r.memory_usage("text") > 0

    pipeline = r.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"scan:{number}", number, ex=1000)
    pipeline.execute_command("NOSUCHCOMMAND")
    pipeline.get("scan:999")
    replies = pipeline.execute(raise_on_error=False)
    assert len(replies) == 1002 and isinstance(replies[1000], redis.ResponseError) and replies[1001] == "999"
    assert len(set(r.scan_iter("scan:*", count=70))) == 1000
    assert set(r.scan_iter(_type="hash")) == {"hash"}
    r.hset("many", mapping={f"field{number}": number for number in range(1000)})
    assert len(dict(r.hscan_iter("many"))) == 1000
    assert r.dbsize() == len(r.keys("*"))

    assert r.client_getname() == f"redis-py-{protocol}" and r.client_id() > 0
    mine = [client for client in r.client_list() if client["name"] == f"redis-py-{protocol}"]
    assert mine and mine[0]["resp"] == str(protocol)
    assert r.client_info()["db"] in (0, "0")
    info = r.info()
    if info["redis_version"] >= "7.2":  # libraries name themselves since then
        assert mine[0]["lib-name"].startswith("redis-py")
    assert info["redis_version"].startswith("7") and info["loading"] == 0 and info["db0"]["keys"] == r.dbsize()
    assert info["cluster_enabled"] == 0 and info["used_memory"] > 0 and info["uptime_in_seconds"] >= 0
    assert r.command_count() > 50 and "get" in r.command() and r.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"]
    assert r.config_set("timeout", 0) and r.config_get("timeout") == {"timeout": "0"}
    assert raises(redis.ResponseError, r.config_set, "no-such-directive", 1)
    assert abs(r.time()[0] - time.time()) < 60 and r.echo("hello") == "hello"
    elsewhere = redis.Redis(port=PORT, protocol=protocol, db=5, decode_responses=True)
    assert elsewhere.get("text") is None and elsewhere.set("only here", 1)
    assert r.get("only here") is None and elsewhere.flushdb() and r.get("text") == "Two!"
    assert "unknown command" in raises(redis.ResponseError, r.execute_command, "NOSUCHCOMMAND", "x")
    assert "wrong number of arguments for 'get' command" in raises(redis.ResponseError, r.execute_command, "GET")


async def concurrently(protocol):
    r = redis.asyncio.Redis(port=PORT, protocol=protocol, decode_responses=True)

    async def user(number):
        key = f"async:{number}"
        for turn in range(20):
            assert await r.set(key, turn, ex=60)
            assert await r.get(key) == str(turn)
            assert await r.expire(key, 120)
        return await r.delete(key)

    assert sum(await asyncio.gather(*(user(number) for number in range(50)))) == 50
    async with r.pipeline(transaction=False) as pipeline:
        assert await pipeline.set("p", 1).incr("p").get("p").execute() == [True, 2, "2"]
    await r.aclose()


for protocol in (2, 3):
    commands(protocol)
    asyncio.run(concurrently(protocol))
print("done")
