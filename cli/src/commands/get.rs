//! `at1w get`

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use at1w_container::fs::{check_distinct, write_atomically, write_like};
use at1w_container::repository::{ContentFile, Contents};
use at1w_container::{Error, OpenOptions, Slice, Weights};
use clap::Args;

use crate::Global;
use crate::failure::{Failure, Result, report_file, report_note};
use crate::figures::human;
use crate::formats::Format;
use crate::input;
use crate::output::{is_stdout, stdout_for_bytes};
use crate::report::speed;
use crate::signals;

/// Read one tensor, or a slice of it, verified
///
/// Reads only the chunks that it needs, and checks each before a byte is written. A .safetensors
/// has nothing to check its bytes against.
///
/// Of a directory, the tensor is read from the file that holds it. Of several that hold one of that
/// name, it is the file that an index of shards maps it to; otherwise they are listed, and it takes
/// the name of one.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Get {
    /// An .at1w or .safetensors file, by path or URL, a directory, or - for standard input
    #[arg(value_name = "FILE-OR-DIR")]
    file: PathBuf,
    /// The name of the tensor
    #[arg(allow_hyphen_values = true)]
    name: String,
    /// The part of each dimension to read: START:STOP, START:STOP:STEP, one INDEX, ':' for all,
    /// '...' for all between
    #[arg(long, value_name = "SLICE", allow_hyphen_values = true)]
    slice: Option<Slice>,
    /// The file to write: a .safetensors, a .npy, or raw bytes for any other extension and for -,
    /// which is standard output
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
  at1w get hf://lab/minilm/model.safetensors embed.weight -o embed.npy
  at1w get ~/models/llama.at1w lm_head.weight -o head.npy
  at1w get model.at1w embed.weight -o embed.bin && sha256sum embed.bin";

impl Get {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let Self { file, name, slice, output, force } = self;
        let target = output.as_deref().filter(|path| !is_stdout(path));
        // Both are checked before the work, not only after it.
        let stdout = if target.is_none() { Some(stdout_for_bytes()?) } else { None };
        if let Some(path) = target.filter(|path| !force && path.symlink_metadata().is_ok()) {
            return Err(Error::Exists(path.to_owned()).into());
        }
        let tell = output.is_some() && !global.quiet;
        let start = Instant::now();
        let (file, weights) = if file.is_dir() {
            find(&file, &name)?
        } else {
            let weights = input::open(&file, &OpenOptions::new())?;
            (file, weights)
        };
        let shown = input::shown(&file);
        if let (Some(path), false) = (target, input::has_no_path(&file)) {
            check_distinct(&file, path)?;
        }
        let tensor = weights.header().tensor(&name).map_err(|error| error.in_file(shown))?;
        let format = target.map_or(Format::Raw, Format::of);
        // Checks that the format can hold the tensor at all.
        format.preamble(tensor, tensor.shape(), 0)?;
        let read = weights.read_to_vec(&name, slice.as_ref());
        let (shape, bytes) = read.map_err(|error| error.in_file(shown))?;
        let elapsed = start.elapsed();
        let preamble = format.preamble(tensor, &shape, bytes.len())?;
        if let Some(path) = target {
            write(&file, path, force, [&preamble, &bytes])?;
        }
        if let Some(mut out) = stdout {
            out.write_all(&bytes).and_then(|()| out.flush()).map_err(Failure::Output)?;
        }
        if tell {
            let len = human(bytes.len() as u64);
            let done = if weights.packed().is_some() { "read and verified" } else { "read" };
            let speed = speed(bytes.len() as u64, elapsed);
            report_note(&format!("{done} {len} of {}, {speed}", shown.display()));
            if let Some(note) = format.note(tensor) {
                report_note(&note);
            }
        }
        Ok(())
    }
}

/// The number of names that are suggested for one that is not there.
const SUGGESTED: usize = 3;

/// Finds the file of a directory that holds a tensor, and opens it. Of several, an index of shards
/// may tell which one it is.
pub(super) fn find(path: &Path, name: &str) -> Result<(PathBuf, Weights)> {
    let mut contents = Contents::read(path, &())?;
    let mut errors = std::mem::take(&mut contents.errors);
    let (mut holders, mut near) = (Vec::new(), Vec::new());
    for file in contents.distinct() {
        match file.open() {
            Ok(Some(weights)) => match weights.header().tensor(name) {
                Err(Error::NoTensor { near: names, .. }) => {
                    let new: Vec<_> = names.into_iter().filter(|n| !near.contains(n)).collect();
                    near.extend(new);
                    near.truncate(SUGGESTED);
                }
                _ => holders.push(file),
            },
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    // Most names are in one file, and no index is read for them.
    let is_indexed = |file: &&ContentFile| holders.len() > 1 && contents.is_indexed(file, name);
    let indexed: Vec<_> = holders.iter().copied().filter(is_indexed).collect();
    let file = match (&holders[..], &indexed[..]) {
        (&[file], _) | (_, &[file]) => file,
        ([], _) => {
            let pinned = contents.has_manifest;
            let worst = errors.iter().map(|error| report_file(error, pinned)).max();
            let missing = Error::NoTensor { name: name.to_owned(), near }.in_file(path);
            return Err(match worst {
                // The tensor may be in a file that cannot be read.
                Some(worst) => Failure::Hidden(missing, worst),
                None => missing.into(),
            });
        }
        _ => {
            let paths: Vec<_> = holders.iter().map(|file| file.path.as_str()).collect();
            return Err(Failure::Usage(format!(
                "{}: tensor {name:?} is in several files, name one of them: {}",
                path.display(),
                paths.join(", ")
            )));
        }
    };
    // It was recognised before.
    match file.open()? {
        Some(weights) => Ok((file.full.clone(), weights)),
        None => Err(Error::SourceChanged("it holds no weights any more".into())
            .in_file(&file.full)
            .into()),
    }
}

fn write(source: &Path, path: &Path, overwrite: bool, parts: [&[u8]; 2]) -> Result<()> {
    // From here on there is a temporary file.
    signals::catch()?;
    let fill = |file: &mut File| {
        for piece in parts.into_iter().flat_map(|part| part.chunks(1 << 20)) {
            if signals::caught() {
                return Err(Error::Cancelled);
            }
            file.write_all(piece).map_err(Error::Write)?;
        }
        Ok(())
    };
    if input::has_no_path(source) {
        write_atomically(path, overwrite, fill)?;
    } else {
        write_like(source, path, overwrite, fill)?;
    }
    Ok(())
}
