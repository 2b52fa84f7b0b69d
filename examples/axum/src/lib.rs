//! A web application whose sessions and chats are in its own process: log in, chat, see where you are logged in, log out there, or everywhere.
//!
//! ```text
//! cookie.rs   the session's cookie: `__Host-`, Secure, HttpOnly, SameSite=Lax
//! origin.rs   requests that other sites make browsers send are refused; headers that every answer has
//! login.rs    passwords, throttled; each login is a new session; what is dangerous asks for the password again
//! devices.rs  the page of sessions
//! chat.rs     turns with a window of tokens, summed up when it overflows
//! audit.rs    what happens to sessions, each event once
//! pages.rs    HTML
//! ```
//!
//! What an application of yours would do otherwise: keep its users somewhere, with passwords hashed by Argon2id, or passkeys; serve TLS, or stand
//! behind a proxy that does; draw its pages with a template engine.

#![forbid(unsafe_code)]

pub mod audit;
mod chat;
mod cookie;
mod devices;
mod login;
mod origin;
mod pages;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use sessile::Db;
use sessile::sessions::SessionError;
use sessile::typed::{ClassPolicy, Loaded, Sessions, StoreError};
use std::time::Duration;

/// How long a login lasts without a request.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// How long it lasts in all.
pub const MAX: Duration = Duration::from_secs(12 * 3600);
/// Sessions that a user may have.
pub const PER_USER: u32 = 5;

/// What a session holds, beside its user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    /// What every form of this session must bring along.
    form_token: String,
    /// Turns said in this session.
    said: u32,
}

/// What all requests share.
#[derive(Clone, Debug)]
pub struct Application {
    db: Db,
    sessions: Sessions<Login>,
}

impl Application {
    /// An application on a database.
    ///
    /// # Errors
    /// If the class of its sessions can't be made.
    pub fn new(db: &Db) -> Result<Application, SessionError> {
        let class = ClassPolicy::new("web", IDLE, MAX).per_user(PER_USER).grace(Duration::from_secs(10));
        Ok(Application { db: db.clone(), sessions: db.sessions(&class)? })
    }

    /// Runs what waits for the disk where that stops no other request.
    async fn blocking<R: Send + 'static>(
        &self,
        run: impl FnOnce(&Application) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || run(&own)).await.map_err(|error| Failure(error.to_string()))?
    }
}

/// The application's routes.
pub fn router(application: Application) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", post(login::login))
        .route("/logout", post(login::logout))
        .route("/say", post(chat::say))
        .route("/sessions", get(devices::page))
        .route("/sessions/revoke", post(devices::revoke))
        .route("/sessions/revoke-others", post(devices::revoke_others))
        .route("/logout-everywhere", post(devices::logout_everywhere))
        .layer(axum::middleware::from_fn(origin::guard))
        .with_state(application)
}

async fn home(State(application): State<Application>, visitor: Option<Visitor>) -> Result<Response, Failure> {
    let Some(visitor) = visitor else { return Ok(Html(pages::login("")).into_response()) };
    Ok(Html(chat::page(&application, &visitor)?).into_response())
}

/// Whoever has a session: its token, and what it holds.
pub(crate) struct Visitor {
    token: String,
    user: String,
    session: Loaded<Login>,
}

impl Visitor {
    /// Whether a form came from a page of this session: the second lock, if a browser sends the cookie along where it should not.
    fn has_sent(&self, form_token: &str) -> Result<(), Refused> {
        let same =
            subtle::ConstantTimeEq::ct_eq(form_token.as_bytes(), self.session.payload.form_token.as_bytes());
        if same.into() { Ok(()) } else { Err(Refused::Forged) }
    }
}

impl axum::extract::OptionalFromRequestParts<Application> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        application: &Application,
    ) -> Result<Option<Visitor>, Failure> {
        let Some(token) = cookie::token(&parts.headers) else { return Ok(None) };
        let Some(session) = application.sessions.load(token)? else { return Ok(None) };
        let Some(user) = session.user.clone().and_then(|user| String::from_utf8(user).ok()) else {
            return Ok(None);
        };
        Ok(Some(Visitor { token: token.to_owned(), user, session }))
    }
}

impl FromRequestParts<Application> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, application: &Application) -> Result<Visitor, Response> {
        let visitor =
            <Option<Visitor> as FromRequestParts<Application>>::from_request_parts(parts, application).await;
        match visitor {
            Ok(Some(visitor)) => Ok(visitor),
            Ok(None) => Err(Redirect::to("/").into_response()),
            Err(failure) => Err(failure.into_response()),
        }
    }
}

/// Why a request of a visitor's is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It came from another site, or from no page of this session.
    Forged,
    /// The password is wrong.
    Password,
    /// Too many passwords were tried.
    Throttled {
        /// When to come again.
        retry_after_s: u64,
    },
    /// It says something that nothing here says.
    Malformed,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Refused::Forged => (StatusCode::FORBIDDEN, "This did not come from a page of your session."),
            Refused::Password => (StatusCode::UNAUTHORIZED, "That is not the user, or not the password."),
            Refused::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Wait a little."),
            Refused::Malformed => (StatusCode::BAD_REQUEST, "There is no such thing."),
        };
        let mut response = (status, Html(pages::login(text))).into_response();
        if let Refused::Throttled { retry_after_s } = self {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, retry_after_s.into());
        }
        response
    }
}

/// What is nobody's fault but ours; the visitor is told no more than that.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("a request has failed: {}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.").into_response()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure(error.to_string())
    }
}

impl From<sessile::Error> for Failure {
    fn from(error: sessile::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// How a request ends that is not answered with a page.
pub(crate) enum Trouble {
    /// It was refused.
    Refused(Refused),
    /// It failed.
    Failed(Failure),
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Trouble::Refused(refused) => refused.into_response(),
            Trouble::Failed(failure) => failure.into_response(),
        }
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Trouble {
        Trouble::Refused(refused)
    }
}

impl<E: Into<Failure>> From<E> for Trouble {
    fn from(error: E) -> Trouble {
        Trouble::Failed(error.into())
    }
}
