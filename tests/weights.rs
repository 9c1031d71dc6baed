//! Reads and makes files of either format in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use at1w_codec::Dtype;
use at1w_container::{
    Digest, Error, FileKind, OpenOptions, PackOptions, Progress, ReadAt, Staged, StagedTensor,
    Weights, WrongKind, pack,
};
use at1w_tests::{Random, Tensor, everything, packed, safetensors, weights};
use safetensors::tensor::TensorView;

fn open(bytes: Vec<u8>) -> Weights {
    Weights::new(Box::new(bytes), &OpenOptions::new()).unwrap()
}

/// Returns the names and the sizes of all tensors.
fn sizes(weights: &Weights) -> Vec<(String, usize)> {
    let tensors = weights.header().tensors().iter();
    tensors.map(|t| (t.name().to_owned(), t.raw_len() as usize)).collect()
}

#[test]
fn both_formats_read_the_same() {
    let original = everything();
    let header_len = u64::from_le_bytes(*original.first_chunk().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&original[8..][..header_len]).unwrap();
    let data = &original[8 + header_len..];
    for bytes in [original.clone(), packed(&original).unwrap()] {
        let weights = open(bytes);
        let sizes = sizes(&weights);
        let mut out: Vec<_> = sizes.iter().map(|(_, len)| vec![0xff; *len]).collect();
        let mut wanted: Vec<(&str, &mut [u8])> =
            sizes.iter().zip(&mut out).map(|((name, _), out)| (&**name, &mut out[..])).collect();
        weights.read(&mut wanted, &()).unwrap();
        for ((name, _), out) in sizes.iter().zip(&out) {
            let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
            let expected = &data[at(0)..at(1)];
            assert!(out == expected, "{name}");
            let mut pinned = vec![0xff; out.len()];
            weights.read_pinned(name, Digest::of(expected), &mut pinned, &()).unwrap();
            assert!(pinned == expected, "{name}");
        }
    }
}

#[test]
fn what_is_not_the_pinned_tensor_is_zeroed() {
    let original = everything();
    for bytes in [original.clone(), packed(&original).unwrap()] {
        let weights = open(bytes);
        let mut out = vec![0; 64];
        let error = weights.read_pinned("stored", Digest::of(b"another"), &mut out, &());
        assert!(matches!(error, Err(Error::OtherTensor { name, .. }) if name == "stored"));
        assert!(out == [0; 64]);
    }
}

#[test]
fn wrong_requests_are_refused() {
    let original = everything();
    for bytes in [original.clone(), packed(&original).unwrap()] {
        let weights = open(bytes);
        let error = weights.read(&mut [("store", &mut [])], &()).unwrap_err();
        assert!(matches!(error, Error::NoTensor { near, .. } if near.contains(&"stored".into())));
        let error = weights.read(&mut [("stored", &mut [0; 63])], &()).unwrap_err();
        assert!(matches!(error, Error::Buffer { len: 63, needed: 64 }));
        let slice = &"0:2".parse().unwrap();
        let error = weights.read_slice("stored", slice, &mut [0], &()).unwrap_err();
        assert!(matches!(error, Error::Buffer { len: 1, needed: 2 }));
    }
    let root = OpenOptions::new().root(Digest([0; 32]));
    let error = Weights::new(Box::new(original), &root).err().unwrap();
    assert!(matches!(error, Error::NoRoot));
    let refused =
        |bytes: &[u8]| Weights::new(Box::new(bytes.to_vec()), &OpenOptions::new()).err().unwrap();
    assert!(matches!(refused(&[0xff; 100]), Error::Safetensors(_)));
    let empty = refused(b"");
    assert!(matches!(empty, Error::WrongKind(WrongKind { found: FileKind::Empty, .. })));
    assert!(matches!(refused(b"at1w"), Error::Damaged { .. }));
}

/// A progress that stops the work as soon as so many bytes are done.
struct StopAfter(u64, AtomicU64);

impl Progress for StopAfter {
    fn advance(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

#[test]
fn reads_tell_how_they_go_and_stop() {
    let data = weights(Dtype::F32, 4 << 20, &mut Random::new(1));
    let original = safetensors(&[Tensor::new("t", Dtype::F32, &[4 << 20], data.clone())]);
    for bytes in [original.clone(), packed(&original).unwrap()] {
        let weights = open(bytes);
        let mut out = vec![0; data.len()];
        let never = StopAfter(u64::MAX, AtomicU64::new(0));
        weights.read(&mut [("t", &mut out)], &never).unwrap();
        assert_eq!(never.1.into_inner(), data.len() as u64);
        assert!(out == data);

        let soon = StopAfter(1, AtomicU64::new(0));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let error = one.install(|| weights.read(&mut [("t", &mut out)], &soon)).unwrap_err();
        assert!(matches!(error, Error::Cancelled));
        assert!(soon.1.into_inner() < data.len() as u64);
    }
}

#[test]
fn damage_is_named_and_zeroed() {
    let original = everything();
    let mut bytes = packed(&original).unwrap();
    let reader = at1w_tests::open(&bytes).unwrap();
    let stored = original.windows(64).position(|w| {
        let tensor = reader.tensor("stored").unwrap().read_to_vec().unwrap();
        w == tensor
    });
    let content = &original[stored.unwrap()..][..64];
    let at = bytes.windows(64).position(|w| w == content).expect("it is stored as it is");
    bytes[at] ^= 1;
    let weights = open(bytes);
    let (mut damaged, mut intact) = (vec![0xff; 64], vec![0xff; 4]);
    let wanted: &mut [(&str, &mut [u8])] = &mut [("stored", &mut damaged), ("scalar", &mut intact)];
    let error = weights.read(wanted, &()).unwrap_err();
    assert!(matches!(error, Error::DamagedTensor { name, chunk: Some(0), .. } if name == "stored"));
    assert!(damaged == [0; 64]);
    assert!([[0; 4], [0xff; 4], 1.5f32.to_le_bytes()].concat().chunks(4).any(|c| c == intact));
}

/// Makes tensors of every dtype, with their bytes.
fn all_dtypes() -> Vec<(String, Dtype, Vec<u64>, Vec<u8>)> {
    let mut random = Random::new(4);
    let tensor = |(i, dtype): (usize, Dtype)| {
        let bytes = random.bytes(24 * dtype.bits() as usize / 8);
        (format!("{}.\"{i}\"", 40 - i), dtype, vec![2, 3, 4], bytes)
    };
    Dtype::ALL.into_iter().enumerate().map(tensor).collect()
}

fn staged<'a>(
    tensors: &'a [(String, Dtype, Vec<u64>, Vec<u8>)],
    metadata: Option<&[(String, String)]>,
) -> Staged<'a> {
    let tensors = tensors.iter().map(|(name, dtype, shape, data)| StagedTensor {
        name,
        dtype: *dtype,
        shape,
        data,
    });
    Staged::new(tensors.collect(), metadata).unwrap()
}

#[test]
fn staged_tensors_are_what_safetensors_saves() {
    let tensors = all_dtypes();
    for metadata in [None, Some(vec![]), Some(vec![("format".to_owned(), "pt".to_owned())])] {
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            let dtype = serde_json::from_value(dtype.name().into()).unwrap();
            let shape = shape.iter().map(|&n| n as usize).collect();
            (name, TensorView::new(dtype, shape, data).unwrap())
        });
        let map = metadata.clone().map(|m| m.into_iter().collect::<HashMap<_, _>>());
        let expected = safetensors::serialize(views, map).unwrap();

        let staged = staged(&tensors, metadata.as_deref());
        let mut written = Vec::new();
        staged.write(&mut written, &()).unwrap();
        assert!(written == expected);
        assert_eq!(open(written).header().has_metadata(), metadata.is_some());

        assert_eq!(staged.file_len(), expected.len() as u64);
        for start in (0..expected.len()).step_by(7) {
            for len in [0, 1, 50, 300, expected.len() - start] {
                let end = expected.len().min(start + len);
                let read = staged.read_at(start as u64..end as u64).unwrap();
                assert!(*read == expected[start..end]);
            }
        }
        assert!(staged.read_at(0..expected.len() as u64 + 1).is_err());

        let mut from_memory = Vec::new();
        pack(&staged, &mut from_memory, &PackOptions::new()).unwrap();
        assert!(from_memory == packed(&expected).unwrap());
    }
}

#[test]
fn staged_tensors_must_be_a_valid_file() {
    let tensor = StagedTensor { name: "a", dtype: Dtype::F32, shape: &[2], data: &[0; 8] };
    let short = StagedTensor { data: &[0; 7], ..tensor };
    for tensors in [vec![tensor, tensor], vec![short]] {
        assert!(matches!(Staged::new(tensors, None), Err(Error::Safetensors(_))));
    }
}
