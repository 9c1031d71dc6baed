//! The order in which tensors in memory are saved: by dtype, then by name.

use at1w_codec::Dtype;

/// The dtypes in the order in which the `safetensors` library saves their tensors. The saved bytes
/// hang on this order: a new dtype goes where that library has it.
const SAVED_ORDER: [Dtype; 22] = [
    Dtype::U64,
    Dtype::I64,
    Dtype::F64,
    Dtype::C64,
    Dtype::F32,
    Dtype::U32,
    Dtype::I32,
    Dtype::BF16,
    Dtype::F16,
    Dtype::U16,
    Dtype::I16,
    Dtype::F8E5M2Fnuz,
    Dtype::F8E4M3Fnuz,
    Dtype::F8E8M0,
    Dtype::F8E4M3,
    Dtype::F8E5M2,
    Dtype::I8,
    Dtype::U8,
    Dtype::F6E3M2,
    Dtype::F6E2M3,
    Dtype::F4,
    Dtype::Bool,
];

/// Returns the place of a dtype in a saved file: tensors of a lower place come first.
pub(super) fn place_of(dtype: Dtype) -> usize {
    SAVED_ORDER.iter().position(|&known| known == dtype).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_has_one_place() {
        for dtype in Dtype::ALL {
            let places = SAVED_ORDER.iter().filter(|&&known| known == dtype);
            assert_eq!(places.count(), 1, "{}", dtype.name());
        }
    }
}
