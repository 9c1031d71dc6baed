//! The class of the machine: figures are asked for by it.

use std::fmt;

use at1w_codec::{Isa, default_backend};
use at1w_simd::sha256;

/// A class of machines, or the one that `AT1W_SIMD` has this machine be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// AVX-512, with the SHA extensions or without.
    Avx512,
    /// AVX2 with the SHA extensions.
    Avx2,
    /// AVX2 without them.
    Avx2Soft,
    /// 64-bit ARM.
    Neon,
    /// Any other.
    Other,
}

impl Machine {
    /// Returns the class of this machine.
    pub fn here() -> Self {
        let backend = default_backend();
        match backend.isa() {
            Isa::Avx512 => Self::Avx512,
            // Three streams go side by side with the SHA extensions.
            Isa::Avx2 if sha256::width(backend) == 3 => Self::Avx2,
            Isa::Avx2 | Isa::Avx2Soft => Self::Avx2Soft,
            Isa::Neon => Self::Neon,
            _ => Self::Other,
        }
    }

    /// Returns the value that is asked for here, of those for AVX-512, for AVX2 with the SHA
    /// extensions and without, and for NEON. Empty where none is.
    pub fn asked(self, by_class: [&str; 4]) -> &str {
        let [avx512, avx2, soft, neon] = by_class;
        match self {
            Self::Avx512 => avx512,
            Self::Avx2 => avx2,
            Self::Avx2Soft => soft,
            Self::Neon => neon,
            Self::Other => "",
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2 with SHA extensions",
            Self::Avx2Soft => "AVX2 without SHA extensions",
            Self::Neon => "NEON",
            Self::Other => "other",
        })
    }
}
