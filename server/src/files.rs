//! Files: their headers and their bytes, in ranges, each byte verified before it leaves.

use std::ops::Range;
use std::sync::Arc;

use at1w_container::Digest;
use at1w_registry::{File, Original};
use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderName, Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use tracing::error;

use crate::address::RepoId;
use crate::call::{Call, blocking};
use crate::error::{Answer, Problem, header_value};
use crate::hub::Hub;
use crate::mirror::ensure;
use crate::packed;
use crate::reads::ReadOf;
use crate::revision::{check_signed, find};
use crate::send::{Read, Wanted, common, respond, send, wanted};

/// Files that are stored as they are and have at most this many bytes are verified as a whole
/// before any range of them leaves.
const WHOLE: u64 = 8 << 20;

/// Files of fewer bytes have the name that git gives them; larger ones have their SHA-256.
const LARGE: u64 = 1 << 20;

/// Whether a file is one of those that git would not keep itself.
pub(crate) fn is_large(file: &File) -> bool {
    file.root.is_some() || file.size >= LARGE
}

/// Returns the mark by which clients know a content.
pub(crate) fn etag(file: &File) -> String {
    if is_large(file) { file.sha256.to_string() } else { file.git.clone() }
}

/// The pointer that git keeps for a large file.
pub(crate) fn pointer(file: &File) -> String {
    let File { sha256, size, .. } = file;
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// Answers HEAD and GET of a file.
pub(crate) async fn answer(
    call: Arc<Call>,
    id: RepoId,
    revision: String,
    path: String,
    raw: bool,
) -> Answer {
    if call.method != Method::GET && call.method != Method::HEAD {
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD"));
    }
    ensure(&call, &id, &revision, false).await?;
    let read_of = ReadOf(id.repo.to_string());
    let (asked, namespace) = (Arc::clone(&call), id.repo.namespace.clone());
    let (commit, file, path) = blocking(move || {
        let (call, hub) = (&asked, &asked.hub);
        let entry = call.who.read(hub, &id)?;
        let found = find(hub, &id, &entry, &revision)?;
        let tree = hub.tree(&id.repo.namespace, &found)?;
        check_signed(hub, &id, &entry, &revision, &tree)?;
        let file = tree.files.get(&path).cloned();
        let commit = found.commit;
        let file = file.ok_or_else(|| {
            let name = HeaderName::from_static("x-repo-commit");
            Problem::no_entry(&path).header(name, commit.clone())
        })?;
        Ok((commit, file, path))
    })
    .await?;
    if raw && is_large(&file) {
        return Ok(whole(&call, pointer(&file).into_bytes(), &file.git, &commit, &path));
    }
    if call.query.flag("at1w") {
        let answer = packed::answer(&call, &namespace, &file, &commit, &path).await?;
        if let Some(mut answer) = answer {
            answer.extensions_mut().insert(read_of);
            return Ok(answer);
        }
    } else if file.root.is_some() && packed::is_wanted(&call) {
        return packed::redirect(&call);
    }
    let etag = etag(&file);
    let mut headers = common(&path, &commit, &etag);
    headers.insert("x-linked-etag", header_value(&format!("\"{etag}\"")));
    headers.insert("x-linked-size", file.size.into());
    if file.root.is_some() {
        packed::announce(&call, &mut headers);
    }
    call.hub.check_damage(&namespace, file.sha256)?;
    let size = file.size;
    let wanted = wanted(&call.headers, &etag, size)?;
    let all = matches!(wanted, Wanted::All);
    let read = reader(&call, namespace, file, all);
    let mut response = send(&call, headers, wanted, size, read).await?;
    response.extensions_mut().insert(read_of);
    Ok(response)
}

/// Answers with bytes that are in memory.
fn whole(call: &Call, bytes: Vec<u8>, etag: &str, commit: &str, path: &str) -> Response<Body> {
    let mut headers = common(path, commit, etag);
    headers.insert(CONTENT_LENGTH, bytes.len().into());
    let head = call.method == Method::HEAD;
    respond(StatusCode::OK, headers, if head { Body::empty() } else { bytes.into() })
}

/// A file that is read for a request.
pub(crate) struct Opened {
    hub: Arc<Hub>,
    request: String,
    path: String,
    namespace: String,
    file: File,
    original: Option<Arc<Original>>,
}

impl Opened {
    pub(crate) fn of(call: &Call, namespace: String, file: File) -> Self {
        let (hub, request) = (Arc::clone(&call.hub), call.id.clone());
        Self { hub, request, path: call.path.clone(), namespace, file, original: None }
    }

    /// Reads something of the file: what is damaged is noted and not read again for a while, and a
    /// file that has moved is opened again.
    pub(crate) fn read<T>(
        &mut self,
        mut work: impl FnMut(&Original, &File) -> Result<T, at1w_registry::Error>,
    ) -> Answer<T> {
        let Self { hub, request, path, namespace, file, original } = self;
        let mut again = false;
        loop {
            let opened = match original.take() {
                Some(opened) => opened,
                None => hub.original(namespace, file)?,
            };
            let error = match work(&opened, file) {
                Ok(done) => {
                    *original = Some(opened);
                    return Ok(done);
                }
                Err(error) => error,
            };
            hub.forget(namespace, file.sha256);
            if error.is_integrity() {
                hub.mark_damaged(namespace, file.sha256);
                error!(request, path, sha256 = %file.sha256, %error, "damaged");
                return Err(error.into());
            }
            // It may have been packed anew since it was opened.
            if std::mem::replace(&mut again, true) {
                return Err(error.into());
            }
        }
    }

    /// Reads the first bytes of a short file, verified; `None` of a longer one.
    pub(crate) fn start(&mut self, len: u64) -> Answer<Option<Vec<u8>>> {
        if self.file.size > WHOLE {
            return Ok(None);
        }
        self.read(|original, file| Ok(Some(piece(original, file, 0..len.min(file.size), None)?)))
    }
}

/// Returns what reads the pieces of an original, each verified.
fn reader(call: &Call, namespace: String, file: File, all: bool) -> Read {
    let mut hasher = all.then(Sha256::new);
    let mut opened = Opened::of(call, namespace, file);
    Box::new(move |range: Range<u64>| {
        opened.read(|original, file| piece(original, file, range.clone(), hasher.as_mut()))
    })
}

/// Reads and checks a piece of an original. `hasher` has hashed everything before it, where all of
/// it is read.
fn piece(
    original: &Original,
    file: &File,
    range: Range<u64>,
    hasher: Option<&mut Sha256>,
) -> Result<Vec<u8>, at1w_registry::Error> {
    if let Original::Packed(_) = original {
        return original.read(range);
    }
    if file.size <= WHOLE {
        let bytes = original.read(0..file.size)?;
        check(Digest::of(&bytes), file)?;
        return Ok(bytes[range.start as usize..range.end as usize].to_vec());
    }
    let last = range.end == file.size;
    let bytes = original.read(range)?;
    if let Some(hasher) = hasher {
        hasher.update(&bytes);
        // The last piece stays here until everything before it is proven.
        if last {
            check(Digest(hasher.clone().finalize().into()), file)?;
        }
    }
    Ok(bytes)
}

fn check(actual: Digest, file: &File) -> Result<(), at1w_registry::Error> {
    if actual == file.sha256 {
        return Ok(());
    }
    let expected = file.sha256;
    Err(at1w_container::Error::Original { expected, actual }.into())
}
