//! The pictures of a report, as SVG without scripts or fonts of their own.
//!
//! Colours are variables of CSS (`--ink` and others), so that a picture suits a light and a dark
//! page.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::Report;

/// The size of a picture, in pixels. It is narrow, so that its letters can be read on a phone.
const SIZE: (u32, u32) = (480, 280);

/// The colours that are drawn with, each of which stands for a variable.
const INK: RGBColor = RGBColor(1, 1, 1);
const FAINT: RGBColor = RGBColor(2, 2, 2);
const BAR: RGBColor = RGBColor(3, 3, 3);
const VARIABLES: [(&str, &str); 3] =
    [("#010101", "var(--ink)"), ("#020202", "var(--faint)"), ("#030303", "var(--bar)")];

/// Marks a time of the file as it is. It is drawn as a ring of ink.
const OTHER: RGBColor = RGBColor(4, 4, 4);

/// The size of letters, in pixels.
const LETTERS: f64 = 19.0;

/// A picture.
pub(super) struct Plots {
    /// The SVG.
    pub(super) svg: String,
    /// What it shows.
    pub(super) caption: String,
}

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Plots {
    /// Draws how small each kind of tensor becomes.
    pub(super) fn kinds(report: &Report) -> Vec<Self> {
        let bars: Vec<(String, f64, String)> = report
            .kinds
            .iter()
            .map(|row| (row.kind.name().into(), row.percent, format!("{:.1} %", row.percent)))
            .collect();
        let caption = "Packed size of each kind of tensor, in percent of its size before";
        Self::bars(caption, &bars).into_iter().collect()
    }

    /// Draws how small each level and each other compressor makes the files.
    pub(super) fn against(report: &Report) -> Vec<Self> {
        if report.against.is_empty() {
            return Vec::new();
        }
        let ours = report.levels.iter().map(|row| (format!("at1w {}", row.level), row.percent));
        let theirs = report.against.iter().map(|row| (row.level.clone(), row.percent));
        let bars: Vec<_> = ours
            .chain(theirs)
            .map(|(name, percent)| (name, percent, format!("{percent:.1} %")))
            .collect();
        let caption =
            "Packed size of all files by each compressor, in percent of their size before";
        Self::bars(caption, &bars).into_iter().collect()
    }

    /// Draws how long it takes to fetch parts of a file.
    pub(super) fn fetches(report: &Report) -> Vec<Self> {
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
        let caption = "Time to fetch each part, on a logarithmic axis: a full dot is at1w, \
                       verified; a ring is the file as it is; a square is another compressor, \
                       which has to decompress all of the file";
        Self::dots(caption, &rows).into_iter().collect()
    }

    /// Draws how often each exponent occurs.
    pub(super) fn exponents(report: &Report) -> Vec<Self> {
        let draw = |row: &crate::totals::Exponents| {
            let caption = format!(
                "Exponents of {}: how many of a hundred elements have each. Their entropy is {:.2} \
                 of {} bits",
                row.dtype, row.entropy, row.bits
            );
            Self::histogram(caption, &row.counts)
        };
        report.exponents.iter().filter_map(draw).collect()
    }

    /// Draws a bar for each name, from the left, with its value written beside it.
    fn bars(caption: &str, bars: &[(String, f64, String)]) -> Option<Self> {
        if bars.is_empty() {
            return None;
        }
        let height = 40 + 34 * bars.len() as u32;
        let highest = bars.iter().map(|(_, value, _)| *value).fold(100.0, f64::max);
        let draw = |area: &Area<'_>| -> Drawn<()> {
            let mut chart = ChartBuilder::on(area)
                .margin(8)
                .margin_right(70)
                .set_label_area_size(LabelAreaPosition::Left, 116)
                .set_label_area_size(LabelAreaPosition::Bottom, 28)
                .build_cartesian_2d(0.0..highest, 0.0..bars.len() as f64)?;
            let label = |value: &f64| format!("{value:.0}");
            chart
                .configure_mesh()
                .disable_mesh()
                .disable_y_axis()
                .axis_style(FAINT)
                .label_style(("sans-serif", LETTERS).with_color(INK))
                .x_labels(5)
                .x_label_formatter(&label)
                .draw()?;
            for (i, (name, value, shown)) in bars.iter().enumerate() {
                let bottom = (bars.len() - i) as f64 - 0.85;
                let bar = [(0.0, bottom), (*value, bottom + 0.7)];
                chart.draw_series([Rectangle::new(bar, BAR.filled())])?;
                let (left, y) = chart.backend_coord(&(0.0, bottom + 0.35));
                let (right, _) = chart.backend_coord(&(*value, bottom));
                let style = letters;
                area.draw_text(name, &style(HPos::Right), (left - 8, y))?;
                area.draw_text(shown, &style(HPos::Left), (right + 6, y))?;
            }
            Ok(())
        };
        Some(Self { svg: drawn((SIZE.0, height), draw)?, caption: caption.into() })
    }

    /// Draws times of each name on a logarithmic axis.
    fn dots(caption: &str, rows: &[(String, Vec<(f64, RGBColor)>)]) -> Option<Self> {
        let times = || rows.iter().flat_map(|(_, times)| times).map(|&(seconds, _)| seconds);
        let (least, most) = (times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
        if rows.is_empty() || least <= 0.0 {
            return None;
        }
        let power = |seconds: f64, round: fn(f64) -> f64| 10_f64.powf(round(seconds.log10()));
        let range = power(least, f64::floor)..power(most, f64::ceil);
        let decades = (range.end / range.start).log10().round() as u32;
        let height = 40 + 26 * rows.len() as u32;
        let draw = |area: &Area<'_>| -> Drawn<()> {
            let mut chart = ChartBuilder::on(area)
                .margin(8)
                .margin_right(28)
                .set_label_area_size(LabelAreaPosition::Left, 186)
                .set_label_area_size(LabelAreaPosition::Bottom, 28)
                .build_cartesian_2d(range.clone().log_scale(), 0.0..rows.len() as f64)?;
            chart
                .configure_mesh()
                .disable_y_mesh()
                .disable_y_axis()
                .light_line_style(TRANSPARENT)
                .bold_line_style(FAINT)
                .axis_style(FAINT)
                .label_style(("sans-serif", LETTERS).with_color(INK))
                .x_labels(5)
                .x_label_formatter(&|seconds| axis_time(*seconds, decades))
                .draw()?;
            for (i, (name, times)) in rows.iter().enumerate() {
                let at = (rows.len() - i) as f64 - 0.5;
                let (left, y) = chart.backend_coord(&(range.start, at));
                area.draw_text(name, &letters(HPos::Right), (left - 8, y))?;
                for &(seconds, color) in times {
                    let (x, y) = chart.backend_coord(&(seconds, at));
                    match color {
                        OTHER => area.draw(&Circle::new((x, y), 5, INK.stroke_width(2)))?,
                        INK => area.draw(&Rectangle::new(
                            [(x - 5, y - 5), (x + 5, y + 5)],
                            INK.filled(),
                        ))?,
                        color => area.draw(&Circle::new((x, y), 6, color.filled()))?,
                    }
                }
            }
            Ok(())
        };
        Some(Self { svg: drawn((SIZE.0, height), draw)?, caption: caption.into() })
    }

    /// Draws how many of a hundred each place of a histogram has, without the rare ones at both
    /// ends.
    fn histogram(caption: String, counts: &[u64]) -> Option<Self> {
        /// The share of elements that is too small to be seen.
        const UNSEEN: f64 = 0.0005;
        let total = counts.iter().sum::<u64>() as f64;
        let shares: Vec<f64> = counts.iter().map(|&count| count as f64 / total * 100.0).collect();
        let seen = |share: &f64| *share >= 100.0 * UNSEEN;
        let (first, last) = (shares.iter().position(seen)?, shares.iter().rposition(seen)?);
        let highest = shares.iter().fold(0.0, |a: f64, &b| a.max(b)) * 1.08;
        let draw = |area: &Area<'_>| -> Drawn<()> {
            let range = first as f64 - 1.0..last as f64 + 2.0;
            let mut chart = ChartBuilder::on(area)
                .margin(8)
                .margin_right(16)
                .set_label_area_size(LabelAreaPosition::Left, 54)
                .set_label_area_size(LabelAreaPosition::Bottom, 28)
                .build_cartesian_2d(range, 0.0..highest)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(FAINT)
                .axis_style(FAINT)
                .label_style(("sans-serif", LETTERS).with_color(INK))
                .x_labels(6)
                .y_labels(5)
                .x_label_formatter(&|value| format!("{value:.0}"))
                .y_label_formatter(&|value| format!("{value:.0} %"))
                .draw()?;
            let bars = (first..=last).map(|i| {
                let x = i as f64;
                Rectangle::new([(x + 0.08, 0.0), (x + 0.92, shares[i])], BAR.filled())
            });
            chart.draw_series(bars)?;
            Ok(())
        };
        Some(Self { svg: drawn(SIZE, draw)?, caption })
    }
}

/// Draws a picture, and puts variables in the place of its colours.
fn drawn(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn<()>) -> Option<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area).ok()?;
        area.present().ok()?;
    }
    Some(VARIABLES.iter().fold(svg, |svg, (color, variable)| svg.replace(color, variable)))
}

/// Returns the look of letters that end, or begin, at a point.
fn letters(side: HPos) -> TextStyle<'static> {
    let style = ("sans-serif", LETTERS).into_font().color(&INK);
    style.pos(Pos::new(side, VPos::Center))
}

/// Writes a power of ten of a second at an axis that has so many of them. Of many, every other one
/// has room.
fn axis_time(seconds: f64, decades: u32) -> String {
    const ROOM: u32 = 4;
    if decades > ROOM && seconds.log10().round() as i32 % 2 != 0 {
        return String::new();
    }
    match seconds {
        ..0.000_9 => format!("{:.0} µs", seconds * 1e6),
        ..0.9 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.0} s"),
    }
}
