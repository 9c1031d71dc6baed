//! `at1w keygen`

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use at1w_container::Error;
use at1w_container::fs::{write_atomically, write_secret};
use clap::Args;
use minisign::KeyPair;

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::to_stdout;
use crate::signals;
use crate::signature::has_terminal;

/// Make a pair of keys to sign with
///
/// The keys are minisign keys, and work with minisign too. The command asks for a password, which
/// protects the secret key.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Keygen {
    /// The file for the secret key; a file that exists is never replaced
    #[arg(short, long, value_name = "FILE", default_value = "at1w.key")]
    secret_key: PathBuf,
    /// The file for the public key; a file that exists is never replaced
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
        // Checked before a password is asked for.
        for path in [&secret_key, &public_key] {
            if path.symlink_metadata().is_ok() {
                return Err(Failure::Other(format!("{} exists already", path.display())));
            }
        }
        if !no_password && !has_terminal() {
            return Err(Failure::Usage(
                "a password is typed on a terminal, and there is none: use --no-password (-W) for \
                 a key without one"
                    .into(),
            ));
        }
        let failed = |error: minisign::PError| Failure::Other(format!("no key: {error}"));
        let KeyPair { pk, sk } = if no_password {
            KeyPair::generate_unencrypted_keypair()
        } else {
            KeyPair::generate_encrypted_keypair(None)
        }
        .map_err(failed)?;
        // No signal comes between the two keys.
        signals::catch()?;
        write_secret(&secret_key, sk.to_box(None).map_err(failed)?.to_string().as_bytes())?;
        let written = pk.to_box().map_err(failed).and_then(|public| {
            Ok(write_atomically(&public_key, false, |file| {
                file.write_all(public.to_string().as_bytes()).map_err(Error::Write)
            })?)
        });
        if written.is_err() {
            // One key without the other is of no use.
            let _ = fs::remove_file(&secret_key);
        }
        written?;
        if global.quiet {
            return Ok(());
        }
        to_stdout(|out| writeln!(out, "public key {}", pk.to_base64()))
    }
}
