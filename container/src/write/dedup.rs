//! Tensors of a file that have the same dtype, shape and bytes as an earlier one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::Result;
use crate::format::header::{Header, TensorInfo};
use crate::source::{self, ReadAt};

/// Bytes at the start and in the middle that are looked at before all of them are.
const SAMPLE_LEN: u64 = 64;

/// Bytes that are compared at a time.
const PIECE: u64 = 1 << 20;

/// For each tensor that has the content of an earlier one, the index of that, which has none itself.
pub(crate) fn find(source: &dyn ReadAt, header: &Header) -> Result<HashMap<usize, u32>> {
    let mut alike: HashMap<u64, usize> = HashMap::new();
    for info in header.tensors() {
        *alike.entry(hash_of_kind(info)).or_default() += 1;
    }
    let (mut seen, mut shared) = (HashMap::new(), HashMap::new());
    for (i, info) in header.tensors().iter().enumerate() {
        let kind = hash_of_kind(info);
        if info.raw_len() == 0 || alike[&kind] == 1 {
            continue;
        }
        match seen.entry(sample_hash(source, header, info, kind)?) {
            Entry::Vacant(place) => _ = place.insert(i as u32),
            Entry::Occupied(place) => {
                let other = *place.get();
                let first = &header.tensors()[other as usize];
                if info.is_like(first) && same_bytes(source, header, info, first)? {
                    shared.insert(i, other);
                }
            }
        }
    }
    Ok(shared)
}

fn hash_of_kind(info: &TensorInfo) -> u64 {
    let mut hasher = DefaultHasher::new();
    (info.dtype_name(), &info.shape, info.raw_len()).hash(&mut hasher);
    hasher.finish()
}

/// A hash of its samples.
fn sample_hash(source: &dyn ReadAt, header: &Header, info: &TensorInfo, kind: u64) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    kind.hash(&mut hasher);
    let len = info.raw_len();
    let (first, middle) = match len <= 2 * SAMPLE_LEN {
        // A small tensor is read as a whole, at once.
        true => (0..len, None),
        false => (0..SAMPLE_LEN, Some(len / 2..len / 2 + SAMPLE_LEN)),
    };
    for place in std::iter::once(first).chain(middle) {
        source::read(source, within(header, info, place))?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn same_bytes(
    source: &dyn ReadAt,
    header: &Header,
    a: &TensorInfo,
    b: &TensorInfo,
) -> Result<bool> {
    let mut from = 0;
    while from < a.raw_len() {
        let piece = from..(from + PIECE).min(a.raw_len());
        let bytes = source::read(source, within(header, a, piece.clone()))?;
        if bytes != source::read(source, within(header, b, piece.clone()))? {
            return Ok(false);
        }
        from = piece.end;
    }
    Ok(true)
}

/// Where bytes of a tensor are in the file.
fn within(header: &Header, info: &TensorInfo, bytes: Range<u64>) -> Range<u64> {
    let start = header.data_start() + info.data.start;
    start + bytes.start..start + bytes.end
}
