//! Standard output: text and JSON.

use std::fmt::Write as _;
use std::io::{self, BufWriter, StdoutLock, Write};

use at1w_container::is_hidden;
pub(crate) use at1w_container::printable;
use serde::Serialize;

use crate::failure::{Failure, Result};

/// Has `write` fill standard output.
pub(crate) fn to_stdout(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<()>,
) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Prints `value` as JSON. Escapes the characters that [`printable`] escapes.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    to_stdout(|out| write_escaped(out, &serde_json::to_string_pretty(value)?))
}

/// Prints each value as a line of JSON.
pub(crate) fn lines(values: &[impl Serialize]) -> Result<()> {
    to_stdout(|out| {
        values.iter().try_for_each(|value| write_escaped(out, &serde_json::to_string(value)?))
    })
}

fn write_escaped(out: &mut impl Write, mut rest: &str) -> io::Result<()> {
    // Line feeds stand only between the values.
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_hidden(c) && c != '\n') {
        write!(out, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
        rest = &rest[at + c.len_utf8()..];
    }
    writeln!(out, "{rest}")
}

/// Writes a shape as `[2,3]`.
pub(crate) fn shape(dims: &[u64]) -> String {
    // One string is filled: a hostile header may have millions of dimensions.
    let mut shape = String::from("[");
    for (i, dim) in dims.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(shape, "{comma}{dim}");
    }
    shape.push(']');
    shape
}

/// Returns `part` in percent of `whole`; `-` where `whole` is 0.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        _ => format!("{:.1}", part as f64 / whole as f64 * 100.0),
    }
}
