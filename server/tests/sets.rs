//! Sets: what the differential test can't see, because Redis chooses otherwise or has no such limit.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::resp::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use support::in_process::InProcess;
use support::resp::Reply;

fn run(server: &mut InProcess, line: &str) -> Reply {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let reply = server.run(&args);
    Reply::parse(&reply).expect("a whole reply").0
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.elements.iter().map(|element| String::from_utf8_lossy(&element.text).into_owned()).collect()
}

fn add(server: &mut InProcess, key: &str, members: impl IntoIterator<Item = String>) {
    for some in members.into_iter().collect::<Vec<_>>().chunks(500) {
        run(server, &format!("SADD {key} {}", some.join(" ")));
    }
}

#[test]
fn small_sets_of_integers_are_listed_in_order() {
    let mut server = InProcess::new();
    add(&mut server, "numbers", ["3", "-1", "20", "100", "7"].map(str::to_owned));
    assert_eq!(texts(&run(&mut server, "SMEMBERS numbers")), ["-1", "3", "7", "20", "100"]);
    assert_eq!(texts(&run(&mut server, "SUNION numbers nothing")), ["-1", "3", "7", "20", "100"]);
    assert_eq!(run(&mut server, "OBJECT ENCODING numbers").text, b"intset");
    run(&mut server, "SADD numbers word");
    assert_eq!(run(&mut server, "OBJECT ENCODING numbers").text, b"hashtable");
    add(&mut server, "many", (0..512).map(|number| number.to_string()));
    assert_eq!(run(&mut server, "OBJECT ENCODING many").text, b"intset");
    run(&mut server, "SADD many 512");
    assert_eq!(run(&mut server, "OBJECT ENCODING many").text, b"hashtable");
}

/// Sizes on both sides of the flat form, and counts on both sides of what is worth a walk.
#[test]
fn members_are_drawn_evenly_and_each_once() {
    for (size, count) in [(10u32, 3), (10, 9), (300, 3), (300, 200), (5_000, 40)] {
        let mut server = InProcess::new();
        let all: BTreeSet<String> = (0..size).map(|number| format!("m{number}")).collect();
        add(&mut server, "set", all.iter().cloned());
        let mut drawn = BTreeMap::new();
        let rounds = 40 * size / count;
        for _ in 0..rounds {
            let some = texts(&run(&mut server, &format!("SRANDMEMBER set {count}")));
            let distinct: BTreeSet<&String> = some.iter().collect();
            assert_eq!((some.len(), distinct.len()), (count as usize, count as usize));
            assert!(some.iter().all(|member| all.contains(member)));
            some.into_iter().for_each(|member| *drawn.entry(member).or_insert(0u32) += 1);
        }
        // Forty each are expected; a fair draw stays within six deviations of that.
        let expected = f64::from(rounds * count) / f64::from(size);
        for member in &all {
            let times = f64::from(drawn.get(member).copied().unwrap_or(0));
            assert!(
                (times - expected).abs() < 6.5 * expected.sqrt(),
                "{member} {times} times of {expected}, {size} {count}"
            );
        }
    }
}

#[test]
fn what_is_popped_is_gone_and_was_there() {
    for (size, count) in [(6u32, 1), (100, 7), (700, 7), (700, 500)] {
        let mut server = InProcess::new();
        server.set_protocol(Protocol::Resp3);
        let mut left: BTreeSet<String> = (0..size).map(|number| number.to_string()).collect();
        add(&mut server, "set", left.iter().cloned());
        while !left.is_empty() {
            let popped = if count == 1 {
                vec![String::from_utf8(run(&mut server, "SPOP set").text).expect("digits")]
            } else {
                let reply = run(&mut server, &format!("SPOP set {count}"));
                assert_eq!(reply.kind, b'~');
                texts(&reply)
            };
            assert_eq!(popped.len(), left.len().min(count));
            assert!(popped.iter().all(|member| left.remove(member)));
            let members: BTreeSet<String> = texts(&run(&mut server, "SMEMBERS set")).into_iter().collect();
            assert_eq!(members, left);
        }
        assert_eq!(run(&mut server, "EXISTS set").integer(), Some(0));
    }
}

#[test]
fn a_scan_sees_each_member_that_stays() {
    let mut server = InProcess::new();
    add(&mut server, "set", (0..3_000).map(|number| format!("stays{number}")));
    let (mut cursor, mut seen, mut step) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let reply = run(&mut server, &format!("SSCAN set {cursor} COUNT 17 MATCH stays*"));
        cursor = String::from_utf8(reply.elements[0].text.clone()).expect("digits");
        seen.extend(texts(&reply.elements[1]));
        if cursor == "0" {
            break;
        }
        step += 1;
        add(&mut server, "set", (0..40).map(|number| format!("comes{step}:{number}")));
        run(&mut server, &format!("SREM set comes{}:1 comes{}:2", step - 1, step - 1));
    }
    assert_eq!(seen.len(), 3_000);
}

/// All ways to combine sets of all sizes, against a model.
#[test]
fn large_and_small_sets_are_combined_alike() {
    let mut server = InProcess::new();
    let range = |range: std::ops::Range<u32>, step: usize| -> BTreeSet<String> {
        range.step_by(step).map(|number| format!("m{number}")).collect()
    };
    let sets = [
        range(0..4_000, 1),
        range(0..4_000, 2),
        range(100..200, 1),
        range(0..4_000, 7),
        range(3_990..4_010, 1),
        BTreeSet::new(),
    ];
    for (number, set) in sets.iter().enumerate() {
        add(&mut server, &format!("s{number}"), set.iter().cloned());
    }
    for mask in 1..1 << sets.len() {
        let chosen: Vec<usize> = (0..sets.len()).filter(|number| mask >> number & 1 == 1).collect();
        // Either end first: a difference is of the first one.
        for order in [chosen.clone(), chosen.iter().rev().copied().collect()] {
            let keys = order.iter().map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
            let (first, others) = order.split_first().expect("not empty");
            let mut expected = [sets[*first].clone(), sets[*first].clone(), sets[*first].clone()];
            for other in others.iter().map(|number| &sets[*number]) {
                expected[0].extend(other.iter().cloned());
                expected[1].retain(|member| other.contains(member));
                expected[2].retain(|member| !other.contains(member));
            }
            for (name, expected) in ["SUNION", "SINTER", "SDIFF"].iter().zip(&expected) {
                let result = texts(&run(&mut server, &format!("{name} {keys}")));
                assert_eq!(result.len(), expected.len(), "{name} {keys}");
                assert_eq!(&result.into_iter().collect::<BTreeSet<_>>(), expected, "{name} {keys}");
                let stored = run(&mut server, &format!("{name}STORE result {keys}"));
                assert_eq!(stored.integer(), Some(expected.len() as i64));
                let result = texts(&run(&mut server, "SMEMBERS result"));
                assert_eq!(&result.into_iter().collect::<BTreeSet<_>>(), expected, "{name}STORE {keys}");
            }
            let count = run(&mut server, &format!("SINTERCARD {} {keys}", order.len()));
            assert_eq!(count.integer(), Some(expected[1].len() as i64));
            let count = run(&mut server, &format!("SINTERCARD {} {keys} LIMIT 5", order.len()));
            assert_eq!(count.integer(), Some(expected[1].len().min(5) as i64));
        }
    }
}

/// Redis has no limit here but memory.
#[test]
fn a_large_negative_count_is_bounded() {
    let mut server = InProcess::new();
    server.settings.proto_max_bulk_len = 1 << 20;
    run(&mut server, "SADD set a b c");
    assert_eq!(run(&mut server, "SRANDMEMBER set -50000").elements.len(), 50_000);
    assert_eq!(run(&mut server, "SRANDMEMBER set -9223372036854775807").kind, b'-');
}
