//! Measures a sample: chunks that stand for all are packed, read back and compared.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use at1w_container::{Error, Level, Piece, Population, Progress, TensorInfo, overhead_len};
use rayon::prelude::*;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::compare::Compare;
use crate::fault::Fault;
use crate::groups::Groups;
use crate::kind::Kind;
use crate::result::{FileResult, Group, LevelResult};
use crate::rival::Rival;
use crate::source::SourceFile;
use crate::statistics::{Planes, add_exponents};

/// The number of chunks that are in memory together.
const BATCH: usize = 64;

/// The part of a sample that files are held against others with.
const FOR_VERSIONS: f64 = 0.1;

/// A sample that was measured.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Sample {
    /// The bytes of the chunks.
    pub sampled_bytes: u64,
    /// Their part of all tensors, in percent.
    pub percent: f64,
    /// The number of chunks.
    pub chunks: u64,
    /// The seed of the choice: another one chooses other chunks.
    pub seed: u64,
    /// How far the packed size may be from the estimate 19 times out of 20, in bytes.
    pub margin_bytes: u64,
}

/// The results of a sample.
pub(crate) struct Sampled {
    pub(crate) files: Vec<FileResult>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) sample: Sample,
    /// The number of bytes that may be read still.
    pub(crate) budget: u64,
    /// Whether it was not interrupted.
    pub(crate) complete: bool,
}

/// The choice of a sample.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Choice<'a> {
    /// Returns the part to take of so many bytes, from 0 to 1.
    pub share: &'a dyn Fn(u64) -> f64,
    /// Another seed chooses other chunks.
    pub seed: u64,
}

impl<'a> Choice<'a> {
    /// Makes a choice of the part of all bytes that `share` returns.
    pub fn new(share: &'a dyn Fn(u64) -> f64, seed: u64) -> Self {
        Self { share, seed }
    }
}

/// A level, as far as it is measured.
struct AtLevel {
    level: Level,
    ratios: Vec<(Piece, f64)>,
    pack_seconds: f64,
    read_seconds: f64,
}

/// Another compressor, as far as the chunks went through it.
struct AtRival {
    rival: Rival,
    /// The bytes of the chunks of each file, and what became of them.
    lens: Vec<[u64; 2]>,
    pack_seconds: f64,
    read_seconds: f64,
}

/// Measures a sample of all files.
pub(crate) fn measure(
    sources: &[SourceFile],
    levels: &[Level],
    choice: Choice<'_>,
    against: &[Rival],
    scratch: &Path,
    progress: &dyn Progress,
) -> Sampled {
    let mut taking = Taking {
        files: sources.iter().map(FileResult::new).collect(),
        overheads: vec![0; sources.len()],
        levels: levels.iter().map(|&level| AtLevel::new(level)).collect(),
        rivals: against.iter().map(|&rival| AtRival::new(rival, sources.len())).collect(),
        bounds: Vec::new(),
        sampled_len: 0,
        failed: HashSet::new(),
        faults: Vec::new(),
        complete: true,
    };
    let mut population = Population::default();
    for (number, source) in sources.iter().enumerate() {
        if progress.cancelled() {
            taking.complete = false;
            // What was not looked at is not estimated.
            taking.failed.extend(number..sources.len());
            break;
        }
        taking.add_header(number, source, &mut population);
    }
    let share = (choice.share)(population.raw_len());
    let most = (population.raw_len() as f64 * share) as u64;
    // One file is no version of another.
    let kept = if sources.len() > 1 { FOR_VERSIONS } else { 0.0 };
    let mut pieces = population.choose(share * (1.0 - kept), choice.seed);
    pieces.retain(|piece| !taking.failed.contains(&piece.file));
    let of_files: Vec<&[Piece]> = pieces.chunk_by(|a, b| a.file == b.file).collect();
    // Another compressor reads both forms.
    let passes = (levels.len() + 2 * against.len()) as u64;
    progress.begin((most as f64 * (1.0 - kept)) as u64 * passes);
    for (done, pieces) in of_files.iter().enumerate() {
        let source = &sources[pieces[0].file];
        match taking.add_pieces(source, pieces, scratch, progress) {
            Ok(()) => {}
            Err(Error::Cancelled) => {
                taking.complete = false;
                taking.failed.extend(of_files[done..].iter().map(|pieces| pieces[0].file));
                break;
            }
            Err(error) => taking.fail(pieces[0].file, source, &error),
        }
    }
    taking.finish(&population, choice.seed, most)
}

/// A sample that is being taken.
struct Taking {
    files: Vec<FileResult>,
    /// The lengths of headers, indexes and trailers after packing.
    overheads: Vec<u64>,
    levels: Vec<AtLevel>,
    rivals: Vec<AtRival>,
    /// The part of each chunk that an ideal coder would need.
    bounds: Vec<(Piece, f64)>,
    sampled_len: u64,
    failed: HashSet<usize>,
    faults: Vec<Fault>,
    complete: bool,
}

impl AtLevel {
    fn new(level: Level) -> Self {
        Self { level, ratios: Vec::new(), pack_seconds: 0.0, read_seconds: 0.0 }
    }
}

impl AtRival {
    fn new(rival: Rival, files: usize) -> Self {
        Self { rival, lens: vec![[0; 2]; files], pack_seconds: 0.0, read_seconds: 0.0 }
    }

    /// Compresses chunks of a file whose tensors are mostly of one dtype, as one stream.
    fn add(
        &mut self,
        file: usize,
        dtype: &str,
        chunks: &[Vec<u8>],
        scratch: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut stream = NamedTempFile::new_in(scratch).map_err(Error::Write)?;
        chunks.iter().try_for_each(|chunk| stream.write_all(chunk)).map_err(Error::Write)?;
        let mut compare = Compare::new(stream.as_file());
        let done = self.rival.measure(stream.path(), dtype, scratch, &mut compare, progress)?;
        let [raw, packed] = &mut self.lens[file];
        *raw += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        *packed += done.packed_bytes;
        self.pack_seconds += done.pack_seconds;
        self.read_seconds += done.read_seconds;
        Ok(())
    }

    /// Returns the part of a file that is left after compressing; of all files, where no chunk is
    /// of this one.
    fn ratio(&self, file: usize) -> f64 {
        let all = || self.lens.iter().fold([0; 2], |sum, len| [sum[0] + len[0], sum[1] + len[1]]);
        let [raw, packed] = if self.lens[file][0] > 0 { self.lens[file] } else { all() };
        packed as f64 / raw.max(1) as f64
    }
}

impl Taking {
    fn fail(&mut self, number: usize, source: &SourceFile, error: &Error) {
        let mut fault = Fault::new(&source.path, error);
        fault.damaged = matches!(error.innermost(), Error::Encoded { .. });
        self.faults.push(fault);
        self.failed.insert(number);
    }

    /// Adds the tensors of a file to the population.
    fn add_header(&mut self, number: usize, source: &SourceFile, population: &mut Population) {
        let weights = match source.place.weights() {
            Ok(weights) => weights,
            Err(error) => return self.fail(number, source, &error),
        };
        let header = weights.header();
        population.add(number, header, |info| kind_of(info) as u32);
        let file = &mut self.files[number];
        file.header_bytes = 8 + header.bytes().len() as u64;
        self.overheads[number] = overhead_len(header);
        let mut groups = Groups::default();
        header.tensors().iter().for_each(|info| groups.add(info, 0, 0.0));
        file.groups = groups.into();
    }

    /// Packs the chunks of one file at each level.
    fn add_pieces(
        &mut self,
        source: &SourceFile,
        pieces: &[Piece],
        scratch: &Path,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let (file, weights) = (source.place.open()?, source.place.weights()?);
        let header = weights.header();
        for batch in pieces.chunks(BATCH) {
            let read = batch.par_iter().map(|piece| piece.read(&*file, header));
            let read: Vec<Vec<u8>> = read.collect::<Result<_, Error>>()?;
            let batch_len: u64 = read.iter().map(|bytes| bytes.len() as u64).sum();
            let both = || batch.par_iter().zip(&read);
            for at in &mut self.levels {
                let start = Instant::now();
                let packed = both().map(|(piece, bytes)| piece.pack(header, bytes, at.level));
                let packed: Vec<Vec<u8>> = packed.collect::<Result<_, Error>>()?;
                at.pack_seconds += start.elapsed().as_secs_f64();
                let start = Instant::now();
                let ratios = both().zip(packed).map(|((piece, bytes), packed)| {
                    Ok((*piece, piece.ratio(header, bytes, packed)?))
                });
                at.ratios.extend(ratios.collect::<Result<Vec<_>, Error>>()?);
                at.read_seconds += start.elapsed().as_secs_f64();
                progress.advance(batch_len);
                if progress.cancelled() {
                    return Err(Error::Cancelled);
                }
            }
            let (file, dtype) = (batch[0].file, self.files[batch[0].file].main_dtype().to_owned());
            for rival in &mut self.rivals {
                match rival.add(file, &dtype, &read, scratch, progress) {
                    Err(Error::Cancelled) => return Err(Error::Cancelled),
                    // The file is measured all the same.
                    Err(error) => {
                        let problem = format!("{}: {error}", rival.rival.name());
                        self.files[file].problems.push(problem);
                    }
                    Ok(()) => {}
                }
            }
            for (piece, bytes) in batch.iter().zip(&read) {
                let info = &header.tensors()[piece.tensor];
                let planes = Planes::of_bytes(info, bytes);
                self.bounds.push((*piece, planes.bound_bits() / 8.0 / bytes.len() as f64));
                if let Some(exponents) = planes.exponents(info.dtype()) {
                    let sums = &mut self.files[piece.file].exponents;
                    add_exponents(sums, info.dtype_name(), &exponents);
                }
            }
            self.sampled_len += batch_len;
        }
        Ok(())
    }

    /// Concludes from the chunks to all tensors. At most `most` bytes are to be read in all.
    fn finish(mut self, population: &Population, seed: u64, most: u64) -> Sampled {
        let whole = self.files.iter().map(|file| file.raw_bytes).sum::<u64>().max(1) as f64;
        let mut margin = 0.0;
        for (first, at) in self.levels.iter().enumerate().map(|(i, at)| (i == 0, at)) {
            let (expected, _) = population.expect(&at.ratios);
            let mut of_files = vec![0.0; self.files.len()];
            expected.iter().for_each(|tensor| of_files[tensor.file] += tensor.packed_len);
            for (number, file) in self.files.iter_mut().enumerate() {
                let part = file.raw_bytes as f64 / whole;
                let sampled = self.sampled_len as f64 / whole;
                // As long as the whole file would have taken.
                let seconds = |seconds: f64| seconds * part / sampled.max(1e-12);
                file.levels.push(LevelResult {
                    level: at.level.name().into(),
                    packed_bytes: of_files[number].round() as u64 + self.overheads[number],
                    pack_seconds: seconds(at.pack_seconds),
                    read_seconds: seconds(at.read_seconds),
                });
            }
            if first {
                let (bounds, _) = population.expect(&self.bounds);
                for (tensor, bound) in expected.iter().zip(&bounds) {
                    let groups = &mut self.files[tensor.file].groups;
                    let is_own = |group: &&mut Group| {
                        (group.dtype.as_str(), group.kind as u32) == (tensor.dtype, tensor.class)
                    };
                    if let Some(group) = groups.iter_mut().find(is_own) {
                        group.packed_bytes += tensor.packed_len.round() as u64;
                        // An ideal coder has no chunk tables.
                        group.bound_bytes += bound.packed_len - bound.table_len as f64;
                    }
                }
                margin = population.estimate(&at.ratios, self.sampled_len).margin();
            }
        }
        for at in self.rivals.iter().filter(|at| at.lens.iter().any(|len| len[0] > 0)) {
            let sampled = self.sampled_len as f64 / whole;
            for (number, file) in self.files.iter_mut().enumerate() {
                let part = file.raw_bytes as f64 / whole / sampled.max(1e-12);
                file.against.push(LevelResult {
                    level: at.rival.name().into(),
                    packed_bytes: (file.raw_bytes as f64 * at.ratio(number)).round() as u64,
                    pack_seconds: at.pack_seconds * part,
                    read_seconds: at.read_seconds * part,
                });
            }
        }
        let sample = Sample {
            sampled_bytes: self.sampled_len,
            percent: 100.0 * self.sampled_len as f64 / population.raw_len().max(1) as f64,
            chunks: self.bounds.len() as u64,
            seed,
            margin_bytes: margin as u64,
        };
        let failed = self.failed;
        let files = self.files.into_iter().enumerate();
        let files = files.filter(|(number, _)| !failed.contains(number)).map(|(_, file)| file);
        let (faults, complete) = (self.faults, self.complete);
        let budget = most.saturating_sub(self.sampled_len);
        Sampled { files: files.collect(), faults, sample, budget, complete }
    }
}

fn kind_of(info: &TensorInfo) -> Kind {
    Kind::of(info.name(), info.shape())
}
