//! General compressors over the same bytes.

use std::io::Read;

use at1w_simd::Backend;
use at1w_simd::planes::{self, Layout};

/// A compressor.
#[derive(Clone, Copy, Debug)]
pub enum Baseline {
    /// zstd at a level.
    Zstd(i32),
    /// zstd at a level, over byte planes.
    SplitZstd(i32, Layout),
    /// xz at a level.
    Xz(u32),
    /// xz -9e.
    XzExtreme,
}

impl Baseline {
    /// Returns the compressors to compare with ours, for elements of `layout`.
    pub fn all(layout: Layout) -> [Self; 4] {
        // The level that the command line of zstd calls -1 is 1.
        [Self::Zstd(1), Self::Zstd(3), Self::SplitZstd(3, layout), Self::Xz(6)]
    }

    /// Returns its name and level.
    pub fn name(self) -> String {
        match self {
            Self::Zstd(level) => format!("zstd -{level}"),
            Self::SplitZstd(level, _) => format!("byte split + zstd -{level}"),
            Self::Xz(level) => format!("xz -{level}"),
            Self::XzExtreme => "xz -9e".into(),
        }
    }

    /// Compresses whole elements.
    pub fn encode(self, raw: &[u8]) -> Vec<u8> {
        match self {
            Self::Zstd(level) => zstd::bulk::compress(raw, level).expect("compressing in memory"),
            Self::SplitZstd(level, layout) => {
                let mut split = vec![0; raw.len()];
                planes::split(Backend::best(), layout, raw, &mut split);
                zstd::bulk::compress(&split, level).expect("compressing in memory")
            }
            Self::Xz(_) | Self::XzExtreme => {
                // The bit is LZMA_PRESET_EXTREME of liblzma.
                let preset = if let Self::Xz(level) = self { level } else { 9 | 1 << 31 };
                let mut out = Vec::new();
                let mut encoder = liblzma::read::XzEncoder::new(raw, preset);
                encoder.read_to_end(&mut out).expect("compressing in memory");
                out
            }
        }
    }

    /// Undoes [`Baseline::encode`].
    pub fn decode(self, encoded: &[u8], raw: &mut [u8]) {
        let unzstd = |raw: &mut [u8]| {
            zstd::bulk::decompress_to_buffer(encoded, raw).expect("what zstd has compressed")
        };
        match self {
            Self::Zstd(_) => _ = unzstd(raw),
            Self::SplitZstd(_, layout) => {
                let mut split = vec![0; raw.len()];
                unzstd(&mut split);
                let planes: Vec<&[u8]> = split.chunks(raw.len() / layout.width()).collect();
                planes::merge(Backend::best(), layout, &planes, raw);
            }
            Self::Xz(_) | Self::XzExtreme => {
                let mut decoder = liblzma::read::XzDecoder::new(encoded);
                decoder.read_exact(raw).expect("what xz has compressed");
            }
        }
    }
}
