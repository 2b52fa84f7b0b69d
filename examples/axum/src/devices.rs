//! Where a user is logged in, and how to end that.

use crate::login::{self, check, renew};
use crate::{Application, Refused, Trouble, Visitor, cookie, pages};
use axum::extract::{Form, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use sessile::sessions::Handle;

pub(crate) async fn page(
    State(application): State<Application>,
    visitor: Visitor,
) -> Result<Html<String>, Trouble> {
    let sessions = application.sessions.list(&visitor.user)?;
    Ok(Html(pages::devices(&visitor, &sessions, application.db.now_ms())))
}

/// What ends sessions asks for the password again: a stolen cookie alone should not be able to throw its owner out.
#[derive(Deserialize)]
pub(crate) struct Confirmed {
    form_token: String,
    password: String,
    /// Which session, if it is about one.
    #[serde(default)]
    handle: String,
}

/// Ends one of the user's sessions, never another's.
pub(crate) async fn revoke(
    State(application): State<Application>,
    visitor: Visitor,
    Form(form): Form<Confirmed>,
) -> Result<Response, Trouble> {
    visitor.has_sent(&form.form_token)?;
    check(&application, &visitor.user, &form.password)?;
    let handle = Handle::parse(form.handle.as_bytes()).ok_or(Refused::Malformed)?;
    let is_his = application.sessions.list(&visitor.user)?.iter().any(|one| one.handle == handle);
    if !is_his {
        return Err(Refused::Malformed.into());
    }
    application.blocking(move |application| Ok(application.sessions.revoke(handle)?)).await?;
    Ok(match renew(&application, &visitor).await? {
        Some(token) => (cookie::give(&token), Redirect::to("/sessions")).into_response(),
        // It was this one.
        None => login::left(),
    })
}

pub(crate) async fn revoke_others(
    State(application): State<Application>,
    visitor: Visitor,
    Form(form): Form<Confirmed>,
) -> Result<Response, Trouble> {
    visitor.has_sent(&form.form_token)?;
    check(&application, &visitor.user, &form.password)?;
    let (user, token) = (visitor.user.clone(), visitor.token.clone());
    application
        .blocking(move |application| Ok(application.sessions.revoke_user(user, Some(&token))?))
        .await?;
    Ok(match renew(&application, &visitor).await? {
        Some(token) => (cookie::give(&token), Redirect::to("/sessions")).into_response(),
        None => login::left(),
    })
}

/// Nothing is asked here but that the form is ours: leaving must always be possible.
pub(crate) async fn logout_everywhere(
    State(application): State<Application>,
    visitor: Visitor,
    Form(form): Form<login::Signed>,
) -> Result<Response, Trouble> {
    visitor.has_sent(form.token())?;
    application
        .blocking(move |application| Ok(application.sessions.revoke_user(visitor.user, None)?))
        .await?;
    Ok(login::left())
}
