//! From safetensors to `.at1w`, in one forward pass over the output.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use at1w_codec::{Backend, Encoder, Level, Model, ModelBuilder, Next, Position};
use rayon::prelude::*;

use crate::atomic::{check_distinct, write_like};
use crate::chunking::{ChunkRef, Chunking, MAX_CHUNK_LEN, batches};
use crate::coder::{Coder, StoredModel};
use crate::digest::{Chain, Digest};
use crate::error::HeaderError;
use crate::format::{
    self, HEADER_DEFLATED, HEADER_PLAIN, MAGIC, MAX_DEFLATE_RATIO, MODEL_PLANES, SHARED,
    TensorRecord, Trailer,
};
use crate::header::{Header, MAX_HEADER_LEN, PREFIX, TensorInfo};
use crate::kind::{self, Wanted, open_file};
use crate::progress::{Progress, report};
use crate::source::{self, Identity, ReadAt};
use crate::{Error, Result, coded_as, dedup, pool};

/// Raw bytes that are in memory at a time, twice: one batch is encoded while another is hashed
/// and written.
pub(crate) const BATCH_LEN: u64 = 16 << 20;

/// From this many chunks on, one in four is enough to make the model of a tensor from.
const MANY_CHUNKS: u64 = 32;

/// How to pack a file.
#[derive(Clone, Copy)]
pub struct PackOptions<'a> {
    /// Whether to replace a target that exists.
    pub overwrite: bool,
    /// How hard to look for a small encoding.
    pub level: Level,
    /// Whom to tell.
    pub progress: &'a dyn Progress,
}

impl Default for PackOptions<'_> {
    fn default() -> Self {
        Self { overwrite: false, level: Level::default(), progress: &() }
    }
}

/// What was packed or unpacked.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How many tensors.
    pub tensors: u64,
    /// Bytes of the safetensors file.
    pub original_len: u64,
    /// Bytes of the `.at1w` file.
    pub packed_len: u64,
    /// The root.
    pub root: Digest,
    /// SHA-256 of the safetensors file.
    pub original_digest: Digest,
}

/// Whether a file begins as an `.at1w` file. What is no file, such as a pipe, does not.
///
/// # Errors
/// [`Error::Io`].
pub fn is_packed(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    if !path.metadata().map_err(Error::io(path))?.is_file() {
        return Ok(false);
    }
    let file = File::open(path).map_err(Error::io(path))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAGIC.len() as u64), &mut start)
        .map_err(Error::io(path))?;
    Ok(begins_packed(&start))
}

/// Whether a file with these bytes, or more, begins as an `.at1w` file.
pub fn begins_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Packs the safetensors file `source` into `target`, which appears whole or not at all.
///
/// The output depends on the source and the level alone, not on threads or machine. It gets no
/// permissions that the source has not.
///
/// # Errors
/// [`Error::Safetensors`], [`Error::WrongKind`], [`Error::AlreadyPacked`], [`Error::Exists`],
/// [`Error::SameFile`], [`Error::Cancelled`], [`Error::Backend`],
/// [`Error::SourceChanged`] and those of reading and writing; all name the file.
pub fn pack_file(source: &Path, target: &Path, options: &PackOptions<'_>) -> Result<Summary> {
    check_distinct(source, target)?;
    let file = open_file(source, Wanted::Safetensors)?;
    let before = Identity::of(&file, source)?;
    // Refuse what is no safetensors before there is a temporary file.
    let header = read_header(&file)
        .map_err(|error| kind::explain(&file, error, Wanted::Safetensors).in_file(source))?;
    write_like(source, target, options.overwrite, |out| {
        let mut out = BufWriter::with_capacity(64 << 10, out);
        let summary = Packer::new(&file, &header, options.level, options.progress)
            .run(&mut out)
            .map_err(|error| {
                if matches!(error, Error::Write(_)) { error } else { error.in_file(source) }
            })?;
        out.flush().map_err(Error::Write)?;
        before.check(&file, source)?;
        Ok(summary)
    })
}

/// Packs a safetensors file from any source into any sink.
///
/// # Errors
/// As [`pack_file`].
pub fn pack(
    source: &dyn ReadAt,
    sink: &mut (dyn Write + Send),
    level: Level,
    progress: &dyn Progress,
) -> Result<Summary> {
    let header =
        read_header(source).map_err(|error| kind::explain(source, error, Wanted::Safetensors))?;
    Packer::new(source, &header, level, progress).run(sink)
}

/// Reads and checks the header of a safetensors file.
pub(crate) fn read_header(source: &dyn ReadAt) -> Result<Header> {
    let file = source.size().map_err(|source| Error::Read { offset: 0, source })?;
    if file < PREFIX {
        return Err(HeaderError::TooShort(file).into());
    }
    let mut prefix = [0; PREFIX as usize];
    prefix.copy_from_slice(&source::read(source, 0..PREFIX)?);
    if prefix == MAGIC {
        return Err(Error::AlreadyPacked);
    }
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER_LEN {
        return Err(HeaderError::TooLarge(header).into());
    }
    if header > file - PREFIX {
        return Err(HeaderError::Truncated { header, file }.into());
    }
    let bytes = source::read(source, PREFIX..PREFIX + header)?.into_owned();
    let header = Header::parse(bytes)?;
    match header.original_len() {
        Some(tensors) if tensors == file => Ok(header),
        Some(tensors) if tensors < file => Err(HeaderError::Trailing { tensors, file }.into()),
        tensors => Err(HeaderError::CutShort { tensors: tensors.unwrap_or(u64::MAX), file }.into()),
    }
}

struct Packer<'a> {
    source: &'a dyn ReadAt,
    header: &'a Header,
    level: Level,
    progress: &'a dyn Progress,
    /// For each tensor that has the content of an earlier one, the index of that.
    shared: HashMap<usize, u32>,
    /// The model of the tensor that spans batches.
    model: Option<(usize, Arc<StoredModel>)>,
}

/// Memory of large chunks that are written, for those to come: new memory costs as much time as
/// encoding.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn list(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory for about so many bytes.
    fn take(&self, len: usize) -> Vec<u8> {
        if Self::is_large(len) { self.list().pop().unwrap_or_default() } else { Vec::new() }
    }

    fn give_back(&self, chunk: EncodedChunk<'_>) {
        if Self::is_large(chunk.raw.len()) {
            let mut list = self.list();
            if let Payload::Own { bytes, .. } = chunk.payload {
                list.push(bytes);
            }
            if let Cow::Owned(raw) = chunk.raw {
                list.push(raw);
            }
        }
    }

    /// Whether memory for so many bytes is kept. A batch has few such chunks.
    fn is_large(len: usize) -> bool {
        len as u64 >= MAX_CHUNK_LEN / 2
    }
}

/// A chunk, read and encoded.
struct EncodedChunk<'a> {
    at: ChunkRef,
    raw: Cow<'a, [u8]>,
    payload: Payload,
}

/// What a chunk is stored as.
enum Payload {
    /// In the first so many bytes of its memory, coded with the model.
    Own { bytes: Vec<u8>, len: usize, model: Arc<StoredModel> },
    /// As that of the earlier tensor with this index.
    Shared(u32),
}

impl<'a> Packer<'a> {
    fn new(
        source: &'a dyn ReadAt,
        header: &'a Header,
        level: Level,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { source, header, level, progress, shared: HashMap::new(), model: None }
    }

    fn run(mut self, sink: &mut (dyn Write + Send)) -> Result<Summary> {
        Backend::from_environment()?;
        self.shared = dedup::find(self.source, self.header)?;
        let mut output = Output::new(sink, self.header)?;
        let progress = self.progress;
        let buffers = Buffers::default();
        let mut pending: Vec<EncodedChunk<'a>> = Vec::new();
        for batch in batches(self.header, BATCH_LEN) {
            let (encoded, written) = pool::run(|| {
                Ok(rayon::join(
                    || self.encode(batch, &buffers),
                    || output.append(&mut pending, &buffers, progress),
                ))
            })?;
            written?;
            pending = encoded?;
        }
        output.append(&mut pending, &buffers, progress)?;
        output.finish(self.header)
    }

    fn encode(&mut self, batch: Vec<ChunkRef>, buffers: &Buffers) -> Result<Vec<EncodedChunk<'a>>> {
        let mut models = Vec::with_capacity(batch.len());
        for at in &batch {
            models.push(self.shared_model(at)?);
        }
        let this = &*self;
        let jobs = batch.into_par_iter().zip(models);
        jobs.map_init(
            || Coder::new(this.level),
            |coder, (at, model)| this.encode_chunk(coder, buffers, at, model),
        )
        .collect()
    }

    /// The model of a tensor of several chunks, made when its first chunk comes along.
    fn shared_model(&mut self, at: &ChunkRef) -> Result<Option<Arc<StoredModel>>> {
        if at.count == 1 || self.shared.contains_key(&at.tensor) {
            return Ok(None);
        }
        if let Some((tensor, model)) = &self.model
            && *tensor == at.tensor
        {
            return Ok(Some(model.clone()));
        }
        let model = self.stored(at, self.measure(at.tensor)?)?;
        self.model = Some((at.tensor, model.clone()));
        Ok(Some(model))
    }

    /// The passes over a tensor before it is encoded, or over a part of a large one: its chunks are
    /// much alike, and one that is not gets tables of its own.
    fn measure(&self, tensor: usize) -> Result<Model> {
        let info = &self.header.tensors()[tensor];
        let mut builder = ModelBuilder::new(coded_as(info), self.level, &info.shape);
        loop {
            match self.pass(info, &builder)?.next() {
                Next::Pass(next) => builder = *next,
                Next::Done(model) => return Ok(model),
            }
        }
    }

    /// One pass, that adds to copies of `empty` on all threads and merges these.
    fn pass(&self, info: &TensorInfo, empty: &ModelBuilder) -> Result<ModelBuilder> {
        let chunking = Chunking::of(info);
        let start = self.header.data_start() + info.data.start;
        let width = coded_as(info).layout().width() as u64;
        let new = || (empty.clone(), Vec::new());
        let stride = if chunking.count() < MANY_CHUNKS { 1 } else { 4 };
        let (builder, _) = (0..chunking.count().div_ceil(stride))
            .into_par_iter()
            .try_fold(new, |(mut builder, mut buffer), i| -> Result<_> {
                if self.progress.cancelled() {
                    return Err(Error::Cancelled);
                }
                let Range { start: from, end: to } = chunking.range(i * stride);
                let raw = source::read_into(self.source, start + from..start + to, buffer)?;
                let position = Position::after_elements(from / width);
                builder.add(position, &raw).expect("chunks are whole elements and short");
                buffer = match raw {
                    Cow::Owned(buffer) => buffer,
                    Cow::Borrowed(_) => Vec::new(),
                };
                Ok((builder, buffer))
            })
            .try_reduce(new, |(mut a, buffer), (b, _)| {
                a.merge(&b);
                Ok((a, buffer))
            })?;
        Ok(builder)
    }

    fn stored(&self, at: &ChunkRef, model: Model) -> Result<Arc<StoredModel>> {
        StoredModel::new(model).map(Arc::new).ok_or_else(|| self.not_encoded(at))
    }

    fn not_encoded(&self, at: &ChunkRef) -> Error {
        let name = self.header.tensors()[at.tensor].name().to_owned();
        Error::Encoded { name, chunk: at.chunk }
    }

    fn encode_chunk(
        &self,
        coder: &mut Coder,
        buffers: &Buffers,
        at: ChunkRef,
        model: Option<Arc<StoredModel>>,
    ) -> Result<EncodedChunk<'a>> {
        let info = &self.header.tensors()[at.tensor];
        let start = self.header.data_start() + info.data.start;
        let range = start + at.range.start..start + at.range.end;
        let raw = source::read_into(self.source, range, buffers.take(at.len()))?;
        if let Some(&other) = self.shared.get(&at.tensor) {
            let payload = Payload::Shared(other);
            return Ok(EncodedChunk { at, raw, payload });
        }
        let model = match model {
            Some(model) => model,
            None => {
                let model = Model::of(coded_as(info), self.level, &info.shape, [&raw[..]]);
                self.stored(&at, model.expect("chunks are whole elements and short"))?
            }
        };
        let position = Position::after_elements(at.range.start / model.width() as u64);
        let mut bytes = buffers.take(raw.len());
        bytes.resize(bytes.len().max(Encoder::max_encoded_len(raw.len())), 0);
        let len = coder.encode(&model, position, &raw, &mut bytes);
        let len = len.ok_or_else(|| self.not_encoded(&at))?;
        Ok(EncodedChunk { at, raw, payload: Payload::Own { bytes, len, model } })
    }
}

/// The file as it grows.
struct Output<'a> {
    sink: &'a mut (dyn Write + Send),
    len: u64,
    original: Chain,
    /// Of the tensor that is being written.
    tensor: Chain,
    /// The chunk table of the tensor that is being written.
    payload_lens: Vec<u8>,
    states: Vec<u8>,
    /// Where that tensor began.
    start: u64,
    records: Vec<TensorRecord>,
    /// Of tensors of several chunks.
    content_digests: Vec<Digest>,
}

impl<'a> Output<'a> {
    fn new(sink: &'a mut (dyn Write + Send), header: &Header) -> Result<Self> {
        let mut original = Chain::new();
        original.update(&header.prefix());
        original.update(header.bytes());
        let mut output = Self {
            sink,
            len: 0,
            original,
            tensor: Chain::new(),
            payload_lens: Vec::new(),
            states: Vec::new(),
            start: 0,
            records: Vec::with_capacity(header.tensors().len()),
            content_digests: Vec::new(),
        };
        output.write(&MAGIC)?;
        output.start = output.len;
        Ok(output)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(Error::Write)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Hashes and writes chunks, in order.
    fn append(
        &mut self,
        chunks: &mut Vec<EncodedChunk<'_>>,
        buffers: &Buffers,
        progress: &dyn Progress,
    ) -> Result<()> {
        for chunk in chunks.drain(..) {
            // Two chains over the same bytes: that of the file and that of the tensor.
            Chain::update_each([&mut self.original, &mut self.tensor], &chunk.raw);
            let digest = if chunk.at.is_last() {
                std::mem::replace(&mut self.tensor, Chain::new()).finish().0
            } else {
                self.tensor.state().to_bytes()
            };
            match &chunk.payload {
                Payload::Own { bytes, len, model } => {
                    self.write(&bytes[..*len])?;
                    self.end_chunk(&chunk.at, *len, model, digest)?;
                }
                Payload::Shared(other) => self.end_shared(&chunk.at, *other, digest)?,
            }
            let len = chunk.raw.len() as u64;
            buffers.give_back(chunk);
            report(progress, len)?;
        }
        Ok(())
    }

    /// Notes the chunk in the chunk table, and ends the tensor with its last one.
    fn end_chunk(
        &mut self,
        at: &ChunkRef,
        payload_len: usize,
        model: &StoredModel,
        digest: [u8; 32],
    ) -> Result<()> {
        if at.count > 1 {
            self.payload_lens.extend((payload_len as u32).to_le_bytes());
        }
        if !at.is_last() {
            self.states.extend(digest);
            return Ok(());
        }
        self.write(&model.bytes)?;
        let (payload_lens, states) =
            (std::mem::take(&mut self.payload_lens), std::mem::take(&mut self.states));
        self.write(&payload_lens)?;
        self.write(&states)?;
        if !states.is_empty() {
            self.content_digests.push(format::content_digest(&states, Digest(digest)));
        }
        self.records.push(TensorRecord {
            digest,
            stored_len: (self.len - self.start).to_le_bytes(),
            model_len: (model.bytes.len() as u32).to_le_bytes(),
            model_kind: MODEL_PLANES,
            flags: 0,
            reserved: [0; 2],
        });
        self.start = self.len;
        Ok(())
    }

    /// Notes the state after a chunk that is stored already, and ends the tensor with its last one.
    fn end_shared(&mut self, at: &ChunkRef, other: u32, digest: [u8; 32]) -> Result<()> {
        if !at.is_last() {
            self.states.extend(digest);
            return Ok(());
        }
        let states = std::mem::take(&mut self.states);
        if !states.is_empty() {
            self.content_digests.push(format::content_digest(&states, Digest(digest)));
        }
        if self.records[other as usize].digest != digest {
            let problem = "two tensors that were the same are not: pack it again";
            return Err(Error::SourceChanged(problem.into()));
        }
        self.records.push(TensorRecord {
            digest,
            stored_len: [0; 8],
            model_len: other.to_le_bytes(),
            model_kind: MODEL_PLANES,
            flags: SHARED,
            reserved: [0; 2],
        });
        Ok(())
    }

    /// Writes the index and the trailer.
    fn finish(mut self, header: &Header) -> Result<Summary> {
        let index_offset = self.len;
        let (header_encoding, stored) = store_header(header.bytes());
        let mut index = bytemuck::cast_slice(&self.records).to_vec();
        index.extend(self.content_digests.iter().flat_map(|d| d.0));
        index.extend_from_slice(&stored);
        self.write(&index)?;

        let root =
            {
                let mut of_many = self.content_digests.iter();
                let contents = self.records.iter().zip(header.tensors()).map(|(record, info)| {
                    match Chunking::of(info).count() {
                        1 => Digest(record.digest),
                        _ => *of_many.next().expect("one for each tensor of several chunks"),
                    }
                });
                format::root(header.bytes(), contents)
            };
        let original_len = header.data_start() + header.data_len();
        let original_digest = self.original.clone().finish();
        let trailer = Trailer {
            index_offset: index_offset.to_le_bytes(),
            tensor_count: (self.records.len() as u64).to_le_bytes(),
            header_stored_len: (stored.len() as u64).to_le_bytes(),
            header_len: (header.bytes().len() as u64).to_le_bytes(),
            index_digest: Digest::of(&index).0,
            root: root.0,
            original_len: original_len.to_le_bytes(),
            original_digest: original_digest.0,
            required_features: [0; 8],
            optional_features: [0; 8],
            header_encoding,
            reserved: [0; 3],
            version: format::VERSION.to_le_bytes(),
            checksum: [0; 8],
            magic: [0; 8],
        };
        self.write(bytemuck::bytes_of(&trailer.seal()))?;
        Ok(Summary {
            tensors: self.records.len() as u64,
            original_len,
            packed_len: self.len,
            root,
            original_digest,
        })
    }
}

/// The header as it is stored: deflated where that helps.
fn store_header(header: &[u8]) -> (u8, Vec<u8>) {
    let deflated = miniz_oxide::deflate::compress_to_vec(header, 6);
    if deflated.len() < header.len()
        && header.len() as u64 <= MAX_DEFLATE_RATIO * deflated.len() as u64
    {
        (HEADER_DEFLATED, deflated)
    } else {
        (HEADER_PLAIN, header.to_vec())
    }
}
