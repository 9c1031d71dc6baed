//! `at1w get`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use at1w_container::fs::{check_distinct, write_like};
use at1w_container::{Error, OpenOptions, Slice, Weights};
use clap::Args;

use super::pack::speed;
use crate::Global;
use crate::failure::{Failure, Result, report_note};
use crate::formats::Format;
use crate::output::to_stdout;
use crate::signals;

/// Read one tensor, or a slice of it, verified
///
/// Reads only the chunks that it needs, and checks each before a byte is written. A .safetensors
/// has nothing to check its bytes against.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Get {
    /// An .at1w or .safetensors file
    file: PathBuf,
    /// The name of the tensor
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// The part of each dimension to read: START:STOP, START:STOP:STEP, one INDEX, ':' for all,
    /// '...' for all between
    #[arg(long, value_name = "SLICE", allow_hyphen_values = true)]
    slice: Option<Slice>,
    /// The file to write: a .safetensors, a .npy, or raw bytes for any other extension
    /// [default: raw bytes to standard output]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace an output that exists
    #[arg(long, short)]
    force: bool,
}

const HELP: &str = "\
Dimensions that --slice does not name are taken whole; negative numbers count from the end; an
INDEX drops its dimension. A slice of rows reads few chunks, a slice of columns reads all.

Examples:
  at1w get model.at1w embed.weight -o embed.npy
  at1w get model.at1w embed.weight --slice '0:16, :' -o rows.safetensors
  at1w get model.at1w embed.weight --slice '..., -1' | xxd | head
  at1w get model.at1w embed.weight -o embed.bin && sha256sum embed.bin";

impl Get {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let Self { file, name, slice, output, force } = self;
        match &output {
            None if std::io::stdout().is_terminal() => {
                let problem = "raw bytes are not for a terminal: name a file with -o, or pipe them";
                return Err(Failure::Usage(problem.into()));
            }
            // Checked before the work, not only after it.
            Some(path) if !force && path.symlink_metadata().is_ok() => {
                return Err(Error::Exists(path.clone()).into());
            }
            _ => {}
        }
        if let Some(path) = &output {
            check_distinct(&file, path)?;
        }
        let start = Instant::now();
        let weights = Weights::open(&file, &OpenOptions::new())?;
        let tensor = weights.header().tensor(&name).map_err(|error| error.in_file(&file))?;
        let format = output.as_deref().map_or(Format::Raw, Format::of);
        // Checks that the format can hold the tensor at all.
        format.preamble(tensor, tensor.shape(), 0)?;
        let read = weights.read_to_vec(&name, slice.as_ref());
        let (shape, bytes) = read.map_err(|error| error.in_file(&file))?;
        let elapsed = start.elapsed();
        let preamble = format.preamble(tensor, &shape, bytes.len())?;
        let Some(path) = output else {
            return to_stdout(|out| out.write_all(&bytes));
        };
        write(&file, &path, force, [&preamble, &bytes])?;
        if !global.quiet {
            let len = bytes.len();
            let done = if weights.packed().is_some() { "read and verified" } else { "read" };
            report_note(&format!("{done} {len} bytes, {}", speed(len as u64, elapsed)));
            if let Some(note) = format.note(tensor) {
                report_note(&note);
            }
        }
        Ok(())
    }
}

fn write(source: &Path, path: &Path, overwrite: bool, parts: [&[u8]; 2]) -> Result<()> {
    // From here on there is a temporary file.
    signals::catch()?;
    write_like(source, path, overwrite, |file| {
        for piece in parts.into_iter().flat_map(|part| part.chunks(1 << 20)) {
            if signals::caught() {
                return Err(Error::Cancelled);
            }
            file.write_all(piece).map_err(Error::Write)?;
        }
        Ok(())
    })?;
    Ok(())
}
