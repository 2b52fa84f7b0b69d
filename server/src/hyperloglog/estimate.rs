//! From registers to a number: Ertl's improved raw estimator.

use super::{RANK_BITS, REGISTERS};

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many distinct elements were seen, about, given how many registers have each value. Values that no hash can have count for nothing.
///
/// Without any other value the estimate has no bound: it is 2^63 then, which is what Redis makes of infinity.
pub fn estimate(histogram: &[usize; 64]) -> u64 {
    let registers = REGISTERS as f64;
    let saturated = histogram[RANK_BITS as usize + 1] as f64;
    let mut sum = registers * tau((registers - saturated) / registers);
    for &count in histogram[1..=RANK_BITS as usize].iter().rev() {
        sum += count as f64;
        sum *= 0.5;
    }
    sum += registers * sigma(histogram[0] as f64 / registers);
    let estimate = (ALPHA * registers * registers / sum).round();
    if estimate < 2f64.powi(63) { estimate as u64 } else { 1 << 63 }
}

/// What registers contribute that are still zero.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// What registers contribute that can't rise any more.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
