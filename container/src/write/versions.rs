//! The search for the base of each tensor, and whether it is worth it.

use std::ops::Range;

use at1w_codec::{Backend, DifferenceBuilder, Dtype, Model, Predictor};
use rayon::prelude::*;

use super::known::Known;
use super::options::PackOptions;
use super::pack_base::{MIN_GAIN, PackBase, Sampled};
use super::tensor_store::TensorStore;
use crate::digest::{Chain, Digest, State};
use crate::error::{Error, Result};
use crate::format::bases::{Base, MAX_DEPTH, MAX_MODELS};
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::root::content_digest;
use crate::format::tensor_info::TensorInfo;
use crate::progress::{self, Progress};
use crate::read::base::BaseFile;
use crate::read::plan::{Ground, Plan};
use crate::source::{self, ReadAt};

/// The base of a tensor that is to be packed.
#[derive(Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) base: &'a PackBase,
    /// The index of the base in its file.
    pub(super) tensor: usize,
    pub(super) predictor: Predictor,
    /// Whether the tensor is the same.
    pub(super) same: bool,
    /// The estimated costs of the differences, and of the tensor alone, in one unit.
    costs: (u64, u64),
    /// The estimated number of bytes that the file is shorter by.
    pub(super) saved: u64,
    /// The stored bytes that the tensor has, which are left where differences take less.
    pub(super) left: Option<Known>,
}

impl<'a> Version<'a> {
    /// Reads what encoding against the base needs. All that is read of it is verified.
    pub(super) fn ground(&self) -> Result<OpenBase<'a>> {
        let plan = self.base.weights().stored(self.tensor).and_then(Plan::read);
        let plan = plan.map_err(|error| self.base.located(error))?;
        Ok(OpenBase { ground: Ground::new(plan, self.predictor), base: self.base })
    }

    /// Whether the base wins by so much that the tensor need not be tried alone: contexts and
    /// offsets, which the estimate does not know, save less.
    pub(super) fn is_clear(&self) -> bool {
        let (version, alone) = self.costs;
        version < alone / 8 * 7
    }

    /// Returns the content digest of the base.
    pub(super) fn digest(&self) -> Result<Digest> {
        let digest = self.base.weights().content_digest(self.tensor);
        digest.map_err(|error| self.base.located(error))
    }

    /// Returns the entry in the index for a tensor of this name.
    pub(super) fn entry(&self, name: &str, model: u8) -> Result<Base> {
        let other = self.base.weights().header().tensors()[self.tensor].name();
        let digest = self.digest()?;
        Ok(Base {
            model,
            depth: self.base.weights().depth(self.tensor) + 1,
            predictor: self.predictor,
            name: (other != name).then(|| other.into()),
            digest: (!self.same).then_some(digest),
        })
    }

    /// Returns the number of bytes that the entry takes for a tensor of this name.
    pub(super) fn entry_len(&self, name: &str) -> u64 {
        let other = self.base.weights().header().tensors()[self.tensor].name();
        let name_len = if other == name { 0 } else { other.len() as u64 };
        // The depth, the model, the predictor, the length of the name, and the digest.
        5 + name_len + if self.same { 0 } else { 32 }
    }

    /// Takes a base as it was sampled; `None` if it is not worth its entry.
    fn sampled(mut self, info: &TensorInfo, sampled: &Sampled) -> Option<Self> {
        let (differences, alone) = sampled.lens(info);
        let with = if self.same { 0 } else { differences } + self.entry_len(info.name());
        self.saved = alone.checked_sub(with)?;
        Some(self)
    }
}

/// A base that is read to encode a tensor. Errors name its file.
pub(super) struct OpenBase<'a> {
    ground: Ground<'a>,
    base: &'a PackBase,
}

impl OpenBase<'_> {
    /// Reads what the base says about a range of the tensor.
    pub(super) fn read(&self, dtype: Dtype, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        self.ground.read(dtype, range, out).map_err(|error| self.base.located(error))
    }
}

/// The most chunks that a model of differences is made from.
const MEASURED_CHUNKS: u64 = 16;

/// A tensor that is the same as another takes at least so many bytes: what is saved by a shorter
/// one is not worth a file that needs another one.
const MIN_SAME_LEN: u64 = 512;

/// Drops all bases if together they do not save what they must of so many bytes, or no more than
/// the names of their files take: a file is no version for the sake of one small tensor.
pub(super) fn drop_unless_worth_it(
    len: u64,
    versions: &mut Vec<Option<Version<'_>>>,
) -> Result<()> {
    let saved: u64 = versions.iter().flatten().map(|version| version.saved).sum();
    let mut models: Vec<&PackBase> = Vec::new();
    for Version { base, .. } in versions.iter().flatten() {
        if !models.iter().any(|model| std::ptr::eq(*model, *base)) {
            models.push(base);
        }
    }
    let mut entries = 0;
    for model in models {
        entries += model.model()?.name.len() as u64 + 33;
    }
    if saved <= entries || saved < len / MIN_GAIN {
        versions.clear();
    }
    Ok(())
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
            return Err(Error::BaseDepth { base: base.path().to_owned(), depth, limit });
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
    let mut own = None;
    let mut own_digest = || match own {
        Some(own) => Ok(own),
        None => hash(backend, source, header, info).inspect(|&digest| own = Some(digest)),
    };
    let new = |base, tensor, predictor, same, costs| Version {
        base,
        tensor,
        predictor,
        same,
        costs,
        saved: 0,
        left: None,
    };
    let mut best: Option<Version<'a>> = None;
    for base in options.bases {
        let Some((tensor, predictor, sampled)) = base.sampled(source, header, info)? else {
            continue;
        };
        if sampled.equal && predictor == Predictor::Identity {
            let digest = base.weights().content_digest(tensor);
            if digest.map_err(|error| base.located(error))? == own_digest()? {
                let same = new(base, tensor, predictor, true, sampled.costs);
                let long = info.raw_len() >= MIN_SAME_LEN;
                return Ok(same.sampled(info, &sampled).filter(|_| long));
            }
        }
        let (cost, alone) = sampled.costs;
        if cost + alone / MIN_GAIN < alone && best.is_none_or(|best| cost < best.costs.0) {
            let version = new(base, tensor, predictor, false, sampled.costs);
            best = version.sampled(info, &sampled).or(best);
        }
    }
    if best.is_some() || info.raw_len() < MIN_SAME_LEN {
        return Ok(best);
    }
    for base in options.bases {
        if let Some(tensor) = base.renamed(info, &mut own_digest)? {
            let sampled = base.sampled_at(source, header, info, tensor, Predictor::Identity)?;
            let same = new(base, tensor, Predictor::Identity, true, sampled.costs);
            return Ok(same.sampled(info, &sampled));
        }
    }
    Ok(None)
}

/// The least number of bytes that a version in a store saves: the place of its base takes some.
const MIN_SAVED: u64 = 512;

/// Finds the base of a tensor among the files of a store, if one is worth it by a sample.
pub(super) fn find_stored<'a>(
    backend: Backend,
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    store: &'a dyn TensorStore,
    progress: &dyn Progress,
) -> Result<Option<Version<'a>>> {
    if info.raw_len() < MIN_SAVED {
        return Ok(None);
    }
    progress::check(progress)?;
    let mut best: Option<Version<'a>> = None;
    for (file, base) in store.bases().iter().enumerate() {
        let Some((tensor, predictor)) = base.candidate(info) else { continue };
        if !store.may_be_base(file, tensor) {
            continue;
        }
        let sampled = base.sampled_at(source, header, info, tensor, predictor)?;
        let (cost, alone) = sampled.costs;
        if cost + alone / MIN_GAIN >= alone || best.is_some_and(|best| cost >= best.costs.0) {
            continue;
        }
        if sampled.equal && predictor == Predictor::Identity {
            let digest = base.weights().content_digest(tensor);
            // The store would have found it: its bytes are not to be relied on.
            if digest.map_err(|error| base.located(error))? == hash(backend, source, header, info)?
            {
                continue;
            }
        }
        let costs = sampled.costs;
        let (same, saved, left) = (false, 0, None);
        let version = Version { base, tensor, predictor, same, costs, saved, left };
        best = version.sampled(info, &sampled).filter(|v| v.saved >= MIN_SAVED).or(best);
    }
    Ok(best)
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

/// Makes the model of the differences between a tensor of one chunk and its base.
pub(super) fn model(dtype: Dtype, base: &[u8], raw: &[u8]) -> Model {
    let mut builder = DifferenceBuilder::new(dtype);
    builder.add(base, raw).expect("chunks are whole elements");
    builder.build()
}

/// Makes the model of the differences between a tensor of several chunks and its base.
pub(super) fn measure(
    source: &dyn ReadAt,
    header: &Header,
    info: &TensorInfo,
    ground: &OpenBase<'_>,
    options: &PackOptions<'_>,
) -> Result<Model> {
    let chunking = Chunking::of(info);
    let (dtype, start) = (info.coded_as(), header.data_start() + info.data.start);
    // A part of many chunks is enough: they are much alike.
    let stride = chunking.count().div_ceil(MEASURED_CHUNKS).max(1);
    let new = || (DifferenceBuilder::new(dtype), Vec::new());
    let (builder, _) = (0..chunking.count().div_ceil(stride))
        .into_par_iter()
        .try_fold(new, |(mut builder, mut base), i| -> Result<_> {
            progress::check(options.progress)?;
            let range = chunking.range(i * stride);
            let raw = source::read(source, start + range.start..start + range.end)?;
            base.resize(raw.len(), 0);
            ground.read(dtype, range, &mut base)?;
            builder.add(&base, &raw).expect("chunks are whole elements");
            Ok((builder, base))
        })
        .try_reduce(new, |(mut a, base), (b, _)| {
            a.merge(&b);
            Ok((a, base))
        })?;
    Ok(builder.build())
}
