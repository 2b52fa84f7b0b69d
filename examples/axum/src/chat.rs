//! A chat for each user, over all of his sessions, with something that answers.

use crate::{Application, Failure, Trouble, Visitor, pages};
use axum::extract::{Form, State};
use axum::response::Redirect;
use serde::Deserialize;
use sessile::{ChatLimits, ChatSummary, Error, NewTurn};

/// What a model would be given, in tokens.
const WINDOW_TOKENS: u64 = 200;
/// A chat with more tokens than this is summed up.
const KEPT_TOKENS: u64 = 400;
/// Turns that stay as they are when it is.
const KEPT_TURNS: u64 = 4;
/// Longest turn, in bytes.
const TURN_BYTES_MAX: usize = 2_000;

const SYSTEM: &str = "You are an echo.";

fn key(user: &str) -> Vec<u8> {
    format!("chat:{user}").into_bytes()
}

pub(crate) fn page(application: &Application, visitor: &Visitor) -> Result<String, Failure> {
    let all = ChatLimits::default();
    let chat = application.db.chat().window(&key(&visitor.user), &all)?;
    // Each page has an id for the next turn: a form that is sent twice says it once.
    let turn_id = application.db.new_session_token()?.token;
    Ok(pages::chat(visitor, &chat, turn_id.as_str()))
}

/// What the chat's form sends.
#[derive(Deserialize)]
pub(crate) struct Said {
    form_token: String,
    turn_id: String,
    text: String,
}

pub(crate) async fn say(
    State(application): State<Application>,
    visitor: Visitor,
    Form(Said { form_token, turn_id, mut text }): Form<Said>,
) -> Result<Redirect, Trouble> {
    visitor.has_sent(&form_token)?;
    while text.len() > TURN_BYTES_MAX {
        text.pop();
    }
    let (chat, key) = (application.db.chat(), key(&visitor.user));
    if text.trim().is_empty() || turn_id.is_empty() || turn_id.len() > 64 {
        return Ok(Redirect::to("/"));
    }
    let id = |of: &str| format!("{of}:{turn_id}").into_bytes();
    chat.append_turn(
        &key,
        &NewTurn { role: b"system", content: SYSTEM.as_bytes(), tokens: None, id: Some(b"system") },
    )?;
    let turn = NewTurn { role: b"user", content: text.as_bytes(), tokens: None, id: Some(&id("said")) };
    if chat.append_turn(&key, &turn)?.is_new {
        // Several tabs may do this at once: none of their changes is lost.
        application.sessions.update(&visitor.token, |login| login.said += 1)?;
        // What a model would see: the system's turn, a summary, and as many of the newest as fit.
        let limits =
            ChatLimits { max_tokens: Some(WINDOW_TOKENS), keep: &[b"system"], ..ChatLimits::default() };
        let window = chat.window(&key, &limits)?;
        let answer =
            format!("You said: {text} (I was shown {} turns, {} tokens.)", window.turns.len(), window.tokens);
        let turn =
            NewTurn { role: b"assistant", content: answer.as_bytes(), tokens: None, id: Some(&id("answer")) };
        chat.append_turn(&key, &turn)?;
        sum_up(&application, &key)?;
    }
    Ok(Redirect::to("/"))
}

/// Replaces the oldest turns by a summary once there are too many. Whoever is second finds it done: the epoch is another.
fn sum_up(application: &Application, key: &[u8]) -> Result<(), Failure> {
    let chat = application.db.chat();
    let all = chat.window(key, &ChatLimits::default())?;
    let Some(last) = all.turns.len().checked_sub(1 + KEPT_TURNS as usize).map(|at| &all.turns[at]) else {
        return Ok(());
    };
    if all.tokens <= KEPT_TOKENS {
        return Ok(());
    }
    let content = format!("Up to turn {} you were echoed.", last.index);
    let summary = ChatSummary {
        upto: last.index,
        content: content.as_bytes(),
        if_epoch: Some(all.epoch),
        keep: &[b"system"],
        ..ChatSummary::default()
    };
    match chat.compact(key, &summary) {
        Ok(_) | Err(Error::Chat(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
