//! `at1w verify`

use std::path::{Path, PathBuf};

use at1w_bundle::Signed;
use at1w_container::repository::{
    Contents, is_repository, original_digests, signed_manifest, verify_manifest,
};
use at1w_container::{Digest, Error, OpenOptions, Progress, Weights};
use clap::Args;

use crate::Global;
use crate::failure::{Failure, Result, path_of, report_note};
use crate::figures::human;
use crate::input::{self, Copy};
use crate::progress::Bar;
use crate::report::speed;
use crate::signature::Check;
use crate::verification::Verification;

/// Check every byte of files and of packed repositories
///
/// Every chunk is decoded and checked, which proves the SHA-256 of every tensor and the root. In a
/// repository, every file is checked against the manifest, which finds files of another revision
/// too, and indices of shards are checked against the files that are there.
///
/// In a directory without a manifest, as 'pack --in-place' leaves it, each packed file is checked,
/// whatever its name is. Nothing tells then whether a file is missing, or is another one.
///
/// For a .safetensors, only the header is checked, and its SHA-256 with --sha256.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Verify {
    /// The .at1w or .safetensors files, by path or URL, packed repositories or other directories; -
    /// is standard input
    #[arg(value_name = "FILE-OR-DIR", required = true)]
    paths: Vec<PathBuf>,
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
    /// Print a line of JSON for each file, and one for the summary
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
A line 'ok ROOT  FILE' is printed for each file. Without --root this shows that a file is intact,
but not whose it is: keep the root of a model that you trust, or check the signature of who made it.
Exit code 5 says that what is there is intact, but is not a whole model, or that some of it is not
what its name says.

Examples:
  at1w verify model.at1w
  at1w verify model.at1w --root \"$(cat model.root)\" --file
  at1w verify model.safetensors --sha256 \"$(cut -d' ' -f1 model.sha256)\"
  at1w verify model.at1w --signature model.at1w.minisig --public-key at1w.pub
  at1w verify ~/models/minilm.at1w --signature model.sig --public-key publisher.pem
  at1w verify ~/models/minilm.at1w ~/models/llama.at1w";

impl Verify {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        self.check_options()?;
        let mut job = Verification::new(global.quiet, self.json);
        let outcome = self.verify_all(global, &mut job);
        job.end(outcome)
    }

    /// Refuses options that pin one file where there are others.
    fn check_options(&self) -> Result<()> {
        let options = [
            ("--root", self.root.is_some()),
            ("--sha256", self.sha256.is_some()),
            ("--signature", self.signature.is_given()),
        ];
        let Some((option, _)) = options.into_iter().find(|(_, given)| *given) else {
            return Ok(());
        };
        let problem = match &self.paths[..] {
            [path] if !path.is_dir() => return Ok(()),
            [path] if is_repository(path) && option == "--signature" => return Ok(()),
            [path] if is_repository(path) => "the digests of a repository are in its manifest",
            [_] => "this directory has no manifest",
            _ => "name one",
        };
        Err(Failure::Usage(format!("{option} is for one file: {problem}")))
    }

    fn verify_all(&self, global: &Global, job: &mut Verification) -> Result<()> {
        let mut signed = Vec::new();
        // Standard input first: it is read while a signal still ends the process.
        let stdin = self.paths.iter().any(|path| input::is_stdin(path));
        let mut stdin = stdin.then(|| self.open(Path::new("-")));
        let bar = Bar::new(global.quiet)?;
        for path in &self.paths {
            let opened = if input::is_stdin(path) { stdin.take() } else { None };
            let checked = if !path.is_dir() {
                opened
                    .unwrap_or_else(|| self.open(path))
                    .and_then(|weights| self.verify_one(path, &weights, &bar, job))
            } else if is_repository(path) {
                self.verify_repository(path, &bar, job)
            } else {
                self.verify_directory(path, &bar, job).map(|()| None)
            };
            match checked {
                Ok(comment) => signed.extend(comment),
                Err(failure) if self.paths.len() == 1 || failure.is_cancelled() => {
                    return Err(failure);
                }
                Err(failure) => job.fail(path, failure, &bar),
            }
        }
        let (bytes, elapsed) = (bar.done(), bar.elapsed());
        drop(bar);
        job.took(bytes, elapsed);
        // On standard error: programs parse standard output.
        if !global.quiet && bytes > 0 {
            report_note(&format!("verified {}, {}", human(bytes), speed(bytes, elapsed)));
        }
        for comment in signed.iter().filter(|_| !global.quiet) {
            report_note(&format!("the signature is right: {comment}"));
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> Result<Weights> {
        let options = OpenOptions::new().root(self.root);
        input::open_with(path, &options, Copy::Ignored).map_err(|failure| match failure {
            Failure::Container(error) => Failure::Refuted(error),
            other => other,
        })
    }

    /// Verifies one file; returns the trusted comment of its signature.
    fn verify_one(
        &self,
        path: &Path,
        weights: &Weights,
        bar: &Bar,
        job: &mut Verification,
    ) -> Result<Option<String>> {
        if let Some(signed) = self.signature.bundle()? {
            return self.verify_signed(path, weights, &signed, bar, job).map(Some);
        }
        let comment = match weights.root() {
            // The root pins the index, and so does a signature over the root.
            Some(root) => self.signature.check_root(&root)?,
            None if self.signature.is_given() => {
                return Err(Error::NoRoot.in_file(input::shown(path)).into());
            }
            None => None,
        };
        bar.begin(weights.original_len());
        let verified = match self.sha256 {
            Some(sha256) => weights.verify_sha256(sha256, bar),
            None => self.verify_bytes(weights, bar),
        };
        verified.map_err(|error| error.in_file(input::shown(path)))?;
        job.succeed(path, weights.root(), self.sha256.is_some(), bar);
        Ok(comment)
    }

    /// Verifies that the original file is one that was signed.
    fn verify_signed(
        &self,
        path: &Path,
        weights: &Weights,
        signed: &Signed,
        bar: &Bar,
        job: &mut Verification,
    ) -> Result<String> {
        bar.begin(weights.original_len());
        let shown = input::shown(path);
        let digest = weights.file_digest(bar).map_err(|error| error.in_file(shown))?;
        let found = signed.path_of(digest).ok_or_else(|| {
            Failure::Signature(format!("{}: no file of this content was signed", shown.display()))
        })?;
        job.succeed(path, weights.root(), true, bar);
        Ok(format!("{} of {}", found, signed.name()))
    }

    /// Verifies what a file itself proves.
    fn verify_bytes(&self, weights: &Weights, bar: &Bar) -> Result<(), Error> {
        match weights.packed() {
            Some(reader) if self.file => reader.verify_original(bar),
            Some(reader) => reader.verify(bar),
            None => Ok(()),
        }
    }

    /// Verifies a repository against its manifest.
    fn verify_repository(
        &self,
        path: &Path,
        bar: &Bar,
        job: &mut Verification,
    ) -> Result<Option<String>> {
        let manifest = signed_manifest(path)?;
        // A bundle is over the originals: these are restored then, to prove their SHA-256.
        let signed = self.signature.bundle()?;
        let comment = match &signed {
            Some(signed) => {
                self.signature.compare(signed, &original_digests(path)?)?;
                Some(signed.name().to_owned())
            }
            None => self.signature.check(&manifest)?,
        };
        let check = verify_manifest(path, &manifest, self.file || signed.is_some(), bar)?;
        for file in check.files {
            let full = path.join(&file.path);
            match file.outcome {
                Ok(Some(root)) => job.succeed(&full, Some(root), false, bar),
                Ok(None) => job.carried(&full, bar),
                Err(error) => job.refuse(&full, &error, true, bar),
            }
        }
        for fault in &check.faults {
            job.fault(&path.join(&fault.path), &fault.problem.to_string(), bar);
        }
        Ok(comment)
    }

    /// Verifies the files of weights in a directory that has no manifest.
    fn verify_directory(&self, path: &Path, bar: &Bar, job: &mut Verification) -> Result<()> {
        let contents = Contents::read(path, bar)?;
        if !contents.left_out.is_empty() {
            bar.note(&format!("{}: left out: {}", path.display(), contents.left_out.join(", ")));
        }
        for error in &contents.errors {
            job.refuse(path_of(error).unwrap_or(path), error, false, bar);
        }
        let mut packed = 0;
        for file in contents.distinct() {
            let verified = match file.open() {
                Ok(None) => continue,
                Ok(Some(weights)) => {
                    packed += usize::from(weights.packed().is_some());
                    bar.begin(weights.original_len());
                    let verified = self.verify_bytes(&weights, bar).map(|()| weights.root());
                    verified.map_err(|error| error.in_file(&file.full))
                }
                Err(error) => Err(error),
            };
            match verified {
                Ok(root) => job.succeed(&file.full, root, false, bar),
                Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
                Err(error) => job.refuse(&file.full, &error, false, bar),
            }
        }
        let path = path.display();
        if packed == 0 && !job.any_reported() {
            return Err(Failure::Other(format!(
                "{path}: has no at1w-manifest.json, and no packed file"
            )));
        }
        bar.note(&format!(
            "{path}: has no at1w-manifest.json: nothing pins which files there are, nor their roots"
        ));
        Ok(())
    }
}
