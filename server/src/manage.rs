//! Making, removing and changing repositories, branches and tags.

use std::io::Write;
use std::sync::Arc;

use at1w_registry::{Change, Error as StoreError, Expected, MAIN, PushOptions, Revision};
use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::address::{Kind, RepoId, is_commit};
use crate::body::{SHORT, read};
use crate::call::{Call, blocking, json as answer, parse, text};
use crate::error::{Answer, Problem};
use crate::revision::{is_hidden, stored};
use crate::token::Role;

/// The first file of a repository: uploads ask for `main` before they make it.
const ATTRIBUTES: &str = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n";

/// Returns the namespace that is meant where none is named.
fn own_namespace(call: &Call) -> Answer<String> {
    let token = call.who.token().ok_or_else(Problem::needs_token)?;
    let own = token.namespaces.first().unwrap_or(&token.name);
    Ok(own.to_ascii_lowercase())
}

/// Tells whom a token belongs to.
pub(crate) fn who_am_i(call: &Call) -> Answer {
    let token = call.who.token().ok_or_else(Problem::needs_token)?;
    let name = own_namespace(call)?;
    let role = if token.role >= Role::Write { "write" } else { "read" };
    let org = |name: &String| json!({ "type": "org", "name": name, "roleInOrg": role });
    Ok(answer(&json!({
        "type": "user",
        "id": token.id,
        "name": name,
        "fullname": token.name,
        "email": null,
        "isPro": false,
        "orgs": token.namespaces.iter().map(org).collect::<Value>(),
        "auth": {
            "type": "access_token",
            "accessToken": { "displayName": token.name, "role": role },
        },
    })))
}

/// A repository as bodies name it.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    organization: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default)]
    visibility: Option<String>,
}

impl Named {
    fn id(&self, call: &Call) -> Answer<RepoId> {
        let kind = Kind::parse(self.kind.as_deref())?;
        let (namespace, name) = match (self.name.split_once('/'), &self.organization) {
            (Some((namespace, name)), _) => (namespace.to_owned(), name),
            (None, Some(organization)) => (organization.clone(), self.name.as_str()),
            (None, None) => (own_namespace(call)?, self.name.as_str()),
        };
        RepoId::new(kind, &namespace, name)
    }
}

/// Returns whether a repository is to be private, where that is said.
fn privacy(private: Option<bool>, visibility: Option<&str>) -> Option<bool> {
    private.or_else(|| visibility.map(|visibility| visibility != "public"))
}

/// Makes a repository, with a first commit.
pub(crate) async fn create(call: Arc<Call>, body: Body) -> Answer {
    own_namespace(&call)?;
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let named: Named = parse(&body)?;
        let id = named.id(&call)?;
        call.who.write_namespace(&call.hub, &id.repo.namespace)?;
        let shown = id.shown();
        let url = format!("{}/{}{shown}", call.base(), id.kind.folder());
        let there = || {
            let error = format!("You already created this {} repo", id.kind.name());
            let body = json!({ "error": error, "url": url, "id": shown });
            Problem::conflict(error).body(body)
        };
        match call.hub.store.entry(&id.repo) {
            Ok(_) => return Err(there()),
            Err(StoreError::NoRepo { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut file = NamedTempFile::new_in(call.hub.staging.path())?;
        file.write_all(ATTRIBUTES.as_bytes())?;
        let changes = [(".gitattributes".to_owned(), Change::Add(file.path().to_owned()))];
        let private = privacy(named.private, named.visibility.as_deref()).unwrap_or(false);
        // One that others make meanwhile stays as they made it.
        let options = PushOptions::new()
            .message("initial commit")
            .private(private)
            .expected(Expected::New(None));
        record(&call, "create", &id, json!({ "private": private }))?;
        let store = call.store();
        match store.apply(&id.repo, &changes, &options) {
            Err(StoreError::Exists(_)) => return Err(there()),
            made => made?,
        };
        Ok(answer(&json!({ "url": url, "name": shown, "id": shown })))
    })
    .await
}

/// Records a change of a repository in the audit log.
pub(crate) fn record(call: &Call, action: &str, id: &RepoId, more: Value) -> Answer<()> {
    call.hub.audit(json!({
        "request": call.id,
        "token": call.who.token().map(|token| &token.id),
        "actor": call.who.name(),
        "action": action,
        "repo": id.repo.to_string(),
        "more": more,
    }))
}

/// Removes a repository. It can be restored until it is collected.
pub(crate) async fn delete(call: Arc<Call>, body: Body) -> Answer {
    own_namespace(&call)?;
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let id = parse::<Named>(&body)?.id(&call)?;
        call.who.write(&call.hub, &id)?;
        record(&call, "delete", &id, Value::Null)?;
        let whole = Revision { repo: id.repo, revision: None };
        call.store().remove(&whole)?;
        Ok(text(StatusCode::OK, "OK"))
    })
    .await
}

/// Gives a repository another name in its namespace.
pub(crate) async fn rename(call: Arc<Call>, body: Body) -> Answer {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Move {
        from_repo: String,
        to_repo: String,
        #[serde(default, rename = "type")]
        kind: Option<String>,
    }
    own_namespace(&call)?;
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let asked: Move = parse(&body)?;
        let kind = Kind::parse(asked.kind.as_deref())?;
        let id = |name: &str| {
            let (namespace, name) = name.split_once('/').ok_or_else(Problem::no_repo)?;
            RepoId::new(kind, namespace, name)
        };
        let (from, to) = (id(&asked.from_repo)?, id(&asked.to_repo)?);
        call.who.write(&call.hub, &from)?;
        call.who.write_namespace(&call.hub, &to.repo.namespace)?;
        if from.repo.namespace != to.repo.namespace {
            let message = "A repository stays in its namespace, which its tensors are shared in: \
                           upload it to the other one";
            return Err(Problem::bad(message));
        }
        record(&call, "move", &from, json!({ "to": to.repo.to_string() }))?;
        call.store().rename(&from.repo, &to.repo.name)?;
        Ok(answer(&json!({})))
    })
    .await
}

/// Changes whether a repository is private.
pub(crate) async fn settings(call: Arc<Call>, id: RepoId, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Settings {
        #[serde(default)]
        gated: Value,
        private: Option<bool>,
        visibility: Option<String>,
    }
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let settings: Settings = parse(&body)?;
        if !matches!(settings.gated, Value::Null | Value::Bool(false)) {
            let message = "Gated repositories are not supported: make it private";
            return Err(Problem::bad(message));
        }
        call.who.write(&call.hub, &id)?;
        if let Some(private) = privacy(settings.private, settings.visibility.as_deref()) {
            record(&call, "settings", &id, json!({ "private": private }))?;
            call.store().set_private(&id.repo, private)?;
        }
        Ok(answer(&json!({})))
    })
    .await
}

/// Makes or removes a branch.
pub(crate) async fn branch(call: Arc<Call>, id: RepoId, name: String, body: Body) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct From {
        starting_point: Option<String>,
    }
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let entry = call.who.write(&call.hub, &id)?;
        check_new(&name)?;
        let store = call.store();
        if call.method == Method::DELETE {
            let there = entry.branches.contains_key(&name);
            return remove(&call, &id, there, name);
        }
        let from: From = if body.is_empty() { From::default() } else { parse(&body)? };
        let revision = from.starting_point.as_deref().map(stored).transpose()?;
        record(&call, "branch", &id, json!({ "branch": name, "from": revision }))?;
        store.branch(&Revision { repo: id.repo, revision }, &name)?;
        Ok(text(StatusCode::OK, ""))
    })
    .await
}

/// Makes or removes a tag: the segment names the revision, or the tag.
pub(crate) async fn tag(call: Arc<Call>, id: RepoId, segment: String, body: Body) -> Answer {
    #[derive(Deserialize)]
    struct Tag {
        tag: String,
    }
    let body = read(&call, body, SHORT).await?;
    blocking(move || {
        let entry = call.who.write(&call.hub, &id)?;
        if call.method == Method::DELETE {
            let there = entry.tags.contains_key(&segment);
            return remove(&call, &id, there, segment);
        }
        let Tag { tag } = parse(&body)?;
        check_new(&tag)?;
        let revision = Some(stored(&segment)?);
        record(&call, "tag", &id, json!({ "tag": tag, "from": revision }))?;
        let store = call.store();
        store.tag(&Revision { repo: id.repo, revision }, &tag)?;
        Ok(text(StatusCode::CREATED, ""))
    })
    .await
}

/// Checks the name of a new branch or tag, which must not be taken for a commit or a pull request.
pub(crate) fn check_new(name: &str) -> Answer<()> {
    at1w_registry::check_ref(name)?;
    if is_commit(name) || is_hidden(name) || name.starts_with("refs/") {
        return Err(Problem::bad(format!("{name} is no name for a branch or a tag")));
    }
    Ok(())
}

/// Removes a branch or a tag, which must be there as the one that the address says.
fn remove(call: &Call, id: &RepoId, there: bool, name: String) -> Answer {
    if !there {
        return Err(Problem::no_revision(&name));
    }
    if name == MAIN {
        return Err(Problem::bad("The branch main cannot be removed"));
    }
    record(call, "remove", id, json!({ "ref": name }))?;
    let named = Revision { repo: id.repo.clone(), revision: Some(name) };
    call.store().remove(&named)?;
    Ok(text(StatusCode::OK, ""))
}
