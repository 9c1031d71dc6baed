//! How much a second revision adds to a store, measured on real weights: `ci/corpus` runs these.

mod common;

use std::path::Path;

use at1w_registry::PushOptions;
use common::{Place, Random};
use serde_json::{Map, Value, json};

/// A safetensors file, taken apart: its tensors in the order of the file, each with its header.
struct Model {
    metadata: Value,
    tensors: Vec<(String, Value, Vec<u8>)>,
}

impl Model {
    fn minilm() -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/minilm-l6-v2.bf16.safetensors");
        let bytes = std::fs::read(path).expect("run scripts/corpus.sh first");
        let (len, rest) = bytes.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
        let mut header: Map<String, Value> = serde_json::from_slice(header).unwrap();
        let metadata = header.remove("__metadata__").unwrap_or_else(|| json!({}));
        let offset =
            |info: &Value, end: usize| info["data_offsets"][end].as_u64().unwrap() as usize;
        let content = |info: &Value| data[offset(info, 0)..offset(info, 1)].to_vec();
        let mut tensors: Vec<_> = header
            .into_iter()
            .map(|(name, info)| (offset(&info, 0), (name, content(&info), info)))
            .collect();
        tensors.sort_by_key(|&(at, _)| at);
        Self {
            metadata,
            tensors: tensors
                .into_iter()
                .map(|(_, (name, bytes, info))| (name, info, bytes))
                .collect(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), self.metadata.clone());
        let mut data = Vec::new();
        for (name, info, bytes) in &self.tensors {
            let mut info = info.clone();
            info["data_offsets"] = json!([data.len(), data.len() + bytes.len()]);
            header.insert(name.clone(), info);
            data.extend_from_slice(bytes);
        }
        let mut header = serde_json::to_vec(&header).unwrap();
        header.resize(header.len().next_multiple_of(8), b' ');
        [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
    }

    /// Adds a product of two thin matrices to each matrix whose name `chosen` accepts, as merging
    /// an adapter does: nearly every element moves a little.
    fn merge(&mut self, chosen: impl Fn(&str) -> bool) {
        const RANK: usize = 8;
        let mut random = Random(7);
        let mut unit = || (random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        for (name, info, bytes) in &mut self.tensors {
            if !chosen(name) {
                continue;
            }
            let columns = info["shape"].as_array().unwrap().last().unwrap().as_u64().unwrap();
            let columns = columns as usize;
            let rows = bytes.len() / 2 / columns;
            let mut thin = |count| (0..count * RANK).map(|_| unit() * 0.03).collect::<Vec<_>>();
            let (left, right) = (thin(rows), thin(columns));
            for (at, word) in bytes.chunks_exact_mut(2).enumerate() {
                let (row, column) = (at / columns * RANK, at % columns * RANK);
                let pairs = left[row..row + RANK].iter().zip(&right[column..column + RANK]);
                let sum: f32 = pairs.map(|(a, b)| a * b).sum();
                let old = f32::from_bits(u32::from(u16::from_le_bytes([word[0], word[1]])) << 16);
                let bits = (old + sum).to_bits();
                let rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
                word.copy_from_slice(&(rounded as u16).to_le_bytes());
            }
        }
    }

    /// Moves about six of ten words by the least that is possible, as training on with a small rate
    /// does.
    fn tune(&mut self) {
        let mut random = Random(11);
        for word in self.tensors.iter_mut().flat_map(|tensor| tensor.2.chunks_exact_mut(2)) {
            let old = u16::from_le_bytes([word[0], word[1]]);
            let new = match random.below(10) {
                0..3 => old.wrapping_add(1),
                3..6 => old.wrapping_sub(1),
                _ => old,
            };
            word.copy_from_slice(&new.to_le_bytes());
        }
    }
}

/// Pushes the model, and then what `change` makes of it; returns the number of bytes that the
/// store grew by.
fn added(change: impl FnOnce(&mut Model)) -> u64 {
    let place = Place::new();
    let store = place.store();
    let stored = || place.keys("").iter().fold(0, |sum, key| sum + len(&place, key));
    let push = |model: &Model| {
        let source = place.source("source", &[("model.safetensors", model.to_bytes())]);
        store.push(&source, &"lab/model".parse().unwrap(), &PushOptions::new()).unwrap();
        let bytes = place.pulled("lab/model").unwrap();
        assert!(bytes["model.safetensors"] == model.to_bytes());
        stored()
    };
    let mut model = Model::minilm();
    let before = push(&model);
    change(&mut model);
    push(&model) - before
}

fn len(place: &Place, key: &str) -> u64 {
    std::fs::metadata(place.root().join(key)).unwrap().len()
}

#[test]
#[ignore = "needs the corpus: ci/corpus"]
fn a_second_revision_adds_what_changed() {
    let mut within = true;
    let mut row = |what: &str, most: f64, bytes: u64| {
        let megabytes = bytes as f64 / 1e6;
        println!("{what}: {megabytes:.3} MB, at most {most} asked");
        within &= megabytes <= most;
    };
    row("other metadata", 0.01, added(|model| model.metadata["step"] = json!("2")));
    row("other order", 0.01, added(|model| model.tensors.reverse()));
    let adapted =
        |name: &str| name.ends_with("self.query.weight") || name.ends_with("self.value.weight");
    row("an adapter merged into q and v", 1.1, added(|model| model.merge(adapted)));
    let trained = |name: &str| !name.starts_with("embeddings.");
    row("all trained but the embeddings", 6.6, added(|model| model.merge(trained)));
    row("trained on", 4.7, added(Model::tune));
    assert!(within);
}
