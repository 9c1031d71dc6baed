//! Planes that are decoded strip by strip, so that they are merged while they are in L1.

use at1w_simd::Backend;
use at1w_simd::packing;
use at1w_simd::planes::{self, Layout};

use crate::DecodeError;
use crate::alias::AliasDecoder;
use crate::lanes::{LaneDecoder, MAX_LANES};
use crate::limits::MAX_PLANES;
use crate::plane::CodedPlane;
use crate::plane::packed::PackedDecoder;

/// Raw bytes of a strip. Its symbols make whole rounds of all lanes, and whole packed groups, in
/// every layout.
pub(super) const STRIP_LEN: usize = 16 << 10;
const _: () = assert!(STRIP_LEN.is_multiple_of(MAX_PLANES * MAX_LANES));
const _: () = assert!(STRIP_LEN.is_multiple_of(MAX_PLANES * packing::GROUP));

/// A plane that gives one strip after the other.
enum PlaneStrips<'s, 'a> {
    Decoded(&'a [u8]),
    /// All strips are the one in memory.
    Same(&'a [u8]),
    /// Strips are decoded into memory.
    Packed(PackedDecoder<'a>, &'a mut [u8]),
    Lanes(&'s mut LaneDecoder<'a>, &'a mut [u8]),
    Alias(&'s mut AliasDecoder<'a>, &'a mut [u8]),
}

impl PlaneStrips<'_, '_> {
    /// Returns the next `n` symbols.
    fn next(&mut self, backend: Backend, n: usize) -> Result<&[u8], DecodeError> {
        match self {
            Self::Decoded(bytes) => Ok(bytes.split_off(..n).expect("as long as the others")),
            Self::Same(strip) => Ok(&strip[..n]),
            Self::Packed(packed, strip) => {
                packed.decode(backend, &mut strip[..n])?;
                Ok(&strip[..n])
            }
            Self::Alias(lanes, strip) => {
                lanes.decode(backend, &mut strip[..n])?;
                Ok(&strip[..n])
            }
            Self::Lanes(lanes, strip) => {
                lanes.decode(backend, &mut strip[..n])?;
                Ok(&strip[..n])
            }
        }
    }

    /// Checks that the stream ended with the plane.
    fn finish(&self) -> Result<(), DecodeError> {
        match self {
            Self::Decoded(_) | Self::Same(_) => Ok(()),
            Self::Packed(packed, _) => packed.finish(),
            Self::Lanes(lanes, _) => lanes.finish(),
            Self::Alias(lanes, _) => lanes.finish(),
        }
    }
}

/// The place for the lanes of a plane, which are half a kilobyte and are never moved.
#[derive(Default)]
pub(super) struct Lanes<'a> {
    lanes: Option<LaneDecoder<'a>>,
    alias: Option<AliasDecoder<'a>>,
}

/// The strips of all planes of a chunk.
pub(super) struct Strips<'s, 'a> {
    backend: Backend,
    layout: Layout,
    planes: [Option<PlaneStrips<'s, 'a>>; MAX_PLANES],
}

impl<'s, 'a> Strips<'s, 'a> {
    /// Opens the planes of a chunk of so many elements. `strips` and `planes` are memory that
    /// grows: for a strip of each plane, and for whole planes of coders that can't stop half-way.
    pub(super) fn open(
        backend: Backend,
        layout: Layout,
        elements: usize,
        coded: [Option<CodedPlane<'a>>; MAX_PLANES],
        strips: &'a mut Vec<u8>,
        planes: &'a mut Vec<u8>,
        lanes: &'s mut [Lanes<'a>; MAX_PLANES],
    ) -> Result<Self, DecodeError> {
        let whole = coded.iter().flatten().filter(|c| matches!(c, CodedPlane::Huffman(..))).count();
        planes.resize(planes.len().max(whole * elements), 0);
        strips.resize(STRIP_LEN, 0);
        let memory = strips.chunks_exact_mut(STRIP_LEN / layout.width());
        let mut planes = planes.chunks_exact_mut(elements);
        let mut opened = [const { None }; MAX_PLANES];
        let places = opened.iter_mut().zip(lanes);
        for (((opened, lanes), coded), memory) in
            places.zip(coded.into_iter().flatten()).zip(memory)
        {
            *opened = Some(match coded {
                CodedPlane::Raw(bytes) => PlaneStrips::Decoded(bytes),
                CodedPlane::Constant(value) => {
                    memory.fill(value);
                    PlaneStrips::Same(memory)
                }
                CodedPlane::Packed(packed) => PlaneStrips::Packed(packed, memory),
                CodedPlane::Lanes(table, lanes_log, stream) => {
                    let lanes = lanes.lanes.insert(LaneDecoder::new(table, lanes_log, stream)?);
                    PlaneStrips::Lanes(lanes, memory)
                }
                CodedPlane::Alias(table, lanes_log, stream) => {
                    let decoder = AliasDecoder::new(table, lanes_log, elements, stream)?;
                    PlaneStrips::Alias(lanes.alias.insert(decoder), memory)
                }
                CodedPlane::Huffman(..) => {
                    let plane = planes.next().expect("counted above");
                    coded.decode(backend, plane)?;
                    PlaneStrips::Decoded(plane)
                }
            });
        }
        Ok(Self { backend, layout, planes: opened })
    }

    /// Decodes the next strip of each plane, and merges them into all of `out`.
    pub(super) fn merge_next(&mut self, out: &mut [u8]) -> Result<(), DecodeError> {
        let (backend, width) = (self.backend, self.layout.width());
        let n = out.len() / width;
        match (&mut self.planes, self.layout) {
            ([Some(low), Some(PlaneStrips::Lanes(lanes, _)), ..], Layout::FLOAT16) => {
                return lanes.decode_float16(backend, low.next(backend, n)?, out);
            }
            ([Some(low), Some(PlaneStrips::Alias(lanes, _)), ..], Layout::FLOAT16) => {
                return lanes.decode_float16(backend, low.next(backend, n)?, out);
            }
            _ => {}
        }
        let mut slices: [&[u8]; MAX_PLANES] = [&[]; MAX_PLANES];
        for (slice, strips) in slices.iter_mut().zip(self.planes.iter_mut().flatten()) {
            *slice = strips.next(backend, n)?;
        }
        planes::merge(backend, self.layout, &slices[..width], out);
        Ok(())
    }

    /// Checks that every stream ended with its plane.
    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        self.planes.iter().flatten().try_for_each(PlaneStrips::finish)
    }
}
