//! What is durable before its reply. With `appendfsync no` nothing else ever syncs the log, so that a sync is one that a command has asked for.

use super::*;

fn syncs(client: &mut Client) -> u64 {
    info(client, "sessile", "log_syncs")
}

/// Whether all this costs a sync of the log before it is answered.
fn costs_a_sync(client: &mut Client, words: &[String]) -> bool {
    let before = syncs(client);
    for words in words {
        let reply = client.command(words);
        assert!(!matches!(reply, Value::Error(_)), "{words}: {reply:?}");
    }
    syncs(client) > before
}

fn checks(appendfsync: &str) {
    let server = Server::start(ServerOptions::new(appendfsync));
    let client = &mut server.client();
    client.command("SESSION.POLICY SET web IDLE 1000 GRACE 60");
    let mut made =
        (0..8).map(|_| client.command("SESSION.CREATE web USER alice")).collect::<Vec<_>>().into_iter();
    let mut next = || text(&made.next().expect("one more"), "token");
    let kept = next();
    client.command("WAITAOF 1 0 0");
    let everysec = appendfsync == "everysec";
    for (words, is_durable) in [
        (vec![format!("SESSION.END {}", next())], true),
        (vec![format!("SESSION.END {} LAZY", next())], false),
        // Somebody may have heard no reply to this, and asks again.
        (vec![format!("SESSION.END {NOBODYS}")], true),
        (vec![format!("SESSION.END {NOBODYS}")], false),
        (vec![format!("SESSION.ROTATE {}", next())], true),
        (vec!["SESSION.POLICY SET other IDLE 1".into()], true),
        (vec!["SESSION.POLICY DEL other".into()], true),
        (vec!["SESSION.POLICY DEL other".into()], false),
        (
            vec!["SESSION.POLICY GET web".into(), "SESSION.COUNT".into(), "SESSION.LIST USER alice".into()],
            false,
        ),
        (vec![format!("SESSION.SET {kept} FIELDS 1 a 1"), format!("SESSION.GET {kept}")], false),
        (vec![format!("SESSION.LOCK {kept} 1000"), format!("SESSION.TOUCH {kept}")], false),
        (vec!["SESSION.CREATE web USER alice".into()], false),
        (vec!["SESSION.EVENTS".into()], true),
        (vec!["SESSION.EVENTS".into()], false),
        (vec!["SESSION.CREATE web USER bob".into(), "SESSION.REVOKE USER bob LAZY".into()], false),
        (vec!["SESSION.CREATE web USER bob".into(), "SESSION.REVOKE USER bob".into()], true),
        (
            vec![
                "MULTI".into(),
                "SET a b".into(),
                format!("SESSION.END {}", next()),
                "SET b c".into(),
                "EXEC".into(),
            ],
            true,
        ),
        (
            vec!["MULTI".into(), "SET a b".into(), format!("SESSION.END {} LAZY", next()), "EXEC".into()],
            false,
        ),
        (vec!["MULTI".into(), "SET a b".into(), format!("SESSION.ROTATE {kept}"), "EXEC".into()], true),
        (vec!["SESSION.REVOKE CLASS web LAZY".into()], false),
        (vec!["SESSION.CREATE web".into(), "SESSION.REVOKE CLASS web".into()], true),
    ] {
        let durable = costs_a_sync(client, &words);
        // A second may be over at any time.
        assert!(durable == is_durable || everysec && durable, "{appendfsync}: {words:?}");
    }
}

#[test]
fn logout_is_durable_before_its_reply_without_syncs() {
    checks("no");
}

#[test]
fn logout_is_durable_before_its_reply_in_everysec() {
    checks("everysec");
}
