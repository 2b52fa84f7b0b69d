//! `FUNCTION DUMP` and `FUNCTION RESTORE`: libraries as Redis serializes them. What is read is never trusted.
//!
//! ```text
//! ( 245, string )… , version (2, little-endian), CRC-64 of everything before (8, little-endian)
//! ```
//!
//! A string is its length and its bytes; lengths take 1, 2, 5 or 9 bytes, whose first two bits tell. Redis compresses longer strings (LZF), and
//! writes those that are numbers as such; here they are only read so.

/// Tells that a library follows.
const FUNCTION: u8 = 245;
/// The version of what is written: that of Redis 7.0.
const VERSION: u16 = 10;
/// The latest version that is read.
const VERSION_MAX: u16 = 13;
/// What a compressed string may hold, so that a few bytes can't ask for all memory.
const STRING_BYTES_MAX: usize = 512 << 20;

const WRONG: &str = "DUMP payload version or checksum are wrong";
const MALFORMED: &str = "failed loading functions payload";

/// Serializes the texts of libraries.
pub fn encode<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for code in codes {
        out.push(FUNCTION);
        match code.len() {
            length @ 0..64 => out.push(length as u8),
            length @ 64..16384 => out.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
            length => {
                out.push(0x80);
                out.extend_from_slice(&(length as u32).to_be_bytes());
            }
        }
        out.extend_from_slice(code);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = crc64(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// The texts of libraries.
///
/// # Errors
///
/// What is wrong with the payload.
pub fn decode(payload: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let (body, checksum) = payload.split_last_chunk::<8>().ok_or(WRONG)?;
    let (mut rest, version) = body.split_last_chunk::<2>().ok_or(WRONG)?;
    let checksum = u64::from_le_bytes(*checksum);
    // A checksum of zero means that there is none.
    if u16::from_le_bytes(*version) > VERSION_MAX || (checksum != 0 && checksum != crc64(body)) {
        return Err(WRONG);
    }
    let mut codes = Vec::new();
    while let Some((&kind, behind)) = rest.split_first() {
        if kind != FUNCTION {
            return Err("given type is not a function");
        }
        rest = behind;
        codes.push(string(&mut rest).ok_or(MALFORMED)?);
    }
    Ok(codes)
}

enum Length {
    Bytes(usize),
    /// A special encoding.
    Encoded(u8),
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

fn length(rest: &mut &[u8]) -> Option<Length> {
    let [first] = take(rest)?;
    Some(match first >> 6 {
        0 => Length::Bytes(usize::from(first & 63)),
        1 => Length::Bytes(usize::from(first & 63) << 8 | usize::from(take::<1>(rest)?[0])),
        2 if first == 0x80 => Length::Bytes(u32::from_be_bytes(take(rest)?) as usize),
        2 if first == 0x81 => Length::Bytes(usize::try_from(u64::from_be_bytes(take(rest)?)).ok()?),
        3 => Length::Encoded(first & 63),
        _ => return None,
    })
}

fn plain_length(rest: &mut &[u8]) -> Option<usize> {
    match length(rest)? {
        Length::Bytes(length) => Some(length),
        Length::Encoded(_) => None,
    }
}

fn string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let number = match length(rest)? {
        Length::Bytes(length) => {
            let (bytes, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            return Some(bytes.to_vec());
        }
        Length::Encoded(0) => i64::from(i8::from_le_bytes(take(rest)?)),
        Length::Encoded(1) => i64::from(i16::from_le_bytes(take(rest)?)),
        Length::Encoded(2) => i64::from(i32::from_le_bytes(take(rest)?)),
        Length::Encoded(3) => {
            let (packed, whole) = (plain_length(rest)?, plain_length(rest)?);
            let (bytes, behind) = rest.split_at_checked(packed)?;
            *rest = behind;
            return decompress(bytes, whole);
        }
        Length::Encoded(_) => return None,
    };
    Some(number.to_string().into_bytes())
}

/// Undoes LZF: runs of bytes as they are, and references back to what was written.
fn decompress(mut packed: &[u8], whole: usize) -> Option<Vec<u8>> {
    // A reference of three bytes stands for 264 at most.
    if whole > STRING_BYTES_MAX || whole > packed.len().saturating_mul(264) {
        return None;
    }
    let mut out = Vec::with_capacity(whole);
    while let Some((&control, behind)) = packed.split_first() {
        packed = behind;
        if control < 32 {
            let (bytes, behind) = packed.split_at_checked(usize::from(control) + 1)?;
            out.extend_from_slice(bytes);
            packed = behind;
        } else {
            let mut count = usize::from(control >> 5);
            if count == 7 {
                count += usize::from(take::<1>(&mut packed)?[0]);
            }
            let back = (usize::from(control & 31) << 8 | usize::from(take::<1>(&mut packed)?[0])) + 1;
            let start = out.len().checked_sub(back)?;
            for at in start..start + count + 2 {
                let byte = *out.get(at)?;
                out.push(byte);
            }
        }
        if out.len() > whole {
            return None;
        }
    }
    (out.len() == whole).then_some(out)
}

/// The CRC-64 of Redis ("Jones"), reflected.
fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95AC_9329_AC4B_C9B5;
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u64;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

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

    #[test]
    fn bytes_from_outside_never_panic() {
        let mut random = crate::command::Random::new(7);
        for _ in 0..100_000 {
            let length = (random.next() % 40) as usize;
            let mut payload: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            payload.insert(0, FUNCTION);
            payload.extend_from_slice(&VERSION.to_le_bytes());
            payload.extend_from_slice(&[0; 8]);
            let _ = decode(&payload);
        }
    }
}
