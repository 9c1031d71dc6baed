//! Proofs: what they prove, how small they are, and that no changed one is believed.

use at1w_codec::Dtype;
use at1w_container::{Error, Index, Limits, OpenOptions, Proof, Reader, Slice};
use at1w_tests::fuzzing::seal_proof;
use at1w_tests::{Random, Tensor, everything, open, packed, safetensors, small, weights};
use proptest::prelude::*;

/// Checks a proof under the root of a file.
fn check(reader: &Reader, proof: &[u8]) -> Result<(Vec<u64>, Vec<u8>), Error> {
    Proof::new(proof.to_vec(), &OpenOptions::new().root(reader.root()))?.read()
}

fn slice(text: &str) -> Slice {
    text.parse().unwrap()
}

#[test]
fn every_tensor_can_be_proven_whole_and_in_part() {
    let reader = open(&packed(&everything()).unwrap()).unwrap();
    for tensor in reader.tensors() {
        let whole = reader.prove(tensor.name(), &slice("")).unwrap();
        let expected = (tensor.shape().to_vec(), tensor.read_to_vec().unwrap());
        assert!(check(&reader, &whole).unwrap() == expected, "{tensor:?}");
        let proof = Proof::new(whole, &OpenOptions::new()).unwrap();
        assert_eq!((proof.root(), proof.tensor().name()), (reader.root(), tensor.name()));
        assert_eq!(proof.header().bytes(), reader.header().bytes());
        for text in ["0:1", "...", "1:1", "::2", "-1:", "0:3, ::7", "..., 5:6"] {
            let slice = slice(text);
            match tensor.read_slice(&slice) {
                Ok(expected) => {
                    let proof = reader.prove(tensor.name(), &slice).unwrap();
                    assert!(check(&reader, &proof).unwrap() == expected, "{tensor:?} {text}");
                }
                Err(_) => assert!(reader.prove(tensor.name(), &slice).is_err()),
            }
        }
    }
    assert!(matches!(reader.prove("nothing", &slice("")), Err(Error::NoTensor { .. })));
    assert!(matches!(reader.prove("lanes.bf16", &slice("50")), Err(Error::Slice { .. })));
}

#[test]
fn a_proof_is_as_small_as_promised() {
    let mut random = Random::new(3);
    let data = weights(Dtype::BF16, 4_000 * 384, &mut random);
    let mut tensors = vec![Tensor::new("embed", Dtype::BF16, &[4_000, 384], data)];
    for layer in 0..100 {
        let data = weights(Dtype::BF16, 384, &mut random);
        tensors.push(Tensor::new(&format!("layers.{layer}.norm"), Dtype::BF16, &[384], data));
    }
    let file = packed(&safetensors(&tensors)).unwrap();
    let reader = open(&file).unwrap();

    // docs/FORMAT.md: the trailer, the record of the first tensor, its chunk table.
    let number = |at: usize| u64::from_le_bytes(*file[at..].first_chunk().unwrap()) as usize;
    let trailer = file.len() - 176;
    let (index, count, header) = (number(trailer), number(trailer + 8), number(trailer + 16));
    let stored_len = number(index + 32);
    let model = u32::from_le_bytes(*file[index + 40..].first_chunk().unwrap()) as usize;
    let chunk_len = 682 * 768;
    let chunks = (4_000_usize * 768).div_ceil(chunk_len);
    let table = 8 + stored_len - (36 * chunks - 32);
    let payload = |chunk: usize| {
        let len = u32::from_le_bytes(*file[table + 4 * chunk..].first_chunk().unwrap());
        len as usize + 4
    };
    for (text, touched) in [
        ("0", 0..1),
        ("681", 0..1),
        ("682", 1..2),
        ("600:700", 0..2),
        ("3999, 5:9", chunks - 1..chunks),
        (":, 0", 0..chunks),
        ("", 0..chunks),
    ] {
        let proof = reader.prove("embed", &slice(text)).unwrap();
        let stored: usize = touched.map(payload).sum();
        let most = header + 32 * count + 32 * chunks + stored + model + text.len();
        assert!(proof.len() <= most, "{text}: {} bytes, promised are {most}", proof.len());
    }
    let one = reader.prove("layers.7.norm", &slice("")).unwrap();
    let stored = reader.tensor("layers.7.norm").unwrap().stored_len() as usize;
    assert!(one.len() <= header + 32 * count + 32 + stored + 4, "{}", one.len());
}

#[test]
fn every_flipped_bit_is_found_and_every_forged_one_is_true() {
    let reader = open(&packed(&small()).unwrap()).unwrap();
    let tensor = reader.tensor("scales").unwrap();
    let (mut bits, mut true_ones) = (0, 0);
    for text in ["3:5", ""] {
        let proof = reader.prove("scales", &slice(text)).unwrap();
        bits += proof.len() * 8;
        for bit in 0..proof.len() * 8 {
            let mut flipped = proof.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&reader, &flipped).is_err(), "bit {bit} of {text:?}");
            seal_proof(&mut flipped);
            let Ok(read) = check(&reader, &flipped) else { continue };
            // Another slice, or bytes that decode to the same: a true proof, if another one.
            let slice = Proof::new(flipped, &OpenOptions::new()).unwrap().slice().clone();
            let expected = tensor.read_slice(&slice).unwrap();
            assert!(read == expected, "bit {bit} of {text:?}");
            true_ones += 1;
        }
        for len in 0..proof.len() {
            let mut cut = proof[..len].to_vec();
            assert!(check(&reader, &cut).is_err());
            seal_proof(&mut cut);
            assert!(check(&reader, &cut).is_err());
        }
        let mut longer = [&proof[..], &[0; 9]].concat();
        seal_proof(&mut longer);
        assert!(check(&reader, &longer).is_err());
    }
    // Every byte has a meaning: few changes leave a proof true.
    assert!(true_ones < bits / 100, "{true_ones} of {bits}");
}

#[test]
fn the_root_decides_whose_proof_it_is() {
    let (first, second) = (packed(&small()).unwrap(), packed(&everything()).unwrap());
    let (first, second) = (open(&first).unwrap(), open(&second).unwrap());
    let proof = first.prove("lanes", &slice("0")).unwrap();
    let error = check(&second, &proof).unwrap_err();
    assert!(matches!(error, Error::Root { .. }) && error.is_integrity(), "{error}");
    // Nothing is pinned: it is a proof of something.
    Proof::new(proof.clone(), &OpenOptions::new()).unwrap().read().unwrap();
    let limits = OpenOptions::new().limits(Limits::default().tensor_len(10));
    let error = Proof::new(proof, &limits).unwrap().read().unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    let error = Proof::new(b"{}".to_vec(), &OpenOptions::new()).unwrap_err();
    assert!(matches!(error, Error::NotAProof) && error.is_integrity(), "{error}");
}

#[test]
fn a_damaged_file_proves_nothing() {
    let mut random = Random::new(8);
    let data = weights(Dtype::BF16, 1_000_000, &mut random);
    let original = safetensors(&[Tensor::new("w", Dtype::BF16, &[1000, 1000], data)]);
    let mut packed = packed(&original).unwrap();
    let middle = packed.len() / 2;
    packed[middle] ^= 4;
    let reader = open(&packed).unwrap();
    let error = reader.prove("w", &slice("")).unwrap_err();
    assert!(matches!(error, Error::DamagedTensor { .. }), "{error}");
    reader.prove("w", &slice("0:10")).unwrap();
}

#[test]
fn the_proof_of_the_documentation_is_right() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = std::fs::read_to_string(docs.join("PROOF.md")).unwrap();
    let root = page.split("--root ").nth(1).unwrap().get(..64).unwrap().parse().unwrap();
    let bytes = std::fs::read(docs.join("silero.proof")).unwrap();
    let proof = Proof::new(bytes, &OpenOptions::new().root(Some(root))).unwrap();
    let (shape, _) = proof.read().unwrap();
    assert!(page.contains(proof.tensor().name()) && shape == proof.shape());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_proof_of_a_slice_has_the_bytes_of_the_slice(
        rows in 1u64..40,
        columns in 1u64..40_000,
        seed: u64,
        [a, b, c, d] in any::<[u64; 4]>(),
    ) {
        let mut random = Random::new(seed);
        let data = weights(Dtype::BF16, (rows * columns) as usize, &mut random);
        let tensor = Tensor::new("w", Dtype::BF16, &[rows, columns], data);
        let other = Tensor::new("v", Dtype::U8, &[10], random.bytes(10));
        let file = packed(&safetensors(&[other, tensor])).unwrap();
        let reader = open(&file).unwrap();
        let range = |a: u64, b: u64, dim: u64| {
            let (a, b) = (a % (dim + 1), b % (dim + 1));
            Index::Range(Some(a.min(b) as i64), Some(a.max(b) as i64))
        };
        let slice = Slice(vec![range(a, b, rows), range(c, d, columns)]);
        let expected = reader.tensor("w").unwrap().read_slice(&slice).unwrap();
        let proof = reader.prove("w", &slice).unwrap();
        prop_assert!(check(&reader, &proof).unwrap() == expected);
    }
}
