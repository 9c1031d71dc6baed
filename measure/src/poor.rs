//! Says which weights hardly become smaller, and why.

use std::collections::BTreeMap;

use at1w_container::Dtype;
use serde::Serialize;

use crate::others::Others;
use crate::result::{FileResult, Group};
use crate::totals::{self, percent};

/// The percentage from which on weights count as those that hardly become smaller.
const POOR: f64 = 95.0;

/// Weights or files that hardly become smaller.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Poor {
    /// The tensors or files.
    pub name: String,
    /// Their length, in bytes.
    pub raw_bytes: u64,
    /// Their length after packing, in percent.
    pub percent: f64,
    /// The reason.
    pub why: String,
}

/// Returns the tensors and files that hardly become smaller, the largest first.
pub(crate) fn find(files: &[FileResult], others: &Others) -> Vec<Poor> {
    let (small, groups): (Vec<Group>, Vec<Group>) =
        totals::groups(files).into_iter().partition(is_small);
    let mut reasons: BTreeMap<(&str, &str), Vec<&Group>> = BTreeMap::new();
    for group in groups.iter().filter(|group| is_poor(group)) {
        reasons.entry((&group.dtype, why(group))).or_default().push(group);
    }
    let mut found: Vec<Poor> = reasons.values().filter_map(|groups| of_groups(groups)).collect();
    found.extend(of_small(&small));
    let unpacked = others.files - others.packed_files;
    for (name, count, raw_bytes, why) in [
        (
            "files that are packed already",
            others.packed_files,
            others.packed_file_bytes,
            "at1w has packed them before: their gain is not in this report",
        ),
        (
            "other files",
            unpacked,
            others.bytes - others.packed_file_bytes,
            "they hold no safetensors, and are carried over as they are",
        ),
    ] {
        if count > 0 && raw_bytes > 0 {
            found.push(Poor { name: name.into(), raw_bytes, percent: 100.0, why: why.into() });
        }
    }
    found.sort_by_key(|poor| std::cmp::Reverse(poor.raw_bytes));
    found
}

/// Whether the tensors are so small that what describes them weighs much.
fn is_small(group: &Group) -> bool {
    const SMALL: u64 = 4096;
    group.raw_bytes / group.tensors.max(1) < SMALL
}

/// Returns all small tensors that hardly become smaller as one.
fn of_small(groups: &[Group]) -> Option<Poor> {
    let poor = groups.iter().filter(|group| is_poor(group));
    let (raw, packed, tensors) = poor.fold((0, 0, 0), |(raw, packed, tensors), group| {
        (raw + group.raw_bytes, packed + group.packed_bytes, tensors + group.tensors)
    });
    (raw > 0).then(|| Poor {
        name: format!("{tensors} small tensors"),
        raw_bytes: raw,
        percent: percent(packed, raw),
        why: "their tables weigh as much as they save".into(),
    })
}

/// Returns the tensors of one dtype that hardly become smaller for one reason.
fn of_groups(groups: &[&Group]) -> Option<Poor> {
    let raw_bytes = groups.iter().map(|group| group.raw_bytes).sum();
    let packed = groups.iter().map(|group| group.packed_bytes).sum();
    let first = groups.first()?;
    let kinds: Vec<&str> = groups.iter().map(|group| group.kind.name()).collect();
    Some(Poor {
        name: format!("{} ({})", first.dtype, kinds.join(", ")),
        raw_bytes,
        percent: percent(packed, raw_bytes),
        why: why(first).into(),
    })
}

fn is_poor(group: &Group) -> bool {
    group.raw_bytes > 0 && percent(group.packed_bytes, group.raw_bytes) >= POOR
}

/// Returns the reason why tensors hardly become smaller.
fn why(group: &Group) -> &'static str {
    let even = group.bound_bytes / group.raw_bytes as f64 * 100.0 >= POOR;
    let dtype = Dtype::from_name(&group.dtype);
    match dtype {
        None => "at1w does not know the dtype, and packs it as bytes",
        Some(_) if !even => "what they repeat is found by no model of at1w",
        Some(dtype) if dtype.bits() < 8 => {
            "quantised to a few bits: every code occurs about equally often"
        }
        Some(Dtype::U8 | Dtype::I8) => {
            "quantised, perhaps with two codes of 4 bits in a byte: every byte occurs about \
             equally often"
        }
        Some(dtype) if is_integer(dtype) => {
            "codes of quantised weights packed into words, which look random"
        }
        Some(dtype) if dtype.bits() == 8 => {
            "8-bit floats whose values all occur about equally often"
        }
        Some(_) => "they look random in every bit, as noise or encrypted bytes do",
    }
}

fn is_integer(dtype: Dtype) -> bool {
    use Dtype::{I16, I32, I64, U16, U32, U64};
    matches!(dtype, U16 | I16 | U32 | I32 | U64 | I64)
}
