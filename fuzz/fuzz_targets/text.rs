//! What people write: patterns against the plainest matcher there is, ACL rules, which say the same when they are described and read again, and
//! configuration files, which mean the same when they are written back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::fuzzing::Input;
use sessile_server::acl::{Acl, defined, line_of};
use sessile_server::config::{Config, DIRECTIVES, parse_file, rewrite, rewrite_users};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    match input.byte() % 3 {
        0 => pattern(&mut input),
        1 => rules(&mut input),
        _ => directives(&mut input),
    }
});

fn pattern(input: &mut Input<'_>) {
    let any_case = input.byte().is_multiple_of(2);
    let (text, pattern) = (input.slice(30), input.rest());
    let found = sessile_server::fuzzing::glob(pattern, text, any_case);
    // The plain one tries everything, which takes long with many stars.
    if pattern.iter().filter(|byte| **byte == b'*').count() <= 4 {
        assert_eq!(found, plainly(pattern, text, any_case), "{pattern:?} {text:?}");
    }
}

/// Redis's `stringmatchlen`, by trying everything.
fn plainly(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    goes_on(pattern, text, any_case)
}

fn goes_on(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    let Some((&first, rest)) = pattern.split_first() else { return text.is_empty() };
    if first == b'*' {
        return (0..=text.len()).any(|taken| goes_on(rest, &text[taken..], any_case));
    }
    let Some((&byte, after)) = text.split_first() else { return false };
    match first {
        b'?' => goes_on(rest, after, any_case),
        b'[' => {
            let negated = rest.first() == Some(&b'^');
            let mut class = &rest[usize::from(negated)..];
            let mut within = false;
            loop {
                match class {
                    [] => break,
                    [b'\\', escaped, tail @ ..] => {
                        within |= *escaped == byte;
                        class = tail;
                    }
                    [b']', tail @ ..] => {
                        class = tail;
                        break;
                    }
                    [low, b'-', high, tail @ ..] => {
                        let (low, high) =
                            if *low as i8 > *high as i8 { (*high, *low) } else { (*low, *high) };
                        within |= (fold(low) as i8..=fold(high) as i8).contains(&(fold(byte) as i8));
                        class = tail;
                    }
                    [one, tail @ ..] => {
                        within |= fold(*one) == fold(byte);
                        class = tail;
                    }
                }
            }
            within != negated && goes_on(class, after, any_case)
        }
        b'\\' if !rest.is_empty() => fold(rest[0]) == fold(byte) && goes_on(&rest[1..], after, any_case),
        literal => fold(literal) == fold(byte) && goes_on(rest, after, any_case),
    }
}

fn rules(input: &mut Input<'_>) {
    let (all_channels, acl) = (input.byte().is_multiple_of(2), Acl::default());
    let text = input.rest();
    let rules: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if acl.set_user(b"someone", &rules, all_channels).is_err() {
        assert!(acl.user(b"someone").is_none(), "of rules that are wrong none is taken");
        return;
    }
    let user = acl.user(b"someone").expect("just made");
    let described = user.rights().describe();
    let line = String::from_utf8_lossy(&line_of(&user)).into_owned();
    // A pattern may hold what a file would have to quote.
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"'\"\\".contains(byte) || *byte == b' ';
    if !text.iter().all(|byte| plain(byte) || *byte == b'\n') || rules.iter().any(|rule| rule.contains(&b' '))
    {
        return;
    }
    let words: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
    let again = defined(&[words], all_channels).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(
        String::from_utf8_lossy(&again[0].1.describe()),
        String::from_utf8_lossy(&described),
        "{line}"
    );
}

fn directives(input: &mut Input<'_>) {
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    let parse = |text: &str| {
        let mut config = Config::default();
        let mut read = |path: &str| match path {
            "sessile.conf" => Ok(text.to_owned()),
            // A file that includes itself comes to an end.
            _ => Ok(format!("include {path}")),
        };
        parse_file(&mut config, "sessile.conf", &mut read).map(|()| config)
    };
    let Ok(config) = parse(&text) else { return };
    let written = rewrite(&text, &config);
    let again =
        parse(&written).unwrap_or_else(|error| panic!("{text:?} was written as {written:?}: {error}"));
    for (index, directive) in DIRECTIVES.iter().enumerate() {
        assert_eq!(
            again.value(index),
            config.value(index),
            "{} in {text:?}, written as {written:?}",
            directive.name
        );
    }
    assert_eq!(again.users(), config.users());
    let _ = rewrite_users(&text, &["user one on +@all ~*".to_owned()]);
}
