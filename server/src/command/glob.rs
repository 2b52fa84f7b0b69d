//! Patterns, as `KEYS`, `SCAN … MATCH` and `CONFIG GET` take them: `*`, `?`, `[a-z]`, `[^a-z]`, `\` to take a byte as it is.
//!
//! What matches is what matches in Redis, its oddities among it. The work is bounded by pattern length × text length, whatever the
//! pattern: everything but `*` takes exactly one byte, so on a mismatch only the last `*` needs another try, never an earlier one.

/// Whether ASCII letters of either case match each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// They don't.
    Sensitive,
    /// They do. For names of directives; keys are always case-sensitive.
    Insensitive,
}

/// Whether the whole text matches the pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    // Redis leaves its loop at once when there is no text: only the empty pattern matches it.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut position) = (0, 0);
    // After the last `*` met: where the pattern goes on, and the next place in the text to try it at.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if position == text.len() {
            // A class may not remain, even one that nothing is in; stars may.
            return pattern[at..].iter().all(|&byte| byte == b'*');
        }
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            retry = Some((at, position + 1));
            continue;
        }
        match one(&pattern[at..], text[position], case) {
            Some(taken) => {
                at += taken;
                position += 1;
            }
            None => {
                let Some((after_star, next)) = retry else { return false };
                (at, position) = (after_star, next);
                retry = Some((after_star, next + 1));
            }
        }
    }
}

/// Matches the first element of a pattern (which is no star) with a byte: the length of the element, or `None`.
fn one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let same = |left: u8, right: u8| match case {
        Case::Sensitive => left == right,
        Case::Insensitive => left.eq_ignore_ascii_case(&right),
    };
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let (matched, taken) = class(rest, byte, case);
            matched.then_some(taken + 1)
        }
        [b'\\', escaped, ..] => same(*escaped, byte).then_some(2),
        [literal, ..] => same(*literal, byte).then_some(1),
    }
}

/// Matches a class, given from after its `[`. A class that is never closed ends with the pattern. Ranges compare as C's signed
/// `char` does, in either order.
fn class(pattern: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let fold = |byte: u8| match case {
        Case::Sensitive => byte,
        Case::Insensitive => byte.to_ascii_lowercase(),
    };
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (start, end) =
                    if (*start as i8) > (*end as i8) { (*end, *start) } else { (*start, *end) };
                let byte = fold(byte) as i8;
                found |= (fold(start) as i8..=fold(end) as i8).contains(&byte);
                at += 3;
            }
            [member, ..] => {
                found |= fold(*member) == fold(byte);
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "anything", true),
            ("", "", true),
            ("*", "", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-]llo", "h-llo", false),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("h[\\]]llo", "h]llo", true),
            ("h[ab", "ha", true),
            ("a\\", "a\\", true),
            ("a**", "a", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("a[]b", "ab", false),
            ("[^]a", "xa", true),
            ("H*", "hello", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive),
                expected,
                "{pattern:?} {text:?}"
            );
        }
        assert!(matches(b"MAX*[A-Z]", b"maxmemory", Case::Insensitive));
    }

    #[test]
    fn stars_do_not_explode() {
        let pattern = [b"a*".repeat(1000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(10_000), Case::Sensitive));
    }
}
