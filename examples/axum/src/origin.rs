//! The first lock against requests that other sites make browsers send, and the headers of every answer.

use crate::Refused;
use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses what changes something and does not come from a page of ours. Logging in, too: nobody should find himself in somebody else's account.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let mut response = if request.method().is_safe() || is_own(request.headers()) {
        next.run(request).await
    } else {
        Refused::Forged.into_response()
    };
    let headers = response.headers_mut();
    let own = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        // Pages of a session are in no cache, nor behind the back button after a logout.
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, own),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Browsers say where a request comes from: all of today's by `Sec-Fetch-Site`, older ones by `Origin`. One that says neither is none.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => {
            let of_origin =
                text(ORIGIN.as_str()).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
            of_origin.is_some() && of_origin == text(HOST.as_str())
        }
    }
}
