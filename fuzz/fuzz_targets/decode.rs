//! What scripts decode: JSON, MessagePack, C structs, patterns and formats, of any bytes. What was decoded and is encoded again decodes to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile::Options;
use sessile::fuzzing::Input;
use sessile_fuzz::bench::Bench;
use sessile_fuzz::resp::Value;
use std::cell::RefCell;

const RUNS_MAX: u32 = 5_000;

/// Each gets two arguments, any bytes, and answers a string and what it becomes the second time.
const SCRIPTS: [&str; 8] = [
    "local first = cjson.encode(cjson.decode(ARGV[2])); return {first, cjson.encode(cjson.decode(first))}",
    "local first = cmsgpack.pack(cmsgpack.unpack(ARGV[2])); return {first, cmsgpack.pack(cmsgpack.unpack(first))}",
    "local first = struct.pack(ARGV[1], struct.unpack(ARGV[1], ARGV[2])); return {first, struct.pack(ARGV[1], struct.unpack(ARGV[1], first))}",
    "return {#tostring(struct.size(ARGV[1])), struct.unpack(ARGV[1], ARGV[2], tonumber(ARGV[2]) or 1)}",
    "return {string.find(ARGV[2], ARGV[1]) or 0, (string.gsub(ARGV[2], ARGV[1], '%0%1'))}",
    "return {string.format(ARGV[1], ARGV[2], 7, 1.5, 'x', -3)}",
    "return {cmsgpack.unpack_limit(ARGV[2], 3, #ARGV[1] % (#ARGV[2] + 1))}",
    "cjson.decode_max_depth(9); cjson.encode_max_depth(7); cjson.encode_sparse_array(true, 2, 3); return {cjson.encode(cjson.decode(ARGV[2]))}",
];

thread_local! {
    static BENCH: RefCell<Option<(Bench, u32)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    BENCH.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(|(_, runs)| *runs > RUNS_MAX) {
            *slot = None;
        }
        let limits = [("script-time-limit", "40"), ("script-memory-limit", "8mb")];
        let (bench, runs) =
            slot.get_or_insert_with(|| (Bench::new(Options::new().manual_background(), &limits), 0));
        *runs += 1;
        let mut input = Input::new(bytes);
        let number = input.below(SCRIPTS.len());
        let (format, data) = (input.slice(60), input.rest());
        let reply = bench.ask(&[b"EVAL", SCRIPTS[number].as_bytes(), b"0", format, data]);
        let Value::Array(parts) = reply else {
            assert!(matches!(reply, Value::Error(_)), "{reply:?}");
            return;
        };
        // Objects of JSON and maps of MessagePack have their members in the order of a table, which may be another the second time. What is nested too
        // deeply for MessagePack becomes nil, and a table of nil is empty.
        let is_kept = |byte: &u8| !matches!(byte, 0x80..=0x8F | 0xC0 | 0xDE..=0xDF);
        let ordered = match number {
            0 => !data.contains(&b'{'),
            1 => matches!(parts.first(), Some(Value::Bulk(bytes)) if bytes.iter().all(is_kept)),
            2 => true,
            _ => false,
        };
        if ordered {
            assert_eq!(parts[0], parts[1], "{}", String::from_utf8_lossy(data));
        }
    })
});
