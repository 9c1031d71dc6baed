//! `at1w pull`

use std::io::Write;
use std::path::PathBuf;

use at1w_container::Digest;
use at1w_registry::{PullOptions, Revision, signed_tree};
use clap::Args;
use minisign_verify::Signature;
use serde_json::json;

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{lines, printable, to_stdout};
use crate::progress::Bar;
use crate::report::speed;
use crate::repositories::{Address, Repositories};
use crate::signature::{self, check_bundle, public_key, read_text};

/// Pull a revision out of a store, byte for byte
///
/// Each file gets its name once its SHA-256 is checked. Files that are there already and are right
/// stay, so that a pull that was ended goes on; others of these names are replaced.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Pull {
    #[command(flatten)]
    store: Address,
    /// The repository, and a branch, a tag or a commit [default: main]
    #[arg(value_name = "NS/NAME[@REV]")]
    revision: String,
    /// The directory to fill [default: NAME]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Lay the files down packed, as 'at1w pack' does
    #[arg(long)]
    packed: bool,
    /// The SHA-256 that the tree must have, or the root of its one packed file
    #[arg(long, value_name = "HEX")]
    root: Option<Digest>,
    /// A signature that must be valid for the tree, or a bundle of model signing that must be valid
    /// for the files [default: the signature of the commit]
    #[arg(long, value_name = "FILE", requires = "public_key")]
    signature: Option<PathBuf>,
    /// The public key of the signer: the key itself, or a file that holds it
    #[arg(long, value_name = "FILE|KEY")]
    public_key: Option<String>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  at1w pull models lab/minilm                   fill ./minilm
  at1w pull s3://bucket/models lab/minilm@v1 -o minilm-v1
  at1w pull models lab/minilm --public-key at1w.pub";

impl Pull {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let mut revision: Revision = self.revision.parse()?;
        let store = self.store.open()?;
        let key = self.public_key.as_deref();
        let signed = key.map(|key| self.check_signature(key, &store, &mut revision)).transpose()?;
        let output = self.output.unwrap_or_else(|| PathBuf::from(&revision.repo.name));
        let bar = Bar::new(global.quiet)?;
        let options =
            PullOptions::new().packed(self.packed).root(self.root).tree(signed).progress(&bar);
        let pulled = store.pull(&revision, &output, &options)?;
        let elapsed = bar.elapsed();
        drop(bar);
        if self.json {
            return lines(&[json!({
                "event": "summary",
                "repository": revision.repo.to_string(),
                "commit": pulled.commit,
                "tree": pulled.tree.to_string(),
                "output": output,
                "files": pulled.files,
                "kept": pulled.kept,
                "bytes": pulled.bytes,
            })]);
        }
        if global.quiet {
            return Ok(());
        }
        to_stdout(|out| {
            writeln!(
                out,
                "{} {revision} -> {}  {} files, {} bytes, {} files were there  {}",
                printable(&self.store.store),
                printable(&output.display().to_string()),
                pulled.files,
                pulled.bytes,
                pulled.kept,
                speed(pulled.bytes, elapsed)
            )?;
            writeln!(out, "commit {}  tree {}", pulled.commit, pulled.tree)
        })
    }

    /// Checks the signature of a revision, which names the commit from then on; returns the SHA-256
    /// of its tree.
    fn check_signature(
        &self,
        key: &str,
        store: &Repositories,
        revision: &mut Revision,
    ) -> Result<Digest> {
        let refused = |problem: String| Failure::Signature(format!("{}: {problem}", self.revision));
        let commit = store.commit_of(revision)?;
        if let Some(path) = &self.signature
            && let Some(signed) = check_bundle(path, key)?
        {
            revision.revision = Some(commit.id);
            let tree = store.tree(revision)?;
            let files = tree.files.iter().map(|(path, file)| (path.as_str(), file.sha256));
            signature::compare(&signed, path, files)?;
            return Ok(commit.tree);
        }
        let text = match &self.signature {
            Some(path) => read_text(path)?,
            None => commit.signature.ok_or_else(|| refused("the commit is not signed".into()))?,
        };
        let signature = Signature::decode(&text).map_err(|error| refused(error.to_string()))?;
        let message = signed_tree(&commit.tree);
        let checked = public_key(key)?.verify(message.as_bytes(), &signature, false);
        checked.map_err(|error| refused(error.to_string()))?;
        revision.revision = Some(commit.id);
        Ok(commit.tree)
    }
}
