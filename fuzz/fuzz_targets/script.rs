//! Scripts of anybody: any source, any arguments, run on the real engine. A reply or an error, in time, within its memory, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::Options;
use sessile::fuzzing::Input;
use sessile_fuzz::bench::Bench;
use sessile_fuzz::resp::Value;
use std::cell::RefCell;

/// A server takes so many scripts before there is a new one: making one, with its VM, takes a few milliseconds.
const SCRIPTS_MAX: u32 = 500;

thread_local! {
    static BENCH: RefCell<Option<(Bench, u32)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| BENCH.with_borrow_mut(|slot| {
    if slot.as_ref().is_some_and(|(_, scripts)| *scripts > SCRIPTS_MAX) {
        *slot = None;
    }
    let limits = [("script-time-limit", "40"), ("script-memory-limit", "8mb")];
    let (bench, scripts) =
        slot.get_or_insert_with(|| (Bench::new(Options::new().manual_background(), &limits), 0));
    *scripts += 1;
    let mut input = Input::new(bytes);
    let shape = input.byte();
    bench.ask(&["HELLO", if shape & 1 == 0 { "2" } else { "3" }]);
    bench.ask(&["FLUSHALL"]);
    bench.ask(&["SET", "key", "17"]);
    bench.ask(&["RPUSH", "list", "a", "b", "c"]);
    bench.ask(&["ZADD", "scores", "1.5", "one", "inf", "two"]);
    bench.ask(&["HSET", "hash", "field", "value"]);
    let arguments: Vec<Vec<u8>> = (0..input.byte() % 4).map(|_| input.slice(40).to_vec()).collect();
    let keys = input.below(arguments.len() + 1).to_string();
    let source = input.rest();
    let name: &[u8] = match shape >> 1 & 3 {
        0 => b"EVAL_RO",
        1 => b"SCRIPT",
        _ => b"EVAL",
    };
    let reply = if name == b"SCRIPT" {
        bench.ask(&[b"FUNCTION", &b"LOAD"[..], b"REPLACE", source])
    } else {
        let mut args = vec![name.to_vec(), source.to_vec(), keys.into_bytes()];
        args.extend(arguments);
        bench.ask(&args)
    };
    if name == b"SCRIPT" && matches!(reply, Value::Bulk(_)) {
        bench.ask(&["FUNCTION", "LIST", "WITHCODE"]);
        bench.ask(&["FCALL", "f", "1", "key", "argument"]);
        bench.ask(&["FUNCTION", "FLUSH"]);
    }
    // The next script finds everything as it was.
    let again = bench.ask(&["EVAL", "return type(redis) .. #ARGV", "0", "x"]);
    assert_eq!(again, Value::Bulk(b"table1".to_vec()));
    bench.db.verify().expect("what is counted is there");
}));
