//! `at1w keygen`

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use at1w_container::{Error, write_atomically};
use clap::Args;
use minisign::KeyPair;

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::to_stdout;

/// Make a pair of keys to sign with
///
/// They are keys of minisign, which can be used in its place. The secret key is protected by a
/// password, which is asked for.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Keygen {
    /// Where the secret key goes; a file that exists is never replaced
    #[arg(short, long, value_name = "FILE", default_value = "at1w.key")]
    secret_key: PathBuf,
    /// Where the public key goes; a file that exists is never replaced
    #[arg(short, long, value_name = "FILE", default_value = "at1w.pub")]
    public_key: PathBuf,
    /// Do not protect the secret key: for machines that sign on their own
    #[arg(short = 'W', long)]
    no_password: bool,
}

const HELP: &str = "\
Examples:
  at1w keygen                                   make at1w.key and at1w.pub
  at1w keygen -W -s ci.key -p ci.pub            without a password";

impl Keygen {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let Self { secret_key, public_key, no_password } = self;
        // Known before a password is asked for.
        for path in [&secret_key, &public_key] {
            if path.symlink_metadata().is_ok() {
                return Err(Failure::Other(format!("{} exists already", path.display())));
            }
        }
        let failed = |error: minisign::PError| Failure::Other(format!("no key: {error}"));
        let KeyPair { pk, sk } = if no_password {
            KeyPair::generate_unencrypted_keypair()
        } else {
            KeyPair::generate_encrypted_keypair(None)
        }
        .map_err(failed)?;
        create(&secret_key, true, &sk.to_box(None).map_err(failed)?.to_string())?;
        let written = pk
            .to_box()
            .map_err(failed)
            .and_then(|public| create(&public_key, false, &public.to_string()));
        if written.is_err() {
            // One without the other is of no use.
            let _ = fs::remove_file(&secret_key);
        }
        written?;
        if global.quiet {
            return Ok(());
        }
        to_stdout(|out| writeln!(out, "public key {}", pk.to_base64()))
    }
}

/// Makes a file, whole or not at all, that others may read or not.
fn create(path: &Path, private: bool, text: &str) -> Result<()> {
    Ok(write_atomically(path, false, |file| {
        #[cfg(unix)]
        if private {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            file.set_permissions(mode).map_err(Error::Write)?;
        }
        #[cfg(not(unix))]
        let _ = private;
        file.write_all(text.as_bytes()).map_err(Error::Write)
    })?)
}
