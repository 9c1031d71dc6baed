//! The pictures of a report.

use super::plot::{BAR, INK, OTHER, Plot};
use crate::report::Report;

/// Draws how small each kind of tensor becomes.
pub(super) fn kinds(report: &Report) -> Vec<Plot> {
    let bars: Vec<(String, f64, String)> = report
        .kinds
        .iter()
        .map(|row| (row.kind.name().into(), row.percent, format!("{:.1} %", row.percent)))
        .collect();
    let caption = "Packed size of each kind of tensor, in percent of its size before";
    Plot::bars(caption, &bars).into_iter().collect()
}

/// Draws how small each level and each other compressor makes the files.
pub(super) fn against(report: &Report) -> Vec<Plot> {
    if report.against.is_empty() {
        return Vec::new();
    }
    let ours = report.levels.iter().map(|row| (format!("at1w {}", row.level), row.percent));
    let theirs = report.against.iter().map(|row| (row.level.clone(), row.percent));
    let bars: Vec<_> = ours
        .chain(theirs)
        .map(|(name, percent)| (name, percent, format!("{percent:.1} %")))
        .collect();
    let caption = "Packed size of all files by each compressor, in percent of their size before";
    Plot::bars(caption, &bars).into_iter().collect()
}

/// Draws how long it takes to fetch parts of a file.
pub(super) fn fetches(report: &Report) -> Vec<Plot> {
    let parts = report.fetches.iter().map(|fetch| {
        let times = vec![(fetch.packed_seconds, BAR), (fetch.raw_seconds, OTHER)];
        (fetch.part.clone(), times)
    });
    let whole = report.fetched.iter().flat_map(|fetched| &fetched.whole);
    let whole = whole.map(|whole| {
        let color = if whole.name == "at1w" { BAR } else { INK };
        (format!("whole, {}", whole.name), vec![(whole.seconds, color)])
    });
    let rows: Vec<_> = parts.chain(whole).collect();
    let mut caption = "Time to fetch each part, on a logarithmic axis: a full dot is at1w, \
                       verified; a ring is the file as it is"
        .to_owned();
    if !report.against.is_empty() {
        caption += "; a square is another compressor, which has to decompress all of the file";
    }
    Plot::dots(&caption, &rows).into_iter().collect()
}

/// Draws how often each exponent occurs.
pub(super) fn exponents(report: &Report) -> Vec<Plot> {
    let draw = |row: &crate::totals::Exponents| {
        let caption = format!(
            "Exponents of {} as they are stored, {} being that of 1: how many of a hundred \
             elements have each. Their entropy is {:.2} of {} bits",
            row.dtype,
            (1 << (row.bits - 1)) - 1,
            row.entropy,
            row.bits,
        );
        Plot::histogram(caption, &row.counts)
    };
    report.exponents.iter().filter_map(draw).collect()
}
