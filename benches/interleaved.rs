//! Baselines measured in turn, so that other work of the machine slows all of them alike.

use std::time::Instant;

/// Returns the median seconds of each baseline over so many rounds, after one round of warm-up.
pub fn interleaved<const N: usize>(
    rounds: usize,
    mut baselines: [&mut dyn FnMut(); N],
) -> [f64; N] {
    let mut seconds = [(); N].map(|()| Vec::with_capacity(rounds));
    for round in 0..=rounds {
        for (baseline, seconds) in baselines.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            baseline();
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds.map(median)
}

/// Returns the median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
