//! Makes the files that `ci/limits` measures with, and reads one tensor the way of safetensors.
//!
//! `limits make {large|single|many} FILE`, `limits read FILE NAME`

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use at1w_codec::Dtype;
use at1w_container::{Mapped, ReadAt};
use at1w_tests::{Random, weights};

const GIB: usize = 1 << 30;

/// A file of `count` bf16 tensors of `len` bytes each. Their content matches after 64 MiB.
fn make(path: &str, count: usize, len: usize) -> Result<(), Box<dyn Error>> {
    let mut header = String::from("{\"__metadata__\":{}");
    for i in 0..count {
        let (start, end, rows) = (i * len, (i + 1) * len, len.div_ceil(8192));
        let shape = [rows, len / 2 / rows];
        header += &format!(
            ",\"model.layers.{i}.weight\":{{\"dtype\":\"BF16\",\"shape\":{shape:?},\
             \"data_offsets\":[{start},{end}]}}"
        );
    }
    header += "}";
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let data = weights(Dtype::BF16, (64 << 20).min(count * len) / 2, &mut Random::new(1));
    let mut left = count * len;
    while left > 0 {
        let piece = left.min(data.len());
        file.write_all(&data[..piece])?;
        left -= piece;
    }
    Ok(file.flush()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", "large", path] => make(path, 64, GIB / 32),
        ["make", "single", path] => make(path, 1, 2 * GIB),
        ["make", "many", path] => make(path, 100_000, 256),
        ["read", path, name] => {
            // SAFETY: ci/limits leaves its files alone while they are read.
            let map = unsafe { Mapped::open(path.as_ref()) }?;
            let bytes = map.read_at(0..map.size()?)?;
            let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
            Ok(std::io::stdout().write_all(tensors.tensor(name)?.data())?)
        }
        _ => Err("usage: limits make {large|single|many} FILE | limits read FILE NAME".into()),
    }
}
