//! Users: the same commands over several connections to a real redis-server and to Sessile.
#![expect(clippy::disallowed_methods, reason = "tests of a real process use the real disk")]

use super::super::{ask, integer, server, words};
use crate::support::{Client, Server, ServerOptions, Value, oracles};
use std::collections::BTreeMap;

/// What was said on connections with names; `user: words`. A connection is made when it is first named.
struct Side {
    server: Server,
    clients: BTreeMap<String, Client>,
}

impl Side {
    fn new(options: ServerOptions) -> Side {
        Side { server: Server::start(options), clients: BTreeMap::new() }
    }

    /// A line's reply; what differs from run to run is left out.
    fn say(&mut self, line: &str) -> String {
        let (name, said) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let server = &self.server;
        let client = self.clients.entry(name.to_owned()).or_insert_with(|| server.client());
        let said: Vec<&str> = said.split(' ').collect();
        let reply = client.call(&said).map_or_else(|_| "closed".to_owned(), |reply| format!("{reply:?}"));
        if reply == "closed" {
            self.clients.remove(name);
        }
        reply
    }
}

/// Not in it: `HELLO` without a password, of which Redis 7.2 and later say something else than the one compared with.
const DIALOGUE: &str = "
    admin: SET x y
    admin: ACL SETUSER ro on >p ~r* +@read +publish &c* +multi +exec +set +@pubsub +copy +eval +auth +hello +client
    admin: ACL SETUSER off >p allkeys +@all
    admin: ACL SETUSER sel on nopass -@all +get %R~in* %W~out* +set (+del ~d*) (+get ~g* &n*)
    admin: ACL SETUSER sub on nopass +@all -config +config|get ~* &news.*
    admin: ACL SETUSER bad on +nosuch
    admin: ACL SETUSER bad %X~a
    admin: ACL SETUSER bad (+get
    admin: ACL SETUSER bad +config|nosuch
    admin: ACL SETUSER bad #abc
    admin: ACL SETUSER bad <missing
    admin: ACL GETUSER nobody
    admin: ACL WHOAMI
    ro: AUTH ro wrong
    ro: AUTH nobody p
    ro: AUTH off p
    ro: AUTH ro p
    ro: ACL WHOAMI
    ro: GET x
    ro: GET r1
    ro: SET r1 v
    ro: SET x v
    ro: DEL x
    ro: PUBLISH x y
    ro: PUBLISH c1 y
    ro: SUBSCRIBE x
    ro: COPY r1 x
    ro: COPY r1 r2
    ro: NOSUCH
    ro: GET
    ro: CONFIG GET x
    ro: CONFIG NOSUCH
    ro: ACL LIST
    ro: MULTI
    ro: SET r1 w
    ro: SET x w
    ro: EXEC
    ro: MULTI
    ro: SET r1 w
    ro: GET r1
    ro: EXEC
    ro: EVAL return(redis.call('get',KEYS[1])) 1 x
    ro: EVAL return(redis.call('get',KEYS[1])) 1 r1
    ro: EVAL return(redis.call('del',KEYS[1])) 1 r1
    ro: EVAL return(redis.pcall('set','x','y')) 1 r1
    ro: EVAL return(redis.pcall('del','r1').err) 1 r1
    ro: EVAL return(redis.call('publish','x','y')) 1 r1
    sel: AUTH sel anything
    sel: GET in1
    sel: GET out1
    sel: SET out1 v
    sel: SET in1 v
    sel: SET out1 v GET
    sel: DEL d1
    sel: DEL in1
    sel: GET g1
    sel: GET x
    sub: AUTH sub x
    sub: CONFIG GET maxclients
    sub: CONFIG SET maxclients 1000
    sub: PUBLISH news.a x
    sub: PUBLISH other x
    sub: CLIENT NO-EVICT off
    admin: ACL DRYRUN ro GET x
    admin: ACL DRYRUN ro GET r1
    admin: ACL DRYRUN ro DEL r1
    admin: ACL DRYRUN ro NOSUCH
    admin: ACL DRYRUN nobody GET r1
    admin: ACL DRYRUN ro GET
    admin: ACL DRYRUN sub PUBLISH other x
    admin: ACL DRYRUN sub PUBLISH news.1 x
    admin: ACL SETUSER ro -get
    ro: GET r1
    admin: ACL SETUSER ro +get resetkeys
    ro: GET r1
    admin: ACL SETUSER ro off
    ro: ACL WHOAMI
    ro: PUBLISH c1 y
    other: AUTH ro p
    admin: ACL DELUSER ro nobody
    ro: PUBLISH c1 y
    admin: ACL DELUSER default
    admin: ACL USERS
    admin: CONFIG SET requirepass secret
    later: PING
    later: AUTH wrong
    later: HELLO 2 AUTH default wrong
    later: AUTH secret
    later: PING
    admin: ACL SETUSER default nopass
    anybody: PING
    admin: ACL SETUSER default off
    nobody: PING
    nobody: AUTH x
    nobody: AUTH default x
    nobody: AUTH sub x
    nobody: PING
    admin: ACL SETUSER default on
    admin: AUTH
    admin: AUTH a b c
    admin: ACL LOG RESET
    admin: ACL LOG x
    admin: ACL LOG -1
    admin: ACL GENPASS 5000
    admin: ACL GENPASS x
    admin: ACL CAT nosuch
    admin: ACL SAVE
    admin: ACL LOAD
    admin: ACL NOSUCH
    admin: CLIENT KILL USER nosuch
    admin: CLIENT KILL USER sub
    sub: PING
";

#[test]
fn users_may_do_what_they_may_do_in_redis() {
    let Some(redis) = oracles::program("users_may_do_what_they_may_do_in_redis", "redis-server") else {
        return;
    };
    let mut redis = Side::new(ServerOptions::new("everysec").of(&redis.to_string_lossy()));
    let mut ours = Side::new(ServerOptions::new("everysec"));
    let mut different = Vec::new();
    for line in DIALOGUE.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (theirs, ours) = (redis.say(line), ours.say(line));
        if theirs != ours {
            different.push(format!("{line}\n  redis   {theirs}\n  sessile {ours}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn the_log_says_who_was_denied_what_and_where() {
    let server = server();
    let mut admin = server.client();
    admin.command("ACL SETUSER bob on >p ~a* +get +set +multi +exec +eval &c");
    let mut bob = server.client();
    assert!(bob.command("AUTH bob wrong").is_error("WRONGPASS"));
    assert_eq!(bob.command("AUTH bob p"), Value::ok());
    bob.command("DEL a");
    bob.command("DEL a");
    bob.command("GET x");
    bob.command("MULTI");
    bob.command("SET x 1");
    bob.command("EXEC");
    ask(&mut bob, &["EVAL", "return redis.pcall('get', 'y')", "0"]);
    let log = admin.command("ACL LOG");
    let seen: Vec<(i64, String)> = log
        .items()
        .iter()
        .map(|entry| {
            let fields = entry.items();
            let text = [3, 5, 7, 9].map(|index| fields[index].text()).join(" ");
            (integer(&fields[1]), text)
        })
        .collect();
    let expected = [
        (1, "key lua y bob"),
        (1, "key multi x bob"),
        (1, "key toplevel x bob"),
        (2, "command toplevel del bob"),
        (1, "auth toplevel AUTH bob"),
    ];
    assert_eq!(seen, expected.map(|(count, text)| (count, text.to_owned())));
    admin.command("ACL LOG RESET");
    assert_eq!(admin.command("ACL LOG"), Value::Array(Vec::new()));
}

#[test]
fn a_removed_user_s_connections_are_closed() {
    let server = server();
    let mut admin = server.client();
    admin.command("ACL SETUSER bob on nopass allcommands allkeys");
    let mut bob = server.client();
    bob.command("AUTH bob p");
    assert!(admin.command("CLIENT LIST").text().contains(" user=bob "));
    assert_eq!(admin.command("ACL DELUSER bob"), Value::Integer(1));
    let closed = bob.call(&["PING"]).is_err();
    assert!(closed, "a connection of a user that is no more");
    assert_eq!(words(&admin.command("ACL USERS")), ["default"]);
}

#[test]
fn rights_hold_within_a_pipeline() {
    let server = server();
    let mut admin = server.client();
    admin.command("ACL SETUSER bob on >p ~a* +get +set");
    let mut client = server.client();
    client.send(b"SET x 1\r\nAUTH bob p\r\nGET x\r\nSET a 1\r\nAUTH default x\r\n").expect("it reads");
    let replies: Vec<Value> = (0..5).map(|_| client.receive().expect("a reply")).collect();
    assert_eq!(replies[..2], [Value::ok(), Value::ok()]);
    assert!(
        replies[2].is_error("NOPERM") && replies[3] == Value::ok() && replies[4] == Value::ok(),
        "{replies:?}"
    );
}

#[test]
fn users_are_read_from_the_configuration_and_written_back_to_it() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let file = home.path().join("sessile.conf");
    let text = "requirepass sesame\nuser app on >secret ~app:* +@all -@dangerous (+get ~shared:*)\nuser quoted on nopass \"~a\\\"b\" +get\n";
    std::fs::write(&file, text).expect("write the file");
    let path = file.to_str().expect("a path").to_owned();
    let start = || Server::start(ServerOptions::new("everysec").with("config", &path));
    let listed = |server: &Server| {
        let mut app = server.client();
        // The default user is what `requirepass` says although no line names it.
        assert!(app.command("PING").is_error("NOAUTH"));
        assert_eq!(app.command("AUTH app secret"), Value::ok());
        assert_eq!(app.command("SET app:1 v"), Value::ok());
        assert!(app.command("FLUSHALL").is_error("NOPERM"));
        let mut admin = server.client();
        assert_eq!(admin.command("AUTH sesame"), Value::ok());
        let users = words(&admin.command("ACL LIST"));
        (admin, users)
    };
    let server = start();
    let (mut admin, before) = listed(&server);
    assert!(
        before.iter().any(|line| line.starts_with("user quoted on nopass") && line.contains("~a\"b")),
        "{before:?}"
    );
    assert_eq!(admin.command("CONFIG REWRITE"), Value::ok());
    let written = std::fs::read_to_string(&file).expect("read the file");
    assert!(!written.contains(">secret") && written.matches("user ").count() == 3, "{written}");
    drop((admin, server));
    assert_eq!(listed(&start()).1, before);
}
