//! Reading from a source whose requests cost something: it is told what will be read.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use at1w_container::{
    Dtype, Folders, OpenOptions, PackBase, PackOptions, ReadAt, Reader, Slice, Staged,
    StagedTensor, Weights, pack,
};

/// A source that records what it is told, and what is read of it.
#[derive(Clone)]
struct Remote {
    bytes: Arc<Vec<u8>>,
    told: Arc<Mutex<Vec<Range<u64>>>>,
    read: Arc<Mutex<Vec<Range<u64>>>>,
}

impl Remote {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(bytes), told: Arc::default(), read: Arc::default() }
    }

    /// Forgets the past; returns what was read and the source was not told of before.
    fn untold(&self) -> Vec<Range<u64>> {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        let mut read = std::mem::take(&mut *self.read.lock().unwrap());
        let within = |a: &Range<u64>, b: &Range<u64>| b.start <= a.start && a.end <= b.end;
        read.retain(|range| range.start < range.end && !told.iter().any(|t| within(range, t)));
        read
    }
}

impl ReadAt for Remote {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.read.lock().unwrap().push(range.clone());
        self.bytes.read_at(range)
    }

    fn will_read(&self, ranges: &[Range<u64>]) {
        self.told.lock().unwrap().extend_from_slice(ranges);
    }

    fn request_cost(&self) -> u64 {
        1 << 10
    }
}

/// Tensors of one chunk and of several.
fn tensors() -> Vec<(String, Vec<u64>, Vec<u8>)> {
    let bytes = |len: u64, seed: u64| (0..len).map(|i| (i * i / 7 + seed) as u8).collect();
    let shape = |i: u64| if i.is_multiple_of(3) { vec![2000, 800] } else { vec![10, 30 + i] };
    let tensor = |i: u64| (format!("t{i}"), shape(i), bytes(shape(i).iter().product(), i));
    (0..9).map(tensor).collect()
}

/// The same tensors, packed and plain.
fn files() -> [Remote; 2] {
    let tensors = tensors();
    let staged = tensors.iter().map(|(name, shape, data)| StagedTensor {
        name,
        dtype: Dtype::U8,
        shape,
        data,
    });
    let staged = Staged::new(staged.collect(), None).unwrap();
    let mut packed = Vec::new();
    pack(&staged, &mut packed, &PackOptions::new()).unwrap();
    let packed = Remote::new(packed);
    let mut plain = Vec::new();
    let weights = Weights::new(Box::new(packed.clone()), &OpenOptions::new()).unwrap();
    weights.packed().unwrap().restore(&mut plain, &()).unwrap();
    [packed, Remote::new(plain)]
}

#[test]
fn whole_tensors_are_told_of_before() {
    for source in files() {
        let weights = Weights::new(Box::new(source.clone()), &OpenOptions::new()).unwrap();
        source.untold();
        let tensors = tensors();
        let mut outs: Vec<_> = tensors.iter().map(|(_, _, data)| vec![0; data.len()]).collect();
        // In another order than that of the file.
        let names = tensors.iter().map(|(name, ..)| name.as_str());
        let mut wanted: Vec<_> = names.zip(outs.iter_mut().map(Vec::as_mut_slice)).collect();
        wanted.reverse();
        weights.read(&mut wanted, &()).unwrap();
        assert!(outs.iter().zip(&tensors).all(|(out, (_, _, data))| out == data));
        assert_eq!(source.untold(), []);
        if let Some(reader) = weights.packed() {
            reader.verify(&()).unwrap();
            assert_eq!(source.untold(), []);
            reader.verify_original(&()).unwrap();
            assert_eq!(source.untold(), []);
            assert_eq!(reader.tensor("t3").unwrap().read_to_vec().unwrap(), tensors[3].2);
            assert_eq!(source.untold(), []);
        }
        weights.prefetch(&["t3", "t4"]).unwrap();
        assert_eq!(source.told.lock().unwrap().len(), 2);
        assert!(weights.prefetch(&["none"]).is_err());
    }
}

/// A source that counts requests: one for all ranges that are asked for together.
#[derive(Clone)]
struct Counted(Remote, Arc<AtomicUsize>);

impl ReadAt for Counted {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(range)
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_ranges(ranges)
    }

    fn request_cost(&self) -> u64 {
        self.0.request_cost()
    }
}

#[test]
fn versions_are_read_together_with_what_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |seed: u64| (0..4000_u64).map(|i| (i * i / 7 + i * seed) as u8).collect();
    let data: Vec<Vec<u8>> = (0..40).map(bytes).collect();
    let names: Vec<_> = (0..40).map(|i| format!("t{i}")).collect();
    let tensor =
        |i: usize, data| StagedTensor { name: &names[i], dtype: Dtype::U8, shape: &[4000], data };
    let old = Staged::new(vec![tensor(7, &data[7])], None).unwrap();
    let path = folder.path().join("old.at1w");
    let mut packed = Vec::new();
    pack(&old, &mut packed, &PackOptions::new()).unwrap();
    std::fs::write(&path, packed).unwrap();
    let folders = Folders::new([folder.path().to_owned()], OpenOptions::new());
    let bases = [PackBase::open(&path, &OpenOptions::new(), folders.clone()).unwrap()];
    let all = data.iter().enumerate().map(|(i, data)| tensor(i, data));
    let mut packed = Vec::new();
    let options = PackOptions::new().bases(&bases);
    pack(&Staged::new(all.collect(), None).unwrap(), &mut packed, &options).unwrap();
    let source = Counted(Remote::new(packed), Arc::default());
    let reader = Reader::new(Box::new(source.clone()), &OpenOptions::new()).unwrap();
    assert_eq!(reader.summary().versions, 1);
    let reader = reader.with_bases(Arc::new(folders));
    source.1.store(0, Ordering::Relaxed);
    let mut outs = vec![vec![0; 4000]; data.len()];
    let mut wanted: Vec<_> =
        names.iter().map(String::as_str).zip(outs.iter_mut().map(Vec::as_mut_slice)).collect();
    reader.read_tensors(&mut wanted, &()).unwrap();
    assert!(outs == data);
    // One for each batch: neighbours come together.
    let requests = source.1.load(Ordering::Relaxed);
    assert!(requests < 10, "{requests}");
    reader.verify(&()).unwrap();
}

#[test]
fn slices_are_read_together() {
    for source in files() {
        let weights = Weights::new(Box::new(source.clone()), &OpenOptions::new()).unwrap();
        let slices = ["3:5", "...", ":, 2", "0:0", "-1"].map(|text| text.parse::<Slice>().unwrap());
        let tensors = tensors();
        let pairs: Vec<_> =
            tensors.iter().flat_map(|(name, ..)| slices.iter().map(|s| (&**name, s))).collect();
        let alone: Vec<_> = pairs
            .iter()
            .map(|(name, slice)| weights.read_to_vec(name, Some(slice)).unwrap().1)
            .collect();
        let mut outs: Vec<_> = alone.iter().map(|bytes| vec![1; bytes.len()]).collect();
        let wanted = pairs.iter().zip(&mut outs);
        let mut wanted: Vec<_> =
            wanted.map(|((name, slice), out)| (*name, *slice, &mut out[..])).collect();
        source.untold();
        weights.read_slices(&mut wanted, &()).unwrap();
        assert!(outs == alone);
        // Something was read of the source, and no chunk was at hand already.
        let read: u64 = source.read.lock().unwrap().iter().map(|r| r.end - r.start).sum();
        assert!(read > 0);
        let mut wrong = [("t0", &slices[0], &mut [0; 3][..])];
        assert!(weights.read_slices(&mut wrong, &()).is_err());
    }
}
