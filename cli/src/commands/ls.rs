//! `at1w ls`

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use at1w_container::{Digest, Reader, Tensor};
use clap::Args;
use serde::Serialize;

use crate::failure::Result;
use crate::output::{json, percent, printable, to_stdout};

/// List the tensors of a file
///
/// For each tensor its name, dtype, shape, raw and stored bytes, what percentage is left, stored
/// bits per element, its model (what the format page calls scale and tables), and the SHA-256 of its raw bytes: what sha256sum prints for what
/// 'at1w get FILE NAME -o x.bin' writes.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Ls {
    /// An .at1w file
    file: PathBuf,
    /// Print a JSON array with an object for each tensor
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The objects of --json have the keys name, dtype, shape, raw_bytes, stored_bytes, bits_per_element
(null for empty tensors and unknown dtypes), model, chunks and sha256.

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
    model: String,
    chunks: u64,
    sha256: String,
}

impl<'a> Row<'a> {
    fn new(tensor: Tensor<'a>) -> Result<Self> {
        let elements = tensor
            .element_bits()
            .map_or(0.0, |bits| tensor.raw_len() as f64 * 8.0 / f64::from(bits));
        let stored_bits = tensor.stored_len() as f64 * 8.0;
        Ok(Self {
            name: tensor.name(),
            dtype: tensor.dtype_name(),
            shape: tensor.shape(),
            raw_bytes: tensor.raw_len(),
            stored_bytes: tensor.stored_len(),
            bits_per_element: (elements > 0.0).then(|| stored_bits / elements),
            model: tensor.model()?.to_string(),
            chunks: tensor.chunk_count(),
            sha256: tensor.digest().to_string(),
        })
    }

    fn cells(&self) -> [String; 9] {
        // One piece: a hostile header may have millions of dimensions.
        let mut shape = String::from("[");
        for (i, dim) in self.shape.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(shape, "{comma}{dim}");
        }
        shape.push(']');
        [
            printable(self.name).into(),
            printable(self.dtype).into(),
            shape,
            self.raw_bytes.to_string(),
            self.stored_bytes.to_string(),
            percent(self.stored_bytes, self.raw_bytes),
            self.bits_per_element.map_or("-".into(), |bits| format!("{bits:.2}")),
            self.model.clone(),
            self.sha256.clone(),
        ]
    }
}

impl Ls {
    pub(crate) fn run(self) -> Result<()> {
        let reader = Reader::open(&self.file)?;
        let rows = reader.tensors().map(Row::new).collect::<Result<Vec<_>>>()?;
        if self.json { json(&rows) } else { print_table(&rows, reader.root()) }
    }
}

fn print_table(rows: &[Row<'_>], root: Digest) -> Result<()> {
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
        format!("root {root}"),
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

/// The width of each column: that of its longest cell, extreme ones aside.
fn widths(table: &[[String; 9]]) -> [usize; 9] {
    std::array::from_fn(|column| {
        let widths = table.iter().map(|row| row[column].chars().count());
        widths.filter(|&width| width <= 80).max().unwrap_or(0)
    })
}
