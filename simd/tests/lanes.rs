//! Every back-end against the scalar reference, and the scalar reference against the definition of
//! the lanes.

mod common;

use at1w_simd::lanes::{
    CodingTable, Exhausted, Input, MAX_SYMBOLS, START, decode, decode_float16, encode, escaped,
};
use at1w_simd::planes::{Layout, merge};
use at1w_simd::{Backend, Isa};
use common::{available, noise, random};
use proptest::prelude::*;

/// The byte that no test may overwrite, on both sides of a destination.
const CANARY: u8 = 0xa5;

/// Longer than any vector.
const MARGIN: usize = 128;

/// Numbers of lanes that have kernels, and others.
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

/// A coded plane.
#[derive(Clone, Debug, PartialEq)]
struct Code {
    states: Vec<u16>,
    stream: Vec<u8>,
    escaped: Vec<u8>,
}

/// The end of decoding one.
type Decoded = Result<Output, Exhausted>;

#[derive(Debug, PartialEq)]
struct Output {
    symbols: Vec<u8>,
    states: Vec<u16>,
    /// Bytes of the stream and escaped symbols that are left.
    left: (usize, usize),
}

/// `room` is how many bytes more than needed the stream has.
fn encode_at(
    backend: Backend,
    table: &CodingTable,
    symbols: &[u8],
    lanes: usize,
    room: usize,
    offset: usize,
) -> Code {
    let mut states = vec![0; lanes];
    let (used, stream) = guarded(symbols.len() + room, offset, |stream| {
        encode(backend, table, symbols, &mut states, stream)
    });
    let stream = stream[stream.len() - used..].to_vec();
    let mut symbols_escaped = Vec::new();
    if table.has_escape() {
        let (count, copied) =
            guarded(symbols.len() + 64 + room, offset, |out| escaped(backend, table, symbols, out));
        symbols_escaped.extend(&copied[..count]);
    }
    Code { states, stream, escaped: symbols_escaped }
}

/// Decodes `n` symbols in pieces of so many rounds.
fn decode_at(
    backend: Backend,
    table: &CodingTable,
    code: &Code,
    (n, rounds): (usize, usize),
    offset: usize,
) -> Decoded {
    decode_pieces(code, (n, rounds), 1, offset, |states, input, _, out| {
        decode(backend, table, states, input, out)
    })
}

/// Drives `decode` over `n` symbols and the words of `width` bytes that they make.
fn decode_pieces(
    code: &Code,
    (n, rounds): (usize, usize),
    width: usize,
    offset: usize,
    decode: impl Fn(&mut [u16], &mut Input<'_>, usize, &mut [u8]) -> Result<(), Exhausted>,
) -> Decoded {
    let mut states = code.states.clone();
    let (stream, stream_range) = placed(&code.stream, offset / 3);
    let (escaped, escaped_range) = placed(&code.escaped, offset / 2);
    let mut input = Input { stream: &stream[stream_range], escaped: &escaped[escaped_range] };
    let piece = rounds * states.len();
    let (result, symbols) = guarded(width * n, offset, |out| {
        out.chunks_mut(width * piece)
            .enumerate()
            .try_for_each(|(i, out)| decode(&mut states, &mut input, i * piece, out))
    });
    result?;
    Ok(Output { symbols, states, left: (input.stream.len(), input.escaped.len()) })
}

/// Decoding `code`, be it right or wrong.
fn decodes_alike(backend: Backend, table: &CodingTable, code: &Code, n: usize, offset: usize) {
    let whole = (n, n + 1);
    let reference = decode_at(Backend::SCALAR, table, code, whole, 0);
    let what = || {
        let Code { states, stream, escaped } = code;
        let (lanes, bytes, escapes) = (states.len(), stream.len(), escaped.len());
        format!("{lanes} lanes, {n} symbols from {bytes} bytes and {escapes} escaped ones")
    };
    for rounds in [n + 1, 1, 3] {
        let ours = decode_at(backend, table, code, (n, rounds), offset);
        assert!(same(&ours, &reference, rounds > n), "{}, by {rounds} rounds", what());
    }

    // The merge of what was decoded is what decoding merged gives.
    let low = noise(n as u64, n);
    let (low_bytes, low_range) = placed(&low, offset / 5);
    let low_bytes = &low_bytes[low_range];
    for rounds in [n + 1, 2] {
        let words = decode_pieces(code, (n, rounds), 2, offset, |states, input, at, out| {
            let low = &low_bytes[at..][..out.len() / 2];
            decode_float16(backend, table, states, input, low, out)
        });
        let merged = reference.as_ref().map_err(|&e| e).map(|reference| {
            let mut words = vec![0; 2 * n];
            let planes = [&low[..], &reference.symbols[..]];
            merge(Backend::SCALAR, Layout::FLOAT16, &planes, &mut words);
            Output { symbols: words, states: reference.states.clone(), left: reference.left }
        });
        assert!(same(&words, &merged, rounds > n), "{} into words, by {rounds} rounds", what());
    }
}

/// Whether two decodings end alike. By pieces, escaped symbols may run out in one before the stream
/// does in another.
fn same(a: &Decoded, b: &Decoded, whole: bool) -> bool {
    a == b || !whole && a.is_err() && b.is_err()
}

/// Encoding `symbols`, and decoding that from the right stream, a longer and a shorter one.
fn agrees(backend: Backend, table: &CodingTable, symbols: &[u8], lanes: usize, offset: usize) {
    let n = symbols.len();
    let reference = encode_at(Backend::SCALAR, table, symbols, lanes, 0, 0);
    for room in [0, 1, 200] {
        let ours = encode_at(backend, table, symbols, lanes, room, offset);
        assert!(ours == reference, "encoding {n} symbols, {lanes} lanes");
    }
    let mut code = reference;
    decodes_alike(backend, table, &code, n, offset);
    if let Some(last) = code.stream.pop() {
        decodes_alike(backend, table, &code, n, offset);
        code.stream.push(last);
    }
    if code.escaped.pop().is_some() {
        decodes_alike(backend, table, &code, n, offset);
    }
    code.stream.extend(noise(offset as u64, 1 + 3 * offset));
    code.escaped.extend([1, 2]);
    decodes_alike(backend, table, &code, n, offset);
}

/// Symbols of `table` as often as it says, and now and then one that it may not list.
fn draw(table: &CodingTable, seed: u64, len: usize) -> Vec<u8> {
    let mut listed: Vec<u8> = (table.symbols().iter().zip(table.freqs()))
        .flat_map(|(&s, &f)| std::iter::repeat_n(s, f.into()))
        .collect();
    if listed.is_empty() {
        listed.push(0);
    }
    let mut next = random(seed);
    (0..len)
        .map(|_| match next() {
            r if r % 97 == 0 => (r >> 8) as u8,
            r => listed[(r >> 8) as usize % listed.len()],
        })
        .collect()
}

/// A table of `len` entries, an escape among them or not; the greater `skew`, the fewer of them
/// share most of the slots.
fn table(len: usize, escape: bool, skew: u32, seed: u64) -> CodingTable {
    let mut next = random(seed);
    let mut symbols: Vec<u8> = Vec::new();
    while symbols.len() < len - usize::from(escape) {
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
    CodingTable::new(&symbols, &freqs).expect("frequencies that add up")
}

/// One entry that has all slots, all but one, as few as it can; and all entries alike; in tables of
/// one row and of two; with and without an escape.
fn extremes() -> Vec<CodingTable> {
    let symbols: Vec<u8> = (100..132).collect();
    let mut skewed = [1; 16];
    skewed[7] = 241;
    let mut wide = [1; 32];
    wide[21] = 225;
    [
        CodingTable::new(&[7], &[256]),
        CodingTable::new(&[7, 9], &[255, 1]),
        CodingTable::new(&[9, 7], &[1, 255]),
        CodingTable::new(&[1, 2, 3], &[127, 128, 1]),
        CodingTable::new(&symbols[..16], &skewed),
        CodingTable::new(&symbols[..16], &[16; 16]),
        CodingTable::new(&symbols, &wide),
        CodingTable::new(&symbols, &[8; 32]),
        CodingTable::new(&[], &[256]),
        CodingTable::new(&[7], &[255, 1]),
        CodingTable::new(&[7], &[1, 255]),
        CodingTable::new(&symbols[..15], &skewed),
        CodingTable::new(&symbols[1..], &wide),
    ]
    .map(Option::unwrap)
    .to_vec()
}

fn tables() -> impl Strategy<Value = CodingTable> {
    (1..=MAX_SYMBOLS, any::<bool>(), 0..8_u32, any::<u64>())
        .prop_map(|(len, escape, skew, seed)| table(len, escape, skew, seed))
}

macro_rules! suite {
    ($($name:ident: $isa:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn short_planes_agree_with_the_scalar_reference() {
                let Some(backend) = available($isa) else { return };
                for (i, table) in extremes().iter().enumerate() {
                    let symbols = draw(table, i as u64, 300);
                    for lanes in LANES {
                        for n in 0..=300 {
                            agrees(backend, table, &symbols[..n], lanes, n % 7);
                        }
                    }
                }
            }

            #[test]
            fn long_planes_agree_with_the_scalar_reference() {
                let Some(backend) = available($isa) else { return };
                let lanes = prop::sample::select(LANES.to_vec());
                proptest!(|(
                    table in tables(),
                    lanes in lanes,
                    n in 0..20_000_usize,
                    seed in any::<u64>(),
                    offset in 0..MARGIN,
                )| {
                    agrees(backend, &table, &draw(&table, seed, n), lanes, offset);
                });
            }

            #[test]
            fn streams_cut_anywhere_agree_with_the_scalar_reference() {
                let Some(backend) = available($isa) else { return };
                for (i, table) in extremes().iter().enumerate() {
                    for lanes in [5, 64, 128, 256] {
                        for n in [lanes, 3 * lanes + 1, 1000] {
                            let symbols = draw(table, i as u64, n);
                            let mut code =
                                encode_at(Backend::SCALAR, table, &symbols, lanes, 0, 0);
                            decodes_alike(backend, table, &code, n, 0);
                            while code.stream.pop().is_some() {
                                decodes_alike(backend, table, &code, n, code.stream.len() % 5);
                            }
                        }
                    }
                }
            }

            #[test]
            fn noise_decodes_as_with_the_scalar_reference() {
                let Some(backend) = available($isa) else { return };
                let lanes = prop::sample::select(LANES.to_vec());
                proptest!(ProptestConfig::with_cases(1000), |(
                    table in tables(),
                    lanes in lanes,
                    n in 0..3000_usize,
                    len in 0..3000_usize,
                    escaped in prop::collection::vec(any::<u8>(), 0..500),
                    small in any::<bool>(),
                    seed in any::<u64>(),
                    offset in 0..MARGIN,
                )| {
                    let mut next = random(seed);
                    // Also states that no encoder makes, and that take bytes at once.
                    let mask = if small { 0x1ff } else { 0xffff };
                    let states: Vec<_> = (0..lanes).map(|_| next() as u16 & mask).collect();
                    let stream = noise(seed ^ 1, len);
                    let code = Code { states, stream, escaped };
                    decodes_alike(backend, &table, &code, n, offset);
                });
            }
        }
    )*};
}

suite! {
    scalar: Isa::Scalar;
    avx2: Isa::Avx2;
    avx512: Isa::Avx512;
    neon: Isa::Neon;
}

/// Decodes as the module is documented, symbol by symbol.
fn defined(table: &CodingTable, code: &Code, n: usize) -> Option<Vec<u8>> {
    let mut states: Vec<u32> = code.states.iter().map(|&x| x.into()).collect();
    let mut bytes = code.stream.iter();
    let mut escaped = code.escaped.iter();
    let lanes = states.len();
    (0..n)
        .map(|i| {
            let x = &mut states[i % lanes];
            let slot = *x % 256;
            let mut start = 0;
            let (rank, freq) =
                table.freqs().iter().map(|&f| u32::from(f)).enumerate().find(|&(_, f)| {
                    start += f;
                    slot < start
                })?;
            start -= freq;
            *x = freq * (*x / 256) + slot - start;
            if *x < 256 {
                *x = 256 * *x + u32::from(*bytes.next()?);
            }
            table.symbols().get(rank).or_else(|| escaped.next()).copied()
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
        cut_escapes in 0..2_usize,
        seed in any::<u64>(),
    ) {
        let symbols = draw(&table, seed, n);
        let mut code = encode_at(Backend::SCALAR, &table, &symbols, lanes, 0, 0);
        let whole = (n, n + 1);
        let decoded = decode_at(Backend::SCALAR, &table, &code, whole, 0).expect("a whole stream");
        prop_assert_eq!(decoded.left, (0, 0));
        prop_assert!(decoded.states.iter().all(|&x| x == START));
        if table.has_escape() || symbols.iter().all(|s| table.symbols().contains(s)) {
            prop_assert!(decoded.symbols == symbols);
        }

        code.stream.truncate(code.stream.len().saturating_sub(cut));
        code.escaped.truncate(code.escaped.len().saturating_sub(cut_escapes));
        let decoded = decode_at(Backend::SCALAR, &table, &code, whole, 0).ok().map(|d| d.symbols);
        prop_assert!(decoded == defined(&table, &code, n));
    }
}

#[test]
fn tables_have_at_most_32_entries() {
    let symbols: Vec<u8> = (0..33).collect();
    assert_eq!(MAX_SYMBOLS, 32);
    assert!(CodingTable::new(&symbols[..32], &[8; 32]).is_some());
    assert!(CodingTable::new(&symbols[..31], &[8; 32]).is_some(), "an escape among them");
    let mut freqs = [7; 33];
    freqs[0] = 32;
    assert!(CodingTable::new(&symbols, &freqs).is_none());
    assert!(CodingTable::new(&symbols[..32], &freqs).is_none(), "an escape beyond them");
}

#[test]
#[should_panic(expected = "a byte per symbol")]
fn encode_refuses_a_short_stream() {
    encode(Backend::best(), &table(2, false, 0, 0), &[0; 8], &mut [0; 64], &mut [0; 7]);
}

#[test]
#[should_panic(expected = "room for every symbol")]
fn escaped_refuses_a_short_output() {
    escaped(Backend::best(), &table(2, true, 0, 0), &[0; 8], &mut [0; 71]);
}

#[test]
#[should_panic(expected = "a word for each low byte")]
fn words_need_a_low_byte_each() {
    let mut input = Input { stream: &[], escaped: &[] };
    let table = table(2, false, 0, 0);
    let states = &mut [START; 64];
    let _ = decode_float16(Backend::best(), &table, states, &mut input, &[0; 3], &mut [0; 8]);
}
