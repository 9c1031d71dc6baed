//! The bodies of the fuzz targets, one file each. The targets of `fuzz/` run them with new inputs,
//! `tests/fuzz.rs` with kept inputs.

mod backends;
mod container;
mod decode;
mod differences;
mod encode;
mod header;
mod manifest;
mod mutation;
#[cfg(feature = "server")]
mod object;
#[cfg(feature = "server")]
mod outline;
mod proof;
mod remote;
mod round_trip;
mod seal;
mod slices;
#[cfg(feature = "server")]
mod upload;

use arbitrary::{Result, Unstructured};
use at1w_codec::Dtype;
use at1w_container::{Digest, Level, Limits, OpenOptions, ReadAt, Reader};

pub use proof::seal_proof;
pub use seal::{plain_header, seal};

use crate::versions::small_bases;
use crate::{Random, quantised, scaled_weights, weights};

/// A fuzz target: its name, and its function, which panics if an input shows a fault.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("backends", |input| run(backends::run, input)),
    ("container", container::run),
    ("decode", |input| run(decode::run, input)),
    ("differences", |input| run(differences::run, input)),
    ("encode", |input| run(encode::run, input)),
    ("header", |input| run(header::run, input)),
    ("manifest", |input| run(manifest::run, input)),
    ("mutation", |input| run(mutation::run, input)),
    #[cfg(feature = "server")]
    ("object", object::run),
    #[cfg(feature = "server")]
    ("outline", |input| run(outline::run, input)),
    ("proof", |input| run(proof::run, input)),
    ("remote", |input| run(remote::run, input)),
    ("round_trip", |input| run(round_trip::run, input)),
    ("slices", |input| run(slices::run, input)),
    #[cfg(feature = "server")]
    ("upload", upload::run),
];

/// Runs the target of this name.
///
/// # Panics
/// When there is no such target, or when it finds a fault.
pub fn fuzz(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.0 == name);
    target.expect("the name of a target").1(input);
}

/// An input that ends early is none.
fn run(target: fn(&mut Unstructured<'_>) -> Result<()>, input: &[u8]) {
    let _ = target(&mut Unstructured::new(input));
}

const LEVELS: [Level; 3] = [Level::Fast, Level::Default, Level::Max];

/// The most that a fuzzer may ask for.
fn limits() -> Limits {
    Limits::default().index_len(1 << 20).tensor_len(1 << 21).original_len(1 << 26)
}

/// Opens a source and reads all of it. Returns the raw bytes of the tensors that could be read.
fn read_all(source: impl ReadAt + 'static) -> Vec<(usize, Vec<u8>)> {
    let options = OpenOptions::new().limits(limits());
    let Ok(reader) = Reader::new(Box::new(source), &options) else { return Vec::new() };
    let reader = reader.with_bases(small_bases());
    let mut read = Vec::new();
    for (i, tensor) in reader.tensors().enumerate().take(64) {
        let _ = tensor.model().map(|model| model.to_string());
        if let Ok(bytes) = tensor.read_to_vec() {
            assert_eq!(Digest::of(&bytes), tensor.digest());
            read.push((i, bytes));
        }
        let _ = tensor.read_slice(&"0:1, ...".parse().expect("a slice"));
    }
    let end = reader.info().original_len.min(4096);
    let _ = reader.read_original(end / 2..end);
    read
}

/// Makes the bytes of `elements` elements: random, like weights, of one value, or from the input.
fn data(u: &mut Unstructured<'_>, dtype: Dtype, elements: usize) -> Result<Vec<u8>> {
    let len = (elements * dtype.bits() as usize).div_ceil(8);
    let float = matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F64 | Dtype::C64);
    let random = &mut Random::new(u.arbitrary()?);
    let mut bytes = match u.int_in_range(0..=7)? {
        0 => vec![u.arbitrary()?; len],
        1 => random.bytes(len),
        2 => (0..len).map(|_| random.bits().leading_zeros() as u8).collect(),
        3 => random.bytes(1 + len / 9).repeat(10),
        6 if dtype.bits() <= 8 => {
            let columns = 1 + random.bits() as usize % 200;
            quantised(u.arbitrary()?, u.arbitrary()?, len.div_ceil(columns), columns, random)
        }
        4 if float => weights(dtype, elements, random),
        5 if matches!(dtype, Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F64) => {
            let columns = 1 + random.bits() as usize % 60;
            scaled_weights(dtype, elements.div_ceil(columns), columns, random)
        }
        _ => u.bytes(u.len().min(len))?.to_vec(),
    };
    bytes.resize(len, 7);
    // Puts some of the input over it.
    for _ in 0..u.int_in_range(0..=4)? {
        if let Some(byte) = bytes.get_mut(u.arbitrary::<u16>()? as usize) {
            *byte = u.arbitrary()?;
        }
    }
    Ok(bytes)
}
