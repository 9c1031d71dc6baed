//! The words of a layout.

use at1w_simd::planes::Layout;

use crate::EncodeError;

/// Calls a function that is generic over words with the word of a layout.
macro_rules! with_word {
    ($layout:expr, $call:ident ( $($arg:expr),* $(,)? )) => {
        match at1w_simd::planes::Layout::width($layout) {
            1 => $call::<u8>($($arg),*),
            2 => $call::<u16>($($arg),*),
            4 => $call::<u32>($($arg),*),
            _ => $call::<u64>($($arg),*),
        }
    };
}
pub(crate) use with_word;

/// Whether words of a layout are floats, which are subtracted as integers that rise with them.
pub(crate) fn is_float(layout: Layout) -> bool {
    layout.rotates()
}

/// Checks that elements and those of their base are of one length, and whole words.
pub(crate) fn check_pair(layout: Layout, base: &[u8], raw: &[u8]) -> Result<(), EncodeError> {
    let (len, width) = (raw.len(), layout.width());
    if base.len() != len {
        return Err(EncodeError::Base { len, base_len: base.len() });
    }
    if len % width != 0 {
        return Err(EncodeError::Ragged { len, width });
    }
    Ok(())
}
