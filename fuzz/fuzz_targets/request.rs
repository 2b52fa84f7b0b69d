//! The request parser on any bytes: it never panics, and whatever way the bytes are split, it finds the same requests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sessile_server::resp::{RequestLimits, RequestParser};

/// All requests in `bytes`, seen in pieces of at most `step` more bytes at a time, up to the first error.
fn requests(bytes: &[u8], step: usize, limits: RequestLimits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut parser, mut found) = (RequestParser::default(), Vec::new());
    let (mut start, mut seen) = (0, 0);
    while seen < bytes.len() {
        seen = (seen + step).min(bytes.len());
        loop {
            let rest = &bytes[start..seen];
            match parser.parse(rest, limits) {
                Ok(None) => break,
                Ok(Some(used)) => {
                    assert!(used > 0 && used <= rest.len());
                    found.push(parser.arguments(rest).iter().map(|argument| argument.to_vec()).collect());
                    start += used;
                }
                Err(error) => return (found, Some(error.to_string())),
            }
        }
    }
    (found, None)
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (unauthenticated, step, bytes) = input;
    let limits = RequestLimits { bulk_bytes_max: 1 << 20, unauthenticated };
    let whole = requests(bytes, bytes.len().max(1), limits);
    let pieces = requests(bytes, usize::from(step) + 1, limits);
    assert_eq!(whole, pieces);
});
