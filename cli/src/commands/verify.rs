//! `at1w verify`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use at1w_container::{Digest, Observer, OpenOptions, Reader, signed_manifest, verify_manifest};
use clap::Args;

use super::pack::speed;
use super::unpack::require_repository;
use crate::Global;
use crate::failure::{Failure, Result, report_error, report_note};
use crate::output::{printable, to_stdout};
use crate::progress::Bar;
use crate::signature::Check;

/// Check every byte of a file or of a packed repository
///
/// Every chunk is decoded and checked, which proves the SHA-256 of every tensor, and the root is
/// checked against them. In a repository every file is checked against the manifest, so that one of
/// another revision is found too.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Verify {
    /// An .at1w file, or a packed repository
    #[arg(value_name = "FILE-OR-DIR")]
    path: PathBuf,
    /// The root that the file must have, as 'at1w info' shows it
    #[arg(long, value_name = "HEX")]
    root: Option<Digest>,
    /// Check the SHA-256 of the original .safetensors as well, as unpacking does
    #[arg(long)]
    file: bool,
    #[command(flatten)]
    signature: Check,
}

const HELP: &str = "\
A line 'ok ROOT  FILE' is printed for each file. Without --root this shows that a file is intact,
but not whose it is: keep the root of a model that you trust, or check the signature of who made it.

Examples:
  at1w verify model.at1w
  at1w verify model.at1w --root \"$(cat model.root)\" --file
  at1w verify model.at1w --signature model.at1w.minisig --public-key at1w.pub
  at1w verify ~/models/minilm.at1w";

impl Verify {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.path.is_dir() { self.verify_directory(global) } else { self.verify_one(global) }
    }

    fn verify_one(self, global: &Global) -> Result<()> {
        let Self { path, root, file, signature } = self;
        let reader = Reader::open_with(&path, &OpenOptions { root, ..OpenOptions::default() })?;
        // What the index says is pinned by its root, and so by a signature over that.
        let comment = signature.check_root(&reader.root())?;
        let bar = Bar::new(global.quiet)?;
        bar.begin(reader.info().original_len);
        let verified = if file { reader.verify_original(&bar) } else { reader.verify(&bar) };
        verified.map_err(|error| error.in_file(&path))?;
        let (bytes, elapsed) = (bar.done(), bar.elapsed());
        drop(bar);
        if global.quiet {
            return Ok(());
        }
        to_stdout(|out| writeln!(out, "{}", ok_line(&reader.root().to_string(), &path)))?;
        report_verified(bytes, elapsed, comment);
        Ok(())
    }

    fn verify_directory(self, global: &Global) -> Result<()> {
        let Self { path, root, file, signature } = self;
        if root.is_some() {
            let problem = "--root is for one file: the roots of a repository are in its manifest";
            return Err(Failure::Usage(problem.into()));
        }
        require_repository(&path)?;
        let manifest = signed_manifest(&path)?;
        let comment = signature.check(&manifest)?;
        let bar = Bar::new(global.quiet)?;
        let checks = verify_manifest(&path, &manifest, file, &bar)?;
        let (bytes, elapsed) = (bar.done(), bar.elapsed());
        drop(bar);
        let printed = to_stdout(|out| {
            for check in checks.iter().filter(|_| !global.quiet) {
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
        // Faults count whoever reads the other lines, or nobody.
        let mut failed = None;
        for error in checks.iter().filter_map(|check| check.outcome.as_ref().err()) {
            report_error(&error.to_string());
            *failed.get_or_insert(false) |= error.is_integrity();
        }
        failed.map_or(printed, |integrity| Err(Failure::Reported { integrity }))
    }
}

/// Tells on standard error how fast that went, and what was signed: the lines on standard output are
/// to be parsed.
fn report_verified(bytes: u64, elapsed: Duration, signed: Option<String>) {
    report_note(&format!("verified {bytes} bytes, {}", speed(bytes, elapsed)));
    if let Some(comment) = signed {
        report_note(&format!("the signature is right; its trusted comment: {comment}"));
    }
}

fn ok_line(root: &str, path: &Path) -> String {
    format!("ok {root:<64}  {}", printable(&path.display().to_string()))
}
