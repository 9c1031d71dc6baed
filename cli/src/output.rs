//! Standard output: text, JSON, and the bytes of a file.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, StdoutLock, Write};
use std::path::Path;

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

/// Whether the value of `-o` names standard output.
pub(crate) fn is_stdout(output: &Path) -> bool {
    output == Path::new("-")
}

/// Returns standard output for the bytes of a file, which are not for a terminal. The caller
/// flushes it.
pub(crate) fn stdout_for_bytes() -> Result<BufWriter<Stdout>> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return Ok(BufWriter::with_capacity(64 << 10, stdout));
    }
    let problem = "raw bytes are not for a terminal: name a file with -o, or pipe them";
    Err(Failure::Usage(problem.into()))
}

/// Has `write` print on standard output, or on standard error where standard output has the bytes
/// of a file.
pub(crate) fn print_beside(
    bytes_on_stdout: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    if !bytes_on_stdout {
        return to_stdout(|out| write(out));
    }
    // There is nothing to be done about a standard error that takes no bytes.
    let _ = write(&mut io::stderr().lock());
    Ok(())
}

/// Prints `value` as a JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    to_stdout(|out| {
        write_escaped(out, &serde_json::to_string_pretty(value)?)?;
        writeln!(out)
    })
}

/// Prints each value as a line of JSON.
pub(crate) fn lines(values: &[impl Serialize]) -> Result<()> {
    values.iter().try_for_each(|value| json_line(value, false))
}

/// Prints `value` as one line of JSON, which a reader gets at once.
pub(crate) fn json_line(value: &impl Serialize, bytes_on_stdout: bool) -> Result<()> {
    print_beside(bytes_on_stdout, |out| {
        write_escaped(out, &serde_json::to_string(value)?)?;
        writeln!(out)
    })
}

/// Writes JSON, and escapes the characters that [`printable`] escapes.
fn write_escaped(out: &mut (impl Write + ?Sized), text: &str) -> io::Result<()> {
    let mut rest = text;
    // Line feeds stand only between the values.
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_hidden(c) && c != '\n') {
        write!(out, "{}\\u{:04x}", &rest[..at], u32::from(c))?;
        rest = &rest[at + c.len_utf8()..];
    }
    write!(out, "{rest}")
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

/// Counts things: `1 file`, `2 files`.
pub(crate) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Returns `part` in percent of `whole`; `-` where `whole` is 0.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        _ => format!("{:.1}", part as f64 / whole as f64 * 100.0),
    }
}
