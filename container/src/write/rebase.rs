//! The same file on other bases, or on none.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::depths::Depths;
use super::options::PackOptions;
use super::pack::pack;
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, write_with_mode};
use crate::progress::Progress;
use crate::read::folders::Folders;
use crate::read::reader::Reader;
use crate::summary::Summary;

/// Packs what `source` holds anew: as a version of the bases in `options`, or to stand alone where
/// there are none. The bases that it has are looked for by `finder`. The target, which may be the
/// source, has the same root. Tells `progress` if versions on it may have lost their base. The
/// folder of the target needs room for the original, which has no name there.
///
/// # Errors
/// Those of [`Reader::open`] and [`Reader::restore`], and of [`pack`]; all name the file.
pub fn rebase_file(
    source: &Path,
    target: &Path,
    finder: Folders,
    options: &PackOptions<'_>,
) -> Result<Summary> {
    options.bases.iter().try_for_each(|base| base.check_target(target))?;
    let mode = Mode::like(source)?;
    let reader = Reader::open(source)?.with_bases(Arc::new(finder));
    let before = Depths::of(target);
    let summary = write_with_mode(mode, target, options.overwrite, |out| {
        let located = |error| match error {
            Error::Write(_) => error,
            error => error.in_file(source),
        };
        // Packing passes over it several times: it is decoded and verified once.
        let original = restored(&reader, target, options.progress).map_err(located)?;
        let mut out = BufWriter::with_capacity(64 << 10, out);
        let packed = pack(&original, &mut out, options).map_err(located)?;
        out.flush().map_err(Error::Write)?;
        Ok(packed)
    })?;
    before.warn_if_deeper(target, options.progress)?;
    Ok(summary)
}

/// Restores the original to a file without a name in the folder of the target.
fn restored(reader: &Reader, target: &Path, progress: &dyn Progress) -> Result<File> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map_err(Error::Write)?;
    reader.restore(&mut file, &Uncounted(progress))?;
    Ok(file)
}

/// A listener that only asks whether to stop: the bytes are counted when they are packed.
struct Uncounted<'a>(&'a dyn Progress);

impl Progress for Uncounted<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
