//! Chats: turns that are appended, read by a budget of tokens, and summed up when they get old.
//!
//! Indexes and epochs are never taken back as long as the key is there, so a chat is not gone when it has no turns. What the limits are on is in
//! [`CHAT_ROLE_BYTES_MAX`](crate::CHAT_ROLE_BYTES_MAX) and its like; all of it is checked before anything changes.

use super::{Txn, WrongKind};
use crate::change::{Change, ChatChange};
use crate::expiry::NEVER;
use crate::key::Key;
use crate::limits::{
    CHAT_ID_BYTES_MAX, CHAT_ROLE_BYTES_MAX, CHAT_ROLES_MAX, CHAT_TOKENS_MAX, VALUE_BYTES_MAX,
};
use crate::object::chat::{Budget, Selected, excess_flat, select_flat};
use crate::object::packed_chat::{self, Turn, each, is_id, is_role, put_turn, take_id};
use crate::object::{self, Body, ChatFigures, Kind, Structured, View, layout};
use crate::varint;

/// The role of a turn that stands for older ones, unless another is asked for. A window always has the turns of this role.
pub const CHAT_SUMMARY_ROLE: &[u8] = b"summary";

/// A turn to be appended.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewTurn<'a> {
    /// Who speaks: `system`, `user`, `assistant`, `tool`, or what the application calls it. 1 to 64 bytes.
    pub role: &'a [u8],
    /// What is said.
    pub content: &'a [u8],
    /// What it counts for; a quarter of the content's bytes, rounded up, if not given.
    pub tokens: Option<u64>,
    /// An id by which the same turn is known when it comes again. 1 to 256 bytes.
    pub id: Option<&'a [u8]>,
}

/// What compacting puts in the place of old turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatSummary<'a> {
    /// The index of the last turn that it stands for.
    pub upto: u64,
    /// What is said.
    pub content: &'a [u8],
    /// What it counts for; a quarter of the content's bytes, rounded up, if not given.
    pub tokens: Option<u64>,
    /// Its role; [`CHAT_SUMMARY_ROLE`] if not given.
    pub role: Option<&'a [u8]>,
    /// The epoch that the chat must have.
    pub if_epoch: Option<u64>,
    /// Roles whose turns stay.
    pub keep: &'a [&'a [u8]],
}

/// How much of a chat is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatLimits<'a> {
    /// Tokens of all turns.
    pub max_tokens: Option<u64>,
    /// How many turns, not counting those of kept roles and summaries.
    pub max_turns: Option<u64>,
    /// Roles whose turns are in whatever they cost.
    pub keep: &'a [&'a [u8]],
}

impl ChatLimits<'_> {
    fn budget(&self) -> Budget<'_> {
        Budget {
            tokens_max: self.max_tokens.unwrap_or(u64::MAX),
            turns_max: self.max_turns.unwrap_or(u64::MAX),
            keep: self.keep,
            keep_too: CHAT_SUMMARY_ROLE,
        }
    }
}

/// How large a chat is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatTotals {
    /// How many turns it has.
    pub turns: u64,
    /// Their tokens.
    pub tokens: u64,
    /// How often turns were removed or replaced.
    pub epoch: u64,
}

impl ChatTotals {
    fn of(figures: ChatFigures) -> ChatTotals {
        ChatTotals { turns: figures.turns, tokens: figures.tokens, epoch: figures.epoch }
    }
}

/// What appending or compacting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatAppended {
    /// The turn's index.
    pub index: u64,
    /// Whether it is new: else its id was known, and nothing has changed.
    pub is_new: bool,
    /// How large the chat is now.
    pub totals: ChatTotals,
}

/// A turn of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatTurn<'a> {
    /// Its index, which no other turn of the chat ever has.
    pub index: u64,
    /// Who speaks.
    pub role: &'a [u8],
    /// What is said.
    pub content: &'a [u8],
    /// What it counts for.
    pub tokens: u64,
}

impl<'a> From<Turn<'a>> for ChatTurn<'a> {
    fn from(turn: Turn<'a>) -> ChatTurn<'a> {
        ChatTurn { index: turn.index, role: turn.role, content: turn.content, tokens: u64::from(turn.tokens) }
    }
}

/// The part of a chat that fits its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatWindow<'a> {
    /// Oldest first.
    pub turns: Vec<ChatTurn<'a>>,
    /// Their tokens.
    pub tokens: u64,
    /// How often turns of the chat were removed or replaced.
    pub epoch: u64,
}

/// Why a chat was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The key holds another kind of value.
    #[error(transparent)]
    WrongKind(#[from] WrongKind),
    /// A role is empty or too long.
    #[error("a role has 1 to {CHAT_ROLE_BYTES_MAX} bytes")]
    Role,
    /// The chat would have more different roles than it may.
    #[error("a chat has at most {CHAT_ROLES_MAX} different roles")]
    TooManyRoles,
    /// An id is empty or too long.
    #[error("an id has 1 to {CHAT_ID_BYTES_MAX} bytes")]
    Id,
    /// A turn counts for more tokens than it may.
    #[error("a turn has at most {CHAT_TOKENS_MAX} tokens")]
    Tokens,
    /// A content is too long.
    #[error("a turn has at most {VALUE_BYTES_MAX} bytes")]
    Content,
    /// The chat's epoch is another: turns were removed or replaced meanwhile.
    #[error("the epoch is {epoch}")]
    Epoch {
        /// What it is.
        epoch: u64,
    },
    /// The turn up to which was to be compacted is not there any more.
    #[error("turn {index} is not there, the epoch is {epoch}")]
    Gone {
        /// The turn's index.
        index: u64,
        /// The chat's epoch.
        epoch: u64,
    },
    /// The chat is as it was expected to be, and has no turn with that index.
    #[error("there is no turn {index}")]
    NoTurn {
        /// The index.
        index: u64,
    },
    /// All of the turns that were to be replaced are of kept roles.
    #[error("there is nothing to replace: all turns up to {index} are of kept roles")]
    NothingToReplace {
        /// The index up to which.
        index: u64,
    },
}

/// What is read of a chat in either form.
fn figures(view: View<'_>) -> ChatFigures {
    match view {
        View::Packed(flat) => packed_chat::parts(layout::parts(flat).payload).figures,
        View::Structured(Structured { body: Body::Chat(chat), .. }) => chat.figures(),
        View::Structured(_) => ChatFigures::default(),
    }
}

fn index_of_id(view: View<'_>, id: &[u8]) -> Option<u64> {
    match view {
        View::Packed(flat) => {
            let ids = packed_chat::parts(layout::parts(flat).payload).ids;
            each(ids, take_id).find(|(_, other)| *other == id).map(|(index, _)| index)
        }
        View::Structured(Structured { body: Body::Chat(chat), .. }) => chat.index_of(id),
        View::Structured(_) => None,
    }
}

/// The place of the turn with this index.
fn place_of(view: View<'_>, index: u64) -> Option<u64> {
    match view {
        View::Packed(flat) => {
            let parts = packed_chat::parts(layout::parts(flat).payload);
            parts.turns().find(|turn| turn.index == index).map(|turn| turn.place)
        }
        View::Structured(Structured { body: Body::Chat(chat), .. }) => chat.place_of(index),
        View::Structured(_) => None,
    }
}

fn has_role(view: View<'_>, role: &[u8]) -> bool {
    match view {
        View::Packed(flat) => {
            packed_chat::parts(layout::parts(flat).payload).turns().any(|turn| turn.role == role)
        }
        View::Structured(Structured { body: Body::Chat(chat), .. }) => chat.has_role(role),
        View::Structured(_) => false,
    }
}

/// Whether a turn of this role can be added. (A flat chat has fewer turns than it may have roles.)
fn takes_role(view: View<'_>, role: &[u8]) -> bool {
    match view {
        View::Structured(Structured { body: Body::Chat(chat), .. }) => {
            chat.roles() < CHAT_ROLES_MAX || chat.has_role(role)
        }
        _ => true,
    }
}

const _: () = assert!(crate::limits::PACKED_FIELDS_MAX < CHAT_ROLES_MAX);

/// Whether there are turns up to a place that are not of some roles.
fn has_others(view: View<'_>, upto: u64, keep: &[u8]) -> bool {
    match view {
        View::Packed(flat) => {
            let kept = |role: &[u8]| each(keep, varint::take_slice).any(|other| other == role);
            let mut turns = packed_chat::parts(layout::parts(flat).payload).turns();
            turns.any(|turn| turn.place <= upto && !kept(turn.role))
        }
        View::Structured(Structured { body: Body::Chat(chat), .. }) => {
            chat.last_of_others(upto, keep).is_some()
        }
        View::Structured(_) => false,
    }
}

/// Those of some roles that a chat has, as a run.
fn run_of_roles<'n>(view: View<'_>, names: impl Iterator<Item = &'n [u8]>) -> Vec<u8> {
    let mut run = Vec::new();
    let mut before: Vec<&[u8]> = Vec::new();
    for name in names {
        if !before.contains(&name) && has_role(view, name) {
            varint::put_slice(&mut run, name);
            before.push(name);
        }
    }
    run
}

/// What a turn counts for, once it is known to be one.
fn checked(content: &[u8], tokens: Option<u64>, role: &[u8]) -> Result<u32, ChatError> {
    if !is_role(role) {
        return Err(ChatError::Role);
    }
    if content.len() > VALUE_BYTES_MAX {
        return Err(ChatError::Content);
    }
    let tokens = tokens.unwrap_or(content.len().div_ceil(4) as u64);
    u32::try_from(tokens).map_err(|_| ChatError::Tokens)
}

impl Txn<'_> {
    fn chat_view(&self, key: &Key<'_>) -> Result<Option<View<'_>>, WrongKind> {
        Ok(self.entry_of(key, Kind::Chat)?.map(|entry| entry.view()))
    }

    /// How large a chat is; nothing at all if there is no such key.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn chat_totals(&self, key: &Key<'_>) -> Result<ChatTotals, WrongKind> {
        Ok(self.chat_view(key)?.map_or_else(ChatTotals::default, |view| ChatTotals::of(figures(view))))
    }

    /// Adds a turn behind the last, to a new chat if there is none; keeps the key's deadline. One whose id is that of one of the last 1,024 turns is not
    /// added, whether that turn is still there or not.
    ///
    /// # Errors
    /// [`ChatError`]: `WrongKind`, or what exceeds a limit.
    pub fn chat_append(&mut self, key: &Key<'_>, turn: &NewTurn<'_>) -> Result<ChatAppended, ChatError> {
        let &NewTurn { role, content, id, .. } = turn;
        let tokens = checked(content, turn.tokens, role)?;
        if id.is_some_and(|id| !is_id(id)) {
            return Err(ChatError::Id);
        }
        let Some(place) = self.place_of(key, Kind::Chat)? else {
            self.put_chat(key, turn, tokens);
            let totals = ChatTotals { turns: 1, tokens: u64::from(tokens), epoch: 0 };
            return Ok(ChatAppended { index: 0, is_new: true, totals });
        };
        let view = self.shard(key).entry(place).view();
        let before = figures(view);
        if let Some(index) = id.and_then(|id| index_of_id(view, id)) {
            return Ok(ChatAppended { index, is_new: false, totals: ChatTotals::of(before) });
        }
        if !takes_role(view, role) {
            return Err(ChatError::TooManyRoles);
        }
        self.change_at(key, place, &Change::Chat(ChatChange::Append { role, content, tokens, id }));
        let totals = ChatTotals {
            turns: before.turns + 1,
            tokens: before.tokens + u64::from(tokens),
            epoch: before.epoch,
        };
        Ok(ChatAppended { index: before.next_index, is_new: true, totals })
    }

    /// Makes the key hold a chat of one turn.
    fn put_chat(&mut self, key: &Key<'_>, turn: &NewTurn<'_>, tokens: u32) {
        let (mut flat, mut ids) = (Vec::with_capacity(turn.content.len() + key.bytes.len() + 64), Vec::new());
        layout::put_head(&mut flat, Kind::Chat, key.database, key.bytes, None);
        let figures = ChatFigures { next_index: 1, epoch: 0, turns: 1, tokens: u64::from(tokens) };
        packed_chat::put_figures(&mut flat, &figures);
        if let Some(id) = turn.id {
            packed_chat::put_id(&mut ids, 0, id);
        }
        varint::put_slice(&mut flat, &ids);
        let first = Turn { place: 0, index: 0, tokens, role: turn.role, content: turn.content };
        put_turn(&mut flat, &first);
        let object = object::from_flat(Kind::Chat, &flat, &self.inner().hasher);
        self.put(key, object, NEVER, 0);
    }

    /// The part of a chat that fits its limits: the turns of kept roles and [summaries](CHAT_SUMMARY_ROLE) first, then the newest others, up to
    /// the first that does not fit.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn chat_window(
        &self,
        key: &Key<'_>,
        limits: &ChatLimits<'_>,
    ) -> Result<Option<ChatWindow<'_>>, WrongKind> {
        let Some(view) = self.chat_view(key)? else { return Ok(None) };
        let budget = limits.budget();
        let Selected { turns, tokens } = match view {
            View::Packed(flat) => select_flat(&packed_chat::parts(layout::parts(flat).payload), &budget),
            View::Structured(Structured { body: Body::Chat(chat), .. }) => chat.select(&budget),
            View::Structured(_) => return Ok(None),
        };
        let turns = turns.into_iter().map(ChatTurn::from).collect();
        Ok(Some(ChatWindow { turns, tokens, epoch: figures(view).epoch }))
    }

    /// Removes what would not be in a [window](Self::chat_window) with these limits; how many turns that were, and what is left.
    ///
    /// # Errors
    /// [`WrongKind`] if the key holds something else.
    pub fn chat_trim(
        &mut self,
        key: &Key<'_>,
        limits: &ChatLimits<'_>,
    ) -> Result<(u64, ChatTotals), WrongKind> {
        let Some(view) = self.chat_view(key)? else { return Ok((0, ChatTotals::default())) };
        let budget = limits.budget();
        let before = figures(view);
        let excess = match view {
            View::Packed(flat) => excess_flat(&packed_chat::parts(layout::parts(flat).payload), &budget),
            View::Structured(Structured { body: Body::Chat(chat), .. }) => chat.excess(&budget),
            View::Structured(_) => None,
        };
        let Some(upto) = excess else { return Ok((0, ChatTotals::of(before))) };
        let keep = run_of_roles(view, limits.keep.iter().copied().chain([CHAT_SUMMARY_ROLE]));
        self.change(key, &Change::Chat(ChatChange::Remove { upto, keep: &keep }));
        let totals = self.chat_totals(key)?;
        Ok((before.turns - totals.turns, totals))
    }

    /// Replaces all turns up to one, but those of kept roles, by a summary. It gets an index of its own and the place of the last turn that it
    /// stands for.
    ///
    /// # Errors
    /// [`ChatError`]; of those that say that the chat has changed [`Epoch`](ChatError::Epoch) if an epoch was given, else [`Gone`](ChatError::Gone).
    pub fn chat_compact(
        &mut self,
        key: &Key<'_>,
        summary: &ChatSummary<'_>,
    ) -> Result<ChatAppended, ChatError> {
        let &ChatSummary { upto: index, content, .. } = summary;
        let role = summary.role.unwrap_or(CHAT_SUMMARY_ROLE);
        let tokens = checked(content, summary.tokens, role)?;
        let view = self.chat_view(key)?;
        let before = view.map_or_else(ChatFigures::default, figures);
        let epoch = before.epoch;
        if summary.if_epoch.is_some_and(|expected| expected != epoch) {
            return Err(ChatError::Epoch { epoch });
        }
        let found = view.and_then(|view| Some((view, place_of(view, index)?)));
        let Some((view, upto)) = found else {
            return Err(match summary.if_epoch {
                Some(_) => ChatError::NoTurn { index },
                None => ChatError::Gone { index, epoch },
            });
        };
        let keep = run_of_roles(view, summary.keep.iter().copied());
        if !has_others(view, upto, &keep) {
            return Err(ChatError::NothingToReplace { index });
        }
        if !takes_role(view, role) {
            return Err(ChatError::TooManyRoles);
        }
        self.change(key, &Change::Chat(ChatChange::Replace { upto, keep: &keep, role, content, tokens }));
        let totals = self.chat_totals(key)?;
        Ok(ChatAppended { index: before.next_index, is_new: true, totals })
    }
}
