//! Tokens: nowhere but in the reply to whoever made them.

use super::*;
use std::path::Path;

/// The bytes of a token, which are nowhere either.
fn raw(token: &str) -> Vec<u8> {
    let value = |byte: u8| -> u32 {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        alphabet.iter().position(|known| *known == byte).expect("base64url") as u32
    };
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in token.bytes() {
        bits = bits << 6 | value(byte);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
}

#[test]
fn a_token_is_nowhere_but_in_its_reply() {
    let mut server = Server::start(
        ServerOptions::new("everysec")
            .with("loglevel", "debug")
            .with("slowlog-log-slower-than", "0")
            .with("slowlog-max-len", "100000")
            .with("latency-monitor-threshold", "1")
            .with("notify-keyspace-events", "KEA"),
    );
    let mut monitor = server.client();
    monitor.command("MONITOR");
    let mut listener = server.client();
    listener.command("PSUBSCRIBE *");
    let client = &mut server.client();
    client.command("HELLO 3");
    client.command("SESSION.POLICY SET web IDLE 1000 GRACE 60");
    let mut tokens = Vec::new();
    // What was answered to anything but what makes tokens.
    let mut said: Vec<(String, String)> = Vec::new();
    for user in 0..20 {
        let first = create(client, &format!("web USER u{user} META m FIELDS 1 a 1"));
        let second = text(&client.command(&format!("SESSION.ROTATE {first}")), "token");
        tokens.extend([first.clone(), second.clone()]);
        client.command("MULTI");
        client.command(&format!("SESSION.ROTATE {second}"));
        client.command(&format!("SESSION.CREATE web USER u{user}"));
        let replies = client.command("EXEC").items().to_vec();
        let [third, fourth] = [0, 1].map(|at: usize| text(&replies[at], "token"));
        tokens.extend([third.clone(), fourth.clone()]);
        let fence = client.command(&format!("SESSION.LOCK {third} 50"));
        let broken = format!("{}=", &third[..42]);
        for words in [
            format!("SESSION.GET {third}"),
            format!("SESSION.GET {first} NOTOUCH"),
            format!("session.get {third} {third}"),
            format!("SESSION.GET {third} FIELDS 1 {third}"),
            format!("SESSION.SET {third} FIELDS 1 a 1"),
            format!("SESSION.SET {second} FIELDS 1 a 1"),
            format!("SESSION.SET {third} {third} 1 a 1"),
            format!("SESSION.SET {third} IFVERSION 99 FIELDS 1 a 1"),
            format!("SESSION.SET {third} FENCE 99 FIELDS 1 a 1"),
            format!("SESSION.UNSET {third} FIELDS 1 a"),
            format!("SESSION.TOUCH {first} {second} {third} {fourth}"),
            format!("SESSION.LOCK {third} 50"),
            format!("SESSION.LOCK {third} {third}"),
            format!("SESSION.UNLOCK {third} {}", integer(&fence)),
            format!("SESSION.CREATE {third}"),
            format!("SESSION.CREATE web USER {third} {fourth}"),
            format!("SESSION.ROTATE {third} {third}"),
            format!("SESSION.ROTATE {third} GRACE {third}"),
            format!("SESSION.REVOKE USER nobody EXCEPT {third}"),
            format!("SESSION.REVOKE {third} nobody"),
            format!("SESSION.REVOKE HANDLE {third}"),
            format!("SESSION.REVOKE CLASS {third}"),
            format!("SESSION.LIST {third} x"),
            format!("SESSION.COUNT {third}"),
            format!("SESSION.EVENTS {third}"),
            format!("SESSION.EVENTS AFTER {third}"),
            format!("SESSION.POLICY {third}"),
            format!("SESSION.POLICY GET {third}"),
            format!("SESSION.GETT {third}"),
            format!("SESSIONS.GET {third}"),
            third.clone(),
            format!("GOT {third}"),
            format!("COMMAND GETKEYS SESSION.GET {third}"),
            format!("COMMAND GETKEYSANDFLAGS SESSION.TOUCH {third} {first}"),
            format!("ACL DRYRUN default SESSION.GET {third}"),
            format!("SESSION.REVOKE USER u{user} EXCEPT {third} LAZY"),
            format!("SESSION.END {fourth}"),
            format!("SESSION.END {broken}"),
        ] {
            let reply = client.command(&words);
            said.push((words, format!("{reply:?}")));
        }
        // As a line of text, and one that is broken.
        let mut line = server.client();
        line.send(format!("SESSION.GET {third}\r\n").as_bytes()).expect("send");
        let _ = line.receive();
        line.send(format!("SESSION.GET \"{third}\r\n").as_bytes()).expect("send");
        said.push(("a line".into(), format!("{:?}", line.receive())));
        let mut line = server.client();
        line.send(format!("*2\r\n$11\r\nSESSION.GET\r\n$x{third}\r\n").as_bytes()).expect("send");
        said.push(("a length".into(), format!("{:?}", line.receive())));
        let mut line = server.client();
        line.send(format!("*2\r\n$11\r\nSESSION.GET\r\n{third}\r\n").as_bytes()).expect("send");
        said.push(("no length".into(), format!("{:?}", line.receive())));
    }
    // One who may not, and one who waits.
    client.command("ACL SETUSER app on nopass -@all +auth ~* &*");
    let mut other = server.client();
    other.command("AUTH app x");
    for token in &tokens {
        said.push(("denied".into(), format!("{:?}", other.command(&format!("SESSION.GET {token}")))));
    }
    client.command(&format!("SESSION.LOCK {} 60000", tokens[tokens.len() - 2]));
    let mut waiter = server.client();
    send(&mut waiter, &format!("SESSION.LOCK {} 60000 WAIT 60000", tokens[tokens.len() - 2]));
    until("it waits", || info(client, "clients", "blocked_clients") == 1);
    for words in [
        "CLIENT LIST",
        "CLIENT INFO",
        "ACL LOG",
        "ACL LIST",
        "SLOWLOG GET -1",
        "INFO all",
        "INFO everything",
        "LATENCY LATEST",
        "LATENCY DOCTOR",
        "LATENCY HISTOGRAM",
        "MEMORY DOCTOR",
        "COMMAND DOCS session.get",
        "SESSION.EVENTS COUNT 10000",
        "CONFIG GET *",
        "KEYS *",
    ] {
        let reply = client.command(words);
        assert!(!matches!(reply, Value::Error(_)), "{words}: {reply:?}");
        said.push((words.into(), format!("{reply:?}")));
    }
    for user in 0..20 {
        said.push(("LIST".into(), format!("{:?}", client.command(&format!("SESSION.LIST USER u{user}")))));
    }
    // All that they were shown.
    client.command("PUBLISH done done");
    loop {
        let shown = format!("{:?}", monitor.receive().expect("a line"));
        let is_last = shown.to_lowercase().contains("publish");
        said.push(("MONITOR".into(), shown));
        if is_last {
            break;
        }
    }
    let shown = said.iter().filter(|(from, _)| from == "MONITOR").count();
    assert!(shown > 500, "MONITOR has shown {shown}");
    loop {
        let told = format!("{:?}", listener.receive().expect("a message"));
        let is_last = told.contains("done") || told.contains("100, 111, 110, 101");
        said.push(("PSUBSCRIBE".into(), told));
        if is_last {
            break;
        }
    }
    assert_eq!(tokens.len(), 80);
    let as_shown = |token: &str| format!("{:?}", token.as_bytes()).trim_matches(['[', ']']).to_owned();
    // Bulks are shown as lists of numbers, and other texts as they are.
    let needles: Vec<(String, String)> =
        tokens.iter().map(|token| (token.clone(), as_shown(token))).collect();
    let probe = format!("{:?}", Value::bulk(&tokens[0]));
    assert!(holds(probe.as_bytes(), needles[0].1.as_bytes()), "the search would find one: {probe}");
    for (from, said) in &said {
        for (token, bytes) in &needles {
            let found = [token, bytes].into_iter().find_map(|needle| said.find(needle.as_str()));
            if let Some(at) = found {
                // What is around it, and not all of a slow log.
                let around = said.get(at.saturating_sub(300)..(at + 200).min(said.len())).unwrap_or(said);
                panic!("{from}: {around}");
            }
        }
    }
    client.command("WAITAOF 1 0 0");
    let before = all_files(&server);
    client.command("BGSAVE");
    std::thread::sleep(Duration::from_millis(500));
    drop((monitor, listener, other, waiter));
    let after = all_files(&server);
    server.stop(rustix::process::Signal::TERM);
    let mut found: Vec<(String, Vec<u8>)> =
        before.into_iter().chain(after).chain(all_files(&server)).collect();
    found.push(("the server's log".into(), server.output().into_bytes()));
    assert!(found.iter().any(|(_, bytes)| holds(bytes, b"u19")), "the search would find what is there");
    for (file, bytes) in &found {
        for token in &tokens {
            assert!(!holds(bytes, token.as_bytes()), "{file} holds {token}");
            assert!(!holds(bytes, &raw(token)), "{file} holds the bytes of {token}");
        }
    }
    assert_eq!(raw(&tokens[0]).len(), 32);
}

fn all_files(server: &Server) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    files(&server.directory(), &mut found);
    assert!(found.len() >= 3, "only {} files", found.len());
    found
}
