//! `FUNCTION DUMP` and `FUNCTION RESTORE`: libraries as Redis serializes them. What is read is never trusted.
//!
//! ```text
//! ( 245, string )… , version (2, little-endian), CRC-64 of everything before (8, little-endian)
//! ```

use crate::command::dump::{reader, writer};

/// Tells that a library follows.
const FUNCTION: u8 = 245;
/// The version of what is written: that of Redis 7.0.
const VERSION: u16 = 10;
/// What a compressed string may hold, so that a few bytes can't ask for all memory.
const STRING_BYTES_MAX: usize = 64 << 20;

/// Serializes the texts of libraries.
pub fn encode<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for code in codes {
        out.push(FUNCTION);
        writer::put_string(&mut out, code);
    }
    writer::seal(&mut out, VERSION);
    out
}

/// The texts of libraries.
///
/// # Errors
///
/// What is wrong with the payload.
pub fn decode(payload: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut rest = reader::verify(payload).ok_or("DUMP payload version or checksum are wrong")?;
    let mut codes = Vec::new();
    while let Some((&kind, behind)) = rest.split_first() {
        if kind != FUNCTION {
            return Err("given type is not a function");
        }
        rest = behind;
        codes.push(
            reader::take_string(&mut rest, STRING_BYTES_MAX).ok_or("failed loading functions payload")?,
        );
    }
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_has_dumped_is_read() {
        let dumped = b"\xf5\xc3@R@]\x1f#!lua name=a\nredis.register_func\x04tion{\xc0\x08\x00_`'\x0c\"f\",callback=\xc0\x1a\r() end,descrip@5\x02=1}\n\x00\x16\xaaq\xfeO\xe2\x8cL";
        let code: &[u8] =
            b"#!lua name=a\nredis.register_function{function_name=\"f\",callback=function() end,description=1}";
        assert_eq!(decode(dumped).unwrap(), [code]);
        for at in 0..dumped.len() {
            let mut damaged = dumped.to_vec();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "{at}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused() {
        let codes = [vec![b'a'; 10], vec![b'b'; 100], vec![b'c'; 20_000], Vec::new()];
        let payload = encode(codes.iter().map(Vec::as_slice));
        assert_eq!(decode(&payload).unwrap(), codes);
        for length in 0..payload.len().min(300) {
            assert!(decode(&payload[..length]).is_err());
        }
    }
}
