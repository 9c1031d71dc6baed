//! The search for the base of each tensor, and whether it is worth it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use at1w_codec::{Backend, DifferenceBuilder, Dtype, Predictor};
use rayon::prelude::*;

use super::options::PackOptions;
use crate::digest::{Chain, Digest, State};
use crate::error::{Error, Result};
use crate::format::bases::{Base, BaseModel, MAX_DEPTH, MAX_MODELS};
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::root::{content_digest, root};
use crate::format::tensor_info::TensorInfo;
use crate::progress;
use crate::read::base::BaseFile;
use crate::read::options::OpenOptions;
use crate::read::plan::{Ground, Plan};
use crate::read::weights::Weights;
use crate::source::{self, ReadAt};

/// A version has to win one part in this over the tensor alone.
pub(super) const MIN_GAIN: u64 = 64;

/// The number of chunks that a sample is taken of, and of runs in each.
const SAMPLED_CHUNKS: u64 = 4;
const RUNS: usize = 4;

/// The number of elements of a run.
const RUN_LEN: usize = 512;

/// The number of tensors that a file is chosen by.
const LOOKED_AT: usize = 8;

/// The longest name that a base is listed by.
const MAX_NAME_LEN: usize = 255;

/// A file whose tensors may be bases of those that are packed.
pub struct PackBase {
    weights: Arc<Weights>,
    path: PathBuf,
    root: OnceLock<Digest>,
}

impl fmt::Debug for PackBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackBase").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PackBase {
    /// Opens a packed file or a safetensors file.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        Ok(Self::new(Arc::new(Weights::open(path, options)?), path))
    }

    /// Takes an open file. Its path is shown in errors, and the name of the file is kept in those
    /// that are packed, as a hint of where to look.
    pub fn new(weights: Arc<Weights>, path: &Path) -> Self {
        Self { weights, path: path.into(), root: OnceLock::new() }
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
    fn sampled(
        &self,
        source: &dyn ReadAt,
        header: &Header,
        info: &TensorInfo,
    ) -> Result<Option<(usize, Predictor, Sampled)>> {
        let other = self.weights.header();
        let Ok(tensor) = other.index_of(info.name()) else { return Ok(None) };
        let Some(predictor) = between(&other.tensors()[tensor], info) else { return Ok(None) };
        let sampled = sample(source, header, info, self, tensor, predictor)?;
        Ok(Some((tensor, predictor, sampled)))
    }

    /// Returns the file.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
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

    fn located(&self, error: Error) -> Error {
        error.in_file(&self.path)
    }
}

/// The base of a tensor that is to be packed.
#[derive(Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) base: &'a PackBase,
    /// The index of the base in its file.
    tensor: usize,
    predictor: Predictor,
    /// Whether the tensor is the same.
    pub(super) same: bool,
    /// The estimated size of the differences, and of the tensor alone.
    costs: (u64, u64),
}

impl<'a> Version<'a> {
    /// Reads what encoding against the base needs. All that is read of it is verified.
    pub(super) fn ground(&self) -> Result<Ground<'a>> {
        let plan = self.base.weights.stored(self.tensor).and_then(Plan::read);
        let plan = plan.map_err(|error| self.base.located(error))?;
        Ok(Ground { plan, predictor: self.predictor })
    }

    /// Whether the base wins by so much that the tensor need not be tried alone.
    pub(super) fn is_clear(&self) -> bool {
        let (version, alone) = self.costs;
        version < alone / 2
    }

    /// Returns the content digest of the base.
    pub(super) fn digest(&self) -> Result<Digest> {
        let digest = self.base.weights.content_digest(self.tensor);
        digest.map_err(|error| self.base.located(error))
    }

    /// Returns the entry in the index for a tensor of this name.
    pub(super) fn entry(&self, name: &str, model: u8) -> Result<Base> {
        let other = self.base.weights.header().tensors()[self.tensor].name();
        let digest = self.digest()?;
        Ok(Base {
            model,
            depth: self.base.weights.depth(self.tensor) + 1,
            predictor: self.predictor,
            name: (other != name).then(|| other.into()),
            digest: (!self.same).then_some(digest),
        })
    }

    /// Returns the number of bytes that the entry takes.
    pub(super) fn entry_len(&self) -> u64 {
        // The depth, the model, the predictor, the length of the name, and the digest.
        5 + 32
    }
}

/// Checks that there are not too many bases, and that none is as deep as is allowed already.
pub(super) fn check(options: &PackOptions<'_>) -> Result<()> {
    if options.bases.len() > MAX_MODELS {
        return Err(Error::ManyBases(options.bases.len()));
    }
    let limit = options.max_depth.clamp(1, MAX_DEPTH);
    for base in options.bases {
        let depth = base.depth() + 1;
        if depth > limit {
            return Err(Error::BaseDepth { base: base.path.clone(), depth, limit });
        }
    }
    Ok(())
}

/// Finds the base of a tensor, if one is worth it by a sample.
pub(super) fn find<'a>(
    backend: Backend,
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    options: &PackOptions<'a>,
) -> Result<Option<Version<'a>>> {
    if info.raw_len() == 0 {
        return Ok(None);
    }
    progress::check(options.progress)?;
    let mut best: Option<Version<'a>> = None;
    for base in options.bases {
        let Some((tensor, predictor, sampled)) = base.sampled(source, header, info)? else {
            continue;
        };
        let mut version = Version { base, tensor, predictor, same: false, costs: sampled.costs };
        if sampled.equal && predictor == Predictor::Identity {
            let own = hash(backend, source, header, info)?;
            let digest = base.weights.content_digest(tensor);
            version.same = digest.map_err(|error| base.located(error))? == own;
            if version.same {
                return Ok(Some(version));
            }
        }
        let (cost, alone) = version.costs;
        if cost + alone / MIN_GAIN < alone && best.is_none_or(|best| cost < best.costs.0) {
            best = Some(version);
        }
    }
    if best.is_none() {
        return renamed(backend, source, header, info, options);
    }
    Ok(best)
}

/// Finds a packed base of another name that is the same.
fn renamed<'a>(
    backend: Backend,
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    options: &PackOptions<'a>,
) -> Result<Option<Version<'a>>> {
    let mut own = None;
    for base in options.bases {
        let Some(digests) = base.weights.content_digests() else { continue };
        let others = base.weights.header().tensors();
        if others.iter().any(|other| other.name() == info.name()) {
            continue;
        }
        for (tensor, digest) in digests.enumerate() {
            if !others[tensor].is_like(info) {
                continue;
            }
            let own = match own {
                Some(own) => own,
                None => *own.insert(hash(backend, source, header, info)?),
            };
            if own == digest {
                let predictor = Predictor::Identity;
                return Ok(Some(Version { base, tensor, predictor, same: true, costs: (0, 1) }));
            }
        }
    }
    Ok(None)
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
struct Sampled {
    /// Whether all are equal.
    equal: bool,
    /// The cost of the differences, and of the elements alone.
    costs: (u64, u64),
}

fn sample(
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    base: &PackBase,
    tensor: usize,
    predictor: Predictor,
) -> Result<Sampled> {
    let chunking = Chunking::of(info);
    let (dtype, start) = (info.coded_as(), header.data_start() + info.data.start);
    let run_len = RUN_LEN * dtype.layout().width();
    let count = chunking.count().min(SAMPLED_CHUNKS);
    let mut builder = DifferenceBuilder::new(dtype);
    let mut equal = true;
    let mut base_raw = Vec::new();
    for i in 0..count {
        let range = chunking.range(chunking.count() * i / count);
        let raw = source::read(source, start + range.start..start + range.end)?;
        let of_base = predictor.base_len(range.start)..predictor.base_len(range.end);
        base_raw.resize((of_base.end - of_base.start) as usize, 0);
        base.weights
            .read_range(tensor, of_base, &mut base_raw)
            .map_err(|error| base.located(error))?;
        let predicted = predict(predictor, dtype, &base_raw);
        let step = (raw.len() / RUNS).next_multiple_of(run_len).max(run_len);
        for (raw, base) in raw.chunks(step).zip(predicted.chunks(step)) {
            let len = raw.len().min(run_len);
            equal &= raw[..len] == base[..len];
            builder.add(&base[..len], &raw[..len]).expect("runs are of whole elements");
        }
    }
    Ok(Sampled { equal, costs: builder.costs() })
}

fn predict(predictor: Predictor, dtype: Dtype, base: &[u8]) -> Vec<u8> {
    let len = base.len() as u64 / predictor.base_len(1);
    let mut predicted = vec![0; len as usize];
    predictor.predict(dtype, base, &mut predicted);
    predicted
}

/// Returns the content digest of a tensor that is to be packed.
fn hash(
    backend: Backend,
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
) -> Result<Digest> {
    let chunking = Chunking::of(info);
    let start = header.data_start() + info.data.start;
    let (mut chain, mut states) = (Chain::new(backend), Vec::new());
    for chunk in 0..chunking.count() {
        let range = chunking.range(chunk);
        chain.update(&source::read(source, start + range.start..start + range.end)?);
        if chunk + 1 < chunking.count() {
            states.extend(State::to_bytes(chain.state()));
        }
    }
    Ok(content_digest(&states, chain.finish()))
}

/// Makes the model of the differences between a tensor and its base.
pub(super) fn measure(
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    ground: &Ground<'_>,
    options: &PackOptions<'_>,
) -> Result<at1w_codec::Model> {
    let chunking = Chunking::of(info);
    let (dtype, start) = (info.coded_as(), header.data_start() + info.data.start);
    // One in four chunks of many is enough: they are much alike.
    let stride = if chunking.count() < 32 { 1 } else { 4 };
    let new = || DifferenceBuilder::new(dtype);
    let builder = (0..chunking.count().div_ceil(stride))
        .into_par_iter()
        .try_fold(new, |mut builder, i| -> Result<_> {
            progress::check(options.progress)?;
            let range = chunking.range(i * stride);
            let raw = source::read(source, start + range.start..start + range.end)?;
            let mut base = vec![0; raw.len()];
            ground.read(dtype, range, &mut base)?;
            builder.add(&base, &raw).expect("chunks are whole elements");
            Ok(builder)
        })
        .try_reduce(new, |mut a, b| {
            a.merge(&b);
            Ok(a)
        })?;
    Ok(builder.build())
}
