//! Malformed calls: each is an error that names the argument, and changes nothing.

use super::*;

/// `T` is a live token, `H` a live handle.
const MALFORMED: &[(&str, &str)] = &[
    ("SESSION.POLICY SET web FOO 1", "FOO"),
    ("SESSION.POLICY SET web IDLE", "IDLE"),
    ("SESSION.POLICY SET web IDLE -1", "IDLE"),
    ("SESSION.POLICY SET web IDLE 1.5", "IDLE"),
    ("SESSION.POLICY SET web IDLE 99999999999999999999", "IDLE"),
    ("SESSION.POLICY SET web IDLE 1 IDLE 2", "IDLE"),
    ("SESSION.POLICY SET web MAX x", "MAX"),
    ("SESSION.POLICY SET web PERUSER 4294967296", "PERUSER"),
    ("SESSION.POLICY SET web PERUSER -1", "PERUSER"),
    ("SESSION.POLICY SET web ONLIMIT maybe", "ONLIMIT"),
    ("SESSION.POLICY SET web ONLIMIT", "ONLIMIT"),
    ("SESSION.POLICY SET web GRACE x", "GRACE"),
    ("SESSION.POLICY SET aal1 IDLE 1", "class"),
    ("SESSION.POLICY SET aal2", "class"),
    ("SESSION.POLICY DEL aal3", "class"),
    ("SESSION.POLICY SET  IDLE 1", "class"),
    ("SESSION.POLICY SET \u{7f}LONG", "class"),
    ("SESSION.POLICY FOO", "FOO"),
    ("SESSION.POLICY LIST web", "session.policy|list"),
    ("SESSION.CREATE", "session.create"),
    ("SESSION.CREATE none", "class"),
    ("SESSION.CREATE web FOO", "FOO"),
    ("SESSION.CREATE web USER", "USER"),
    ("SESSION.CREATE web USER a USER b", "USER"),
    ("SESSION.CREATE web IDLE", "IDLE"),
    ("SESSION.CREATE web IDLE x", "IDLE"),
    ("SESSION.CREATE web MAX -5", "MAX"),
    ("SESSION.CREATE web META", "META"),
    ("SESSION.CREATE web FIELDS", "FIELDS"),
    ("SESSION.CREATE web FIELDS 0", "FIELDS"),
    ("SESSION.CREATE web FIELDS 1 a", "FIELDS"),
    ("SESSION.CREATE web FIELDS 2 a 1 b", "FIELDS"),
    ("SESSION.CREATE web FIELDS 9223372036854775807 a 1", "FIELDS"),
    ("SESSION.CREATE web FIELDS 1 a 1 b", "argument 6"),
    ("SESSION.CREATE web FIELDS 1 a 1 T", "argument 6"),
    ("SESSION.GET", "session.get"),
    ("SESSION.GET T FOO", "FOO"),
    ("SESSION.GET T T", "argument 2"),
    ("SESSION.GET T NOTOUCH NOTOUCH", "NOTOUCH"),
    ("SESSION.GET T FIELDS", "FIELDS"),
    ("SESSION.GET T FIELDS 2 a", "FIELDS"),
    ("SESSION.GET T FIELDS 1 a b", "argument 5"),
    ("SESSION.SET T FIELDS 1 a", "FIELDS"),
    ("SESSION.SET T FIELDS 1", "session.set"),
    ("SESSION.SET T IFVERSION 1 FENCE 1", "FIELDS"),
    ("SESSION.SET T IFVERSION x FIELDS 1 a b", "IFVERSION"),
    ("SESSION.SET T IFVERSION -1 FIELDS 1 a b", "IFVERSION"),
    ("SESSION.SET T FENCE x FIELDS 1 a b", "FENCE"),
    ("SESSION.SET T FENCE 1 FENCE 1 FIELDS 1 a b", "FENCE"),
    ("SESSION.SET T FIELDS 2 a b c", "FIELDS"),
    ("SESSION.SET T FIELDS 1 a b IFVERSION", "IFVERSION"),
    ("SESSION.SET T FIELDS 1 a b FIELDS 1 a b", "FIELDS"),
    ("SESSION.SET T NOTOUCH FIELDS 1 a b", "NOTOUCH"),
    ("SESSION.UNSET T FIELDS 2 a", "FIELDS"),
    ("SESSION.UNSET T FIELDS x a", "FIELDS"),
    ("SESSION.UNSET T IFVERSION FIELDS 1 a", "IFVERSION"),
    ("SESSION.TOUCH", "session.touch"),
    ("SESSION.ROTATE T GRACE", "GRACE"),
    ("SESSION.ROTATE T GRACE x", "GRACE"),
    ("SESSION.ROTATE T FOO", "FOO"),
    ("SESSION.ROTATE T GRACE 1 FOO", "FOO"),
    ("SESSION.END", "session.end"),
    ("SESSION.REVOKE FOO alice", "USER, HANDLE or CLASS"),
    ("SESSION.REVOKE USER", "session.revoke"),
    ("SESSION.REVOKE USER alice FOO", "FOO"),
    ("SESSION.REVOKE USER alice EXCEPT", "EXCEPT"),
    ("SESSION.REVOKE USER alice EXCEPT x", "EXCEPT"),
    ("SESSION.REVOKE USER alice EXCEPT T EXCEPT T", "EXCEPT"),
    ("SESSION.REVOKE USER alice LAZY LAZY", "LAZY"),
    ("SESSION.REVOKE USER alice LAZY EXCEPT T", "EXCEPT"),
    ("SESSION.REVOKE HANDLE x", "HANDLE"),
    ("SESSION.REVOKE HANDLE AAAAAAAAAAAAAAAAAAAA=+", "HANDLE"),
    ("SESSION.REVOKE HANDLE AAAAAAAAAAAAAAAAAAAAAAA", "HANDLE"),
    ("SESSION.REVOKE HANDLE H EXCEPT T", "EXCEPT"),
    ("SESSION.REVOKE CLASS none", "class"),
    ("SESSION.REVOKE CLASS web EXCEPT T", "EXCEPT"),
    ("SESSION.LIST alice x", "USER"),
    ("SESSION.LIST USER", "session.list"),
    ("SESSION.LIST USER alice CURSOR x", "CURSOR"),
    ("SESSION.LIST USER alice CURSOR -1", "CURSOR"),
    ("SESSION.LIST USER alice COUNT 0", "COUNT"),
    ("SESSION.LIST USER alice COUNT 99999999", "COUNT"),
    ("SESSION.LIST USER alice FOO", "FOO"),
    ("SESSION.COUNT FOO", "FOO"),
    ("SESSION.COUNT CLASS", "CLASS"),
    ("SESSION.COUNT USER a USER b", "USER"),
    ("SESSION.LOCK T", "session.lock"),
    ("SESSION.LOCK T 0", "lease-ms"),
    ("SESSION.LOCK T -1", "lease-ms"),
    ("SESSION.LOCK T x", "lease-ms"),
    ("SESSION.LOCK T 1000 WAIT", "WAIT"),
    ("SESSION.LOCK T 1000 WAIT -1", "WAIT"),
    ("SESSION.LOCK T 1000 FOO", "FOO"),
    ("SESSION.LOCK T 1000 WAIT 1 FOO", "FOO"),
    ("SESSION.UNLOCK T", "session.unlock"),
    ("SESSION.UNLOCK T x", "fence"),
    ("SESSION.UNLOCK T -1", "fence"),
    ("SESSION.EVENTS AFTER", "AFTER"),
    ("SESSION.EVENTS AFTER -1", "AFTER"),
    ("SESSION.EVENTS AFTER x", "AFTER"),
    ("SESSION.EVENTS COUNT 0", "COUNT"),
    ("SESSION.EVENTS COUNT 10001", "COUNT"),
    ("SESSION.EVENTS BLOCK x", "BLOCK"),
    ("SESSION.EVENTS BLOCK -1", "BLOCK"),
    ("SESSION.EVENTS FOO", "FOO"),
];

#[test]
fn a_malformed_call_names_its_argument_and_changes_nothing() {
    let server = start();
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000 MAX 2000 PERUSER 3 GRACE 4");
    let made = client.command("SESSION.CREATE web USER alice FIELDS 1 a 1");
    let (token, handle) = (text(&made, "token"), text(&made, "handle"));
    let state = |client: &mut Client| {
        [
            format!("SESSION.GET {token} NOTOUCH"),
            "SESSION.POLICY LIST".into(),
            "SESSION.POLICY GET web".into(),
            "SESSION.COUNT".into(),
            "SESSION.EVENTS".into(),
        ]
        .map(|words| client.command(&words))
    };
    let before = state(client);
    let long = "x".repeat(256);
    for (words, named) in MALFORMED {
        let args: Vec<&str> = words
            .split(' ')
            .map(|word| match word {
                "T" => &*token,
                "H" => &*handle,
                "\u{7f}LONG" => &*long,
                word => word,
            })
            .collect();
        let Ok(Value::Error(error)) = client.call(&args) else { panic!("{words} is taken") };
        assert!(error.contains(named), "{words}: {error}");
        assert!(error.starts_with("ERR "), "{words}: {error}");
        assert!(!error.contains(&token), "{words}: {error}");
        assert_eq!(state(client), before, "{words}");
        // What is wrong is wrong for who has no session, too, and in a transaction.
        client.command("MULTI");
        let queued = client.call(&args).expect("a reply");
        let done = client.command("EXEC");
        let refused = matches!(queued, Value::Error(_)) && done.is_error("EXECABORT")
            || matches!(&done, Value::Array(replies) if matches!(replies[..], [Value::Error(_)]));
        assert!(refused, "{words} in MULTI: {queued:?} {done:?}");
        assert_eq!(state(client), before, "{words} in MULTI");
    }
    assert!(client.call(&[&b"SESSION.POLICY"[..], b"SET", b"a\xff"]).expect("a reply").is_error("ERR "));
    assert!(client.call(&[&b"SESSION.CREATE"[..], b"a\xff"]).expect("a reply").is_error("ERR "));
    assert_eq!(state(client), before);
}
