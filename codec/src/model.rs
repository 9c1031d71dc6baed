//! The model: the layout of a tensor, its scale, and a table for each plane that needs one. All its
//! chunks share it.

use std::fmt;

use at1w_simd::planes::Layout;

use crate::DecodeError;
use crate::byte_contexts::ByteContexts;
use crate::contexts::Contexts;
use crate::cursor::Cursor;
use crate::difference::Differences;
use crate::limits::MAX_PLANES;
use crate::plane::table::PlaneTable;
use crate::scale::{self, Scale};
use crate::tables::Tables;

/// Names the kind of model in a word: `none`, `tables`, or the parts that have a scale: `one
/// scale`, `rows`, `columns`, `rows+columns`, and each of these with `contexts`; `prediction` or
/// `rows, prediction`; `differences`.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match &self.scale {
            None if self.bytes.is_some() => self.bytes.as_ref().map_or("", |bytes| bytes.name()),
            None if self.has_differences() => "differences",
            None if self.is_empty() => "none",
            None => "tables",
            Some(Scale { contexts: Some(contexts), rows, .. })
                if contexts.prediction().is_some() =>
            {
                // The columns have a scale each, of the differences from the prediction.
                if *rows { "rows, prediction" } else { "prediction" }
            }
            Some(scale) if scale.contexts.is_some() => match (scale.rows, scale.has_columns()) {
                (false, false) => "contexts",
                (true, false) => "rows, contexts",
                (false, true) => "columns, contexts",
                (true, true) => "rows+columns, contexts",
            },
            Some(scale) => match (scale.rows, scale.has_columns()) {
                (false, false) => "one scale",
                (true, false) => "rows",
                (false, true) => "columns",
                (true, true) => "rows+columns",
            },
        })
    }
}

/// The model of a tensor: every chunk of it is encoded and decoded with the same one.
///
/// Its bytes are none if it is empty, and no more than [`Model::MAX_LEN`].
///
/// ```
/// use at1w_codec::{Dtype, Level, Model};
///
/// let raw: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
/// let model = Model::of(Dtype::F32, Level::Default, &[64, 64], [&raw[..]])?;
/// let stored = model.to_bytes();
/// assert_eq!(Model::from_bytes(Dtype::F32.layout(), &stored)?.to_bytes(), stored);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    layout: Layout,
    scale: Option<Scale>,
    /// The contexts of bytes, which go with neither a scale nor tables.
    bytes: Option<Box<ByteContexts>>,
    /// The tables of differences to a base, which go with none of the others.
    differences: Option<Box<Differences>>,
    tables: Tables,
}

/// The first byte of a model of byte contexts.
const BYTE_CONTEXTS: u8 = 16;

/// The first byte of a model of differences.
const DIFFERENCES: u8 = 32;

impl Model {
    /// The most bytes that [`Model::to_bytes`] returns.
    pub const MAX_LEN: usize = 2 * scale::MAX_ROW_LEN as usize + (8 + MAX_PLANES) * 256;

    /// Returns the empty model, for chunks that stand alone. It takes no memory.
    pub fn plain(layout: Layout) -> Self {
        Self::new(layout, None, Tables::none(layout))
    }

    pub(crate) fn new(layout: Layout, scale: Option<Scale>, tables: Tables) -> Self {
        debug_assert_eq!(tables.planes().len(), layout.width(), "a table for each plane");
        Self { layout, scale, bytes: None, differences: None, tables }
    }

    pub(crate) fn of_bytes(contexts: ByteContexts) -> Self {
        Self { bytes: Some(Box::new(contexts)), ..Self::plain(Layout::BYTES) }
    }

    pub(crate) fn of_differences(layout: Layout, differences: Differences) -> Self {
        Self { differences: Some(Box::new(differences)), ..Self::plain(layout) }
    }

    /// Returns how the elements of this model split into planes.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Counts the elements of a row, 1 for a model without rows. Its memory grows with them: a
    /// tensor of fewer elements has no use for it.
    pub fn row_len(&self) -> u64 {
        let of_bytes = self.bytes.as_ref().map_or(1, |bytes| bytes.row_len());
        self.scale.as_ref().map_or(of_bytes, |scale| scale.row_len)
    }

    pub(crate) fn scale(&self) -> Option<&Scale> {
        self.scale.as_ref()
    }

    /// Returns the contexts, with the scale that they need.
    pub(crate) fn contexts(&self) -> Option<(&Scale, &Contexts)> {
        let scale = self.scale.as_ref()?;
        Some((scale, scale.contexts.as_deref()?))
    }

    /// Returns the contexts of bytes.
    pub(crate) fn byte_contexts(&self) -> Option<&ByteContexts> {
        self.bytes.as_deref()
    }

    /// Returns whether a reader needs the feature of finer statistics of bytes: alias tables or
    /// byte contexts.
    pub fn has_fine_bytes(&self) -> bool {
        let of_differences = self.differences.as_ref().is_some_and(|d| d.has_alias());
        self.bytes.is_some() || of_differences || self.tables.has_alias()
    }

    /// Returns the tables of differences to a base.
    pub(crate) fn differences(&self) -> Option<&Differences> {
        self.differences.as_deref()
    }

    /// Returns whether the chunks are differences to those of a base: their reader needs the
    /// feature of these.
    pub fn has_differences(&self) -> bool {
        self.differences.is_some()
    }

    pub(crate) fn table(&self, plane: usize) -> Option<&PlaneTable> {
        self.tables.planes()[plane].as_deref()
    }

    /// Returns the table for the plane of row steps.
    pub(crate) fn row_table(&self) -> Option<&PlaneTable> {
        self.tables.rows()
    }

    fn has_rows(&self) -> bool {
        self.scale.as_ref().is_some_and(|scale| scale.rows)
    }

    /// Returns the bytes to keep beside the chunks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.is_empty() {
            return out;
        }
        if let Some(bytes) = &self.bytes {
            out.push(BYTE_CONTEXTS);
            bytes.write(&mut out);
            return out;
        }
        if let Some(differences) = &self.differences {
            out.push(DIFFERENCES);
            differences.write(&mut out);
            return out;
        }
        match &self.scale {
            Some(scale) => scale.write(&mut out),
            None => out.push(scale::NONE),
        }
        if self.has_rows() {
            PlaneTable::write_kind(self.tables.rows(), &mut out);
        }
        for table in self.tables.planes() {
            PlaneTable::write_kind(table.as_deref(), &mut out);
        }
        out
    }

    /// Counts the bytes that [`Model::to_bytes`] returns of a model of tables. Its scale, if it
    /// has one, takes `scale_len` of them.
    pub(crate) fn written_len(&self, scale_len: usize) -> usize {
        if self.is_empty() {
            return 0;
        }
        let tables = self.tables.all().iter().flatten().map(|table| table.written_len());
        let kinds = self.layout.width() + usize::from(self.has_rows());
        scale_len.max(1) + kinds + tables.sum::<usize>()
    }

    fn is_empty(&self) -> bool {
        self.scale.is_none()
            && self.bytes.is_none()
            && self.differences.is_none()
            && self.tables.all().iter().all(Option::is_none)
    }

    /// Reads the model that [`Model::to_bytes`] wrote, for elements of `layout`.
    ///
    /// # Errors
    /// Any bytes may be given; those that are no model are refused.
    pub fn from_bytes(layout: Layout, bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::plain(layout));
        }
        let mut input = Cursor::new(bytes);
        if let [BYTE_CONTEXTS, ..] = bytes
            && layout == Layout::BYTES
        {
            input.u8()?;
            let model = Self::of_bytes(ByteContexts::read(&mut input)?);
            input.end()?;
            return Ok(model);
        }
        if let [DIFFERENCES, ..] = bytes {
            input.u8()?;
            let model = Self::of_differences(layout, Differences::read(layout, &mut input)?);
            input.end()?;
            return Ok(model);
        }
        let mut model = Self::plain(layout);
        model.scale = Scale::read(layout, &mut input)?;
        if model.has_rows() {
            model.tables.all_mut()[0] = PlaneTable::read_kind(0, &mut input)?;
        }
        for (plane, table) in model.tables.planes_mut().iter_mut().enumerate() {
            *table = PlaneTable::read_kind(plane, &mut input)?;
        }
        if model.is_empty() {
            return Err(DecodeError::EmptyModel);
        }
        input.end()?;
        Ok(model)
    }
}
