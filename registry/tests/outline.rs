//! Files that are packed elsewhere: nothing that they say is believed.

mod common;

use std::collections::HashMap;
use std::path::Path;

use at1w_container::{
    Digest, Level, NewPart, OpenOptions, PackBase, PackOptions, ReadAt, Reader, StoredLen, Weights,
    pack, part_lens, replace_parts,
};
use at1w_registry::{
    Change, CollectOptions, Error, File, Outline, PushOptions, ScrubOptions, Store, StoredTensor,
    pack_outline, tensor_keys,
};
use common::{LATER, Place, model};

/// Packs a model without the tensors that are known.
fn packed(model: &dyn ReadAt, known: &HashMap<Digest, StoredTensor>) -> (Outline, Vec<u8>) {
    let mut bytes = Vec::new();
    let (outline, _) = pack_outline(model, known, Level::Default, &mut bytes, &()).unwrap();
    (outline, bytes)
}

/// Returns what a namespace has of a model.
fn known(store: &Store, model: &dyn ReadAt) -> HashMap<Digest, StoredTensor> {
    let keys = tensor_keys(model, &()).unwrap();
    let lens = store.known_tensors("lab", &keys).unwrap();
    keys.into_iter().zip(lens).filter_map(|(key, len)| Some((key, len?))).collect()
}

fn put(store: &Store, outline: &Outline, bytes: &[u8]) -> Result<File, Error> {
    store.store_outline("lab", outline, &mut &*bytes, &())
}

fn commit(store: &Store, file: &File) {
    let changes = [("m.safetensors".to_owned(), Change::Stored(file.sha256))];
    store.apply(&"lab/m".parse().unwrap(), &changes, &PushOptions::new()).unwrap();
}

#[test]
fn only_missing_tensors_are_needed_and_the_file_is_the_one_that_a_push_makes() {
    let place = Place::new();
    let store = place.store();
    store.init().unwrap();
    let first = model(&[("a", 1, 5000), ("b", 2, 3000), ("same", 1, 5000), ("none", 3, 0)], "x");
    assert!(known(&store, &first).is_empty());
    let (outline, bytes) = packed(&first, &HashMap::new());
    let file = put(&store, &outline, &bytes).unwrap();
    commit(&store, &file);
    assert_eq!(place.pulled("lab/m").unwrap()["m.safetensors"], first);
    let second = model(&[("a", 1, 5000), ("c", 4, 100)], "y");
    let known = known(&store, &second);
    assert_eq!(known.len(), 1);
    let (outline, rest) = packed(&second, &known);
    assert_eq!(outline.tensors(), (2, 1));
    assert!(rest.len() < 1000, "{}", rest.len());
    let file = put(&store, &outline, &rest).unwrap();
    commit(&store, &file);
    assert_eq!(place.pulled("lab/m").unwrap()["m.safetensors"], second);
    // A push of the same finds all of it.
    let pushed = place.push("lab/direct", &[("m.safetensors", second)]);
    assert_eq!(pushed.new_tensors, 0);
    let scrubbed = store.scrub(&ScrubOptions::new()).unwrap();
    assert_eq!(scrubbed.damaged.len(), 0);
}

#[test]
fn what_was_lost_or_was_never_there_is_asked_for() {
    let place = Place::new();
    let store = place.store();
    store.init().unwrap();
    let model = model(&[("a", 1, 5000), ("b", 2, 3000)], "x");
    let lies = tensor_keys(&model, &()).unwrap().into_iter().map(|key| (key, (100, 10)));
    let (outline, bytes) = packed(&model, &lies.collect());
    assert!(matches!(put(&store, &outline, &bytes), Err(Error::Outdated(_))));
    let (outline, bytes) = packed(&model, &HashMap::new());
    put(&store, &outline, &bytes).unwrap();
    let known = known(&store, &model);
    let (outline, none) = packed(&model, &known);
    assert!(none.is_empty());
    for key in place.keys("packs/lab") {
        let path = place.root().join(key);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        std::fs::write(path, bytes).unwrap();
    }
    assert!(matches!(put(&store, &outline, &none), Err(Error::Outdated(_))));
    // All of it comes then.
    let (outline, bytes) = packed(&model, &HashMap::new());
    let file = put(&store, &outline, &bytes).unwrap();
    commit(&store, &file);
    assert_eq!(place.pulled("lab/m").unwrap()["m.safetensors"], model);
}

#[test]
fn what_is_damaged_is_marked_and_healed_by_the_copy_that_comes() {
    let place = Place::new();
    let store = place.store();
    store.init().unwrap();
    let first = model(&[("a", 1, 5000)], "x");
    let (outline, bytes) = packed(&first, &HashMap::new());
    commit(&store, &put(&store, &outline, &bytes).unwrap());
    let second = model(&[("a", 1, 5000), ("b", 2, 3000)], "y");
    let known = known(&store, &second);
    assert_eq!(known.len(), 1);
    let (outline, rest) = packed(&second, &known);
    // Bytes that are not what they should be leave nothing, and say nothing about others.
    let packs = place.keys("packs/lab");
    let mut wrong = rest.clone();
    wrong[9] ^= 1;
    assert!(put(&store, &outline, &wrong).is_err());
    assert_eq!(place.keys("packs/lab"), packs);
    assert!(place.keys("scrub/lab/marks").is_empty());
    let path = place.root().join(&packs[0]);
    let mut damaged = std::fs::read(&path).unwrap();
    damaged.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(path, damaged).unwrap();
    assert!(place.pulled("lab/m").is_err());
    assert!(matches!(put(&store, &outline, &rest), Err(Error::Outdated(_))));
    assert_eq!(place.keys("scrub/lab/marks").len(), 1);
    assert_eq!(place.keys("packs/lab"), packs);
    // Nobody relies on it any more.
    assert!(self::known(&store, &second).is_empty());
    let (outline, bytes) = packed(&second, &HashMap::new());
    put(&store, &outline, &bytes).unwrap();
    assert_eq!(place.pulled("lab/m").unwrap()["m.safetensors"], first);
}

#[test]
fn damaged_and_forged_outlines_are_refused() {
    let place = Place::new();
    let store = place.store();
    store.init().unwrap();
    let model = model(&[("a", 1, 300), ("b", 2, 20)], "x");
    let (outline, bytes) = packed(&model, &HashMap::new());
    // Each of these is stored before it is refused, which takes long: the fuzz target flips more.
    for at in (0..bytes.len()).step_by(7) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        assert!(put(&store, &outline, &bytes).is_err(), "{at}");
    }
    for bytes in [&bytes[1..], &bytes[..bytes.len() - 1], &[], &[&bytes[..], b"x"].concat()] {
        assert!(put(&store, &outline, bytes).is_err());
    }
    let tail = outline.tail().to_vec();
    for at in 0..tail.len() {
        let mut tail = tail.clone();
        tail[at] ^= 1;
        assert!(put(&store, &outline.clone().with_tail(tail), &bytes).is_err(), "{at}");
    }
    for len in [0, 1, tail.len() / 2, tail.len() - 1] {
        let cut = outline.clone().with_tail(tail[..len].to_vec());
        assert!(put(&store, &cut, &bytes).is_err(), "{len}");
    }
    let json = serde_json::to_string(&outline).unwrap();
    for (from, to) in [("default", "best"), ("\"sent\":[", "\"sent\":[null,"), ("\"0.", "\"../")] {
        let forged = json.replace(from, to);
        assert_ne!(forged, json);
        let forged: Outline = serde_json::from_str(&forged).unwrap();
        assert!(put(&store, &forged.with_tail(tail.clone()), &bytes).is_err(), "{to}");
    }
    put(&store, &outline, &bytes).unwrap();
}

/// Packs a model with bases that lie in another one, as its owner may at home; returns the tail.
fn tail_with_bases(model: &[u8], base: &[u8]) -> Vec<u8> {
    let (mut of_base, mut packed) = (Vec::new(), Vec::new());
    pack(&base.to_vec(), &mut of_base, &PackOptions::new()).unwrap();
    let weights = Weights::new(Box::new(of_base), &OpenOptions::new()).unwrap();
    let bases = [PackBase::new(weights.into(), Path::new("base"))];
    pack(&model.to_vec(), &mut packed, &PackOptions::new().bases(&bases)).unwrap();
    let reader = Reader::new(Box::new(packed.clone()), &OpenOptions::new()).unwrap();
    assert_eq!(reader.summary().versions, 2);
    let stored: u64 = reader.tensors().map(|tensor| tensor.stored_len()).sum();
    packed.split_off(at1w_container::FIRST_BYTES.len() + stored as usize)
}

#[test]
fn bytes_that_come_stand_alone() {
    let place = Place::new();
    let store = place.store();
    let ground = model(&[("b", 1, 60_000)], "ground");
    let push = |repo: &str, model: &[u8]| {
        let source = place.source("source", &[("m.safetensors", model.to_vec())]);
        store.push(&source, &repo.parse().unwrap(), &PushOptions::new()).unwrap()
    };
    push("lab/m", &ground);
    let later = model(&[("b", 1 + LATER, 60_000)], "later");
    assert!(push("lab/m", &later).stored < 50_000);
    // The tensor b is there, as differences; a has the content of its base, or differs in a little.
    for seed in [1, 1 + 2 * LATER] {
        let hostile = model(&[("a", seed, 60_000), ("b", 1 + LATER, 60_000)], "hostile");
        let base = match seed {
            1 => ground.clone(),
            _ => model(&[("a", 1, 60_000), ("b", 1, 60_000)], "ground"),
        };
        let mut known = known(&store, &hostile);
        let keys = tensor_keys(&hostile, &()).unwrap();
        known.remove(&keys[0]);
        let (outline, _) = packed(&hostile, &known);
        assert_eq!(outline.tensors(), (2, 1));
        let tail = tail_with_bases(&hostile, &base);
        let len = part_lens(&tail, 2).unwrap()[0].unwrap().stored_len;
        assert_eq!(len == 0, seed == 1);
        let runs = place.keys("index");
        let bytes = vec![0; len as usize];
        let stored = put(&store, &outline.with_tail(tail), &bytes);
        assert!(matches!(stored, Err(Error::Outline(_))), "{stored:?}");
        assert_eq!(place.keys("index"), runs);
    }
    // Nor is a tensor of no bytes taken, whatever its file says.
    let plain = model(&[("a", 7, 60_000)], "plain");
    let (outline, _) = packed(&plain, &HashMap::new());
    let none = StoredLen { stored_len: 0, model_len: 0 };
    let part = NewPart { tensor: 0, len: none, base: None };
    let tail = replace_parts(outline.tail(), &[part]).unwrap();
    let stored = put(&store, &outline.with_tail(tail), &[]);
    assert!(matches!(stored, Err(Error::Outline(_))), "{stored:?}");
    // All that was there is as it was.
    push("lab/again", &ground);
    assert_eq!(place.pulled("lab/again").unwrap()["m.safetensors"], ground);
    assert_eq!(place.pulled("lab/m").unwrap()["m.safetensors"], later);
    assert!(store.scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
}

/// The lengths of a record in an index and of the trailer, and the offsets in these of the length
/// and the flags of the one, and of the offset and the SHA-256 of the index, and of the checksum.
const RECORD: (usize, usize, usize) = (48, 32, 45);
const TRAILER: (usize, usize, usize, usize) = (176, 0, 32, 160);

/// Returns a tail in which a tensor does not share the bytes of the first one, but has the same
/// for itself.
fn unshared(tail: &[u8], tensor: usize) -> Vec<u8> {
    let (len, at, flags) = RECORD;
    let (trailer_len, offset, digest, checksum) = TRAILER;
    let (index, trailer) = tail.split_at(tail.len() - trailer_len);
    let (mut index, mut trailer) = (index.to_vec(), trailer.to_vec());
    assert_eq!(index[tensor * len + flags], 1);
    index.copy_within(at..len, tensor * len + at);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    let end = number(&trailer[offset..offset + 8]) + number(&index[at..at + 8]);
    trailer[offset..offset + 8].copy_from_slice(&end.to_le_bytes());
    trailer[digest..digest + 32].copy_from_slice(&Digest::of(&index).0);
    let sum = Digest::of(&trailer[..checksum]).0;
    trailer[checksum..checksum + 8].copy_from_slice(&sum[..8]);
    [index, trailer].concat()
}

#[test]
fn a_file_that_shares_less_than_it_could_moves_no_tensor_of_others() {
    let place = Place::new();
    let store = place.store();
    let (c, d) = (("c", 1, 60_000), ("d", 2, 50_000));
    let victim = model(&[c, d], "victim");
    place.push("lab/victim", &[("m.safetensors", victim.clone())]);
    let hostile = model(&[("a", 3, 40_000), ("b", 3, 40_000), c, d], "hostile");
    let (outline, bytes) = packed(&hostile, &known(&store, &hostile));
    let mut json = serde_json::to_value(&outline).unwrap();
    json["sent"][1] = json["sent"][0].clone();
    let forged: Outline = serde_json::from_value(json).unwrap();
    assert_eq!((outline.tensors(), forged.tensors()), ((4, 1), (4, 2)));
    let twice = [&bytes[..], &bytes].concat();
    let file = put(&store, &forged.with_tail(unshared(outline.tail(), 1)), &twice).unwrap();
    commit(&store, &file);
    let right = || {
        assert_eq!(place.pulled("lab/victim").unwrap()["m.safetensors"], victim);
        assert_eq!(place.pulled("lab/m").unwrap()["m.safetensors"], hostile);
        assert!(store.scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
    };
    right();
    assert_eq!(store.repack("lab", None, Level::Default, &()).unwrap().files, 1);
    right();
    store.repack("lab", None, Level::Max, &()).unwrap();
    store.rebase("lab", None, Level::Max, &()).unwrap();
    right();
    let options = CollectOptions::new().grace(std::time::Duration::ZERO);
    store.collect(&options).unwrap();
    right();
}
