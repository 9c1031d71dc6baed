//! Keeps the chunks of a tensor in an embedded key-value store, and reads one of them back.
//!
//! `cargo run -p at1w-codec --example store`

use at1w_codec::{Decoder, Dtype, Encoder, Level, Model, Position};
use redb::{Database, ReadableDatabase, TableDefinition};

/// Tensor name to dtype and model.
const TENSORS: TableDefinition<'_, &str, (&str, &[u8])> = TableDefinition::new("tensors");
/// Tensor name and chunk number to raw length and encoded chunk.
const CHUNKS: TableDefinition<'_, (&str, u64), (u64, &[u8])> = TableDefinition::new("chunks");

const CHUNK_LEN: usize = 512 << 10;

fn put(
    db: &Database,
    name: &str,
    dtype: Dtype,
    shape: &[u64],
    raw: &[u8],
) -> Result<(), Box<dyn std::error::Error>> {
    let mut encoder = Encoder::new(Level::Default);
    let model = encoder.model(dtype, shape, raw.chunks(CHUNK_LEN))?;

    let transaction = db.begin_write()?;
    transaction.open_table(TENSORS)?.insert(name, (dtype.name(), &model.to_bytes()[..]))?;
    let mut encoded = Vec::new();
    for (number, chunk) in (0..).zip(raw.chunks(CHUNK_LEN)) {
        let position = Position::of_chunk(number, CHUNK_LEN, dtype.layout());
        encoded.clear();
        encoder.encode_into(&model, position, chunk, &mut encoded)?;
        let value = (chunk.len() as u64, &encoded[..]);
        transaction.open_table(CHUNKS)?.insert((name, number), value)?;
    }
    Ok(transaction.commit()?)
}

fn get(db: &Database, name: &str, number: u64) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let transaction = db.begin_read()?;
    let tensor = transaction.open_table(TENSORS)?.get(name)?.ok_or("no such tensor")?;
    let (dtype, model) = tensor.value();
    let dtype = Dtype::from_name(dtype).ok_or("unknown dtype")?;
    let model = Model::from_bytes(dtype.layout(), model)?;

    let chunk = transaction.open_table(CHUNKS)?.get((name, number))?.ok_or("no such chunk")?;
    let (raw_len, encoded) = chunk.value();
    // The length is our own, from the store; the buffer could as well be the caller's.
    let mut raw = vec![0; raw_len.try_into()?];
    let position = Position::of_chunk(number, CHUNK_LEN, dtype.layout());
    Decoder::new().decode(&model, position, encoded, &mut raw)?;
    Ok(raw)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let db = Database::create(folder.path().join("weights.redb"))?;

    // Numbers like weights: bf16, most of them small.
    let weight = |i: u32| (i as f32 * 0.7).sin() * (i as f32 * 0.013).cos() / 50.0;
    let raw: Vec<u8> =
        (0..1_000_000).flat_map(|i| ((weight(i).to_bits() >> 16) as u16).to_le_bytes()).collect();
    put(&db, "layer.0.weight", Dtype::BF16, &[1000, 1000], &raw)?;

    let chunk = get(&db, "layer.0.weight", 2)?;
    assert!(chunk == raw[2 * CHUNK_LEN..3 * CHUNK_LEN]);
    println!("chunk 2 of layer.0.weight: {} bytes, as they were", chunk.len());
    Ok(())
}
