//! The hub that is mirrored, as a client of it.

use std::time::Duration;

use at1w_container::Digest;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;

use crate::address::{Kind, RepoId, encode};
use crate::error::{Answer, Problem};

/// How long the next bytes of upstream may take.
const IDLE: Duration = Duration::from_secs(60);

/// The largest description of a repository, in bytes.
const DESCRIPTION: usize = 64 << 20;

/// The largest number of redirects that are followed.
const REDIRECTS: usize = 5;

/// A hub, and the token for it.
pub(super) struct Upstream {
    url: String,
    client: reqwest::Client,
    token: Option<String>,
}

/// What upstream says about a revision.
#[derive(Deserialize)]
pub(super) struct Described {
    pub(super) sha: String,
    pub(super) siblings: Vec<Sibling>,
    #[serde(default)]
    pub(super) private: bool,
    #[serde(default)]
    gated: Value,
}

impl Described {
    /// Whether upstream lets only those read it whom somebody has admitted.
    pub(super) fn is_gated(&self) -> bool {
        !matches!(self.gated, Value::Null | Value::Bool(false))
    }
}

/// A file of a revision.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sibling {
    pub(super) rfilename: String,
    #[serde(default)]
    pub(super) size: u64,
    pub(super) blob_id: Option<String>,
    pub(super) lfs: Option<Large>,
}

impl Sibling {
    /// Returns the SHA-256 of a large file.
    pub(super) fn sha256(&self) -> Option<Digest> {
        self.lfs.as_ref()?.sha256.parse().ok()
    }
}

/// What is known about a large file.
#[derive(Deserialize)]
pub(super) struct Large {
    pub(super) sha256: String,
}

impl Upstream {
    pub(super) fn new(url: &str, token: Option<String>) -> Result<Self, reqwest::Error> {
        // Whoever answers there must not have other addresses of this network asked.
        let follow = |attempt: reqwest::redirect::Attempt<'_>| {
            let (to, first) = (attempt.url(), attempt.previous().first());
            let home = first.is_some_and(|first| first.origin() == to.origin());
            if attempt.previous().len() > REDIRECTS {
                attempt.error("there are too many redirects")
            } else if home || to.scheme() == "https" {
                attempt.follow()
            } else {
                attempt.error("a redirect leads elsewhere without TLS")
            }
        };
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10));
        let client = client.redirect(Policy::custom(follow)).build()?;
        Ok(Self { url: url.trim_end_matches('/').into(), client, token })
    }

    /// Asks about a revision.
    pub(super) async fn describe(&self, id: &RepoId, revision: &str) -> Answer<Described> {
        let kind = match id.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
            Kind::Space => "spaces",
        };
        let path = format!("api/{kind}/{}/revision/{}?blobs=true", id.shown(), encode(revision));
        let mut answer = self.get(&path, revision).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = next(&mut answer).await? {
            if bytes.len() + piece.len() > DESCRIPTION {
                return Err(unreachable("what it says is too long"));
            }
            bytes.extend_from_slice(&piece);
        }
        serde_json::from_slice(&bytes).map_err(|error| unreachable(&error.to_string()))
    }

    /// Asks for a file of a commit.
    pub(super) async fn file(&self, id: &RepoId, sha: &str, path: &str) -> Answer<Pieces> {
        let encoded: Vec<_> = path.split('/').map(encode).collect();
        let (folder, shown) = (id.kind.folder(), id.shown());
        let address = format!("{folder}{shown}/resolve/{sha}/{}", encoded.join("/"));
        self.get(&address, sha).await.map(Pieces)
    }

    async fn get(&self, path: &str, revision: &str) -> Answer<reqwest::Response> {
        let mut request = self.client.get(format!("{}/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = tokio::time::timeout(IDLE, request.send()).await;
        let answer = answer.map_err(|_| unreachable("it does not answer"))?;
        let answer = answer.map_err(|error| unreachable(&error.to_string()))?;
        let status = answer.status().as_u16();
        let code = answer.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        match (status, code) {
            (200, _) => Ok(answer),
            // Whoever upstream does not let in learns no more than that.
            (401 | 403 | 404, Some("RepoNotFound")) => Err(Problem::no_repo()),
            (404, Some("RevisionNotFound")) => Err(Problem::no_revision(revision)),
            (401 | 403, Some("GatedRepo")) => Err(gated()),
            // Anything else is no word about the repository: a wrong token, or no hub at all.
            (status, _) => Err(unreachable(&format!("it answers {status}"))),
        }
    }
}

/// The bytes of a file, as they come.
pub(super) struct Pieces(reqwest::Response);

impl Pieces {
    pub(super) async fn next(&mut self) -> Answer<Option<axum::body::Bytes>> {
        next(&mut self.0).await
    }
}

/// Returns the next bytes of an answer.
async fn next(answer: &mut reqwest::Response) -> Answer<Option<axum::body::Bytes>> {
    let piece = tokio::time::timeout(IDLE, answer.chunk()).await;
    let piece = piece.map_err(|_| unreachable("its answer stops"))?;
    piece.map_err(|error| unreachable(&error.to_string()))
}

/// Upstream does not give what was asked for, though it may at another time.
pub(super) fn unreachable(cause: &str) -> Problem {
    Problem::busy("Upstream cannot be reached: try again").because(cause)
}

/// Upstream gives a repository to those alone whom somebody has admitted.
pub(super) fn gated() -> Problem {
    Problem::forbidden("Upstream gates this repository, and it is not mirrored").code("GatedRepo")
}
