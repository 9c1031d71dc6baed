//! The part of weights, or of a store, that samples take.

use std::str::FromStr;

/// A share of all bytes, or a number of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sample {
    /// From 0 to 1.
    Share(f64),
    Bytes(u64),
}

impl Sample {
    /// Returns the share of `len` bytes.
    pub(crate) fn share_of(self, len: u64) -> f64 {
        match self {
            Self::Share(share) => share,
            Self::Bytes(bytes) => (bytes as f64 / len.max(1) as f64).min(1.0),
        }
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is neither a share such as 10% nor a size such as 10GB");
        let number =
            |text: &str| text.trim().parse().ok().filter(|n: &f64| *n > 0.0 && n.is_finite());
        if let Some(percent) = text.strip_suffix('%') {
            let percent = number(percent).filter(|percent| *percent <= 100.0);
            return percent.map(|percent| Self::Share(percent / 100.0)).ok_or_else(problem);
        }
        const UNITS: [(&str, f64); 5] =
            [("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1.0)];
        let found =
            UNITS.iter().find_map(|&(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let (digits, factor) = found.unwrap_or((text, 1.0));
        number(digits).map(|n| Self::Bytes((n * factor) as u64)).ok_or_else(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_shares_or_sizes() {
        assert_eq!("10%".parse(), Ok(Sample::Share(0.1)));
        assert_eq!("10GB".parse(), Ok(Sample::Bytes(10_000_000_000)));
        assert_eq!("1.5 MB".parse(), Ok(Sample::Bytes(1_500_000)));
        assert_eq!("512".parse(), Ok(Sample::Bytes(512)));
        for text in ["", "%", "0%", "101%", "-1GB", "ten", "10GiB", "NaN%", "inf"] {
            assert!(text.parse::<Sample>().is_err(), "{text}");
        }
        assert_eq!(Sample::Bytes(10).share_of(100), 0.1);
        assert_eq!(Sample::Bytes(1000).share_of(100), 1.0);
    }
}
