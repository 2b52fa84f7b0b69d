// Sessions on Sessile's SESSION.* commands, through any client that can send a command it does not know.
//
//   const send = (...words) => client.sendCommand(words);   // node-redis
//   const send = (...words) => client.call(...words);       // ioredis; see README.md for one setting that matters
//   const store = new SessionStore(send, { name: "web", idleSeconds: 1800, maxSeconds: 43200, perUser: 5 });
//   await store.prepare();
//
// What it promises:
// - A change is made to the session as it is, not as it was when the request began: `update` runs its function on what is there, writes with
//   the version that it read, and runs it again if somebody was faster. Of concurrent updates none is lost.
// - Only the fields that changed are sent. `set` and `unset` ask for no version: requests that change different fields don't meet.
// - Nothing revives a session: a change that comes after a logout throws `SessionEnded`.
// - Looking costs no write: deadlines move with SESSION.GET.
//
// What it must never do: send back a session as a whole, make up a token, retry what may have been done.
//
// A field holds JSON. An empty one stands for a field that is gone (see `update`).
import { setTimeout as sleep } from "node:timers/promises";

// Times that an update is tried while others are faster: each time at least one of them got through.
const ATTEMPTS_MAX = 100;
const PAUSE_MS_MAX = 50;
const GONE = "";

// The session is over: logged out, revoked, expired, or never was.
export class SessionEnded extends Error {
  constructor() {
    super("the session has ended");
    this.status = 401;
  }
}

// Another request of the same browser has got a new token meanwhile; this one may look, but not change anything.
export class TokenRotated extends Error {
  constructor() {
    super("the session has another token by now");
    this.status = 409;
  }
}

// Others were faster, a hundred times.
export class Contended extends Error {
  constructor() {
    super("too many requests change this session at once");
    this.status = 503;
  }
}

// A session as it was read. `data` is frozen, deeply: a change that nobody would save throws instead.
export class Session {
  #fields; // name -> JSON

  constructor(token, reply, fields) {
    this.#fields = fields;
    this.token = token;
    this.handle = reply.get("handle");
    this.user = reply.get("user") || null;
    this.meta = reply.get("meta");
    this.version = Number(reply.get("version"));
    this.createdMs = Number(reply.get("created-ms"));
    this.data = frozen(this.copy());
  }

  // Its fields by name, as JSON; those that are gone, too.
  get fields() {
    return this.#fields;
  }

  // What it holds, to be changed.
  copy() {
    const there = [...this.#fields].filter(([, json]) => json !== GONE);
    return Object.fromEntries(there.map(([name, json]) => [name, JSON.parse(json)]));
  }
}

export class SessionStore {
  #send;
  #policy;

  // Limits are the store's: no request, no bug in the application and no stolen token gets a session beyond them.
  constructor(send, { name, idleSeconds, maxSeconds, perUser, graceSeconds = 10 }) {
    this.#send = send;
    this.name = name;
    this.#policy = ["IDLE", idleSeconds, "MAX", maxSeconds, "PERUSER", perUser, "GRACE", graceSeconds];
  }

  // Makes the class of the sessions, or gives it these limits, for sessions that are made from then on.
  async prepare() {
    await this.#send("SESSION.POLICY", "SET", this.name, ...this.#policy.map(String));
  }

  // A new session; its token is in no other reply, ever.
  async create({ user = null, meta = "", data = {} }) {
    const fields = Object.entries(data).flatMap(([name, value]) => [name, JSON.stringify(value)]);
    const options = user === null ? [] : ["USER", user];
    if (fields.length > 0) options.push("FIELDS", String(fields.length / 2), ...fields);
    return pairs(await this.#send("SESSION.CREATE", this.name, "META", meta, ...options)).get("token");
  }

  // The session, or null. It is touched, unless nobody did anything: pages that ask again by themselves.
  async load(token, { touch = true } = {}) {
    if (!isToken(token)) return null;
    const reply = await this.#send("SESSION.GET", token, ...(touch ? [] : ["NOTOUCH"]));
    if (reply === null) return null;
    const known = pairs(reply);
    if (known.get("class") !== this.name) return null; // another application's
    return new Session(token, known, pairs(known.get("fields")));
  }

  // Changes a session by a function of what it holds, which may run several times: let it do nothing else.
  // `known` is the session as it was read, and saves a round trip if it is still like that. Gives the session as it is afterwards.
  async update(token, change, known = null) {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const session = known ?? (await this.load(token, { touch: false }));
      known = null;
      if (session === null) throw new SessionEnded();
      const data = session.copy();
      await change(data);
      try {
        return await this.#write(session, data);
      } catch (error) {
        if (code(error) !== "CONFLICT") throw error;
      }
      if (attempt > 1) await sleep(Math.random() * Math.min(2 ** attempt, PAUSE_MS_MAX));
    }
    throw new Contended();
  }

  // Writes what differs, if the session has still the version that was read.
  async #write(session, data) {
    const after = new Map(Object.entries(data).flatMap(([name, value]) => {
      const json = JSON.stringify(value); // undefined of what JSON can't say
      return json === undefined ? [] : [[name, json]];
    }));
    const changed = [...after].filter(([name, json]) => session.fields.get(name) !== json);
    const removed = [...session.fields.keys()].filter((name) => !after.has(name));
    const gone = removed.filter((name) => session.fields.get(name) !== GONE);
    const { token } = session;
    let { version } = session;
    if (changed.length > 0) {
      // Fields set and fields removed are two commands, and somebody could come between. So what is removed is first emptied, by the
      // same command that sets the others, and then swept away. If somebody does come between, the next update sweeps.
      const words = [...changed, ...gone.map((name) => [name, GONE])];
      version = await this.#changed("SESSION.SET", token, "IFVERSION", String(version), "FIELDS", String(words.length), ...words.flat());
      if (removed.length > 0) {
        const sweep = ["IFVERSION", String(version), "FIELDS", String(removed.length), ...removed];
        version = await this.#changed("SESSION.UNSET", token, ...sweep).catch(() => version);
      }
    } else if (gone.length > 0) {
      version = await this.#changed("SESSION.UNSET", token, "IFVERSION", String(version), "FIELDS", String(removed.length), ...removed);
    }
    const reply = new Map([
      ["handle", session.handle],
      ["user", session.user],
      ["meta", session.meta],
      ["version", version],
      ["created-ms", session.createdMs],
    ]);
    return new Session(token, reply, after);
  }

  // Sets fields to values that don't depend on what was there; all others stay as they are, whoever is changing them.
  async set(token, data) {
    const fields = Object.entries(data).flatMap(([name, value]) => [name, JSON.stringify(value)]);
    return this.#changed("SESSION.SET", token, "FIELDS", String(fields.length / 2), ...fields);
  }

  // Removes fields.
  async unset(token, ...names) {
    return this.#changed("SESSION.UNSET", token, "FIELDS", String(names.length), ...names);
  }

  // Sends a change, and gives the new version.
  async #changed(...words) {
    let version;
    try {
      version = await this.#send(...words);
    } catch (error) {
      throw code(error) === "STALETOKEN" ? new TokenRotated() : error;
    }
    if (version === null) throw new SessionEnded();
    return Number(version);
  }

  // Moves deadlines without looking; how many of the sessions live.
  async touch(...tokens) {
    return Number(await this.#send("SESSION.TOUCH", ...tokens));
  }

  // The same session under a new token. The old one may look for a few seconds, for requests that are under way, and change nothing.
  async rotate(token, ...grace) {
    const reply = await this.#send("SESSION.ROTATE", token, ...grace).catch((error) => {
      throw code(error) === "STALETOKEN" ? new TokenRotated() : error;
    });
    if (reply === null) throw new SessionEnded();
    return pairs(reply).get("token");
  }

  // What a session holds, for good: rotated without grace, so that no request can change it any more but who has the new token, which is
  // in no cookie. What was changed before is in it; what comes later is refused, not lost.
  async take(token) {
    const own = await this.rotate(token, "GRACE", "0");
    const session = await this.load(own, { touch: false });
    if (session === null) throw new SessionEnded();
    return session;
  }

  // Ends sessions; on the disk before it is answered.
  async end(...tokens) {
    return Number(await this.#send("SESSION.END", ...tokens));
  }

  // Where a user is logged in, most recently seen first.
  async list(user) {
    const all = [];
    let cursor = "0";
    do {
      const page = pairs(await this.#send("SESSION.LIST", "USER", user, "CURSOR", cursor));
      for (const session of page.get("sessions").map(pairs)) {
        if (session.get("class") !== this.name) continue;
        const [handle, meta, seenMs] = ["handle", "meta", "seen-ms"].map((name) => session.get(name));
        all.push({ handle, meta, seenMs: Number(seenMs) });
      }
      cursor = String(page.get("cursor"));
    } while (cursor !== "0");
    return all;
  }

  // Ends all sessions of a user, or all but one; how many.
  async revokeUser(user, { except = null } = {}) {
    return Number(await this.#send("SESSION.REVOKE", "USER", user, ...(except === null ? [] : ["EXCEPT", except])));
  }

  // Ends the session with a public name. Whether it is this user's is the caller's to ask: see `list`.
  async revokeHandle(handle) {
    return Number(await this.#send("SESSION.REVOKE", "HANDLE", handle));
  }
}

// A map of a reply: RESP3 has maps, which clients give as objects or as maps; RESP2 has flat arrays.
function pairs(reply) {
  if (reply instanceof Map) return reply;
  if (!Array.isArray(reply)) return new Map(Object.entries(reply));
  return new Map(Array.from({ length: reply.length / 2 }, (_, at) => [reply[2 * at], reply[2 * at + 1]]));
}

// The kind of an error that the server has answered with.
const code = (error) => /^[A-Z]+(?= )/.exec(error.message)?.[0];

// What else comes in a cookie is not sent anywhere.
const isToken = (text) => /^[A-Za-z0-9_-]{43}$/.test(text);

function frozen(value) {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
  return value;
}
