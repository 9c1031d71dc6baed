//! Classes of words as a model holds them.

use at1w_simd::differences::{Classes, MAX_CLASSES};

use crate::DecodeError;
use crate::cursor::Cursor;

/// In the byte of classes: in class 0, the base is taken as 0.
const ALONE: u8 = 0x80;

/// Appends the number of classes, and the first exponent of each but the first.
pub(super) fn write(classes: &Classes, out: &mut Vec<u8>) {
    out.push(classes.firsts().len() as u8 | if classes.is_alone(0) { ALONE } else { 0 });
    out.extend_from_slice(classes.firsts());
}

/// Reads what [`write`] wrote. Words that are no floats have one class.
pub(super) fn read(float: bool, input: &mut Cursor<'_>) -> Result<Classes, DecodeError> {
    let byte = input.u8()?;
    let (more, alone) = (usize::from(byte & !ALONE), byte & ALONE != 0);
    if more >= MAX_CLASSES || (!float && byte != 0) {
        return Err(DecodeError::Classes);
    }
    Classes::new(input.split(more)?, alone).ok_or(DecodeError::Classes)
}
