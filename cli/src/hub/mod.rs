//! A store by way of a server of it: what the commands of a store ask of one.

mod pull;
mod push;

use at1w_container::Error as Packing;
use at1w_registry::exchange::{Described, History, Listed, Named};
use at1w_registry::{Commit, Entry, Error as StoreError, Ref, RepoName, Revision, Tree};
use at1w_remote::{Error as RemoteError, Hub as Server, Payload, UrlOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};
use crate::signals;

/// Where the protocol lies on a server.
const ROOT: [&str; 3] = ["api", "at1w", "v1"];

/// A server, and what it is asked for.
pub(crate) struct Hub(Server);

impl Hub {
    /// Opens the server at an address. Sends no request.
    pub(crate) fn open(address: &str, insecure: bool) -> Result<Self> {
        let options = UrlOptions::new().cancelled(signals::caught);
        Server::open(address, insecure, options).map(Self).map_err(|error| match error {
            RemoteError::Address { .. } if !insecure && address.starts_with("http://") => {
                Failure::Usage(format!("{error}; --insecure sends it all the same"))
            }
            error => error.into(),
        })
    }

    /// Asks for something.
    fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T> {
        let answer = self.0.get(&[&ROOT[..], path].concat(), query);
        self.parse(answer.map_err(failure)?)
    }

    /// Sends something.
    fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        payload: &Payload<'_>,
    ) -> Result<T> {
        let answer = self.0.post(&[&ROOT[..], path].concat(), query, payload);
        self.parse(answer.map_err(failure)?)
    }

    /// Sends a message.
    fn say<T: DeserializeOwned>(&self, path: &[&str], message: &impl Serialize) -> Result<T> {
        let message = serde_json::to_vec(message).expect("a message is plain data");
        self.post(path, &[], &Payload::Bytes(message))
    }

    fn parse<T: DeserializeOwned>(&self, answer: Vec<u8>) -> Result<T> {
        serde_json::from_slice(&answer).map_err(|error| {
            let address = self.0.address();
            Failure::Other(format!("{address}: the answer is none of an at1w server: {error}"))
        })
    }

    pub(crate) fn entry(&self, repo: &RepoName) -> Result<Entry> {
        self.get(&["entry", &repo.namespace, &repo.name], &[])
    }

    pub(crate) fn repos(&self, namespace: Option<&str>) -> Result<Listed> {
        let query = namespace.map(|name| ("namespace", name.to_owned()));
        self.get(&["repos"], &query.into_iter().collect::<Vec<_>>())
    }

    pub(crate) fn history(&self, revision: &Revision) -> Result<(Entry, Vec<Commit>)> {
        let Revision { repo, revision } = revision;
        let mut path = vec!["log", &repo.namespace, &repo.name];
        path.extend(revision.as_deref());
        let History { entry, commits } = self.get(&path, &[])?;
        Ok((entry, commits))
    }

    /// Returns a commit, and its tree, which has the SHA-256 that the commit names.
    pub(crate) fn tree(&self, revision: &Revision) -> Result<(Commit, Tree)> {
        let repo = &revision.repo;
        let path = ["tree", &repo.namespace, &repo.name, revision.name()];
        let Described { commit, tree } = self.get(&path, &[])?;
        let tree = Tree::parse(tree.as_bytes(), commit.tree).map_err(|problem| {
            StoreError::Damaged { what: format!("tree of {revision}"), problem }
        })?;
        Ok((commit, tree))
    }

    pub(crate) fn commit_of(&self, revision: &Revision) -> Result<Commit> {
        Ok(self.tree(revision)?.0)
    }

    fn edit(&self, what: &str, revision: &Revision, name: &str) -> Result<Option<Ref>> {
        let Revision { repo, revision } = revision;
        let named = Named { revision: revision.clone(), name: name.into() };
        self.say(&[what, &repo.namespace, &repo.name], &named)
    }

    /// Makes a tag or a branch; returns its commit.
    pub(crate) fn add(&self, what: &str, revision: &Revision, name: &str) -> Result<Ref> {
        let found = self.edit(what, revision, name)?;
        found.ok_or_else(|| Failure::Other(format!("{}: it says nothing", self.0.address())))
    }

    pub(crate) fn remove(&self, revision: &Revision) -> Result<()> {
        self.edit("remove", revision, "").map(drop)
    }

    pub(crate) fn restore(&self, revision: &Revision) -> Result<()> {
        self.edit("restore", revision, "").map(drop)
    }
}

/// A signal goes before every other failure.
fn failure(error: RemoteError) -> Failure {
    match error {
        RemoteError::Cancelled => Packing::Cancelled.into(),
        error => error.into(),
    }
}
