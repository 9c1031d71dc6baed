//! A safetensors file that is not packed, read as it is.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;
use std::sync::OnceLock;

use at1w_codec::Backend;

use super::buffer::check_len;
use super::index::Entry;
use super::runs::Runs;
use super::stored::Stored;
use crate::digest::{Chain, Digest, Hasher, State};
use crate::error::Result;
use crate::format::chunking::Chunking;
use crate::format::header::Header;
use crate::format::root::content_digest;
use crate::format::tensor_info::TensorInfo;
use crate::kind::Wanted;
use crate::progress::{Progress, report};
use crate::recognise::explain;
use crate::source::{self, ReadAt};

/// The number of bytes that are read at a time.
const PIECE: u64 = 1 << 20;

/// An open safetensors file.
pub(super) struct Plain {
    source: Box<dyn ReadAt>,
    pub(super) header: Header,
    backend: Backend,
    /// The content of each tensor that was hashed.
    contents: Vec<OnceLock<Content>>,
}

/// What verifies a tensor.
struct Content {
    digest: Digest,
    content_digest: Digest,
    /// The SHA-256 state after each chunk but the last.
    states: Vec<State>,
}

impl Plain {
    /// Opens a safetensors file; an error names the kind of any other file.
    pub(super) fn new(source: Box<dyn ReadAt>, backend: Backend) -> Result<Self> {
        let header =
            Header::read(&*source).map_err(|error| explain(&*source, error, Wanted::Weights))?;
        let contents = header.tensors().iter().map(|_| OnceLock::new()).collect();
        Ok(Self { source, header, backend, contents })
    }

    /// Returns a tensor as if it were packed: it is hashed, and each read of it is verified.
    pub(super) fn stored(&self, tensor: usize) -> Result<Stored<'_>> {
        let info = &self.header.tensors()[tensor];
        let content = match self.contents[tensor].get() {
            Some(content) => content,
            None => {
                let content = self.hash(info)?;
                self.contents[tensor].get_or_init(|| content)
            }
        };
        let start = self.header.data_start();
        let entry = Entry {
            digest: content.digest,
            content_digest: content.content_digest,
            model_len: 0,
            start: start + info.data.start,
            end: start + info.data.end,
            shared: false,
            record: tensor,
            base: None,
        };
        Ok(Stored {
            source: &*self.source,
            info,
            entry,
            backend: self.backend,
            features: 0,
            plain: Some(&content.states),
            versions: None,
            via: None,
        })
    }

    /// Hashes a tensor chunk by chunk.
    fn hash(&self, info: &TensorInfo) -> Result<Content> {
        let (chunking, start) = (Chunking::of(info), self.header.data_start() + info.data.start);
        let mut chain = Chain::new(self.backend);
        let (mut states, mut bytes) = (Vec::new(), Vec::new());
        let mut buffer = Vec::new();
        for chunk in 0..chunking.count() {
            let Range { start: from, end: to } = chunking.range(chunk);
            let range = start + from..start + to;
            let raw = source::read_into(&*self.source, range, mem::take(&mut buffer))?;
            chain.update(&raw);
            if chunk + 1 < chunking.count() {
                let state = chain.state();
                bytes.extend(state.to_bytes());
                states.push(state);
            }
            if let Cow::Owned(raw) = raw {
                buffer = raw;
            }
        }
        let digest = chain.finish();
        Ok(Content { digest, content_digest: content_digest(&bytes, digest), states })
    }

    /// Whether requests cost nothing.
    pub(super) fn is_local(&self) -> bool {
        self.source.request_cost() == 0
    }

    /// Tells the source that tensors will be read whole, in this order.
    pub(super) fn announce(&self, tensors: &[&TensorInfo]) {
        if self.source.request_cost() > 0 {
            let start = self.header.data_start();
            let range = |tensor: &&TensorInfo| start + tensor.data.start..start + tensor.data.end;
            self.source.will_read(&tensors.iter().map(range).collect::<Vec<_>>());
        }
    }

    /// Reads runs of a tensor into memory of their size.
    pub(super) fn read(
        &self,
        tensor: &TensorInfo,
        runs: &Runs,
        out: &mut [u8],
        progress: &dyn Progress,
    ) -> Result<()> {
        check_len(out, runs.total())?;
        let tensor_start = self.header.data_start() + tensor.data.start;
        let Range { start: mut from, end } = runs.span();
        if self.source.request_cost() > 0 {
            let touched = |&from: &u64| {
                let to = end.min(from + PIECE);
                (runs.bytes_before(to) > runs.bytes_before(from))
                    .then(|| tensor_start + from..tensor_start + to)
            };
            let starts: Vec<_> = (from..end).step_by(PIECE as usize).collect();
            self.source.will_read(&starts.iter().filter_map(touched).collect::<Vec<_>>());
        }
        let mut rest = out;
        let mut buffer = Vec::new();
        while from < end {
            let to = end.min(from + PIECE);
            let len = runs.bytes_before(to) - runs.bytes_before(from);
            if len > 0 {
                let range = tensor_start + from..tensor_start + to;
                let raw = source::read_into(&*self.source, range, mem::take(&mut buffer))?;
                let (out, after) = rest.split_at_mut(len as usize);
                runs.gather(from..to, &raw, out);
                rest = after;
                if let Cow::Owned(raw) = raw {
                    buffer = raw;
                }
                report(progress, len)?;
            }
            from = to;
        }
        Ok(())
    }

    /// Returns the SHA-256 of a tensor.
    pub(super) fn digest(&self, tensor: &TensorInfo, progress: &dyn Progress) -> Result<Digest> {
        let (Range { start, end }, data_start) = (&tensor.data, self.header.data_start());
        self.digest_of(data_start + start..data_start + end, progress)
    }

    /// Returns the SHA-256 of the whole file.
    pub(super) fn file_digest(&self, progress: &dyn Progress) -> Result<Digest> {
        self.digest_of(0..self.header.data_start() + self.header.data_len(), progress)
    }

    fn digest_of(&self, range: Range<u64>, progress: &dyn Progress) -> Result<Digest> {
        if self.source.request_cost() > 0 {
            self.source.will_read(std::slice::from_ref(&range));
        }
        let mut hasher = Hasher::default();
        let mut buffer = Vec::new();
        let mut from = range.start;
        while from < range.end {
            let to = range.end.min(from + PIECE);
            let bytes = source::read_into(&*self.source, from..to, mem::take(&mut buffer))?;
            hasher.update(&bytes);
            if let Cow::Owned(bytes) = bytes {
                buffer = bytes;
            }
            report(progress, to - from)?;
            from = to;
        }
        Ok(hasher.finish())
    }
}
