// examples/express, driven over HTTP like browsers do: through node-redis and through ioredis, and as two processes of one application. The
// first wrong answer throws, which ends the process with status 1.
//
// Races are made, not hoped for: replies that a request reads its session by are held back until all requests of the race have theirs. A store
// that saves what it has read loses all of them but one; that is shown first, with express-session and connect-redis.
import assert from "node:assert/strict";
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import Redis from "ioredis";
import { application, LIMITS } from "../../../../examples/express/app.js";
import { Contended, SessionEnded, SessionStore, TokenRotated } from "../../../../examples/express/session-store.js";

const RACERS = 40;
const port = Number(process.env.REDIS_PORT);
const nodeRedis = await createClient({ socket: { port } }).connect();
const resp2 = await createClient({ socket: { port }, RESP: 2 }).connect();
const ioredis = new Redis(port, { autoResendUnfulfilledCommands: false });
const ways = {
  "node-redis": (...words) => nodeRedis.sendCommand(words),
  "node-redis, RESP2": (...words) => resp2.sendCommand(words),
  ioredis: (...words) => ioredis.call(...words),
};

async function listening(app) {
  const listener = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => listener.once("listening", resolve));
  return `http://127.0.0.1:${listener.address().port}`;
}

// Keeps whoever passes, when armed, until so many have come.
class Gate {
  waiting = [];
  wanted = 0;

  arm(wanted) {
    this.wanted = wanted;
    return new Promise((resolve) => (this.full = resolve));
  }

  async pass() {
    if (this.wanted === 0) return;
    this.wanted -= 1;
    const opened = new Promise((resolve) => this.waiting.push(resolve));
    if (this.wanted === 0) this.full();
    await opened;
  }

  open() {
    this.waiting.splice(0).forEach((resolve) => resolve());
  }
}

// Sends commands; what sessions are read by comes through the gate, or what `which` says.
const isRequest = (words) => words[0] === "SESSION.GET" && !words.includes("NOTOUCH");
const gated = (send, gate, which = isRequest) => async (...words) => {
  const reply = await send(...words);
  if (which(words)) await gate.pass();
  return reply;
};

// A browser, as far as this needs one: it keeps cookies, and refuses those that break the rules of their names.
class Browser {
  cookies = new Map();

  constructor(base, agent = "a browser") {
    this.base = base;
    this.agent = agent;
  }

  async request(method, path, form = null, headers = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(this.base + path, {
      method,
      redirect: "manual",
      headers: { cookie, "user-agent": this.agent, "sec-fetch-site": "same-origin", ...headers },
      body: form && new URLSearchParams(form),
    });
    for (const set of response.headers.getSetCookie()) this.#keep(set);
    return { status: response.status, headers: response.headers, body: await response.text() };
  }

  #keep(set) {
    const [pair, ...attributes] = set.split("; ");
    const [name, value] = pair.split("=");
    assert.match(name, /^__Host-(id|guest)$/);
    for (const attribute of ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"]) assert(attributes.includes(attribute), `${attribute} is missing from ${set}`);
    assert(!attributes.some((attribute) => attribute.startsWith("Domain")), set);
    if (value === "") {
      assert(attributes.includes("Expires=Thu, 01 Jan 1970 00:00:00 GMT"), set);
      return this.cookies.delete(name);
    }
    assert.match(value, /^[A-Za-z0-9_-]{43}$/);
    assert(!attributes.some((attribute) => /^(Max-Age|Expires)/.test(attribute)), set);
    this.cookies.set(name, value);
  }

  async does(status, path, form = {}) {
    const answer = await this.request("POST", path, form);
    assert.equal(answer.status, status, `${path}: ${answer.body}`);
    return answer;
  }

  // Tries are limited, which another test is about.
  async login(user) {
    await nodeRedis.del(`login:${user}`);
    return this.does(303, "/login", { user, password: "sessile" });
  }

  add = (item) => this.does(303, "/cart", { item });
  me = async () => JSON.parse((await this.request("GET", "/me")).body);
}

// What an application does otherwise: the session is one blob, read at the beginning of a request and saved at its end.
async function wholeBlobsLoseUpdates() {
  const gate = new Gate();
  const app = express();
  app.use(session({
    store: new RedisStore({ client: nodeRedis, prefix: "blob:" }),
    secret: "not a secret in a test",
    resave: false,
    saveUninitialized: false,
  }));
  app.post("/cart/:item", async (request, response) => {
    await gate.pass();
    request.session.cart = [...(request.session.cart ?? []), request.params.item];
    request.session.save((error) => response.sendStatus(error ? 500 : 200));
  });
  app.get("/me", (request, response) => response.json(request.session.cart));
  const base = await listening(app);
  const cookie = (await fetch(`${base}/cart/first`, { method: "POST" })).headers.get("set-cookie").split(";")[0];
  const full = gate.arm(RACERS);
  const racers = Array.from({ length: RACERS }, (_, number) => fetch(`${base}/cart/${number}`, { method: "POST", headers: { cookie } }));
  await full;
  gate.open();
  for (const answer of await Promise.all(racers)) assert.equal(answer.status, 200);
  const cart = await (await fetch(`${base}/me`, { headers: { cookie } })).json();
  const lost = RACERS + 1 - cart.length;
  console.log(`GET and SET of the whole session: ${RACERS + 1} items were added, each with status 200, and ${lost} are lost`);
  assert.equal(lost, RACERS - 1);
}

// The same race against the example, in two processes' worth of it.
async function theStoreLosesNone(way) {
  const gate = new Gate();
  const bases = [await listening(await application(gated(ways[way], gate))), await listening(await application(gated(ways["node-redis"], gate)))];
  const browser = new Browser(bases[0]);
  await browser.add("first");
  const full = gate.arm(RACERS + 2);
  const racers = Array.from({ length: RACERS }, async (_, number) => {
    const other = new Browser(bases[number % 2]);
    other.cookies = new Map(browser.cookies);
    await other.add(`item ${number}`);
  });
  racers.push(browser.does(303, "/theme", { theme: "dark" }), browser.does(303, "/cart/remove", { item: "first" }));
  await full;
  gate.open();
  await Promise.all(racers);
  const { cart, theme } = await browser.me();
  assert.deepEqual(cart.toSorted(), Array.from({ length: RACERS }, (_, number) => `item ${number}`).toSorted());
  assert.equal(theme, "dark");
  await browser.does(303, "/theme/reset");
  const after = await browser.me();
  assert.deepEqual(Object.keys(after).toSorted(), ["cart", "user"]);
  console.log(`SESSION.* through ${way}: ${RACERS} items were added, and 0 are lost`);
}

// An item that is answered with success while its guest logs in is in the cart; one that is not was refused.
async function aGuestTakesTheCartAlong(base) {
  const browser = new Browser(base);
  await browser.add("bread");
  const guest = browser.cookies.get("__Host-guest");
  const inTime = new Set(["bread"]);
  const late = new Browser(base);
  late.cookies = new Map(browser.cookies);
  const adding = (async () => {
    for (let number = 0; number < 60; number += 1) {
      if (!late.cookies.has("__Host-guest")) break;
      const answer = await late.request("POST", "/cart", { item: `late ${number}` });
      assert([303, 401, 409].includes(answer.status), answer.body);
      if (answer.status === 303) inTime.add(`late ${number}`);
    }
  })();
  await new Promise((resolve) => setTimeout(resolve, 15));
  await browser.login("ann");
  await adding;
  const { user, cart } = await browser.me();
  assert.equal(user, "ann");
  assert.deepEqual(new Set(cart), inTime);
  assert.deepEqual([...browser.cookies.keys()], ["__Host-id"]);
  assert.notEqual(browser.cookies.get("__Host-id"), guest);
  const thief = new Browser(base);
  thief.cookies.set("__Host-id", guest);
  assert.deepEqual(await thief.me(), { user: null });
  console.log(`a guest logged in among ${inTime.size} additions`);
  await browser.does(303, "/logout");
}

// The same, made: the item comes when the guest's cart has been read, and is not yet the user's.
async function whatComesAmidALoginIsRefusedNotLost(way) {
  const gate = new Gate();
  const browser = new Browser(await listening(await application(gated(ways[way], gate, (words) => words.includes("USER")))));
  await browser.add("bread");
  const other = new Browser(browser.base);
  other.cookies = new Map(browser.cookies);
  const full = gate.arm(1);
  const login = browser.login("ann");
  await full;
  await other.does(401, "/cart", { item: "butter" });
  assert.equal(other.cookies.size, 0, "a guest's cookie whose session has ended is taken away");
  gate.open();
  await login;
  // Done again, as the answer asks for, it is there: the browser has the user's cookie now.
  await browser.add("butter");
  assert.deepEqual(await browser.me(), { user: "ann", cart: ["bread", "butter"] });
  await browser.does(303, "/logout");
}

async function loginsAreListedAndEnded(base) {
  const desk = new Browser(base, "Firefox <b>at the desk</b>");
  const phone = new Browser(base, "a phone");
  const ben = new Browser(base);
  await desk.login("ann");
  const first = desk.cookies.get("__Host-id");
  await desk.login("ann");
  assert.notEqual(desk.cookies.get("__Host-id"), first, "a login gives another token");
  await phone.login("ann");
  await ben.login("ben");
  await phone.add("milk");
  assert.deepEqual(await desk.me(), { user: "ann" });
  assert.deepEqual(await phone.me(), { user: "ann", cart: ["milk"] });

  const listed = (await desk.request("GET", "/sessions")).body;
  assert(listed.includes("Firefox &lt;b&gt;at the desk") && listed.includes("a phone") && listed.includes("this one"), listed);
  const handles = (page) => [...page.matchAll(/name=handle value="([^"]+)"/g)].map((found) => found[1]);
  assert.equal(handles(listed).length, 1);
  for (const token of [...desk.cookies.values(), ...phone.cookies.values()]) assert(!listed.includes(token));

  // Not without the password, not by another user, not by another site, not by nobody.
  const [phones] = handles(listed);
  await desk.does(403, "/sessions/revoke", { handle: phones, password: "wrong" });
  await ben.does(404, "/sessions/revoke", { handle: phones, password: "sessile" });
  for (const headers of [{ "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site" }]) {
    assert.equal((await desk.request("POST", "/logout-everywhere", {}, headers)).status, 403);
  }
  await new Browser(base).does(401, "/logout-everywhere");
  assert.equal((await phone.me()).user, "ann");

  const before = desk.cookies.get("__Host-id");
  await desk.does(303, "/sessions/revoke", { handle: phones, password: "sessile" });
  assert.notEqual(desk.cookies.get("__Host-id"), before);
  assert.equal((await phone.me()).user, null);
  assert.equal((await desk.me()).user, "ann");
  // The phone is told, and does not go on as a guest by itself.
  await phone.does(401, "/cart", { item: "milk" });

  await phone.login("ann");
  await phone.does(303, "/logout-everywhere");
  assert.equal(phone.cookies.size, 0);
  assert.equal((await desk.me()).user, null);
  assert.equal((await phone.me()).user, null);
  assert.equal((await ben.me()).user, "ben");
  await ben.does(303, "/logout");
  assert.equal(await nodeRedis.sendCommand(["SESSION.COUNT", "USER", "ann"]), 0);
}

// connect-redis#328: a request that had begun before the logout ends after it.
async function aRequestUnderWayDoesNotUndoALogout(way) {
  const gate = new Gate();
  const browser = new Browser(await listening(await application(gated(ways[way], gate))));
  await browser.login("ben");
  const slow = new Browser(browser.base);
  slow.cookies = new Map(browser.cookies);
  const full = gate.arm(1);
  const adding = slow.request("POST", "/cart", { item: "too late" });
  await full;
  await browser.does(303, "/logout");
  gate.open();
  assert.equal((await adding).status, 401);
  assert.equal((await slow.me()).user, null);
}

async function passwordsAreLimited(base) {
  await nodeRedis.del("login:ben");
  const tries = [];
  for (let number = 0; number < 12; number += 1) {
    tries.push(await new Browser(base).request("POST", "/login", { user: "ben", password: "wrong" }));
  }
  assert(tries.every(({ status, headers }) => status === 403 || (status === 429 && Number(headers.get("retry-after")) > 0)));
  assert.equal(tries.at(-1).status, 429);
}

async function changesAreByField(way) {
  const send = ways[way];
  const store = new SessionStore(send, { ...LIMITS, name: "fields" });
  await store.prepare();
  const token = await store.create({ user: "ann", data: { a: 1, b: { deep: ["ü"] }, "with space": null, __proto__: null } });
  const read = await store.load(token);
  assert.deepEqual(read.data, { a: 1, b: { deep: ["ü"] }, "with space": null });
  assert.throws(() => read.data.b.deep.push(1), TypeError);

  // Set and removed at once: one change, and somebody who comes between the two commands that it is made of sees it whole.
  let between = null;
  const noticing = new SessionStore(async (...words) => {
    if (words[0] === "SESSION.UNSET" && between === null) {
      between = await store.load(token, { touch: false });
      await store.set(token, { other: true });
    }
    return send(...words);
  }, { ...LIMITS, name: "fields" });
  await noticing.update(token, (data) => {
    data.a += 1;
    delete data.b;
  });
  assert.deepEqual(between.data, { a: 2, "with space": null });
  const swept = await store.update(token, (data) => {
    data.a += 1;
  });
  assert.deepEqual(swept.data, { a: 3, "with space": null, other: true });
  const after = await store.load(token);
  assert.deepEqual([...after.fields.keys()].toSorted(), ["a", "other", "with space"]);
  assert.equal(after.version, swept.version);

  // What changes nothing writes nothing; a function that throws changes nothing.
  assert.equal((await store.update(token, () => {})).version, after.version);
  await assert.rejects(store.update(token, (data) => {
    data.a = 0;
    throw new RangeError("no");
  }), RangeError);
  assert.equal((await store.load(token)).version, after.version);

  // The old token of a rotation looks, and changes nothing; the store says which it is.
  const next = await store.rotate(token);
  assert.equal((await store.load(token)).data.a, 3);
  await assert.rejects(store.update(token, (data) => void (data.a = 0)), TokenRotated);
  await assert.rejects(store.rotate(token), TokenRotated);
  assert.equal((await store.load(next)).handle, read.handle);
  const taken = await store.take(next);
  assert.equal(await store.load(next), null);
  await assert.rejects(store.set(next, { a: 0 }), SessionEnded);
  assert.equal(await store.touch(taken.token, next), 1);

  // Somebody who is always faster is not waited for forever.
  const faster = new SessionStore(send, { ...LIMITS, name: "fields" });
  let runs = 0;
  await assert.rejects(faster.update(taken.token, async (data) => {
    runs += 1;
    await store.set(taken.token, { other: runs });
    data.a = 0;
  }), Contended);
  assert.equal((await store.load(taken.token)).data.a, 3);

  assert.equal(await store.revokeUser("ann", { except: taken.token }), 0);
  assert.equal(await store.end(taken.token, next), 1);
  await assert.rejects(store.update(taken.token, () => {}, taken).then(() => store.set(taken.token, { a: 1 })), SessionEnded);
  assert.equal(await store.load("no token"), null);
  const many = await Promise.all(Array.from({ length: LIMITS.perUser + 2 }, () => store.create({ user: "dora" })));
  assert.equal((await store.list("dora")).length, LIMITS.perUser);
  assert.equal(await store.revokeUser("dora", { except: many.at(-1) }), LIMITS.perUser - 1);
}

await wholeBlobsLoseUpdates();
for (const way of Object.keys(ways)) {
  await theStoreLosesNone(way);
  await changesAreByField(way);
  await aRequestUnderWayDoesNotUndoALogout(way);
  await whatComesAmidALoginIsRefusedNotLost(way);
  const base = await listening(await application(ways[way]));
  await loginsAreListedAndEnded(base);
  await aGuestTakesTheCartAlong(base);
  await passwordsAreLimited(base);
}
console.log("done");
process.exit(0);
