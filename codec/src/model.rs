//! What all chunks of a tensor share: its layout, its scale, and a table for each plane that wants
//! one.

use std::fmt;

use at1w_simd::planes::Layout;

use crate::chunk::MAX_RAW_LEN;
use crate::contexts::Contexts;
use crate::cost::{self, BYTE, Cost};
use crate::plane::statistics;
use crate::scale::{self, Scale};
use crate::{DecodeError, EncodeError, huffman, lanes};

/// The most planes that a layout has.
pub(crate) const MAX_PLANES: usize = 8;

/// An entropy coder's table for one plane.
#[derive(Clone, Debug)]
pub(crate) enum Table {
    Huffman(Box<huffman::Table>),
    Lanes(Box<lanes::Table>),
}

/// Kinds of a stored table.
const NONE: u8 = 0;
const HUFFMAN: u8 = 1;
const LANES: u8 = 2;

impl Table {
    /// The cheapest table for symbols with these counts, its own bytes included, if one takes
    /// less than `limit`. `flush` is what lanes would cost beside their symbols.
    pub(crate) fn best(counts: &[u64; 256], flush: Cost, limit: Cost) -> Option<(Self, Cost)> {
        // Most tables of small planes can't win, which their least costs say without building them.
        let floor = cost::entropy_floor(counts);
        let lanes = (floor + flush < limit).then(|| lanes::Table::from_counts(counts)).flatten();
        let lanes = lanes.and_then(|t| {
            let cost = t.cost(counts, flush)? + t.written_len() as Cost * BYTE;
            Some((Self::Lanes(Box::new(t)), cost))
        });
        let lanes = lanes.filter(|&(_, cost)| cost < limit);
        // Lanes decode faster: Huffman has to win by enough.
        let limit = lanes.as_ref().map_or(limit, |&(_, cost)| cost - cost / statistics::MIN_GAIN);
        if floor + huffman::Table::written_len_of(counts) as Cost * BYTE >= limit {
            return lanes;
        }
        let huffman = huffman::Table::from_counts(counts).and_then(|t| {
            let cost = t.cost(counts)? + t.written_len() as Cost * BYTE;
            Some((Self::Huffman(Box::new(t)), cost))
        });
        huffman.filter(|&(_, cost)| cost < limit).or(lanes)
    }

    /// Appends the table, without its kind.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Huffman(table) => table.write(out),
            Self::Lanes(table) => table.write(out),
        }
    }

    /// Appends the kind of the table, and the table.
    fn write_kind(table: Option<&Self>, out: &mut Vec<u8>) {
        out.push(match table {
            None => NONE,
            Some(Self::Huffman(_)) => HUFFMAN,
            Some(Self::Lanes(_)) => LANES,
        });
        if let Some(table) = table {
            table.write(out);
        }
    }

    /// Reads what [`Table::write_kind`] wrote. `plane` is for errors.
    fn read_kind(plane: usize, input: &mut &[u8]) -> Result<Option<Self>, DecodeError> {
        let (&kind, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
        *input = rest;
        Ok(match kind {
            NONE => None,
            HUFFMAN => Some(Self::Huffman(Box::new(huffman::Table::read(input)?))),
            LANES => Some(Self::Lanes(Box::new(lanes::Table::read(input)?))),
            kind => return Err(DecodeError::UnknownTable { plane, kind }),
        })
    }

    /// What a plane with these counts takes; `None` if this table can't code it.
    pub(crate) fn cost(&self, counts: &[u64; 256], flush: Cost) -> Option<Cost> {
        match self {
            Self::Huffman(table) => table.cost(counts),
            Self::Lanes(table) => table.cost(counts, flush),
        }
    }
}

/// What kind of model it is, in a word: `none`, `tables`, or what has a scale: `one scale`, `rows`,
/// `columns`, `rows+columns`, and each of these with `contexts`; `prediction` or `rows, prediction`.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match &self.scale {
            None if self.is_empty() => "none",
            None => "tables",
            Some(Scale { contexts: Some(contexts), rows, .. })
                if contexts.prediction().is_some() =>
            {
                // The columns have a scale each, that of what is left to code.
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
/// Its bytes are empty where it says nothing, and no larger than [`Model::MAX_LEN`].
#[derive(Clone, Debug)]
pub struct Model {
    layout: Layout,
    scale: Option<Scale>,
    /// For the plane of row offsets, then for those of the elements.
    tables: Vec<Option<Table>>,
}

/// Index of the plane of row offsets among the tables; those of the elements follow.
const ROWS: usize = 0;

impl Model {
    /// The most bytes that [`Model::to_bytes`] returns.
    pub const MAX_LEN: usize = 2 * scale::MAX_ROW_LEN as usize + (8 + MAX_PLANES) * 256;

    /// A model that says nothing, for chunks that stand alone.
    pub fn plain(layout: Layout) -> Self {
        Self::new(layout, None, vec![None; 1 + layout.width()])
    }

    pub(crate) fn new(layout: Layout, scale: Option<Scale>, tables: Vec<Option<Table>>) -> Self {
        debug_assert_eq!(tables.len(), 1 + layout.width(), "a table for rows and each plane");
        Self { layout, scale, tables }
    }

    /// How the elements of this model split into planes.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Elements of a row, 1 for a model that knows of no rows. Its memory grows with them: a tensor
    /// of fewer elements has no use for it.
    pub fn row_len(&self) -> u64 {
        self.scale.as_ref().map_or(1, |scale| scale.row_len)
    }

    pub(crate) fn scale(&self) -> Option<&Scale> {
        self.scale.as_ref()
    }

    /// The contexts, with the scale that they need.
    pub(crate) fn contexts(&self) -> Option<(&Scale, &Contexts)> {
        let scale = self.scale.as_ref()?;
        Some((scale, scale.contexts.as_deref()?))
    }

    pub(crate) fn table(&self, plane: usize) -> Option<&Table> {
        self.tables[1 + plane].as_ref()
    }

    /// The table for the plane of row offsets.
    pub(crate) fn row_table(&self) -> Option<&Table> {
        self.tables[ROWS].as_ref()
    }

    fn has_rows(&self) -> bool {
        self.scale.as_ref().is_some_and(|scale| scale.rows)
    }

    /// The bytes to keep beside the chunks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.is_empty() {
            return out;
        }
        match &self.scale {
            Some(scale) => scale.write(&mut out),
            None => out.push(scale::NONE),
        }
        let first = if self.has_rows() { ROWS } else { ROWS + 1 };
        for table in &self.tables[first..] {
            Table::write_kind(table.as_ref(), &mut out);
        }
        out
    }

    fn is_empty(&self) -> bool {
        self.scale.is_none() && self.tables.iter().all(Option::is_none)
    }

    /// The model that [`Model::to_bytes`] wrote, for elements of `layout`.
    ///
    /// # Errors
    /// Any bytes may be given; what is no model is refused.
    pub fn from_bytes(layout: Layout, mut bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::plain(layout));
        }
        let input = &mut bytes;
        let mut model = Self::plain(layout);
        model.scale = Scale::read(layout, input)?;
        if model.has_rows() {
            model.tables[ROWS] = Table::read_kind(0, input)?;
        }
        for (plane, table) in model.tables[ROWS + 1..].iter_mut().enumerate() {
            *table = Table::read_kind(plane, input)?;
        }
        if model.is_empty() {
            return Err(DecodeError::EmptyModel);
        }
        match input.len() {
            0 => Ok(model),
            extra => Err(DecodeError::TrailingBytes { extra }),
        }
    }
}

/// That `raw` can be one chunk.
pub(crate) fn check_raw(layout: Layout, raw: &[u8]) -> Result<(), EncodeError> {
    let (len, width) = (raw.len(), layout.width());
    if len > MAX_RAW_LEN {
        return Err(EncodeError::TooLong { len, max: MAX_RAW_LEN });
    }
    if len % width != 0 {
        return Err(EncodeError::Ragged { len, width });
    }
    Ok(())
}
