//! All tensors that an estimate is about, and the choice of the chunks that stand for them.
//!
//! Tensors are sorted into strata by dtype, size, and a class that the caller gives. Of each
//! stratum chunks are chosen at equal distances over all of its bytes, from a random place on: so
//! each byte is as likely to be taken as any other, and every file has its part. The ratio of a
//! stratum is the mean of those of its chunks (M. Hansen and W. Hurwitz, "On the Theory of Sampling
//! from Finite Populations", 1943).

use std::collections::BTreeMap;

use super::piece::{Piece, table_len};
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::tensor_info::TensorInfo;

/// The chunks that a stratum has at least, if it has as many.
const MIN_PIECES: u64 = 3;

/// The standard deviation of the ratio of a stratum of which a single chunk was read.
const UNKNOWN_DEVIATION: f64 = 0.05;

/// The tensors of files, in strata.
#[derive(Debug, Default)]
pub struct Population {
    strata: BTreeMap<(String, u32, u32), Vec<Unit>>,
}

/// A tensor of a stratum.
#[derive(Clone, Copy, Debug)]
struct Unit {
    file: usize,
    tensor: usize,
    len: u64,
    /// The length of its chunks but the last.
    chunk_len: u64,
    table_len: u64,
}

/// The expected length of what is stored of a tensor.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Expected<'a> {
    /// The number of the file that the tensor is in, as it was added.
    pub file: usize,
    /// The dtype, as the header spells it.
    pub dtype: &'a str,
    /// The class that the caller gave.
    pub class: u32,
    /// The expected length of what is stored, in bytes.
    pub packed_len: f64,
    /// The length of the chunk table that is in it, in bytes.
    pub table_len: u64,
}

/// The ratio of a stratum, as its chunks show it.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    mean: f64,
    /// The variance of the mean.
    variance: f64,
}

impl Population {
    /// Adds the tensors of a file, which goes by the number `file`, each of the class that `class`
    /// returns.
    pub fn add(&mut self, file: usize, header: &Header, class: impl Fn(&TensorInfo) -> u32) {
        for (tensor, info) in header.tensors().iter().enumerate() {
            let len = info.raw_len();
            if len == 0 {
                continue;
            }
            let key = (info.dtype_name().to_owned(), class(info), len.ilog2() / 4);
            let chunk_len = Chunking::of(info).range(0).end;
            let unit = Unit { file, tensor, len, chunk_len, table_len: table_len(info) };
            self.strata.entry(key).or_default().push(unit);
        }
    }

    /// Returns the length of all tensors, in bytes.
    pub fn raw_len(&self) -> u64 {
        self.strata.values().flatten().map(|unit| unit.len).sum()
    }

    /// Chooses chunks of at most `share` of all bytes, from 0 to 1; another `seed` chooses others.
    /// They come in the order of files.
    pub fn choose(&self, share: f64, seed: u64) -> Vec<Piece> {
        let budget = self.raw_len() as f64 * share.clamp(0.0, 1.0);
        let mut chosen: Vec<Vec<(Piece, u64)>> = self
            .strata
            .values()
            .enumerate()
            .map(|(stratum, units)| choose(units, stratum, share, random(seed, stratum as u64)))
            .collect();
        let len = |chosen: &[Vec<(Piece, u64)>]| -> u64 {
            chosen.iter().flatten().map(|(_, len)| len).sum()
        };
        let (mut left, mut round) = (len(&chosen) as f64, 0);
        // The chunks that small strata have at least are at the cost of large ones.
        while left > budget {
            let most = chosen.iter_mut().max_by_key(|pieces| pieces.len());
            let Some(pieces) = most.filter(|pieces| !pieces.is_empty()) else { break };
            let at = (random(seed, 1 << 32 | round) * pieces.len() as f64) as usize;
            left -= pieces.remove(at).1 as f64;
            round += 1;
        }
        let mut pieces: Vec<Piece> = chosen.into_iter().flatten().map(|(piece, _)| piece).collect();
        pieces.sort();
        pieces
    }

    /// Returns the expected length of what is stored of each tensor, and the variance of their sum,
    /// from the ratios of chunks.
    pub fn expect(&self, ratios: &[(Piece, f64)]) -> (Vec<Expected<'_>>, f64) {
        let mut of_strata = vec![Vec::new(); self.strata.len()];
        for &(piece, ratio) in ratios {
            of_strata[piece.stratum].push(ratio);
        }
        let all: Vec<f64> = ratios.iter().map(|&(_, ratio)| ratio).collect();
        let (mut expected, mut variance) = (Vec::new(), 0.0);
        for (stratum, (key, units)) in self.strata.iter().enumerate() {
            let own = &of_strata[stratum];
            // A stratum without chunks is taken for one like the others of its dtype.
            let like = || {
                let same = self.strata.keys().zip(&of_strata).filter(|(other, _)| other.0 == key.0);
                let same: Vec<f64> = same.flat_map(|(_, ratios)| ratios.iter().copied()).collect();
                if same.is_empty() { all.clone() } else { same }
            };
            let ratio = match own.as_slice() {
                [] => Ratio { variance: UNKNOWN_DEVIATION.powi(2), ..Ratio::of(&like()) },
                own => Ratio::of(own),
            };
            let len: u64 = units.iter().map(|unit| unit.len).sum();
            let chunks: u64 = units.iter().map(|unit| unit.len.div_ceil(unit.chunk_len)).sum();
            let unread = 1.0 - own.len() as f64 / chunks as f64;
            variance += ratio.variance * (len as f64).powi(2) * unread.max(0.0);
            expected.extend(units.iter().map(|unit| Expected {
                file: unit.file,
                dtype: &key.0,
                class: key.1,
                packed_len: unit.len as f64 * ratio.mean + unit.table_len as f64,
                table_len: unit.table_len,
            }));
        }
        (expected, variance)
    }
}

impl Ratio {
    fn of(ratios: &[f64]) -> Self {
        let n = ratios.len() as f64;
        if ratios.is_empty() {
            return Self { mean: 1.0, variance: UNKNOWN_DEVIATION.powi(2) };
        }
        let mean = ratios.iter().sum::<f64>() / n;
        let squares: f64 = ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum();
        let variance = match ratios.len() {
            1 => UNKNOWN_DEVIATION.powi(2),
            _ => squares / (n - 1.0) / n,
        };
        Self { mean, variance }
    }
}

/// Chooses chunks of about `share` of a stratum, each with its length; `start`, from 0 to 1, is
/// where the first lies.
fn choose(units: &[Unit], stratum: usize, share: f64, start: f64) -> Vec<(Piece, u64)> {
    let total: u64 = units.iter().map(|unit| unit.len).sum();
    // Long chunks are chosen more often.
    let squares: f64 =
        units.iter().map(|unit| unit.len as f64 * unit.len.min(unit.chunk_len) as f64).sum();
    let usual = (squares / total as f64).max(1.0);
    let count = ((total as f64 * share / usual) as u64).max(MIN_PIECES);
    let (mut pieces, mut index, mut before) = (Vec::new(), 0, 0);
    for i in 0..count {
        let at = ((i as f64 + start) * total as f64 / count as f64) as u64;
        let at = at.min(total - 1);
        while at - before >= units[index].len {
            before += units[index].len;
            index += 1;
        }
        let Unit { file, tensor, len, chunk_len, .. } = units[index];
        let chunk = (at - before) / chunk_len;
        let piece = Piece { file, tensor, chunk, stratum };
        if pieces.last().is_none_or(|(last, _)| *last != piece) {
            pieces.push((piece, chunk_len.min(len - chunk * chunk_len)));
        }
    }
    pieces
}

/// Returns a number from 0 to 1 that two numbers make (SplitMix64).
fn random(seed: u64, number: u64) -> f64 {
    let mut x = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(number);
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A population of files, each with tensors of these lengths.
    fn population(files: &[Vec<u64>]) -> (Population, u64) {
        let (mut population, mut chunks) = (Population::default(), 0);
        for (file, lens) in files.iter().enumerate() {
            let mut end = 0;
            let tensors = lens.iter().enumerate().map(|(i, &len)| {
                let start = end;
                end += len;
                let dtype = r#""dtype":"U8""#;
                format!(r#""{i}":{{{dtype},"shape":[{len}],"data_offsets":[{start},{end}]}}"#)
            });
            let json = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
            let header = Header::parse(json.into_bytes()).unwrap();
            let counts = header.tensors().iter().filter(|info| info.raw_len() > 0);
            chunks += counts.map(|info| Chunking::of(info).count()).sum::<u64>();
            population.add(file, &header, |info| (info.raw_len() % 2) as u32);
        }
        (population, chunks)
    }

    fn bytes(population: &Population, pieces: &[Piece]) -> u64 {
        let len = |piece: &Piece| {
            let units = population.strata.values().flatten();
            let mut own = units.filter(|u| (u.file, u.tensor) == (piece.file, piece.tensor));
            let unit = own.next().unwrap();
            unit.chunk_len.min(unit.len - piece.chunk * unit.chunk_len)
        };
        pieces.iter().map(len).sum()
    }

    proptest! {
        #[test]
        fn no_more_is_chosen_than_was_asked_for(
            files in prop::collection::vec(prop::collection::vec(0..3_000_000_u64, 0..20), 1..6),
            share in 0.0..1.0,
            seed in any::<u64>(),
        ) {
            let (population, _) = population(&files);
            let pieces = population.choose(share, seed);
            prop_assert!(bytes(&population, &pieces) as f64 <= share * population.raw_len() as f64);
            let distinct: BTreeSet<_> = pieces.iter().collect();
            prop_assert_eq!(distinct.len(), pieces.len());
            prop_assert!(pieces.is_sorted_by_key(|piece| piece.file));
        }

        #[test]
        fn chunks_of_one_ratio_leave_no_doubt(
            lens in prop::collection::vec(1..3_000_000_u64, 1..20),
            seed in any::<u64>(),
        ) {
            let (population, chunks) = population(&[lens]);
            let pieces = population.choose(1.0, seed);
            prop_assert!(!pieces.is_empty() && pieces.len() as u64 <= chunks);
            let ratios: Vec<_> = pieces.iter().map(|&piece| (piece, 0.5)).collect();
            let (expected, variance) = population.expect(&ratios);
            let tables: u64 = expected.iter().map(|tensor| tensor.table_len).sum();
            let packed: f64 = expected.iter().map(|tensor| tensor.packed_len).sum();
            let half = population.raw_len() as f64 / 2.0 + tables as f64;
            prop_assert!((packed - half).abs() < 1.0);
            // Of a stratum with a single chunk nobody knows how others are.
            let of = |stratum| pieces.iter().filter(|piece| piece.stratum == stratum).count();
            let alone = (0..population.strata.len()).any(|stratum| of(stratum) < 2);
            prop_assert!(variance == 0.0 || alone);
        }
    }

    #[test]
    fn another_seed_chooses_others() {
        let (population, _) = population(&[vec![50 << 20], vec![50 << 20]]);
        let choose = |seed| population.choose(0.1, seed);
        assert_eq!(choose(7), choose(7));
        assert_ne!(choose(7), choose(8));
        // Each file has its part.
        let of_first = choose(7).iter().filter(|piece| piece.file == 0).count();
        assert_eq!((of_first, choose(7).len()), (10, 20));
    }
}
