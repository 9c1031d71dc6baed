//! From counts of symbols to the frequencies of a table.

use crate::contexts::frequencies::{EXPONENT_TOTAL, Exponents, MANTISSA_TOTAL};
use crate::symbol::{EXPONENTS, MANTISSAS};

/// Finds frequencies of sign and exponent: each that occurs at least 1, and the escape in any case.
pub(super) fn quantise_exponents(counts: &[u64; 32]) -> Exponents {
    let mut weights: [u64; 31] = std::array::from_fn(|i| counts[i]);
    weights[EXPONENTS] = weights[EXPONENTS].max(1);
    let mut freqs = [0; 31];
    share(&weights, EXPONENT_TOTAL, &mut freqs);
    freqs
}

/// Finds frequencies of mantissas: each at least 1 and less than 256.
pub(super) fn quantise_mantissas(counts: &[u64; MANTISSAS]) -> [u16; MANTISSAS] {
    let mut freqs = [0; MANTISSAS];
    share(&counts.map(|c| c + 1), MANTISSA_TOTAL, &mut freqs);
    freqs
}

/// Shares `total` by weight: each that has a weight gets at least 1. The difference that is left
/// goes to the largest share.
fn share(weights: &[u64], total: u16, freqs: &mut [u16]) {
    let sum: u64 = weights.iter().sum();
    let mut left = i32::from(total);
    for (freq, &weight) in freqs.iter_mut().zip(weights) {
        let part = u128::from(weight) * u128::from(total) + u128::from(sum / 2);
        *freq = if weight == 0 { 0 } else { ((part / u128::from(sum)) as u16).max(1) };
        left -= i32::from(*freq);
    }
    while left != 0 {
        let most = (0..freqs.len()).max_by_key(|&i| (freqs[i], i)).expect("there are some");
        freqs[most] = (i32::from(freqs[most]) + left.signum()) as u16;
        left -= left.signum();
    }
}
