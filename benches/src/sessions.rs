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
