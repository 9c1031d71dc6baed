//! Bit packing: keeps some bits of each byte of a plane, and leaves out the others.
//!
//! 512 values are a *group*, eight *blocks* of 64. Value `j` of each block lies in column `j`: the
//! eight values of a column, one after the other from the least significant bit, make as many bytes
//! as a value has bits, and byte `b` of column `j` is byte `64 b + j` of the packed group. So no
//! column ever meets another, and compilers make vector code of plain code. The last group may be
//! shorter: its blocks then are an eighth of it, rounded up, and missing values are zeros.
//!
//! Source: the vertical layout of D. Lemire and L. Boytsov, "Decoding billions of integers per
//! second through vectorization" (arXiv:1209.2137).

use crate::Backend;

/// Values of a group.
pub const GROUP: usize = 8 * COLUMNS;

/// Columns of a group.
const COLUMNS: usize = 64;

/// The bits of a byte that are packed: `width` of them, from bit `shift` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    shift: u8,
    width: u8,
}

impl Field {
    /// A field of `width` bits; `None` unless it has 1 to 7 bits and lies in a byte.
    pub fn new(shift: u8, width: u8) -> Option<Self> {
        let fits = matches!(width, 1..=7) && shift <= 8 - width;
        fits.then_some(Self { shift, width })
    }

    /// The place of its least significant bit.
    pub fn shift(self) -> u8 {
        self.shift
    }

    /// The number of its bits.
    pub fn width(self) -> u8 {
        self.width
    }

    /// A byte with all bits of the field set and no others.
    pub fn mask(self) -> u8 {
        ((1 << self.width) - 1) << self.shift
    }

    /// Returns how many bytes `n` packed values take.
    pub fn packed_len(self, n: usize) -> usize {
        (n / GROUP * COLUMNS + (n % GROUP).div_ceil(8)) * usize::from(self.width)
    }
}

/// Packs the field of each value. Other bits are lost.
///
/// # Panics
/// When `packed` is not [`Field::packed_len`] long.
pub fn pack(backend: Backend, field: Field, values: &[u8], packed: &mut [u8]) {
    assert_eq!(packed.len(), field.packed_len(values.len()), "length of the packed values");
    let (groups, last) = values.as_chunks::<GROUP>();
    let (whole, rest) = packed.split_at_mut(groups.len() * COLUMNS * usize::from(field.width));
    backend.vectorize(
        #[inline(always)]
        || match field.width {
            1 => pack_groups::<1>(field, groups, whole),
            2 => pack_groups::<2>(field, groups, whole),
            3 => pack_groups::<3>(field, groups, whole),
            4 => pack_groups::<4>(field, groups, whole),
            5 => pack_groups::<5>(field, groups, whole),
            6 => pack_groups::<6>(field, groups, whole),
            _ => pack_groups::<7>(field, groups, whole),
        },
    );
    pack_last(field, last, rest);
}

/// Undoes [`pack`]: bits outside of the field are those of `fill`.
///
/// # Panics
/// When `packed` is not [`Field::packed_len`] long.
pub fn unpack(backend: Backend, field: Field, fill: u8, packed: &[u8], values: &mut [u8]) {
    assert_eq!(packed.len(), field.packed_len(values.len()), "length of the packed values");
    let fill = fill & !field.mask();
    let (groups, last) = values.as_chunks_mut::<GROUP>();
    let (whole, rest) = packed.split_at(groups.len() * COLUMNS * usize::from(field.width));
    backend.vectorize(
        #[inline(always)]
        || match field.width {
            1 => unpack_groups::<1>(field, fill, whole, groups),
            2 => unpack_groups::<2>(field, fill, whole, groups),
            3 => unpack_groups::<3>(field, fill, whole, groups),
            4 => unpack_groups::<4>(field, fill, whole, groups),
            5 => unpack_groups::<5>(field, fill, whole, groups),
            6 => unpack_groups::<6>(field, fill, whole, groups),
            _ => unpack_groups::<7>(field, fill, whole, groups),
        },
    );
    unpack_last(field, fill, rest, last);
}

/// Counts the values that have a bit outside of the field that is not that of `fill`.
pub fn count_outside(backend: Backend, field: Field, fill: u8, values: &[u8]) -> usize {
    let outside = !field.mask();
    backend.vectorize(
        #[inline(always)]
        || {
            let blocks = values.chunks(COLUMNS).map(|block| {
                let counts = block.iter().map(|value| u8::from((value ^ fill) & outside != 0));
                usize::from(counts.sum::<u8>())
            });
            blocks.sum()
        },
    )
}

/// A byte of each column, eight of them in a word. Bits that a shift carries from one column into
/// the next are masked.
type Columns = [u64; COLUMNS / 8];

/// Returns a word with the byte in all columns.
const fn splat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

#[inline(always)]
fn load(bytes: &[u8; COLUMNS]) -> Columns {
    let mut columns = [0; COLUMNS / 8];
    for (word, bytes) in columns.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    columns
}

#[inline(always)]
fn store(columns: Columns, bytes: &mut [u8; COLUMNS]) {
    for (word, bytes) in columns.into_iter().zip(bytes.as_chunks_mut().0) {
        *bytes = word.to_le_bytes();
    }
}

/// Returns where value `k` of a column begins: its byte, and its bit in it.
const fn place(k: usize, width: usize) -> (usize, usize) {
    (k * width / 8, k * width % 8)
}

#[inline(always)]
fn pack_groups<const Q: usize>(field: Field, groups: &[[u8; GROUP]], packed: &mut [u8]) {
    let mask = splat(field.mask());
    let packed = packed.as_chunks_mut::<COLUMNS>().0.as_chunks_mut::<Q>().0;
    for (values, packed) in groups.iter().zip(packed) {
        let mut bytes = [[0; COLUMNS / 8]; Q];
        for (k, block) in values.as_chunks().0.iter().enumerate() {
            let (byte, bit) = place(k, Q);
            for (c, word) in load(block).into_iter().enumerate() {
                let value = (word & mask) >> field.shift;
                bytes[byte][c] |= (value & splat(0xff >> bit)) << bit;
                if bit + Q > 8 {
                    bytes[byte + 1][c] |= (value >> (8 - bit)) & splat(0xff >> (8 - bit));
                }
            }
        }
        for (packed, columns) in packed.iter_mut().zip(bytes) {
            store(columns, packed);
        }
    }
}

#[inline(always)]
fn unpack_groups<const Q: usize>(
    field: Field,
    fill: u8,
    packed: &[u8],
    groups: &mut [[u8; GROUP]],
) {
    let ones = 0xff >> (8 - Q);
    let fill = splat(fill);
    let packed = packed.as_chunks::<COLUMNS>().0.as_chunks::<Q>().0;
    for (values, packed) in groups.iter_mut().zip(packed) {
        for (k, block) in values.as_chunks_mut().0.iter_mut().enumerate() {
            let (byte, bit) = place(k, Q);
            let mut columns = load(&packed[byte]);
            for word in &mut columns {
                *word = (*word >> bit) & splat(ones & (0xff >> bit));
            }
            if bit + Q > 8 {
                for (word, next) in columns.iter_mut().zip(load(&packed[byte + 1])) {
                    *word |= (next << (8 - bit)) & splat(ones & (0xff << (8 - bit)));
                }
            }
            for word in &mut columns {
                *word = (*word << field.shift) | fill;
            }
            store(columns, block);
        }
    }
}

/// Packs the last, short group.
fn pack_last(field: Field, values: &[u8], packed: &mut [u8]) {
    packed.fill(0);
    let block = values.len().div_ceil(8);
    for (i, value) in values.iter().enumerate() {
        let value = u16::from((value & field.mask()) >> field.shift);
        let (byte, bit) = place(i / block, field.width.into());
        let [low, high] = (value << bit).to_le_bytes();
        packed[byte * block + i % block] |= low;
        if high != 0 {
            packed[(byte + 1) * block + i % block] |= high;
        }
    }
}

/// Unpacks the last, short group.
fn unpack_last(field: Field, fill: u8, packed: &[u8], values: &mut [u8]) {
    let block = values.len().div_ceil(8);
    for (i, value) in values.iter_mut().enumerate() {
        let (byte, bit) = place(i / block, field.width.into());
        let low = packed[byte * block + i % block];
        let high = packed.get((byte + 1) * block + i % block).copied().unwrap_or(0);
        let bits = (u16::from_le_bytes([low, high]) >> bit) as u8;
        *value = bits << field.shift & field.mask() | fill;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> impl Iterator<Item = Field> {
        (0..8).flat_map(|shift| (1..8).filter_map(move |width| Field::new(shift, width)))
    }

    /// The definition, value by value.
    fn expected(field: Field, values: &[u8]) -> Vec<u8> {
        let width = usize::from(field.width);
        let mut packed = Vec::new();
        for group in values.chunks(GROUP) {
            let block = group.len().div_ceil(8);
            let mut bits = vec![false; block * width * 8];
            for (i, value) in group.iter().enumerate() {
                for b in 0..width {
                    let at = i / block * width + b;
                    bits[(at / 8 * block + i % block) * 8 + at % 8] =
                        value >> (usize::from(field.shift) + b) & 1 == 1;
                }
            }
            packed.extend(
                bits.as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))),
            );
        }
        packed
    }

    #[test]
    fn every_backend_agrees_with_the_definition_at_every_tail_length() {
        let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[1];
        for n in (0..2 * GROUP + 20).step_by(3).chain([GROUP, 2 * GROUP, 5000]) {
            let values: Vec<u8> = (0..n).map(noise).collect();
            for field in fields() {
                let packed = expected(field, &values);
                assert_eq!(packed.len(), field.packed_len(n));
                for backend in Backend::available() {
                    let mut out = vec![0xa5; packed.len()];
                    pack(backend, field, &values, &mut out);
                    assert_eq!(out, packed, "{backend}, {field:?}, {n} values");
                    let mut back = vec![0xa5; n];
                    unpack(backend, field, 0x5a, &packed, &mut back);
                    let mask = field.mask();
                    assert!(
                        back.iter().zip(&values).all(|(b, v)| *b == v & mask | 0x5a & !mask),
                        "{backend}, {field:?}, {n} values"
                    );
                }
            }
        }
    }
}
