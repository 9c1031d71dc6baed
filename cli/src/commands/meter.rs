//! `at1w meter`

use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use at1w_registry::{AuditOptions, Store, Verifier, month_begin, parse_time, show_time};
use at1w_server::Config;
use clap::{Args, Subcommand};
use minisign_verify::Signature;
use serde_json::json;

use crate::Global;
use crate::failure::{Failure, Reported, Result, report_error};
use crate::output::{json as print_json, lines, printable, to_stdout};
use crate::signature::public_key;
use crate::statement::{Statement, Terms, csv, html, text};

/// Say what a store holds and has held, what that costs, and whether its records are whole
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Meter {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  at1w meter report models --from 2026-11-01 --to 2026-12-01
  at1w meter report models --config hub.toml --html > november.html
  at1w meter check models --public-key at1w.pub";

#[derive(Subcommand)]
enum Command {
    Report(Report),
    Check(Check),
}

/// Print the usage of each namespace and repository over a period, exact to the byte and second
#[derive(Args)]
struct Report {
    /// The store: a path, or s3://, gs:// or az://
    #[arg(value_name = "STORE")]
    store: String,
    /// The beginning: a day, or a time in RFC 3339 [default: the first of this month, in UTC]
    #[arg(long, value_name = "T", value_parser = time)]
    from: Option<u64>,
    /// The end, which is no part of the period [default: now]
    #[arg(long, value_name = "T", value_parser = time)]
    to: Option<u64>,
    /// One namespace [default: all]
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
    /// A configuration of `at1w serve`, whose section meter has the price and the currency
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a JSON object
    #[arg(long, conflicts_with_all = ["csv", "html"])]
    json: bool,
    /// Print a table for a spreadsheet
    #[arg(long, conflicts_with = "html")]
    csv: bool,
    /// Print a page to send or to print
    #[arg(long)]
    html: bool,
}

/// Check the usage records of a period: that none was changed, dropped or moved, and that none of
/// what logs have done is missing
#[derive(Args)]
struct Check {
    /// The store: a path, or s3://, gs:// or az://
    #[arg(value_name = "STORE")]
    store: String,
    /// The beginning: a day, or a time in RFC 3339; whole hours are checked [default: the first]
    #[arg(long, value_name = "T", value_parser = time)]
    from: Option<u64>,
    /// The end [default: now]
    #[arg(long, value_name = "T", value_parser = time)]
    to: Option<u64>,
    /// The public key that days must be signed with: the key itself, or a file that holds it
    #[arg(long, value_name = "FILE|KEY")]
    public_key: Option<String>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<u64, String> {
    parse_time(text).ok_or_else(|| {
        format!("{text:?} is no time: write a day, as 2026-11-30, or a time in RFC 3339")
    })
}

impl Meter {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        match self.command {
            Command::Report(report) => report.run(),
            Command::Check(check) => check.run(global),
        }
    }
}

impl Report {
    fn run(self) -> Result<()> {
        let config = match &self.config {
            Some(path) => Config::read(path)?.meter,
            None => Config::default().meter,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let to = self.to.unwrap_or(now);
        let from = self.from.unwrap_or_else(|| month_begin(to));
        if from > to {
            let problem = format!("--from {} is after --to {}", show_time(from), show_time(to));
            return Err(Failure::Usage(problem));
        }
        let store = Store::open(&self.store)?;
        let usage = store.usage(self.namespace.as_deref())?;
        let reads = store.reads(from..to)?;
        let terms = Terms { billed: config.billed, price: config.price, currency: config.currency };
        let statement = Statement::new(&self.store, now, from..to, &usage, &reads, terms)?;
        if self.json {
            print_json(&statement)?;
        } else {
            let shown = match (self.csv, self.html) {
                (true, _) => csv(&statement),
                (_, true) => html(&statement),
                _ => text(&statement),
            };
            to_stdout(|out| out.write_all(shown.as_bytes()))?;
        }
        for fault in &usage.faults {
            report_error(fault);
        }
        match usage.faults.is_empty() {
            true => Ok(()),
            false => Err(Failure::Reported(Reported::Incomplete)),
        }
    }
}

impl Check {
    fn run(self, global: &Global) -> Result<()> {
        let key = self.public_key.as_deref().map(public_key).transpose()?;
        let verify = |message: &str, signature: &str| {
            let Some(key) = &key else { return Ok(()) };
            let signature = Signature::decode(signature).map_err(|error| error.to_string())?;
            let verified = key.verify(message.as_bytes(), &signature, false);
            verified.map_err(|error| error.to_string())
        };
        let verify = key.is_some().then_some(&verify as &Verifier<'_>);
        let hour = |time: Option<u64>| time.map(|time| show_time(time)[..13].to_owned());
        let (from, to) = (hour(self.from), hour(self.to));
        let options = AuditOptions::new().period(from.as_deref(), to.as_deref()).verify(verify);
        let done = Store::open(&self.store)?.audit(&options)?;
        let broken = done.broken.as_ref().map(|broken| {
            json!({ "hour": broken.hour, "object": broken.object, "problem": broken.problem })
        });
        if self.json {
            lines(&[json!({
                "event": "summary", "records": done.records, "servers": done.servers,
                "entries": done.entries, "samples": done.samples, "seals": done.seals,
                "unsealed": done.unsealed, "signed": done.signed, "broken": broken,
                "odd": done.odd,
            })])?;
        } else if !global.quiet {
            let text = format!(
                "{}: {} records of {} processes, {} of them sealed in {} hours; {} entries of \
                 logs are recorded, {} days signed, {} samples held against the logs",
                self.store,
                done.records,
                done.servers,
                done.records.saturating_sub(done.unsealed),
                done.seals,
                done.entries,
                done.signed.len(),
                done.samples
            );
            to_stdout(|out| writeln!(out, "{}", printable(&text)))?;
        }
        for odd in &done.odd {
            report_error(odd);
        }
        if let Some(broken) = &done.broken {
            report_error(&format!("broken: {}: {}", broken.object, broken.problem));
            return Err(Failure::Reported(Reported::Damaged));
        }
        match done.odd.is_empty() {
            true => Ok(()),
            false => Err(Failure::Reported(Reported::Incomplete)),
        }
    }
}
