//! Byte histogram.

/// How often each byte value occurs in `bytes`, added to `counts`.
///
/// Four interleaved tables keep a run of one value from waiting on its own counter.
/// Counters wrap past `u32::MAX`: pass at most 4 GiB between two resets.
pub fn add(bytes: &[u8], counts: &mut [u32; 256]) {
    if bytes.len() < 512 {
        for &b in bytes {
            counts[b as usize] += 1;
        }
        return;
    }
    let mut partial = [[0u32; 256]; 4];
    let (quads, tail) = bytes.as_chunks::<4>();
    for quad in quads {
        for (table, &b) in partial.iter_mut().zip(quad) {
            table[b as usize] += 1;
        }
    }
    for &b in tail {
        partial[0][b as usize] += 1;
    }
    for table in &partial {
        for (sum, &c) in counts.iter_mut().zip(table) {
            *sum += c;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::add;

    #[test]
    fn counts_every_byte_at_every_tail_length() {
        for n in 0..1100usize {
            let bytes: Vec<u8> = (0..n).map(|i| (i * i % 251) as u8).collect();
            let mut counts = [0; 256];
            add(&bytes, &mut counts);
            for (value, &count) in counts.iter().enumerate() {
                let expected = bytes.iter().filter(|&&b| b as usize == value).count();
                assert_eq!(count as usize, expected, "value {value} of {n} bytes");
            }
        }
    }
}
