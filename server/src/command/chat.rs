//! Chats: turns of a conversation, windows by a budget of tokens, summaries in the place of old turns.
//!
//! `docs/decisions/0016-chats.md` says what follows where the contract is silent. Events are of the class `d`, as those of module types are.

use super::args::{is, named_integer};
use super::flags::{DENYOOM, FAST, READONLY, WRITE};
use super::{Call, Command, CommandError, CommandResult, KeySpec, Run};
use crate::notify::MODULE;
use crate::resp::Reply;
use sessile::{
    CHAT_ID_BYTES_MAX, CHAT_ROLE_BYTES_MAX, CHAT_ROLES_MAX, CHAT_TOKENS_MAX, ChatAppended, ChatError,
    ChatLimits, ChatSummary, ChatTotals, NewTurn,
};

const ROW: Command = Command {
    name: "",
    arity: 0,
    flags: 0,
    keys: KeySpec::ONE,
    categories: &["chat"],
    group: "chat",
    since: "sessile 0.1",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: Run::Container,
};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "chat.append",
        arity: -4,
        flags: WRITE | DENYOOM | FAST,
        summary: "Adds a turn to a chat, once for each id",
        run: Run::Data(append),
        ..ROW
    },
    Command {
        name: "chat.window",
        arity: -2,
        flags: READONLY,
        summary: "The newest turns of a chat that fit a budget of tokens or turns, and those that are always wanted",
        complexity: "O(N) where N is the number of turns returned",
        run: Run::Data(window),
        ..ROW
    },
    Command {
        name: "chat.compact",
        arity: -5,
        flags: WRITE | DENYOOM,
        summary: "Replaces the turns of a chat up to one of them by a summary, if the chat is still what it was",
        complexity: "O(N) where N is the number of turns up to that one",
        run: Run::Data(compact),
        ..ROW
    },
    Command {
        name: "chat.trim",
        arity: -4,
        flags: WRITE,
        summary: "Removes the turns of a chat that a window with the same limits would not show",
        complexity: "O(N) where N is the number of turns up to the last one removed",
        run: Run::Data(trim),
        ..ROW
    },
    Command {
        name: "chat.len",
        arity: 2,
        flags: READONLY | FAST,
        summary: "How many turns and tokens a chat has, and how often turns were removed or replaced",
        run: Run::Data(len),
        ..ROW
    },
];

/// No client could be told of more in an integer.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// The options of all commands of the family; each takes some of them.
#[derive(Default)]
struct Options<'a> {
    tokens: Option<u64>,
    id: Option<&'a [u8]>,
    max_tokens: Option<u64>,
    max_turns: Option<u64>,
    role: Option<&'a [u8]>,
    if_epoch: Option<u64>,
    keep: Vec<&'a [u8]>,
}

/// An option's name, for the error that it is missing something.
fn incomplete(name: &str, what: &str) -> CommandError {
    CommandError::of(format!("ERR {} needs {what}", name.to_ascii_uppercase()))
}

impl<'a> Options<'a> {
    /// Reads the options of a command that takes those of `names`. The roles of KEEP end where another option begins: an option that is taken for a
    /// role would be a limit that nobody minds.
    fn parse(mut rest: &[&'a [u8]], names: &[&'static str]) -> Result<Options<'a>, CommandError> {
        let mut options = Options::default();
        let mut given: Vec<&str> = Vec::new();
        let name_of = |argument: &[u8]| names.iter().copied().find(|name| is(argument, name));
        while let Some((&argument, mut after)) = rest.split_first() {
            let Some(name) = name_of(argument) else {
                let mut text = b"ERR unknown option '".to_vec();
                text.extend(argument.iter().take(128));
                text.push(b'\'');
                return Err(CommandError::Bytes(text));
            };
            if given.contains(&name) {
                return Err(CommandError::of(format!("ERR {} is given twice", name.to_ascii_uppercase())));
            }
            given.push(name);
            if name == "keep" {
                let end =
                    after.iter().position(|argument| name_of(argument).is_some()).unwrap_or(after.len());
                let (roles, behind) = after.split_at(end);
                if roles.is_empty() {
                    return Err(incomplete(name, "a role"));
                }
                for role in roles {
                    check_role("KEEP", role)?;
                }
                options.keep = roles.to_vec();
                rest = behind;
                continue;
            }
            let Some((&value, behind)) = after.split_first() else {
                return Err(incomplete(name, "a value"));
            };
            after = behind;
            match name {
                "tokens" => options.tokens = Some(named_integer("TOKENS", value, 0, CHAT_TOKENS_MAX)?),
                "maxtokens" => options.max_tokens = Some(named_integer("MAXTOKENS", value, 0, NUMBER_MAX)?),
                "maxturns" => options.max_turns = Some(named_integer("MAXTURNS", value, 0, NUMBER_MAX)?),
                "ifepoch" => options.if_epoch = Some(named_integer("IFEPOCH", value, 0, NUMBER_MAX)?),
                "role" => {
                    check_role("ROLE", value)?;
                    options.role = Some(value);
                }
                _ => {
                    if value.is_empty() || value.len() > CHAT_ID_BYTES_MAX {
                        return Err(error(ChatError::Id));
                    }
                    options.id = Some(value);
                }
            }
            rest = after;
        }
        Ok(options)
    }

    fn limits(&self) -> ChatLimits<'_> {
        ChatLimits { max_tokens: self.max_tokens, max_turns: self.max_turns, keep: &self.keep }
    }
}

fn check_role(name: &str, role: &[u8]) -> Result<(), CommandError> {
    if role.is_empty() || role.len() > CHAT_ROLE_BYTES_MAX {
        let text = format!("ERR {name}: a role must have 1 to {CHAT_ROLE_BYTES_MAX} bytes");
        return Err(CommandError::Text(text.into()));
    }
    Ok(())
}

fn error(error: ChatError) -> CommandError {
    CommandError::of(match error {
        ChatError::WrongKind(_) => return CommandError::WrongType,
        ChatError::Role => format!("ERR role must have 1 to {CHAT_ROLE_BYTES_MAX} bytes"),
        ChatError::TooManyRoles => {
            format!("ERR role: the turns of a chat have at most {CHAT_ROLES_MAX} different ones")
        }
        ChatError::Id => format!("ERR ID must have 1 to {CHAT_ID_BYTES_MAX} bytes"),
        ChatError::Tokens => format!("ERR TOKENS must be an integer between 0 and {CHAT_TOKENS_MAX}"),
        ChatError::Content => "ERR content exceeds maximum allowed size".to_owned(),
        ChatError::Epoch { epoch } => {
            format!("CONFLICT {epoch} is the epoch of the chat: turns were removed or replaced meanwhile")
        }
        ChatError::Gone { index, epoch } => {
            format!("CONFLICT {epoch} is the epoch of the chat, and turn {index} is no longer there")
        }
        ChatError::NoTurn { index } => format!("ERR UPTO: there is no turn {index}"),
        ChatError::NothingToReplace { index } => {
            format!("ERR KEEP: all turns up to {index} are of kept roles, there is nothing to replace")
        }
    })
}

fn figure(reply: &mut Reply, name: &str, number: u64) {
    reply.bulk(name.as_bytes());
    // Sums of what is in memory, and times that something was done.
    reply.integer(i64::try_from(number).unwrap_or(i64::MAX));
}

fn figures(reply: &mut Reply, totals: ChatTotals) {
    figure(reply, "turns", totals.turns);
    figure(reply, "tokens", totals.tokens);
    figure(reply, "epoch", totals.epoch);
}

fn appended(reply: &mut Reply, appended: ChatAppended) {
    reply.map(4);
    figure(reply, "index", appended.index);
    figures(reply, appended.totals);
}

fn append(call: &mut Call<'_, '_>) -> CommandResult {
    let (role, content) = (call.args[2], call.args[3]);
    check_role("role", role)?;
    let options = Options::parse(&call.args[4..], &["tokens", "id"])?;
    let turn = NewTurn { role, content, tokens: options.tokens, id: options.id };
    let done = call.txn.chat_append(&call.keys[0], &turn).map_err(error)?;
    appended(call.reply, done);
    if done.is_new {
        call.notify(MODULE, "chat.append", 0);
    }
    Ok(())
}

fn window(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(&call.args[2..], &["maxtokens", "maxturns", "keep"])?;
    let window = call.txn.chat_window(&call.keys[0], &options.limits())?;
    let found = window.is_some();
    let window = window.unwrap_or_default();
    let reply = &mut *call.reply;
    reply.map(3);
    reply.bulk(b"turns");
    reply.array(window.turns.len());
    for turn in &window.turns {
        reply.map(4);
        figure(reply, "index", turn.index);
        reply.bulk(b"role");
        reply.bulk(turn.role);
        reply.bulk(b"content");
        reply.bulk(turn.content);
        figure(reply, "tokens", turn.tokens);
    }
    figure(reply, "epoch", window.epoch);
    figure(reply, "tokens", window.tokens);
    call.looked_up(0, found);
    Ok(())
}

fn compact(call: &mut Call<'_, '_>) -> CommandResult {
    let [_, _, upto_name, upto, content, rest @ ..] = call.args else { return Err(CommandError::Syntax) };
    if !is(upto_name, "upto") {
        return Err("ERR UPTO and the index of a turn must come first".into());
    }
    let upto = named_integer("UPTO", upto, 0, NUMBER_MAX)?;
    let options = Options::parse(rest, &["tokens", "role", "ifepoch", "keep"])?;
    let summary = ChatSummary {
        upto,
        content,
        tokens: options.tokens,
        role: options.role,
        if_epoch: options.if_epoch,
        keep: &options.keep,
    };
    let done = call.txn.chat_compact(&call.keys[0], &summary).map_err(error)?;
    appended(call.reply, done);
    call.notify(MODULE, "chat.compact", 0);
    Ok(())
}

fn trim(call: &mut Call<'_, '_>) -> CommandResult {
    let options = Options::parse(&call.args[2..], &["maxtokens", "maxturns", "keep"])?;
    if options.max_tokens.is_some() == options.max_turns.is_some() {
        return Err("ERR MAXTOKENS or MAXTURNS must be given, and not both".into());
    }
    let (removed, totals) = call.txn.chat_trim(&call.keys[0], &options.limits())?;
    call.reply.map(3);
    figures(call.reply, totals);
    if removed > 0 {
        call.notify(MODULE, "chat.trim", 0);
    }
    Ok(())
}

fn len(call: &mut Call<'_, '_>) -> CommandResult {
    let found = call.txn.exists(&call.keys[0]);
    let totals = call.txn.chat_totals(&call.keys[0])?;
    call.reply.map(3);
    figures(call.reply, totals);
    call.looked_up(0, found);
    Ok(())
}
