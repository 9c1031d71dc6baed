//! The search for the base of each tensor, and whether it is worth it.

use at1w_codec::{Backend, DifferenceBuilder, Model, Predictor};
use rayon::prelude::*;

use super::options::PackOptions;
use super::pack_base::{MIN_GAIN, PackBase};
use crate::digest::{Chain, Digest, State};
use crate::error::{Error, Result};
use crate::format::bases::{Base, MAX_DEPTH, MAX_MODELS};
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::root::content_digest;
use crate::format::tensor_info::TensorInfo;
use crate::progress;
use crate::read::base::BaseFile;
use crate::read::plan::{Ground, Plan};
use crate::source::{self, ReadAt};

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
        let plan = self.base.weights().stored(self.tensor).and_then(Plan::read);
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
    let mut best: Option<Version<'a>> = None;
    for base in options.bases {
        let Some((tensor, predictor, sampled)) = base.sampled(source, header, info)? else {
            continue;
        };
        let mut version = Version { base, tensor, predictor, same: false, costs: sampled.costs };
        if sampled.equal && predictor == Predictor::Identity {
            let own = hash(backend, source, header, info)?;
            let digest = base.weights().content_digest(tensor);
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
        let Some(digests) = base.weights().content_digests() else { continue };
        let others = base.weights().header().tensors();
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
) -> Result<Model> {
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
