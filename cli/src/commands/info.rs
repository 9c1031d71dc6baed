//! `at1w info`

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use at1w_container::Reader;
use clap::Args;
use serde::Serialize;

use crate::failure::Result;
use crate::output::{json, percent, printable, to_stdout};

/// Show what a file says about itself: sizes, digests, dtypes, metadata
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Info {
    /// An .at1w file
    file: PathBuf,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The root pins all content of the file: 'at1w verify FILE --root HEX' checks against it. It does not
change when the same model is packed again.

Examples:
  at1w info model.at1w
  at1w info --json model.at1w | jq -r .root";

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    required_features: u64,
    optional_features: u64,
    packed_bytes: u64,
    original_bytes: u64,
    root: String,
    original_sha256: String,
    header_bytes: u64,
    header_stored_bytes: u64,
    index_bytes: u64,
    chunk_table_bytes: u64,
    model_bytes: u64,
    tensors: usize,
    dtypes: BTreeMap<&'a str, Count>,
    metadata: BTreeMap<&'a str, &'a str>,
}

#[derive(Default, Serialize)]
struct Count {
    tensors: u64,
    raw_bytes: u64,
    stored_bytes: u64,
}

impl<'a> Report<'a> {
    fn new(reader: &'a Reader) -> Self {
        let info = reader.info();
        let mut dtypes = BTreeMap::<_, Count>::new();
        for tensor in reader.tensors() {
            let count = dtypes.entry(tensor.dtype_name()).or_default();
            count.tensors += 1;
            count.raw_bytes += tensor.raw_len();
            count.stored_bytes += tensor.stored_len();
        }
        Self {
            version: info.version,
            required_features: info.required_features,
            optional_features: info.optional_features,
            packed_bytes: info.packed_len,
            original_bytes: info.original_len,
            root: info.root.to_string(),
            original_sha256: info.original_digest.to_string(),
            header_bytes: info.header_len,
            header_stored_bytes: info.header_stored_len,
            index_bytes: info.index_len,
            chunk_table_bytes: info.chunk_tables_len,
            model_bytes: info.models_len,
            tensors: reader.len(),
            dtypes,
            metadata: reader.header().metadata().collect(),
        }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut line = |label: &str, value: String| writeln!(out, "{label:<18}{value}");
        let ratio = percent(self.packed_bytes, self.original_bytes);
        line("format version", self.version.to_string())?;
        line("features", features(self.required_features, self.optional_features))?;
        line("packed", format!("{} bytes ({ratio} %)", self.packed_bytes))?;
        line("original", format!("{} bytes", self.original_bytes))?;
        line("root", self.root.clone())?;
        line("original SHA-256", self.original_sha256.clone())?;
        let (raw, stored) = (self.header_bytes, self.header_stored_bytes);
        line("header", format!("{raw} bytes, stored in {stored}"))?;
        line("index", format!("{} bytes", self.index_bytes))?;
        line("chunk tables", format!("{} bytes", self.chunk_table_bytes))?;
        line("models", format!("{} bytes", self.model_bytes))?;
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
        let reader = Reader::open(&self.file)?;
        let report = Report::new(&reader);
        if self.json { json(&report) } else { to_stdout(|out| report.print(out)) }
    }
}

fn features(required: u64, optional: u64) -> String {
    match (required, optional) {
        (0, 0) => "none".into(),
        _ => format!("required {required:#x}, optional {optional:#x}"),
    }
}
