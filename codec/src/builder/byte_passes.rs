//! The passes that put byte contexts on the model of an 8-bit tensor: how far rows and columns
//! spread, how often each symbol occurs in their classes, and the same with the classes that rows
//! then choose.

use super::scale_statistics::row_lens;
use crate::Dtype;
use crate::byte_contexts::{self, ByteContexts, EncoderMemory, Mirror, Shape, levels, levels_cost};
use crate::cost::{BIT, BYTE, Cost, Counted, entropy_floor};
use crate::counts::Counts;
use crate::model::Model;
use crate::scale::MAX_ROW_LEN;

/// Byte contexts have to win one part in this over the model without: they decode slower.
const MIN_BYTES_GAIN: u64 = 512;

/// Tensors of fewer elements are not tried.
const MIN_ELEMENTS: u64 = 1 << 12;

/// Rows of fewer elements have no classes: these would take more than they save.
const MIN_ROW_LEN: u64 = 24;

/// Tensors of fewer rows have no classes.
const MIN_ROWS: u64 = 16;

/// Scales of blocks hold for so many elements of a row, or for a multiple.
const BLOCK: u64 = 128;

/// Classes of rows and of columns that are counted. Neighbours may become one.
const ROW_CLASSES: usize = 16;
const COLUMN_CLASSES: usize = 4;

/// The numbers of classes that are possible, no more contexts than there may be.
const CLASSES: [(usize, usize); 12] = [
    (1, 1),
    (2, 1),
    (4, 1),
    (8, 1),
    (16, 1),
    (1, 2),
    (2, 2),
    (4, 2),
    (8, 2),
    (1, 4),
    (2, 4),
    (4, 4),
];

/// Bins of the mean spread of rows: a 16th each.
const BINS: usize = 256 * 16;

/// The model that contexts have to beat.
#[derive(Clone, Debug)]
struct Plain {
    model: Model,
    /// The cost of the tensor with it.
    cost: Cost,
}

/// The first pass: how far the symbols of rows and columns are from the middle.
#[derive(Clone, Debug)]
pub(super) struct SpreadPass {
    plain: Plain,
    escape: u8,
    spreads: [u8; 256],
    columns: Vec<u64>,
    /// For each row length, how many rows have each mean spread.
    rows: Vec<(u64, [u64; BINS])>,
}

/// The second pass: how often each symbol occurs in each class of rows and of columns.
#[derive(Clone, Debug)]
pub(super) struct ClassesPass {
    plain: Plain,
    escape: u8,
    spreads: [u8; 256],
    columns: Vec<u8>,
    rows: Vec<RowClasses>,
}

/// Rows of one length, the class for each mean spread, and the counts of each pair of classes.
#[derive(Clone, Debug)]
struct RowClasses {
    row_len: u64,
    classes: [u8; BINS],
    counts: Vec<Counts>,
}

/// The third pass: how often each symbol occurs in each context that is chosen for it.
#[derive(Clone, Debug)]
pub(super) struct ChosenPass {
    plain: Plain,
    contexts: ByteContexts,
    shape: Shape,
    escape: u8,
    mirror: Mirror,
    columns: Vec<u8>,
    counts: Vec<Counts>,
    /// How many rows have each class.
    rows: [u64; ROW_CLASSES],
    /// The cost of the lanes of chunks beside their symbols.
    flush: Cost,
    memory: EncoderMemory,
}

impl SpreadPass {
    /// Begins the pass over a tensor with these counts, if it is one that may have contexts.
    pub(super) fn new(
        dtype: Dtype,
        model: &Model,
        cost: Cost,
        counts: &Counts,
        shape: &[u64],
        elements: u64,
    ) -> Option<Self> {
        if elements < MIN_ELEMENTS || counts.iter().filter(|&&count| count > 0).count() < 2 {
            return None;
        }
        let escape = (0..=u8::MAX).min_by_key(|&symbol| counts[usize::from(symbol)])?;
        let possible =
            |&len: &u64| (MIN_ROW_LEN..=MAX_ROW_LEN).contains(&len) && elements / len >= MIN_ROWS;
        let columns = row_lens(1, shape).into_iter().find(possible).unwrap_or(1);
        let mut rows = vec![columns];
        if columns > BLOCK && columns % BLOCK == 0 {
            rows.push(BLOCK);
        }
        // Its tables may be in its cost twice: in that of the plane, and in that of the model.
        let twice = match model.has_fine_bytes() {
            true => 0,
            false => model.to_bytes().len() as Cost * BYTE,
        };
        Some(Self {
            plain: Plain { model: model.clone(), cost: cost.saturating_sub(twice) },
            escape,
            spreads: spreads(dtype, counts),
            columns: vec![0; columns as usize],
            rows: rows.into_iter().map(|row_len| (row_len, [0; BINS])).collect(),
        })
    }

    pub(super) fn add(&mut self, position: u64, raw: &[u8]) {
        let first = position % self.columns.len() as u64;
        let mut places = (0..self.columns.len()).cycle().skip(first as usize);
        for &symbol in raw {
            let place = places.next().expect("a cycle");
            self.columns[place] += u64::from(self.spreads[usize::from(symbol)]);
        }
        for (row_len, bins) in &mut self.rows {
            for row in one_class(*row_len).rows(position, raw.len()) {
                bins[bin(&self.spreads, &raw[row])] += 1;
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.columns.iter_mut().zip(&other.columns).for_each(|(a, b)| *a += b);
        for ((_, bins), (_, other)) in self.rows.iter_mut().zip(&other.rows) {
            bins.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
    }

    /// Sorts rows and columns into classes of about as many each.
    pub(super) fn next(self) -> ClassesPass {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by_key(|&column| self.columns[column]);
        let mut columns = vec![0; order.len()];
        for (rank, &column) in order.iter().enumerate() {
            columns[column] = (rank * COLUMN_CLASSES / order.len()) as u8;
        }
        let rows = self.rows.iter().map(|&(row_len, ref bins)| {
            let total: u64 = bins.iter().sum();
            let mut before = 0;
            let classes = bins.map(|count| {
                let middle = before + count / 2;
                before += count;
                (middle * ROW_CLASSES as u64 / total.max(1)).min(ROW_CLASSES as u64 - 1) as u8
            });
            RowClasses { row_len, classes, counts: vec![[0; 256]; ROW_CLASSES * COLUMN_CLASSES] }
        });
        ClassesPass {
            rows: rows.collect(),
            plain: self.plain,
            escape: self.escape,
            spreads: self.spreads,
            columns,
        }
    }
}

impl ClassesPass {
    pub(super) fn add(&mut self, position: u64, raw: &[u8]) {
        for rows in &mut self.rows {
            for row in one_class(rows.row_len).rows(position, raw.len()) {
                let class = usize::from(rows.classes[bin(&self.spreads, &raw[row.clone()])]);
                let counts = &mut rows.counts[class * COLUMN_CLASSES..][..COLUMN_CLASSES];
                let first = (position + row.start as u64) % self.columns.len() as u64;
                let columns = self.columns.iter().cycle().skip(first as usize);
                for (&symbol, &column) in raw[row].iter().zip(columns) {
                    counts[usize::from(column)][usize::from(symbol)] += 1;
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (rows, other) in self.rows.iter_mut().zip(&other.rows) {
            add_counts(&mut rows.counts, &other.counts);
        }
    }

    /// Chooses the cheapest classes; the model without them if none is worth it.
    pub(super) fn next(self, elements: u64) -> Result<ChosenPass, Box<Model>> {
        let gain = elements * BYTE / MIN_BYTES_GAIN;
        let mut limit = self.plain.cost.saturating_sub(gain);
        let mut best = None;
        for rows in &self.rows {
            for (row_classes, column_classes) in CLASSES {
                let shape = Shape {
                    row_len: rows.row_len,
                    columns: self.columns.len() as u64,
                    row_classes,
                    column_classes,
                };
                let counts = rows.merged(shape);
                let counted = counts.iter().flatten().sum();
                let classes = elements / rows.row_len * Cost::from(row_classes.ilog2()) * BIT
                    + shape.columns * Cost::from(column_classes.ilog2()) * BIT;
                let cost = |mirror: Mirror| {
                    let (coded, tables) = levels_cost(&counts, self.escape, mirror);
                    Counted { elements, counted }.extend(coded) + tables + classes
                };
                let costs = Mirror::ALL.map(|mirror| (cost(mirror), mirror));
                let (cost, mirror) = costs.into_iter().min_by_key(|cost| cost.0).expect("three");
                if cost < limit {
                    (best, limit) = (Some((shape, mirror, counts)), cost);
                }
            }
        }
        let Some((shape, mirror, counts)) = best else { return Err(Box::new(self.plain.model)) };
        let merged = (COLUMN_CLASSES / shape.column_classes) as u8;
        let columns = match shape.column_classes {
            1 => Vec::new(),
            _ => self.columns.iter().map(|class| class / merged).collect(),
        };
        Ok(ChosenPass::new(self.plain, shape, self.escape, mirror, columns, &counts))
    }
}

impl RowClasses {
    /// Adds up the counts of neighbours until there are as many classes as `shape` has.
    fn merged(&self, shape: Shape) -> Vec<Counts> {
        let mut merged = vec![[0; 256]; shape.contexts()];
        for (i, counts) in self.counts.iter().enumerate() {
            let row = i / COLUMN_CLASSES * shape.row_classes / ROW_CLASSES;
            let column = i % COLUMN_CLASSES * shape.column_classes / COLUMN_CLASSES;
            let sum = &mut merged[row * shape.column_classes + column];
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        merged
    }
}

impl ChosenPass {
    fn new(
        plain: Plain,
        shape: Shape,
        escape: u8,
        mirror: Mirror,
        columns: Vec<u8>,
        counts: &[Counts],
    ) -> Self {
        Self {
            contexts: make_contexts(shape, escape, mirror, &columns, counts),
            plain,
            shape,
            escape,
            mirror,
            columns,
            counts: vec![[0; 256]; shape.contexts()],
            rows: [0; ROW_CLASSES],
            flush: 0,
            memory: EncoderMemory::default(),
        }
    }

    pub(super) fn add(&mut self, position: u64, raw: &[u8]) {
        self.contexts.choose(position, raw, &mut self.memory);
        self.flush += byte_contexts::flush_cost(raw.len());
        self.memory.rows().iter().for_each(|&class| self.rows[usize::from(class)] += 1);
        for (&context, &symbol) in self.memory.contexts().iter().zip(raw) {
            self.counts[usize::from(context)][usize::from(symbol)] += 1;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        add_counts(&mut self.counts, &other.counts);
        self.rows.iter_mut().zip(&other.rows).for_each(|(sum, count)| *sum += count);
        self.flush += other.flush;
    }

    /// Returns the model with contexts, or that without them if these are not worth it after all.
    pub(super) fn build(self, elements: u64) -> Model {
        let contexts =
            make_contexts(self.shape, self.escape, self.mirror, &self.columns, &self.counts);
        let (coded, _) = levels_cost(&self.counts, self.escape, self.mirror);
        let counted = self.counts.iter().flatten().sum();
        let counted = Counted { elements, counted };
        let model = Model::of_bytes(contexts);
        let cost = counted.extend(coded + self.flush + entropy_floor(&self.rows))
            + model.to_bytes().len() as Cost * BYTE;
        let gain = elements * BYTE / MIN_BYTES_GAIN;
        if cost < self.plain.cost.saturating_sub(gain) { model } else { self.plain.model }
    }
}

fn make_contexts(
    shape: Shape,
    escape: u8,
    mirror: Mirror,
    columns: &[u8],
    counts: &[Counts],
) -> ByteContexts {
    let levels = counts.iter().map(|counts| levels::make(counts, escape, mirror)).collect();
    ByteContexts::new(shape, escape, mirror, columns.to_vec(), levels)
}

fn add_counts(sums: &mut [Counts], counts: &[Counts]) {
    let pairs = sums.as_flattened_mut().iter_mut().zip(counts.as_flattened());
    pairs.for_each(|(sum, count)| *sum += count);
}

/// Returns the shape of rows of this length alone.
fn one_class(row_len: u64) -> Shape {
    Shape { row_len, columns: 1, row_classes: 1, column_classes: 1 }
}

/// Returns how far each symbol is from the middle.
fn spreads(dtype: Dtype, counts: &Counts) -> [u8; 256] {
    let (mut sum, mut total) = (0, 0);
    for (symbol, count) in (0..).zip(counts) {
        (sum, total) = (sum + symbol * count, total + count);
    }
    let mean = (sum / total.max(1)) as u8;
    let floats = [Dtype::F8E5M2, Dtype::F8E4M3, Dtype::F8E4M3Fnuz, Dtype::F8E5M2Fnuz];
    std::array::from_fn(|symbol| match dtype {
        dtype if floats.contains(&dtype) => symbol as u8 % 128,
        Dtype::I8 => (symbol as u8).cast_signed().unsigned_abs(),
        _ => mean.abs_diff(symbol as u8),
    })
}

/// Returns the bin of the mean spread of a row.
fn bin(spreads: &[u8; 256], row: &[u8]) -> usize {
    let sum: u64 = row.iter().map(|&symbol| u64::from(spreads[usize::from(symbol)])).sum();
    (16 * sum as usize / row.len().max(1)).min(BINS - 1)
}
