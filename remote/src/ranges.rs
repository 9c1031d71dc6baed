//! Which requests are sent for which ranges: neighbours are merged, long ones are split.

use std::io;
use std::ops::Range;

/// The number of bytes between two ranges below which they are read by one request: to read them
/// costs less than another request.
pub const GAP: u64 = 1 << 20;

/// The largest number of bytes that one request asks for: longer ones are split, since several side
/// by side are faster.
pub(crate) const PIECE: u64 = 8 << 20;

/// Returns the same bytes as ranges that are sorted and apart.
pub(crate) fn union(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    merge(ranges, 0)
}

/// Merges ranges with at most `gap` bytes between them.
fn merge(ranges: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| range.start < range.end).collect();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range.clone()),
        }
    }
    merged
}

/// Returns the requests that cover `ranges`: sorted, apart, each of at most [`PIECE`] bytes.
pub(crate) fn plan(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let split = |Range { start, end }: Range<u64>| {
        let starts = (start..end).step_by(PIECE as usize);
        starts.map(move |start| start..end.min(start.saturating_add(PIECE)))
    };
    merge(ranges, GAP).into_iter().flat_map(split).collect()
}

/// Copies `range` out of the answers to the requests that [`plan`] made for it.
pub(crate) fn gather(
    range: &Range<u64>,
    requests: &[Range<u64>],
    answers: &[impl AsRef<[u8]>],
) -> Vec<u8> {
    let mut out = Vec::with_capacity((range.end.saturating_sub(range.start)) as usize);
    let first = requests.partition_point(|request| request.end <= range.start);
    for (request, answer) in requests[first..].iter().zip(&answers[first..]) {
        if request.start >= range.end {
            break;
        }
        let (from, to) = (range.start.max(request.start), range.end.min(request.end));
        let (from, to) = ((from - request.start) as usize, (to - request.start) as usize);
        out.extend_from_slice(&answer.as_ref()[from..to]);
    }
    out
}

/// Reads ranges by fewer requests: `fetch` gets those that cover them, with neighbours merged and
/// long ones split, and returns the bytes of each.
///
/// # Errors
/// Those of `fetch`, and [`io::ErrorKind::UnexpectedEof`] if it returns anything else.
pub fn coalesced<B: AsRef<[u8]>>(
    ranges: &[Range<u64>],
    fetch: impl FnOnce(&[Range<u64>]) -> io::Result<Vec<B>>,
) -> io::Result<Vec<Vec<u8>>> {
    let requests = plan(ranges);
    let answers = fetch(&requests)?;
    let fits = |(range, answer): (&Range<u64>, &B)| {
        answer.as_ref().len() as u64 == range.end - range.start
    };
    if answers.len() != requests.len() || !requests.iter().zip(&answers).all(fits) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(ranges.iter().map(|range| gather(range, &requests, &answers)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_merged_and_long_ranges_are_split() {
        let one = |range: Range<u64>| plan(std::slice::from_ref(&range));
        assert_eq!(plan(&[0..10, 20..30]), one(0..30));
        assert_eq!(plan(&[0..10, 11 + GAP..12 + GAP]), [0..10, 11 + GAP..12 + GAP]);
        assert_eq!(one(5..5 + 2 * PIECE + 1).len(), 3);
        assert!(one(7..7).is_empty());
        // Two hundred adjacent tensors of 4 KiB are one request.
        let many: Vec<_> = (0..200).map(|i| i * 4096..(i + 1) * 4096).collect();
        assert_eq!(plan(&many).len(), 1);
    }

    proptest! {
        #[test]
        fn every_range_comes_back(
            ranges in prop::collection::vec((0..60_000_000_u64, 0..30_000_u64), 0..20),
            long in 0..20_000_000_u64,
        ) {
            let byte = |at: u64| (at ^ (at >> 8) ^ (at >> 16)) as u8;
            let mut ranges: Vec<_> = ranges.iter().map(|&(at, len)| at..at + len).collect();
            ranges.push(1000..1000 + long);
            let requests = plan(&ranges);
            prop_assert!(requests.iter().all(|r| r.start < r.end && r.end - r.start <= PIECE));
            prop_assert!(requests.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let answers: Vec<Vec<u8>> =
                requests.iter().map(|request| request.clone().map(byte).collect()).collect();
            for range in &ranges {
                let expected: Vec<_> = range.clone().map(byte).collect();
                prop_assert!(gather(range, &requests, &answers) == expected);
            }
        }
    }
}
