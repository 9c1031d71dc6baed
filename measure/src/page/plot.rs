//! Pictures, as SVG without scripts or fonts of their own.
//!
//! Colours are variables of CSS (`--ink` and others), so that a picture suits a light and a dark
//! page.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The size of a picture, in pixels. It is narrow, so that its letters can be read on a phone.
const SIZE: (u32, u32) = (480, 280);

/// The colours that are drawn with, each of which stands for a variable.
pub(super) const INK: RGBColor = RGBColor(1, 1, 1);
const FAINT: RGBColor = RGBColor(2, 2, 2);
pub(super) const BAR: RGBColor = RGBColor(3, 3, 3);
const VARIABLES: [(&str, &str); 3] =
    [("#010101", "var(--ink)"), ("#020202", "var(--faint)"), ("#030303", "var(--bar)")];

/// Marks a time of the file as it is. It is drawn as a ring of ink.
pub(super) const OTHER: RGBColor = RGBColor(4, 4, 4);

/// The size of letters, in pixels.
const LETTERS: f64 = 19.0;

/// A picture.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The SVG.
    pub svg: String,
    /// What it shows.
    pub caption: String,
}

type Drawn<T> = Result<T, DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl Plot {
    /// Draws a bar for each name, from the left, with its value written beside it.
    pub fn bars(caption: &str, bars: &[(String, f64, String)]) -> Option<Self> {
        if bars.is_empty() {
            return None;
        }
        let height = 40 + 34 * bars.len() as u32;
        let highest = bars.iter().map(|(_, value, _)| *value).fold(100.0, f64::max);
        let longest = bars.iter().map(|(.., shown)| shown.chars().count()).max().unwrap_or(0);
        let margin = if longest > 7 { 10 * longest as u32 } else { 70 };
        let draw = |area: &Area<'_>| -> Drawn<()> {
            let mut chart = ChartBuilder::on(area)
                .margin(8)
                .margin_right(margin)
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
    pub(super) fn dots(caption: &str, rows: &[(String, Vec<(f64, RGBColor)>)]) -> Option<Self> {
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

    /// Draws lines, the first one full and the others thin, with what each is at the top. Numbers
    /// at the axes are written by `labels`.
    pub fn lines(
        caption: String,
        lines: &[(&str, Vec<(f64, f64)>)],
        labels: [&dyn Fn(f64) -> String; 2],
    ) -> Option<Self> {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let least = points().map(|&(x, _)| x).fold(f64::MAX, f64::min);
        let most = points().map(|&(x, _)| x).fold(f64::MIN, f64::max);
        let highest = points().map(|&(_, y)| y).fold(0.0, f64::max) * 1.08;
        if least >= most || highest <= 0.0 {
            return None;
        }
        let legend = if lines.len() > 1 { 30 } else { 8 };
        // Half of the last label may lie beyond the end of the axis.
        let label = [least, most].map(|x| labels[0](x).chars().count()).into_iter().max();
        let beyond = 8 + label.unwrap_or(0) as i32 * LETTERS as i32 * 3 / 10;
        let draw = |area: &Area<'_>| -> Drawn<()> {
            let mut chart = ChartBuilder::on(area)
                .margin(8)
                .margin_right(beyond)
                .margin_top(legend)
                .set_label_area_size(LabelAreaPosition::Left, 82)
                .set_label_area_size(LabelAreaPosition::Bottom, 28)
                .build_cartesian_2d(least..most, 0.0..highest)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(FAINT)
                .axis_style(FAINT)
                .label_style(("sans-serif", LETTERS).with_color(INK))
                .x_labels(4)
                .y_labels(5)
                .x_label_formatter(&|x| labels[0](*x))
                .y_label_formatter(&|y| labels[1](*y))
                .draw()?;
            let mut left = 90;
            for (number, (name, points)) in lines.iter().enumerate() {
                let style = if number == 0 { BAR.stroke_width(4) } else { INK.stroke_width(2) };
                let line = PathElement::new(points.clone(), style);
                chart.draw_series(std::iter::once(line))?;
                if lines.len() > 1 {
                    area.draw(&PathElement::new([(left, 14), (left + 22, 14)], style))?;
                    area.draw_text(name, &letters(HPos::Left), (left + 28, 14))?;
                    left += 48 + 10 * name.chars().count() as i32;
                }
            }
            Ok(())
        };
        Some(Self { svg: drawn(SIZE, draw)?, caption })
    }

    /// Draws how many of a hundred each place of a histogram has, without the rare ones at both
    /// ends.
    pub fn histogram(caption: String, counts: &[u64]) -> Option<Self> {
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
