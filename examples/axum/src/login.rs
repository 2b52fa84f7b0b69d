//! Passwords, and sessions that begin and end with them.

use crate::{Application, Failure, Login, Refused, Trouble, Visitor, cookie, pages};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile::Throttle;
use sessile::typed::Opening;

/// Who there is, for the example's sake. Yours are in a database, with a hash each by Argon2id, or a passkey.
const USERS: [(&str, &str); 2] = [("ann", "sessile"), ("ben", "sessile")];
/// Passwords that may be tried for a user: five at once, then one every twelve seconds.
const ATTEMPTS: Throttle = Throttle { max_burst: 4, count: 5, period_s: 60 };
/// Longest name of a device that a list shows, in characters.
const DEVICE_CHARACTERS: usize = 80;

/// What the login page sends.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    user: String,
    password: String,
}

/// Whether this is the user's password: at a login, and before what is dangerous.
pub(crate) fn check(application: &Application, user: &str, password: &str) -> Result<(), Trouble> {
    let Some((user, right)) = USERS.iter().find(|(name, _)| *name == user) else {
        return Err(Refused::Password.into());
    };
    let throttled = application.db.throttle(format!("login:{user}").as_bytes(), ATTEMPTS, 1)?;
    if throttled.limited {
        return Err(Refused::Throttled { retry_after_s: throttled.retry_after_s.unwrap_or(1) }.into());
    }
    let same = subtle::ConstantTimeEq::ct_eq(password.as_bytes(), right.as_bytes());
    if same.into() { Ok(()) } else { Err(Refused::Password.into()) }
}

/// A random text that is no token of a session.
fn form_token(application: &Application) -> Result<String, Failure> {
    Ok(application.db.new_session_token()?.token.as_str().to_owned())
}

/// Each login is a session of its own, with a token that nobody has seen before; the one that the browser had ends.
pub(crate) async fn login(
    State(application): State<Application>,
    visitor: Option<Visitor>,
    headers: HeaderMap,
    Form(Credentials { user, password }): Form<Credentials>,
) -> Result<Response, Trouble> {
    check(&application, &user, &password)?;
    let agent =
        headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("unknown device");
    let device: String = agent.chars().take(DEVICE_CHARACTERS).collect();
    let token = application
        .blocking(move |application| {
            if let Some(visitor) = visitor {
                application.sessions.end(&visitor.token)?;
            }
            let login = Login { form_token: form_token(application)?, said: 0 };
            Ok(application.sessions.create(Opening::of(&user).meta(&device), &login)?.0)
        })
        .await?;
    Ok((cookie::give(&token), Redirect::to("/")).into_response())
}

/// What every form of a session's pages sends.
#[derive(Deserialize)]
pub(crate) struct Signed {
    form_token: String,
}

impl Signed {
    pub(crate) fn token(&self) -> &str {
        &self.form_token
    }
}

/// Ends the session, durably, whatever the browser does with the cookie.
pub(crate) async fn logout(
    State(application): State<Application>,
    visitor: Visitor,
    Form(Signed { form_token }): Form<Signed>,
) -> Result<Response, Trouble> {
    visitor.has_sent(&form_token)?;
    application.blocking(move |application| Ok(application.sessions.end(&visitor.token)?)).await?;
    Ok(left())
}

/// The answer to whoever has no session any more.
pub(crate) fn left() -> Response {
    let clear = [("clear-site-data", "\"cache\", \"storage\"")];
    (cookie::take(), clear, axum::response::Html(pages::login("You are logged out."))).into_response()
}

/// The password was given again: the session goes on under another token.
pub(crate) async fn renew(
    application: &Application,
    visitor: &Visitor,
) -> Result<Option<sessile::sessions::Token>, Failure> {
    let token = visitor.token.clone();
    application
        .blocking(move |application| Ok(application.sessions.rotate(&token, None)?.map(|(token, _)| token)))
        .await
}
