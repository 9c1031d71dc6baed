//! A proof: a part of a tensor, with what leads from its bytes up to the root of the file.

use std::fmt;
use std::ops::Range;

use at1w_codec::Backend;

use super::buffer::zeroed;
use super::index::Entry;
use super::kept::Kept;
use super::options::{Limits, OpenOptions};
use super::plan::Plan;
use super::runs::Runs;
use super::slice::Slice;
use super::stored::Stored;
use super::tensor::Tensor;
use crate::backend::chosen;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::format::chunk_table::{PAYLOAD_LEN, STATE_LEN};
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::proof_head::{CHECKSUM_LEN, HEAD_LEN, ProofHead};
use crate::format::root::{content_digest, root};
use crate::format::stored_header::{self, DEFLATED, PLAIN};
use crate::format::tensor_info::TensorInfo;

/// A proof that a part of a tensor belongs to the model with some root. It has all that checking it
/// needs: nobody needs the model. [`crate::Reader::prove`] makes one.
///
/// # Examples
/// ```
/// # use at1w_container::{Dtype, OpenOptions, PackOptions, Proof, Reader};
/// # use at1w_container::{Staged, StagedTensor, pack};
/// # let data: Vec<u8> = (0..24).collect();
/// # let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[4, 6], data: &data };
/// # let mut file = Vec::new();
/// # pack(&Staged::new(vec![tensor], None)?, &mut file, &PackOptions::new())?;
/// let reader = Reader::new(Box::new(file), &OpenOptions::new())?;
/// let bytes = reader.prove("w", &"1:3".parse()?)?;
///
/// // Somebody else, who knows the root and nothing else.
/// let proof = Proof::new(bytes, &OpenOptions::new().root(reader.root()))?;
/// assert_eq!((proof.tensor().name(), proof.slice().to_string().as_str()), ("w", "1:3"));
/// assert_eq!(proof.read()?, (vec![2, 6], (6..18).collect()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Proof {
    bytes: Vec<u8>,
    header: Header,
    root: Digest,
    /// The index of the tensor in data order.
    tensor: usize,
    digest: Digest,
    content_digest: Digest,
    slice: Slice,
    shape: Vec<u64>,
    runs: Runs,
    states: Range<usize>,
    /// The lengths of the payloads of all chunks; 0 for a chunk that is not touched.
    payload_lens: Vec<u64>,
    model: Range<usize>,
    features: u64,
    limits: Limits,
    backend: Backend,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("root", &self.root)
            .field("tensor", &self.tensor().name())
            .field("slice", &self.slice)
            .finish_non_exhaustive()
    }
}

/// Returns the shape of a slice of a tensor, and its runs. A tensor of an unknown dtype can be
/// taken whole.
pub(super) fn runs_of(slice: &Slice, tensor: &TensorInfo) -> Result<(Vec<u64>, Runs)> {
    if slice.0.is_empty() {
        return Ok((tensor.shape().to_vec(), Runs::contiguous(0, tensor.raw_len())));
    }
    Runs::of(slice, tensor)
}

/// The parts of a proof that are still to be read.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Rest<'a> {
    fn range(&mut self, len: u64) -> Result<Range<usize>> {
        let left = (self.end - self.at) as u64;
        if len > left {
            return Err(damaged(self.at, format!("{len} bytes are needed, {left} are left")));
        }
        let range = self.at..self.at + len as usize;
        self.at = range.end;
        Ok(range)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        self.range(len).map(|range| &self.bytes[range])
    }

    /// Takes `count` pieces of `len` bytes.
    fn pieces(&mut self, count: u64, len: u64) -> Result<Range<usize>> {
        self.range(count.saturating_mul(len))
    }
}

fn damaged(offset: usize, problem: impl Into<String>) -> Error {
    Error::Damaged { section: "proof", offset: offset as u64, problem: problem.into() }
}

impl Proof {
    /// Takes a proof apart, and checks all but the bytes of the tensor, which [`Proof::read`]
    /// checks. Without a pinned root nothing vouches for the one that it has.
    ///
    /// # Errors
    /// [`Error::NotAProof`], [`Error::Version`], [`Error::Features`], [`Error::Damaged`],
    /// [`Error::Root`], [`Error::Limit`] and [`Error::Backend`].
    pub fn new(bytes: Vec<u8>, options: &OpenOptions) -> Result<Self> {
        let backend = chosen(options.backend)?;
        let head = ProofHead::parse(&bytes)?;
        let mut rest = Rest { bytes: &bytes, at: HEAD_LEN, end: bytes.len() - CHECKSUM_LEN };
        let text = rest.take(u16::from_le_bytes(head.slice_len).into())?;
        let slice = parse_slice(text).map_err(|problem| damaged(HEAD_LEN, problem))?;
        let header_at = rest.at;
        let header = read_header(&head, &mut rest, &options.limits)?;
        let tensor = u32::from_le_bytes(head.tensor) as usize;
        let info = header.tensors().get(tensor).ok_or_else(|| {
            damaged(header_at, format!("the header names no tensor with index {tensor}"))
        })?;
        let (shape, runs) =
            runs_of(&slice, info).map_err(|error| damaged(HEAD_LEN, error.to_string()))?;

        let others = rest.pieces(header.tensors().len() as u64 - 1, 32)?;
        let chunking = Chunking::of(info);
        let states = rest.pieces(chunking.count() - 1, STATE_LEN)?;
        let digest: [u8; 32] = rest.take(32)?.try_into().expect("32 bytes were taken");
        if info.raw_len() == 0 && Digest(digest) != Digest::of(&[]) {
            return Err(damaged(states.end, "the digest of a tensor without bytes is another"));
        }
        let content_digest = content_digest(&bytes[states.clone()], Digest(digest));
        let (before, after) = bytes[others].as_chunks().0.split_at(tensor);
        let digests = before.iter().copied().map(Digest).chain([content_digest]);
        let root = root(header.bytes(), digests.chain(after.iter().copied().map(Digest)));
        if let Some(expected) = options.root.filter(|expected| *expected != root) {
            return Err(Error::Root { expected, actual: root });
        }

        // There are as many states: no more chunks than the proof has room for.
        let mut payload_lens = vec![0; chunking.count() as usize];
        let touched: Vec<_> = runs.chunks(chunking).collect();
        let lens = rest.pieces(touched.len() as u64, PAYLOAD_LEN)?;
        for (&chunk, len) in touched.iter().zip(bytes[lens].as_chunks().0) {
            payload_lens[chunk as usize] = u32::from_le_bytes(*len).into();
        }
        let model = rest.range(u32::from_le_bytes(head.model_len).into())?;
        let payloads = rest.range(payload_lens.iter().sum())?;
        let unused = touched.is_empty() && !model.is_empty();
        if payloads.end != rest.end || unused {
            return Err(damaged(payloads.end, "bytes are left over"));
        }
        let (features, limits) = (head.features.into(), options.limits);
        Ok(Self {
            header,
            root,
            tensor,
            digest: Digest(digest),
            content_digest,
            slice,
            shape,
            runs,
            states,
            payload_lens,
            model,
            features,
            limits,
            backend,
            bytes,
        })
    }

    /// Returns the root of the model that the tensor is of.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Returns the header of the original file, which the root covers.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the tensor: its name, dtype and shape.
    pub fn tensor(&self) -> &TensorInfo {
        &self.header.tensors()[self.tensor]
    }

    /// Returns the part of the tensor that the proof is of; empty for the whole tensor.
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// Returns the shape of that part, in elements.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Returns the proof as it was given.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Decodes and checks the touched chunks; returns the shape of the part, and its bytes in
    /// row-major order.
    ///
    /// # Errors
    /// [`Error::DamagedTensor`] with an offset in the proof, [`Error::Limit`] and
    /// [`Error::Memory`].
    pub fn read(&self) -> Result<(Vec<u64>, Vec<u8>)> {
        let name = self.tensor().name();
        let mut out = zeroed(&self.limits, self.runs.total(), || format!("tensor {name:?}"))?;
        if !out.is_empty() {
            let entry = Entry {
                digest: self.digest,
                model_len: self.model.len() as u64,
                base: None,
                content_digest: self.content_digest,
                start: self.model.end as u64,
                end: (self.bytes.len() - CHECKSUM_LEN) as u64,
                shared: false,
                record: self.tensor,
            };
            let (source, info) = (&self.bytes, self.tensor());
            let stored = Stored {
                source,
                info,
                entry,
                backend: self.backend,
                features: self.features,
                plain: None,
                versions: None,
                via: None,
            };
            let model =
                stored.parse_model(self.model.start as u64, &self.bytes[self.model.clone()])?;
            let states = &self.bytes[self.states.clone()];
            let plan = Plan::of_parts(stored, model, &self.payload_lens, states)?;
            let kept = Kept::new(0);
            Tensor::new(stored, self.limits, None, (&kept, 0)).read_planned(
                &plan,
                &self.runs,
                &mut out,
                &(),
            )?;
        }
        Ok((self.shape.clone(), out))
    }
}

/// Parses the text of a slice, which has one spelling.
fn parse_slice(text: &[u8]) -> Result<Slice, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the slice is no text")?;
    let slice: Slice = text.parse().map_err(|error| format!("the slice: {error}"))?;
    match slice.to_string() == text {
        true => Ok(slice),
        false => Err(format!("the slice is spelled {text:?} and not \"{slice}\"")),
    }
}

fn read_header(head: &ProofHead, rest: &mut Rest<'_>, limits: &Limits) -> Result<Header> {
    let at = rest.at;
    let size = u64::from(u32::from_le_bytes(head.header_len));
    let (encoding, stored_len) = match u64::from(u32::from_le_bytes(head.deflated_len)) {
        0 => (PLAIN, size),
        len => (DEFLATED, len),
    };
    let limited = |what: &str, size, limit| match size > limit {
        true => Err(Error::Limit { what: what.into(), size, limit }),
        false => Ok(()),
    };
    limited("a header", size, limits.index_len)?;
    let header = stored_header::load(encoding, rest.take(stored_len)?, size);
    let header = header.map_err(|problem| damaged(at, problem))?;
    let header = Header::parse(header).map_err(|error| damaged(at, error.to_string()))?;
    let original = header.original_len();
    let original = original.ok_or_else(|| damaged(at, "the header describes no file"))?;
    limited("an original file", original, limits.original_len)?;
    Ok(header)
}
