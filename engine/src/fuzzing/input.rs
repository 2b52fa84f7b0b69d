//! Any bytes, read as a sequence of choices. It never fails: what is not there is zero.

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Of these bytes, from the first on.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { rest: bytes }
    }

    /// Whether all bytes were used.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.rest.split_off_first().copied().unwrap_or(0)
    }

    /// A number below `end`, of one byte; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()).checked_rem(end).unwrap_or(0)
    }

    /// A number of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number of eight bytes.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number of any size, where small ones are as likely as large ones: as many bits as the first byte says.
    pub fn number(&mut self) -> u64 {
        let bits = u32::from(self.byte()) % 65;
        let number = (0..bits.div_ceil(8)).fold(0, |number, _| number << 8 | u64::from(self.byte()));
        if bits == 64 { number } else { number & ((1 << bits) - 1) }
    }

    /// Up to `most` bytes, as many as the next one or two say.
    pub fn slice(&mut self, most: usize) -> &'a [u8] {
        let length = if most < 256 { usize::from(self.byte()) } else { usize::from(self.short()) };
        let length = if most == usize::MAX { length } else { length % (most + 1) };
        let (slice, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        slice
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// A short name, one of a few hundred: short ones come up often.
    pub fn name(&mut self) -> Vec<u8> {
        match self.byte() {
            number @ 0..=127 => number.to_string().into_bytes(),
            number @ 128..=199 => vec![b'a' + number % 26; usize::from(number % 7)],
            number @ 200..=239 => format!("-{number}").into_bytes(),
            _ => self.slice(64).to_vec(),
        }
    }

    /// A value: mostly short, now and then longer than what an encoding has room for.
    pub fn value(&mut self) -> Vec<u8> {
        match self.byte() {
            length @ 0..=199 => vec![length; usize::from(length) / 4],
            200..=239 => self.slice(300).to_vec(),
            length => vec![length; usize::from(length - 239) * 300],
        }
    }
}
