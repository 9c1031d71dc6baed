//! `at1w token`

use std::io::Write;
use std::time::Duration;

use at1w_registry::Store;
use at1w_server::{Listed, NewToken, Role, Token as Known, Tokens};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::Global;
use crate::failure::{Failure, Reported, Result, report_warning};
use crate::output::{lines, printable, to_stdout};

/// Make, list and revoke the tokens of a store
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  at1w token create models --name ci --write --namespace lab --expires 30d
  at1w token ls models
  at1w token revoke models ci";

#[derive(Subcommand)]
enum Command {
    /// Make a token, and print it: it is shown once, and stored as a hash
    Create(Create),
    /// List the tokens, without their secrets
    Ls(Ls),
    /// Revoke a token; servers notice within 20 seconds
    Revoke(Revoke),
}

#[derive(Args)]
struct Create {
    /// The store: a path, or s3://, gs:// or az://
    #[arg(value_name = "STORE")]
    store: String,
    /// The name, which commits name as their author
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Allow writing as well; whoever may write to a namespace may read all of it
    #[arg(long, conflicts_with = "admin")]
    write: bool,
    /// Allow everything
    #[arg(long)]
    admin: bool,
    /// The namespace that it is for; several may be named [default: all]
    #[arg(long, value_name = "NS")]
    namespace: Vec<String>,
    /// The time after which it ends, such as 30d, 12h or 90m [default: never]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
}

#[derive(Args)]
struct Ls {
    /// The store: a path, or s3://, gs:// or az://
    #[arg(value_name = "STORE")]
    store: String,
    /// Print one document of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Revoke {
    /// The store: a path, or s3://, gs:// or az://
    #[arg(value_name = "STORE")]
    store: String,
    /// The name of the token, or its id
    #[arg(value_name = "NAME")]
    which: String,
}

/// Parses a time with a unit.
fn lifetime(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is no time: write a number with d, h, m or s after it");
    let unit = text.chars().next_back().ok_or_else(problem)?;
    let number = &text[..text.len() - unit.len_utf8()];
    let seconds = match unit {
        'd' => 24 * 3600,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(problem()),
    };
    let number: u64 = number.parse().map_err(|_| problem())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(problem)
}

impl Token {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        match self.command {
            Command::Create(create) => create.run(),
            Command::Ls(ls) => ls.run(),
            Command::Revoke(revoke) => revoke.run(global),
        }
    }
}

/// Opens the tokens of a store, which must be there.
fn open(address: &str) -> Result<Tokens> {
    let store = Store::open(address)?;
    store.require()?;
    Ok(Tokens::new(store.objects().clone()))
}

impl Create {
    fn run(self) -> Result<()> {
        let role = match (self.admin, self.write) {
            (true, _) => Role::Admin,
            (false, true) => Role::Write,
            (false, false) => Role::Read,
        };
        let new =
            NewToken { name: self.name, role, namespaces: self.namespace, lifetime: self.expires };
        let (secret, _) = open(&self.store)?.create(&new)?;
        to_stdout(|out| writeln!(out, "{secret}"))
    }
}

impl Ls {
    fn run(self) -> Result<()> {
        let Listed { tokens, damaged, .. } = open(&self.store)?.list()?;
        for id in &damaged {
            report_warning(&format!("token {id} is damaged, and opens nothing: revoke it"));
        }
        let damaged = match damaged.is_empty() {
            true => Ok(()),
            false => Err(Failure::Reported(Reported::Damaged)),
        };
        if self.json {
            lines(&[json!({ "tokens": tokens.iter().map(described).collect::<Vec<_>>() })])?;
            return damaged;
        }
        to_stdout(|out| {
            for token in &tokens {
                let namespaces = match token.namespaces.is_empty() {
                    true => "all namespaces".to_owned(),
                    false => token.namespaces.join(", "),
                };
                let name = printable(&token.name);
                writeln!(out, "{}  {}  {name}  {namespaces}", token.id, role(token))?;
            }
            Ok(())
        })?;
        damaged
    }
}

fn role(token: &Known) -> &'static str {
    match token.role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    }
}

fn described(token: &Known) -> serde_json::Value {
    json!({
        "id": token.id,
        "name": token.name,
        "role": role(token),
        "namespaces": token.namespaces,
        "created": token.created,
        "expires": token.expires,
    })
}

impl Revoke {
    fn run(self, global: &Global) -> Result<()> {
        let revoked = open(&self.store)?.revoke(&self.which)?;
        if !global.quiet {
            for (id, name) in revoked {
                eprintln!("revoked {} ({id})", printable(&name));
            }
        }
        Ok(())
    }
}

impl From<at1w_server::Error> for Failure {
    fn from(error: at1w_server::Error) -> Self {
        match error {
            at1w_server::Error::Store(error) => Self::Store(error),
            error @ at1w_server::Error::Config { .. } => Self::Usage(error.to_string()),
            error => Self::Other(error.to_string()),
        }
    }
}
