//! Runs kernels on any input, and checks that every back-end gives the result of the scalar
//! reference.

use arbitrary::{Result, Unstructured};
use at1w_simd::planes::{self, Layout};
use at1w_simd::prediction::{self, ROWS};
use at1w_simd::scale::{self, Offsets, Rows};
use at1w_simd::{
    Backend, alias, byte_contexts, contexts, histogram, huffman, lanes, packing, sha256,
};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=10)? {
        0 => planes(u),
        1 => lanes(u),
        2 => huffman(u),
        3 => packing(u),
        4 => scale(u),
        5 => digests(u),
        6 => contexts(u),
        7 => values(u),
        8 => alias(u),
        9 => byte_contexts(u),
        _ => histogram(u),
    }
}

/// Runs a kernel on every back-end.
fn all_equal<T: PartialEq>(kernel: impl Fn(Backend) -> T) {
    let expected = kernel(Backend::SCALAR);
    for backend in Backend::available() {
        assert!(kernel(backend) == expected, "{backend} differs");
    }
}

fn rest<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    u.bytes(u.len())
}

fn planes(u: &mut Unstructured<'_>) -> Result<()> {
    let layout = *u.choose(&Layout::ALL)?;
    let bytes = rest(u)?;
    let words = &bytes[..bytes.len() / layout.width() * layout.width()];
    let split = |backend| {
        let mut planes = vec![0; words.len()];
        planes::split(backend, layout, words, &mut planes);
        planes
    };
    all_equal(split);
    let planes = split(Backend::SCALAR);
    let n = (words.len() / layout.width()).max(1);
    let planes: Vec<&[u8]> = planes.chunks(n).collect();
    for backend in Backend::available().filter(|_| !words.is_empty()) {
        let mut merged = vec![0; words.len()];
        planes::merge(backend, layout, &planes, &mut merged);
        assert!(merged == words);
    }
    Ok(())
}

fn lanes(u: &mut Unstructured<'_>) -> Result<()> {
    let listed = u.int_in_range(1..=lanes::MAX_SYMBOLS)?;
    let escape: bool = u.arbitrary()?;
    let step = u.int_in_range(1..=7u8)?;
    let symbols: Vec<u8> = (0..listed).map(|i| i as u8 * step + 3).collect();
    let symbols = &symbols[..listed - usize::from(escape)];
    let mut freqs = vec![1u16; listed];
    for _ in listed..256 {
        let at = usize::from(u.arbitrary::<u8>()?) % listed;
        freqs[at] += 1;
    }
    let Some(table) = lanes::CodingTable::new(symbols, &freqs) else { return Ok(()) };
    let count = *u.choose(&[64, 128, 256, 1, 65])?;
    let states: Vec<u16> = (0..count).map(|_| u.arbitrary()).collect::<Result<_>>()?;
    let mut out = vec![0; u.int_in_range(0..=2000)?];
    let escaped = u.bytes(u.len() / 4)?;
    let stream = rest(u)?;
    all_equal(|backend| {
        let (mut states, mut out) = (states.clone(), out.clone());
        let mut input = lanes::Input { stream, escaped };
        let done = lanes::decode(backend, &table, &mut states, &mut input, &mut out);
        // The output after a failure is not specified.
        done.map(|()| (states, out, input.stream.len(), input.escaped.len()))
    });
    out.fill(0);
    all_equal(|backend| {
        let (mut states, mut out) = (states.clone(), vec![0; stream.len()]);
        let used = lanes::encode(backend, &table, stream, &mut states, &mut out);
        (states, out.split_off(stream.len() - used))
    });
    Ok(())
}

/// Makes canonical codes of complete lengths: leaves of a tree that is split at random.
fn codes(u: &mut Unstructured<'_>) -> Result<huffman::Codes> {
    let mut lengths = vec![0u8];
    for _ in 0..u.int_in_range(1..=255)? {
        let at = usize::from(u.arbitrary::<u8>()?) % lengths.len();
        if u32::from(lengths[at]) < huffman::MAX_BITS {
            lengths[at] += 1;
            lengths.push(lengths[at]);
        }
    }
    let mut codes = [0; 256];
    let mut code = 0u16;
    for length in 1..=huffman::MAX_BITS as u16 {
        for symbol in (0..lengths.len()).filter(|&s| u16::from(lengths[s]) == length) {
            codes[symbol] = code << 4 | length;
            code += 1;
        }
        code <<= 1;
    }
    Ok(codes)
}

fn huffman(u: &mut Unstructured<'_>) -> Result<()> {
    let codes = codes(u)?;
    let Some(slots) = huffman::Slots::new(&codes) else { return Ok(()) };
    let lens: [usize; 4] = [0; 4].map(|_| u.int_in_range(0..=500).unwrap_or(0));
    let streams = [0; 4].map(|_| u.bytes(u.len() / 5).unwrap_or(&[]));
    all_equal(|backend| {
        let mut out = lens.map(|len| vec![0; len]);
        let taken = huffman::decode(backend, &slots, streams, out.each_mut().map(|o| &mut o[..]));
        (taken, out)
    });
    let coded = |&symbol: &u8| codes[usize::from(symbol)] != 0;
    let symbols = streams.map(|s| s.iter().copied().filter(coded).collect::<Vec<u8>>());
    all_equal(|backend| {
        let mut out = symbols.each_ref().map(|s| vec![0; huffman::room(s.len())]);
        let symbols = symbols.each_ref().map(|s| &s[..]);
        let used = huffman::encode(backend, &codes, symbols, out.each_mut().map(|o| &mut o[..]));
        for (out, used) in out.iter_mut().zip(used) {
            out.truncate(used);
        }
        out
    });
    Ok(())
}

fn packing(u: &mut Unstructured<'_>) -> Result<()> {
    let Some(field) = packing::Field::new(u.int_in_range(0..=7)?, u.int_in_range(1..=7)?) else {
        return Ok(());
    };
    let fill = u.arbitrary()?;
    let values = rest(u)?;
    let pack = |backend| {
        let mut packed = vec![0; field.packed_len(values.len())];
        packing::pack(backend, field, values, &mut packed);
        packed
    };
    all_equal(pack);
    let packed = pack(Backend::SCALAR);
    all_equal(|backend| {
        let mut back = vec![0; values.len()];
        packing::unpack(backend, field, fill, &packed, &mut back);
        back
    });
    Ok(())
}

fn scale(u: &mut Unstructured<'_>) -> Result<()> {
    let width = *u.choose(&[2, 4, 8])?;
    let row_len = u.int_in_range(1..=100)?;
    let first = u.int_in_range(0..=row_len - 1)?;
    let rotate = u.arbitrary()?;
    let offsets = |u: &mut Unstructured<'_>, n: usize| -> Result<Vec<u16>> {
        (0..n).map(|_| u.arbitrary()).collect()
    };
    let columns = if u.arbitrary()? { offsets(u, row_len)? } else { Vec::new() };
    let same = u.arbitrary()?;
    let each = u.arbitrary()?;
    let rows = offsets(u, 40)?;
    let bytes = rest(u)?;
    // As many words as the rows have.
    let words = (bytes.len() / width).min(row_len * (rows.len() - 1));
    let words = &bytes[..words * width];
    let rows = if each { Rows::Each(&rows) } else { Rows::Same(same) };
    let offsets = Offsets { row_len, rows, columns: &columns, first, rotate };
    let apply = |backend| {
        let mut words = words.to_vec();
        scale::apply(backend, width, offsets, &mut words);
        words
    };
    all_equal(apply);
    for backend in Backend::available() {
        let mut back = apply(Backend::SCALAR);
        scale::undo(backend, width, offsets, &mut back);
        assert!(back == words);
    }
    Ok(())
}

fn digests(u: &mut Unstructured<'_>) -> Result<()> {
    let mut states = Vec::new();
    let mut messages = Vec::new();
    for _ in 0..u.int_in_range(1..=20)? {
        let blocks = u.int_in_range(0..=4)? * sha256::BLOCK_LEN;
        let Ok(message) = u.bytes(blocks) else { break };
        messages.push(message);
        states.push(sha256::INITIAL);
    }
    all_equal(|backend| {
        let mut states = states.clone();
        let streams = states.iter_mut().zip(&messages);
        let mut streams: Vec<_> =
            streams.map(|(state, blocks)| sha256::Stream { state, blocks }).collect();
        sha256::compress(backend, &mut streams);
        states
    });
    Ok(())
}

fn contexts(u: &mut Unstructured<'_>) -> Result<()> {
    let count = u.int_in_range(1..=16u8)?;
    let mut tables = contexts::ContextTables::default();
    for _ in 0..count {
        // Gives all slots, in a few steps, to symbols at random.
        let mut freqs = [0u16; contexts::SYMBOLS];
        let mut left = 16_384u16;
        while left > 0 {
            let take = u.int_in_range(1..=left).unwrap_or(left);
            freqs[usize::from(u.arbitrary::<u8>().unwrap_or(0))] += take;
            left -= take;
        }
        tables.push(&freqs);
    }
    let states: [u32; contexts::LANES] = u.arbitrary()?;
    let symbols = u.int_in_range(0..=20)? * contexts::LANES;
    let contexts: Vec<u8> =
        (0..symbols).map(|_| u.arbitrary().map(|c: u8| c % count)).collect::<Result<_>>()?;
    let contexts = if u.arbitrary()? { contexts } else { Vec::new() };
    let (units, _) = rest(u)?.as_chunks::<2>();
    all_equal(|backend| {
        let (mut states, mut units, mut out) = (states, units, vec![0; symbols]);
        let done = contexts::decode(backend, &tables, &mut states, &mut units, &contexts, &mut out);
        out.truncate(done);
        (states, units.len(), out)
    });
    Ok(())
}

/// Gives all of `total` slots, in a few steps, to some of so many symbols.
fn shares(u: &mut Unstructured<'_>, symbols: usize, total: u16) -> Vec<u16> {
    let mut freqs = vec![0; symbols];
    let mut left = total;
    while left > 0 {
        let take = u.int_in_range(1..=left).unwrap_or(left);
        freqs[usize::from(u.arbitrary::<u8>().unwrap_or(0)) % symbols] += take;
        left -= take;
    }
    freqs
}

fn alias(u: &mut Unstructured<'_>) -> Result<()> {
    let entries = u.int_in_range(1..=alias::MAX_ENTRIES)?;
    let escape: bool = u.arbitrary()?;
    let (turn, shift, first) = (u.arbitrary()?, u.int_in_range(0..=7)?, u.arbitrary()?);
    let values = alias::Values { turn, shift, first };
    let freqs = shares(u, entries, alias::SLOTS as u16);
    let Some(table) = alias::AliasTable::new(values, escape, &freqs) else { return Ok(()) };
    let count = *u.choose(&[64, 128, 1, 65])?;
    let states: Vec<u32> = (0..count).map(|_| u.arbitrary()).collect::<Result<_>>()?;
    let bits = vec![3; u.int_in_range(0..=2000)?];
    let escaped = u.bytes(u.len() / 4)?;
    let (units, _) = rest(u)?.as_chunks::<2>();
    // The output after a failure is not specified.
    all_equal(|backend| {
        let (mut states, mut out) = (states.clone(), vec![0; bits.len()]);
        let mut input = alias::Input { units, escaped };
        let done = alias::decode(backend, &table, &mut states, &mut input, &bits, &mut out);
        done.map(|()| (states, out, input.units.len(), input.escaped.len()))
    });
    all_equal(|backend| {
        let (mut states, mut out) = (states.clone(), vec![0; 2 * bits.len()]);
        let mut input = alias::Input { units, escaped };
        let below = [&bits[..]; 2];
        let done = alias::decode_float16(backend, &table, &mut states, &mut input, below, &mut out);
        done.map(|()| (states, out, input.units.len(), input.escaped.len()))
    });
    Ok(())
}

fn byte_contexts(u: &mut Unstructured<'_>) -> Result<()> {
    let count = u.int_in_range(1..=16u8)?;
    let mut tables = byte_contexts::ByteTables::default();
    for _ in 0..count {
        let mut freqs: [u16; 256] = [0; 256];
        // Two symbols have a slot in any case.
        freqs.copy_from_slice(&shares(u, 256, byte_contexts::SLOTS as u16 - 2));
        (freqs[0], freqs[255]) = (freqs[0] + 1, freqs[255] + 1);
        tables.push(&freqs);
    }
    let states: [u32; byte_contexts::LANES] = u.arbitrary()?;
    let symbols = u.int_in_range(0..=20)? * byte_contexts::LANES;
    let of: Vec<u8> =
        (0..symbols).map(|_| u.arbitrary().map(|c: u8| c % count)).collect::<Result<_>>()?;
    let (units, _) = rest(u)?.as_chunks::<2>();
    all_equal(|backend| {
        let (mut states, mut units, mut out) = (states, units, vec![0; symbols]);
        let done = byte_contexts::decode(backend, &tables, &mut states, &mut units, &of, &mut out);
        out.truncate(done);
        (states, units.len(), out)
    });
    Ok(())
}

fn values(u: &mut Unstructured<'_>) -> Result<()> {
    let floats: [u8; ROWS] = u.arbitrary()?;
    let unit = u.int_in_range(3..=14)?;
    all_equal(|backend| {
        let mut column = [0; ROWS];
        prediction::values(backend, unit, &floats, &mut column);
        column
    });
    Ok(())
}

fn histogram(u: &mut Unstructured<'_>) -> Result<()> {
    let bytes = rest(u)?;
    all_equal(|backend| {
        let mut counts = [0; 256];
        histogram::add(backend, bytes, &mut counts);
        counts
    });
    Ok(())
}
