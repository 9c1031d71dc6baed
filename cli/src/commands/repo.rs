//! `at1w repo`

use std::collections::BTreeMap;
use std::io::Write;

use at1w_registry::exchange::Listed;
use at1w_registry::{Entry, Ref, Revision};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::Global;
use crate::failure::Result;
use crate::output::{json, printable, to_stdout};
use crate::repositories::Address;

/// List and change the repositories of a store
#[derive(Args)]
pub(crate) struct Repo {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the repositories of a store, or of a namespace
    Ls {
        #[command(flatten)]
        store: Address,
        #[arg(value_name = "NS")]
        namespace: Option<String>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the commits of a repository, the last one first
    Log {
        #[command(flatten)]
        store: Address,
        #[arg(value_name = "NS/NAME[@REV]")]
        revision: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Name a revision for good
    Tag {
        #[command(flatten)]
        store: Address,
        #[arg(value_name = "NS/NAME[@REV]")]
        revision: String,
        #[arg(value_name = "TAG")]
        tag: String,
    },
    /// Make a branch that begins at a revision
    Branch {
        #[command(flatten)]
        store: Address,
        #[arg(value_name = "NS/NAME[@REV]")]
        revision: String,
        #[arg(value_name = "BRANCH")]
        branch: String,
    },
    /// Remove a branch, a tag, or a repository; 'restore' brings it back until it is collected
    Rm {
        #[command(flatten)]
        store: Address,
        #[arg(value_name = "NS/NAME[@REF]")]
        revision: String,
    },
    /// Bring back what was removed and is not collected yet
    Restore {
        #[command(flatten)]
        store: Address,
        #[arg(value_name = "NS/NAME[@REF]")]
        revision: String,
    },
}

impl Repo {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        match self.command {
            Command::Ls { store, namespace, json } => ls(&store, namespace.as_deref(), json),
            Command::Log { store, revision, json } => log(&store, &revision.parse()?, json),
            Command::Tag { store, revision, tag } => {
                let found = store.open()?.tag(&revision.parse()?, &tag)?;
                say(global, &format!("tag {tag} at commit {}", found.commit))
            }
            Command::Branch { store, revision, branch } => {
                let found = store.open()?.branch(&revision.parse()?, &branch)?;
                say(global, &format!("branch {branch} at commit {}", found.commit))
            }
            Command::Rm { store, revision } => {
                store.open()?.remove(&revision.parse()?)?;
                say(global, &format!("{revision} removed; 'at1w repo restore' brings it back"))
            }
            Command::Restore { store, revision } => {
                store.open()?.restore(&revision.parse()?)?;
                say(global, &format!("{revision} restored"))
            }
        }
    }
}

fn say(global: &Global, message: &str) -> Result<()> {
    if global.quiet {
        return Ok(());
    }
    to_stdout(|out| writeln!(out, "{}", printable(message)))
}

fn ls(store: &Address, namespace: Option<&str>, as_json: bool) -> Result<()> {
    let Listed { repositories: repos, namespaces: summaries } = store.open()?.repos(namespace)?;
    // The branch `main`, or else the first one.
    let head = |entry: &Entry| {
        let Entry { branches, .. } = entry;
        branches.get(at1w_registry::MAIN).or_else(|| branches.values().next()).cloned()
    };
    if as_json {
        let repos = repos.iter().map(|entry| {
            let head = head(entry);
            json!({
                "name": entry.name,
                "time": entry.time,
                "commit": head.as_ref().map(|head| &head.commit),
                "files": head.as_ref().map(|head| head.files),
                "bytes": head.as_ref().map(|head| head.bytes),
                "branches": commits(&entry.branches),
                "tags": commits(&entry.tags),
            })
        });
        let namespaces = summaries.iter().map(|(name, summary)| {
            json!({
                "name": name,
                "time": summary.time,
                "repositories": summary.repos,
                "commits": summary.commits,
                "logical_bytes": summary.logical,
                "unique_bytes": summary.unique,
                "stored_bytes": summary.stored,
            })
        });
        let (repos, namespaces): (Vec<_>, Vec<_>) = (repos.collect(), namespaces.collect());
        return json(&json!({ "repositories": repos, "namespaces": namespaces }));
    }
    to_stdout(|out| {
        for entry in &repos {
            let (name, time) = (printable(&entry.name), &entry.time);
            let Some(Ref { commit, files, bytes, .. }) = head(entry) else {
                writeln!(out, "{name}  no branches  {time}")?;
                continue;
            };
            writeln!(out, "{name}  {files} files  {bytes} bytes  {time}  {}", &commit[..12])?;
        }
        for (name, summary) in &summaries {
            writeln!(
                out,
                "{}: {} bytes in all revisions, {} each once, {} stored, at {}",
                printable(name),
                summary.logical,
                summary.unique,
                summary.stored,
                summary.time
            )?;
        }
        Ok(())
    })
}

fn commits(refs: &BTreeMap<String, Ref>) -> BTreeMap<&str, &str> {
    refs.iter().map(|(name, found)| (name.as_str(), found.commit.as_str())).collect()
}

fn log(store: &Address, revision: &Revision, as_json: bool) -> Result<()> {
    let (entry, commits) = store.open()?.history(revision)?;
    let refs = |id: &str| -> Vec<&str> {
        let all = entry.branches.iter().chain(&entry.tags);
        all.filter(|(_, found)| found.commit == id).map(|(name, _)| name.as_str()).collect()
    };
    if as_json {
        let commits: Vec<Value> = commits
            .iter()
            .map(|commit| {
                json!({
                    "id": commit.id,
                    "parent": commit.parent,
                    "message": commit.message,
                    "time": commit.time,
                    "author": commit.author,
                    "refs": refs(&commit.id),
                    "tree": commit.tree.to_string(),
                    "files": commit.files,
                    "bytes": commit.bytes,
                    "stored_bytes": commit.stored,
                    "signed": commit.signature.is_some(),
                })
            })
            .collect();
        return json(&json!({ "repository": entry.name, "commits": commits }));
    }
    to_stdout(|out| {
        for commit in &commits {
            let refs = refs(&commit.id).join(", ");
            let refs = if refs.is_empty() { String::new() } else { format!("  ({refs})") };
            writeln!(out, "{}  {}  {}{refs}", commit.id, commit.time, printable(&commit.author))?;
            writeln!(
                out,
                "  {} files, {} bytes, {} new as stored  {}",
                commit.files,
                commit.bytes,
                commit.stored,
                printable(&commit.message)
            )?;
        }
        Ok(())
    })
}

/// Parses a span of time such as `28d`, `12h`, `30m` or `10s`.
pub(super) fn parse_span(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write 28d, 12h, 30m or 10s");
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds = match unit {
        "d" => 24 * 3600,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(wrong)
}
