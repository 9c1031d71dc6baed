//! The same file on other bases, or on none.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::options::PackOptions;
use super::pack::pack;
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, write_with_mode};
use crate::read::folders::Folders;
use crate::read::reader::Reader;
use crate::source::ReadAt;
use crate::summary::Summary;

/// Packs what `source` holds anew: as a version of the bases in `options`, or to stand alone where
/// there are none. The bases that it has are looked for by `finder`. The target, which may be the
/// source, has the same root.
///
/// # Errors
/// Those of [`Reader::open`] and [`Reader::verify`], and of [`pack`]; all name the file.
pub fn rebase_file(
    source: &Path,
    target: &Path,
    finder: Folders,
    options: &PackOptions<'_>,
) -> Result<Summary> {
    options.bases.iter().try_for_each(|base| base.check_target(target))?;
    let mode = Mode::like(source)?;
    let reader = Reader::open(source)?.with_bases(Arc::new(finder));
    // What is damaged is named as such, and not only as a source that cannot be read.
    reader.verify(&()).map_err(|error| error.in_file(source))?;
    write_with_mode(mode, target, options.overwrite, |out| {
        let mut out = BufWriter::with_capacity(64 << 10, out);
        let packed = pack(&Original(&reader), &mut out, options).map_err(|error| match error {
            Error::Write(_) => error,
            error => error.in_file(source),
        })?;
        out.flush().map_err(Error::Write)?;
        Ok(packed)
    })
}

/// The original of a packed file, read in ranges.
struct Original<'a>(&'a Reader);

impl ReadAt for Original<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.info().original_len)
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.0.read_original(range).map(Cow::Owned).map_err(io::Error::other)
    }
}
