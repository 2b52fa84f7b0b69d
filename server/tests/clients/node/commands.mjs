// ioredis and node-redis against strings, hashes, expiry, scans, CLIENT, INFO, COMMAND and CONFIG. The first wrong
// answer throws, which ends the process with status 1.
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { createClient } from "redis";

const port = Number(process.env.REDIS_PORT);

async function withIoredis() {
  const redis = new Redis({ port, connectionName: "ioredis-test" });
  assert.equal(await redis.ping(), "PONG");
  await redis.flushall();

  assert.equal(await redis.set("text", "one", "EX", 100), "OK");
  assert.equal(await redis.set("text", "two", "NX"), null);
  assert.equal(await redis.set("text", "two", "XX", "GET", "KEEPTTL"), "one");
  assert.ok((await redis.ttl("text")) > 90);
  assert.equal(await redis.getex("text", "PERSIST"), "two");
  assert.equal(await redis.ttl("text"), -1);
  assert.equal(await redis.append("text", "!"), 4);
  assert.equal(await redis.getrange("text", 0, 1), "tw");
  assert.equal(await redis.setrange("text", 5, "x"), 6);
  assert.deepEqual(await redis.getBuffer("text"), Buffer.from("two!\0x"));
  assert.equal(await redis.incrby("count", 41), 41);
  assert.equal(await redis.incr("count"), 42);
  assert.equal(await redis.incrbyfloat("count", 0.5), "42.5");
  assert.equal(await redis.getdel("count"), "42.5");
  assert.equal(await redis.mset({ a: 1, b: 2, c: 3 }), "OK");
  assert.deepEqual(await redis.mget("a", "b", "nothing", "c"), ["1", "2", null, "3"]);
  assert.equal(await redis.msetnx("c", 4, "d", 5), 0);
  assert.equal(await redis.strlen("a"), 1);

  assert.equal(await redis.hset("hash", { one: "1", two: "2" }), 2);
  assert.deepEqual(await redis.hgetall("hash"), { one: "1", two: "2" });
  assert.deepEqual(await redis.hmget("hash", "two", "none"), ["2", null]);
  assert.equal(await redis.hincrby("hash", "one", 9), 10);
  assert.equal(await redis.hsetnx("hash", "one", "x"), 0);
  assert.equal(await redis.hdel("hash", "two", "none"), 1);
  assert.deepEqual(await redis.hkeys("hash"), ["one"]);
  assert.equal(await redis.hlen("hash"), 1);
  assert.equal(await redis.type("hash"), "hash");
  await assert.rejects(redis.get("hash"), /^ReplyError: WRONGTYPE/);

  assert.equal(await redis.expire("a", 100), 1);
  assert.equal(await redis.expire("a", 50, "GT"), 0);
  assert.equal(await redis.expire("a", 50, "LT"), 1);
  assert.equal(await redis.pexpire("b", 30), 1);
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(await redis.exists("b"), 0);
  assert.equal(await redis.rename("c", "e"), "OK");
  assert.equal(await redis.copy("e", "f"), 1);
  assert.equal(await redis.unlink("e", "f", "nothing"), 2);
  assert.equal(await redis.touch("a", "nothing"), 1);

  const pipeline = redis.pipeline();
  for (let number = 0; number < 1000; number += 1) pipeline.set(`scan:${number}`, number, "EX", 1000);
  pipeline.lpush("text", "x"); // an error in the middle leaves the rest in order
  pipeline.get("scan:999");
  const replies = await pipeline.exec();
  assert.equal(replies.length, 1002);
  assert.ok(replies[1000][0] instanceof Error);
  assert.deepEqual(replies[1001], [null, "999"]);
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "scan:*", count: 50, type: "string" })) {
    for (const key of keys) found.add(key);
  }
  assert.equal(found.size, 1000);
  await redis.hset("many", Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`field${n}`, n])));
  const fields = new Set();
  for await (const pairs of redis.hscanStream("many")) pairs.forEach((item, n) => n % 2 === 0 && fields.add(item));
  assert.equal(fields.size, 1000);
  assert.equal(await redis.dbsize(), found.size + 4);

  assert.equal(await redis.client("GETNAME"), "ioredis-test");
  assert.match(await redis.client("LIST"), /name=ioredis-test/);
  const [, version] = /redis_version:(\d+\.\d+)/.exec(await redis.info("server"));
  // Libraries name themselves since 7.2.
  if (Number(version) >= 7.2) assert.match(await redis.client("INFO"), /lib-name=ioredis/);
  assert.ok((await redis.client("ID")) > 0);
  assert.match(await redis.info(), /redis_version:\d/);
  assert.match(await redis.info("keyspace"), /db0:keys=\d/);
  assert.ok((await redis.command("COUNT")) > 50);
  const [get] = await redis.command("INFO", "get");
  assert.deepEqual([get[0], get[1], get[3]], ["get", 2, 1]);
  assert.deepEqual(await redis.command("GETKEYS", "MSET", "x", "1", "y", "2"), ["x", "y"]);
  assert.equal(await redis.config("SET", "timeout", "0"), "OK");
  assert.deepEqual(await redis.config("GET", "timeout"), ["timeout", "0"]);
  assert.equal(await redis.select(3), "OK");
  assert.equal(await redis.get("a"), null);
  assert.equal(await redis.select(0), "OK");
  assert.equal(await redis.echo("hello"), "hello");
  await redis.quit();
}

async function withNodeRedis(RESP) {
  const client = await createClient({ socket: { port }, RESP, name: "node-redis-test" }).connect();
  await client.flushAll();
  assert.equal(await client.set("text", "one", { expiration: { type: "EX", value: 100 } }), "OK");
  assert.equal(await client.get("text"), "one");
  assert.ok((await client.ttl("text")) > 90);
  assert.equal(await client.hSet("hash", { one: "1", two: "2" }), 2);
  assert.deepEqual({ ...(await client.hGetAll("hash")) }, { one: "1", two: "2" });
  await Promise.all(Array.from({ length: 500 }, (_, number) => client.set(`scan:${number}`, "x")));
  const found = new Set();
  for await (const keys of client.scanIterator({ MATCH: "scan:*" })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 500);
  assert.equal(await client.clientGetName(), "node-redis-test");
  assert.match(await client.info("server"), /redis_version/);
  assert.ok((await client.commandCount()) > 50);
  assert.deepEqual({ ...(await client.configGet("appendfsync")) }, { appendfsync: "everysec" });
  await assert.rejects(client.hGet("text", "field"), /WRONGTYPE/);
  await assert.rejects(client.sendCommand(["NOSUCHCOMMAND"]), /unknown command/);
  await client.close();
}

await withIoredis();
await withNodeRedis(2);
await withNodeRedis(3);
console.log("done");
