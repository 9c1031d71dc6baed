//! Choosing how to code a plane, and coding it.

use at1w_simd::Backend;
use std::ops::Range;

use super::mode;
use super::packed::{self, Packing};
use super::statistics::{self, Flush};
use super::table::PlaneTable;
use crate::cost::{Cost, entropy_floor};
use crate::counts::{Counts, count};
use crate::{lanes, varint};

/// The place of the stream of a plane.
#[derive(Clone, Debug)]
pub(crate) enum Stream<'a> {
    /// The plane itself, so that it is copied only once.
    Raw(&'a [u8]),
    /// Among the streams of the encoder.
    Coded(Range<usize>),
}

impl Stream<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Raw(plane) => plane.len(),
            Self::Coded(range) => range.len(),
        }
    }
}

/// How well the tables of a model suit a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suits {
    /// They are the best ones: they were made from all of this chunk alone.
    Best,
    /// That is to be found out.
    Maybe,
}

/// The way to code a plane.
#[expect(clippy::large_enum_variant, reason = "a chunk's own table must not be on the heap")]
pub(crate) enum Choice<'a> {
    Raw,
    Constant(u8),
    Packed(Packing),
    /// With the table of the model.
    Shared(&'a PlaneTable),
    /// With a table that the stream begins with.
    Own(PlaneTable),
}

impl<'a> Choice<'a> {
    /// Returns the cheapest way to code `plane` that is worth its time.
    pub(crate) fn best(
        backend: Backend,
        suits: Suits,
        shared: Option<&'a PlaneTable>,
        plane: &[u8],
    ) -> Self {
        if let Some(value) = statistics::constant(plane) {
            return Self::Constant(value);
        }
        if suits == Suits::Best {
            return match shared {
                Some(table) => {
                    debug_assert!(table.cost(&count(backend, plane), Flush::default()).is_some());
                    Self::Shared(table)
                }
                None => Self::without_table(&count(backend, plane), plane.len()),
            };
        }
        if let Some(sample) = statistics::sample(backend, plane) {
            if statistics::looks_random(&sample) {
                let limit = statistics::limit(plane.len() as u64);
                return match Packing::best(&sample) {
                    Some((packing, _)) if packing.cost(backend, plane) < limit => {
                        Self::Packed(packing)
                    }
                    _ => Self::Raw,
                };
            }
            // Mostly the table of the model is right, as the sample shows.
            if let Some(table) = shared.filter(|table| table.codes_all())
                && is_best(table, &sample, Flush::of(plane.len()), plane.len() as u64)
            {
                return Self::Shared(table);
            }
        }
        Self::by_counts(shared, &count(backend, plane), plane.len())
    }

    /// Returns the cheapest way to code a plane of `n` symbols that no table is worth it for.
    fn without_table(counts: &Counts, n: usize) -> Self {
        match Packing::best(counts) {
            Some((packing, cost)) if cost < statistics::limit(n as u64) => Self::Packed(packing),
            _ => Self::Raw,
        }
    }

    /// Returns the cheapest way to code a plane of `n` symbols with these counts.
    fn by_counts(shared: Option<&'a PlaneTable>, counts: &Counts, n: usize) -> Self {
        let flush = Flush::of(n);
        let mut limit = statistics::limit(n as u64);
        let mut choice = Self::Raw;
        let mut consider = |new: Self, cost: Option<Cost>| {
            if let Some(cost) = cost
                && cost < limit
            {
                choice = new;
                // A later choice must save something.
                limit = cost - cost / statistics::MIN_CODING_GAIN;
            }
        };
        if let Some((packing, cost)) = Packing::best(counts) {
            consider(Self::Packed(packing), Some(cost));
        }
        if let Some(table) = shared {
            consider(Self::Shared(table), table.cost(counts, flush));
        }
        match PlaneTable::best_own(counts, entropy_floor(counts), flush, limit) {
            Some((table, _)) => Self::Own(table),
            None => choice,
        }
    }

    /// Appends the directory entry and the stream of `plane`.
    pub(crate) fn encode<'p>(
        &self,
        backend: Backend,
        plane: &'p [u8],
        directory: &mut Vec<u8>,
        streams: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Stream<'p> {
        let start = streams.len();
        let (own, table) = match self {
            Self::Raw => {
                directory.push(mode::RAW);
                return Stream::Raw(plane);
            }
            Self::Constant(value) => {
                directory.extend([mode::CONSTANT, *value]);
                return Stream::Coded(start..start);
            }
            Self::Packed(packing) => {
                directory.push(mode::PACKED);
                packing.write(directory);
                packed::encode(backend, *packing, plane, streams, scratch);
                varint::write((streams.len() - start) as u64, directory);
                return Stream::Coded(start..streams.len());
            }
            Self::Shared(table) => (false, *table),
            Self::Own(table) => (true, table),
        };
        if own {
            table.write(streams);
        }
        match table {
            PlaneTable::Huffman(table) => {
                directory.push(if own { mode::HUFFMAN_OWN } else { mode::HUFFMAN_SHARED });
                table.encode(backend, plane, streams);
            }
            PlaneTable::Alias(table) => {
                let lanes_log = table.encode(backend, plane, streams, scratch);
                directory.push(mode::ALIAS_SHARED | (lanes_log << 4));
            }
            PlaneTable::Lanes(table) => {
                let lanes_log = lanes::lanes_log(plane.len());
                let mode = if own { mode::LANES_OWN } else { mode::LANES_SHARED };
                directory.push(mode | (lanes_log << 4));
                table.encode(backend, plane, lanes_log, streams, scratch);
            }
        }
        varint::write((streams.len() - start) as u64, directory);
        Stream::Coded(start..streams.len())
    }
}

/// Returns whether a table of the model is the best one for a plane of `n` symbols, of which a
/// sample has these counts.
fn is_best(table: &PlaneTable, sample: &Counts, flush: Flush, n: u64) -> bool {
    let sampled: u64 = sample.iter().sum();
    let counts = sample.map(|count| count * n / sampled);
    let Some(cost) = table.cost(&counts, flush) else { return false };
    let simpler = Packing::best(&counts).map_or(Cost::MAX, |(_, cost)| cost);
    let simpler = simpler - simpler / statistics::MIN_CODING_GAIN;
    // Another table would have to save something.
    let limit = cost - cost / statistics::MIN_CODING_GAIN;
    cost < simpler.min(statistics::limit(n))
        && limit <= statistics::estimate(entropy_floor(&counts), flush)
}
