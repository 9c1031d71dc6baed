//! What all chunks of a tensor share: its layout and a table for each plane that wants one.

use at1w_simd::planes::Layout;

use crate::chunk::MAX_RAW_LEN;
use crate::cost::{self, BYTE, Cost};
use crate::planes::Planes;
use crate::statistics::{self, Counts};
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
        // Nothing can win over bytes that are as good as random: don't build tables to find out.
        let floor = cost::entropy_floor(counts);
        if floor >= limit {
            return None;
        }
        let lanes = lanes::Table::from_counts(counts).and_then(|t| {
            let cost = t.cost(counts, flush)? + t.written_len() as Cost * BYTE;
            Some((Self::Lanes(Box::new(t)), cost))
        });
        let lanes = lanes.filter(|&(_, cost)| cost < limit);
        // Lanes decode faster: Huffman has to win by enough.
        let limit = lanes.as_ref().map_or(limit, |&(_, cost)| cost - cost / statistics::MIN_GAIN);
        if floor >= limit {
            return lanes;
        }
        let huffman = huffman::Table::from_counts(counts).and_then(|t| {
            let cost = t.cost(counts)? + t.written_len() as Cost * BYTE;
            Some((Self::Huffman(Box::new(t)), cost))
        });
        huffman.filter(|&(_, cost)| cost < limit).or(lanes)
    }

    /// What a plane with these counts takes; `None` if this table can't code it.
    pub(crate) fn cost(&self, counts: &[u64; 256], flush: Cost) -> Option<Cost> {
        match self {
            Self::Huffman(table) => table.cost(counts),
            Self::Lanes(table) => table.cost(counts, flush),
        }
    }
}

/// The model of a tensor: every chunk of it is encoded and decoded with the same one.
///
/// Its bytes are empty where no plane has a table, and no larger than [`Model::MAX_LEN`].
#[derive(Clone, Debug)]
pub struct Model {
    layout: Layout,
    tables: Vec<Option<Table>>,
}

impl Model {
    /// The most bytes that [`Model::to_bytes`] returns.
    pub const MAX_LEN: usize = MAX_PLANES * (1 + 2 + 128);

    /// A model without tables, for chunks that stand alone.
    pub fn plain(layout: Layout) -> Self {
        Self { layout, tables: vec![None; layout.width()] }
    }

    /// How the elements of this model split into planes.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn table(&self, plane: usize) -> Option<&Table> {
        self.tables[plane].as_ref()
    }

    /// The bytes to keep beside the chunks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.tables.iter().all(Option::is_none) {
            return out;
        }
        for table in &self.tables {
            match table {
                None => out.push(NONE),
                Some(Table::Huffman(table)) => {
                    out.push(HUFFMAN);
                    table.write(&mut out);
                }
                Some(Table::Lanes(table)) => {
                    out.push(LANES);
                    table.write(&mut out);
                }
            }
        }
        out
    }

    /// The model that [`Model::to_bytes`] wrote, for elements of `layout`.
    ///
    /// # Errors
    /// Any bytes may be given; what is no model in its one spelling is refused.
    pub fn from_bytes(layout: Layout, mut bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Self::plain(layout));
        }
        let input = &mut bytes;
        let mut tables = Vec::with_capacity(layout.width());
        for plane in 0..layout.width() {
            let (&kind, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
            *input = rest;
            tables.push(match kind {
                NONE => None,
                HUFFMAN => Some(Table::Huffman(Box::new(huffman::Table::read(input)?))),
                LANES => Some(Table::Lanes(Box::new(lanes::Table::read(input)?))),
                kind => return Err(DecodeError::UnknownTable { plane, kind }),
            });
        }
        if tables.iter().all(Option::is_none) {
            return Err(DecodeError::EmptyModel);
        }
        match input.len() {
            0 => Ok(Self { layout, tables }),
            extra => Err(DecodeError::TrailingBytes { extra }),
        }
    }
}

/// Collects the statistics of a tensor, chunk by chunk, in any order.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    layout: Layout,
    sums: Vec<Sum>,
    planes: Planes,
}

/// What is known about one plane of all chunks, those aside in which it looks random.
#[derive(Clone, Debug)]
struct Sum {
    counts: Counts,
    /// What lanes would cost beside their symbols.
    flush: Cost,
}

impl ModelBuilder {
    /// A builder that has seen nothing.
    pub fn new(layout: Layout) -> Self {
        let sums = vec![Sum { counts: [0; 256], flush: 0 }; layout.width()];
        Self { layout, sums, planes: Planes::default() }
    }

    /// Begins anew, with another tensor. Spares the working memory of a new builder.
    pub fn reset(&mut self, layout: Layout) {
        self.layout = layout;
        self.sums.clear();
        self.sums.resize(layout.width(), Sum { counts: [0; 256], flush: 0 });
    }

    /// Takes the statistics of a chunk.
    ///
    /// # Errors
    /// [`EncodeError::Ragged`] and [`EncodeError::TooLong`].
    pub fn add(&mut self, raw: &[u8]) -> Result<(), EncodeError> {
        check_raw(self.layout, raw)?;
        self.planes.split(self.layout, raw);
        for (plane, sum) in self.planes.iter().zip(&mut self.sums) {
            if !statistics::looks_random(plane) {
                let flush = lanes::flush_cost(plane.len());
                sum.add(&Sum { counts: statistics::count(plane), flush });
            }
        }
        Ok(())
    }

    /// Takes what `other` has seen of the same tensor.
    ///
    /// # Panics
    /// When the layouts differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.layout, other.layout, "both builders must be of one tensor");
        for (sum, other) in self.sums.iter_mut().zip(&other.sums) {
            sum.add(other);
        }
    }

    /// The model with the cheapest table for each plane.
    pub fn build(&self) -> Model {
        let tables = self.sums.iter().map(|Sum { counts, flush }| {
            let limit = statistics::limit(counts.iter().sum());
            Some(Table::best(counts, *flush, limit)?.0)
        });
        Model { layout: self.layout, tables: tables.collect() }
    }
}

impl Sum {
    fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        self.flush += other.flush;
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
