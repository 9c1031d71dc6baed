//! How deep the tensors of a file were before it was replaced: versions of it may rely on that.

use std::collections::HashMap;
use std::path::Path;

use crate::digest::Digest;
use crate::error::Result;
use crate::printable::printable;
use crate::progress::Progress;
use crate::read::reader::Reader;

/// The depths of the tensors of a packed file, by content digest.
pub(super) struct Depths(HashMap<Digest, u8>);

impl Depths {
    /// Returns those of the file at a path; none if there is no packed file.
    pub(super) fn of(path: &Path) -> Self {
        Reader::open(path).map_or(Self(HashMap::new()), |reader| Self::of_open(&reader))
    }

    fn of_open(reader: &Reader) -> Self {
        let mut depths = HashMap::new();
        for (tensor, digest) in reader.tensors().zip(reader.content_digests()) {
            let depth = tensor.base().map_or(0, |base| base.depth);
            depths
                .entry(digest)
                .and_modify(|least: &mut u8| *least = depth.min(*least))
                .or_insert(depth);
        }
        Self(depths)
    }

    /// Warns if tensors of the file that took the place of this one are deeper: versions of them
    /// may not take them for their bases any more.
    pub(super) fn warn_if_deeper(&self, path: &Path, progress: &dyn Progress) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let new = Self::of_open(&Reader::open(path)?);
        let is_deeper = |(digest, depth): &(&Digest, &u8)| {
            self.0.get(digest).is_some_and(|before| *depth > before)
        };
        let deeper = new.0.iter().filter(is_deeper).count();
        if deeper > 0 {
            progress.warn(&format!(
                "{}: {deeper} tensors are farther from a file that stands alone than before: \
                 versions on this file may need to be packed anew",
                printable(&path.display().to_string())
            ));
        }
        Ok(())
    }
}
