//! A list of files of weights.

use std::collections::BTreeMap;

use at1w_container::repository::ContentFile;
use at1w_container::{Reader, Weights};
use serde::Serialize;

use super::sort::{Order, Sortable};
use super::table::Align::{Left, Right};
use super::table::Table;
use crate::directory::Others;
use crate::failure::Result;
use crate::figures::Figures;
use crate::output::{counted, json, percent, printable, to_stdout};

/// The files of weights of a directory.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(crate) struct FileList(Vec<FileRow>);

/// The facts about a file of weights. Sizes are in bytes.
#[derive(Serialize)]
pub(crate) struct FileRow {
    path: String,
    /// The path before packing, as far as it is known.
    original_path: String,
    format: &'static str,
    tensors: u64,
    dtypes: Vec<String>,
    original_bytes: u64,
    /// The size of the file as it is, packed or not.
    packed_bytes: u64,
    root: Option<String>,
    original_sha256: Option<String>,
}

/// The tensors of a dtype, counted.
#[derive(Default, Serialize)]
pub(crate) struct Count {
    pub(crate) tensors: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) stored_bytes: u64,
}

/// The tensors of files by their dtype.
pub(crate) type Dtypes = BTreeMap<String, Count>;

/// Counts the tensors of a file by their dtype.
pub(crate) fn count_dtypes(weights: &Weights, dtypes: &mut Dtypes) {
    let stored: Option<Vec<u64>> =
        weights.packed().map(|reader| reader.tensors().map(|tensor| tensor.stored_len()).collect());
    for (i, tensor) in weights.header().tensors().iter().enumerate() {
        let count = dtypes.entry(tensor.dtype_name().to_owned()).or_default();
        count.tensors += 1;
        count.raw_bytes += tensor.raw_len();
        count.stored_bytes += stored.as_ref().map_or(tensor.raw_len(), |stored| stored[i]);
    }
}

/// Returns the name of the format of a file.
pub(crate) fn format_name(weights: &Weights) -> &'static str {
    if weights.packed().is_some() { "at1w" } else { "safetensors" }
}

impl FileRow {
    fn new(file: &ContentFile, weights: &Weights) -> Self {
        let mut dtypes = Dtypes::new();
        count_dtypes(weights, &mut dtypes);
        let info = weights.packed().map(Reader::info);
        let digest = info.map(|info| info.original_digest).or(file.sha256);
        Self {
            path: file.path.clone(),
            original_path: file.original_path.clone(),
            format: format_name(weights),
            tensors: weights.header().tensors().len() as u64,
            dtypes: dtypes.into_keys().collect(),
            original_bytes: weights.original_len(),
            packed_bytes: file.len,
            root: weights.root().map(|root| root.to_string()),
            original_sha256: digest.map(|digest| digest.to_string()),
        }
    }
}

impl Sortable for FileRow {
    fn name(&self) -> &str {
        &self.path
    }

    fn dtype(&self) -> String {
        self.dtypes.join(", ")
    }

    fn sizes(&self) -> (u64, u64) {
        (self.original_bytes, self.packed_bytes)
    }
}

impl FileList {
    pub(crate) fn add(&mut self, file: &ContentFile, weights: &Weights) {
        self.0.push(FileRow::new(file, weights));
    }

    /// Returns the number of packed files.
    pub(crate) fn packed(&self) -> usize {
        self.0.iter().filter(|row| row.root.is_some()).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the sizes of all together: before packing, and as they are.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let sum = |size: fn(&FileRow) -> u64| self.0.iter().map(size).sum();
        (sum(|row| row.original_bytes), sum(|row| row.packed_bytes))
    }

    pub(crate) fn tensors(&self) -> u64 {
        self.0.iter().map(|row| row.tensors).sum()
    }

    pub(crate) fn sort(&mut self, order: &Order) {
        order.apply(&mut self.0);
    }

    /// Prints the files as a JSON array, or as a table with a total that ends in `pinned`.
    pub(crate) fn print(
        &self,
        others: &Others,
        figures: Figures,
        as_json: bool,
        pinned: &str,
    ) -> Result<()> {
        if as_json {
            return json(self);
        }
        let mut table = self.table(figures);
        self.add_totals(&mut table, others, figures, pinned);
        to_stdout(|out| table.print(out))
    }

    /// Returns the table of the files, without totals.
    pub(crate) fn table(&self, figures: Figures) -> Table {
        let mut table = Table::new(&[
            ("FILE", Left),
            ("DTYPES", Left),
            ("TENSORS", Right),
            ("SIZE", Right),
            ("PACKED", Right),
            ("%", Right),
            ("ROOT", Left),
        ]);
        for row in &self.0 {
            table.row(vec![
                printable(&row.path).into(),
                printable(&row.dtype()).into(),
                row.tensors.to_string(),
                figures.cell(row.original_bytes),
                figures.cell(row.packed_bytes),
                percent(row.packed_bytes, row.original_bytes),
                row.root.as_deref().map_or("-".into(), |root| figures.digest(root)),
            ]);
        }
        table
    }

    fn add_totals(&self, table: &mut Table, others: &Others, figures: Figures, pinned: &str) {
        if others.files > 0 {
            let label = counted(others.files, "other file");
            let size = figures.cell(others.bytes);
            let (none, dash) = (String::new, || "-".to_owned());
            table.row(vec![label, none(), none(), size.clone(), size, dash(), none()]);
        }
        let (original, packed) = self.sizes();
        let (original, packed) = (original + others.bytes, packed + others.bytes);
        table.row(vec![
            counted(self.0.len() as u64, "file") + " of weights",
            String::new(),
            self.tensors().to_string(),
            figures.cell(original),
            figures.cell(packed),
            percent(packed, original),
            pinned.to_owned(),
        ]);
    }
}
