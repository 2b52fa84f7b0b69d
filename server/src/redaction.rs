//! Which arguments of a command nobody is to see, in `MONITOR` or `SLOWLOG`.

/// What is shown instead of a secret.
pub const REDACTED: &[u8] = b"(redacted)";
/// Directives whose values are secrets.
const SECRET_DIRECTIVES: [&str; 3] = ["requirepass", "masterauth", "masteruser"];

/// Whether nobody is to see this argument: passwords, all that `ACL SETUSER` says, and directives that are secrets.
pub fn is_secret(args: &[&[u8]], index: usize) -> bool {
    let is = |index: usize, word: &str| {
        args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    if index == 0 {
        return false;
    }
    if is(0, "auth") {
        return true;
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
