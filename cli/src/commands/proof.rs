//! `at1w proof`

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use at1w_container::fs::write_atomically;
use at1w_container::{Digest, Error, Limits, OpenOptions, Proof as Proven, Reader, Slice, Weights};
use at1w_registry::{Revision, Store};
use clap::{Args, Subcommand};
use serde_json::json;

use super::get::find;
use crate::Global;
use crate::failure::{Failure, Result, report_note};
use crate::formats::Format;
use crate::input;
use crate::output::{
    is_stdout, json as print_json, json_line, print_beside, printable, shape, stdout_for_bytes,
};
use crate::signals;
use crate::signature::Check as Signed;

/// Prove a part of a tensor to somebody who has the root and not the model
#[derive(Args)]
pub(crate) struct Proof {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Make(MakeProof),
    Check(CheckProof),
}

/// Write a small file that proves a tensor, or a slice of it
///
/// It has the bytes of the slice, and what leads from them up to the root. Only the chunks that the
/// slice touches are read, and the proof is checked before it is written.
#[derive(Args)]
#[command(override_usage = "at1w proof make STORE NS/NAME[@REV] FILE TENSOR -o PROOF\n       \
                            at1w proof make FILE TENSOR -o PROOF")]
#[command(after_help = MAKE_HELP)]
struct MakeProof {
    /// A store, a revision and a path in it, or a packed file or directory; then the name of the
    /// tensor
    #[arg(value_name = "WHERE", num_args = 2..=4, required = true)]
    what: Vec<String>,
    /// The part of each dimension to prove, as of 'at1w get' [default: the whole tensor]
    #[arg(long, value_name = "SLICE", allow_hyphen_values = true)]
    slice: Option<Slice>,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "PROOF")]
    output: PathBuf,
    /// Replace a file that exists
    #[arg(long, short)]
    force: bool,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

const MAKE_HELP: &str = "\
Examples:
  at1w proof make models lab/minilm@v1 model.safetensors embed.weight --slice 7 -o row.proof
  at1w proof make model.at1w embed.weight -o embed.proof";

/// Check a proof, and say what it proves
///
/// Without a root, or a signature over it, it says which root it found: nothing vouches for that
/// one.
#[derive(Args)]
#[command(after_help = CHECK_HELP)]
struct CheckProof {
    /// The proof; - is standard input
    #[arg(value_name = "PROOF")]
    proof: PathBuf,
    /// The root that the model must have
    #[arg(long, value_name = "HEX")]
    root: Option<Digest>,
    #[command(flatten)]
    signature: Signed,
    /// The file to write the tensor or slice to: a .safetensors, a .npy, or raw bytes
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// Replace an output that exists
    #[arg(long, short)]
    force: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

const CHECK_HELP: &str = "\
Examples:
  at1w proof check row.proof --root ROOT
  at1w proof check row.proof --signature model.at1w.minisig --public-key at1w.pub -o row.npy";

impl Proof {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        match self.command {
            Command::Make(make) => make.run(global),
            Command::Check(check) => check.run(global),
        }
    }
}

impl MakeProof {
    fn run(self, global: &Global) -> Result<()> {
        let Self { what, slice, output, force, json } = self;
        let (name, file) = match &what[..] {
            [file, name] => (name, open_path(Path::new(file), name)?),
            [store, revision, file, name] => {
                let revision: Revision = revision.parse()?;
                (name, Store::open(store)?.open_file(&revision, file)?)
            }
            _ => {
                let problem = "write STORE NS/NAME[@REV] FILE TENSOR, or FILE TENSOR";
                return Err(Failure::Usage(problem.into()));
            }
        };
        let target = (!is_stdout(&output)).then_some(output.as_path());
        let stdout = if target.is_none() { Some(stdout_for_bytes()?) } else { None };
        check_absent(target, force)?;
        let reader = packed(&file)?;
        let slice = slice.unwrap_or_default();
        let proof = reader.prove(name, &slice)?;
        if let Some(path) = target {
            write(path, force, &[&proof])?;
        }
        if let Some(mut out) = stdout {
            out.write_all(&proof).and_then(|()| out.flush()).map_err(Failure::Output)?;
        }
        if json {
            let line = json!({
                "event": "summary", "output": target, "bytes": proof.len(),
                "root": reader.root().to_string(), "tensor": name, "slice": slice.to_string(),
            });
            return json_line(&line, target.is_none());
        }
        if global.quiet {
            return Ok(());
        }
        print_beside(target.is_none(), |out| {
            let (len, to) = (proof.len(), output.display().to_string());
            writeln!(out, "{} -> {}  {len} bytes", printable(name), printable(&to))?;
            writeln!(out, "root {}", reader.root())
        })
    }
}

fn open_path(path: &Path, name: &str) -> Result<Weights> {
    match path.is_dir() {
        true => Ok(find(path, name)?.1),
        false => input::open(path, &OpenOptions::new()),
    }
}

fn packed(file: &Weights) -> Result<&Reader> {
    file.packed().ok_or_else(|| Error::NoRoot.into())
}

fn check_absent(target: Option<&Path>, force: bool) -> Result<()> {
    match target.filter(|path| !force && path.symlink_metadata().is_ok()) {
        Some(path) => Err(Error::Exists(path.to_owned()).into()),
        None => Ok(()),
    }
}

fn write(path: &Path, force: bool, parts: &[&[u8]]) -> Result<()> {
    // From here on there is a temporary file.
    signals::catch()?;
    let fill = |file: &mut fs::File| {
        parts.iter().try_for_each(|part| file.write_all(part).map_err(Error::Write))
    };
    Ok(write_atomically(path, force, fill)?)
}

impl CheckProof {
    fn run(self, global: &Global) -> Result<()> {
        let shown = input::shown(&self.proof);
        let proof = Proven::new(self.read()?, &OpenOptions::new().root(self.root));
        let proof = proof.map_err(|error| error.in_file(shown))?;
        let comment = self.signature.check_root(&proof.root())?;
        let (found, bytes) = proof.read().map_err(|error| error.in_file(shown))?;
        let (tensor, root) = (proof.tensor(), proof.root());
        let vouched = self.root.is_some() || self.signature.is_given();
        let target = self.output.as_deref().filter(|path| !is_stdout(path));
        let to_out = self.output.is_some() && target.is_none();
        if let Some(path) = target {
            check_absent(target, self.force)?;
            let preamble = Format::of(path).preamble(tensor, &found, bytes.len())?;
            write(path, self.force, &[&preamble, &bytes])?;
        }
        if to_out {
            let mut out = stdout_for_bytes()?;
            out.write_all(&bytes).and_then(|()| out.flush()).map_err(Failure::Output)?;
        }
        let (slice, sha256) = (proof.slice().to_string(), Digest::of(&bytes));
        let document = json!({
            "root": root.to_string(), "vouched": vouched, "trusted_comment": comment,
            "tensor": tensor.name(), "dtype": tensor.dtype_name(), "shape": tensor.shape(),
            "slice": slice, "slice_shape": found, "bytes": bytes.len(),
            "sha256": sha256.to_string(),
        });
        match (self.json, to_out) {
            (true, true) => json_line(&document, true)?,
            (true, false) => print_json(&document)?,
            (false, _) if global.quiet => {}
            (false, to_out) => print_beside(to_out, |out| {
                let part = if slice.is_empty() { String::new() } else { format!(" [{slice}]") };
                let verdict = if vouched { "ok" } else { "--" };
                writeln!(
                    out,
                    "{verdict} {root}  {}{part}  {} {}",
                    printable(tensor.name()),
                    printable(tensor.dtype_name()),
                    shape(&found),
                )?;
                writeln!(out, "   {sha256}  of its {} bytes", bytes.len())
            })?,
        }
        if !global.quiet {
            if let Some(comment) = comment {
                report_note(&format!("{}: signed: {comment}", shown.display()));
            }
            if !vouched {
                let shown = shown.display();
                report_note(&format!(
                    "{shown}: nothing vouches for this root: --root, or --signature with \
                     --public-key, says which one it must be"
                ));
            }
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<u8>> {
        let failed = |error| Failure::Other(format!("{}: {error}", self.proof.display()));
        let file = match input::is_stdin(&self.proof) {
            true => input::stdin_file()?,
            false => fs::File::open(&self.proof).map_err(failed)?,
        };
        // A proof has at most a tensor and the index of a file, and each has a limit.
        let Limits { index_len, tensor_len, .. } = Limits::default();
        let mut bytes = Vec::new();
        file.take(index_len + tensor_len).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}
