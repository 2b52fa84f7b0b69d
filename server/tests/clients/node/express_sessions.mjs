// An Express application with express-session and connect-redis, and the users who use it over HTTP: they log in,
// look (which touches their session), fill a cart, log out. Every answer is checked against what the user knows.
//
// server/tests/clients.rs drives it over standard input and kills the Redis server meanwhile:
//   prints "loaded"     enough sessions exist; the load goes on
//   reads  "verify"     (the server is back) every user checks their sessions; prints "verified <n>", loads again
//   reads  "end"        ends with status 0
// A promise that the store broke is printed and ends the process with status 1.
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const USERS = 24;
const SESSIONS_BEFORE_LOADED = 120;
const CLOSED_REMEMBERED = 40;

const client = createClient({ socket: { port: Number(process.env.REDIS_PORT), reconnectStrategy: 20 } });
// A broken connection is what this test is about; what it broke shows in the answers.
client.on("error", () => {});
await client.connect();

const app = express();
app.use(
  session({
    store: new RedisStore({ client, prefix: "sess:" }),
    secret: "not a secret in a test",
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 1_800_000 },
  }),
);

// An answer 200 promises that the store has acknowledged the change: so each handler waits for it itself.
// (Left to itself, express-session answers 200 even when saving failed.)
const saved = (request, response) =>
  request.session.save((error) => (error ? response.sendStatus(500) : response.json(visible(request.session))));
const visible = ({ user, cart }) => ({ user, cart });
app.post("/login/:user", (request, response) =>
  request.session.regenerate((error) => {
    if (error) return response.sendStatus(500);
    request.session.user = request.params.user;
    request.session.cart = [];
    if (request.query.seconds) request.session.cookie.maxAge = 1000 * Number(request.query.seconds);
    saved(request, response);
  }),
);
app.get("/me", (request, response) =>
  request.session.user ? response.json(visible(request.session)) : response.sendStatus(401),
);
app.post("/cart/:item", (request, response) => {
  if (!request.session.user) return response.sendStatus(401);
  request.session.cart.push(request.params.item);
  saved(request, response);
});
app.post("/logout", (request, response) =>
  request.session.destroy((error) => response.sendStatus(error ? 500 : 200)),
);
app.use((_error, _request, response, _next) => response.headersSent || response.sendStatus(500));

const listener = app.listen(0, "127.0.0.1");
await new Promise((resolve) => listener.once("listening", resolve));
const base = `http://127.0.0.1:${listener.address().port}`;

function broken(promise) {
  console.log(`BROKEN ${promise}`);
  process.exit(1);
}
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

async function request(method, path, cookie) {
  try {
    const response = await fetch(base + path, { method, headers: cookie ? { cookie } : {} });
    const set = response.headers.get("set-cookie");
    const body = response.status === 200 && method + path !== "POST/logout" ? await response.json() : null;
    return { status: response.status, body, cookie: set?.split(";")[0] };
  } catch {
    return { status: 500 };
  }
}

let stopping = false;
let created = 0;
let serial = 0;

class User {
  constructor(name) {
    this.name = name;
    this.cookie = null; // of the session that is open
    this.states = []; // what it may hold: one state, or two while a change is unanswered
    this.closed = []; // cookies of sessions that were logged out
  }

  async work() {
    while (!stopping && (await this.step()));
  }

  // One request; false when it failed and only a verification can tell what happened.
  async step() {
    if (!this.cookie) return this.login();
    const dice = Math.random();
    if (dice < 0.55) return this.look();
    if (dice < 0.9) return this.add();
    return this.logout();
  }

  async login() {
    const answer = await request("POST", `/login/${this.name}`);
    if (answer.status !== 200) return false;
    this.cookie = answer.cookie;
    this.states = [{ user: this.name, cart: [] }];
    created += 1;
    return true;
  }

  async look() {
    const answer = await request("GET", "/me", this.cookie);
    if (answer.status === 500) return false;
    if (answer.status !== 200 || !same(answer.body, this.states[0])) {
      broken(`${this.name} sees ${answer.status} ${JSON.stringify(answer.body)}, not ${JSON.stringify(this.states)}`);
    }
    return true;
  }

  async add() {
    const item = `item${(serial += 1)}`;
    const next = { ...this.states[0], cart: [...this.states[0].cart, item] };
    this.states.push(next);
    const answer = await request("POST", `/cart/${item}`, this.cookie);
    if (answer.status === 401) broken(`${this.name} was logged out by nobody`);
    if (answer.status !== 200) return false;
    this.states = [next];
    return true;
  }

  async logout() {
    this.states.push(null);
    const answer = await request("POST", "/logout", this.cookie);
    if (answer.status !== 200) return false;
    this.closed = [this.cookie, ...this.closed].slice(0, CLOSED_REMEMBERED);
    this.cookie = null;
    return true;
  }

  // Sessions checked.
  async verify() {
    for (const cookie of this.closed) {
      const answer = await request("GET", "/me", cookie);
      if (answer.status !== 401) broken(`${this.name}: a session that was logged out answers ${answer.status}`);
    }
    if (!this.cookie) return this.closed.length;
    const answer = await request("GET", "/me", this.cookie);
    const found = answer.status === 401 ? null : answer.body;
    if (answer.status === 500 || !this.states.some((state) => same(state, found))) {
      broken(`${this.name} finds ${answer.status} ${JSON.stringify(found)}, promised was ${JSON.stringify(this.states)}`);
    }
    if (found) this.states = [found];
    else this.cookie = null;
    return this.closed.length + 1;
  }
}

const users = Array.from({ length: USERS }, (_, number) => new User(`user${number}`));
let working;
const load = () => {
  stopping = false;
  working = Promise.all(users.map((user) => user.work()));
};

load();
while (created < SESSIONS_BEFORE_LOADED) await sleep(5);
const brief = await request("POST", "/login/brief?seconds=1");
const briefDeadline = Date.now() + 1000;
console.log("loaded");

for await (const line of createInterface({ input: process.stdin })) {
  stopping = true;
  await working;
  if (line === "end") break;
  // The application's own connection may need a moment to notice that the server is back.
  while (!(await client.ping().catch(() => false))) await sleep(10);
  if (brief.status === 200) {
    await sleep(Math.max(0, briefDeadline + 300 - Date.now()));
    const answer = await request("GET", "/me", brief.cookie);
    if (answer.status !== 401) broken(`a session of one second answers ${answer.status} after it`);
  }
  let checked = 0;
  for (const user of users) checked += await user.verify();
  console.log(`verified ${checked}`);
  load();
}
process.exit(0);
