//! Other compressors, to compare with.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::time::Instant;

use at1w_container::{Error, Progress};
use serde::{Deserialize, Serialize};

use crate::compare::Compare;
use crate::result::LevelResult;
use crate::zipnn;

/// A compressor of whole files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Rival {
    /// xz at its usual level.
    Xz,
    /// zstd at its usual level.
    Zstd,
    /// zipnn, where Python has it.
    Zipnn,
}

/// The usual level of xz.
const XZ_LEVEL: u32 = 6;

/// The usual level of zstd.
const ZSTD_LEVEL: i32 = 3;

impl Rival {
    /// Returns the name and the level, as its own command line spells them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz -6",
            Self::Zstd => "zstd -3",
            Self::Zipnn => "zipnn",
        }
    }

    /// Whether it can be run.
    pub fn is_there(self) -> bool {
        self != Self::Zipnn || zipnn::is_there()
    }

    /// Compresses a file whose tensors are mostly of this dtype, and compares what comes back.
    pub(crate) fn measure(
        self,
        path: &Path,
        dtype: &str,
        scratch: &Path,
        compare: &mut Compare<'_>,
        progress: &dyn Progress,
    ) -> Result<LevelResult, Error> {
        let compressor = match self {
            Self::Zipnn => return zipnn::measure(path, dtype, progress),
            Self::Xz => Stream::Xz,
            Self::Zstd => Stream::Zstd,
        };
        let open = File::open(path).map_err(|cause| Error::Io { path: path.into(), cause })?;
        let mut packed = tempfile::tempfile_in(scratch).map_err(Error::Write)?;
        let start = Instant::now();
        let source = Watched { from: open, progress };
        compressor.compress(source, &packed).map_err(|cause| failed(cause, progress))?;
        let pack_seconds = start.elapsed().as_secs_f64();
        let packed_bytes = packed.stream_position().map_err(Error::Write)?;
        packed.rewind().map_err(Error::Write)?;
        let start = Instant::now();
        let source = Watched { from: packed, progress };
        compressor.decompress(source, compare).map_err(|cause| failed(cause, progress))?;
        let read_seconds = start.elapsed().as_secs_f64();
        Ok(LevelResult { level: self.name().into(), packed_bytes, pack_seconds, read_seconds })
    }
}

/// A compressor of streams.
#[derive(Clone, Copy)]
enum Stream {
    Xz,
    Zstd,
}

impl Stream {
    fn compress(self, source: impl Read, packed: &File) -> io::Result<()> {
        let mut out = BufWriter::new(packed);
        match self {
            Self::Zstd => zstd::stream::copy_encode(source, &mut out, ZSTD_LEVEL)?,
            Self::Xz => {
                io::copy(&mut liblzma::read::XzEncoder::new(source, XZ_LEVEL), &mut out)?;
            }
        }
        out.flush()
    }

    fn decompress(self, packed: impl Read, out: &mut impl Write) -> io::Result<()> {
        let mut packed = BufReader::new(packed);
        match self {
            Self::Zstd => zstd::stream::copy_decode(packed, out),
            Self::Xz => {
                io::copy(&mut liblzma::read::XzDecoder::new(&mut packed), out)?;
                Ok(())
            }
        }
    }
}

fn failed(cause: io::Error, progress: &dyn Progress) -> Error {
    if progress.cancelled() { Error::Cancelled } else { Error::Write(cause) }
}

/// A file whose reading is reported, and ends where the caller asks to stop.
struct Watched<'a> {
    from: File,
    progress: &'a dyn Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::other("interrupted"));
        }
        let len = self.from.read(buffer)?;
        self.progress.advance(len as u64);
        Ok(len)
    }
}
