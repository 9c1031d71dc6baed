//! From weights to frequencies of a fixed sum, for tables of fine frequencies.

use std::cmp::Reverse;

/// Shares `total` by weight: each that has a weight gets at least 1, the others get 0. There are
/// weights, and no more of them than `total`.
///
/// What rounding leaves over goes one by one to where it saves most, and is taken from where it
/// costs least.
pub(crate) fn quantise(weights: &[u64], total: u16, freqs: &mut [u16]) {
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    for (freq, &weight) in freqs.iter_mut().zip(weights) {
        let share = u128::from(weight) * u128::from(total) / sum.max(1);
        *freq = if weight == 0 { 0 } else { (share as u16).max(1) };
    }
    // The weight of each half slot between two frequencies, so that a saving is near its middle.
    let value = |i: usize, halves: u16| (u128::from(weights[i]) << 32) / u128::from(halves);
    loop {
        let used: u32 = freqs.iter().copied().map(u32::from).sum();
        let indices = 0..freqs.len();
        if used < total.into() {
            let most = indices.filter(|&i| weights[i] > 0);
            let most = most.max_by_key(|&i| (value(i, 2 * freqs[i] + 1), Reverse(i)));
            freqs[most.expect("a weight")] += 1;
        } else if used > total.into() {
            let least = indices.filter(|&i| freqs[i] > 1);
            let least = least.min_by_key(|&i| (value(i, 2 * freqs[i] - 1), i));
            freqs[least.expect("more slots than weights")] -= 1;
        } else {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quantise;

    #[test]
    fn shares_add_up_and_none_is_lost() {
        for weights in [&[1, 1_000_000, 0, 7][..], &[5; 64], &[1, 0], &[u64::MAX / 4, 1, 1]] {
            let mut freqs = vec![0; weights.len()];
            quantise(weights, 4096, &mut freqs);
            assert_eq!(freqs.iter().sum::<u16>(), 4096);
            assert!(freqs.iter().zip(weights).all(|(&f, &w)| (f > 0) == (w > 0)), "{freqs:?}");
        }
    }
}
