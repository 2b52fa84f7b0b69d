//! `math.random` as Redis has it: the 48-bit generator of `drand48`, which a script can seed to draw the
//! same numbers each time.

const FACTOR: u64 = 0x5_DEEC_E66D;
const ADDEND: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// One more than the largest number drawn.
pub(super) const MAX: i32 = i32::MAX;

/// See the module's page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Generator(u64);

impl Default for Generator {
    fn default() -> Generator {
        Generator::seeded(0)
    }
}

impl Generator {
    /// A generator that begins where this seed says.
    pub(super) fn seeded(seed: i32) -> Generator {
        Generator(u64::from(seed as u32) << 16 | 0x330E)
    }

    /// The next 31 bits.
    pub(super) fn next(&mut self) -> i32 {
        self.0 = self.0.wrapping_mul(FACTOR).wrapping_add(ADDEND) & MASK;
        (self.0 >> 17) as i32
    }

    /// A number from 0 to 1, without 1.
    pub(super) fn next_fraction(&mut self) -> f64 {
        f64::from(self.next() % MAX) / f64::from(MAX)
    }
}
