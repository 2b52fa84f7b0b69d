//! Which arguments of a command nobody is to see, in `MONITOR` or `SLOWLOG`.

/// What is shown instead of a secret.
pub const REDACTED: &[u8] = b"(redacted)";
/// Directives whose values are secrets.
const SECRET_DIRECTIVES: [&str; 3] = ["requirepass", "masterauth", "masteruser"];

/// Characters of a session's token, in base64url.
const TOKEN_CHARACTERS: usize = 43;

/// Whether an argument has the form of a session's token.
pub fn may_be_token(arg: &[u8]) -> bool {
    arg.len() == TOKEN_CHARACTERS
        && arg.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether nobody is to see this argument: passwords, tokens of sessions, all that `ACL SETUSER` says, and directives that are secrets.
pub fn is_secret(args: &[&[u8]], index: usize) -> bool {
    let is = |index: usize, word: &str| {
        args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    if index == 0 {
        return false;
    }
    if let Some(name) = args.first()
        && name.get(..8).is_some_and(|family| family.eq_ignore_ascii_case(b"session."))
    {
        let takes_one = ["get", "set", "unset", "rotate", "lock", "unlock"];
        let takes_many = ["touch", "end"];
        let any = |names: &[&str]| names.iter().any(|one| name[8..].eq_ignore_ascii_case(one.as_bytes()));
        if is(index - 1, "except") {
            return true;
        }
        // A token that is misplaced is one all the same.
        return any(&takes_many) || (index == 1 && any(&takes_one)) || may_be_token(args[index]);
    }
    if is(0, "auth") {
        return true;
    }
    // A command in the arguments of another.
    let inner = match args.first() {
        Some(_) if is(0, "acl") && is(1, "dryrun") => 3,
        Some(_) if is(0, "command") && (is(1, "getkeys") || is(1, "getkeysandflags")) => 2,
        _ => 0,
    };
    if inner > 0 && index > inner {
        return is_secret(&args[inner..], index - inner);
    }
    if is(0, "acl") {
        return index >= 2 && is(1, "setuser");
    }
    if is(0, "config") && is(1, "set") {
        return index >= 3
            && index % 2 == 1
            && SECRET_DIRECTIVES.iter().any(|directive| is(index - 1, directive));
    }
    if is(0, "hello") {
        let mut option = 2;
        while option < args.len() {
            if is(option, "auth") {
                if index == option + 1 || index == option + 2 {
                    return true;
                }
                option += 3;
            } else if is(option, "setname") {
                option += 2;
            } else {
                break;
            }
        }
    }
    false
}
