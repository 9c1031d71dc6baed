//! Damages small files in every way, and reads all of each.

use std::sync::Arc;

use at1w_container::{Error, Reader};

use crate::files::{FILES, pair};
use crate::open;
use crate::versions::{Bases, NAMES, small_base};

/// The outcome for files that were damaged in one way.
#[derive(Debug, Default)]
pub struct Tally {
    /// The files, and the kind of damage.
    pub what: String,
    /// The number of damaged files.
    pub tried: u64,
    /// The files of which some part was refused.
    pub refused: u64,
    /// The files of which all could be read, and was unchanged.
    pub equal: u64,
    /// The files of which something was read that never was there. Must be 0.
    pub wrong: u64,
}

/// The result of reading a file: the bytes of each tensor, or nothing for a refused one; and
/// whether all of it could be read.
struct Read {
    tensors: Vec<Option<Vec<u8>>>,
    header: Vec<u8>,
    whole: bool,
}

fn read(file: &[u8]) -> Result<Read, Error> {
    Ok(read_all(&open(file)?))
}

fn read_all(reader: &Reader) -> Read {
    let tensors: Vec<_> = reader.tensors().map(|tensor| tensor.read_to_vec().ok()).collect();
    let whole = tensors.iter().all(Option::is_some)
        && reader.verify(&()).is_ok()
        && reader.verify_original(&()).is_ok();
    Read { tensors, header: reader.header().bytes().to_vec(), whole }
}

impl Tally {
    fn new(what: String) -> Self {
        Self { what, ..Self::default() }
    }

    /// Reads a damaged file, and compares it with the files that it was made of.
    fn add(&mut self, damaged: &[u8], intact: &[Read]) {
        self.add_read(read(damaged), intact);
    }

    /// Compares what was read with the files that it was made of.
    fn add_read(&mut self, read: Result<Read, Error>, intact: &[Read]) {
        self.tried += 1;
        let Ok(read) = read else {
            self.refused += 1;
            return;
        };
        let right = intact.iter().any(|file| {
            file.header == read.header
                && file.tensors.len() == read.tensors.len()
                && read.tensors.iter().zip(&file.tensors).all(|(a, b)| a.is_none() || a == b)
        });
        match (right, read.whole) {
            (false, _) => self.wrong += 1,
            (true, true) => self.equal += 1,
            (true, false) => self.refused += 1,
        }
    }
}

/// Flips every bit of every file, cuts each at every length, and splices two files at every place:
/// one in `stride` of all of these.
pub fn sweep(stride: usize) -> Vec<Tally> {
    let mut tallies = Vec::new();
    for file in &FILES {
        let packed = file.packed();
        let intact = [read(&packed).expect("an intact file")];
        let mut flips = Tally::new(format!("{}: single bits flipped", file.name));
        for bit in (0..packed.len() * 8).step_by(stride) {
            let mut damaged = packed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            flips.add(&damaged, &intact);
        }
        let mut cuts = Tally::new(format!("{}: truncated", file.name));
        for len in (0..packed.len()).step_by(stride) {
            cuts.add(&packed[..len], &intact);
        }
        tallies.extend([flips, cuts]);
    }
    tallies.push(splices(stride));
    tallies.push(bases(stride));
    tallies
}

/// The share of the bits of a base that are flipped: each time two files are read.
const OF_BASE: usize = 32;

/// Flips bits of a base, and reads the version.
fn bases(stride: usize) -> Tally {
    let (base, file) = (small_base(), FILES.iter().find(|file| file.name == "versions"));
    let version = file.expect("one of the files").packed();
    let intact = [read(&version).expect("an intact file")];
    let mut tally = Tally::new("versions: single bits of the base flipped".into());
    for bit in (0..base.len() * 8).step_by(OF_BASE * stride) {
        let mut damaged = base.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = Bases::open(&[(NAMES[0], &damaged)])
            .and_then(|bases| Ok(open(&version)?.with_bases(Arc::new(bases))))
            .map(|reader| read_all(&reader));
        tally.add_read(read, &intact);
    }
    tally
}

/// Joins the start of one file with the end of the other, and puts pieces of one into the other.
fn splices(stride: usize) -> Tally {
    let [a, b] = pair();
    let intact = [a, b].map(|file| read(file).expect("an intact file"));
    let mut tally = Tally::new("two files spliced".into());
    for (a, b) in [(a, b), (b, a)] {
        for at in (0..a.len().min(b.len())).step_by(stride) {
            tally.add(&[&a[..at], &b[at..]].concat(), &intact);
            // Counts from the end, so that the indices meet.
            tally.add(&[&a[..a.len() - at], &b[b.len() - at..]].concat(), &intact);
            for len in [1, 8, 32, 64, 200] {
                let end = (at + len).min(a.len()).min(b.len());
                tally.add(&[&a[..at], &b[at..end], &a[end..]].concat(), &intact);
            }
        }
    }
    tally
}
