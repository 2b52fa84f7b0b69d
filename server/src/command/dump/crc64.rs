//! The checksum of Redis's payloads: CRC-64 with Jones's polynomial, reflected, from 0.

/// Bytes that are taken at a time.
const LANES: usize = 8;

static TABLES: [[u64; 256]; LANES] = tables();

const fn tables() -> [[u64; 256]; LANES] {
    /// Jones's polynomial, bits in reverse.
    const POLYNOMIAL: u64 = 0x95AC_9329_AC4B_C9B5;
    let mut tables = [[0; 256]; LANES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut lane = 1;
    while lane < LANES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[lane - 1][byte];
            tables[lane][byte] = tables[0][(before & 0xFF) as usize] ^ before >> 8;
            byte += 1;
        }
        lane += 1;
    }
    tables
}

/// The checksum of some bytes.
pub fn crc64(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    let mut crc = 0;
    for chunk in chunks {
        let mixed = (crc ^ u64::from_le_bytes(*chunk)).to_le_bytes();
        crc = mixed
            .iter()
            .zip(TABLES.iter().rev())
            .fold(0, |crc, (&byte, table)| crc ^ table[usize::from(byte)]);
    }
    rest.iter().fold(crc, |crc, &byte| TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_known_checksums() {
        assert_eq!(crc64(b"123456789"), 0xE9C6_D914_C4B8_D9CA);
        assert_eq!(crc64(b""), 0);
    }

    #[test]
    fn eight_at_a_time_is_the_same_as_one() {
        let bytes: Vec<u8> = (0..100u32).map(|number| (number * 37 % 251) as u8).collect();
        for end in 0..bytes.len() {
            let one =
                bytes[..end].iter().fold(0, |crc, &byte| TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8);
            assert_eq!(crc64(&bytes[..end]), one);
        }
    }
}
