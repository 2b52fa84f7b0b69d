//! Session data as session libraries store it: keys of 37 bytes, JSON of a few hundred.

/// Bytes of a key: `sess:` and 32 hexadecimal digits.
pub const KEY_BYTES: usize = 37;

/// Mixes the bits of `number`, so that consecutive sessions have unrelated keys (SplitMix64's finaliser).
pub fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The key of session `number`.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"sess:00000000000000000000000000000000";
    let halves = [mix(number), mix(!number)];
    for (index, digit) in key.iter_mut().skip(5).enumerate() {
        let nibble = (halves[index / 16] >> ((index % 16) * 4)) & 15;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    key
}

/// The JSON of session `number`, `bytes` long (at least some 120).
pub fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut text = format!(
        r#"{{"cookie":{{"originalMaxAge":1800000,"httpOnly":true,"path":"/"}},"user":"u{number}","csrf":"{:016x}","cart":["#,
        mix(number ^ 0x5eed)
    );
    let mut item = number;
    while text.len() + 24 < bytes {
        item = mix(item);
        text.push_str(&format!(r#"{{"sku":"{:08x}"}},"#, item as u32));
    }
    while text.len() + 2 < bytes {
        text.push('0');
    }
    text.push_str("]}");
    text.into_bytes()
}

/// Bytes of a [`document`].
pub const DOCUMENT_BYTES: usize = 300;

const NAMES: [&str; 32] = [
    "Ada", "Ben", "Clara", "David", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katja", "Liam",
    "Mara", "Noah", "Olga", "Pavel", "Qi", "Rosa", "Samir", "Tilda", "Umar", "Vera", "Wanda", "Xenia",
    "Yusuf", "Zoe", "Anton", "Bella", "Carlos", "Dunja", "Emil", "Fiona",
];

const WORDS: [&str; 32] = [
    "running", "shoes", "blue", "winter", "jacket", "kids", "size", "large", "cotton", "shirt", "leather",
    "bag", "wireless", "mouse", "coffee", "grinder", "desk", "lamp", "garden", "chair", "bike", "helmet",
    "water", "bottle", "phone", "case", "travel", "mug", "yoga", "mat", "board", "game",
];

const AGENTS: [&str; 4] = ["Firefox/128.0", "Chrome/126.0.0.0", "Safari/605.1.15", "Edg/125.0.2535.92"];

/// The JSON of session `number` as a shop keeps it: a user, a random token, a cart, times, a search. Always [`DOCUMENT_BYTES`] long, no two
/// alike, and, as in real sessions, what is random in it can't be compressed away: about a third is left with a dictionary.
pub fn document(number: u64) -> Vec<u8> {
    use std::fmt::Write;
    let mut random = Random::new(number ^ 0x00D0_C5E5);
    let mut pick = |from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    let (first, second, agent) = (pick(&NAMES), pick(&NAMES), pick(&AGENTS));
    let token = [random.bits(), random.bits()];
    let seen = 1_750_000_000_000 + random.below(1 << 31);
    let mut text = String::with_capacity(DOCUMENT_BYTES + 64);
    // Writing into a string can't fail.
    let _ = write!(
        text,
        r#"{{"cookie":{{"maxAge":1800000,"httpOnly":true,"path":"/"}},"user":{{"id":{number},"name":"{first} {second}son"}},"csrf":"{:016x}{:016x}","agent":"{agent}","seen":{seen},"cart":["#,
        token[0], token[1]
    );
    for item in 0..1 + random.below(3) {
        let comma = if item == 0 { "" } else { "," };
        let _ = write!(
            text,
            r#"{comma}{{"sku":"A-{}","n":{}}}"#,
            100_000 + random.below(900_000),
            1 + random.below(4)
        );
    }
    text.push_str(r#"],"q":""#);
    while text.len() + 2 < DOCUMENT_BYTES {
        text.push_str(WORDS[random.below(WORDS.len() as u64) as usize]);
        text.push(' ');
    }
    text.truncate(DOCUMENT_BYTES - 2);
    text.push_str("\"}");
    text.into_bytes()
}

/// Reproducible randomness, cheap enough for an inner loop.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(mix(seed) | 1)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A figure below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_one_length_and_differ() {
        let documents: std::collections::HashSet<Vec<u8>> =
            (0..10_000).chain([u64::MAX - 1, u64::MAX, 1 << 60]).map(document).collect();
        assert_eq!(documents.len(), 10_003);
        assert!(
            documents.iter().all(|document| document.len() == DOCUMENT_BYTES && document.ends_with(b"\"}"))
        );
        assert_eq!(document(7), document(7));
    }
}
