//! Checks that damage is reported, or changes nothing that is read.

use at1w_codec::Dtype;
use at1w_container::{Error, Level, Model};
use at1w_tests::fuzzing::seal;
use at1w_tests::versions::{SMALL, small_bases, version};
use at1w_tests::{
    Random, Tensor, open, packed, packed_at, quantised_file, restored, safetensors, small, weights,
};

/// Asks a reader for everything that it offers. Returns the first error.
fn read_everything(packed: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let reader = open(packed)?;
    let mut all = vec![reader.header().bytes().to_vec()];
    for tensor in reader.tensors() {
        all.push(tensor.read_to_vec()?);
    }
    all.push(reader.read_original(0..reader.info().original_len)?);
    reader.verify_original(&())?;
    Ok(all)
}

#[test]
fn every_flipped_bit_is_reported_or_harmless() {
    let packed = packed(&small()).unwrap();
    let expected = read_everything(&packed).unwrap();
    let index = packed.len() - open(&packed).unwrap().info().index_len as usize - 176;
    let mut harmless = 0;
    for bit in 0..packed.len() * 8 {
        let mut flipped = packed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match read_everything(&flipped) {
            Ok(read) => {
                assert!(read == expected, "bit {bit} changes what is read");
                harmless += 1;
            }
            Err(error) => {
                let message = error.to_string();
                if bit / 8 >= 8 && bit / 8 < index {
                    let named = message.contains("tensor") || message.contains("index");
                    assert!(named, "bit {bit}: {message}");
                }
            }
        }
    }
    // Every byte has a meaning: nearly nothing is harmless.
    assert!(harmless < packed.len() / 50, "{harmless} flips of {} were harmless", packed.len() * 8);
}

#[test]
fn every_truncation_is_refused() {
    let packed = packed(&small()).unwrap();
    for len in 0..packed.len() {
        assert!(open(&packed[..len]).is_err(), "opened {len} of {} bytes", packed.len());
    }
    for extra in 1..40 {
        assert!(open(&[&packed[..], &vec![0; extra]].concat()).is_err(), "{extra} bytes too many");
    }
}

#[test]
fn a_damaged_chunk_is_named_and_hands_out_nothing() {
    let mut random = Random::new(8);
    let data = weights(Dtype::BF16, 1_000_000, &mut random);
    let original = safetensors(&[Tensor::new("w", Dtype::BF16, &[1000, 1000], data.clone())]);
    let mut packed = packed(&original).unwrap();
    let middle = packed.len() / 2;
    packed[middle] ^= 4;
    let reader = open(&packed).unwrap();
    let tensor = reader.tensor("w").unwrap();

    let mut out = vec![1; data.len()];
    let error = tensor.read(&mut out).unwrap_err();
    let Error::DamagedTensor { name, chunk, offset, .. } = &error else { panic!("{error}") };
    assert_eq!(name, "w");
    assert!(chunk.is_some() && *offset <= middle as u64 && error.is_integrity());
    assert!(out.iter().all(|&b| b == 0));

    // The other chunks can still be read.
    let (_, first) = tensor.read_slice(&"0:10".parse().unwrap()).unwrap();
    assert!(first == data[..20_000]);
    assert!(restored(&packed).is_err());
}

#[test]
fn another_root_is_refused() {
    let packed = packed(&small()).unwrap();
    let another = at1w_container::Digest::of(b"another");
    let options = at1w_container::OpenOptions::new().root(another);
    let error = at1w_container::Reader::new(Box::new(packed), &options).err().unwrap();
    assert!(matches!(error, Error::Root { .. }));
}

#[test]
fn random_damage_never_panics() {
    let packed = packed(&small()).unwrap();
    let mut random = Random::new(11);
    for _ in 0..3000 {
        let mut damaged = packed.clone();
        for _ in 0..1 + random.bits() % 8 {
            let at = random.bits() as usize % damaged.len();
            damaged[at] = random.bits() as u8;
        }
        let _ = read_everything(&damaged);
    }
}

/// Changes bytes of the trailer and corrects its checksum.
fn with_trailer(packed: &[u8], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut changed = packed.to_vec();
    let trailer = changed.len() - 176;
    changed[trailer + offset..][..bytes.len()].copy_from_slice(bytes);
    let checksum = at1w_container::Digest::of(&changed[trailer..trailer + 160]);
    changed[trailer + 160..trailer + 168].copy_from_slice(&checksum.0[..8]);
    changed
}

#[test]
fn other_versions_and_features_are_refused_by_name() {
    let packed = packed(&small()).unwrap();
    assert!(open(&with_trailer(&packed, 144, &[1])).is_ok(), "optional features are ignored");
    assert!(matches!(open(&with_trailer(&packed, 136, &[4])), Err(Error::Features(4))));
    assert!(matches!(
        open(&with_trailer(&packed, 156, &[2])),
        Err(Error::Version { found: 2, .. })
    ));
}

#[test]
fn a_feature_is_named_by_the_file_that_uses_it() {
    let original = quantised_file();
    for level in [Level::Fast, Level::Default, Level::Max] {
        let packed = packed_at(level, &original).unwrap();
        assert_eq!(open(&packed).unwrap().info().required_features, 1);
        // Without the bit, its models are of no version that there is.
        let error = restored(&with_trailer(&packed, 136, &[0])).unwrap_err().to_string();
        assert!(error.contains("fine-bytes"), "{error}");
        let error = open(&with_trailer(&packed, 136, &[5])).err().unwrap().to_string();
        assert!(error.contains("(bit 2)"), "{error}");
        // The bit of a feature that the file does not use.
        let error = open(&with_trailer(&packed, 136, &[3])).err().unwrap().to_string();
        assert!(error.contains("bases"), "{error}");
    }
    assert_eq!(open(&packed(&small()).unwrap()).unwrap().info().required_features, 0);
}

#[test]
fn versions_name_their_feature() {
    let packed = small_bases().packed(Level::Default, &version(1, SMALL)).unwrap();
    assert_eq!(open(&packed).unwrap().info().required_features & 2, 2);
    // Without the bit, the bases are no part of an index; nor are they without versions.
    assert!(open(&with_trailer(&packed, 136, &[0])).is_err());
    let mut unflagged = packed.clone();
    let index = packed.len()
        - 176
        - open(&packed).unwrap().info().index_len as usize
        - open(&packed).unwrap().info().header_stored_len as usize;
    for record in 0..open(&packed).unwrap().len() {
        unflagged[index + 48 * record + 45] = 0;
    }
    seal(&mut unflagged);
    assert!(open(&unflagged).is_err());
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let packed = packed(&small()).unwrap();
    let open_with = |limits| {
        let options = at1w_container::OpenOptions::new().limits(limits);
        at1w_container::Reader::new(Box::new(packed.clone()), &options)
    };
    let limits = at1w_container::Limits::default().index_len(100);
    assert!(matches!(open_with(limits), Err(Error::Limit { .. })));
    let limits = at1w_container::Limits::default().tensor_len(300);
    let reader = open_with(limits).unwrap();
    assert!(reader.tensor("stored").unwrap().read_to_vec().is_ok());
    assert!(matches!(reader.tensor("lanes").unwrap().read_to_vec(), Err(Error::Limit { .. })));
    assert!(matches!(reader.read_original(0..400), Err(Error::Limit { .. })));
}

#[test]
fn an_empty_tensor_is_verified_however_it_is_read() {
    let original = safetensors(&[Tensor::new("z", Dtype::F32, &[0, 4], vec![])]);
    let mut packed = packed(&original).unwrap();
    // Another digest, and an index and a root that agree with it: only the content disagrees.
    let index = packed.len() - 176 - open(&packed).unwrap().info().header_stored_len as usize - 48;
    packed[index] ^= 1;
    let digest = at1w_container::Digest::of(&packed[index..packed.len() - 176]);
    let mut forged = with_trailer(&packed, 32, &digest.0);
    let mut message = b"at1w root v1\n\0\0\0".to_vec();
    message.extend_from_slice(&original[..]);
    message.extend_from_slice(&packed[index..index + 32]);
    forged = with_trailer(&forged, 64, &at1w_container::Digest::of(&message).0);
    let reader = open(&forged).unwrap();
    let tensor = reader.tensor("z").unwrap();
    assert!(reader.verify(&()).is_err());
    assert!(reader.verify_original(&()).is_err());
    assert!(tensor.read_to_vec().is_err());
    assert!(tensor.read_slice(&":".parse().unwrap()).is_err());
}

#[test]
fn reserved_bytes_of_the_trailer_are_checked() {
    let packed = packed(&small()).unwrap();
    for offset in 153..156 {
        assert!(open(&with_trailer(&packed, offset, &[1])).is_err());
    }
}

/// Forges an index, with all digests right.
fn with_record(packed: &[u8], tensor: usize, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut forged = packed.to_vec();
    let trailer = forged.len() - 176;
    let index = u64::from_le_bytes(forged[trailer..trailer + 8].try_into().unwrap()) as usize;
    forged[index + 48 * tensor + offset..][..bytes.len()].copy_from_slice(bytes);
    let digest = at1w_container::Digest::of(&forged[index..trailer]);
    with_trailer(&forged, 32, &digest.0)
}

#[test]
fn shared_tensors_share_only_what_is_theirs() {
    let mut random = Random::new(4);
    let data = random.bytes(1000);
    let tensor = |name: &str, shape: &[u64]| Tensor::new(name, Dtype::U8, shape, data.clone());
    let original = safetensors(&[
        tensor("first", &[1000]),
        tensor("twin", &[1000]),
        tensor("folded", &[10, 100]),
        tensor("triplet", &[1000]),
        Tensor::new("other", Dtype::U8, &[1000], random.bytes(1000)),
    ]);
    let packed = packed(&original).unwrap();
    assert!(restored(&packed).unwrap() == original);
    let reader = open(&packed).unwrap();
    let stored: Vec<bool> = reader.tensors().map(|tensor| tensor.stored_len() > 0).collect();
    assert_eq!(stored, [true, false, true, false, true], "copies are stored once");

    // The record of "twin" and "triplet" names another tensor: itself, a later one, a shared one,
    // one of another shape, one of other bytes, none.
    assert!(restored(&with_record(&packed, 3, 40, &[0])).unwrap() == original);
    for (tensor, other) in [(1, 1), (1, 3), (3, 1), (3, 2), (1, 4), (3, 4), (1, 200)] {
        let forged = with_record(&packed, tensor, 40, &[other]);
        let message = open(&forged).err().map(|error| error.to_string());
        assert!(message.is_some_and(|m| m.contains("shares")), "{tensor} shares {other}");
    }
    assert!(open(&with_record(&packed, 1, 32, &[1])).is_err(), "stored bytes of its own");
    assert!(open(&with_record(&packed, 4, 45, &[1])).is_err(), "bytes that belong to no tensor");
    assert!(open(&with_record(&packed, 1, 45, &[2])).is_err(), "an unknown flag");
}

#[test]
fn a_file_that_changes_under_its_reader_is_refused() {
    let [old, new] = at1w_tests::files::pair();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.at1w");
    let expected = [old, new].map(|file| at1w_tests::files::tensors(file).unwrap());

    std::fs::write(&path, old).unwrap();
    let reader = at1w_container::Reader::open(&path).unwrap();
    // Overwrites the file in place.
    std::fs::write(&path, new).unwrap();
    for (i, tensor) in reader.tensors().enumerate() {
        if let Ok(read) = tensor.read_to_vec() {
            assert!(expected.iter().any(|tensors| tensors[i] == read));
        }
    }
    assert!(reader.verify(&()).is_err());
    // Truncates the file: reading is an error, not a signal.
    std::fs::write(&path, &old[..old.len() / 4]).unwrap();
    let read = reader.verify(&());
    assert!(matches!(read, Err(Error::Read { .. } | Error::DamagedTensor { .. })));
    assert!(matches!(
        reader.tensor("more").unwrap().read_to_vec(),
        Err(Error::Read { .. } | Error::DamagedTensor { .. })
    ));
}

#[test]
fn a_model_of_longer_rows_than_the_tensor_is_refused() {
    // Rows of 200 elements have scales.
    let mut random = Random::new(4);
    let mut data = Vec::new();
    for row in 0..64 {
        for word in weights(Dtype::BF16, 200, &mut random).as_chunks().0 {
            let value = u16::from_le_bytes(*word) + 0x80 * (row % 9);
            data.extend(value.to_le_bytes());
        }
    }
    let file = packed(&safetensors(&[Tensor::new("w", Dtype::BF16, &[64, 200], data)])).unwrap();
    assert_eq!(open(&file).unwrap().tensor("w").unwrap().model().unwrap().row_len(), 200);
    let refused = (0..file.len() - 1).any(|at| {
        let mut damaged = file.clone();
        if damaged[at..at + 2] != [0xc8, 0x01] {
            return false;
        }
        damaged[at..at + 2].copy_from_slice(&[0xff, 0x7f]);
        seal(&mut damaged);
        restored(&damaged).is_err_and(|error| error.to_string().contains("rows of 16383 elements"))
    });
    assert!(refused);
}

#[test]
fn a_tensor_that_takes_more_than_any_encoding_is_refused() {
    let file = packed(&safetensors(&[Tensor::new("t", Dtype::U8, &[3], vec![1, 2, 3])])).unwrap();
    let refused = |extra: usize, model: u32| {
        let trailer = file.len() - 176;
        let number = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().unwrap());
        let index = number(&file[trailer..]);
        let mut damaged = file.clone();
        // The stored length of the only record, the length of its model, and where it begins.
        let stored = number(&file[index as usize + 32..]) + extra as u64;
        damaged[index as usize + 32..][..8].copy_from_slice(&stored.to_le_bytes());
        damaged[index as usize + 40..][..4].copy_from_slice(&model.to_le_bytes());
        damaged[trailer..][..8].copy_from_slice(&(index + extra as u64).to_le_bytes());
        damaged.splice(index as usize..index as usize, vec![0; extra]);
        seal(&mut damaged);
        open(&damaged).is_err_and(|error| error.to_string().contains("more than any encoding"))
    };
    assert!(!refused(0, 0) && !refused(1000, 1000));
    assert!(refused(Model::MAX_LEN + 2, 0));
    assert!(refused(Model::MAX_LEN + 2, Model::MAX_LEN as u32 + 1));
}
