//! Sizes over time, drawn.

use std::time::{SystemTime, UNIX_EPOCH};

use at1w_measure::page::Plot;
use at1w_registry::{Series, Sizes, show_time};

use super::parts::axis_bytes;

/// The number of steps of a line that can be seen.
const STEPS: u64 = 160;

/// Draws how sizes have changed until now.
pub(super) fn drawn(series: &Series, what: &str) -> Option<Plot> {
    let steps = series.steps();
    let (first, _) = *steps.first()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let last = now.max(steps.last()?.0);
    let slot = |time: u64| (time - first) * STEPS / (last - first).max(1);
    let mut lines = [Vec::new(), Vec::new()];
    let mut add = |time: u64, sizes: Sizes| {
        for (line, size) in lines.iter_mut().zip([sizes.stored, sizes.unique]) {
            // What was before holds until now.
            if let Some(&(_, before)) = line.last() {
                line.push((time as f64, before));
            }
            line.push((time as f64, size as f64));
        }
    };
    for (place, &(time, sizes)) in steps.iter().enumerate() {
        let next = steps.get(place + 1);
        if next.is_none_or(|(next, _)| slot(*next) > slot(time)) {
            add(time, sizes);
        }
    }
    add(last, series.end());
    let [stored, unique] = lines;
    let caption = format!("{what} over time: each file once, and what is stored for them");
    let lines = [("stored", stored), ("each file once", unique)];
    Plot::lines(caption, &lines, [&|time| date(time, last - first), &axis_bytes])
}

/// Writes a time at an axis that covers so many seconds: the day, or the time of a short one.
fn date(time: f64, span: u64) -> String {
    let text = show_time(time.max(0.0) as u64);
    let range = match span {
        0..600 => 11..19,
        600..172_800 => 11..16,
        _ => 2..10,
    };
    text.get(range).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_at_axes_are_short() {
        assert_eq!([date(0.0, 30), date(0.0, 1000)], ["00:00:00", "00:00"]);
        assert_eq!(date(86400.0, 1 << 30), "70-01-02");
    }
}
