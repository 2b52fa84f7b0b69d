//! Sorted sets: what the differential test can't see, because Redis 7.0 lacks it or chooses otherwise, and sizes that it rarely reaches.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::resp::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use support::draw::Draw;
use support::in_process::InProcess;
use support::resp::Reply;

fn run(server: &mut InProcess, line: &str) -> Reply {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = server.run(&args);
    Reply::parse(&reply).expect("a whole reply").0
}

fn bytes(server: &mut InProcess, line: &str) -> String {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    String::from_utf8_lossy(&server.run(&args)).replace("\r\n", "|")
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.elements.iter().map(|element| String::from_utf8_lossy(&element.text).into_owned()).collect()
}

fn add(server: &mut InProcess, key: &str, members: impl IntoIterator<Item = (f64, String)>) {
    let pairs: Vec<String> = members.into_iter().map(|(score, member)| format!("{score} {member}")).collect();
    for some in pairs.chunks(500) {
        run(server, &format!("ZADD {key} {}", some.join(" ")));
    }
}

/// `ZRANK … WITHSCORE` is of Redis 7.2.
#[test]
fn ranks_are_told_with_scores() {
    let mut server = InProcess::new();
    run(&mut server, "ZADD z 1 a 2.5 b 2.5 c");
    assert_eq!(bytes(&mut server, "ZRANK z b WITHSCORE"), "*2|:1|$3|2.5|");
    assert_eq!(bytes(&mut server, "ZREVRANK z b withscore"), "*2|:1|$3|2.5|");
    assert_eq!(bytes(&mut server, "ZREVRANK z a"), ":2|");
    assert_eq!(bytes(&mut server, "ZRANK z nobody WITHSCORE"), "*-1|");
    assert_eq!(bytes(&mut server, "ZRANK nothing a WITHSCORE"), "*-1|");
    assert_eq!(bytes(&mut server, "ZRANK z nobody"), "$-1|");
    assert_eq!(bytes(&mut server, "ZRANK z a WITHSCORES"), "-ERR syntax error|");
    assert_eq!(
        bytes(&mut server, "ZRANK z a WITHSCORE x"),
        "-ERR wrong number of arguments for 'zrank' command|"
    );
    server.set_protocol(Protocol::Resp3);
    assert_eq!(bytes(&mut server, "ZRANK z b WITHSCORE"), "*2|:1|,2.5|");
    assert_eq!(bytes(&mut server, "ZRANK z nobody WITHSCORE"), "_|");
}

#[test]
fn minus_zero_is_zero() {
    let mut server = InProcess::new();
    let long = "x".repeat(100);
    run(&mut server, &format!("ZADD z -0 a -0.0 {long}"));
    assert_eq!(bytes(&mut server, "ZRANGE z 0 -1 WITHSCORES"), format!("*4|$1|a|$1|0|$100|{long}|$1|0|"));
    assert_eq!(bytes(&mut server, "ZINCRBY other -0 a"), "$2|-0|");
    assert_eq!(bytes(&mut server, "ZSCORE other a"), "$1|0|");
}

#[test]
fn encodings_are_told_as_redis_would() {
    let mut server = InProcess::new();
    add(&mut server, "z", (0..128).map(|n| (f64::from(n), format!("m{n}"))));
    assert_eq!(run(&mut server, "OBJECT ENCODING z").text, b"listpack");
    run(&mut server, "ZADD z 1 another");
    assert_eq!(run(&mut server, "OBJECT ENCODING z").text, b"skiplist");
    run(&mut server, &format!("ZADD long 1 {}", "x".repeat(65)));
    assert_eq!(run(&mut server, "OBJECT ENCODING long").text, b"skiplist");
    server.settings.zset_max_listpack_entries = 1;
    run(&mut server, "ZADD two 1 a 2 b");
    assert_eq!(run(&mut server, "OBJECT ENCODING two").text, b"skiplist");
}

/// Without anyone to wait for: what is there is taken, and else nothing.
#[test]
fn blocking_commands_take_what_is_there() {
    let mut server = InProcess::new();
    run(&mut server, "ZADD z 1 a 2 b 3 c 4 d");
    assert_eq!(bytes(&mut server, "BZPOPMIN nothing z 0"), "*3|$1|z|$1|a|$1|1|");
    assert_eq!(bytes(&mut server, "BZPOPMAX z 0"), "*3|$1|z|$1|d|$1|4|");
    assert_eq!(
        bytes(&mut server, "BZMPOP 0 2 nothing z MIN COUNT 5"),
        "*2|$1|z|*2|*2|$1|b|$1|2|*2|$1|c|$1|3|"
    );
    assert_eq!(bytes(&mut server, "BZPOPMIN z 0"), "*-1|");
    assert_eq!(bytes(&mut server, "BZPOPMIN z never"), "-ERR timeout is not a float or out of range|");
    assert_eq!(bytes(&mut server, "EXISTS z"), ":0|");
}

/// Sizes on both sides of the flat form, and counts on both sides of what is worth a walk.
#[test]
fn members_are_drawn_each_once_and_all_are_possible() {
    for (size, count) in [(10u32, 3), (10, 9), (300, 3), (300, 200)] {
        let mut server = InProcess::new();
        let all: BTreeSet<String> = (0..size).map(|number| format!("m{number}")).collect();
        add(&mut server, "z", all.iter().map(|member| (1.0, member.clone())));
        let mut drawn = BTreeSet::new();
        for _ in 0..40 * size / count {
            let some = texts(&run(&mut server, &format!("ZRANDMEMBER z {count}")));
            let distinct: BTreeSet<&String> = some.iter().collect();
            assert_eq!((some.len(), distinct.len()), (count as usize, count as usize));
            drawn.extend(some);
        }
        assert_eq!(drawn, all, "{count} of {size}");
        let repeated = texts(&run(&mut server, &format!("ZRANDMEMBER z -{}", size * 2)));
        assert!(repeated.len() == size as usize * 2 && repeated.iter().all(|member| all.contains(member)));
    }
}

/// Members that are there throughout are seen, whatever becomes of their scores and of the others.
#[test]
fn a_scan_sees_what_stays() {
    let mut random = Draw::new(11);
    let mut server = InProcess::new();
    let stays: BTreeSet<String> = (0..700).map(|number| format!("stays{number}")).collect();
    add(&mut server, "z", stays.iter().map(|member| (0.0, member.clone())));
    let (mut seen, mut cursor, mut others) = (BTreeSet::new(), "0".to_owned(), 0);
    loop {
        let reply = run(&mut server, &format!("ZSCAN z {cursor} COUNT 7"));
        let [next, members] = &reply.elements[..] else { panic!("not a scan: {reply:?}") };
        seen.extend(texts(members).into_iter().step_by(2));
        cursor = String::from_utf8_lossy(&next.text).into_owned();
        if cursor == "0" {
            break;
        }
        for _ in 0..10 {
            let score = random.below(1000);
            run(&mut server, &format!("ZADD z {score} stays{} {score} other{others}", random.below(700)));
            run(&mut server, &format!("ZREM z other{}", random.below(others + 1)));
            others += 1;
        }
    }
    assert!(stays.is_subset(&seen));
}

/// A large set by commands, beside a model.
#[test]
fn large_sets_answer_as_small_ones_do() {
    let mut random = Draw::new(5);
    let mut server = InProcess::new();
    let mut model: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..300u32 {
        let mut line = "ZADD z".to_owned();
        for _ in 0..=random.below(60) {
            let (score, member) = (random.between(-1000, 999), format!("m{}", random.below(4000)));
            line += &format!(" {score} {member}");
            model.insert(member, score);
        }
        run(&mut server, &line);
        let mut order: Vec<(i64, String)> =
            model.iter().map(|(member, score)| (*score, member.clone())).collect();
        order.sort();
        let names =
            |part: &[(i64, String)]| part.iter().map(|(_, member)| member.clone()).collect::<Vec<_>>();
        let (least, most) = (random.between(-1000, 999), random.between(-1000, 999));
        let start = order.partition_point(|(score, _)| *score < least);
        let end = order.partition_point(|(score, _)| *score < most).max(start);
        assert_eq!(
            texts(&run(&mut server, &format!("ZRANGE z {least} ({most} BYSCORE"))),
            names(&order[start..end])
        );
        assert_eq!(
            run(&mut server, &format!("ZCOUNT z {least} ({most}")).integer(),
            Some((end - start) as i64)
        );
        let mut reverse = names(&order[start..end]);
        reverse.reverse();
        let page: Vec<String> = reverse.iter().skip(3).take(10).cloned().collect();
        let query = format!("ZREVRANGEBYSCORE z ({most} {least} LIMIT 3 10");
        assert_eq!(texts(&run(&mut server, &query)), page);
        let at = random.below(order.len());
        let (score, member) = &order[at];
        assert_eq!(run(&mut server, &format!("ZRANK z {member}")).integer(), Some(at as i64));
        assert_eq!(run(&mut server, &format!("ZSCORE z {member}")).text, score.to_string().into_bytes());
        assert_eq!(run(&mut server, "ZCARD z").integer(), Some(order.len() as i64));
        match round % 10 {
            3 => {
                let removed = run(&mut server, &format!("ZREMRANGEBYSCORE z {least} ({most}"));
                assert_eq!(removed.integer(), Some((end - start) as i64));
                model.retain(|_, score| !(least..most).contains(score));
            }
            6 => {
                let popped = texts(&run(&mut server, "ZPOPMAX z 40"));
                let expected: Vec<String> = names(&order).into_iter().rev().take(40).collect();
                assert_eq!(popped.into_iter().step_by(2).collect::<Vec<_>>(), expected);
                model.retain(|member, _| !expected.contains(member));
            }
            9 => {
                let gone: Vec<String> = names(&order).into_iter().step_by(3).collect();
                run(&mut server, &format!("ZREM z {}", gone.join(" ")));
                model.retain(|member, _| !gone.contains(member));
            }
            _ => {}
        }
    }
}
