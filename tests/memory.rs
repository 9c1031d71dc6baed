//! Checks how much a hostile file can make its reader allocate. Runs alone in its process, because
//! it counts the allocations of all threads.

use at1w_codec::Dtype;
use at1w_container::{Error, Limits, OpenOptions, Reader};
use at1w_tests::fuzzing::seal;
use at1w_tests::{Random, Tensor, packed, safetensors};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Returns the peak of bytes allocated during `work`, beyond those allocated before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

fn open_with(file: &[u8], limits: Limits) -> (Result<Reader, Error>, usize) {
    let source = Box::new(file.to_vec());
    peak(|| Reader::new(source, &OpenOptions::new().limits(limits)))
}

/// Makes a file with this header and no tensors, deflated no more than 64 times.
fn with_deflated(header: &[u8]) -> Vec<u8> {
    let deflated = miniz_oxide::deflate::compress_to_vec(header, 9);
    // Empty blocks are allowed before the others.
    let padding = (header.len() / 64 + 1).saturating_sub(deflated.len()).div_ceil(5);
    let stored = [&[0, 0, 0, 0xff, 0xff].repeat(padding)[..], &deflated].concat();
    let mut file = b"at1w\r\n\x1a\n".to_vec();
    file.extend(&stored);
    let mut trailer = [0; 176];
    trailer[..8].copy_from_slice(&8u64.to_le_bytes());
    trailer[16..24].copy_from_slice(&(stored.len() as u64).to_le_bytes());
    trailer[24..32].copy_from_slice(&(header.len() as u64).to_le_bytes());
    trailer[96..104].copy_from_slice(&(8 + header.len() as u64).to_le_bytes());
    trailer[152] = 1;
    trailer[156] = 1;
    trailer[168..].copy_from_slice(b"\nat1wEND");
    file.extend(trailer);
    seal(&mut file);
    file
}

/// Makes headers of about `len` bytes that need more memory for a byte than others.
fn hostile_headers(len: usize) -> Vec<String> {
    let repeat = |text: &str| text.repeat(len / text.len());
    vec![
        format!(r#"{{"__metadata__":{{{}"":""}}}}"#, repeat(r#""":"","#)),
        format!(r#"{{"t":{{"dtype":"U8","shape":[{}0],"data_offsets":[0,0]}}}}"#, repeat("0,")),
        format!(r#"{{"t":{{"dtype":"U8","shape":[{}9],"data_offsets":[0,0]}}}}"#, repeat("9,")),
        format!(r#"{{{}"":["Q",[],[0,0]]}}"#, repeat(r#""":["Q",[],[0,0]],"#)),
        format!(r#"{{"{}":["Q",[],[0,0]]}}"#, repeat("n")),
        format!(r#"{{"t":{{"x":{}"#, repeat("[")),
        format!(r#"{{"t":{{"x":{}"#, repeat(r#"{"":"#)),
    ]
}

#[test]
fn hostile_files_allocate_within_bounds() {
    opening_a_kibibyte();
    opening_more();
    decoding_stays_within_the_limit();
    verifying_what_is_shared();
    models_of_many_tensors();
}

fn opening_a_kibibyte() {
    let mut most = 0;
    let mut try_open = |file: &[u8]| {
        assert!(file.len() <= 1024, "{}", file.len());
        most = most.max(open_with(file, Limits::default()).1);
    };
    for header in hostile_headers(44_000) {
        try_open(&with_deflated(header.as_bytes()));
    }
    // Numbers of the trailer ask for any amount.
    let intact = packed(&safetensors(&[Tensor::new("t", Dtype::U8, &[3], vec![1; 3])])).unwrap();
    let trailer = intact.len() - 176;
    let mut random = Random::new(5);
    for _ in 0..3000 {
        let mut file = intact.clone();
        let field = *[0, 8, 16, 24, 96].get(random.bits() as usize % 5).unwrap();
        let number = random.bits() >> (random.bits() % 64);
        file[trailer + field..][..8].copy_from_slice(&number.to_le_bytes());
        seal(&mut file);
        try_open(&file);
    }
    println!("opening files of 1 KiB: at most {most} bytes");
    assert!(most <= 4 * MIB);
}

fn opening_more() {
    let mut most = 0.0f64;
    for header in hostile_headers(4 * MIB) {
        let file = with_deflated(header.as_bytes());
        let (_, allocated) = open_with(&file, Limits::default());
        most = most.max(allocated as f64 / header.len() as f64);
        // The limit counts the header at its inflated size.
        let limits = Limits::default().index_len(2 * MIB as u64);
        let (opened, allocated) = open_with(&file, limits);
        assert!(matches!(opened, Err(Error::Limit { .. })));
        assert!(allocated < MIB / 4);
    }
    println!("opening files with a header of 4 MiB: at most {most:.1} times that");
    // `Limits::index_len` documents this.
    assert!(most <= 32.0);
}

fn decoding_stays_within_the_limit() {
    let data = vec![7; 64 * MIB];
    let original = safetensors(&[Tensor::new("t", Dtype::U8, &[64, MIB as u64], data)]);
    let file = packed(&original).unwrap();
    drop(original);
    assert!(file.len() < 8192, "64 MiB of one value take {} bytes", file.len());
    let limits = Limits::default().tensor_len(2 * MIB as u64);
    let reader = open_with(&file, limits).0.unwrap();
    let tensor = reader.tensor("t").unwrap();
    let (read, allocated) = peak(|| tensor.read_to_vec());
    assert!(matches!(read, Err(Error::Limit { .. })) && allocated < MIB);
    assert!(matches!(reader.read_original(0..3 * MIB as u64), Err(Error::Limit { .. })));
    let (read, allocated) = peak(|| tensor.read_slice(&"0:1".parse().unwrap()));
    assert_eq!(read.unwrap().1.len(), MIB);
    println!("reading a slice of 1 MiB from a file of {} bytes: {allocated} bytes", file.len());
    assert!(allocated < 16 * MIB);
    let limits = Limits::default().original_len(MIB as u64);
    assert!(matches!(open_with(&file, limits).0, Err(Error::Limit { .. })));
}

fn verifying_what_is_shared() {
    let first = Tensor::new("first", Dtype::U8, &[8, MIB as u64], vec![7; 8 * MIB]);
    let twins = (0..8).map(|i| Tensor { name: format!("twin.{i}"), ..first.clone() });
    let tensors: Vec<_> = std::iter::once(first.clone()).chain(twins).collect();
    let file = packed(&safetensors(&tensors)).unwrap();
    drop(tensors);
    let reader = open_with(&file, Limits::default()).0.unwrap();
    let (verified, allocated) = peak(|| reader.verify(&()));
    verified.unwrap();
    println!("verifying 72 MiB of a file of {} bytes: {allocated} bytes", file.len());
    assert!(allocated < 32 * MIB);
}

/// Makes tensors that take little, and a table or two in memory.
fn models_of_many_tensors() {
    let mut random = Random::new(8);
    let data: Vec<u8> = (0..1000).map(|_| (random.bits() & random.bits() & 15) as u8).collect();
    let tensors: Vec<_> = (0..10_000)
        .map(|i| {
            let mut data = data.clone();
            data[..2].copy_from_slice(&u16::to_le_bytes(i));
            Tensor::new(&i.to_string(), Dtype::U8, &[1000], data)
        })
        .collect();
    let original = safetensors(&tensors);
    let file = packed(&original).unwrap();
    let reader = open_with(&file, Limits::default()).0.unwrap();
    assert_ne!(reader.tensor("7").unwrap().model().unwrap().to_string(), "none");
    let (verified, allocated) = peak(|| reader.verify_original(&()));
    verified.unwrap();
    println!("restoring 10,000 tensors of 1,000 bytes with a model each: {allocated} bytes");
    assert!(allocated < 16 * MIB);
}
