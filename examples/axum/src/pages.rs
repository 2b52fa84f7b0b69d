//! HTML. Whatever comes from outside is escaped.

use crate::Visitor;
use sessile::sessions::Listed;
use sessile::typed::Messages;
use std::fmt::Write;

/// Text that is to stand between tags, or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:42rem;margin:2rem auto;padding:0 1rem}}form{{display:inline}}\
         li.user{{font-weight:600}}li.system,li.summary{{color:gray}}</style><h1>{title}</h1>{body}"
    )
}

pub(crate) fn login(note: &str) -> String {
    let body = format!(
        "<p id=note>{}</p><form method=post action=/login><input name=user placeholder=ann autocomplete=username required> \
         <input name=password type=password placeholder=sessile autocomplete=current-password required> \
         <button>Log in</button></form>",
        escaped(note)
    );
    page("Sessile", &body)
}

/// A form of a session's page, with its token.
fn form(visitor: &Visitor, action: &str, inner: &str) -> String {
    let token = escaped(&visitor.session.payload.form_token);
    format!(
        "<form method=post action={action}><input type=hidden name=form_token value=\"{token}\">{inner}</form>"
    )
}

pub(crate) fn chat(visitor: &Visitor, chat: &Messages, turn_id: &str) -> String {
    let mut turns = String::new();
    for turn in &chat.turns {
        let (role, content) = (escaped(&turn.role), escaped(&turn.content));
        // Writing to a string does not fail.
        let _ = write!(turns, "<li class=\"{role}\">{content}</li>");
    }
    let say = format!(
        "<input type=hidden name=turn_id value=\"{}\"><input name=text size=50 maxlength=2000 autofocus required> <button>Say</button>",
        escaped(turn_id)
    );
    let body = format!(
        "<p>You are <b id=user>{}</b>, and said <span id=said>{}</span> things here. <a href=/sessions>Where you are logged in</a> {}</p>\
         <ol id=chat>{turns}</ol>{}",
        escaped(&visitor.user),
        visitor.session.payload.said,
        form(visitor, "/logout", "<button>Log out</button>"),
        form(visitor, "/say", &say),
    );
    page("Chat", &body)
}

fn ago(at_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(at_ms) / 1000 {
        0..60 => "now".into(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    }
}

pub(crate) fn devices(visitor: &Visitor, sessions: &[Listed], now_ms: u64) -> String {
    const PASSWORD: &str =
        "<input name=password type=password placeholder=password autocomplete=current-password required> ";
    let mut rows = String::new();
    for one in sessions {
        let handle = one.handle.to_string();
        let here = if one.handle == visitor.session.handle { " <b>this one</b>" } else { "" };
        let end =
            format!("<input type=hidden name=handle value=\"{handle}\">{PASSWORD}<button>End it</button>");
        let _ = write!(
            rows,
            "<li id=\"{handle}\">{}{here}, since {}, seen {} {}</li>",
            escaped(&String::from_utf8_lossy(&one.meta)),
            ago(one.created_ms, now_ms),
            ago(one.seen_ms, now_ms),
            form(visitor, "/sessions/revoke", &end),
        );
    }
    let body = format!(
        "<p><a href=/>Back</a></p><ul>{rows}</ul><p>{}</p><p>{}</p>",
        form(
            visitor,
            "/sessions/revoke-others",
            &format!("{PASSWORD}<button>Log out everywhere else</button>")
        ),
        form(visitor, "/logout-everywhere", "<button>Log out everywhere</button>"),
    );
    page("Where you are logged in", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_markup() {
        assert_eq!(escaped("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }
}
