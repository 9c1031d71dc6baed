//! `at1w info`

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use at1w_container::{FileInfo, OpenOptions, Reader, Weights, feature_names};
use clap::Args;
use serde::Serialize;

use crate::Global;
use crate::directory::{Directory, FaultRow, Others};
use crate::failure::{Failure, Reported, Result, report_failure};
use crate::figures::Figures;
use crate::input;
use crate::listing::files::{Count, Dtypes, FileList, count_dtypes, format_name};
use crate::output::{json, percent, printable, to_stdout};

/// Show sizes, digests, dtypes and metadata of files, or the totals of directories
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Info {
    /// The .at1w or .safetensors files, by path or URL, or directories; - is standard input
    #[arg(value_name = "FILE-OR-DIR", required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    figures: Figures,
    /// Print a JSON object, or an array of them for several files
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The root pins all content of the file: 'at1w verify FILE --root HEX' checks against it. It does not
change when the same model is packed again. A .safetensors has none, and of the keys of --json only
path, format, original_bytes, header_bytes, tensors, dtypes and metadata. A directory has path,
format (\"directory\"), has_manifest, original_bytes, packed_bytes, tensors, dtypes, files (as of
'at1w ls'), other_files (files and bytes) and faults.

Examples:
  at1w info model.at1w
  at1w info ~/models/minilm.at1w
  at1w info --json model.at1w | jq -r .root";

/// The report of one path.
#[derive(Serialize)]
struct Report {
    path: String,
    #[serde(flatten)]
    facts: Facts,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Facts {
    File(FileFacts),
    Directory(DirectoryFacts),
}

#[derive(Serialize)]
struct FileFacts {
    format: &'static str,
    original_bytes: u64,
    header_bytes: u64,
    #[serde(flatten)]
    packed: Option<Packed>,
    tensors: usize,
    dtypes: Dtypes,
    metadata: BTreeMap<String, String>,
}

/// The facts that only packed files have.
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
struct DirectoryFacts {
    format: &'static str,
    has_manifest: bool,
    original_bytes: u64,
    packed_bytes: u64,
    tensors: u64,
    dtypes: Dtypes,
    files: FileList,
    other_files: Others,
    faults: Vec<FaultRow>,
    #[serde(skip)]
    pinned_by: &'static str,
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

impl FileFacts {
    fn new(weights: &Weights) -> Self {
        let (header, metadata) = (weights.header(), weights.header().metadata());
        let mut dtypes = Dtypes::new();
        count_dtypes(weights, &mut dtypes);
        Self {
            format: format_name(weights),
            original_bytes: weights.original_len(),
            header_bytes: header.bytes().len() as u64,
            packed: weights.packed().map(Reader::info).map(Packed::new),
            tensors: header.tensors().len(),
            dtypes,
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
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

impl DirectoryFacts {
    /// Makes the report of the files of a directory, and reports those that cannot be read.
    fn new(directory: &mut Directory) -> Self {
        let (mut files, mut dtypes) = (FileList::default(), Dtypes::new());
        let other_files = directory.each(|file, weights| {
            files.add(file, &weights);
            count_dtypes(&weights, &mut dtypes);
            Ok(())
        });
        let (original, packed) = files.sizes();
        Self {
            format: "directory",
            has_manifest: directory.contents.has_manifest,
            original_bytes: original + other_files.bytes,
            packed_bytes: packed + other_files.bytes,
            tensors: files.tensors(),
            dtypes,
            files,
            other_files,
            faults: std::mem::take(&mut directory.faults),
            pinned_by: directory.pinned_by(),
        }
    }

    fn print(&self, figures: Figures, out: &mut impl Write) -> io::Result<()> {
        let (files, packed) = (self.files.len(), self.files.packed());
        let ratio = percent(self.packed_bytes, self.original_bytes);
        let pinned_by = self.pinned_by;
        line(out, "files of weights", &format!("{files}, {packed} of them packed, {pinned_by}"))?;
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
        let (mut reports, mut worst) = (Vec::new(), None);
        for path in &self.paths {
            match Report::new(path, global) {
                Ok((report, reported)) => {
                    reports.push(report);
                    worst = worst.max(reported);
                }
                Err(failure) if self.paths.len() == 1 => return Err(failure),
                Err(failure) => {
                    report_failure(&failure);
                    worst = worst.max(Some(failure.reported()));
                }
            }
        }
        match &reports[..] {
            [report] if self.json && self.paths.len() == 1 => json(report)?,
            reports if self.json => json(&reports)?,
            reports => to_stdout(|out| self.print(reports, out))?,
        }
        worst.map_or(Ok(()), |worst| Err(Failure::Reported(worst)))
    }

    /// Prints the reports, under their paths if there are several.
    fn print(&self, reports: &[Report], out: &mut impl Write) -> io::Result<()> {
        for (i, report) in reports.iter().enumerate() {
            if self.paths.len() > 1 {
                let gap = if i > 0 { "\n" } else { "" };
                writeln!(out, "{gap}{}", printable(&report.path))?;
            }
            match &report.facts {
                Facts::File(facts) => facts.print(self.figures, out)?,
                Facts::Directory(facts) => facts.print(self.figures, out)?,
            }
        }
        Ok(())
    }
}

impl Report {
    /// Makes the report of a path; returns the worst that was reported of its files, too.
    fn new(path: &Path, global: &Global) -> Result<(Self, Option<Reported>)> {
        let (facts, worst) = if path.is_dir() {
            let mut directory = Directory::read(path, global)?;
            (Facts::Directory(DirectoryFacts::new(&mut directory)), directory.worst())
        } else {
            let weights = input::open(path, &OpenOptions::new())?;
            (Facts::File(FileFacts::new(&weights)), None)
        };
        Ok((Self { path: path.display().to_string(), facts }, worst))
    }
}

fn features(required: u64, optional: u64) -> String {
    match (required, optional) {
        (0, 0) => "none".into(),
        (_, 0) => feature_names(required),
        _ => format!("{}; optional {}", feature_names(required), feature_names(optional)),
    }
}
