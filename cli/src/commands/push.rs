//! `at1w push`

use std::io::Write;
use std::path::PathBuf;

use at1w_registry::{PushOptions, Pushed, Revision};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::pack::LevelName;
use crate::Global;
use crate::failure::{Failure, Reported, Result, report_note, report_warning};
use crate::output::{lines, printable, to_stdout};
use crate::progress::Bar;
use crate::report::speed;
use crate::repositories::Address;
use crate::secret_key::SecretKey;

/// Push a file or a model repository into a store, as one commit
///
/// A store keeps every tensor of a namespace once: only what it lacks is packed and sent. Files are
/// added or replaced, others stay; --delete makes the branch what the source is. The commit appears
/// whole or not at all. A store is made at an absent or empty place. A server gets the token of
/// HF_TOKEN, or of 'hf auth login'.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Push {
    /// A file, or a directory
    #[arg(value_name = "SRC")]
    source: PathBuf,
    #[command(flatten)]
    store: Address,
    /// The repository, and the branch [default branch: main]
    #[arg(value_name = "NS/NAME[@BRANCH]")]
    repo: String,
    /// The message of the commit
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// The commit that the push is made for: a file that others have changed since is not replaced
    /// [default: the last one when the push begins]
    #[arg(long, value_name = "REV")]
    parent: Option<String>,
    /// Remove the files that are not in the source
    #[arg(long)]
    delete: bool,
    /// How hard to look for a small encoding
    #[arg(short, long, value_name = "LEVEL", default_value = "default")]
    level: LevelName,
    /// Store tensors as differences to those of the revision before, or of the models that the card
    /// names as base_model, where that takes less; 'none' stores each by itself. A server decides
    /// on its own
    #[arg(long, value_name = "BASE", default_value = "auto")]
    base: BaseName,
    /// Sign the commit with this secret key
    #[arg(long, value_name = "FILE", env = "AT1W_SECRET_KEY")]
    secret_key: Option<PathBuf>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

/// The tensors that others are stored as differences to.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BaseName {
    Auto,
    None,
}

const HELP: &str = "\
Examples:
  at1w push minilm/ models lab/minilm -m 'first'
  at1w push minilm/model.safetensors s3://bucket/models lab/minilm@next
  HF_TOKEN=... at1w push minilm/ https://hub.example lab/minilm";

impl Push {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let revision: Revision = self.repo.parse()?;
        let store = self.store.open()?;
        let bar = Bar::new(global.quiet)?;
        let key = self.secret_key.as_deref().map(SecretKey::unlock).transpose()?;
        let sign = |message: &str| match &key {
            Some(key) => key
                .sign(message.as_bytes(), &format!("tree of {}", self.repo))
                .map_err(|failure| failure.to_string()),
            None => Err("there is no key".into()),
        };
        let sign = key.is_some().then_some(&sign as &at1w_registry::Signer<'_>);
        let options = PushOptions::new()
            .branch(revision.name())
            .message(&self.message)
            .parent(self.parent.as_deref())
            .delete(self.delete)
            .level(self.level.into())
            .differences(matches!(self.base, BaseName::Auto))
            .sign(sign)
            .progress(&bar);
        let pushed = store.push(&self.source, &revision.repo, &options, key.as_ref())?;
        let elapsed = bar.elapsed();
        drop(bar);
        for (path, problem) in &pushed.faults {
            report_warning(&format!("{path}: stored as it is: {problem}"));
        }
        for (path, number) in &pushed.bases_lost {
            report_warning(&format!(
                "{path}: {number} tensors are stored by themselves, for their bases are damaged: \
                 at1w store scrub names the places, and at1w store repair mends them"
            ));
        }
        if !pushed.left_out.is_empty() && !global.quiet {
            let paths = pushed.left_out.join(", ");
            report_note(&format!("{}: left out: {paths}", self.source.display()));
        }
        if self.json {
            lines(&[summary(&pushed, &revision)])?;
        } else if !global.quiet {
            to_stdout(|out| {
                let Pushed { files, bytes, stored, tensors, new_tensors, .. } = pushed;
                let source = self.source.display().to_string();
                writeln!(
                    out,
                    "{} -> {} {revision}  {files} files, {bytes} bytes, {stored} of them new as \
                     stored  {new_tensors} of {tensors} tensors new  {}",
                    printable(&source),
                    printable(&self.store.store),
                    speed(bytes, elapsed)
                )?;
                let new = if pushed.new { "commit" } else { "nothing new since commit" };
                writeln!(out, "{new} {}  tree {}", pushed.commit, pushed.tree)
            })?;
        }
        match pushed.faults.is_empty() {
            true => Ok(()),
            false => Err(Failure::Reported(Reported::Incomplete)),
        }
    }
}

fn summary(pushed: &Pushed, revision: &Revision) -> serde_json::Value {
    json!({
        "event": "summary",
        "repository": revision.repo.to_string(),
        "branch": revision.name(),
        "commit": pushed.commit,
        "tree": pushed.tree.to_string(),
        "new": pushed.new,
        "files": pushed.files,
        "bytes": pushed.bytes,
        "stored_bytes": pushed.stored,
        "tensors": pushed.tensors,
        "new_tensors": pushed.new_tensors,
        "healed": pushed.healed,
        "faults": pushed.faults.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        "left_out": pushed.left_out,
        "bases_lost": pushed.bases_lost.iter().map(|(path, _)| path).collect::<Vec<_>>(),
    })
}
