//! The session's cookie.
//!
//! - `__Host-`: browsers take it over a secure connection only (localhost counts), from this host for this host, so neither a sibling domain nor somebody on
//!   the way can plant one.
//! - `HttpOnly`: no script reads it.
//! - `SameSite=Lax`: other sites' forms and scripts don't send it, links do.
//! - No `Max-Age`: it goes with the browser; how long it is good for is the server's business.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use sessile::sessions::Token;

/// Its name, which says nothing of what is behind it.
const NAME: &str = "__Host-id";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

/// The token that a browser has sent.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut tokens = pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value);
    let token = tokens.next()?;
    // Two of one name: somebody plays tricks.
    tokens.next().is_none().then_some(token)
}

fn header(value: String) -> [(HeaderName, HeaderValue); 1] {
    // Tokens are of letters, digits, `-` and `_`.
    let mut value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    [(SET_COOKIE, value)]
}

/// Gives a browser its token.
pub(crate) fn give(token: &Token) -> [(HeaderName, HeaderValue); 1] {
    header(format!("{NAME}={}; {ATTRIBUTES}", token.as_str()))
}

/// Takes it away.
pub(crate) fn take() -> [(HeaderName, HeaderValue); 1] {
    header(format!("{NAME}=; {ATTRIBUTES}; Max-Age=0"))
}
