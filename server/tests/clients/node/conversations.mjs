// node-redis and ioredis beyond strings and hashes: collections, transactions, blocking, pub/sub, expiry events, client-side caching, fields
// that die. The first wrong answer throws.
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { createClient } from "redis";

const port = Number(process.env.REDIS_PORT);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/// Waits for what is to come soon.
async function soon(condition, what) {
  for (let waited = 0; waited < 3000; waited += 5) {
    if (condition()) return;
    await pause(5);
  }
  assert.fail(`not in time: ${what}`);
}

async function collections() {
  const redis = new Redis({ port });
  await redis.flushall();
  // A conversation: the last turns of many.
  for (let turn = 0; turn < 120; turn += 1) {
    await redis.multi().rpush("chat", JSON.stringify({ turn })).ltrim("chat", -50, -1).expire("chat", 600).exec();
  }
  const turns = (await redis.lrange("chat", 0, -1)).map((line) => JSON.parse(line).turn);
  assert.deepEqual(turns, Array.from({ length: 50 }, (_, index) => index + 70));
  assert.equal(await redis.lpos("chat", JSON.stringify({ turn: 75 })), 5);
  assert.equal(await redis.linsert("chat", "BEFORE", JSON.stringify({ turn: 70 }), "first"), 51);
  assert.equal(await redis.lindex("chat", 0), "first");
  assert.equal(await redis.lmove("chat", "moved", "LEFT", "RIGHT"), "first");
  assert.deepEqual(await redis.lmpop(2, "nothing", "moved", "LEFT"), ["moved", ["first"]]);
  assert.equal(await redis.exists("moved"), 0);
  // The sessions of a user, by their ends.
  assert.equal(await redis.zadd("user:7", 300, "c", 100, "a", 200, "b"), 3);
  assert.deepEqual(await redis.zrange("user:7", "(100", "+inf", "BYSCORE", "WITHSCORES"), ["b", "200", "c", "300"]);
  assert.equal(await redis.zremrangebyscore("user:7", "-inf", 150), 1);
  assert.equal(await redis.zincrby("user:7", 0.5, "b"), "200.5");
  assert.deepEqual(await redis.zpopmin("user:7"), ["b", "200.5"]);
  assert.equal(await redis.zrank("user:7", "c"), 0);
  assert.equal(await redis.sadd("roles", "admin", "editor", "admin"), 2);
  assert.deepEqual((await redis.smismember("roles", "admin", "nobody")), [1, 0]);
  await redis.sadd("others", "editor", "viewer");
  assert.deepEqual(await redis.sinter("roles", "others"), ["editor"]);
  assert.equal(await redis.sintercard(2, "roles", "others"), 1);
  const members = new Set();
  await redis.sadd("many", ...Array.from({ length: 2000 }, (_, index) => `member${index}`));
  for await (const part of redis.sscanStream("many")) part.forEach((member) => members.add(member));
  assert.equal(members.size, 2000);
  assert.deepEqual(await redis.sort("roles", "ALPHA", "DESC"), ["editor", "admin"]);
  assert.equal(await redis.pfadd("visitors", ...Array.from({ length: 1000 }, (_, index) => `v${index}`)), 1);
  assert.ok(Math.abs((await redis.pfcount("visitors")) - 1000) < 30);
  const dumped = await redis.dumpBuffer("user:7");
  assert.equal(await redis.restore("user:8", 0, dumped), "OK");
  assert.deepEqual(await redis.zrange("user:8", 0, -1, "WITHSCORES"), ["c", "300"]);
  await redis.quit();
}

async function transactions() {
  const [one, other] = await Promise.all([createClient({ socket: { port } }).connect(), createClient({ socket: { port } }).connect()]);
  await one.set("balance", 10);
  await one.watch("balance");
  await other.set("balance", 20);
  await assert.rejects(one.multi().set("balance", 11).exec(), /watch/i);
  assert.equal(await one.get("balance"), "20");
  await one.watch("balance");
  assert.deepEqual(await one.multi().incr("balance").get("balance").exec(), [21, "21"]);
  await assert.rejects(one.multi().addCommand(["NOSUCH"]).set("balance", 0).exec());
  assert.equal(await one.get("balance"), "21");
  // Many at once, optimistically: nothing is lost.
  await one.set("count", 0);
  const raise = async (client) => {
    for (;;) {
      await client.watch("count");
      const count = Number(await client.get("count"));
      try {
        await client.multi().set("count", count + 1).exec();
        return;
      } catch (error) {
        if (!/watch/i.test(error.message)) throw error;
      }
    }
  };
  const clients = await Promise.all(Array.from({ length: 8 }, () => createClient({ socket: { port } }).connect()));
  await Promise.all(clients.map(async (client) => {
    for (let times = 0; times < 20; times += 1) await raise(client);
  }));
  assert.equal(await one.get("count"), "160");
  await Promise.all([one, other, ...clients].map((client) => client.close()));
}

async function blocking() {
  const [waiter, pusher] = [new Redis({ port }), new Redis({ port })];
  await pusher.del("jobs", "scores");
  const taken = waiter.brpop("jobs", 5);
  await pause(30);
  await pusher.lpush("jobs", "job");
  assert.deepEqual(await taken, ["jobs", "job"]);
  const begun = Date.now();
  assert.equal(await waiter.blpop("jobs", 0.2), null);
  assert.ok(Date.now() - begun >= 190 && Date.now() - begun < 1000);
  const least = waiter.bzpopmin("scores", 5);
  await pause(30);
  await pusher.zadd("scores", 2, "b", 1, "a");
  assert.deepEqual(await least, ["scores", "a", "1"]);
  const id = await waiter.client("ID");
  const unblocked = waiter.blmove("jobs", "done", "LEFT", "RIGHT", 0);
  await pause(30);
  assert.equal(await pusher.client("UNBLOCK", id), 1);
  assert.equal(await unblocked, null);
  waiter.disconnect();
  pusher.disconnect();
}

async function messages(RESP) {
  const client = await createClient({ socket: { port }, RESP }).connect();
  const subscriber = await client.duplicate().connect();
  const heard = [];
  await subscriber.subscribe("news", (message, channel) => heard.push([channel, message]));
  await subscriber.pSubscribe("new*", (message, channel) => heard.push([channel, message, "by pattern"]));
  assert.equal(await client.publish("news", "one"), 2);
  await soon(() => heard.length === 2, "a message to two subscriptions");
  assert.deepEqual(heard, [["news", "one"], ["news", "one", "by pattern"]]);
  await subscriber.unsubscribe("news");
  assert.deepEqual({ ...(await client.pubSubNumSub(["news"])) }, { news: 0 });
  // Expiry as Spring Session hears of it.
  await client.configSet("notify-keyspace-events", "Egx");
  const events = [];
  await subscriber.pSubscribe("__keyevent@0__:*", (key, channel) => events.push([channel.split(":")[1], key]));
  await client.set("spring:session:expires:1", "", { expiration: { type: "PX", value: 60 } });
  await client.set("spring:session:2", "x");
  await client.del("spring:session:2");
  await soon(() => events.some(([event]) => event === "expired"), "an expired event");
  assert.ok(events.some(([event, key]) => event === "expired" && key === "spring:session:expires:1"));
  assert.ok(events.some(([event, key]) => event === "del" && key === "spring:session:2"));
  await client.configSet("notify-keyspace-events", "");
  await subscriber.close();
  await client.close();
}

async function cachedReads() {
  const { BasicClientSideCache } = await import("redis");
  const cache = new BasicClientSideCache();
  const client = await createClient({ socket: { port }, RESP: 3, clientSideCache: cache }).connect();
  const other = await createClient({ socket: { port } }).connect();
  await other.set("cached", "old", { expiration: { type: "PX", value: 400 } });
  assert.equal(await client.get("cached"), "old");
  assert.equal(await client.get("cached"), "old");
  assert.equal(cache.stats().hitCount, 1);
  await other.set("cached", "new", { expiration: { type: "PX", value: 100 } });
  let seen;
  for (let waited = 0; waited < 1000 && seen !== "new"; waited += 5, await pause(5)) seen = await client.get("cached");
  assert.equal(seen, "new");
  // Also when its time is up.
  await pause(300);
  for (let waited = 0; waited < 2000 && seen !== null; waited += 10, await pause(10)) seen = await client.get("cached");
  assert.equal(seen, null);
  await other.close();
  await client.close();
}

await collections();
await transactions();
await blocking();
await messages(2);
await messages(3);
await cachedReads();
console.log("done");
process.exit(0);
