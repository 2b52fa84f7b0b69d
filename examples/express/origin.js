// Requests that other sites make browsers send are refused, and the headers that every answer has.

// Refuses what changes something and does not come from a page of ours. Logging in, too: nobody should find himself in somebody else's account.
export function guard(request, response, next) {
  response.set({
    // Pages of a session are in no cache, nor behind the back button after a logout.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
  });
  if (["GET", "HEAD"].includes(request.method) || isOwn(request)) return next();
  response.status(403).send("This did not come from a page of ours.");
}

// Browsers say where a request comes from: all of today's by Sec-Fetch-Site, older ones by Origin. One that says neither is none.
function isOwn(request) {
  const site = request.get("Sec-Fetch-Site");
  if (site !== undefined) return site === "same-origin";
  const origin = request.get("Origin");
  return origin !== undefined && origin.split("://")[1] === request.get("Host");
}
