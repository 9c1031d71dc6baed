//! Features: additions to version 1 that a file may use, a bit each. A reader refuses a file that
//! requires one which it does not know.

/// Alias tables, and byte contexts.
pub(crate) const FINE_BYTES: u64 = 1;

/// Tensors that are the same as those of other files, or differences to them.
pub(crate) const BASES: u64 = 2;

/// The features that this version can read, a bit each.
pub const KNOWN: u64 = FINE_BYTES | BASES;

/// The names of features.
const NAMES: [(u64, &str); 2] = [(FINE_BYTES, "fine-bytes"), (BASES, "bases")];

/// Returns the features among these that this crate does not know.
pub(crate) fn unknown(features: u64) -> u64 {
    features & !KNOWN
}

/// Names features: each by its name if it has one, or else by its bit.
pub fn names(features: u64) -> String {
    let bits = (0..u64::BITS).map(|bit| 1 << bit).filter(|bit| features & bit != 0);
    let name = |bit: u64| match NAMES.iter().find(|name| name.0 == bit) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("bit {}", bit.trailing_zeros()),
    };
    bits.map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_names() {
        assert_eq!(names(0), "");
        assert_eq!(names(FINE_BYTES), "fine-bytes");
        assert_eq!(names(0b1001), "fine-bytes, bit 3");
        assert_eq!(names(BASES), "bases");
        assert_eq!(unknown(0b111), 0b100);
    }
}
