//! Tables for the kernels. The codec makes better ones, but keeps them private.

use at1w_simd::lanes::{CodingTable, MAX_SYMBOLS};

/// Makes a table of the most frequent symbols; the others are escaped.
pub fn lane_table(counts: &[u32; 256]) -> CodingTable {
    let total = counts.iter().map(|&count| u64::from(count)).sum::<u64>();
    let mut symbols: Vec<u8> = (0..=255).collect();
    symbols.sort_by_key(|&symbol| std::cmp::Reverse(counts[usize::from(symbol)]));
    symbols.truncate(MAX_SYMBOLS - 1);
    let share = |&symbol: &u8| (u64::from(counts[usize::from(symbol)]) * 255 / total).max(1) as u16;
    let mut freqs: Vec<u16> = symbols.iter().map(share).collect();
    // The rest of 256 is for the escape. The most frequent symbol makes room for it.
    freqs[0] -= freqs.iter().sum::<u16>().saturating_sub(255);
    freqs.push(256 - freqs.iter().sum::<u16>());
    CodingTable::new(&symbols, &freqs).expect("frequencies that add up")
}
