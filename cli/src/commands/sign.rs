//! `at1w sign`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use at1w_container::fs::{check_distinct, write_atomically};
use at1w_container::repository::{original_digests, signed_manifest};
use at1w_container::{Digest, Error, Reader, signed_message};
use at1w_registry::{Revision, Store, Tree, signed_tree};
use clap::Args;

use super::revisions;
use super::unpack::require_repository;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{printable, to_stdout};
use crate::secret_key::SecretKey;
use crate::signals;
use crate::signature::read_text;

/// Sign a file, a packed repository or a revision in a store
///
/// The signature is detached, in the format of minisign, and over the root: it is valid for the
/// same model however it is packed. The signature of a repository is over at1w-manifest.json, and
/// so over every file of it; that of a revision is over its tree. Only the index is read: run 'at1w
/// verify' first on files that others made.
///
/// With an elliptic-curve key in PEM it is a bundle of OpenSSF model signing, over the original
/// files: whoever has those checks it by model-signing, and nobody needs at1w. It is made of the
/// SHA-256 on record.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Sign {
    /// An .at1w file, a packed repository, or a revision (STORE#NS/NAME@REV)
    #[arg(value_name = "WHAT")]
    path: PathBuf,
    /// The secret key: of 'at1w keygen' or minisign, whose password is asked for, or an
    /// elliptic-curve key in PEM (P-256, P-384, P-521), without one
    #[arg(short, long, value_name = "FILE", default_value = "at1w.key")]
    secret_key: PathBuf,
    /// The file for the signature
    /// [default: FILE.minisig; in a repository at1w-manifest.json.minisig beside the manifest; of a
    /// revision NAME.minisig; of a bundle FILE.sig, DIR.sig, NAME.sig]
    #[arg(short, long, value_name = "SIG")]
    output: Option<PathBuf>,
    /// A line of text that is signed as well [default: the time and the name]
    #[arg(short = 't', long, value_name = "TEXT")]
    trusted_comment: Option<String>,
    /// Replace a signature that exists
    #[arg(long, short)]
    force: bool,
    /// Print the message to sign, and sign nothing: for minisign, or for a key that is elsewhere
    #[arg(long, conflicts_with_all = ["secret_key", "output", "trusted_comment", "force"])]
    message: bool,
}

const HELP: &str = "\
Examples:
  at1w sign model.at1w -s at1w.key              make model.at1w.minisig
  at1w verify model.at1w --signature model.at1w.minisig --public-key at1w.pub

By OpenSSF model signing:
  openssl ecparam -name prime256v1 -genkey -noout -out key.pem
  at1w sign llama.at1w -s key.pem -o model.sig
  model_signing verify key llama --signature model.sig --public-key key.pub

The same by minisign, in both directions:
  at1w sign --message model.at1w > model.root
  minisign -Vm model.root -x model.at1w.minisig -p at1w.pub
  minisign -Sm model.root -x model.at1w.minisig -s minisign.key";

/// What is signed.
enum Signed {
    File(PathBuf),
    Repository(PathBuf),
    Revision(Box<(Revision, Digest, Tree)>),
}

impl Signed {
    fn of(path: PathBuf) -> Result<Self> {
        if let Some((store, revision)) = revisions::named(&path) {
            let revision: Revision = revision.parse()?;
            let (found, tree) = Store::open(store)?.tree(&revision)?;
            return Ok(Self::Revision(Box::new((revision, found.tree, tree))));
        }
        if path.is_dir() {
            require_repository(&path)?;
            return Ok(Self::Repository(path));
        }
        Ok(Self::File(path))
    }

    /// Returns the message that minisign signs.
    fn message(&self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::File(path) => signed_message(&Reader::open(path)?.root()).into_bytes(),
            Self::Repository(path) => signed_manifest(path)?,
            Self::Revision(revision) => signed_tree(&revision.1).into_bytes(),
        })
    }

    /// Returns the original files, with the SHA-256 on record.
    fn files(&self) -> Result<Vec<(String, Digest)>> {
        Ok(match self {
            // So model signing names a file that is signed alone.
            Self::File(path) => {
                vec![(".".into(), Reader::open(path)?.info().original_digest)]
            }
            Self::Repository(path) => original_digests(path)?,
            Self::Revision(revision) => {
                let files = revision.2.files.iter();
                files.map(|(path, file)| (path.clone(), file.sha256)).collect()
            }
        })
    }

    /// Returns the file that a signature of minisign lies beside.
    fn named(&self) -> PathBuf {
        match self {
            Self::Repository(path) => path.join("at1w-manifest.json"),
            other => other.place(),
        }
    }

    /// Returns the path of what is signed; the name of a repository in a store.
    fn place(&self) -> PathBuf {
        match self {
            Self::File(path) | Self::Repository(path) => path.clone(),
            Self::Revision(revision) => revision.0.repo.name.clone().into(),
        }
    }
}

impl Sign {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let Self { path, secret_key, output, trusted_comment, force, message } = self;
        let signed = Signed::of(path)?;
        if message {
            let message = signed.message()?;
            return to_stdout(|out| out.write_all(&message));
        }
        let key = read_text(&secret_key)?;
        let bundled = at1w_bundle::SecretKey::is_pem(&key);
        let default = if bundled { signed.place() } else { signed.named() };
        let extension = if bundled { ".sig" } else { ".minisig" };
        let output = output.unwrap_or_else(|| appended(&default, extension));
        if !force && output.symlink_metadata().is_ok() {
            return Err(Error::Exists(output).into());
        }
        if let Signed::File(path) = &signed {
            check_distinct(path, &output)?;
        }
        let signature = if bundled {
            if trusted_comment.is_some() {
                let problem = "a bundle of model signing has no trusted comment";
                return Err(Failure::Usage(problem.into()));
            }
            bundle(&signed, &secret_key, &key, &output)?
        } else {
            let comment = trusted_comment.unwrap_or_else(|| default_comment(&default));
            if comment.contains(char::is_control) {
                return Err(Failure::Usage("a trusted comment is one line of plain text".into()));
            }
            SecretKey::unlock(&secret_key)?.sign(&signed.message()?, comment.trim())?
        };
        // From here on there is a temporary file.
        signals::catch()?;
        write_atomically(&output, force, |file| {
            file.write_all(signature.as_bytes()).map_err(Error::Write)
        })?;
        if global.quiet {
            return Ok(());
        }
        let (from, to) = (default.display().to_string(), output.display().to_string());
        to_stdout(|out| writeln!(out, "{} -> {}", printable(&from), printable(&to)))
    }
}

/// Signs the original files of what is signed; returns the bundle, which may lie among them under
/// the name of the output.
fn bundle(signed: &Signed, path: &Path, key: &str, output: &Path) -> Result<String> {
    let failed = |error| Failure::Other(format!("{}: {error}", path.display()));
    let key = at1w_bundle::SecretKey::parse(key).map_err(failed)?;
    let files = signed.files()?;
    let files = files.iter().map(|(path, digest)| (path.as_str(), *digest));
    let name = signed.place();
    let name = name.file_stem().unwrap_or_default().to_string_lossy();
    let own = output.file_name().unwrap_or_default().to_string_lossy();
    Ok(at1w_bundle::sign(&name, files, &[&own], &key))
}

/// Returns `path` with an extension after its name.
fn appended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(extension);
    path.with_file_name(name)
}

/// Returns the time and the name of the file, as minisign writes them.
fn default_comment(path: &Path) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("timestamp:{} file:{}", now.as_secs(), printable(&name))
}
