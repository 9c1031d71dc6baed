//! The `at1w` command: model weights, packed losslessly and read back verified.

mod bases;
mod commands;
mod comparison;
mod directory;
mod events;
mod failure;
mod figures;
mod formats;
mod hub;
mod in_place;
mod input;
mod listing;
mod output;
mod progress;
mod report;
mod repositories;
mod sample;
mod secret_key;
mod signals;
mod signature;
mod sources;
mod statement;
mod verification;

use std::path::PathBuf;
use std::process::ExitCode;

use at1w_container::Backend;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::failure::{Failure, Result};

/// Packs model weights (.safetensors) losslessly into smaller .at1w files, reads any tensor or
/// slice of them, every byte verified, and gives the originals back byte for byte.
#[derive(Parser)]
#[command(name = "at1w", version, propagate_version = true)]
#[command(max_term_width = 100, after_help = HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  at1w pack model.safetensors          make model.at1w
  at1w ls model.at1w                   list its tensors, with their SHA-256
  at1w get model.at1w head.weight --slice '0:16, :' -o head.npy
  at1w verify model.at1w               check every byte
  at1w diff old.at1w new.safetensors   compare them by their tensors
  at1w measure ~/models                how small would everything be?
  at1w unpack model.at1w               make model.safetensors again
  at1w pack tuned.safetensors --base model.at1w  keep only what differs

Exit codes:
  0    done
  1    a file could not be read or written, or is not what was expected; of diff: different
  2    the command line is wrong; of diff: something could not be compared
  3    a file is damaged, or not the one that was pinned or signed
  4    there is no such tensor, or the slice does not fit it
  5    done, but the listed files are missing or are not what their names say
  129, 130, 143
       ended by SIGHUP, SIGINT, SIGTERM; nothing is left half done
Where several apply, a signal goes first, then 3, 1 and 5.";

/// Options of all commands.
#[derive(Args)]
struct Global {
    /// Print errors and warnings only: no progress, no summary, no notes
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Use this many threads; 0 means one for each core
    #[arg(long, global = true, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Look for the bases of versions in this directory as well as beside each file; AT1W_BASES
    /// lists some
    #[arg(long, global = true, value_name = "DIR")]
    bases: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    Pack(commands::pack::Pack),
    Unpack(commands::unpack::Unpack),
    Ls(commands::ls::Ls),
    Info(commands::info::Info),
    Get(commands::get::Get),
    Diff(commands::diff::Diff),
    Measure(commands::measure::Measure),
    Verify(commands::verify::Verify),
    Rebase(commands::rebase::Rebase),
    Push(commands::push::Push),
    Pull(commands::pull::Pull),
    Repo(commands::repo::Repo),
    Store(commands::store::Store),
    Meter(commands::meter::Meter),
    Serve(commands::serve::Serve),
    Token(commands::token::Token),
    Proof(commands::proof::Proof),
    Cache(commands::cache::Cache),
    Sign(commands::sign::Sign),
    Keygen(commands::keygen::Keygen),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.exit_code() == 3 && !failure.is_of_base() {
                input::remove_copies();
            }
            failure.report()
        }
    }
}

fn run(Cli { global, command }: Cli) -> Result<()> {
    Backend::from_environment().map_err(|error| Failure::Usage(error.to_string()))?;
    rayon::ThreadPoolBuilder::new().num_threads(global.threads.into()).build_global().map_err(
        |error| {
            Failure::Other(format!(
                "threads cannot be started: {error}: use fewer with --threads, or raise the limit \
                 (ulimit -u)"
            ))
        },
    )?;
    input::look_in(&global.bases);
    match command {
        Command::Pack(pack) => pack.run(&global),
        Command::Unpack(unpack) => unpack.run(&global),
        Command::Ls(ls) => ls.run(&global),
        Command::Info(info) => info.run(&global),
        Command::Get(get) => get.run(&global),
        Command::Diff(diff) => diff.run(&global),
        Command::Measure(measure) => measure.run(&global),
        Command::Verify(verify) => verify.run(&global),
        Command::Rebase(rebase) => rebase.run(&global),
        Command::Push(push) => push.run(&global),
        Command::Pull(pull) => pull.run(&global),
        Command::Repo(repo) => repo.run(&global),
        Command::Store(store) => store.run(&global),
        Command::Meter(meter) => meter.run(&global),
        Command::Serve(serve) => serve.run(&global),
        Command::Token(token) => token.run(&global),
        Command::Proof(proof) => proof.run(&global),
        Command::Cache(cache) => cache.run(&global),
        Command::Sign(sign) => sign.run(&global),
        Command::Keygen(keygen) => keygen.run(&global),
        Command::Completions(completions) => completions.run(Cli::command()),
        Command::Man(man) => man.run(&global, Cli::command()),
    }
}
