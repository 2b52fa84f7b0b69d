// HTML. Whatever comes from outside is escaped.
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text) => String(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);

const page = (title, body, theme = "light") => `<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">
<title>${title}</title><style>body{font:1rem/1.5 system-ui;max-width:42rem;margin:2rem auto;padding:0 1rem;color-scheme:${theme === "dark" ? "dark" : "light"}}
form{display:inline}</style><h1>${title}</h1>${body}`;

const form = (action, button, inner = "") => `<form method=post action=${action}>${inner} <button>${button}</button></form>`;
const hidden = (name, value) => `<input type=hidden name=${name} value="${escaped(value)}">`;
const PASSWORD = `<input name=password type=password placeholder=sessile autocomplete=current-password required>`;
const LOGIN = form("/login", "Log in", `<input name=user placeholder=ann autocomplete=username required> ${PASSWORD}`);

export const note = (text) => page("Sessile", `<p id=note>${escaped(text)}</p><p>${LOGIN} ${form("/logout", "Go on as a guest")}</p>`);

export function shop(session) {
  const { cart = [], theme } = session?.data ?? {};
  const items = cart.map((item) => `<li>${escaped(item)} ${form("/cart/remove", "Remove", hidden("item", item))}</li>`).join("");
  const account = session?.user
    ? `You are <b>${escaped(session.user)}</b>. <a href=/sessions>Where you are logged in</a> ${form("/logout", "Log out")}`
    : LOGIN;
  const colours = theme === "dark" ? form("/theme/reset", "Light") : form("/theme", "Dark", hidden("theme", "dark"));
  const add = form("/cart", "Add", `<input name=item maxlength=100 autofocus required>`);
  return page("Cart", `<p>${account} ${colours}</p><ul>${items}</ul>${add}`, theme);
}

export function devices(own, sessions) {
  const items = sessions.map(({ handle, meta, seenMs }) => {
    const which = handle === own.handle ? "<b>this one</b>" : form("/sessions/revoke", "End it", hidden("handle", handle) + PASSWORD);
    return `<li>${escaped(meta)}, seen ${new Date(seenMs).toISOString()} ${which}</li>`;
  });
  const everywhere = form("/logout-everywhere", "Log out everywhere");
  return page("Where you are logged in", `<ul>${items.join("")}</ul><p>${everywhere} <a href=/>Back</a></p>`, own.data.theme);
}
