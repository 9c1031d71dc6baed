//! From a tensor and its base to the model of their differences.

use at1w_simd::differences::{Classes, MAX_CLASSES, Word};
use at1w_simd::planes::Layout;

use super::plane_statistics::PlaneStatistics;
use super::sample::sample;
use crate::cost::{self, BIT, BYTE, Cost};
use crate::counts::Counts;
use crate::difference::Differences;
use crate::difference::word::{check_pair, is_float, with_word};
use crate::model::Model;
use crate::plane::statistics::Flush;
use crate::tables::Tables;
use crate::{Dtype, EncodeError};

/// Groups of exponents that classes are made of.
const MAX_GROUPS: usize = 24;

/// Elements that a group should have.
const GROUP_LEN: u64 = 256;

/// The cost of an entry of a table.
const ENTRY: Cost = 16 * BIT;

/// Entries above which a table costs no more.
const MAX_ENTRIES: u64 = 40;

/// Counts of the planes of words with one exponent: of the differences, and of the words alone.
#[derive(Clone, Debug)]
struct OfExponent {
    differences: Vec<[u32; 256]>,
    alone: Vec<[u32; 256]>,
}

/// The model of differences in the making: one pass over a tensor and its base, chunk by chunk,
/// all or a part of them that is typical of all.
///
/// ```
/// use at1w_codec::{Decoder, DifferenceBuilder, Dtype, Encoder, Level, Position};
///
/// let base: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
/// let mut raw = base.clone();
/// raw[4 * 100] ^= 3;
/// let mut builder = DifferenceBuilder::new(Dtype::F32);
/// builder.add(&base, &raw)?;
/// let model = builder.build();
///
/// let mut encoded = Vec::new();
/// Encoder::new(Level::Default).encode_from(&model, Position::START, &base, &raw, &mut encoded)?;
/// assert!(encoded.len() < 1000);
/// let mut back = vec![0; raw.len()];
/// Decoder::new().decode_from(&model, Position::START, &base, &encoded, &mut back)?;
/// assert_eq!(back, raw);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DifferenceBuilder {
    layout: Layout,
    exponents: Vec<Option<Box<OfExponent>>>,
    chunks: u64,
    /// Elements of the chunks, and how many of them were counted.
    elements: u64,
    counted: u64,
}

impl DifferenceBuilder {
    /// Makes a builder for elements of this dtype.
    pub fn new(dtype: Dtype) -> Self {
        let layout = dtype.layout();
        Self { layout, exponents: vec![None; 256], chunks: 0, elements: 0, counted: 0 }
    }

    /// Takes a chunk and that of the base, which are of one length.
    ///
    /// # Errors
    /// [`EncodeError::Base`] and [`EncodeError::Ragged`].
    pub fn add(&mut self, base: &[u8], raw: &[u8]) -> Result<(), EncodeError> {
        check_pair(self.layout, base, raw)?;
        let width = self.layout.width();
        self.chunks += 1;
        self.elements += (raw.len() / width) as u64;
        let ((_, base), (_, raw)) = (sample(width, 1, base), sample(width, 1, raw));
        self.counted += (raw.len() / width) as u64;
        let (layout, exponents) = (self.layout, &mut self.exponents);
        with_word!(layout, count(layout, exponents, base, raw));
        Ok(())
    }

    /// Takes over the chunks that `other` was given, of the same tensor.
    ///
    /// # Panics
    /// When it is of another layout.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layout, other.layout, "both must be of one tensor");
        self.chunks += other.chunks;
        self.elements += other.elements;
        self.counted += other.counted;
        for (sum, other) in self.exponents.iter_mut().zip(&other.exponents) {
            match (sum, other) {
                (Some(sum), Some(other)) => {
                    add_each(&mut sum.differences, &other.differences);
                    add_each(&mut sum.alone, &other.alone);
                }
                (sum @ None, Some(other)) => *sum = Some(other.clone()),
                (_, None) => {}
            }
        }
    }

    /// Makes the model: the cheapest classes, and the cheapest table for each plane of each.
    pub fn build(&self) -> Model {
        let groups = self.groups();
        let (classes, ends) = self.cheapest_classes(&groups);
        let mut tables = Vec::with_capacity(classes.count());
        let mut first = 0;
        for (class, &end) in ends.iter().enumerate() {
            let alone = classes.is_alone(class as u8);
            tables.push(self.tables(&groups[first..end], alone));
            first = end;
        }
        Model::of_differences(self.layout, Differences { classes, tables })
    }

    /// Returns groups of neighbouring exponents, each with its first one: the most frequent
    /// exponents begin one.
    fn groups(&self) -> Vec<(u8, Group)> {
        let width = self.layout.width();
        let used = self.exponents.iter().enumerate().filter_map(|(exponent, counts)| {
            let counts = counts.as_deref()?;
            let n: u64 = counts.differences[0].iter().map(|&n| u64::from(n)).sum();
            Some((exponent as u8, n, counts))
        });
        let used: Vec<_> = used.collect();
        let mut frequent: Vec<_> = used.iter().map(|&(exponent, n, _)| (n, exponent)).collect();
        frequent.sort_by(|a, b| b.cmp(a));
        let most = (self.counted / GROUP_LEN).clamp(1, MAX_GROUPS as u64) as usize;
        frequent.truncate(most);
        let mut groups: Vec<(u8, Group)> = Vec::new();
        for (exponent, _, counts) in used {
            let begins = frequent.iter().any(|&(_, frequent)| frequent == exponent);
            if groups.is_empty() {
                groups.push((0, Group::new(width)));
            } else if begins {
                groups.push((exponent, Group::new(width)));
            }
            if let Some((_, group)) = groups.last_mut() {
                group.add(&counts.differences, &counts.alone);
            }
        }
        if groups.is_empty() {
            groups.push((0, Group::new(width)));
        }
        groups
    }

    /// Returns the cheapest classes that groups can be put together to, and the end of each.
    fn cheapest_classes(&self, groups: &[(u8, Group)]) -> (Classes, Vec<usize>) {
        let (n, width) = (groups.len(), self.layout.width());
        let most = if is_float(self.layout) { MAX_CLASSES.min(n) } else { 1 };
        // The cost of a class from one group to another, with the base; the first also without.
        let mut with = vec![vec![Cost::MAX; n + 1]; n];
        let mut without = vec![Cost::MAX; n + 1];
        for (first, with) in with.iter_mut().enumerate() {
            let mut sum = Group::new(width);
            for end in first + 1..=n {
                let (_, group) = &groups[end - 1];
                sum.merge(group);
                with[end] = self.class_cost(&sum.differences);
                if first == 0 && is_float(self.layout) {
                    without[end] = self.class_cost(&sum.alone);
                }
            }
        }
        // The least cost of the groups before `end` in so many classes, and where the last begins.
        let mut best = vec![vec![(Cost::MAX, 0); n + 1]; most + 1];
        for end in 1..=n {
            best[1][end] = (with[0][end].min(without[end]), 0);
        }
        for count in 2..=most {
            for end in count..=n {
                let costs = (count - 1..end).map(|first| {
                    (best[count - 1][first].0.saturating_add(with[first][end]), first)
                });
                best[count][end] = costs.min().unwrap_or((Cost::MAX, 0));
            }
        }
        let count = (1..=most).min_by_key(|&count| best[count][n].0).unwrap_or(1);
        let (mut ends, mut end) = (vec![n], n);
        for count in (2..=count).rev() {
            end = best[count][end].1;
            ends.push(end);
        }
        ends.reverse();
        let firsts: Vec<u8> = ends[..count - 1].iter().map(|&end| groups[end].0).collect();
        let classes = Classes::new(&firsts, without[ends[0]] < with[0][ends[0]]);
        (classes.expect("groups rise, and are few"), ends)
    }

    /// Estimates the cost of a class with these counts of its planes.
    fn class_cost(&self, planes: &[Counts]) -> Cost {
        let n: u64 = planes.first().map_or(0, |counts| counts.iter().sum());
        let flush = self.flush(n);
        let plane = |counts: &Counts| {
            let entries = counts.iter().filter(|&&count| count > 0).count() as u64;
            if entries <= 1 {
                return 3 * BYTE;
            }
            let coded = cost::entropy_floor(counts) + flush.alias.min(flush.lanes);
            coded.min(n * BYTE) + entries.min(MAX_ENTRIES) * ENTRY
        };
        planes.iter().map(plane).sum()
    }

    /// Returns the cost of lanes in all chunks for a class of which so many words were counted,
    /// as a part of what was counted.
    fn flush(&self, counted: u64) -> Flush {
        let all = u128::from(counted) * u128::from(self.elements) / u128::from(self.counted.max(1));
        let of_chunk = (all / u128::from(self.chunks.max(1))) as usize;
        let flush = Flush::of(of_chunk).part(counted as usize, all as usize);
        let times = |cost: Cost| cost * self.chunks;
        Flush { lanes: times(flush.lanes), alias: times(flush.alias) }
    }

    fn tables(&self, groups: &[(u8, Group)], alone: bool) -> Tables {
        let mut sum = Group::new(self.layout.width());
        groups.iter().for_each(|(_, group)| sum.merge(group));
        let mut tables = Tables::none(self.layout);
        let planes = if alone { &sum.alone } else { &sum.differences };
        let n = planes.first().map_or(0, |counts| counts.iter().sum());
        for (table, counts) in tables.planes_mut().iter_mut().zip(planes) {
            let (best, _) = PlaneStatistics::of(*counts, self.flush(n)).best(true);
            *table = best.map(Box::new);
        }
        tables
    }
}

/// Counts of several exponents.
struct Group {
    differences: Vec<Counts>,
    alone: Vec<Counts>,
}

impl Group {
    fn new(width: usize) -> Self {
        Self { differences: vec![[0; 256]; width], alone: vec![[0; 256]; width] }
    }

    fn add(&mut self, differences: &[[u32; 256]], alone: &[[u32; 256]]) {
        let pairs = [(&mut self.differences, differences), (&mut self.alone, alone)];
        for (sums, counts) in pairs {
            for (sum, count) in sums.iter_mut().flatten().zip(counts.iter().flatten()) {
                *sum += u64::from(*count);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        let pairs = [(&mut self.differences, &other.differences), (&mut self.alone, &other.alone)];
        for (sums, counts) in pairs {
            for (sum, count) in sums.iter_mut().flatten().zip(counts.iter().flatten()) {
                *sum += count;
            }
        }
    }
}

fn add_each(sums: &mut [[u32; 256]], counts: &[[u32; 256]]) {
    for (sum, count) in sums.iter_mut().flatten().zip(counts.iter().flatten()) {
        *sum = sum.saturating_add(*count);
    }
}

/// Counts the planes of words and of their differences for each exponent of the base.
fn count<W: Word>(
    layout: Layout,
    exponents: &mut [Option<Box<OfExponent>>],
    base: &[u8],
    raw: &[u8],
) {
    let (float, width) = (is_float(layout), layout.width());
    let new = || OfExponent { differences: vec![[0; 256]; width], alone: vec![[0; 256]; width] };
    for (raw, base) in W::chunks(raw).iter().zip(W::chunks(base)) {
        let (raw, base) = (W::read(raw), W::read(base));
        let exponent = if float { base.exponent() } else { 0 };
        let counts = exponents[usize::from(exponent)].get_or_insert_with(|| Box::new(new()));
        let (difference, alone) = (raw.less(base, float), raw.less(raw.only_if(false), float));
        for plane in 0..width {
            let pairs = [(&mut counts.differences, difference), (&mut counts.alone, alone)];
            for (counts, word) in pairs {
                let count = &mut counts[plane][usize::from(word.byte(plane))];
                // A large tensor has more words than fit; beyond that the share changes little.
                *count = count.saturating_add(1);
            }
        }
    }
}
