//! `at1w info`

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use at1w_container::{FileInfo, OpenOptions, Reader, Weights, feature_names};
use clap::Args;
use serde::Serialize;

use crate::failure::Result;
use crate::output::{json, percent, printable, to_stdout};

/// Show sizes, digests, dtypes and metadata of a file
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Info {
    /// An .at1w or .safetensors file
    file: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The root pins all content of the file: 'at1w verify FILE --root HEX' checks against it. It does not
change when the same model is packed again. A .safetensors has none, and of the keys of --json only
format, original_bytes, header_bytes, tensors, dtypes and metadata.

Examples:
  at1w info model.at1w
  at1w info --json model.at1w | jq -r .root";

#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    original_bytes: u64,
    header_bytes: u64,
    #[serde(flatten)]
    packed: Option<Packed>,
    tensors: usize,
    dtypes: BTreeMap<&'a str, Count>,
    metadata: BTreeMap<&'a str, &'a str>,
}

/// The part of a report that only packed files have.
#[derive(Serialize)]
struct Packed {
    version: u32,
    required_features: u64,
    optional_features: u64,
    packed_bytes: u64,
    root: String,
    original_sha256: String,
    header_stored_bytes: u64,
    index_bytes: u64,
    chunk_table_bytes: u64,
    model_bytes: u64,
}

impl Packed {
    fn new(info: &FileInfo) -> Self {
        Self {
            version: info.version,
            required_features: info.required_features,
            optional_features: info.optional_features,
            packed_bytes: info.packed_len,
            root: info.root.to_string(),
            original_sha256: info.original_digest.to_string(),
            header_stored_bytes: info.header_stored_len,
            index_bytes: info.index_len,
            chunk_table_bytes: info.chunk_tables_len,
            model_bytes: info.models_len,
        }
    }
}

#[derive(Default, Serialize)]
struct Count {
    tensors: u64,
    raw_bytes: u64,
    stored_bytes: u64,
}

impl<'a> Report<'a> {
    fn new(weights: &'a Weights) -> Self {
        let header = weights.header();
        let stored: Option<Vec<u64>> = weights
            .packed()
            .map(|reader| reader.tensors().map(|tensor| tensor.stored_len()).collect());
        let mut dtypes = BTreeMap::<_, Count>::new();
        for (i, tensor) in header.tensors().iter().enumerate() {
            let count = dtypes.entry(tensor.dtype_name()).or_default();
            count.tensors += 1;
            count.raw_bytes += tensor.raw_len();
            count.stored_bytes += stored.as_ref().map_or(tensor.raw_len(), |stored| stored[i]);
        }
        Self {
            format: if stored.is_some() { "at1w" } else { "safetensors" },
            original_bytes: weights.original_len(),
            header_bytes: header.bytes().len() as u64,
            packed: weights.packed().map(Reader::info).map(Packed::new),
            tensors: header.tensors().len(),
            dtypes,
            metadata: header.metadata().collect(),
        }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut line = |label: &str, value: String| writeln!(out, "{label:<18}{value}");
        if let Some(packed) = &self.packed {
            let ratio = percent(packed.packed_bytes, self.original_bytes);
            line("format version", packed.version.to_string())?;
            line("features", features(packed.required_features, packed.optional_features))?;
            line("packed", format!("{} bytes ({ratio} %)", packed.packed_bytes))?;
            line("original", format!("{} bytes", self.original_bytes))?;
            line("root", packed.root.clone())?;
            line("original SHA-256", packed.original_sha256.clone())?;
            let (raw, stored) = (self.header_bytes, packed.header_stored_bytes);
            line("header", format!("{raw} bytes, stored in {stored}"))?;
            line("index", format!("{} bytes", packed.index_bytes))?;
            line("chunk tables", format!("{} bytes", packed.chunk_table_bytes))?;
            line("models", format!("{} bytes", packed.model_bytes))?;
        } else {
            line("format", "safetensors, not packed: nothing pins its bytes".into())?;
            line("size", format!("{} bytes", self.original_bytes))?;
            line("header", format!("{} bytes", self.header_bytes))?;
        }
        line("tensors", self.tensors.to_string())?;
        for (dtype, Count { tensors, raw_bytes, stored_bytes }) in &self.dtypes {
            let ratio = percent(*stored_bytes, *raw_bytes);
            let label = format!("  {}", printable(dtype));
            line(&label, format!("{tensors}, {raw_bytes} -> {stored_bytes} bytes ({ratio} %)"))?;
        }
        line("metadata", self.metadata.len().to_string())?;
        for (key, value) in &self.metadata {
            writeln!(out, "  {}: {}", printable(key), printable(value))?;
        }
        Ok(())
    }
}

impl Info {
    pub(crate) fn run(self) -> Result<()> {
        let weights = Weights::open(&self.file, &OpenOptions::new())?;
        let report = Report::new(&weights);
        if self.json { json(&report) } else { to_stdout(|out| report.print(out)) }
    }
}

fn features(required: u64, optional: u64) -> String {
    match (required, optional) {
        (0, 0) => "none".into(),
        (_, 0) => feature_names(required),
        _ => format!("{}; optional {}", feature_names(required), feature_names(optional)),
    }
}
