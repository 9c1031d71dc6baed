//! Packing in parts, as a store does that keeps every tensor once.

use std::sync::Mutex;

use at1w_container::{
    Digest, Dtype, FIRST_BYTES, NewPart, OpenOptions, PackOptions, PartBase, Place, Reader, Staged,
    StagedTensor, StoredLen, TensorInfo, TensorStore, pack, pack_parts, replace_parts,
};

/// A store of one tensor.
#[derive(Default)]
struct One(Mutex<Option<(Digest, StoredLen)>>);

impl TensorStore for One {
    fn may_have(&self, _: &TensorInfo, _: &[u8]) -> bool {
        self.0.lock().unwrap().is_some()
    }

    fn find(&self, _: &TensorInfo, digest: Digest) -> Option<(StoredLen, Option<PartBase>)> {
        let stored = *self.0.lock().unwrap();
        stored.filter(|(known, _)| *known == digest).map(|(_, len)| (len, None))
    }
}

/// Bytes much like weights of 8 bits.
fn bytes() -> Vec<u8> {
    let mut state = 1_u64;
    let byte = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let uniform = |shift: u64| (state >> shift) as u8 as i32 - 128;
        ((uniform(24) + uniform(32) + uniform(40) + uniform(48)) / 8) as u8
    };
    (0..1 << 18).map(byte).collect()
}

#[test]
fn a_file_of_known_tensors_names_the_features_that_they_need() {
    let data = bytes();
    let file = |metadata: &str| {
        let tensor = StagedTensor { name: "w", dtype: Dtype::I8, shape: &[512, 512], data: &data };
        let mut file = Vec::new();
        let metadata = [("format".to_owned(), metadata.to_owned())];
        Staged::new(vec![tensor], Some(&metadata)).unwrap().write(&mut file, &()).unwrap();
        file
    };
    let packed = |file: &Vec<u8>| {
        let mut packed = Vec::new();
        pack(file, &mut packed, &PackOptions::new()).unwrap();
        packed
    };
    let (first, second) = (file("first"), file("second"));
    let store = One::default();
    let mut stored = Vec::new();
    let parts = pack_parts(&first, &mut stored, &store, &PackOptions::new()).unwrap();
    assert_eq!([&FIRST_BYTES[..], &stored, &parts.tail].concat(), packed(&first));
    let reader = Reader::new(Box::new(packed(&first)), &OpenOptions::new()).unwrap();
    assert_ne!(reader.info().required_features, 0, "these weights were to need a feature");
    *store.0.lock().unwrap() = Some((parts.tensors[0].digest, parts.tensors[0].len));

    let mut none = Vec::new();
    let again = pack_parts(&second, &mut none, &store, &PackOptions::new()).unwrap();
    assert!(none.is_empty() && again.tensors[0].place == Place::Found);
    assert_eq!([&FIRST_BYTES[..], &stored, &again.tail].concat(), packed(&second));
    // So does a tail whose tensors are stored in other bytes now.
    let len = parts.tensors[0].len;
    let tail = replace_parts(&again.tail, &[NewPart { tensor: 0, len, base: None }]).unwrap();
    assert_eq!(tail, again.tail);
}
