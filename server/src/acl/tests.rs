use super::*;
use crate::command::table::table;
use proptest::prelude::*;
use sessile_wal::sim::SimFs;
use sessile_wal::{Fs, OpenMode};
use std::path::Path;

fn rights(rules: &[&str]) -> Rights {
    let mut rights = Rights::none(false);
    let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
    rules::apply_all(&mut rights, &rules, false).unwrap_or_else(|error| panic!("{error}"));
    rights
}

fn refused(rules: &[&str]) -> String {
    let rules: Vec<&[u8]> = rules.iter().map(|rule| rule.as_bytes()).collect();
    rules::apply_all(&mut Rights::none(false), &rules, false).expect_err("a bad rule").to_string()
}

fn check(rights: &Rights, command: &str) -> Result<(), Denied> {
    let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    let entry = table().find(args[0]).expect("a command");
    let entry = args.get(1).and_then(|name| entry.subcommand(name)).unwrap_or(entry);
    rights.check(entry, &args)
}

fn text(rights: &Rights) -> String {
    String::from_utf8(rights.describe()).expect("text")
}

#[test]
fn rules_are_shown_as_they_were_said() {
    assert_eq!(text(&rights(&[])), "off resetchannels -@all");
    assert_eq!(text(&Rights::all()), "on nopass ~* &* +@all");
    let many = rights(&[
        "on",
        ">secret",
        "+get",
        "+@hash",
        "-hset",
        "+select|0",
        "~a*",
        "%R~r*",
        "%W~w*",
        "&ch*",
        "(+set",
        "~sel*)",
    ]);
    let hash = password_hash(b"secret");
    assert_eq!(
        text(&many),
        format!(
            "on #{hash} ~a* %R~r* %W~w* resetchannels &ch* -@all +get +@hash -hset +select|0 (~sel* resetchannels -@all +set)"
        )
    );
    assert_eq!(
        text(&rights(&["+@all", "-@dangerous", "+keys", "-keys", "+keys"])),
        "off resetchannels +@all -@dangerous +keys"
    );
    assert_eq!(text(&rights(&["+config|get", "-config"])), "off resetchannels -@all -config");
    assert_eq!(text(&rights(&["%R~a", "%W~a"])), "off ~a resetchannels -@all");
    assert_eq!(text(&rights(&[">a", ">b", "<a", "nopass"])), "off nopass resetchannels -@all");
}

#[test]
fn bad_rules_are_refused_in_the_words_of_redis() {
    for (rule, reason) in [
        ("+nosuch", "Unknown command or category name in ACL"),
        ("+@nosuch", "Unknown command or category name in ACL"),
        ("+config|nosuch", "Unknown command or category name in ACL"),
        ("-select|0", "Unknown command or category name in ACL"),
        ("+config|get|x", "Allowing first-arg of a subcommand is not supported"),
        ("foo", "Syntax error"),
        ("%X~a", "Syntax error"),
        ("%R", "Syntax error"),
        (
            "#abc",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        ("<nope", "The password you are trying to remove from the user does not exist"),
    ] {
        assert_eq!(refused(&[rule]), format!("Error in ACL SETUSER modifier '{rule}': {reason}"));
    }
    assert!(refused(&["allkeys", "~x"]).contains("Try 'resetkeys'"));
    assert!(refused(&["allchannels", "&x"]).contains("Try 'resetchannels'"));
    assert_eq!(refused(&["(+get", "~x"]), "Unmatched parenthesis in acl selector starting at '(+get'.");
}

#[test]
fn commands_keys_and_channels_are_checked() {
    let reader = rights(&["on", "~r*", "+@read", "+publish", "&c*", "+select|0"]);
    assert_eq!(check(&reader, "get r1"), Ok(()));
    assert_eq!(check(&reader, "get a"), Err(Denied::Key(1)));
    assert_eq!(check(&reader, "mget r1 a"), Err(Denied::Key(2)));
    assert_eq!(check(&reader, "set r1 v"), Err(Denied::Command));
    assert_eq!(check(&reader, "publish c1 m"), Ok(()));
    assert_eq!(check(&reader, "publish d m"), Err(Denied::Channel(1)));
    assert_eq!(check(&reader, "select 0"), Ok(()));
    assert_eq!(check(&reader, "select 1"), Err(Denied::Command));
    assert_eq!(check(&reader, "config get x"), Err(Denied::Command));
    assert_eq!(check(&reader, "hello"), Ok(()));
    // A selector allows a command only with keys of its own.
    let mixed = rights(&["on", "+get", "~a", "(+set ~b)"]);
    assert_eq!(check(&mixed, "get a"), Ok(()));
    assert_eq!(check(&mixed, "set b v"), Ok(()));
    assert_eq!(check(&mixed, "set a v"), Err(Denied::Key(1)));
    // Reading and writing are two things.
    let split = rights(&["+@all", "%R~r", "%W~w"]);
    assert_eq!(check(&split, "get r"), Ok(()));
    assert_eq!(check(&split, "set r v"), Err(Denied::Key(1)));
    assert_eq!(check(&split, "set w v"), Ok(()));
    assert_eq!(check(&split, "set w v get"), Err(Denied::Key(1)));
    assert_eq!(check(&split, "copy r w"), Ok(()));
    assert_eq!(check(&split, "copy w r"), Err(Denied::Key(1)));
    assert_eq!(check(&split, "exists r w"), Ok(()));
    // Patterns of channels must be said literally.
    let listener = rights(&["+@all", "&news.*"]);
    assert_eq!(check(&listener, "subscribe news.1"), Ok(()));
    assert_eq!(check(&listener, "psubscribe news.*"), Ok(()));
    assert_eq!(check(&listener, "psubscribe news.1*"), Err(Denied::Channel(1)));
}

#[test]
fn only_enabled_users_with_their_passwords_come_in() {
    let acl = Acl::default();
    assert!(acl.lets_anybody_in() && acl.authenticate(b"default", b"anything").is_some());
    acl.set_user(b"ann", &[b">one", b">two", b"+@all", b"~*"], false).expect("rules");
    assert!(acl.authenticate(b"ann", b"one").is_none(), "she is off");
    acl.set_user(b"ann", &[b"on"], false).expect("rules");
    assert!(acl.authenticate(b"ann", b"two").is_some());
    assert!(acl.authenticate(b"ann", b"three").is_none());
    assert!(acl.authenticate(b"bob", b"one").is_none());
    assert!(acl.set_user(b"ann", &[b"off", b"nonsense"], false).is_err());
    assert!(acl.authenticate(b"ann", b"one").is_some(), "nothing of a refused change holds");
    acl.set_default_password("secret");
    assert!(!acl.lets_anybody_in());
    assert!(acl.authenticate(b"default", b"secret").is_some() && acl.authenticate(b"default", b"").is_none());
    assert!(!acl.remove_user(b"default") && acl.remove_user(b"ann") && !acl.remove_user(b"ann"));
    // A connection that holds the user sees what becomes of it.
    let user = acl.default_user();
    assert!(user.is_unrestricted());
    acl.set_user(b"default", &[b"-@dangerous"], false).expect("rules");
    assert!(!user.is_unrestricted() && check(&user.rights(), "keys *") == Err(Denied::Command));
}

#[test]
fn denials_of_the_same_kind_are_counted() {
    let log = AclLog::default();
    let entry = |object: &[u8]| LogEntry {
        count: 1,
        reason: Reason::Key,
        context: Context::TopLevel,
        object: object.to_vec(),
        username: b"ann".to_vec(),
        at_ms: 0,
        created_ms: 0,
        id: 0,
        client: Vec::new(),
    };
    log.add(entry(b"a"), 1000, 3);
    log.add(entry(b"b"), 2000, 3);
    log.add(entry(b"a"), 3000, 3);
    log.add(entry(b"a"), 100_000, 3);
    let found: Vec<_> =
        log.latest(9).iter().map(|e| (e.object.clone(), e.count, e.created_ms, e.at_ms)).collect();
    assert_eq!(
        found,
        [
            (b"a".to_vec(), 1, 100_000, 100_000),
            (b"a".to_vec(), 2, 1000, 3000),
            (b"b".to_vec(), 1, 2000, 2000)
        ]
    );
    log.add(entry(b"c"), 100_000, 3);
    assert_eq!(log.latest(9).len(), 3);
    log.reset();
    assert!(log.latest(9).is_empty());
}

fn file(text: &str) -> (SimFs, &'static Path) {
    let (fs, path) = (SimFs::new(1), Path::new("/etc/users.acl"));
    fs.create_dir_all(Path::new("/etc")).expect("create");
    let file = fs.open(path, OpenMode::CreateNew).expect("create");
    file.write_at(text.as_bytes(), 0).expect("write");
    (fs, path)
}

#[test]
fn files_are_read_whole_or_not_at_all() {
    let (fs, path) = file("# people\n\nuser default off\r\nuser ann on >pw ~a* +get (+set ~b)\n");
    let acl = Acl::default();
    let changed = acl.replace(load(&fs, path, false).expect("a good file"));
    assert!(changed.contains(&b"ann".to_vec()) || acl.user(b"ann").is_some());
    assert!(!acl.lets_anybody_in() && acl.authenticate(b"ann", b"pw").is_some());
    save(&fs, path, &acl).expect("save");
    let before: Vec<_> = acl.users().iter().map(|user| text(&user.rights())).collect();
    acl.replace(load(&fs, path, false).expect("what was saved"));
    assert_eq!(acl.users().iter().map(|user| text(&user.rights())).collect::<Vec<_>>(), before);
    for (bad, line) in
        [("user a on\nnonsense\n", 2), ("user a +nosuch\n", 1), ("user a on\n\nuser a off\n", 3)]
    {
        let (fs, path) = file(bad);
        let error = load(&fs, path, false).expect_err("a bad file").to_string();
        assert!(error.contains(&format!(":{line}: ")), "{error}");
    }
}

/// Found by `fuzz/fuzz_targets/text.rs`: shown in a file, the pattern ended the selector, and the file could not be loaded.
#[test]
fn a_pattern_in_a_selector_does_not_end_it() {
    let error = refused(&["(%W~write:*(&u))"]);
    assert!(error.contains("Syntax error"), "{error}");
    let many = rights(&["~write:*(&u)", "(~(a &c)"]);
    assert_eq!(rights(&text(&many).split(' ').collect::<Vec<_>>()).selectors, many.selectors);
}

/// Found by `fuzz/fuzz_targets/text.rs`: it was shown as `~*`, and what came behind it could not be loaded.
#[test]
fn all_keys_are_all_keys_however_they_are_said() {
    assert_eq!(text(&rights(&["%RW~*"])), "off ~* resetchannels -@all");
    assert_eq!(text(&rights(&["~a", "%R~*", "%W~*"])), "off ~* resetchannels -@all");
    assert!(refused(&["%RW~*", "%R~a"]).contains("after the * pattern"));
}

proptest! {
    /// Whatever the words, nothing panics; and what is described can be read back to the same.
    #[test]
    fn any_rules(words in proptest::collection::vec("[-+~&%@#<>!()a-zA-Z0-9|*]{0,12}", 0..8)) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut rights = Rights::none(false);
        let _ = rules::apply_all(&mut rights, &words, false);
        let described = rights.describe();
        let again: Vec<&[u8]> = described.split(|&byte| byte == b' ').collect();
        let mut read = Rights::none(false);
        rules::apply_all(&mut read, &again, false).expect("what was described");
        prop_assert_eq!(read.describe(), described);
        prop_assert_eq!(read.selectors, rights.selectors);
    }
}
