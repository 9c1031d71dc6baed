//! `at1w store`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use at1w_container::Digest;
use at1w_registry::{CollectOptions, RepoName, ScrubOptions};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::pack::LevelName;
use super::push::BaseName;
use super::repo::parse_span;
use crate::Global;
use crate::failure::{Failure, Reported, Result, report_error, report_warning};
use crate::output::{json as print_json, lines, printable, to_stdout};
use crate::progress::Bar;
use crate::sample::Sample;
use crate::secret_key::SecretKey;

/// Look after a store: make, check, scrub, collect, repack, repair and copy it
#[derive(Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a store at an absent or empty place
    Init {
        #[arg(value_name = "STORE")]
        store: String,
    },
    /// Check that several writers can share the place, and that all logs are whole
    Check {
        #[arg(value_name = "STORE")]
        store: String,
        /// Print a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Add up what each namespace holds
    Stats {
        #[arg(value_name = "STORE")]
        store: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read and prove every byte that is in use, and name the revisions that need what is damaged
    Scrub {
        #[arg(value_name = "STORE")]
        store: String,
        /// A namespace or a repository [default: everything]
        #[arg(value_name = "NS[/NAME]")]
        what: Option<String>,
        /// Prove a part only, chosen at random: 10% or 10GB
        #[arg(long, value_name = "PART")]
        sample: Option<Sample>,
        /// Go on with the last scrub of everything, where it did not come to its end
        #[arg(long, conflicts_with = "sample")]
        resume: bool,
        /// Sign the record of the scrub with this secret key
        #[arg(long, value_name = "FILE", env = "AT1W_SECRET_KEY")]
        secret_key: Option<PathBuf>,
        /// Print lines of JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete what nothing has named for as long as the grace
    ///
    /// A first run condemns what is in no use; a later one, at least the grace after it, deletes
    /// what is condemned and still in no use. The hours of usage records that are over are sealed.
    Gc {
        #[arg(value_name = "STORE")]
        store: String,
        /// How long what is in no use is kept: 28d, 12h, 30m or 10s
        #[arg(long, value_name = "SPAN", default_value = "28d", value_parser = parse_span)]
        grace: Duration,
        /// Say what would be done, and do nothing
        #[arg(long, short = 'n')]
        dry_run: bool,
        /// Sign the days of usage records that are over with this secret key
        #[arg(long, value_name = "FILE", env = "AT1W_SECRET_KEY")]
        secret_key: Option<PathBuf>,
        /// Print a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Store the same content in fewer bytes
    Repack {
        #[arg(value_name = "STORE")]
        store: String,
        /// A namespace or a repository [default: everything]
        #[arg(value_name = "NS[/NAME]")]
        what: Option<String>,
        /// How hard to look for a small encoding
        #[arg(short, long, value_name = "LEVEL", default_value = "max")]
        level: LevelName,
        /// 'auto' leaves tensors at their level, and stores those of later revisions as differences
        /// to those of earlier ones, and of the models that cards name as base_model
        #[arg(long, value_name = "BASE", default_value = "none")]
        base: BaseName,
        /// Print a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Take what is missing or damaged from a replica
    Repair {
        #[arg(value_name = "STORE")]
        store: String,
        /// A copy of the store
        #[arg(long, value_name = "STORE2")]
        replica: String,
        /// Print a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy what is in use to another place; what is there already is not copied again
    Copy {
        #[arg(value_name = "STORE")]
        store: String,
        #[arg(value_name = "STORE2")]
        target: String,
        /// Print a line of JSON
        #[arg(long)]
        json: bool,
    },
}

fn open(address: &str) -> Result<at1w_registry::Store> {
    Ok(at1w_registry::Store::open(address)?)
}

/// Splits `NS[/NAME]`.
fn split(what: Option<&str>) -> Result<(Option<String>, Option<RepoName>)> {
    match what {
        Some(what) if what.contains('/') => {
            let repo: RepoName = what.parse()?;
            Ok((Some(repo.namespace.clone()), Some(repo)))
        }
        what => Ok((what.map(str::to_owned), None)),
    }
}

impl Store {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        match self.command {
            Command::Init { store } => {
                let made = open(&store)?.init()?;
                let outcome = if made { "store made" } else { "is a store already" };
                say(global, false, json!({}), &format!("{store}: {outcome}"))
            }
            Command::Check { store, json } => {
                let checked = open(&store)?.check()?;
                let text = format!(
                    "{store}: fit for several writers ({} entries raced, none lost); {} logs with \
                     {} entries, all whole",
                    checked.raced, checked.logs, checked.entries
                );
                let line = json!({
                    "event": "summary", "raced": checked.raced, "logs": checked.logs,
                    "entries": checked.entries,
                });
                say(global, json, line, &text)
            }
            Command::Stats { store, json } => stats(&store, json),
            Command::Scrub { store, what, sample, resume, secret_key, json } => {
                let secret_key = secret_key.as_deref();
                scrub(global, &store, what.as_deref(), sample, resume, secret_key, json)
            }
            Command::Gc { store, grace, dry_run, secret_key, json } => {
                let options = CollectOptions::new().grace(grace).dry_run(dry_run);
                let opened = open(&store)?;
                let done = opened.collect(&options)?;
                if !dry_run {
                    opened.seal(signer(secret_key.as_deref(), "meter").as_deref())?;
                }
                let would = if dry_run { "would be " } else { "" };
                let text = format!(
                    "{store}: {} objects with {} bytes {would}deleted, {} with {} bytes \
                     {would}condemned, {} packs rewritten",
                    done.deleted, done.freed, done.condemned, done.condemned_bytes, done.rewritten
                );
                let line = json!({
                    "event": "summary", "dry_run": dry_run, "deleted": done.deleted,
                    "freed_bytes": done.freed, "condemned": done.condemned,
                    "condemned_bytes": done.condemned_bytes, "rewritten": done.rewritten,
                    "leases": done.leases,
                });
                say(global, json, line, &text)
            }
            Command::Repack { store, what, level, base, json } => {
                repack(global, &store, what.as_deref(), (level, base), json)
            }
            Command::Repair { store, replica, json } => {
                let bar = Bar::new(global.quiet)?;
                let done = open(&store)?.repair(&open(&replica)?, &bar)?;
                drop(bar);
                let text = format!(
                    "{store}: {} objects copied, {} places repaired, {} left",
                    done.copied,
                    done.repaired,
                    done.left.len()
                );
                let line = json!({
                    "event": "summary", "copied": done.copied, "repaired": done.repaired,
                    "left": done.left,
                });
                say(global, json, line, &text)?;
                match done.left.is_empty() {
                    true => Ok(()),
                    false => Err(Failure::Reported(Reported::Damaged)),
                }
            }
            Command::Copy { store, target, json } => {
                let bar = Bar::new(global.quiet)?;
                let done = open(&store)?.copy_to(&open(&target)?, &bar)?;
                drop(bar);
                let text = format!(
                    "{store} -> {target}  {} objects with {} bytes copied, {} were there",
                    done.objects, done.bytes, done.kept
                );
                let line = json!({
                    "event": "summary", "objects": done.objects, "bytes": done.bytes,
                    "kept": done.kept,
                });
                say(global, json, line, &text)
            }
        }
    }
}

/// Prints a line of JSON, or of text.
fn say(global: &Global, as_json: bool, line: Value, text: &str) -> Result<()> {
    match (as_json, global.quiet) {
        (true, _) => lines(&[line]),
        (false, true) => Ok(()),
        (false, false) => to_stdout(|out| writeln!(out, "{}", printable(text))),
    }
}

fn stats(store: &str, as_json: bool) -> Result<()> {
    let all = open(store)?.stats()?;
    if as_json {
        let namespaces: Vec<_> = all
            .iter()
            .map(|(name, summary)| {
                json!({
                    "name": name, "time": summary.time, "repositories": summary.repos,
                    "commits": summary.commits, "logical_bytes": summary.logical,
                    "unique_bytes": summary.unique, "stored_bytes": summary.stored,
                    "used_bytes": summary.used,
                })
            })
            .collect();
        return print_json(&json!({ "namespaces": namespaces }));
    }
    to_stdout(|out| {
        for (name, summary) in &all {
            writeln!(
                out,
                "{}: {} repositories, {} commits  {} bytes in all revisions, {} each once, {} \
                 stored, {} of them in use",
                printable(name),
                summary.repos,
                summary.commits,
                summary.logical,
                summary.unique,
                summary.stored,
                summary.used
            )?;
        }
        Ok(())
    })
}

/// Returns what signs with a secret key, where there is one.
fn signer<'a>(
    secret_key: Option<&'a Path>,
    comment: &'static str,
) -> Option<Box<at1w_registry::Signer<'a>>> {
    let key = secret_key?;
    Some(Box::new(move |message: &str| {
        let signed = SecretKey::unlock(key).and_then(|key| key.sign(message.as_bytes(), comment));
        signed.map_err(|failure| failure.to_string())
    }))
}

fn scrub(
    global: &Global,
    store: &str,
    what: Option<&str>,
    sample: Option<Sample>,
    resume: bool,
    secret_key: Option<&Path>,
    as_json: bool,
) -> Result<()> {
    let (namespace, repo) = split(what)?;
    let opened = open(store)?;
    let sample = match sample {
        Some(sample) => {
            sample.share_of(opened.stats()?.iter().map(|(_, summary)| summary.used).sum())
        }
        None => 1.0,
    };
    let bar = Bar::new(global.quiet)?;
    let sign = signer(secret_key, "scrub");
    let options = ScrubOptions::new()
        .namespace(namespace.as_deref())
        .repo(repo.as_ref())
        .sample(sample)
        .resume(resume)
        .sign(sign.as_deref())
        .progress(&bar);
    let done = opened.scrub(&options)?;
    drop(bar);
    let mut events: Vec<_> = done
        .damaged
        .iter()
        .map(|damage| {
            json!({
                "event": "damaged", "namespace": damage.namespace, "file": damage.file,
                "tensor": damage.tensor, "object": damage.pack, "offset": damage.offset,
                "bytes": damage.len, "problem": damage.problem, "revisions": damage.revisions,
            })
        })
        .collect();
    events.push(json!({
        "event": "summary", "bytes": done.bytes, "proven": done.proven,
        "unproven": done.unproven, "damaged": done.damaged.len(), "lifted": done.lifted,
    }));
    if as_json {
        lines(&events)?;
    } else {
        for damage in &done.damaged {
            let tensor = damage.tensor.as_deref().map(|name| format!("tensor {name:?} in "));
            let at = (damage.len > 0).then(|| format!(" at {}", damage.offset));
            let needed = match &damage.revisions[..] {
                [] => String::new(),
                revisions => format!("; needed by {}", revisions.join(", ")),
            };
            report_error(&format!(
                "damaged: {}{}{}: {}{needed}",
                tensor.unwrap_or_default(),
                damage.pack,
                at.unwrap_or_default(),
                damage.problem,
            ));
        }
        let unproven = match done.unproven {
            0 => String::new(),
            places => format!(", {places} not proven, for their base is damaged"),
        };
        let text = format!(
            "{store}: {} bytes read, {} places proven{unproven}, {} damaged, {} marks lifted",
            done.bytes,
            done.proven,
            done.damaged.len(),
            done.lifted
        );
        say(global, false, Value::Null, &text)?;
    }
    match done.damaged.is_empty() {
        true => Ok(()),
        false => Err(Failure::Reported(Reported::Damaged)),
    }
}

fn repack(
    global: &Global,
    store: &str,
    what: Option<&str>,
    (level, base): (LevelName, BaseName),
    as_json: bool,
) -> Result<()> {
    let (namespace, repo) = split(what)?;
    let opened = open(store)?;
    let namespaces = match namespace {
        Some(namespace) => vec![namespace],
        None => opened.namespaces()?,
    };
    let bar = Bar::new(global.quiet)?;
    let (mut files, mut before, mut after, mut bases_lost) = (0, 0, 0, 0);
    let mut damaged = Vec::new();
    for namespace in namespaces {
        let done = match base {
            BaseName::Auto => opened.rebase(&namespace, repo.as_ref(), level.into(), &bar)?,
            BaseName::None => opened.repack(&namespace, repo.as_ref(), level.into(), &bar)?,
        };
        files += done.files;
        before += done.before;
        after += done.after;
        bases_lost += done.bases_lost;
        let of = |(file, error): (Digest, at1w_registry::Error)| {
            (namespace.clone(), file.to_string(), error.to_string())
        };
        damaged.extend(done.damaged.into_iter().map(of));
    }
    drop(bar);
    if bases_lost > 0 {
        report_warning(&format!(
            "{bases_lost} tensors stay stored by themselves, for their bases are damaged: at1w \
             store scrub names the places, and at1w store repair mends them"
        ));
    }
    let text = format!("{store}: {files} files stored in {after} bytes that took {before}");
    if as_json {
        let of = |(namespace, file, problem): &(String, String, String)| {
            json!({
                "event": "damaged", "namespace": namespace, "file": file, "problem": problem,
            })
        };
        let mut events: Vec<_> = damaged.iter().map(of).collect();
        events.push(json!({
            "event": "summary", "files": files, "before_bytes": before, "after_bytes": after,
            "bases_lost": bases_lost, "damaged": damaged.len(),
        }));
        lines(&events)?;
    } else {
        for (namespace, file, problem) in &damaged {
            report_error(&format!("damaged: {namespace}: {file}: {problem}"));
        }
        say(global, false, Value::Null, &text)?;
    }
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(Failure::Reported(Reported::Damaged)),
    }
}
