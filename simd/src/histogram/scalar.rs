//! The plain definition; four interleaved tables keep a run of one value from waiting on its own
//! counter.

/// Adds to `counts` how often each byte value occurs.
pub(super) fn add(bytes: &[u8], counts: &mut [u32; 256]) {
    if bytes.len() < 512 {
        for &b in bytes {
            counts[b as usize] = counts[b as usize].wrapping_add(1);
        }
        return;
    }
    let mut partial = [[0u32; 256]; 4];
    let (quads, tail) = bytes.as_chunks::<4>();
    for quad in quads {
        for (table, &b) in partial.iter_mut().zip(quad) {
            table[b as usize] = table[b as usize].wrapping_add(1);
        }
    }
    for &b in tail {
        partial[0][b as usize] = partial[0][b as usize].wrapping_add(1);
    }
    for table in &partial {
        for (sum, &c) in counts.iter_mut().zip(table) {
            *sum = sum.wrapping_add(c);
        }
    }
}
