//! Rivals that take turns, so that what else the machine does hits all of them.

use std::time::Instant;

/// The median seconds of each rival over so many rounds, after one that does not count.
pub fn turns<const N: usize>(rounds: usize, mut rivals: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut seconds = [(); N].map(|()| Vec::with_capacity(rounds));
    for round in 0..=rounds {
        for (rival, seconds) in rivals.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            rival();
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds.map(median)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
