//! Checks that any input comes back, whole and in parts, whatever the machine does meanwhile.

use std::num::NonZeroU64;
use std::sync::{Mutex, OnceLock};

use at1w_codec::Dtype;
use at1w_container::{
    Index, Level, Mapped, OpenOptions, ReadAt, Reader, Slice, VerifiedChunk, Weights,
};
use at1w_tests::{
    Random, Tensor, everything, naive_slice, open, packed, packed_at, restored, safetensors,
    scaled_weights, skewed, weights,
};
use proptest::prelude::*;

const LEVELS: [Level; 3] = [Level::Fast, Level::Default, Level::Max];

#[test]
fn every_tensor_and_the_file_come_back() {
    for level in LEVELS {
        round_trips(level, &everything());
        round_trips(level, &skewed());
    }
}

fn round_trips(level: Level, original: &[u8]) {
    let packed = packed_at(level, original).unwrap();
    assert!(restored(&packed).unwrap() == original);

    let reader = open(&packed).unwrap();
    reader.verify(&()).unwrap();
    assert!(shown(&reader) == original);
    for tensor in reader.tensors() {
        let data = tensor.read_to_vec().unwrap();
        assert_eq!(at1w_container::Digest::of(&data), tensor.digest(), "{}", tensor.name());
    }
}

/// The original file, of its header and of the chunks that verifying shows, each of which is in a
/// place of its own.
fn shown(reader: &Reader) -> Vec<u8> {
    let header = reader.header().bytes();
    let len = reader.info().original_len as usize;
    let start = [&(header.len() as u64).to_le_bytes(), header].concat();
    let original = Mutex::new((start.len(), [start, vec![0; len]].concat()));
    let see = |chunk: VerifiedChunk<'_>| {
        let (filled, original) = &mut *original.lock().unwrap();
        *filled += chunk.bytes.len();
        original[chunk.offset as usize..][..chunk.bytes.len()].copy_from_slice(chunk.bytes);
        Ok(())
    };
    reader.verify_showing(&see, &()).unwrap();
    let (filled, mut original) = original.into_inner().unwrap();
    assert_eq!(filled, len);
    original.truncate(len);
    original
}

#[test]
fn tensors_are_those_that_safetensors_reads() {
    let mut random = Random::new(5);
    let original = safetensors(&[
        Tensor::new("b", Dtype::BF16, &[700, 500], weights(Dtype::BF16, 350_000, &mut random)),
        Tensor::new("a", Dtype::F32, &[1000, 300], weights(Dtype::F32, 300_000, &mut random)),
    ]);
    let packed = packed(&original).unwrap();
    let reader = open(&packed).unwrap();
    let reference = safetensors::SafeTensors::deserialize(&original).unwrap();
    for (name, view) in reference.tensors() {
        assert!(reader.tensor(&name).unwrap().read_to_vec().unwrap() == view.data());
    }
}

#[test]
fn every_source_gives_the_same() {
    let original = everything();
    let bytes = packed(&original).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("everything.at1w");
    std::fs::write(&path, &bytes).unwrap();
    let sources: [Box<dyn ReadAt>; 3] = [
        Box::new(bytes),
        Box::new(std::fs::File::open(&path).unwrap()),
        // SAFETY: no other code knows of the file.
        Box::new(unsafe { Mapped::open(&path) }.unwrap()),
    ];
    for source in sources {
        let end = source.size().unwrap();
        assert!(source.read_at(0..end + 1).is_err() && source.read_at(end..end).is_ok());
        let reader = Reader::new(source, &OpenOptions::new()).unwrap();
        let mut back = Vec::new();
        reader.restore(&mut back, &()).unwrap();
        assert!(back == original);
        assert!(reader.read_original(5..600_000).unwrap() == original[5..600_000]);
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let original = everything();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| packed(&original).unwrap())
    };
    assert!(on(1) == on(8));
}

#[test]
fn a_slice_reads_only_its_chunks() {
    use std::borrow::Cow;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Counting(Vec<u8>, Arc<AtomicU64>);
    impl at1w_container::ReadAt for Counting {
        fn size(&self) -> std::io::Result<u64> {
            self.0.size()
        }
        fn read_at(&self, range: std::ops::Range<u64>) -> std::io::Result<Cow<'_, [u8]>> {
            self.1.fetch_add(range.end - range.start, Ordering::Relaxed);
            self.0.read_at(range)
        }
    }
    let data = Random::new(3).bytes(4 << 20);
    let original = safetensors(&[Tensor::new("t", Dtype::U8, &[4096, 1024], data.clone())]);
    let read = Arc::new(AtomicU64::new(0));
    let source = Counting(packed(&original).unwrap(), read.clone());
    let reader = at1w_container::Reader::new(Box::new(source), &Default::default()).unwrap();
    read.store(0, Ordering::Relaxed);
    let (shape, bytes) =
        reader.tensor("t").unwrap().read_slice(&"1000:1003, :".parse().unwrap()).unwrap();
    assert_eq!(shape, [3, 1024]);
    assert!(bytes == data[1000 * 1024..1003 * 1024]);
    // Two of eight incompressible chunks, and the chunk table.
    assert!(read.load(Ordering::Relaxed) < 2 * (512 << 10) + 1024);
}

/// Generates a tensor of any dtype and shape, with bytes from constant to random.
fn any_tensor() -> impl Strategy<Value = (Dtype, Vec<u64>, Vec<u8>)> {
    let shape = prop_oneof![
        4 => proptest::collection::vec(0u64..40, 0..4),
        1 => (1u64..900, 1u64..900).prop_map(|(a, b)| vec![a, b]),
    ];
    (proptest::sample::select(&Dtype::ALL[..]), shape, 0u8..4, any::<u64>()).prop_map(
        |(dtype, mut shape, kind, seed)| {
            if dtype.bits() < 8 {
                shape.push(4);
            }
            let elements = shape.iter().product::<u64>() as usize;
            let len = elements * dtype.bits() as usize / 8;
            let mut random = Random::new(seed);
            let data = match kind {
                0 => vec![seed as u8; len],
                1 => random.bytes(len),
                2 => (0..len).map(|_| random.bits().leading_zeros() as u8).collect(),
                _ => {
                    let mut data = weights(dtype, elements, &mut random);
                    data.resize(len, 1);
                    data
                }
            };
            (dtype, shape, data)
        },
    )
}

/// Files, each with its packed file.
static FILES: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_tensors_come_back(
        tensors in proptest::collection::vec(any_tensor(), 0..5),
        level in proptest::sample::select(&LEVELS[..]),
    ) {
        let tensors: Vec<Tensor> = tensors
            .into_iter()
            .enumerate()
            .map(|(i, (dtype, shape, data))| Tensor::new(&format!("t{i}"), dtype, &shape, data))
            .collect();
        let original = safetensors(&tensors);
        let packed = packed_at(level, &original).unwrap();
        // The bound of the documentation: a byte a chunk, a record and digest a tensor, the frame.
        let bound = original.len() + 300 + tensors.len() * (48 + 32) + original.len() / 4096;
        prop_assert!(packed.len() <= bound);
        prop_assert!(restored(&packed).unwrap() == original);
        let reader = open(&packed).unwrap();
        prop_assert!(shown(&reader) == original);
        for tensor in &tensors {
            let read = reader.tensor(&tensor.name).unwrap().read_to_vec().unwrap();
            prop_assert!(read == tensor.data);
        }
    }

    #[test]
    fn any_slice_is_the_naive_one(
        shape in proptest::collection::vec(1u64..30, 1..4),
        wide in 1u64..60,
        picks in proptest::collection::vec((0u64..9, 0u64..30, 0u64..30), 0..4),
        seed in any::<u64>(),
        level in proptest::sample::select(&LEVELS[..]),
    ) {
        let mut shape = shape;
        shape[0] *= wide;
        let rows = shape[0] as usize;
        let columns = shape[1..].iter().product::<u64>() as usize;
        let data = scaled_weights(Dtype::F32, rows, columns, &mut Random::new(seed));
        let original = safetensors(&[Tensor::new("t", Dtype::F32, &shape, data.clone())]);
        let slice: Vec<Index> = picks
            .iter()
            .zip(&shape)
            .map(|(&(step, a, b), &dim)| {
                let (a, b) = ((a % dim) as i64, (b % (dim + 1)) as i64);
                match NonZeroU64::new(step) {
                    None => Index::At(a),
                    Some(NonZeroU64::MIN) => Index::Range(Some(a), Some(b)),
                    Some(step) => Index::Steps(Some(a), Some(b), step),
                }
            })
            .collect();
        let expected = naive_slice(&shape, 4, &data, &slice);
        let slice = Slice(slice);
        prop_assert_eq!(&slice, &slice.to_string().parse().unwrap());
        let packed = packed_at(level, &original).unwrap();
        let reader = open(&packed).unwrap();
        let read = reader.tensor("t").unwrap().read_slice(&slice).unwrap();
        prop_assert!(read == expected);

        for bytes in [packed, original] {
            let weights = Weights::new(Box::new(bytes), &OpenOptions::new()).unwrap();
            let (shape, len) = weights.slice_shape("t", &slice).unwrap();
            let mut out = vec![0xff; len as usize];
            weights.read_slice("t", &slice, &mut out, &()).unwrap();
            prop_assert!((shape, out) == expected);
        }
    }

    #[test]
    fn any_byte_range_is_that_of_the_original(
        start in any::<proptest::sample::Index>(),
        len in 0usize..700_000,
        file in any::<proptest::sample::Index>(),
    ) {
        let files = FILES.get_or_init(|| {
            let originals = [everything(), skewed()];
            let pack = |(original, level): (&Vec<u8>, Level)| {
                (original.clone(), packed_at(level, original).unwrap())
            };
            LEVELS.iter().flat_map(|&l| originals.iter().map(move |o| (o, l))).map(pack).collect()
        });
        let (original, packed) = file.get(files);
        let start = start.index(original.len());
        let end = (start + len).min(original.len());
        let read = open(packed).unwrap().read_original(start as u64..end as u64).unwrap();
        prop_assert!(read == original[start..end]);
    }
}
