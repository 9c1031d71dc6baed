//! A file that new ones may be versions of, and how like it they are.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use at1w_codec::{DifferenceEstimate, Predictor};
use rayon::prelude::*;

use super::dedup::within;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::bases::BaseModel;
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::root::root;
use crate::format::tensor_info::TensorInfo;
use crate::fs::atomic::check_distinct;
use crate::read::folders::Folders;
use crate::read::options::OpenOptions;
use crate::read::weights::Weights;
use crate::source::{self, ReadAt};

/// A version has to win one part in this over the tensor alone.
pub(super) const MIN_GAIN: u64 = 64;

/// The number of chunks that a sample is taken of, and of runs in each.
const SAMPLED_CHUNKS: u64 = 4;
const RUNS: usize = 4;

/// The cost of a byte in the unit of estimates, 2^-16 bit.
const COST_OF_BYTE: u64 = 8 << 16;

/// The number of elements of a run.
const RUN_LEN: usize = 512;

/// The number of elements that are enough to see that a base saves nothing, as those of models that
/// were trained apart.
const FIRST_LEN: usize = 128;

/// The number of tensors that a file is chosen by.
const LOOKED_AT: usize = 8;

/// The longest name that the file of a base is listed by.
const MAX_NAME_LEN: usize = 255;

/// The longest name of a tensor that is the base of one of another name.
const MAX_TENSOR_NAME_LEN: usize = u16::MAX as usize;

/// A file whose tensors may be bases of those that are packed.
pub struct PackBase {
    weights: Arc<Weights>,
    path: PathBuf,
    /// Where its own bases are looked for.
    folders: Folders,
    root: OnceLock<Digest>,
    /// The tensors of a packed file by length and content digest.
    by_content: OnceLock<Vec<(u64, Digest, usize)>>,
}

impl fmt::Debug for PackBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackBase").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PackBase {
    /// Opens a packed file or a safetensors file, whose own bases are looked for in folders. Its
    /// path is shown in errors, and the name of the file is kept in those that are packed, as a
    /// hint of where to look.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn open(path: &Path, options: &OpenOptions, folders: Folders) -> Result<Self> {
        let weights = Weights::open(path, options)?.with_bases(Arc::new(folders.clone()));
        Ok(Self { folders, ..Self::new(Arc::new(weights), path) })
    }

    /// Takes an open file, which a reader would look for at a path.
    pub fn new(weights: Arc<Weights>, path: &Path) -> Self {
        let folders = Folders::beside(path);
        let (root, by_content) = (OnceLock::new(), OnceLock::new());
        Self { weights, path: path.into(), folders, root, by_content }
    }

    /// Chooses the file that a safetensors file is most like, by a look at its largest tensors;
    /// `None` if it is a version of none of them.
    ///
    /// # Errors
    /// [`Error::Safetensors`], and those of reading.
    pub fn best(source: &dyn ReadAt, files: Vec<Self>) -> Result<Option<Self>> {
        let header = Header::read(source)?;
        let mut largest: Vec<_> = header.tensors().iter().collect();
        largest.sort_by_key(|info| std::cmp::Reverse(info.raw_len()));
        largest.retain(|info| info.raw_len() > 0);
        largest.truncate(LOOKED_AT);
        let mut best = None;
        for file in files {
            let (mut cost, mut alone) = (0, 0);
            for info in &largest {
                let sampled = file.sampled(source, &header, info)?;
                // A sample stands for the whole tensor.
                let (with, without) = sampled.map_or((1, 1), |(_, _, sampled)| sampled.costs);
                let share = |cost: u64| {
                    u128::from(info.raw_len()) * u128::from(cost) / u128::from(without.max(1))
                };
                cost += share(with.min(without));
                alone += share(without);
            }
            let wins = cost + alone / u128::from(MIN_GAIN) < alone;
            if wins && best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, file));
            }
        }
        Ok(best.map(|(_, file)| file))
    }

    /// Looks at a tensor and the one of the same name here, if that can be its base.
    pub(super) fn sampled(
        &self,
        source: &dyn ReadAt,
        header: &Header,
        info: &TensorInfo,
    ) -> Result<Option<(usize, Predictor, Sampled)>> {
        let Some((tensor, predictor)) = self.candidate(info) else { return Ok(None) };
        let sampled = sample(source, header, info, self, tensor, predictor)?;
        Ok(Some((tensor, predictor, sampled)))
    }

    /// Returns the tensor of the same name here, if it can be the base of a tensor, and how it
    /// predicts that.
    pub(super) fn candidate(&self, info: &TensorInfo) -> Option<(usize, Predictor)> {
        let other = self.weights.header();
        let tensor = other.position(info.name())?;
        Some((tensor, between(&other.tensors()[tensor], info)?))
    }

    /// [`PackBase::sampled`] for a tensor of a known place.
    pub(super) fn sampled_at(
        &self,
        source: &dyn ReadAt,
        header: &Header,
        info: &TensorInfo,
        tensor: usize,
        predictor: Predictor,
    ) -> Result<Sampled> {
        sample(source, header, info, self, tensor, predictor)
    }

    /// Looks for a tensor of a packed file that is the same under another name. The content digest
    /// is computed if a tensor is as long.
    pub(super) fn renamed(
        &self,
        info: &TensorInfo,
        digest: &mut dyn FnMut() -> Result<Digest>,
    ) -> Result<Option<usize>> {
        let Some(digests) = self.weights.content_digests() else { return Ok(None) };
        let tensors = self.weights.header().tensors();
        if self.weights.header().position(info.name()).is_some() {
            return Ok(None);
        }
        let by_content = self.by_content.get_or_init(|| {
            let tensors = digests.enumerate().map(|(i, digest)| (tensors[i].raw_len(), digest, i));
            let mut tensors: Vec<_> = tensors.collect();
            tensors.sort_unstable_by_key(|&(len, Digest(digest), i)| (len, digest, i));
            tensors
        });
        let len = info.raw_len();
        let from = |least: [u8; 32]| {
            let first = by_content.partition_point(|&(l, Digest(d), _)| (l, d) < (len, least));
            by_content[first..].iter().take_while(move |entry| entry.0 == len)
        };
        if from([0; 32]).next().is_none() {
            return Ok(None);
        }
        let digest = digest()?;
        let equal = from(digest.0).take_while(|entry| entry.1 == digest);
        let fits = |&&(_, _, i): &&(u64, Digest, usize)| {
            tensors[i].is_like(info) && tensors[i].name().len() <= MAX_TENSOR_NAME_LEN
        };
        Ok(equal.into_iter().find(fits).map(|entry| entry.2))
    }

    /// Returns the file.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that a file to be written is another one, and has no bases of this one, or of the
    /// bases of this one: a version that took their place could never be read.
    ///
    /// # Errors
    /// [`Error::SameFile`] and [`Error::BaseOfBase`].
    pub fn check_target(&self, target: &Path) -> Result<()> {
        check_distinct(&self.path, target)?;
        if self.depth() == 0 || !target.exists() {
            return Ok(());
        }
        let without = self.folders.without(target);
        let alone = Weights::open(&self.path, &OpenOptions::new())?.with_bases(Arc::new(without));
        for tensor in 0..alone.header().tensors().len() {
            // What cannot be found in any case is not lost by this.
            if !alone.has_bases(tensor) && self.weights.has_bases(tensor) {
                let (target, base) = (target.into(), self.path.clone());
                return Err(Error::BaseOfBase { target, base });
            }
        }
        Ok(())
    }

    /// Returns the depth of the tensor that has most bases: 0 for a file that stands alone.
    pub fn depth(&self) -> u8 {
        let tensors = 0..self.weights.header().tensors().len();
        tensors.map(|tensor| self.weights.depth(tensor)).max().unwrap_or(0)
    }

    /// Returns the root. Of a safetensors file it is the one that its packed file would have.
    fn root(&self) -> Result<Digest> {
        if let Some(root) = self.weights.root() {
            return Ok(root);
        }
        if self.root.get().is_none() {
            let header = self.weights.header();
            let tensors = (0..header.tensors().len()).into_par_iter();
            let digests: Vec<_> =
                tensors.map(|tensor| self.weights.content_digest(tensor)).collect::<Result<_>>()?;
            let root = root(header.bytes(), digests.into_iter());
            self.root.get_or_init(|| root);
        }
        Ok(*self.root.get().expect("it was set above"))
    }

    /// Returns the entry of the model in an index.
    pub(super) fn model(&self) -> Result<BaseModel> {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        let mut name = name.into_owned();
        while name.len() > MAX_NAME_LEN {
            name.pop();
        }
        if name.is_empty() {
            name = "model".into();
        }
        Ok(BaseModel { root: self.root()?, name: name.into() })
    }

    pub(super) fn located(&self, error: Error) -> Error {
        error.in_file(&self.path)
    }
}

/// Returns how a base predicts a tensor, if it does.
fn between(base: &TensorInfo, info: &TensorInfo) -> Option<Predictor> {
    if base.is_like(info) {
        return Some(Predictor::Identity);
    }
    let predictor = Predictor::between(base.dtype()?, info.dtype()?)?;
    (base.shape() == info.shape()).then_some(predictor)
}

/// A look at some elements of a tensor and of its base.
pub(super) struct Sampled {
    /// Whether all are equal.
    pub(super) equal: bool,
    /// The cost of the differences, and of the elements alone.
    pub(super) costs: (u64, u64),
    /// The number of bytes that were looked at.
    len: u64,
}

impl Sampled {
    /// Estimates how many bytes the differences of a tensor take, and the tensor alone.
    pub(super) fn lens(&self, info: &TensorInfo) -> (u64, u64) {
        let whole = |cost: u64| {
            let bytes = u128::from(info.raw_len()) * u128::from(cost.div_ceil(COST_OF_BYTE));
            (bytes / u128::from(self.len.max(1))) as u64
        };
        (whole(self.costs.0), whole(self.costs.1))
    }
}

fn sample(
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    base: &PackBase,
    tensor: usize,
    predictor: Predictor,
) -> Result<Sampled> {
    let look = Look { source, header, info, base, tensor, predictor };
    if !has_first_look(source, base, info) {
        return look.at_runs_of(RUN_LEN);
    }
    let first = look.at_runs_of(FIRST_LEN)?;
    let (differences, own) = first.costs;
    if differences > own + own / MIN_GAIN { Ok(first) } else { look.at_runs_of(RUN_LEN) }
}

/// Whether each run is read alone. Else, all between the runs of a chunk is read as well.
fn reads_runs_alone(source: &dyn ReadAt, base: &PackBase) -> bool {
    source.request_cost() == 0 && base.weights.has_short_reads()
}

/// Whether a few elements are looked at first.
fn has_first_look(source: &dyn ReadAt, base: &PackBase, info: &TensorInfo) -> bool {
    let first_len = RUNS * FIRST_LEN * info.coded_as().layout().width();
    reads_runs_alone(source, base) && info.raw_len() > first_len as u64
}

/// Returns the most bytes that are read for a sample of a tensor and of its base.
pub(super) fn sampled_len(
    source: &dyn ReadAt,
    base: &PackBase,
    info: &TensorInfo,
    predictor: Predictor,
) -> u64 {
    let len = |range: Range<u64>| {
        let len = range.end - range.start;
        len + predictor.base_len(len)
    };
    if !reads_runs_alone(source, base) {
        return sampled_chunks(info).map(len).sum();
    }
    let first = has_first_look(source, base, info).then_some(FIRST_LEN);
    let looks = [Some(RUN_LEN), first].into_iter().flatten();
    looks
        .flat_map(|run_len| sampled_chunks(info).flat_map(move |chunk| runs(info, chunk, run_len)))
        .map(len)
        .sum()
}

/// Returns the chunks of a tensor that a sample of it is taken of.
fn sampled_chunks(info: &TensorInfo) -> impl Iterator<Item = Range<u64>> {
    let chunking = Chunking::of(info);
    let count = chunking.count().min(SAMPLED_CHUNKS);
    (0..count).map(move |i| chunking.range(chunking.count() * i / count))
}

/// Returns runs of so many elements in a chunk, which are at the same places whatever their length.
fn runs(info: &TensorInfo, chunk: Range<u64>, run_len: usize) -> impl Iterator<Item = Range<u64>> {
    let width = info.coded_as().layout().width() as u64;
    let (longest, run_len) = (RUN_LEN as u64 * width, run_len as u64 * width);
    let step = ((chunk.end - chunk.start) / RUNS as u64).next_multiple_of(longest).max(longest);
    chunk.clone().step_by(step as usize).map(move |from| from..chunk.end.min(from + run_len))
}

/// A tensor and its base, to look at some elements of both.
struct Look<'a> {
    source: &'a dyn ReadAt,
    header: &'a Header,
    info: &'a TensorInfo,
    base: &'a PackBase,
    tensor: usize,
    predictor: Predictor,
}

impl Look<'_> {
    /// Looks at runs of so many elements.
    fn at_runs_of(&self, run_len: usize) -> Result<Sampled> {
        let mut estimate = DifferenceEstimate::new(self.info.coded_as());
        let (mut equal, mut len) = (true, 0);
        let alone = reads_runs_alone(self.source, self.base);
        for chunk in sampled_chunks(self.info) {
            let mut add = |raw: &[u8], base: &[u8]| {
                equal &= raw == base;
                len += raw.len() as u64;
                estimate.add(base, raw).expect("runs are of whole elements");
            };
            let runs = runs(self.info, chunk.clone(), run_len);
            if alone {
                for run in runs {
                    add(&self.raw(&run)?, &self.predicted(&run)?);
                }
                continue;
            }
            let (raw, base) = (self.raw(&chunk)?, self.predicted(&chunk)?);
            for run in runs {
                let run = (run.start - chunk.start) as usize..(run.end - chunk.start) as usize;
                add(&raw[run.clone()], &base[run]);
            }
        }
        Ok(Sampled { equal, costs: estimate.costs(), len })
    }

    /// Reads a range of the tensor.
    fn raw(&self, range: &Range<u64>) -> Result<Cow<'_, [u8]>> {
        source::read(self.source, within(self.header, self.info, range.clone()))
    }

    /// Reads what the base predicts of a range.
    fn predicted(&self, range: &Range<u64>) -> Result<Vec<u8>> {
        let Self { base, predictor, .. } = self;
        let of_base = predictor.base_len(range.start)..predictor.base_len(range.end);
        let mut bytes = vec![0; (of_base.end - of_base.start) as usize];
        let read = base.weights.read_range(self.tensor, of_base, &mut bytes);
        read.map_err(|error| base.located(error))?;
        if *predictor == Predictor::Identity {
            return Ok(bytes);
        }
        let mut predicted = vec![0; (range.end - range.start) as usize];
        predictor.predict(self.info.coded_as(), &bytes, &mut predicted);
        Ok(predicted)
    }
}
