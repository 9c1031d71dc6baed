//! Which contexts are worth a table of their own.

use super::quantise::quantise_exponents;
use crate::cost::{BIT, BYTE, Cost, Counted, log2};
use crate::symbol::EXPONENTS;

/// Tables of more contexts save little, and take longer to look up since they are in no cache.
const MOST_TABLES: usize = 5;

/// The cost of an escape beside its code.
const ESCAPED: Cost = 16 * BIT;

/// Returns the cost of the symbols, and of the tables, of all contexts.
pub(super) fn costs(contexts: &[Context], counted: Counted) -> (Cost, Cost) {
    let symbols = contexts.iter().map(|(_, counts)| symbol_cost(counts, counted)).sum();
    (symbols, contexts.iter().map(|(_, counts)| table_cost(counts)).sum())
}

/// Finds the merged context that a context has become a part of.
pub(super) fn merged_context(contexts: &[Context], context: u8) -> u8 {
    let merged = contexts.iter().position(|(members, _)| members.contains(&context));
    merged.expect("each is in one of them") as u8
}

/// Contexts that share a table, and their counts.
pub(super) type Context = (Vec<u8>, [u64; 32]);

/// Merges neighbours where a table of its own costs more than it saves, or there are too many.
pub(super) fn merged(counts: &[[u64; 32]], counted: Counted) -> Vec<Context> {
    let mut contexts: Vec<Context> = (0..).zip(counts).map(|(i, c)| (vec![i], *c)).collect();
    let cost = |counts: &[u64; 32]| symbol_cost(counts, counted) + table_cost(counts);
    loop {
        let gain = |i: usize| {
            let (a, b) = (&contexts[i].1, &contexts[i + 1].1);
            (cost(a) + cost(b)) as i64 - cost(&sum(a, b)) as i64
        };
        let best = (0..contexts.len() - 1).map(|i| (gain(i), i)).max();
        let many = contexts.len() > MOST_TABLES;
        let Some((_, i)) = best.filter(|&(gain, _)| gain > 0 || many) else { return contexts };
        let (members, counts) = contexts.remove(i + 1);
        contexts[i].0.extend(members);
        contexts[i].1 = sum(&contexts[i].1, &counts);
    }
}

/// Adds the counts of two contexts.
pub(super) fn sum(a: &[u64; 32], b: &[u64; 32]) -> [u64; 32] {
    std::array::from_fn(|i| a[i] + b[i])
}

/// Returns the cost of symbols with these counts, without their mantissas.
pub(super) fn symbol_cost(counts: &[u64; 32], counted: Counted) -> Cost {
    let mut cost = counts[EXPONENTS] * ESCAPED;
    for (&count, &freq) in counts.iter().zip(&quantise_exponents(counts)) {
        cost += count * (12 * BIT - log2(freq.max(1).into()));
    }
    counted.extend(cost)
}

/// Returns the cost of the table for these counts.
pub(super) fn table_cost(counts: &[u64; 32]) -> Cost {
    quantise_exponents(counts).iter().map(|&freq| if freq < 128 { BYTE } else { 2 * BYTE }).sum()
}
