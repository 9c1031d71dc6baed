//! The place that repositories are in: a store, or a server of one.

use std::path::Path;

use at1w_registry::exchange::Listed;
use at1w_registry::{
    Commit, Entry, PullOptions, Pulled, PushOptions, Pushed, Ref, RepoName, Revision, Store, Tree,
};
use at1w_remote::is_web;
use clap::Args;

use crate::failure::Result;
use crate::hub::Hub;
use crate::secret_key::SecretKey;

/// Where repositories are, as the command line says it.
#[derive(Args)]
pub(crate) struct Address {
    /// The store: a path, s3://, gs:// or az://; or the http(s):// address of a server
    #[arg(value_name = "STORE")]
    pub(crate) store: String,
    /// Send the token (HF_TOKEN) over http:// to another machine, where others can read it
    #[arg(long)]
    insecure: bool,
}

impl Address {
    /// Opens the place. Sends no request.
    pub(crate) fn open(&self) -> Result<Repositories> {
        Ok(match is_web(&self.store) {
            true => Repositories::Hub(Hub::open(&self.store, self.insecure)?),
            false => Repositories::Store(Box::new(Store::open(&self.store)?)),
        })
    }
}

/// Repositories, in a store or on a server.
pub(crate) enum Repositories {
    Store(Box<Store>),
    Hub(Hub),
}

impl Repositories {
    /// Pushes. `key` is the one that signs: what a server says is believed as far as the key has
    /// signed it before.
    pub(crate) fn push(
        &self,
        source: &Path,
        repo: &RepoName,
        options: &PushOptions<'_>,
        key: Option<&SecretKey>,
    ) -> Result<Pushed> {
        match self {
            Self::Store(store) => Ok(store.push(source, repo, options)?),
            Self::Hub(hub) => hub.push(source, repo, options, key),
        }
    }

    pub(crate) fn pull(
        &self,
        revision: &Revision,
        target: &Path,
        options: &PullOptions<'_>,
    ) -> Result<Pulled> {
        match self {
            Self::Store(store) => Ok(store.pull(revision, target, options)?),
            Self::Hub(hub) => hub.pull(revision, target, options),
        }
    }

    pub(crate) fn commit_of(&self, revision: &Revision) -> Result<Commit> {
        match self {
            Self::Store(store) => Ok(store.commit_of(revision)?),
            Self::Hub(hub) => hub.commit_of(revision),
        }
    }

    pub(crate) fn tree(&self, revision: &Revision) -> Result<Tree> {
        match self {
            Self::Store(store) => Ok(store.tree(revision)?.1),
            Self::Hub(hub) => Ok(hub.tree(revision)?.1),
        }
    }

    /// Lists repositories, and what their namespaces held when they were last collected.
    pub(crate) fn repos(&self, namespace: Option<&str>) -> Result<Listed> {
        match self {
            Self::Store(store) => {
                let namespaces = store.summaries(namespace)?.into_iter().collect();
                Ok(Listed { repositories: store.repos(namespace)?, namespaces })
            }
            Self::Hub(hub) => hub.repos(namespace),
        }
    }

    pub(crate) fn history(&self, revision: &Revision) -> Result<(Entry, Vec<Commit>)> {
        match self {
            Self::Store(store) => Ok(store.history(revision)?),
            Self::Hub(hub) => hub.history(revision),
        }
    }

    pub(crate) fn tag(&self, revision: &Revision, name: &str) -> Result<Ref> {
        match self {
            Self::Store(store) => Ok(store.tag(revision, name)?),
            Self::Hub(hub) => hub.add("tag", revision, name),
        }
    }

    pub(crate) fn branch(&self, revision: &Revision, name: &str) -> Result<Ref> {
        match self {
            Self::Store(store) => Ok(store.branch(revision, name)?),
            Self::Hub(hub) => hub.add("branch", revision, name),
        }
    }

    pub(crate) fn remove(&self, revision: &Revision) -> Result<()> {
        match self {
            Self::Store(store) => Ok(store.remove(revision)?),
            Self::Hub(hub) => hub.remove(revision),
        }
    }

    pub(crate) fn restore(&self, revision: &Revision) -> Result<()> {
        match self {
            Self::Store(store) => Ok(store.restore(revision)?),
            Self::Hub(hub) => hub.restore(revision),
        }
    }
}
