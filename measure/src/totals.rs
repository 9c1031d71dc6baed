//! Totals of the results of files: by level, dtype, kind and model.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kind::Kind;
use crate::others::Others;
use crate::result::{FileResult, Group, LevelResult};
use crate::statistics::entropy;

/// Everything together.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Total {
    /// The number of files of weights.
    pub files: u64,
    /// The number of tensors.
    pub tensors: u64,
    /// The length of all files, in bytes.
    pub raw_bytes: u64,
    /// Their length after packing, in bytes.
    pub packed_bytes: u64,
    /// The bytes that packing saves; 0 where it saves none.
    pub saved_bytes: u64,
    /// The length after packing in percent of the one before.
    pub percent: f64,
    /// The least percentage that a sample allows, 19 times out of 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent_low: Option<f64>,
    /// The largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent_high: Option<f64>,
}

/// A level, or another compressor: what it costs and what it wins.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LevelRow {
    /// The name of the level or compressor.
    pub level: String,
    /// The length of all files, in bytes.
    pub raw_bytes: u64,
    /// Their length after packing, in bytes.
    pub packed_bytes: u64,
    /// The second in percent of the first.
    pub percent: f64,
    /// The speed of packing, in raw megabytes a second.
    pub pack_mb_per_second: f64,
    /// The speed of reading back, verifying and comparing, in raw megabytes a second.
    pub read_mb_per_second: f64,
}

/// The tensors of a dtype.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct DtypeRow {
    /// The dtype, as headers spell it.
    pub dtype: String,
    /// The number of tensors.
    pub tensors: u64,
    /// Their length, in bytes.
    pub raw_bytes: u64,
    /// The length of what is stored of them, in bytes.
    pub packed_bytes: u64,
    /// The second in percent of the first.
    pub percent: f64,
    /// The bits of an element before packing.
    pub bits: f64,
    /// The bits of an element that are stored.
    pub packed_bits: f64,
    /// The bits of an element that an ideal coder needs with one table for each plane of bytes.
    pub bound_bits: f64,
}

/// The tensors of a kind.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KindRow {
    /// The kind.
    pub kind: Kind,
    /// The number of tensors.
    pub tensors: u64,
    /// Their length, in bytes.
    pub raw_bytes: u64,
    /// The length of what is stored of them, in bytes.
    pub packed_bytes: u64,
    /// The second in percent of the first.
    pub percent: f64,
}

/// The files of a model.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ModelRow {
    /// The name of the model.
    pub model: String,
    /// The dtype of most of its bytes.
    pub dtype: String,
    /// The number of files.
    pub files: u64,
    /// The number of tensors.
    pub tensors: u64,
    /// The length of the files, in bytes.
    pub raw_bytes: u64,
    /// Their length after packing, in bytes.
    pub packed_bytes: u64,
    /// The second in percent of the first.
    pub percent: f64,
}

/// How often each exponent occurs in the tensors of a dtype.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Exponents {
    /// The dtype.
    pub dtype: String,
    /// The entropy of the exponents of all tensors together, in bits for each.
    pub entropy: f64,
    /// The bits that hold an exponent.
    pub bits: u32,
    /// The number of elements with each exponent, from the lowest.
    pub counts: Vec<u64>,
}

/// Returns `part` in percent of `whole`; of nothing 100.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Returns the total; `margin` is how far an estimate may be from the packed size, in bytes.
pub(crate) fn total(files: &[FileResult], others: &Others, margin: Option<u64>) -> Total {
    let raw_bytes = sum(files, |file| file.raw_bytes) + others.bytes;
    let packed_bytes = sum(files, FileResult::packed_bytes) + others.bytes;
    Total {
        files: files.len() as u64,
        tensors: sum(files, tensors),
        raw_bytes,
        packed_bytes,
        saved_bytes: raw_bytes.saturating_sub(packed_bytes),
        percent: percent(packed_bytes, raw_bytes),
        percent_low: margin.map(|margin| percent(packed_bytes.saturating_sub(margin), raw_bytes)),
        percent_high: margin.map(|margin| percent(packed_bytes + margin, raw_bytes)),
    }
}

fn sum(files: &[FileResult], of: impl FnMut(&FileResult) -> u64) -> u64 {
    files.iter().map(of).sum()
}

fn tensors(file: &FileResult) -> u64 {
    file.groups.iter().map(|group| group.tensors).sum()
}

pub(crate) fn levels(files: &[FileResult], names: &[&str]) -> Vec<LevelRow> {
    names.iter().map(|name| row(files, name, |file| &file.levels)).collect()
}

pub(crate) fn against(files: &[FileResult], names: &[&str]) -> Vec<LevelRow> {
    names.iter().map(|name| row(files, name, |file| &file.against)).collect()
}

/// Adds up the results of one level or compressor.
fn row(files: &[FileResult], name: &str, of: fn(&FileResult) -> &Vec<LevelResult>) -> LevelRow {
    let results: Vec<(u64, &LevelResult)> = files
        .iter()
        .filter_map(|file| {
            let result = of(file).iter().find(|result| result.level == name)?;
            Some((file.raw_bytes, result))
        })
        .collect();
    let raw_bytes = results.iter().map(|(raw, _)| raw).sum();
    let packed_bytes = results.iter().map(|(_, result)| result.packed_bytes).sum();
    let speed = |seconds: fn(&LevelResult) -> f64| {
        let seconds: f64 = results.iter().map(|(_, result)| seconds(result)).sum();
        if seconds > 0.0 { raw_bytes as f64 / 1e6 / seconds } else { 0.0 }
    };
    LevelRow {
        level: name.to_owned(),
        raw_bytes,
        packed_bytes,
        percent: percent(packed_bytes, raw_bytes),
        pack_mb_per_second: speed(|result| result.pack_seconds),
        read_mb_per_second: speed(|result| result.read_seconds),
    }
}

/// Adds up the groups of all files by what `key` returns.
fn by<K: Ord>(files: &[FileResult], key: impl Fn(&Group) -> K) -> Vec<(K, Group)> {
    let mut sums: BTreeMap<K, Group> = BTreeMap::new();
    for group in files.iter().flat_map(|file| &file.groups) {
        sums.entry(key(group)).and_modify(|sum| sum.add(group)).or_insert_with(|| group.clone());
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, group)| std::cmp::Reverse(group.raw_bytes));
    sums
}

pub(crate) fn dtypes(files: &[FileResult]) -> Vec<DtypeRow> {
    let row = |(dtype, group): (String, Group)| {
        let each = |bytes: f64| 8.0 * bytes / (group.elements as f64).max(1.0);
        DtypeRow {
            dtype,
            tensors: group.tensors,
            raw_bytes: group.raw_bytes,
            packed_bytes: group.packed_bytes,
            percent: percent(group.packed_bytes, group.raw_bytes),
            bits: each(group.raw_bytes as f64),
            packed_bits: each(group.packed_bytes as f64),
            bound_bits: each(group.bound_bytes),
        }
    };
    by(files, |group| group.dtype.clone()).into_iter().map(row).collect()
}

pub(crate) fn kinds(files: &[FileResult]) -> Vec<KindRow> {
    let row = |(kind, group): (Kind, Group)| KindRow {
        kind,
        tensors: group.tensors,
        raw_bytes: group.raw_bytes,
        packed_bytes: group.packed_bytes,
        percent: percent(group.packed_bytes, group.raw_bytes),
    };
    by(files, |group| group.kind).into_iter().map(row).collect()
}

/// Returns the groups of all files by dtype and kind.
pub(crate) fn groups(files: &[FileResult]) -> Vec<Group> {
    let groups = by(files, |group| (group.dtype.clone(), group.kind));
    groups.into_iter().map(|(_, group)| group).collect()
}

pub(crate) fn models(files: &[FileResult]) -> Vec<ModelRow> {
    let mut models: BTreeMap<&str, Vec<&FileResult>> = BTreeMap::new();
    for file in files {
        models.entry(&file.model).or_default().push(file);
    }
    let row = |(model, files): (&str, Vec<&FileResult>)| {
        let mut dtypes: BTreeMap<&str, u64> = BTreeMap::new();
        for group in files.iter().flat_map(|file| &file.groups) {
            *dtypes.entry(&group.dtype).or_default() += group.raw_bytes;
        }
        let dtype = dtypes.into_iter().max_by_key(|&(_, bytes)| bytes);
        let raw_bytes = files.iter().map(|file| file.raw_bytes).sum();
        let packed_bytes = files.iter().map(|file| file.packed_bytes()).sum();
        ModelRow {
            model: model.to_owned(),
            dtype: dtype.map_or(String::new(), |(dtype, _)| dtype.to_owned()),
            files: files.len() as u64,
            tensors: files.iter().map(|file| tensors(file)).sum(),
            raw_bytes,
            packed_bytes,
            percent: percent(packed_bytes, raw_bytes),
        }
    };
    let mut rows: Vec<_> = models.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.raw_bytes));
    rows
}

pub(crate) fn exponents(files: &[FileResult]) -> Vec<Exponents> {
    let mut sums: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (dtype, counts) in files.iter().flat_map(|file| &file.exponents) {
        let sum = sums.entry(dtype).or_insert_with(|| vec![0; counts.len()]);
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let row = |(dtype, counts): (&str, Vec<u64>)| Exponents {
        dtype: dtype.to_owned(),
        entropy: entropy(&counts),
        bits: counts.len().ilog2(),
        counts,
    };
    sums.into_iter().map(row).collect()
}
