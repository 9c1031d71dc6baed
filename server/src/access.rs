//! Access: who asks, and what he may do.

use std::net::SocketAddr;
use std::sync::Arc;

use at1w_registry::{Entry, Error as StoreError};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};

use crate::address::RepoId;
use crate::config::Anonymous;
use crate::error::{Answer, Problem};
use crate::hub::Hub;
use crate::owner::Owner;
use crate::session;
use crate::token::{Role, Token};

/// The one who asks.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// Somebody without a token, who may read what is not private.
    Anybody,
    /// Somebody without a token, who may read nothing.
    Nobody,
    Token(Arc<Token>),
}

impl Who {
    /// Finds out who asks. A token that is sent and unknown is refused, whatever is asked for.
    pub(crate) fn of(hub: &Hub, headers: &HeaderMap, peer: SocketAddr) -> Answer<Self> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            let open = match hub.config.anonymous {
                Anonymous::Never => false,
                Anonymous::Always => true,
                Anonymous::Loopback => is_local(hub, headers, peer),
            };
            return Ok(if open { Self::Anybody } else { Self::Nobody });
        };
        let secret = bearer(header.to_str().unwrap_or_default());
        let token = secret.map(|secret| hub.tokens.find(secret)).transpose()?.flatten();
        token.map(Self::Token).ok_or_else(Problem::unknown_token)
    }

    /// Finds out who asks for a page: a browser shows a token by its session.
    pub(crate) fn of_page(hub: &Hub, headers: &HeaderMap, peer: SocketAddr) -> Answer<Self> {
        if !headers.contains_key(AUTHORIZATION)
            && let Some(token) = session::find(hub, headers)?
        {
            return Ok(Self::Token(token));
        }
        Self::of(hub, headers, peer)
    }

    /// Returns the name for logs and commits.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Token(token) => &token.name,
            Self::Anybody | Self::Nobody => "anonymous",
        }
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Anybody | Self::Nobody => None,
        }
    }

    /// Whether the caller may read a repository, private ones of his namespaces included.
    fn may_read(&self, namespace: &str, private: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Anybody => !private,
            Self::Token(token) => !private || token.covers(namespace),
        }
    }

    fn may_write(&self, namespace: &str) -> bool {
        self.token().is_some_and(|token| token.role >= Role::Write && token.covers(namespace))
    }

    /// Whether the caller sees a repository in a list.
    pub(crate) fn sees(&self, entry: &Entry) -> bool {
        let namespace = entry.name.split('/').next().unwrap_or_default();
        self.may_read(namespace, entry.private)
    }

    /// Returns the last entry of a repository that the caller may read. One that he may not read
    /// looks like one that is not there.
    pub(crate) fn read(&self, hub: &Hub, id: &RepoId) -> Answer<Entry> {
        if matches!(self, Self::Nobody) {
            return Err(Problem::needs_token().code("RepoNotFound"));
        }
        match hub.store.entry(&id.repo) {
            Ok(entry) if self.may_read(&id.repo.namespace, entry.private) => Ok(entry),
            Ok(_) | Err(StoreError::NoRepo { .. }) => Err(Problem::no_repo()),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that the caller may write to a namespace.
    pub(crate) fn write_namespace(&self, hub: &Hub, namespace: &str) -> Answer<()> {
        if self.token().is_none() {
            return Err(Problem::needs_token());
        }
        if !self.may_write(namespace) {
            let message = format!("This token may not write to {namespace}");
            return Err(Problem::forbidden(message));
        }
        hub.claim(namespace, Owner::Local)
    }

    /// Returns the last entry of a repository that the caller may write to.
    pub(crate) fn write(&self, hub: &Hub, id: &RepoId) -> Answer<Entry> {
        if self.token().is_none() {
            return Err(Problem::needs_token());
        }
        let entry = self.read(hub, id)?;
        self.write_namespace(hub, &id.repo.namespace)?;
        Ok(entry)
    }
}

/// Whether a request comes from this machine, by no proxy and by no page of another name.
fn is_local(hub: &Hub, headers: &HeaderMap, peer: SocketAddr) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    hub.config.listen.ip().is_loopback()
        && peer.ip().is_loopback()
        && forwarded.iter().all(|name| !headers.contains_key(*name))
        && matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Returns the token of a header.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
