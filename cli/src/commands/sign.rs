//! `at1w sign`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use at1w_container::fs::{check_distinct, write_atomically};
use at1w_container::repository::signed_manifest;
use at1w_container::{Error, Reader, signed_message};
use at1w_server::SignWith;
use clap::Args;
use ct_codecs::{Base64, Decoder};
use minisign::{ErrorKind, PublicKey, SecretKey, SecretKeyBox};

use super::unpack::require_repository;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{printable, to_stdout};
use crate::signals;
use crate::signature::{has_terminal, read_text};

/// Sign a file or a packed repository
///
/// The signature is detached, in the format of minisign, and over the root: it is valid for the
/// same model however it is packed. The signature of a repository is over at1w-manifest.json, and
/// so over every file of it. Only the index is read: run 'at1w verify' first on files that others
/// made.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Sign {
    /// An .at1w file, or a packed repository
    #[arg(value_name = "FILE-OR-DIR")]
    path: PathBuf,
    /// The secret key, made by 'at1w keygen' or minisign; its password is asked for
    #[arg(short, long, value_name = "FILE", default_value = "at1w.key")]
    secret_key: PathBuf,
    /// The file for the signature
    /// [default: FILE.minisig; in a repository at1w-manifest.json.minisig beside the manifest]
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

/// The first line of a signature, which is not signed itself.
const UNTRUSTED: &str = "signature by at1w";

const HELP: &str = "\
Examples:
  at1w sign model.at1w -s at1w.key              make model.at1w.minisig
  at1w verify model.at1w --signature model.at1w.minisig --public-key at1w.pub

The same by minisign, in both directions:
  at1w sign --message model.at1w > model.root
  minisign -Vm model.root -x model.at1w.minisig -p at1w.pub
  minisign -Sm model.root -x model.at1w.minisig -s minisign.key";

impl Sign {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let Self { path, secret_key, output, trusted_comment, force, message } = self;
        let (signed, default) = if path.is_dir() {
            require_repository(&path)?;
            (signed_manifest(&path)?, path.join("at1w-manifest.json"))
        } else {
            (signed_message(&Reader::open(&path)?.root()).into_bytes(), path.clone())
        };
        if message {
            return to_stdout(|out| out.write_all(&signed));
        }
        let output = output.unwrap_or_else(|| appended(&default));
        if !force && output.symlink_metadata().is_ok() {
            return Err(Error::Exists(output).into());
        }
        check_distinct(&path, &output)?;
        let comment = trusted_comment.unwrap_or_else(|| default_comment(&default));
        if comment.contains(char::is_control) {
            return Err(Failure::Usage("a trusted comment is one line of plain text".into()));
        }
        let signature = sign_message(&secret_key, &signed, comment.trim())?;
        // From here on there is a temporary file.
        signals::catch()?;
        write_atomically(&output, force, |file| {
            file.write_all(signature.as_bytes()).map_err(Error::Write)
        })?;
        if global.quiet {
            return Ok(());
        }
        let (from, to) = (path.display().to_string(), output.display().to_string());
        to_stdout(|out| writeln!(out, "{} -> {}", printable(&from), printable(&to)))
    }
}

/// Signs a message with a secret key, whose password is asked for; returns the signature.
pub(super) fn sign_message(secret_key: &Path, message: &[u8], comment: &str) -> Result<String> {
    let key = read_text(secret_key)?;
    if !has_terminal() && has_password(&key) {
        return Err(Failure::Other(format!(
            "{}: its password is typed on a terminal, and there is none: sign with a key \
             without one (keygen --no-password)",
            secret_key.display()
        )));
    }
    let signature = unlocked(&key).and_then(|key| {
        // The public key lets minisign refuse a damaged secret key.
        let public = Some(PublicKey::from_secret_key(&key)?);
        minisign::sign(public.as_ref(), &key, message, Some(comment), Some(UNTRUSTED))
    });
    let signature =
        signature.map_err(|error| Failure::Other(format!("{}: {error}", secret_key.display())))?;
    Ok(signature.to_string())
}

/// Returns what signs with a secret key that has no password, whoever is there.
pub(super) fn unattended(secret_key: &Path) -> Result<SignWith> {
    if has_password(&read_text(secret_key)?) {
        return Err(Failure::Other(format!(
            "{}: a server cannot type its password: sign with a key without one (keygen \
             --no-password)",
            secret_key.display()
        )));
    }
    let path = secret_key.to_owned();
    let sign = move |message: &str| {
        let signed = sign_message(&path, message.as_bytes(), "at1w serve");
        signed.map_err(|failure| failure.to_string())
    };
    // A key that cannot sign is refused before anybody relies on it.
    sign("").map_err(Failure::Other)?;
    Ok(SignWith::new(sign))
}

/// Whether a secret key is protected by a password.
fn has_password(text: &str) -> bool {
    SecretKeyBox::from_string(text)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .is_err_and(|error| matches!(error.kind(), ErrorKind::Io))
}

/// Unlocks a stored secret key; asks for its password if it has one.
fn unlocked(text: &str) -> Result<SecretKey, minisign::PError> {
    let stored = || SecretKeyBox::from_string(text);
    match stored()?.into_unencrypted_secret_key() {
        Err(error) if matches!(error.kind(), ErrorKind::Io) => stored()?.into_secret_key(None),
        Err(error) => without_checksum(text).ok_or(error),
        key => key,
    }
}

/// Reads a key of minisign 0.11 without a password, which has zeros in place of a checksum.
fn without_checksum(text: &str) -> Option<SecretKey> {
    let key = Base64::decode_to_vec(text.lines().nth(1)?, None).ok()?;
    if !key.ends_with(&[0; 32]) {
        return None;
    }
    SecretKey::from_bytes(&key).ok()
}

/// Returns `path` with `.minisig` after its name.
fn appended(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".minisig");
    path.with_file_name(name)
}

/// Returns the time and the name of the file, as minisign writes them.
fn default_comment(path: &Path) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("timestamp:{} file:{}", now.as_secs(), printable(&name))
}
