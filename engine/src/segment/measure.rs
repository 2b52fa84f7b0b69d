//! What segments cost in bytes and time: `cargo test --release -p sessile --lib measure -- --ignored --nocapture`.

use super::samples::{chat, session, slices};
use super::*;
use crate::compression::Compressor;
use crate::dictionary::Dictionary;
use crate::idle;
use sessile_wal::{Clock, RealFs, SystemClock};
use std::hint::black_box;
use std::sync::Arc;

const OBJECTS: u64 = 50_000;

fn seconds() -> f64 {
    SystemClock.monotonic_ns() as f64 / 1e9
}

/// Microseconds per object, of the best of five runs over all of them.
fn best_us(objects: &[Vec<u8>], mut run: impl FnMut()) -> f64 {
    let times = (0..5).map(|_| {
        let start = seconds();
        run();
        (seconds() - start) * 1e6 / objects.len() as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn mean_bytes(objects: &[Vec<u8>]) -> f64 {
    objects.iter().map(Vec::len).sum::<usize>() as f64 / objects.len() as f64
}

fn trained(of: impl Fn(u64) -> Vec<u8>) -> Arc<Dictionary> {
    let samples: Vec<Vec<u8>> = (1_000_000..1_005_000).map(of).collect();
    let start = seconds();
    let (dictionary, gain) = Dictionary::train(1, &slices(&samples), 16 << 10).expect("alike");
    println!("trained on {} in {:.3} s: {gain:?}", samples.len(), seconds() - start);
    println!("it takes {} bytes of memory", dictionary.memory_bytes());
    Arc::new(dictionary)
}

/// What the levels of zstd make of the objects.
fn levels(objects: &[Vec<u8>], dictionary: &Dictionary) {
    let flat_bytes = mean_bytes(objects);
    println!(
        "{flat_bytes:.1} B flat; level, dictionary, B compressed, ratio, µs to compress, µs to decompress"
    );
    for level in [1, 2, 3, 4, 6] {
        for dictionary in [None, Some(dictionary)] {
            let mut compressor = Compressor::with_level(level);
            let mut frame = |object: &Vec<u8>| compressor.compress(dictionary, object).map(<[u8]>::to_vec);
            let frames: Vec<Option<Vec<u8>>> = objects.iter().map(&mut frame).collect();
            let stored =
                frames.iter().zip(objects).map(|(frame, object)| frame.as_ref().unwrap_or(object).len());
            let stored_bytes = stored.sum::<usize>() as f64 / objects.len() as f64;
            let compress_us = best_us(objects, || {
                for object in objects {
                    black_box(compressor.compress(dictionary, object));
                }
            });
            let mut out = Vec::new();
            let decompress_us = best_us(objects, || {
                for (frame, object) in frames.iter().zip(objects) {
                    let Some(frame) = frame else { continue };
                    let raw_bytes = object.len() as u64;
                    compressor.decompress(dictionary, frame, raw_bytes, &mut out).expect("a frame");
                }
            });
            println!(
                "{level:>3} {:>5} {stored_bytes:>7.1} {:>5.2} {compress_us:>6.2} {decompress_us:>6.2}",
                dictionary.is_some(),
                flat_bytes / stored_bytes
            );
        }
    }
}

#[test]
#[ignore = "a measurement, for release builds"]
fn measure() {
    println!("chats:");
    let chats: Vec<Vec<u8>> = (0..OBJECTS / 10).map(chat).collect();
    levels(&chats, &trained(chat));
    println!("sessions:");
    let sessions: Vec<Vec<u8>> = (0..OBJECTS).map(session).collect();
    let dictionary = trained(session);
    levels(&sessions, &dictionary);

    println!("both, half and half:");
    let either = |number: u64| if number.is_multiple_of(2) { session(number) } else { chat(number) };
    for dictionary_bytes in [8 << 10, 16 << 10, 32 << 10, 64 << 10] {
        let samples: Vec<Vec<u8>> = (1_000_000..1_005_000).map(either).collect();
        let (dictionary, _) = Dictionary::train(1, &slices(&samples), dictionary_bytes).expect("alike");
        let stored = |objects: &[Vec<u8>]| {
            let gain = dictionary.gain(&slices(objects));
            gain.with_bytes as f64 / objects.len() as f64
        };
        println!(
            "{dictionary_bytes:>6} B: {:.1} B a session, {:.1} a chat",
            stored(&sessions),
            stored(&chats)
        );
    }

    let mut compressor = Compressor::new();
    let mut pack = |session: &Vec<u8>| idle::pack(&dictionary, session, &mut compressor).expect("compresses");
    let packed: Vec<Vec<u8>> = sessions.iter().map(|session| pack(session).bytes().to_vec()).collect();
    let mut working = Vec::new();
    let unpack_us = best_us(&packed, || {
        for packed in &packed {
            black_box(idle::unpack(&dictionary, packed, &mut compressor, &mut working).expect("packed"));
        }
    });
    println!("idle in memory: {:.1} B, {unpack_us:.2} µs to unpack", mean_bytes(&packed));
    segment(&sessions, 1, None);
    segment(&sessions, 2, Some(dictionary));
}

/// What a segment of the objects takes, compressed if there is a dictionary.
fn segment(objects: &[Vec<u8>], id: u32, dictionary: Option<Arc<Dictionary>>) {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut compressor, compresses) = (Compressor::new(), dictionary.is_some());
    let mut writer =
        SegmentWriter::create(&RealFs, dir.path(), &[0; 16], id, dictionary, 0).expect("creates");
    let start = seconds();
    let mut offsets = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        let number = number as u64;
        let lsn = 3_000_000_000 + number * 400;
        let record = Record { lsn, deadline_ms: 1_800_000_000_000 + number, grid: 5, object };
        offsets.push(writer.push(&record, compresses.then_some(&mut compressor)));
        if writer.wants_write() {
            writer.write().expect("writes");
        }
    }
    let finished = writer.finish().expect("finishes");
    let write_us = (seconds() - start) * 1e6 / objects.len() as f64;
    let segment = Arc::new(finished.segment);
    let bytes = segment.bytes() as f64 / f64::from(finished.records);
    let mut scratch = Scratch::default();
    let read_us = best_us(objects, || {
        for &offset in &offsets {
            black_box(segment.read(offset, &mut scratch).expect("reads"));
        }
    });
    let read_now_us = best_us(objects, || {
        for &offset in &offsets {
            black_box(segment.read_now(offset, &mut scratch).expect("reads"));
        }
    });
    let scan_us = best_us(objects, || {
        let mut scan = segment.scan();
        while let Some(found) = scan.next().expect("reads") {
            black_box(&found);
        }
    });
    println!(
        "segment {id}: {bytes:.1} B a record, {write_us:.2} µs to write and sync, {read_us:.2} to read, {read_now_us:.2} without waiting, {scan_us:.2} to scan"
    );
}
