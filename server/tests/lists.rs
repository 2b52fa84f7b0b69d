//! Lists: what commands answer, byte for byte, and what the differential test can't see: large lists, and both of their forms.

#![allow(unreachable_pub, reason = "nothing can be reached from outside of a test binary")]

mod support;

use sessile_server::resp::Protocol;
use std::collections::VecDeque;
use support::draw::Draw;
use support::in_process::InProcess;
use support::resp::Reply;

#[test]
fn elements_come_and_go_at_both_ends() {
    InProcess::new().converse(
        "RPUSH l b c => :2
        LPUSH l a z => :4
        LRANGE l 0 -1 => *4|$1|z|$1|a|$1|b|$1|c
        LRANGE l -2 100 => *2|$1|b|$1|c
        LRANGE l 2 1 => *0
        LPUSHX missing a => :0
        EXISTS missing => :0
        RPUSHX l d => :5
        LPOP l => $1|z
        RPOP l 2 => *2|$1|d|$1|c
        LPOP l 0 => *0
        LPOP missing => $-1
        LPOP missing 1 => *-1
        LPOP l -1 => -ERR value is out of range, must be positive
        LPOP l 1 2 => -ERR wrong number of arguments for 'lpop' command
        LLEN l => :2
        LPOP l 9 => *2|$1|a|$1|b
        EXISTS l => :0
        SET s v => +OK
        LPUSH s a => -WRONGTYPE Operation against a key holding the wrong kind of value
        TYPE l => +none",
    );
}

#[test]
fn elements_are_found_and_changed() {
    InProcess::new().converse(
        "RPUSH l a b a c a => :5
        LINDEX l -1 => $1|a
        LINDEX l 5 => $-1
        LINDEX missing x => $-1
        LSET l 1 B => +OK
        LSET l 9 x => -ERR index out of range
        LSET missing x x => -ERR no such key
        LPOS l a => :0
        LPOS l a RANK -1 => :4
        LPOS l a RANK 2 COUNT 0 => *2|:2|:4
        LPOS l a COUNT 0 MAXLEN 3 => *2|:0|:2
        LPOS l a RANK 0 => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
        LPOS l x => $-1
        LPOS missing x COUNT 0 => *0
        LINSERT l BEFORE c x => :6
        LINSERT l after nothing x => :-1
        LINSERT missing AFTER a x => :0
        LREM l -2 a => :2
        LRANGE l 0 -1 => *4|$1|a|$1|B|$1|x|$1|c
        LTRIM l 1 -2 => +OK
        LRANGE l 0 -1 => *2|$1|B|$1|x
        LTRIM l 5 9 => +OK
        EXISTS l => :0",
    );
}

#[test]
fn elements_move_between_lists() {
    InProcess::new().converse(
        "RPUSH l a b c => :3
        LMOVE l l LEFT RIGHT => $1|a
        LRANGE l 0 -1 => *3|$1|b|$1|c|$1|a
        RPOPLPUSH l m => $1|a
        LMOVE l m up RIGHT => -ERR syntax error
        SET s v => +OK
        LMOVE l s LEFT RIGHT => -WRONGTYPE Operation against a key holding the wrong kind of value
        LLEN l => :2
        LMOVE missing s LEFT RIGHT => $-1
        LMPOP 3 missing m l LEFT COUNT 5 => *2|$1|m|*1|$1|a
        EXISTS m => :0
        LMPOP 0 m LEFT => -ERR numkeys should be greater than 0
        LMPOP 1 l LEFT COUNT 0 => -ERR count should be greater than 0
        LMPOP 2 l LEFT => -ERR syntax error
        RPUSH one x => :1
        LMOVE one one RIGHT RIGHT => $1|x
        LRANGE one 0 -1 => *1|$1|x",
    );
}

#[test]
fn a_mistake_is_told_whether_or_not_there_is_something_to_take() {
    InProcess::new().converse(
        "BLPOP l x => -ERR timeout is not a float or out of range
        BLPOP l -1 => -ERR timeout is negative
        BLPOP l inf => -ERR timeout is negative
        RPUSH l a b c d => :4
        BLPOP l -1 => -ERR timeout is negative
        BLPOP missing l 0 => *2|$1|l|$1|a
        BRPOP l 0.001 => *2|$1|l|$1|d
        BLMOVE l m RIGHT LEFT x => -ERR timeout is not a float or out of range
        BLMOVE l m RIGHT up x => -ERR syntax error
        BLMOVE l m RIGHT LEFT 0 => $1|c
        BLMPOP x 1 l LEFT => -ERR timeout is not a float or out of range
        BLMPOP x 0 l LEFT => -ERR numkeys should be greater than 0
        BLMPOP 0 1 l LEFT => *2|$1|l|*1|$1|b
        SET s v => +OK
        BLPOP missing s 0 => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

fn number(draw: &mut Draw, below: usize) -> String {
    draw.below(below).to_string()
}

/// Runs a command on a large list and on a copy that a `VecDeque` holds.
fn step(draw: &mut Draw, server: &mut InProcess, model: &mut VecDeque<Vec<u8>>) {
    let length = model.len();
    let element = vec![b'a' + draw.below(26) as u8; *draw.of(&[1, 1, 1, 200, 5000])];
    let index = draw.below(length.max(1));
    let at = index.to_string();
    let integer =
        |reply: Vec<u8>| Reply::parse(&reply).and_then(|(reply, _)| reply.integer()).expect("an integer");
    match draw.below(8) {
        0 => {
            let pivot = model[index].clone();
            let first = model.iter().position(|other| *other == pivot).expect("it is there");
            model.insert(first + 1, element.clone());
            assert_eq!(
                integer(server.run(&[b"LINSERT", b"l", b"AFTER", &pivot, &element])),
                length as i64 + 1
            );
        }
        1 => {
            model[index] = element.clone();
            assert_eq!(server.run(&[b"LSET", b"l", at.as_bytes(), &element]), b"+OK\r\n");
        }
        2 => {
            let count = number(draw, 60);
            let most = count.parse::<usize>().expect("a number");
            let mut left = if most == 0 { usize::MAX } else { most };
            model.retain(|other| {
                let gone = left > 0 && *other == element;
                left -= usize::from(gone);
                !gone
            });
            let removed = (length - model.len()) as i64;
            assert_eq!(integer(server.run(&[b"LREM", b"l", count.as_bytes(), &element])), removed);
        }
        3 if length > 3000 => {
            let (from, to) = (draw.below(300), length - 1 - draw.below(300));
            *model = model.drain(from..=to).collect();
            let (from, to) = (from.to_string(), to.to_string());
            assert_eq!(server.run(&[b"LTRIM", b"l", from.as_bytes(), to.as_bytes()]), b"+OK\r\n");
        }
        4 => {
            let popped = model.pop_back().expect("there is one");
            model.push_front(popped);
            server.run(&[b"RPOPLPUSH", b"l", b"l"]);
        }
        5 => {
            let found: Vec<i64> =
                (0..length).filter(|&at| model[at] == element).map(|at| at as i64).take(3).collect();
            let (reply, _) =
                Reply::parse(&server.run(&[b"LPOS", b"l", &element, b"COUNT", b"3"])).expect("a reply");
            assert_eq!(reply.elements.iter().filter_map(Reply::integer).collect::<Vec<_>>(), found);
        }
        _ => {
            let elements: Vec<Vec<u8>> =
                (0..draw.below(300)).map(|_| vec![b'a' + draw.below(26) as u8; draw.below(80)]).collect();
            for element in &elements {
                model.push_back(element.clone());
            }
            let mut args: Vec<&[u8]> = vec![b"RPUSH", b"l", b"last"];
            args.splice(2..2, elements.iter().map(Vec::as_slice));
            model.push_back(b"last".to_vec());
            assert_eq!(integer(server.run(&args)), model.len() as i64);
        }
    }
}

#[test]
fn a_large_list_is_what_it_should_be() {
    let seed = std::env::var("SESSILE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("SESSILE_SEED={seed}");
    let mut draw = Draw::new(seed);
    let mut server = InProcess::new();
    let mut model: VecDeque<Vec<u8>> = VecDeque::from([b"first".to_vec()]);
    server.run(&[b"RPUSH", b"l", b"first"]);
    for turn in 0..600 {
        step(&mut draw, &mut server, &mut model);
        if turn % 20 == 0 {
            let (all, _) = Reply::parse(&server.run(&[b"LRANGE", b"l", b"0", b"-1"])).expect("a reply");
            assert!(all.elements.iter().map(|element| &element.text).eq(&model), "turn {turn}");
            for _ in 0..20 {
                let at = draw.below(model.len());
                let back = format!("-{}", model.len() - at);
                for index in [at.to_string(), back] {
                    let (reply, _) =
                        Reply::parse(&server.run(&[b"LINDEX", b"l", index.as_bytes()])).expect("a reply");
                    assert_eq!(reply.text, model[at]);
                }
            }
        }
    }
    server.set_protocol(Protocol::Resp3);
    assert_eq!(server.run(&[b"LPOP", b"nothing", b"1"]), b"_\r\n");
}
