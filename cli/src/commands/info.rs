//! `at1w info`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use at1w_container::{FileInfo, OpenOptions, Reader, Weights};
use clap::Args;
use serde::Serialize;

use crate::Global;
use crate::directory::{Directory, FaultRow, Others};
use crate::failure::Result;
use crate::figures::Figures;
use crate::input;
use crate::listing::files::{Count, Dtypes, FileList, count_dtypes, format_name};
use crate::output::{json, percent, printable, to_stdout};

/// Show sizes, digests, dtypes and metadata of a file, or the totals of a directory
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Info {
    /// An .at1w or .safetensors file, a directory, or - for standard input
    #[arg(value_name = "FILE-OR-DIR")]
    path: PathBuf,
    #[command(flatten)]
    figures: Figures,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The root pins all content of the file: 'at1w verify FILE --root HEX' checks against it. It does not
change when the same model is packed again. A .safetensors has none, and of the keys of --json only
format, original_bytes, header_bytes, tensors, dtypes and metadata. A directory has format
(\"directory\"), has_manifest, original_bytes, packed_bytes, tensors, dtypes, files (as of 'at1w
ls'), other_files (files and bytes) and faults.

Examples:
  at1w info model.at1w
  at1w info ~/models/minilm.at1w
  at1w info --json model.at1w | jq -r .root";

#[derive(Serialize)]
struct Report<'a> {
    format: &'static str,
    original_bytes: u64,
    header_bytes: u64,
    #[serde(flatten)]
    packed: Option<Packed>,
    tensors: usize,
    dtypes: Dtypes,
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

/// The totals of a directory.
#[derive(Serialize)]
struct DirectoryReport {
    format: &'static str,
    has_manifest: bool,
    original_bytes: u64,
    packed_bytes: u64,
    tensors: u64,
    dtypes: Dtypes,
    files: FileList,
    other_files: Others,
    faults: Vec<FaultRow>,
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

impl<'a> Report<'a> {
    fn new(weights: &'a Weights) -> Self {
        let header = weights.header();
        let mut dtypes = Dtypes::new();
        count_dtypes(weights, &mut dtypes);
        Self {
            format: format_name(weights),
            original_bytes: weights.original_len(),
            header_bytes: header.bytes().len() as u64,
            packed: weights.packed().map(Reader::info).map(Packed::new),
            tensors: header.tensors().len(),
            dtypes,
            metadata: header.metadata().collect(),
        }
    }

    fn print(&self, figures: Figures, out: &mut impl Write) -> io::Result<()> {
        let size = |bytes| figures.size(bytes);
        if let Some(packed) = &self.packed {
            let ratio = percent(packed.packed_bytes, self.original_bytes);
            line(out, "format version", &packed.version.to_string())?;
            let features = features(packed.required_features, packed.optional_features);
            line(out, "features", &features)?;
            line(out, "packed", &format!("{} ({ratio} %)", size(packed.packed_bytes)))?;
            line(out, "original", &size(self.original_bytes))?;
            line(out, "root", &packed.root)?;
            line(out, "original SHA-256", &packed.original_sha256)?;
            let (raw, stored) = (size(self.header_bytes), packed.header_stored_bytes);
            line(out, "header", &format!("{raw}, stored in {}", figures.cell(stored)))?;
            line(out, "index", &size(packed.index_bytes))?;
            line(out, "chunk tables", &size(packed.chunk_table_bytes))?;
            line(out, "models", &size(packed.model_bytes))?;
        } else {
            line(out, "format", "safetensors, not packed: nothing pins its bytes")?;
            line(out, "size", &size(self.original_bytes))?;
            line(out, "header", &size(self.header_bytes))?;
        }
        line(out, "tensors", &self.tensors.to_string())?;
        print_dtypes(&self.dtypes, figures, out)?;
        line(out, "metadata", &self.metadata.len().to_string())?;
        for (key, value) in &self.metadata {
            writeln!(out, "  {}: {}", printable(key), printable(value))?;
        }
        Ok(())
    }
}

impl DirectoryReport {
    fn print(&self, figures: Figures, pinned: &str, out: &mut impl Write) -> io::Result<()> {
        let (files, packed) = (self.files.len(), self.files.packed());
        let ratio = percent(self.packed_bytes, self.original_bytes);
        line(out, "files of weights", &format!("{files}, {packed} of them packed, {pinned}"))?;
        let Others { files, bytes } = self.other_files;
        line(out, "other files", &format!("{files}, {}", figures.size(bytes)))?;
        line(out, "packed", &format!("{} ({ratio} %)", figures.size(self.packed_bytes)))?;
        line(out, "original", &figures.size(self.original_bytes))?;
        line(out, "tensors", &self.tensors.to_string())?;
        print_dtypes(&self.dtypes, figures, out)?;
        if !self.faults.is_empty() {
            line(out, "faults", &self.faults.len().to_string())?;
        }
        writeln!(out)?;
        self.files.table(figures).print(out)
    }
}

/// Prints a label and what stands behind it.
fn line(out: &mut impl Write, label: &str, value: &str) -> io::Result<()> {
    writeln!(out, "{label:<18}{value}")
}

fn print_dtypes(dtypes: &Dtypes, figures: Figures, out: &mut impl Write) -> io::Result<()> {
    for (dtype, Count { tensors, raw_bytes, stored_bytes }) in dtypes {
        let ratio = percent(*stored_bytes, *raw_bytes);
        let (raw, stored) = (figures.cell(*raw_bytes), figures.size(*stored_bytes));
        let label = format!("  {}", printable(dtype));
        line(out, &label, &format!("{tensors}, {raw} -> {stored} ({ratio} %)"))?;
    }
    Ok(())
}

impl Info {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.path.is_dir() {
            return self.of_directory(global);
        }
        let weights = input::open(&self.path, &OpenOptions::new())?;
        let report = Report::new(&weights);
        if self.json { json(&report) } else { to_stdout(|out| report.print(self.figures, out)) }
    }

    fn of_directory(self, global: &Global) -> Result<()> {
        let mut directory = Directory::read(&self.path, global)?;
        let (mut files, mut dtypes) = (FileList::default(), Dtypes::new());
        let other_files = directory.each(|file, weights| {
            files.add(file, &weights);
            count_dtypes(&weights, &mut dtypes);
            Ok(())
        });
        let (original, packed) = files.sizes();
        let report = DirectoryReport {
            format: "directory",
            has_manifest: directory.contents.has_manifest,
            original_bytes: original + other_files.bytes,
            packed_bytes: packed + other_files.bytes,
            tensors: files.tensors(),
            dtypes,
            files,
            other_files,
            faults: std::mem::take(&mut directory.faults),
        };
        if self.json {
            json(&report)?;
        } else {
            to_stdout(|out| report.print(self.figures, directory.pinned_by(), out))?;
        }
        directory.outcome()
    }
}

fn features(required: u64, optional: u64) -> String {
    match (required, optional) {
        (0, 0) => "none".into(),
        _ => format!("required {required:#x}, optional {optional:#x}"),
    }
}
