//! Chats as text.

use crate::Error;
use crate::db::Db;
use crate::txn::chat::{ChatAppended, ChatLimits, ChatSummary, ChatTotals, NewTurn};

/// A turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its index, which no other turn of the chat ever has.
    pub index: u64,
    /// Who speaks.
    pub role: String,
    /// What is said.
    pub content: String,
    /// What it counts for.
    pub tokens: u64,
}

/// The part of a chat that fits its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Oldest first.
    pub turns: Vec<Message>,
    /// Their tokens.
    pub tokens: u64,
    /// How often turns of the chat were removed or replaced: what [`compact`](Chats::compact) is to be told.
    pub epoch: u64,
}

/// The chats of a database. They are ordinary keys: [`Db::delete`] and the other operations on keys are for them, too.
///
/// Bytes that are no UTF-8, which only clients of the server can have put there, come as U+FFFD; [`Db::chat_window`] gives them as they are.
///
/// ```
/// use sessile::{ChatLimits, ChatSummary, Db};
///
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// let chat = db.chat();
/// chat.append(b"chat:7", "system", "You are terse.")?;
/// chat.append(b"chat:7", "user", "What is a session?")?;
/// chat.append(b"chat:7", "assistant", "State that outlives a request.")?;
///
/// // What fits a model's context: the system's turns always, then the newest.
/// let limits = ChatLimits { max_tokens: Some(12), keep: &[b"system"], ..Default::default() };
/// let window = chat.window(b"chat:7", &limits)?;
/// assert_eq!(window.turns.len(), 2);
///
/// // What doesn't is summed up, unless somebody else has done that meanwhile.
/// let summary = ChatSummary {
///     upto: 2,
///     content: b"We said what a session is.",
///     if_epoch: Some(window.epoch),
///     keep: &[b"system"],
///     ..Default::default()
/// };
/// chat.compact(b"chat:7", &summary)?;
/// assert_eq!(chat.totals(b"chat:7")?.turns, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chats {
    db: Db,
}

impl Db {
    /// The chats of this database, as text.
    pub fn chat(&self) -> Chats {
        Chats { db: self.clone() }
    }
}

impl Chats {
    /// Adds a turn; a quarter of its bytes count as its tokens.
    ///
    /// # Errors
    /// As [`Db::chat_append`].
    pub fn append(&self, key: &[u8], role: &str, content: &str) -> Result<ChatAppended, Error> {
        let turn = NewTurn { role: role.as_bytes(), content: content.as_bytes(), ..NewTurn::default() };
        self.append_turn(key, &turn)
    }

    /// Adds a turn with its number of tokens, or an id by which it is known when it comes again.
    ///
    /// # Errors
    /// As [`Db::chat_append`].
    pub fn append_turn(&self, key: &[u8], turn: &NewTurn<'_>) -> Result<ChatAppended, Error> {
        self.db.chat_append(key, turn)
    }

    /// The part of a chat that fits its limits; nothing at all if there is none.
    ///
    /// # Errors
    /// As [`Db::chat_window`].
    pub fn window(&self, key: &[u8], limits: &ChatLimits<'_>) -> Result<Messages, Error> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.db.chat_window(key, limits, |window| Messages {
            turns: window
                .turns
                .iter()
                .map(|turn| Message {
                    index: turn.index,
                    role: text(turn.role),
                    content: text(turn.content),
                    tokens: turn.tokens,
                })
                .collect(),
            tokens: window.tokens,
            epoch: window.epoch,
        })
    }

    /// Replaces all turns up to one, but those of kept roles, by a summary.
    ///
    /// # Errors
    /// As [`Db::chat_compact`].
    pub fn compact(&self, key: &[u8], summary: &ChatSummary<'_>) -> Result<ChatAppended, Error> {
        self.db.chat_compact(key, summary)
    }

    /// Removes the turns that would not be in a window with these limits; how many they were, and what is left.
    ///
    /// # Errors
    /// As [`Db::chat_trim`].
    pub fn trim(&self, key: &[u8], limits: &ChatLimits<'_>) -> Result<(u64, ChatTotals), Error> {
        self.db.chat_trim(key, limits)
    }

    /// How large a chat is; nothing at all if there is none.
    ///
    /// # Errors
    /// As [`Db::chat_totals`].
    pub fn totals(&self, key: &[u8]) -> Result<ChatTotals, Error> {
        self.db.chat_totals(key)
    }
}
