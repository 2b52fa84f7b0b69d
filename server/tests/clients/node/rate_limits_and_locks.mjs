// What rate limiters and locks send: Lua of their own, by EVALSHA with EVAL after a NOSCRIPT, or by SCRIPT LOAD. The first wrong answer throws.
import assert from "node:assert/strict";
import express from "express";
import { rateLimit } from "express-rate-limit";
import { Redis } from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";
import { RedisStore } from "rate-limit-redis";
import { createClient } from "redis";
import Redlock from "redlock";

const port = Number(process.env.REDIS_PORT);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// express-rate-limit over HTTP: five are let through, whoever asks at the same time.
async function expressRateLimit() {
  const client = createClient({ socket: { port } });
  await client.connect();
  await client.flushAll();
  await client.sendCommand(["SCRIPT", "FLUSH"]);
  const app = express();
  const store = new RedisStore({ sendCommand: (...args) => client.sendCommand(args), prefix: "web:" });
  app.use(rateLimit({ windowMs: 60_000, limit: 5, standardHeaders: true, legacyHeaders: false, store }));
  app.get("/", (_, response) => response.send("in"));
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(url)));
  const statuses = answers.map((answer) => answer.status);
  assert.equal(statuses.filter((status) => status === 200).length, 5);
  assert.equal(statuses.filter((status) => status === 429).length, 15);
  // The scripts are gone in the midst of it: the store loads them again.
  await client.sendCommand(["SCRIPT", "FLUSH"]);
  assert.equal((await fetch(url)).status, 429);
  const [key] = (await client.keys("web:*"));
  assert.ok((await client.pTTL(key)) > 50_000);
  await store.resetKey(key.slice("web:".length));
  assert.equal((await fetch(url)).status, 200);
  server.close();
  server.closeAllConnections();
  await client.close();
}

async function rateLimiterFlexible() {
  const client = new Redis({ port, enableOfflineQueue: false });
  await new Promise((resolve) => client.once("ready", resolve));
  const limiter = new RateLimiterRedis({ storeClient: client, points: 10, duration: 1, keyPrefix: "flex" });
  const outcomes = await Promise.allSettled(Array.from({ length: 25 }, () => limiter.consume("user")));
  assert.equal(outcomes.filter((outcome) => outcome.status === "fulfilled").length, 10);
  const refused = outcomes.find((outcome) => outcome.status === "rejected").reason;
  assert.ok(refused.msBeforeNext > 0 && refused.msBeforeNext <= 1000);
  await pause(refused.msBeforeNext + 20);
  assert.equal((await limiter.consume("user", 3)).remainingPoints, 7);
  assert.equal((await limiter.penalty("user", 2)).consumedPoints, 5);
  assert.equal((await limiter.reward("user", 1)).consumedPoints, 4);
  assert.equal((await limiter.get("user")).consumedPoints, 4);
  await limiter.block("user", 5);
  await assert.rejects(limiter.consume("user"), (refusal) => refusal.msBeforeNext > 1000);
  assert.equal(await limiter.delete("user"), true);
  client.disconnect();
}

async function redlock() {
  const clients = [new Redis({ port }), new Redis({ port })];
  const lock = new Redlock([clients[0]], { retryCount: 0 });
  const held = await lock.lock("locks:a", 500);
  await assert.rejects(lock.lock("locks:a", 500), /exceeded|failed|Lock/i);
  const longer = await held.extend(2000);
  assert.ok((await clients[1].pttl("locks:a")) > 1000);
  await longer.unlock();
  assert.equal(await clients[1].exists("locks:a"), 0);
  await lock.lock("locks:a", 50);
  await pause(80);
  const again = await lock.lock("locks:a", 500);
  // Many want it: one at a time has it, and a counter that is read and written under it loses nothing.
  await again.unlock();
  const patient = new Redlock([clients[0]], { retryCount: 500, retryDelay: 5, retryJitter: 5 });
  await clients[0].set("locks:count", 0);
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      const mine = await patient.lock("locks:b", 5000);
      const count = Number(await clients[1].get("locks:count"));
      await clients[1].set("locks:count", count + 1);
      await mine.unlock();
    }),
  );
  assert.equal(await clients[0].get("locks:count"), "20");
  for (const client of clients) client.disconnect();
}

// ioredis's defineCommand: EVALSHA first, EVAL when it is not known.
async function definedCommands() {
  const redis = new Redis({ port, enableAutoPipelining: true });
  await redis.script("FLUSH");
  redis.defineCommand("sliding", {
    numberOfKeys: 1,
    lua: `
      redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. (ARGV[1] - ARGV[2]))
      if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return {0, redis.call('ZRANGE', KEYS[1], 0, 0)[1]} end
      redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4])
      redis.call('PEXPIRE', KEYS[1], ARGV[2])
      return {1, false}`,
  });
  const now = Date.now();
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, index) => redis.sliding("sliding:1", now + index, 1000, 5, `request-${index}`)),
  );
  assert.deepEqual(answers.map(([allowed]) => allowed), [1, 1, 1, 1, 1, 0, 0, 0]);
  assert.deepEqual(answers[5], [0, "request-0"]);
  assert.deepEqual(await redis.sliding("sliding:1", now + 1500, 1000, 5, "later"), [1, null]);
  redis.disconnect();
}

await expressRateLimit();
await rateLimiterFlexible();
await redlock();
await definedCommands();
console.log("done");
process.exit(0);
