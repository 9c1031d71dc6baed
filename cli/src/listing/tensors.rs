//! A list of tensors.

use std::cell::Cell;

use at1w_container::{Reader, Result as Opened, Tensor, TensorInfo, Weights};
use globset::{Glob, GlobMatcher};
use serde::Serialize;

use super::sort::{Order, Sortable};
use super::table::Align::{Left, Right};
use super::table::Table;
use crate::failure::{Failure, Result};
use crate::figures::Figures;
use crate::output::{counted, json, percent, printable, shape, to_stdout};

/// The tensors of one file or of several.
#[derive(Default)]
pub(crate) struct TensorList {
    rows: Vec<TensorRow>,
    /// The number of tensors that were looked at.
    of: usize,
    /// Whether models are left out: each would be a request where the file is remote.
    without_models: bool,
}

#[derive(Serialize)]
struct TensorRow {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    raw_bytes: u64,
    stored_bytes: u64,
    bits_per_element: Option<f64>,
    model: Option<String>,
    chunks: Option<u64>,
    sha256: Option<String>,
    /// The base, of a version: its file, and its name where that is another.
    base: Option<String>,
    /// The number of bases to a tensor that stands alone.
    depth: Option<u8>,
    /// The file, in a list of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

/// Patterns of tensor names, of which one must match.
pub(crate) struct Patterns(Vec<Pattern>);

struct Pattern {
    text: String,
    glob: GlobMatcher,
    /// Whether it matched a name.
    found: Cell<bool>,
}

impl Patterns {
    pub(crate) fn new(patterns: &[String]) -> Result<Self> {
        let pattern = |text: &String| match Glob::new(text) {
            Ok(glob) => {
                let (text, glob) = (text.clone(), glob.compile_matcher());
                Ok(Pattern { text, glob, found: Cell::new(false) })
            }
            Err(error) => Err(Failure::Usage(format!("{error}"))),
        };
        patterns.iter().map(pattern).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a pattern matches a name, or is the name itself; true where there are none.
    fn matches(&self, name: &str) -> bool {
        let mut any = self.is_empty();
        for pattern in &self.0 {
            if pattern.text == name || pattern.glob.is_match(name) {
                pattern.found.set(true);
                any = true;
            }
        }
        any
    }

    /// Returns the patterns that matched nothing.
    pub(crate) fn without_match(&self) -> Vec<String> {
        let without = self.0.iter().filter(|pattern| !pattern.found.get());
        without.map(|pattern| pattern.text.clone()).collect()
    }
}

impl TensorRow {
    /// Makes the row of a tensor that takes `stored_bytes` in its file.
    fn new(tensor: &TensorInfo, stored_bytes: u64) -> Self {
        let elements = tensor
            .dtype()
            .map_or(0.0, |dtype| tensor.raw_len() as f64 * 8.0 / f64::from(dtype.bits()));
        Self {
            name: tensor.name().to_owned(),
            dtype: tensor.dtype_name().to_owned(),
            shape: tensor.shape().to_vec(),
            raw_bytes: tensor.raw_len(),
            stored_bytes,
            bits_per_element: (elements > 0.0).then(|| stored_bytes as f64 * 8.0 / elements),
            model: None,
            chunks: None,
            sha256: None,
            base: None,
            depth: None,
            file: None,
        }
    }

    /// Makes the row of a packed tensor, whose model is read if `models` says so.
    fn packed(info: &TensorInfo, tensor: &Tensor<'_>, models: bool) -> Opened<Self> {
        let model = if models { Some(tensor.model()?.to_string()) } else { None };
        let base = tensor.base();
        Ok(Self {
            base: base.map(|base| match base.tensor == info.name() {
                true => base.file.to_owned(),
                false => format!("{}:{}", base.file, base.tensor),
            }),
            depth: base.map(|base| base.depth),
            model,
            chunks: Some(tensor.chunk_count()),
            sha256: Some(tensor.digest().to_string()),
            ..Self::new(info, tensor.stored_len())
        })
    }

    /// Returns the base and the depth as they are shown.
    fn base_cells(&self) -> [String; 2] {
        let base = self.base.as_deref().map_or("-".into(), |base| printable(base).into_owned());
        [base, self.depth.map_or("-".into(), |depth| depth.to_string())]
    }

    fn cells(&self, figures: Figures) -> Vec<String> {
        let optional = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        vec![
            printable(&self.name).into(),
            printable(&self.dtype).into(),
            shape(&self.shape),
            figures.cell(self.raw_bytes),
            figures.cell(self.stored_bytes),
            percent(self.stored_bytes, self.raw_bytes),
            self.bits_per_element.map_or("-".into(), |bits| format!("{bits:.2}")),
            optional(&self.model),
            self.sha256.as_deref().map_or("-".into(), |sha256| figures.digest(sha256)),
        ]
    }
}

impl Sortable for TensorRow {
    fn name(&self) -> &str {
        &self.name
    }

    fn dtype(&self) -> String {
        self.dtype.clone()
    }

    fn sizes(&self) -> (u64, u64) {
        (self.raw_bytes, self.stored_bytes)
    }
}

impl TensorList {
    /// Makes a list that reads no models.
    pub(crate) fn without_models() -> Self {
        Self { without_models: true, ..Self::default() }
    }

    /// Adds the tensors of a file whose names match, with the path of the file if there are
    /// several.
    pub(crate) fn add(
        &mut self,
        weights: &Weights,
        patterns: &Patterns,
        file: Option<&str>,
    ) -> Opened<()> {
        let tensors = weights.header().tensors();
        self.of += tensors.len();
        let models = !self.without_models;
        let row = |info: &TensorInfo, reader: Option<&Reader>| match reader {
            Some(reader) => TensorRow::packed(info, &reader.tensor(info.name())?, models),
            None => Ok(TensorRow::new(info, info.raw_len())),
        };
        for info in tensors.iter().filter(|info| patterns.matches(info.name())) {
            let file = file.map(str::to_owned);
            self.rows.push(TensorRow { file, ..row(info, weights.packed())? });
        }
        Ok(())
    }

    /// Prints the tensors as a JSON array, or as a table with a total that ends in `pinned`.
    pub(crate) fn print(
        mut self,
        order: &Order,
        figures: Figures,
        as_json: bool,
        pinned: String,
    ) -> Result<()> {
        order.apply(&mut self.rows);
        if as_json {
            return json(&self.rows);
        }
        // Patterns that matched nothing are reported.
        if self.rows.is_empty() && self.of > 0 {
            return Ok(());
        }
        self.print_table(figures, pinned)
    }

    fn print_table(&self, figures: Figures, pinned: String) -> Result<()> {
        let several = self.rows.iter().any(|row| row.file.is_some());
        let mut head = vec![
            ("NAME", Left),
            ("DTYPE", Left),
            ("SHAPE", Left),
            ("RAW", Right),
            ("STORED", Right),
            ("%", Right),
            ("BITS", Right),
            ("MODEL", Left),
            ("SHA-256", Left),
        ];
        let based = self.rows.iter().any(|row| row.base.is_some());
        if based {
            head.extend([("BASE", Left), ("DEPTH", Right)]);
        }
        if several {
            head.push(("FILE", Left));
        }
        let mut table = Table::new(&head);
        for row in &self.rows {
            let mut cells = row.cells(figures);
            if based {
                cells.extend(row.base_cells());
            }
            cells.extend(row.file.iter().map(|file| printable(file).into_owned()));
            table.row(cells);
        }
        let raw = self.rows.iter().map(|row| row.raw_bytes).sum();
        let stored = self.rows.iter().map(|row| row.stored_bytes).sum();
        let mut total = vec![String::new(); head.len()];
        total[0] = match self.rows.len() {
            len if len == self.of => counted(len as u64, "tensor"),
            len => format!("{len} of {}", counted(self.of as u64, "tensor")),
        };
        total[3] = figures.cell(raw);
        total[4] = figures.cell(stored);
        total[5] = percent(stored, raw);
        total[head.len() - 1] = pinned;
        table.row(total);
        to_stdout(|out| table.print(out))
    }
}
