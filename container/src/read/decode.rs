//! Decoding and verifying chunks, several at a time: while the SHA-256 of one chunk waits for its
//! own last step, the SHA-256 of others goes on.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::ptr;

use at1w_codec::{Backend, Decoder, Dtype, Predictor};
use at1w_simd::sha256;
use rayon::prelude::*;

use super::plan::{Ground, Plan};
use super::stored::Stored;
use crate::digest::{self, Expected};
use crate::error::{Error, Result};
use crate::format::tensor_info::TensorInfo;
use crate::pool;
use crate::progress::{Progress, report};
use crate::source::{self, ReadAt};

/// A chunk to decode into memory of its size.
pub(crate) struct Job<'j, 'a> {
    pub(crate) plan: &'j Plan<'a>,
    pub(crate) chunk: u64,
    pub(crate) out: &'j mut [u8],
}

/// Working memory of a thread, kept from one chunk to the next.
#[derive(Default)]
struct Scratch {
    /// The back-end of the decoder, once it was used.
    used: Option<Backend>,
    decoder: Decoder,
    payload: Vec<u8>,
    /// Memory for bases, and for the bases of these.
    bases: Vec<Vec<u8>>,
    /// Raw bytes that are used and not kept.
    raw: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Option<Box<Scratch>>> = const { RefCell::new(None) };
}

/// Runs `work` with this thread's scratch memory, or with new memory if the scratch memory is in
/// use. A source may reenter: it can read another file on this thread.
fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let result = work(&mut scratch);
    SCRATCH.set(Some(scratch));
    result
}

/// The least number of chunks that a thread takes at a time where a request costs something.
pub(crate) const REMOTE_GROUP: usize = 8;

/// The number of chunks that all threads together take at a time where a request costs something,
/// so that chunks are decoded in the order in which they come.
const REMOTE_STEP: usize = 64;

/// Returns how many of `chunks` chunks a thread should take at a time: as many as are hashed side
/// by side, or are worth a request, unless other threads would get none.
pub(crate) fn group_len(source: &dyn ReadAt, backend: Backend, chunks: usize) -> usize {
    let least = if source.request_cost() > 0 { REMOTE_GROUP } else { 1 };
    let most = sha256::width(backend).max(least);
    chunks.div_ceil(rayon::current_num_threads()).clamp(1, most)
}

/// Decodes and verifies chunks on all threads. On failure, each byte of memory is verified, zero,
/// or unchanged.
pub(crate) fn all(jobs: &mut [Job<'_, '_>], progress: &dyn Progress) -> Result<()> {
    match jobs {
        [] => Ok(()),
        // One chunk is not worth waking other threads for.
        [_] => some(jobs, progress),
        [first, ..] => {
            let backend = first.plan.tensor.backend;
            let source = dearest(jobs.iter().map(|job| job.plan.tensor.source));
            let source = source.expect("there is a job");
            let step = step(source, jobs.len());
            pool::run(|| {
                jobs.chunks_mut(step).try_for_each(|jobs| {
                    let len = group_len(source, backend, jobs.len());
                    let groups = jobs.par_chunks_mut(len);
                    groups.try_for_each(|jobs| some(jobs, progress))
                })
            })
        }
    }
}

/// Returns how many of `chunks` chunks all threads together take at a time.
fn step(source: &dyn ReadAt, chunks: usize) -> usize {
    if source.request_cost() > 0 { REMOTE_STEP } else { chunks.max(1) }
}

/// [`all`], on this thread.
fn some(jobs: &mut [Job<'_, '_>], progress: &dyn Progress) -> Result<()> {
    group(jobs).inspect_err(|_| jobs.iter_mut().for_each(|job| job.out.fill(0)))?;
    report(progress, jobs.iter().map(|job| job.out.len() as u64).sum())
}

/// Returns the source whose requests cost most: tensors that are the same as their bases are read
/// from other files than those beside them.
fn dearest<'a>(sources: impl Iterator<Item = &'a dyn ReadAt>) -> Option<&'a dyn ReadAt> {
    sources.max_by_key(|source| source.request_cost())
}

/// Reads the payloads of chunks of the file whose requests cost most together; those of others, and
/// all where they cost nothing, are read when their turn comes.
fn fetch<'j>(jobs: &[Job<'j, '_>]) -> Result<Vec<Option<Cow<'j, [u8]>>>> {
    let source = dearest(jobs.iter().map(|job| job.plan.tensor.source));
    let Some(source) = source else { return Ok(vec![]) };
    if source.request_cost() == 0 {
        return Ok(vec![]);
    }
    let is_missing = |job: &Job<'j, '_>| {
        ptr::addr_eq(job.plan.tensor.source, source) && job.plan.payload_read(job.chunk).is_none()
    };
    let missing = jobs.iter().filter(|job| is_missing(job));
    let ranges: Vec<_> = missing.map(|job| job.plan.payload_range(job.chunk)).collect();
    let mut answers = source::read_ranges(source, &ranges)?.into_iter();
    let payload = |job: &Job<'j, '_>| match is_missing(job) {
        true => answers.next(),
        false => job.plan.payload_read(job.chunk).map(Cow::Borrowed),
    };
    Ok(jobs.iter().map(payload).collect())
}

/// Decodes and verifies chunks on this thread. On failure, memory holds unverified bytes.
fn group(jobs: &mut [Job<'_, '_>]) -> Result<()> {
    // All back-ends give the same bytes.
    let Some(backend) = jobs.first().map(|job| job.plan.tensor.backend) else { return Ok(()) };
    with_decoder(backend, |decoder, payload, bases| -> Result<()> {
        let mut fetched = fetch(jobs)?.into_iter();
        for Job { plan, chunk, out } in &mut *jobs {
            let encoded = match fetched.next().flatten() {
                Some(encoded) => encoded,
                None => plan.payload(*chunk, std::mem::take(payload))?,
            };
            decode(decoder, bases, plan, *chunk, &encoded, out)
                .map_err(|e| e.or_base(plan, *chunk))?;
            if let Cow::Owned(buffer) = encoded {
                *payload = buffer;
            }
        }
        Ok(())
    })?;
    let expected: Vec<Expected<'_>> =
        jobs.iter().map(|Job { plan, chunk, out }| plan.expected(*chunk, out)).collect();
    match digest::first_mismatch(backend, &expected) {
        None => Ok(()),
        Some(i) => {
            let Job { plan, chunk, .. } = &jobs[i];
            let problem = "its content does not match its SHA-256".into();
            Err(Undecoded::Damaged(problem).or_base(plan, *chunk))
        }
    }
}

/// Runs `work` with the decoder of this thread, memory for a payload, and memory for bases.
fn with_decoder<T>(
    backend: Backend,
    work: impl FnOnce(&mut Decoder, &mut Vec<u8>, &mut Vec<Vec<u8>>) -> T,
) -> T {
    with_scratch(|Scratch { used, decoder, payload, bases, .. }| {
        // The thread may have read a file on another back-end before.
        if *used != Some(backend) {
            *decoder = std::mem::take(decoder).with_backend(backend);
            *used = Some(backend);
        }
        work(decoder, payload, bases)
    })
}

/// The reason why a chunk was not decoded.
enum Undecoded {
    /// Its bytes are damaged, or those of its base.
    Damaged(String),
    /// Its base was not read.
    Base(Error),
}

impl Undecoded {
    /// Says which is damaged, a chunk or its base: only now the base is verified.
    fn or_base(self, plan: &Plan<'_>, chunk: u64) -> Error {
        let problem = match self {
            Self::Damaged(problem) => problem,
            Self::Base(error) => return error,
        };
        if let Some(ground) = plan.ground.as_ref().filter(|ground| ground.is_verifiable)
            && let Err(error) = ground.verify(plan, chunk)
        {
            return error;
        }
        plan.tensor.damaged(Some(chunk), plan.offset(chunk), problem)
    }
}

/// Decodes a chunk, and does not verify it.
fn decode(
    decoder: &mut Decoder,
    bases: &mut Vec<Vec<u8>>,
    plan: &Plan<'_>,
    chunk: u64,
    encoded: &[u8],
    out: &mut [u8],
) -> Result<(), Undecoded> {
    if plan.tensor.plain.is_some() {
        out.copy_from_slice(encoded);
        return Ok(());
    }
    let position = plan.position(chunk);
    let decoded = match &plan.ground {
        None => decoder.decode(&plan.model, position, encoded, out),
        Some(ground) => {
            let mut base = bases.pop().unwrap_or_default();
            base.resize(out.len(), 0);
            let decoded = ground
                .predict(decoder, bases, plan, chunk, &mut base)
                .map(|()| decoder.decode_from(&plan.model, position, &base, encoded, out));
            bases.push(base);
            decoded?
        }
    };
    decoded.map_err(|error| Undecoded::Damaged(error.to_string()))
}

impl Ground<'_> {
    /// Reads what the base says of a range of a tensor of `dtype`, which is a chunk of it. It is
    /// verified.
    pub(crate) fn read(&self, dtype: Dtype, range: Range<u64>, out: &mut [u8]) -> Result<()> {
        let verified = |chunk, out: &mut [u8]| group(&mut [Job { plan: &self.plan, chunk, out }]);
        self.gather(dtype, range, out, verified)
    }

    /// Decodes what the base says of a chunk, and does not verify it.
    fn predict(
        &self,
        decoder: &mut Decoder,
        bases: &mut Vec<Vec<u8>>,
        plan: &Plan<'_>,
        chunk: u64,
        out: &mut [u8],
    ) -> Result<(), Undecoded> {
        let (dtype, range) = (plan.tensor.info.coded_as(), plan.tensor.chunking().range(chunk));
        self.gather(dtype, range, out, |chunk, out: &mut [u8]| {
            let payload = bases.pop().unwrap_or_default();
            let payload = self.plan.payload(chunk, payload).map_err(Undecoded::Base)?;
            let decoded = decode(decoder, bases, &self.plan, chunk, &payload, out);
            if let Cow::Owned(buffer) = payload {
                bases.push(buffer);
            }
            // The fault may be in the base of the base.
            decoded.map_err(|error| Undecoded::Base(error.or_base(&self.plan, chunk)))
        })
    }

    /// Predicts a range of a tensor from the chunks of the base, which `read` reads.
    fn gather<E>(
        &self,
        dtype: Dtype,
        range: Range<u64>,
        out: &mut [u8],
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (chunks, range) = self.chunks(range);
        if self.predictor == Predictor::Identity {
            // The base has the same chunks.
            return read(*chunks.start(), out);
        }
        let mut rest = out;
        let mut raw = Vec::new();
        for chunk in chunks {
            let of_chunk = self.plan.tensor.chunking().range(chunk);
            raw.resize((of_chunk.end - of_chunk.start) as usize, 0);
            read(chunk, &mut raw)?;
            let start = range.start.max(of_chunk.start) - of_chunk.start;
            let end = range.end.min(of_chunk.end) - of_chunk.start;
            let raw = &raw[start as usize..end as usize];
            let len = raw.len() / self.predictor.base_len(1) as usize;
            let (out, after) = rest.split_at_mut(len);
            self.predictor.predict(dtype, raw, out);
            rest = after;
        }
        Ok(())
    }

    /// Returns the chunks of the base that a range is made of, and the range of the base.
    fn chunks(&self, range: Range<u64>) -> (RangeInclusive<u64>, Range<u64>) {
        let range = self.predictor.base_len(range.start)..self.predictor.base_len(range.end);
        let chunking = self.plan.tensor.chunking();
        let last = chunking.chunk_of(range.end.max(range.start + 1) - 1);
        (chunking.chunk_of(range.start)..=last, range)
    }

    /// Verifies the chunks of the base that a chunk is made of.
    fn verify(&self, plan: &Plan<'_>, chunk: u64) -> Result<()> {
        let range = plan.tensor.chunking().range(chunk);
        self.chunks(range).0.try_for_each(|chunk| with_chunks(&[self.plan.at(chunk)], |_| Ok(())))
    }
}

/// A listener that is shown the bytes of chunks once they are verified, from any thread.
pub(crate) type See<'s> = &'s (dyn Fn(&Chunk<'_, '_>, &[u8]) -> Result<()> + Sync);

/// Looks at nothing.
pub(crate) fn unseen(_: &Chunk<'_, '_>, _: &[u8]) -> Result<()> {
    Ok(())
}

/// Decodes and verifies chunks on all threads, shows their bytes, and drops them.
pub(crate) fn verify(
    chunks: &[Chunk<'_, '_>],
    see: See<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let Some(first) = chunks.first() else { return Ok(()) };
    pool::run(|| {
        let Stored { source, backend, .. } = first.plan.tensor;
        chunks.chunks(step(source, chunks.len())).try_for_each(|chunks| {
            let groups = chunks.par_chunks(group_len(source, backend, chunks.len()));
            groups.try_for_each(|group| verify_group(group, see, progress))
        })
    })
}

/// [`verify`], on this thread.
pub(crate) fn verify_group(
    chunks: &[Chunk<'_, '_>],
    see: See<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let len = with_chunks(chunks, |raw| {
        let mut rest = raw;
        for chunk in chunks {
            let (bytes, after) = rest.split_at(chunk.plan.chunk_len(chunk.chunk));
            see(chunk, bytes)?;
            rest = after;
        }
        Ok(raw.len())
    })?;
    report(progress, len as u64)
}

/// Decodes and verifies chunks of which only a part is wanted, on all threads. `copy` gets the
/// bytes of each chunk, and the memory for its part.
pub(crate) fn parts(
    plan: &Plan<'_>,
    parts: &mut [(u64, &mut [u8])],
    copy: impl Fn(u64, &[u8], &mut [u8]) + Sync,
    progress: &dyn Progress,
) -> Result<()> {
    let group = |parts: &mut [(u64, &mut [u8])]| {
        let chunks: Vec<_> = parts.iter().map(|&(chunk, _)| plan.at(chunk)).collect();
        let len = with_chunks(&chunks, |mut raw| {
            let len = raw.len();
            for (chunk, out) in parts {
                let (bytes, rest) = raw.split_at(plan.chunk_len(*chunk));
                copy(*chunk, bytes, out);
                raw = rest;
            }
            Ok(len)
        })?;
        report(progress, len as u64)
    };
    match parts {
        [] => Ok(()),
        // One chunk is not worth waking other threads for.
        [_] => group(parts),
        _ => pool::run(|| {
            let Stored { source, backend, .. } = plan.tensor;
            let len = group_len(source, backend, parts.len());
            parts.par_chunks_mut(len).try_for_each(group)
        }),
    }
}

/// A chunk of a tensor.
#[derive(Clone, Copy)]
pub(crate) struct Chunk<'p, 'a> {
    pub(crate) plan: &'p Plan<'a>,
    pub(crate) chunk: u64,
    /// The tensor that was asked for: the plan of one that is the same as its base is of that.
    pub(crate) tensor: &'a TensorInfo,
}

impl<'a> Plan<'a> {
    /// Returns all chunks of the tensor `asked` for that this is the plan of.
    pub(crate) fn chunks<'p>(
        &'p self,
        asked: &'a TensorInfo,
    ) -> impl Iterator<Item = Chunk<'p, 'a>> {
        let at = |chunk| Chunk { tensor: asked, ..self.at(chunk) };
        (0..self.tensor.chunk_count()).map(at)
    }

    /// Returns a chunk.
    fn at(&self, chunk: u64) -> Chunk<'_, 'a> {
        Chunk { plan: self, chunk, tensor: self.tensor.info }
    }
}

/// Passes verified chunks, one after the other in memory, to `use_them`.
fn with_chunks<T>(
    chunks: &[Chunk<'_, '_>],
    use_them: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<T> {
    let len = chunks.iter().map(|c| c.plan.chunk_len(c.chunk)).sum();
    with_raw(len, |raw| {
        let mut jobs = Vec::with_capacity(chunks.len());
        let mut rest = &mut *raw;
        for &Chunk { plan, chunk, .. } in chunks {
            let (out, after) = rest.split_at_mut(plan.chunk_len(chunk));
            jobs.push(Job { plan, chunk, out });
            rest = after;
        }
        group(&mut jobs)?;
        use_them(raw)
    })
}

/// Runs `work` with memory for `len` raw bytes, of any content.
fn with_raw<T>(len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut raw = with_scratch(|scratch| std::mem::take(&mut scratch.raw));
    if raw.len() < len {
        raw.resize(len, 0);
    }
    let result = work(&mut raw[..len]);
    with_scratch(|scratch| scratch.raw = raw);
    result
}
