//! `at1w verify`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use at1w_container::repository::{signed_manifest, verify_manifest};
use at1w_container::{Digest, Error, OpenOptions, Progress, Weights};
use clap::Args;

use super::pack::speed;
use super::unpack::require_repository;
use crate::Global;
use crate::failure::{Failure, Reported, Result, report_error, report_faults, report_note};
use crate::output::{printable, to_stdout};
use crate::progress::Bar;
use crate::signature::Check;

/// Check every byte of a file or of a packed repository
///
/// Every chunk is decoded and checked, which proves the SHA-256 of every tensor and the root. In a
/// repository, every file is checked against the manifest, which finds files of another revision
/// too, and indices of shards are checked against the files that are there.
///
/// For a .safetensors, only the header is checked, and its SHA-256 with --sha256.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Verify {
    /// An .at1w or .safetensors file, or a packed repository
    #[arg(value_name = "FILE-OR-DIR")]
    path: PathBuf,
    /// The root that the file must have, as 'at1w info' shows it
    #[arg(long, value_name = "HEX")]
    root: Option<Digest>,
    /// Check the SHA-256 of the original .safetensors as well, as unpacking does
    #[arg(long)]
    file: bool,
    /// The SHA-256 that the .safetensors must have, as hubs list it: the file itself, or the one
    /// that an .at1w restores to
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    #[command(flatten)]
    signature: Check,
}

const HELP: &str = "\
A line 'ok ROOT  FILE' is printed for each file. Without --root this shows that a file is intact,
but not whose it is: keep the root of a model that you trust, or check the signature of who made it.
Exit code 5 says that a repository is intact as it was packed, but is not a whole model.

Examples:
  at1w verify model.at1w
  at1w verify model.at1w --root \"$(cat model.root)\" --file
  at1w verify model.safetensors --sha256 \"$(cut -d' ' -f1 model.sha256)\"
  at1w verify model.at1w --signature model.at1w.minisig --public-key at1w.pub
  at1w verify ~/models/minilm.at1w";

impl Verify {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.path.is_dir() { self.verify_directory(global) } else { self.verify_one(global) }
    }

    fn verify_one(self, global: &Global) -> Result<()> {
        let Self { path, root, file, sha256, signature } = self;
        let options = OpenOptions::new().root(root);
        let weights = Weights::open(&path, &options).map_err(Failure::Refuted)?;
        let comment = match weights.root() {
            // The root pins the index, and so does a signature over the root.
            Some(root) => signature.check_root(&root)?,
            None if signature.is_given() => return Err(Error::NoRoot.in_file(&path).into()),
            None => None,
        };
        let bar = Bar::new(global.quiet)?;
        bar.begin(weights.original_len());
        let verified = match (sha256, weights.packed()) {
            (Some(sha256), _) => weights.verify_sha256(sha256, &bar),
            (None, Some(reader)) if file => reader.verify_original(&bar),
            (None, Some(reader)) => reader.verify(&bar),
            (None, None) => Ok(()),
        };
        verified.map_err(|error| error.in_file(&path))?;
        let (bytes, elapsed) = (bar.done(), bar.elapsed());
        drop(bar);
        if global.quiet {
            return Ok(());
        }
        let shown = match (weights.root(), sha256) {
            (Some(root), _) => root.to_string(),
            (None, Some(_)) => "(SHA-256 as expected)".into(),
            (None, None) => "(well formed; nothing pins its bytes)".into(),
        };
        to_stdout(|out| writeln!(out, "{}", ok_line(&shown, &path)))?;
        report_verified(bytes, elapsed, comment);
        Ok(())
    }

    fn verify_directory(self, global: &Global) -> Result<()> {
        let Self { path, root, file, sha256, signature } = self;
        if root.is_some() || sha256.is_some() {
            let option = if root.is_some() { "--root" } else { "--sha256" };
            return Err(Failure::Usage(format!(
                "{option} is for one file: the digests of a repository are in its manifest"
            )));
        }
        require_repository(&path)?;
        let manifest = signed_manifest(&path)?;
        let comment = signature.check(&manifest)?;
        let bar = Bar::new(global.quiet)?;
        let check = verify_manifest(&path, &manifest, file, &bar)?;
        let (bytes, elapsed) = (bar.done(), bar.elapsed());
        drop(bar);
        let printed = to_stdout(|out| {
            for check in check.files.iter().filter(|_| !global.quiet) {
                let root = match &check.outcome {
                    Ok(Some(root)) => root.to_string(),
                    Ok(None) => "(carried over)".into(),
                    Err(_) => continue,
                };
                writeln!(out, "{}", ok_line(&root, &path.join(&check.path)))?;
            }
            Ok(())
        });
        if !global.quiet {
            report_verified(bytes, elapsed, comment);
        }
        // Faults count even if nobody reads the other lines.
        let mut worst = report_faults(&path, &check.faults);
        for error in check.files.iter().filter_map(|check| check.outcome.as_ref().err()) {
            report_error(&error.to_string());
            let integrity = error.is_integrity();
            let reported = if integrity { Reported::Damaged } else { Reported::Failed };
            worst = worst.max(Some(reported));
        }
        worst.map_or(printed, |reported| Err(Failure::Reported(reported)))
    }
}

/// Reports the speed and the trusted comment on standard error: programs parse standard output.
fn report_verified(bytes: u64, elapsed: Duration, signed: Option<String>) {
    if bytes > 0 {
        report_note(&format!("verified {bytes} bytes, {}", speed(bytes, elapsed)));
    }
    if let Some(comment) = signed {
        report_note(&format!("the signature is right; its trusted comment: {comment}"));
    }
}

fn ok_line(root: &str, path: &Path) -> String {
    format!("ok {root:<64}  {}", printable(&path.display().to_string()))
}
