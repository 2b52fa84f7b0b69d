// The session's cookies.
//
// - `__Host-`: browsers take it over a secure connection only, from this host for this host, so neither a sibling domain nor somebody on the way can
//   plant one. It needs Secure; browsers count http://localhost as secure, curl and Safari don't: for those, `secure: false` leaves out both.
// - HttpOnly: no script reads it. SameSite=Lax: other sites' forms and scripts don't send it, links do.
// - No Max-Age: it goes with the browser; how long it is good for is the store's business.
//
// Guests and users have one each: an answer to a request from before the login, coming late, can't take the user's away.
const NAMES = { user: "id", guest: "guest" };

export class Cookies {
  #prefix;
  #attributes;

  constructor({ secure = true } = {}) {
    this.#prefix = secure ? "__Host-" : "";
    this.#attributes = { path: "/", httpOnly: true, sameSite: "lax", secure };
  }

  // The token that a browser has sent, or null; of two with one name neither: somebody plays tricks.
  token(request, kind) {
    const start = `${this.#prefix}${NAMES[kind]}=`;
    const sent = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim());
    const tokens = sent.filter((pair) => pair.startsWith(start)).map((pair) => pair.slice(start.length));
    return tokens.length === 1 ? tokens[0] : null;
  }

  give(response, kind, token) {
    response.cookie(this.#prefix + NAMES[kind], token, this.#attributes);
  }

  take(response, kind) {
    response.clearCookie(this.#prefix + NAMES[kind], this.#attributes);
  }
}
