//! `at1w ls`

use std::io::Write as _;
use std::path::PathBuf;

use at1w_container::{OpenOptions, Reader, Result as Opened, Tensor, TensorInfo, Weights};
use clap::Args;
use serde::Serialize;

use crate::failure::Result;
use crate::output::{json, percent, printable, shape, to_stdout};

/// List the tensors of a file
///
/// Prints for each tensor its name, dtype, shape, raw and stored bytes, the percentage of the two,
/// stored bits per element, its model (scale and tables on the format page), and the SHA-256 of its
/// raw bytes, which 'at1w get FILE NAME -o x.bin' writes and sha256sum hashes. A .safetensors has
/// neither models nor digests.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Ls {
    /// An .at1w or .safetensors file
    file: PathBuf,
    /// Print a JSON array with an object for each tensor
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The objects of --json have the keys name, dtype, shape, raw_bytes, stored_bytes, bits_per_element
(null for empty tensors and unknown dtypes), model, chunks and sha256 (null for a .safetensors).

Examples:
  at1w ls model.at1w
  at1w ls --json model.at1w | jq -r '.[] | select(.dtype == \"BF16\") | .name'";

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    dtype: &'a str,
    shape: &'a [u64],
    raw_bytes: u64,
    stored_bytes: u64,
    bits_per_element: Option<f64>,
    model: Option<String>,
    chunks: Option<u64>,
    sha256: Option<String>,
}

impl<'a> Row<'a> {
    /// Makes the row of a tensor that takes `stored_bytes` in its file.
    fn new(tensor: &'a TensorInfo, stored_bytes: u64) -> Self {
        let elements = tensor
            .dtype()
            .map_or(0.0, |dtype| tensor.raw_len() as f64 * 8.0 / f64::from(dtype.bits()));
        Self {
            name: tensor.name(),
            dtype: tensor.dtype_name(),
            shape: tensor.shape(),
            raw_bytes: tensor.raw_len(),
            stored_bytes,
            bits_per_element: (elements > 0.0).then(|| stored_bytes as f64 * 8.0 / elements),
            model: None,
            chunks: None,
            sha256: None,
        }
    }

    fn packed(info: &'a TensorInfo, tensor: &Tensor<'_>) -> Opened<Self> {
        Ok(Self {
            model: Some(tensor.model()?.to_string()),
            chunks: Some(tensor.chunk_count()),
            sha256: Some(tensor.digest().to_string()),
            ..Self::new(info, tensor.stored_len())
        })
    }

    fn cells(&self) -> [String; 9] {
        let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        [
            printable(self.name).into(),
            printable(self.dtype).into(),
            shape(self.shape),
            self.raw_bytes.to_string(),
            self.stored_bytes.to_string(),
            percent(self.stored_bytes, self.raw_bytes),
            self.bits_per_element.map_or("-".into(), |bits| format!("{bits:.2}")),
            optional(&self.model),
            optional(&self.sha256),
        ]
    }
}

impl Ls {
    pub(crate) fn run(self) -> Result<()> {
        let weights = Weights::open(&self.file, &OpenOptions::new())?;
        let tensors = weights.header().tensors();
        let rows = match weights.packed() {
            Some(reader) => packed_rows(tensors, reader),
            None => Ok(tensors.iter().map(|info| Row::new(info, info.raw_len())).collect()),
        };
        let rows = rows.map_err(|error| error.in_file(&self.file))?;
        if self.json {
            return json(&rows);
        }
        let pinned = weights.root().map(|root| format!("root {root}"));
        print_table(&rows, pinned.unwrap_or_else(|| "no root: nothing pins its bytes".into()))
    }
}

fn packed_rows<'a>(tensors: &'a [TensorInfo], reader: &Reader) -> Opened<Vec<Row<'a>>> {
    tensors.iter().zip(reader.tensors()).map(|(info, tensor)| Row::packed(info, &tensor)).collect()
}

fn print_table(rows: &[Row<'_>], pinned: String) -> Result<()> {
    let head = ["NAME", "DTYPE", "SHAPE", "RAW", "STORED", "%", "BITS", "MODEL", "SHA-256"];
    let raw = rows.iter().map(|row| row.raw_bytes).sum();
    let stored = rows.iter().map(|row| row.stored_bytes).sum();
    let total = [
        format!("{} tensors", rows.len()),
        String::new(),
        String::new(),
        u64::to_string(&raw),
        u64::to_string(&stored),
        percent(stored, raw),
        String::new(),
        String::new(),
        pinned,
    ];
    let mut table = vec![head.map(String::from)];
    table.extend(rows.iter().map(Row::cells));
    table.push(total);
    let widths = widths(&table);
    to_stdout(|out| {
        for [name, dtype, shape, raw, stored, percent, bits, model, digest] in &table {
            let [n, d, s, r, t, p, b, m, _] = widths;
            write!(out, "{name:<n$}  {dtype:<d$}  {shape:<s$}  {raw:>r$}  {stored:>t$}  ")?;
            writeln!(out, "{percent:>p$}  {bits:>b$}  {model:<m$}  {digest}")?;
        }
        Ok(())
    })
}

/// Returns the width of each column: the length of its longest cell, extreme ones aside.
fn widths(table: &[[String; 9]]) -> [usize; 9] {
    std::array::from_fn(|column| {
        let widths = table.iter().map(|row| row[column].chars().count());
        widths.filter(|&width| width <= 80).max().unwrap_or(0)
    })
}
