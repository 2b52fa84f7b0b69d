//! `SORT` where it reads keys that are not its arguments: as one moment shows them, while others change them, and when they are on disk.
#![expect(clippy::disallowed_methods, reason = "a real process on a real disk")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::{Server, ServerOptions, Value};

/// Elements, each with a weight and a value at keys of their own.
const ELEMENTS: usize = 300;

fn bulk(number: usize) -> Value {
    Value::bulk(number.to_string())
}

/// Writers give all weights and values a new generation at once; a reader never sees two of them in one answer, whatever locks were held when it
/// asked for them.
#[test]
fn what_is_read_is_of_one_moment() {
    let server = Server::start(ServerOptions::new("no").with("io-threads", "4"));
    let mut client = server.client();
    let elements: Vec<String> = (0..ELEMENTS).map(|number| format!("e{number}")).collect();
    client.call(&[&["RPUSH".to_owned(), "list".to_owned()], &elements[..]].concat()).expect("pushed");
    let generation = |generation: usize| {
        let pairs = elements.iter().enumerate().flat_map(|(number, element)| {
            // Each generation turns the order round.
            let weight = if generation.is_multiple_of(2) { number } else { ELEMENTS - number };
            [format!("w:{element}"), weight.to_string(), format!("v:{element}"), generation.to_string()]
        });
        std::iter::once("MSET".to_owned()).chain(pairs).collect::<Vec<_>>()
    };
    assert_eq!(client.call(&generation(0)).expect("set"), Value::ok());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (mut client, generation, over) = (server.client(), &generation, &over);
            scope.spawn(move || {
                let mut number = writer;
                while !over.load(Relaxed) {
                    number += 2;
                    assert_eq!(client.call(&generation(number)).expect("set"), Value::ok());
                }
            });
        }
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut client = server.client();
                scope.spawn(move || {
                    let mut seen = std::collections::BTreeSet::new();
                    for _ in 0..150 {
                        let reply = client.command("SORT list BY w:* GET # GET v:*");
                        let rows = reply.items();
                        assert_eq!(rows.len(), 2 * ELEMENTS, "{reply:?}");
                        let generation = rows[1].text();
                        assert!(
                            rows.iter().skip(1).step_by(2).all(|row| row.text() == generation),
                            "{reply:?}"
                        );
                        let first = if generation.parse::<usize>().expect("a number") % 2 == 0 {
                            0
                        } else {
                            ELEMENTS - 1
                        };
                        assert_eq!(rows[0].text(), format!("e{first}"));
                        seen.insert(generation);
                    }
                    seen.len()
                })
            })
            .collect();
        let seen: Vec<usize> = readers.into_iter().map(|reader| reader.join().expect("no panic")).collect();
        over.store(true, Relaxed);
        assert!(seen.iter().all(|&generations| generations > 1), "nobody wrote meanwhile: {seen:?}");
    });
}

/// Everything is on disk when it is asked for: the list, the weights, the values.
#[test]
fn keys_on_disk_are_read_as_well() {
    let server = Server::start(ServerOptions::new("no").with("maxmemory", "1"));
    let mut client = server.client();
    for number in 0..ELEMENTS {
        client.command(&format!("RPUSH list {number}"));
        client.command(&format!("SET w:{number} {}", (number * 7) % ELEMENTS));
        client.command(&format!("HSET h:{number} field {}", number * 2));
    }
    assert_eq!(client.command("SAVE"), Value::ok());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let info = client.command("INFO storage").text();
        let cold = info.lines().find_map(|line| line.strip_prefix("values_cold:")?.parse::<usize>().ok());
        if cold.is_some_and(|cold| cold > 2 * ELEMENTS - 10) {
            break;
        }
        assert!(Instant::now() < deadline, "values should leave memory: {info}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut order: Vec<usize> = (0..ELEMENTS).collect();
    order.sort_by_key(|number| (number * 7) % ELEMENTS);
    let reply = client.command("SORT list BY w:* GET # GET h:*->field LIMIT 5 100");
    let expected: Vec<Value> =
        order[5..105].iter().flat_map(|&number| [bulk(number), bulk(number * 2)]).collect();
    assert_eq!(reply, Value::Array(expected));
    assert_eq!(client.command("SORT list BY w:* DESC STORE result"), Value::Integer(ELEMENTS as i64));
    order.reverse();
    let expected = order.iter().map(|&number| bulk(number)).collect();
    assert_eq!(client.command("LRANGE result 0 -1"), Value::Array(expected));
}

/// A set has no order, and a script must not depend on how it is kept.
#[test]
fn a_script_sees_a_set_in_order() {
    let server = Server::start(ServerOptions::new("no"));
    let mut client = server.client();
    client.command("SADD set pear apple plum 10 9");
    let script = "return redis.call('SORT', KEYS[1], 'BY', 'nosort')";
    let sorted = ["10", "9", "apple", "pear", "plum"].map(Value::bulk).to_vec();
    assert_eq!(client.call(&["EVAL", script, "1", "set"]).expect("a reply"), Value::Array(sorted));
    // And keys that nobody has named are read all the same.
    for (weight, member) in ["apple", "plum", "10", "pear", "9"].iter().enumerate() {
        client.command(&format!("SET w:{member} {weight}"));
    }
    let script = "return redis.call('SORT', KEYS[1], 'BY', 'w:*', 'LIMIT', 1, 2)";
    let middle = ["plum", "10"].map(Value::bulk).to_vec();
    assert_eq!(client.call(&["EVAL", script, "1", "set"]).expect("a reply"), Value::Array(middle));
    client.command("MULTI");
    client.command("SET w:10 -1");
    client.command("SORT set BY w:* LIMIT 0 1");
    assert_eq!(client.command("EXEC"), Value::Array(vec![Value::ok(), Value::Array(vec![bulk(10)])]));
}

#[test]
fn only_who_may_read_any_key_sorts_by_others() {
    let server = Server::start(ServerOptions::new("no"));
    let mut client = server.client();
    for command in [
        "RPUSH list:1 2 1",
        "SET secret:1 5",
        "SET secret:2 4",
        "ACL SETUSER some on nopass ~list:* +@all",
        "ACL SETUSER any on nopass %R~* ~list:* +@all",
    ] {
        client.command(command);
    }
    let denied = "ERR BY option of SORT denied due to insufficient ACL permissions.";
    let mut some = server.client();
    assert_eq!(some.command("AUTH some x"), Value::ok());
    assert!(some.command("SORT list:1 BY secret:*").is_error(denied));
    assert!(some.command("SORT_RO list:1 GET #").is_error("ERR GET option of SORT denied"));
    assert_eq!(some.command("SORT list:1 BY nosort"), Value::Array(vec![bulk(2), bulk(1)]));
    assert!(some.command("SORT list:1 STORE other").is_error("NOPERM"));
    assert_eq!(some.command("SORT list:1"), Value::Array(vec![bulk(1), bulk(2)]));
    let mut any = server.client();
    assert_eq!(any.command("AUTH any x"), Value::ok());
    assert_eq!(any.command("SORT list:1 BY secret:*"), Value::Array(vec![bulk(2), bulk(1)]));
}
