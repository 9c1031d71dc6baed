//! Says which weights hardly become smaller, and why.

use at1w_container::Dtype;
use serde::Serialize;

use crate::kind::Kind;
use crate::others::Others;
use crate::result::{FileResult, Group};
use crate::totals::{groups, percent};

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
    let mut found: Vec<Poor> = groups(files).iter().filter_map(of_group).collect();
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

fn of_group(group: &Group) -> Option<Poor> {
    let percent = percent(group.packed_bytes, group.raw_bytes);
    (group.raw_bytes > 0 && percent >= POOR).then(|| Poor {
        name: format!("{} of dtype {}", plural(group.kind), group.dtype),
        raw_bytes: group.raw_bytes,
        percent,
        why: why(group).into(),
    })
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Embedding => "embeddings",
        Kind::Attention => "attention",
        Kind::Convolution => "convolutions",
        Kind::Matrix => "matrices",
        Kind::Scale => "scales",
        Kind::Vector => "vectors",
    }
}

/// Returns the reason why tensors hardly become smaller.
fn why(group: &Group) -> &'static str {
    /// The mean length of tensors, in bytes, below which their records weigh much.
    const SMALL: u64 = 4096;
    let even = group.bound_bytes / group.raw_bytes as f64 * 100.0 >= POOR;
    let dtype = Dtype::from_name(&group.dtype);
    match dtype {
        _ if group.raw_bytes / group.tensors.max(1) < SMALL => {
            "the tensors are so small that their tables weigh as much as they save"
        }
        None => "at1w does not know the dtype, and packs it as bytes",
        Some(_) if !even => "what they repeat is found by no model of at1w",
        Some(dtype) if dtype.bits() < 8 => {
            "quantised to a few bits: every code occurs about equally often"
        }
        Some(Dtype::U8 | Dtype::I8) => {
            "quantised, perhaps with two codes of 4 bits in a byte: every byte occurs about equally \
             often"
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
