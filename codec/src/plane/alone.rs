//! Planes that stand alone, in a model: the directory entry, and right after it the stream.

use super::decoder::{Entry, OwnTables};
use super::encoder::{Choice, Stream, Suits};
use crate::cursor::Cursor;
use crate::{DecodeError, default_backend};

/// Appends a plane.
pub(crate) fn write(plane: &[u8], out: &mut Vec<u8>) {
    let backend = default_backend();
    let (mut streams, mut scratch) = (Vec::new(), Vec::new());
    let choice = Choice::best(backend, Suits::Maybe, None, plane);
    match choice.encode(backend, plane, out, &mut streams, &mut scratch) {
        Stream::Raw(plane) => out.extend_from_slice(plane),
        Stream::Coded(_) => out.extend(streams),
    }
}

/// Reads `n` symbols that [`write()`] wrote.
pub(crate) fn read(n: usize, input: &mut Cursor<'_>) -> Result<Vec<u8>, DecodeError> {
    let mut own = OwnTables::default();
    let coded = Entry::read(0, n, input)?.open(0, n, None, &mut own, input)?;
    let mut plane = vec![0; n];
    coded.decode(default_backend(), &mut plane)?;
    Ok(plane)
}
