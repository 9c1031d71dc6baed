//! Every back-end against the scalar twin, and the scalar twin against the definition of the
//! lanes.

use at1w_simd::Backend;
use at1w_simd::lanes::{
    Exhausted, Input, START, Table, decode, decode_float16_with, decode_with, encode, encode_with,
    escaped_with,
};
use at1w_simd::planes::{Layout, merge_with};
use proptest::prelude::*;

/// What no test may overwrite, on both sides of a destination.
const CANARY: u8 = 0xa5;

/// Longer than any vector.
const MARGIN: usize = 128;

/// Those that have kernels, and others.
const LANES: [usize; 8] = [1, 3, 63, 64, 65, 128, 200, 256];

/// Runs `f` on a destination of `len` bytes that starts `offset` bytes after a 128-byte boundary,
/// and checks that nothing around it changed.
fn guarded<T>(len: usize, offset: usize, f: impl FnOnce(&mut [u8]) -> T) -> (T, Vec<u8>) {
    let mut buffer = vec![CANARY; 2 * MARGIN + offset + len + MARGIN];
    let start = MARGIN + buffer[MARGIN..].as_ptr().align_offset(MARGIN) + offset;
    let (before, rest) = buffer.split_at_mut(start);
    let (destination, after) = rest.split_at_mut(len);
    let result = f(destination);
    assert!(before.iter().all(|&b| b == CANARY), "wrote before");
    assert!(after.iter().all(|&b| b == CANARY), "wrote after");
    (result, destination.to_vec())
}

/// A copy of `bytes` at `offset` bytes after a 128-byte boundary, and the range of it.
fn placed(bytes: &[u8], offset: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    let mut buffer = vec![CANARY; MARGIN + offset + bytes.len()];
    let start = buffer.as_ptr().align_offset(MARGIN) + offset;
    let range = start..start + bytes.len();
    buffer[range.clone()].copy_from_slice(bytes);
    (buffer, range)
}

/// The states and the stream.
type Code = (Vec<u16>, Vec<u8>);

/// `room` is how many bytes more than needed the stream has.
fn encode_at(
    backend: Backend,
    table: &Table,
    symbols: &[u8],
    lanes: usize,
    room: usize,
    offset: usize,
) -> Code {
    let mut states = vec![0; lanes];
    let (used, stream) = guarded(symbols.len() + room, offset, |stream| {
        encode_with(backend, table, symbols, &mut states, stream)
    });
    (states, stream[stream.len() - used..].to_vec())
}

/// The bytes read, the symbols and the states after them.
fn decode_at(
    backend: Backend,
    table: &Table,
    (states, stream): (&[u16], &[u8]),
    n: usize,
    offset: usize,
) -> Option<(usize, Vec<u8>, Vec<u16>)> {
    let mut states = states.to_vec();
    let (buffer, range) = placed(stream, offset / 3);
    let (read, out) =
        guarded(n, offset, |out| decode_with(backend, table, &mut states, &buffer[range], out));
    Some((read?, out, states))
}

/// Decoding `code`, be it right or wrong.
fn decodes_alike(backend: Backend, table: &Table, code: (&[u16], &[u8]), n: usize, offset: usize) {
    let twin = decode_at(Backend::Scalar, table, code, n, 0);
    let ours = decode_at(backend, table, code, n, offset);
    assert!(
        ours == twin,
        "{} lanes, {n} symbols from {} bytes: read {:?} instead of {:?}",
        code.0.len(),
        code.1.len(),
        ours.map(|o| o.0),
        twin.map(|t| t.0),
    );
}

/// Encoding `symbols`, and decoding that from the right stream, a longer and a shorter one.
fn agrees(backend: Backend, table: &Table, symbols: &[u8], lanes: usize, offset: usize) {
    let n = symbols.len();
    let twin = encode_at(Backend::Scalar, table, symbols, lanes, 0, 0);
    for room in [0, 1, 200] {
        let ours = encode_at(backend, table, symbols, lanes, room, offset);
        assert!(ours == twin, "encoding {n} symbols, {lanes} lanes");
    }
    let (states, mut stream) = twin;
    decodes_alike(backend, table, (&states, &stream), n, offset);
    if let Some((_, short)) = stream.split_last() {
        decodes_alike(backend, table, (&states, short), n, offset);
    }
    stream.extend(noise(offset as u64, 1 + 3 * offset));
    decodes_alike(backend, table, (&states, &stream), n, offset);
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut next = random(seed);
    (0..len).map(|_| next() as u8).collect()
}

/// Symbols of `table` as often as it says, and now and then one that it may not list.
fn draw(table: &Table, seed: u64, len: usize) -> Vec<u8> {
    let listed: Vec<u8> = table
        .symbols()
        .zip(table.freqs())
        .flat_map(|(s, f)| std::iter::repeat_n(s, f.into()))
        .collect();
    let mut next = random(seed);
    (0..len)
        .map(|_| match next() {
            r if r % 97 == 0 => (r >> 8) as u8,
            r => listed[(r >> 8) as usize % listed.len()],
        })
        .collect()
}

/// A table of `len` entries; the greater `skew`, the fewer of them share most of the slots.
fn table(len: usize, skew: u32, seed: u64) -> Table {
    let mut next = random(seed);
    let mut symbols: Vec<u8> = Vec::new();
    while symbols.len() < len {
        let symbol = next() as u8;
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    let mut freqs = vec![1; len];
    for _ in len..256 {
        let rank = (0..=skew).map(|_| next() as usize % len).min();
        freqs[rank.expect("at least one")] += 1;
    }
    Table::new(&symbols, &freqs).expect("frequencies that add up")
}

/// One entry that has all slots, all but one, all but fifteen; and all entries alike.
fn extremes() -> Vec<Table> {
    let symbols: Vec<u8> = (100..116).collect();
    let mut skewed = [1; 16];
    skewed[7] = 241;
    [
        Table::new(&[7], &[256]),
        Table::new(&[7, 9], &[255, 1]),
        Table::new(&[9, 7], &[1, 255]),
        Table::new(&[1, 2, 3], &[127, 128, 1]),
        Table::new(&symbols, &skewed),
        Table::new(&symbols, &[16; 16]),
    ]
    .map(Option::unwrap)
    .to_vec()
}

fn tables() -> impl Strategy<Value = Table> {
    (1..=16_usize, 0..8_u32, any::<u64>()).prop_map(|(len, skew, seed)| table(len, skew, seed))
}

macro_rules! suite {
    ($($name:ident: $backend:expr;)*) => {$(
        mod $name {
            use super::*;

            fn available() -> bool {
                let there = $backend.is_available();
                if !there {
                    eprintln!("skipped: this machine lacks {}", $backend);
                }
                there
            }

            #[test]
            fn short_planes_agree_with_the_scalar_twin() {
                if !available() {
                    return;
                }
                for (i, table) in extremes().iter().enumerate() {
                    let symbols = draw(table, i as u64, 300);
                    for lanes in LANES {
                        for n in 0..=300 {
                            agrees($backend, table, &symbols[..n], lanes, n % 7);
                        }
                    }
                }
            }

            #[test]
            fn long_planes_agree_with_the_scalar_twin() {
                if !available() {
                    return;
                }
                let lanes = prop::sample::select(LANES.to_vec());
                proptest!(|(
                    table in tables(),
                    lanes in lanes,
                    n in 0..20_000_usize,
                    seed in any::<u64>(),
                    offset in 0..MARGIN,
                )| {
                    agrees($backend, &table, &draw(&table, seed, n), lanes, offset);
                });
            }

            #[test]
            fn streams_cut_anywhere_agree_with_the_scalar_twin() {
                if !available() {
                    return;
                }
                for (i, table) in extremes().iter().enumerate() {
                    for lanes in [5, 64, 128, 256] {
                        for n in [lanes, 3 * lanes + 1, 1000] {
                            let symbols = draw(table, i as u64, n);
                            let (states, stream) =
                                encode_at(Backend::Scalar, table, &symbols, lanes, 0, 0);
                            for cut in 0..=stream.len() {
                                let code = (&states[..], &stream[..cut]);
                                decodes_alike($backend, table, code, n, cut % 5);
                            }
                        }
                    }
                }
            }

            #[test]
            fn noise_decodes_as_with_the_scalar_twin() {
                if !available() {
                    return;
                }
                let lanes = prop::sample::select(LANES.to_vec());
                proptest!(ProptestConfig::with_cases(1000), |(
                    table in tables(),
                    lanes in lanes,
                    n in 0..3000_usize,
                    len in 0..3000_usize,
                    small in any::<bool>(),
                    seed in any::<u64>(),
                    offset in 0..MARGIN,
                )| {
                    let mut next = random(seed);
                    // Also states that no encoder makes, and that take bytes at once.
                    let mask = if small { 0x1ff } else { 0xffff };
                    let states: Vec<_> = (0..lanes).map(|_| next() as u16 & mask).collect();
                    let stream = noise(seed ^ 1, len);
                    decodes_alike($backend, &table, (&states, &stream), n, offset);
                });
            }

            #[test]
            fn refused_where_it_is_not_available() {
                if $backend.is_available() {
                    return;
                }
                let table = &extremes()[0];
                let encode = || encode_with($backend, table, &[], &mut [START], &mut []);
                assert!(std::panic::catch_unwind(encode).is_err());
                let decode = || decode_with($backend, table, &mut [START], &[], &mut []);
                assert!(std::panic::catch_unwind(decode).is_err());
            }
        }
    )*};
}

suite! {
    scalar: Backend::Scalar;
    avx2: Backend::Avx2;
    avx512: Backend::Avx512;
    neon: Backend::Neon;
}

/// As `docs/FORMAT.md` has it, symbol by symbol.
fn defined(table: &Table, (states, stream): (&[u16], &[u8]), n: usize) -> Option<Vec<u8>> {
    let mut states: Vec<u32> = states.iter().map(|&x| x.into()).collect();
    let mut bytes = stream.iter();
    let lanes = states.len();
    (0..n)
        .map(|i| {
            let x = &mut states[i % lanes];
            let slot = *x % 256;
            let mut start = 0;
            let (symbol, freq) =
                table.symbols().zip(table.freqs().map(u32::from)).find(|&(_, f)| {
                    start += f;
                    slot < start
                })?;
            start -= freq;
            *x = freq * (*x / 256) + slot - start;
            if *x < 256 {
                *x = 256 * *x + u32::from(*bytes.next()?);
            }
            Some(symbol)
        })
        .collect()
}

proptest! {
    #[test]
    fn scalar_is_as_defined(
        table in tables(),
        lanes in 1..300_usize,
        n in 0..3000_usize,
        cut in 0..10_usize,
        seed in any::<u64>(),
    ) {
        let symbols = draw(&table, seed, n);
        let (states, stream) = encode_at(Backend::Scalar, &table, &symbols, lanes, 0, 0);
        let (read, out, end) =
            decode_at(Backend::Scalar, &table, (&states, &stream), n, 0).expect("a whole stream");
        prop_assert_eq!(read, stream.len());
        prop_assert!(end.iter().all(|&x| x == START));
        let entries: Vec<_> = table.symbols().collect();
        let listed: Vec<_> = symbols.iter().map(|&s| entries[table.rank(s)]).collect();
        prop_assert!(out == listed);

        let stream = &stream[..stream.len().saturating_sub(cut)];
        let decoded = decode_at(Backend::Scalar, &table, (&states, stream), n, 0).map(|d| d.1);
        prop_assert!(decoded == defined(&table, (&states, stream), n));
    }
}

#[test]
fn the_active_back_end_makes_a_round_trip() {
    let table = table(13, 2, 1);
    let symbols: Vec<_> = draw(&table, 2, 5000);
    let entries: Vec<_> = table.symbols().collect();
    let symbols: Vec<_> = symbols.iter().map(|&s| entries[table.rank(s)]).collect();
    let (mut states, mut stream, mut out) = ([0; 256], [0; 5000], [0; 5000]);
    let used = encode(&table, &symbols, &mut states, &mut stream);
    let stream = &stream[5000 - used..];
    assert_eq!(decode(&table, &mut states, stream, &mut out), Some(used));
    assert_eq!(out, *symbols);
    assert_eq!(states, [START; 256]);
}

#[test]
#[should_panic(expected = "a byte per symbol")]
fn encode_refuses_a_short_stream() {
    encode(&table(2, 0, 0), &[0; 8], &mut [0; 64], &mut [0; 7]);
}
