//! Tensors of a file that have the same dtype, shape and bytes as an earlier one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use crate::error::Result;
use crate::format::header::Header;
use crate::format::tensor_info::TensorInfo;
use crate::source::{self, ReadAt};

/// The number of bytes at the start and in the middle that are compared before all of them are.
const SAMPLE_LEN: u64 = 64;

/// The number of bytes that are compared at a time.
const PIECE: u64 = 1 << 20;

/// The dtype, the shape and the length of a tensor.
type Like<'a> = (&'a str, &'a [u64], u64);

/// Finds, for each tensor with the content of an earlier one, the index of the earlier one, which
/// has none itself.
///
/// A tensor is compared with the first one that it is like and has the samples of. The samples
/// themselves are the keys, not a hash of them: the result must be the same for ever.
pub(super) fn find(source: &dyn ReadAt, header: &Header) -> Result<HashMap<usize, u32>> {
    // Each dtype, shape and length has a number: it is a shorter key than the three.
    let mut numbers: HashMap<Like<'_>, usize> = HashMap::new();
    let mut counts = Vec::new();
    let mut kinds = Vec::with_capacity(header.tensors().len());
    for info in header.tensors() {
        let kind = *numbers.entry(like(info)).or_insert(counts.len());
        counts.resize(counts.len().max(kind + 1), 0_usize);
        counts[kind] += 1;
        kinds.push(kind);
    }
    let (mut seen, mut shared) = (HashMap::new(), HashMap::new());
    for (i, (info, kind)) in header.tensors().iter().zip(kinds).enumerate() {
        if info.raw_len() == 0 || counts[kind] == 1 {
            continue;
        }
        match seen.entry((kind, samples(source, header, info)?)) {
            Entry::Vacant(place) => _ = place.insert(i as u32),
            Entry::Occupied(place) => {
                let other = *place.get();
                let first = &header.tensors()[other as usize];
                if same_bytes(source, header, info, first)? {
                    shared.insert(i, other);
                }
            }
        }
    }
    Ok(shared)
}

fn like(info: &TensorInfo) -> Like<'_> {
    (info.dtype_name(), info.shape(), info.raw_len())
}

/// Returns the bytes at the start and in the middle of a tensor; all of them for a small one.
pub(super) fn samples(source: &dyn ReadAt, header: &Header, info: &TensorInfo) -> Result<Vec<u8>> {
    let len = info.raw_len();
    let read = |range| source::read(source, within(header, info, range));
    if len <= 2 * SAMPLE_LEN {
        return Ok(read(0..len)?.into_owned());
    }
    Ok([read(0..SAMPLE_LEN)?, read(len / 2..len / 2 + SAMPLE_LEN)?].concat())
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

/// Returns the range in the file of a range of a tensor.
pub(super) fn within(header: &Header, info: &TensorInfo, bytes: Range<u64>) -> Range<u64> {
    let start = header.data_start() + info.data.start;
    start + bytes.start..start + bytes.end
}

#[cfg(test)]
mod tests {
    use at1w_codec::Dtype;

    use super::*;
    use crate::write::staged::{Staged, StagedTensor};

    /// The index of the earlier tensor for each of these, which are named in their order.
    fn found(tensors: &[(Dtype, &[u64], &[u8])]) -> Vec<Option<u32>> {
        let names: Vec<_> = (0..tensors.len()).map(|i| format!("{i}")).collect();
        let staged = names.iter().zip(tensors);
        let staged =
            staged.map(|(name, &(dtype, shape, data))| StagedTensor { name, dtype, shape, data });
        let staged = Staged::new(staged.collect(), None).unwrap();
        let header = Header::read(&staged).unwrap();
        let shared = find(&staged, &header).unwrap();
        (0..tensors.len()).map(|i| shared.get(&i).copied()).collect()
    }

    #[test]
    fn tensors_of_one_dtype_shape_and_content_are_found() {
        let a = [7; 300];
        let (flat, square): (&[u64], &[u64]) = (&[300], &[30, 10]);
        let u8 = Dtype::U8;
        let tensors = [(u8, flat, &a[..]), (u8, square, &a), (u8, flat, &a), (u8, square, &a)];
        assert_eq!(found(&tensors), [None, None, Some(0), Some(1)]);
        assert_eq!(found(&[(u8, flat, &a), (Dtype::I8, flat, &a)]), [None, None]);
        assert_eq!(found(&[(u8, &[0], &[]), (u8, &[0], &[])]), [None, None]);
    }

    #[test]
    fn equal_samples_are_no_equal_content() {
        let a = [7; 300];
        let mut b = a;
        b[299] = 8;
        let shape: &[u64] = &[300];
        let u8 = Dtype::U8;
        assert_eq!(
            found(&[(u8, shape, &a), (u8, shape, &b), (u8, shape, &a)]),
            [None, None, Some(0)]
        );
        // Only the first of equal samples is compared with.
        assert_eq!(found(&[(u8, shape, &a), (u8, shape, &b), (u8, shape, &b)]), [None; 3]);
    }
}
