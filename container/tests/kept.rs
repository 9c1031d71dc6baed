//! Chunks that an open file keeps for the next slice.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use at1w_container::{
    Dtype, OpenOptions, PackOptions, ReadAt, Reader, Slice, Staged, StagedTensor, pack,
};

/// A file that counts what is read of it, and can be replaced.
#[derive(Default)]
struct Source {
    bytes: Mutex<Vec<u8>>,
    read: AtomicU64,
}

impl ReadAt for Source {
    fn size(&self) -> io::Result<u64> {
        self.bytes.lock().unwrap().size()
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.read.fetch_add(range.end - range.start, Ordering::Relaxed);
        let bytes = self.bytes.lock().unwrap();
        Ok(Cow::Owned(bytes.read_at(range)?.into_owned()))
    }
}

const ROWS: u64 = 4000;
const ROW: usize = 1024;

fn matrix() -> Vec<u8> {
    (0..ROWS * ROW as u64).map(|i| (((i * i) >> 7) ^ (i / ROW as u64)) as u8).collect()
}

fn opened(kept_len: usize) -> (Arc<Source>, Reader) {
    let data = matrix();
    let shape = [ROWS, ROW as u64];
    let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &shape, data: &data };
    let mut file = Vec::new();
    pack(&Staged::new(vec![tensor], None).unwrap(), &mut file, &PackOptions::new()).unwrap();
    let source = Arc::new(Source { bytes: file.into(), ..Source::default() });
    let options = OpenOptions::new().kept_len(kept_len);
    (source.clone(), Reader::new(Box::new(source), &options).unwrap())
}

fn row(reader: &Reader, row: u64) -> Vec<u8> {
    let slice: Slice = format!("{row}").parse().unwrap();
    reader.tensor("w").unwrap().read_slice(&slice).unwrap().1
}

#[test]
fn rows_of_one_chunk_are_read_once() {
    let (source, reader) = opened(16 << 20);
    let data = matrix();
    for n in [7, 8, 9, 300, 7, 511] {
        assert_eq!(row(&reader, n), data[n as usize * ROW..][..ROW], "{n}");
    }
    let read = source.read.load(Ordering::Relaxed);
    for n in 0..512 {
        assert_eq!(row(&reader, n), data[n as usize * ROW..][..ROW], "{n}");
    }
    assert_eq!(source.read.load(Ordering::Relaxed), read);
    // From two chunks, one of which is not there yet, and columns of a few rows.
    for slice in ["500:600", "500:600,3:9", "::3000,5"] {
        let slice: Slice = slice.parse().unwrap();
        let fresh = opened(0).1;
        let read = |reader: &Reader| reader.tensor("w").unwrap().read_slice(&slice).unwrap();
        assert_eq!(read(&reader), read(&fresh));
        assert_eq!(read(&reader), read(&fresh));
    }
    // Threads share them.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (reader, data) = (&reader, &data);
            scope.spawn(move || {
                for n in (thread..ROWS).step_by(97) {
                    assert_eq!(row(reader, n), data[n as usize * ROW..][..ROW], "{n}");
                }
            });
        }
    });
}

#[test]
fn nothing_is_kept_where_nobody_wants_it() {
    let (source, reader) = opened(0);
    row(&reader, 7);
    let read = source.read.load(Ordering::Relaxed);
    row(&reader, 8);
    assert!(source.read.load(Ordering::Relaxed) > read);
}

#[test]
fn a_file_that_is_replaced_gives_what_was_proven_or_fails() {
    let (source, reader) = opened(16 << 20);
    let data = matrix();
    let first = row(&reader, 7);
    source.bytes.lock().unwrap().iter_mut().for_each(|byte| *byte ^= 1);
    assert_eq!(row(&reader, 7), first);
    assert_eq!(row(&reader, 9), data[9 * ROW..][..ROW]);
    let slice: Slice = "3000".parse().unwrap();
    assert!(reader.tensor("w").unwrap().read_slice(&slice).is_err());
}
