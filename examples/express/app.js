// A shop with a cart: guests have one, too, and keep it when they log in; a page of sessions; logout here and everywhere.
//
//   session-store.js   sessions on SESSION.*
//   cookies.js         the cookies: `__Host-`, HttpOnly, SameSite=Lax, Secure
//   origin.js          other sites' requests are refused
//   pages.js           HTML
//
// What an application of yours would do otherwise: keep its users somewhere, with passwords hashed by Argon2id, or passkeys; stand behind a proxy
// that serves TLS; draw its pages with a template engine.
import { createHash, timingSafeEqual } from "node:crypto";
import express from "express";
import { Cookies } from "./cookies.js";
import { guard } from "./origin.js";
import * as pages from "./pages.js";
import { SessionEnded, SessionStore } from "./session-store.js";

// Who there is, for the example's sake.
const USERS = new Map([["ann", "sessile"], ["ben", "sessile"]]);
// Passwords that may be tried for a user: five at once, then one every twelve seconds.
const ATTEMPTS = ["4", "5", "60"];
const CART_ITEMS_MAX = 200;
const ITEM_CHARACTERS_MAX = 100;
const DEVICE_CHARACTERS_MAX = 80;

export const LIMITS = { name: "web", idleSeconds: 30 * 60, maxSeconds: 12 * 3600, perUser: 5 };

// The application; `send` sends a command, and gives its reply.
export async function application(send, { secure = true } = {}) {
  const store = new SessionStore(send, LIMITS);
  await store.prepare();
  const cookies = new Cookies({ secure });
  const app = express();
  app.disable("x-powered-by");
  app.use(guard, express.urlencoded({ extended: false, limit: "10kb" }));

  // Who comes: `request.session`, or null. A user's cookie counts before a guest's, even if its session has ended: whoever believes to be
  // logged in should hear that, and not go on as a guest.
  app.use(async (request, response, next) => {
    const kind = cookies.token(request, "user") === null ? "guest" : "user";
    const token = cookies.token(request, kind);
    request.session = token === null ? null : await store.load(token);
    request.ended = token !== null && request.session === null ? kind : null;
    next();
  });

  // A session, of a user or a guest, which is made for who comes for the first time.
  const anybody = async (request, response, next) => {
    if (request.ended === "guest") cookies.take(response, "guest");
    if (request.ended !== null) throw new SessionEnded();
    if (request.session === null) {
      const token = await store.create({ meta: device(request) });
      cookies.give(response, "guest", token);
      request.session = await store.load(token);
    }
    next();
  };
  const user = (request, response, next) => next(request.session?.user ? undefined : new SessionEnded());

  app.get("/", (request, response) => response.send(pages.shop(request.session)));
  app.get("/me", (request, response) => response.json({ user: request.session?.user ?? null, ...request.session?.data }));

  // Depends on what is in the cart: `update`, which does it again if another tab was faster.
  app.post("/cart", anybody, async (request, response) => {
    const item = text(request.body?.item, ITEM_CHARACTERS_MAX);
    const { token } = request.session;
    await store.update(token, (data) => {
      data.cart = [...(data.cart ?? []), item].slice(-CART_ITEMS_MAX);
    }, request.session);
    response.redirect(303, "/");
  });
  app.post("/cart/remove", anybody, async (request, response) => {
    const item = text(request.body?.item, ITEM_CHARACTERS_MAX);
    const { token } = request.session;
    await store.update(token, (data) => {
      data.cart = (data.cart ?? []).filter((other) => other !== item);
      if (data.cart.length === 0) delete data.cart;
    }, request.session);
    response.redirect(303, "/");
  });

  // Depends on nothing: one field is set, or removed, and no other is touched.
  app.post("/theme", anybody, async (request, response) => {
    await store.set(request.session.token, { theme: text(request.body?.theme, 10) });
    response.redirect(303, "/");
  });
  app.post("/theme/reset", anybody, async (request, response) => {
    await store.unset(request.session.token, "theme");
    response.redirect(303, "/");
  });

  // Every login has a token that nobody has seen before.
  app.post("/login", async (request, response) => {
    const name = text(request.body?.user, 40);
    await check(send, name, request.body?.password);
    const before = request.session;
    let token;
    if (before?.user === name) {
      token = await store.rotate(before.token);
    } else {
      // A session belongs to the user that it was made for: a guest's ends, and what it held goes along.
      const guest = before !== null && before.user === null ? await store.take(before.token) : null;
      token = await store.create({ user: name, meta: device(request), data: guest?.data ?? {} });
      const over = guest?.token ?? before?.token;
      if (over !== undefined) await store.end(over);
    }
    cookies.give(response, "user", token);
    cookies.take(response, "guest");
    response.redirect(303, "/");
  });

  // Ends the session, durably, whatever the browser does with the cookies; leaving must always be possible.
  const left = (response) => {
    cookies.take(response, "user");
    cookies.take(response, "guest");
    response.set("Clear-Site-Data", '"cache", "storage"').redirect(303, "/");
  };
  app.post("/logout", async (request, response) => {
    if (request.session !== null) await store.end(request.session.token);
    left(response);
  });
  app.post("/logout-everywhere", user, async (request, response) => {
    await store.revokeUser(request.session.user);
    left(response);
  });

  app.get("/sessions", user, async (request, response) => {
    response.send(pages.devices(request.session, await store.list(request.session.user)));
  });
  // One of the user's sessions, never another's. A stolen cookie alone should not be able to throw its owner out: it takes the password, and
  // the session goes on under a new token.
  app.post("/sessions/revoke", user, async (request, response) => {
    const { session } = request;
    await check(send, session.user, request.body?.password);
    const own = await store.list(session.user);
    const one = own.find(({ handle }) => handle === request.body.handle);
    if (one === undefined) throw refusal(404, "There is no such session.");
    await store.revokeHandle(one.handle);
    if (one.handle === session.handle) return left(response);
    cookies.give(response, "user", await store.rotate(session.token));
    response.redirect(303, "/sessions");
  });

  app.use((error, request, response, next) => {
    if (response.headersSent) return next(error);
    const known = Number.isInteger(error.status) && error.status >= 400;
    if (!known) console.error("a request has failed:", error.message);
    if (error.retryAfterSeconds !== undefined) response.set("Retry-After", String(error.retryAfterSeconds));
    // The cookie of a session that has ended stays: the browser may have another by now, from a login that was faster.
    response.status(known ? error.status : 500).send(pages.note(known ? SAID.get(error.status) ?? error.message : "Something went wrong here."));
  });
  return app;
}

const SAID = new Map([
  [401, "You are not logged in, or not any more."],
  [409, "Something else was faster. Please do that again."],
]);

function refusal(status, message, more = {}) {
  return Object.assign(new Error(message), { status, ...more });
}

// Whether this is the user's password; tries are limited, whoever makes them.
async function check(send, user, password) {
  const right = USERS.get(user);
  if (right === undefined) throw refusal(403, "That is not the user, or not the password.");
  const [limited, , , retryAfterSeconds] = await send("CL.THROTTLE", `login:${user}`, ...ATTEMPTS);
  if (Number(limited) === 1) throw refusal(429, "Too many attempts. Wait a little.", { retryAfterSeconds });
  const digest = (words) => createHash("sha256").update(String(words)).digest();
  if (!timingSafeEqual(digest(password), digest(right))) throw refusal(403, "That is not the user, or not the password.");
}

function text(value, charactersMax) {
  if (typeof value !== "string" || value === "" || value.length > charactersMax) throw refusal(400, "There is no such thing.");
  return value;
}

const device = (request) => (request.get("User-Agent") ?? "unknown device").slice(0, DEVICE_CHARACTERS_MAX);
