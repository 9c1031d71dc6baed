//! Rows of a tensor, as a list has them.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use at1w_container::{
    Dtype, Error, OpenOptions, PackOptions, ReadAt, Reader, Staged, StagedTensor, Weights, pack,
};
use proptest::prelude::*;

/// A file that counts what is read of it.
struct Source {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl ReadAt for Source {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.read.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.bytes.read_at(range)
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (((i * i) >> 7) ^ (i / 700)) as u8).collect()
}

/// Packs a tensor. Returns its bytes with the file.
fn packed(dtype: Dtype, shape: &[u64], data: &[u8]) -> Vec<u8> {
    let tensor = StagedTensor { name: "w", dtype, shape, data };
    let mut file = Vec::new();
    pack(&Staged::new(vec![tensor], None).unwrap(), &mut file, &PackOptions::new()).unwrap();
    file
}

/// Returns a safetensors file of a tensor.
fn plain(dtype: &str, shape: &[u64], data: &[u8]) -> Vec<u8> {
    let header = format!(
        r#"{{"w":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[0,{}]}}}}"#,
        data.len()
    );
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Returns the rows by copying each.
fn expected(data: &[u8], row_len: usize, rows: &[i64]) -> Vec<u8> {
    let count = (data.len() / row_len) as i64;
    rows.iter()
        .flat_map(|row| &data[row.rem_euclid(count) as usize * row_len..][..row_len])
        .copied()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Rows of several chunks, and rows that chunks cut.
    #[test]
    fn rows_are_those_of_the_list(
        wide in prop::bool::ANY,
        rows in prop::collection::vec(-1300i64..1300, 0..60),
        sorted in prop::bool::ANY,
    ) {
        let (shape, row_len, count) = match wide {
            true => ([13, 100, 2000], 400_000, 13),
            false => ([1300, 2, 700], 2800, 1300),
        };
        let data = data(count * row_len);
        let mut rows: Vec<_> = rows.iter().map(|row| row % count as i64).collect();
        if sorted {
            rows.sort_unstable();
            rows.dedup();
        }
        let expected = expected(&data, row_len, &rows);
        let file = packed(Dtype::F16, &shape, &data);
        let reader = Reader::new(Box::new(file.clone()), &OpenOptions::new()).unwrap();
        let (found, read) = reader.tensor("w").unwrap().read_rows(&rows).unwrap();
        prop_assert_eq!(found, [rows.len() as u64, shape[1], shape[2]]);
        prop_assert!(read == expected);
        for file in [file, plain("F16", &shape, &data)] {
            let weights = Weights::new(Box::new(file), &OpenOptions::new()).unwrap();
            let (_, len) = weights.rows_shape("w", &rows).unwrap();
            let mut out = vec![0; len as usize];
            weights.read_rows("w", &rows, &mut out, &()).unwrap();
            prop_assert!(out == expected);
            // Again, where chunks are kept.
            out.fill(7);
            weights.read_rows("w", &rows, &mut out, &()).unwrap();
            prop_assert!(out == expected);
        }
    }
}

#[test]
fn each_chunk_is_read_once_and_those_that_are_kept_never() {
    let data = data(4000 * 1024);
    let file = packed(Dtype::U8, &[4000, 1024], &data);
    let source = Arc::new(Source { bytes: file, read: AtomicU64::new(0) });
    let reader = Reader::new(Box::new(source.clone()), &OpenOptions::new()).unwrap();
    let tensor = reader.tensor("w").unwrap();
    let read = |rows: &[i64]| {
        let before = source.read.load(Ordering::Relaxed);
        assert!(tensor.read_rows(rows).unwrap().1 == expected(&data, 1024, rows));
        source.read.load(Ordering::Relaxed) - before
    };
    let one = read(&[700]);
    // Of the chunks of 512 rows, the second is kept.
    let turns: Vec<i64> = (0..200).flat_map(|i| [512 + i, 200 - i, -1 - i]).collect();
    let two = read(&turns);
    assert!(one > 0 && two < 3 * one, "{one} {two}");
    assert_eq!(read(&turns), 0);
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let file = packed(Dtype::U8, &[3, 4], &data(12));
    let reader = Reader::new(Box::new(file.clone()), &OpenOptions::new()).unwrap();
    for row in [3, -4, i64::MAX, i64::MIN] {
        let error = reader.tensor("w").unwrap().read_rows(&[0, row]).unwrap_err();
        let problem = format!("{row} is out of range for dimension 0 of size 3");
        assert!(matches!(&error, Error::Slice { problem: p, .. } if *p == problem), "{error}");
    }
    let weights = Weights::new(Box::new(file), &OpenOptions::new()).unwrap();
    let error = weights.read_rows("w", &[0, 1], &mut [0; 7], &()).unwrap_err();
    assert!(matches!(error, Error::Buffer { len: 7, needed: 8 }), "{error}");

    // No rows of a scalar, none but whole bytes, and none that are too long for a number.
    let refused = |dtype: &str, shape: &[u64], data: &[u8], rows: &[i64]| {
        let file = plain(dtype, shape, data);
        let weights = Weights::new(Box::new(file), &OpenOptions::new()).unwrap();
        weights.read_rows("w", rows, &mut [], &()).unwrap_err().to_string()
    };
    assert!(refused("U8", &[], &[1], &[0]).contains("0 dimensions"));
    assert!(refused("F4", &[2, 1], &[1], &[0]).contains("whole bytes"));
    assert!(refused("U8", &[0, 1 << 40, 1 << 40], &[], &[0]).contains("out of range"));
    let empty = packed(Dtype::U8, &[3, 0], &[]);
    let reader = Reader::new(Box::new(empty), &OpenOptions::new()).unwrap();
    assert_eq!(reader.tensor("w").unwrap().read_rows(&[2, 0]).unwrap(), (vec![2, 0], vec![]));
}
