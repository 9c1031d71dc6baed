//! Addresses as clients write them: segments, queries, and the repositories that they name.

use at1w_registry::RepoName;

use crate::error::{Answer, Problem};

/// The longest path of a request, in bytes.
const LONGEST: usize = 8 << 10;

/// A kind of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Dataset,
    Space,
}

impl Kind {
    /// Parses the kind in the plural, as addresses have it.
    pub(crate) fn plural(text: &str) -> Option<Self> {
        match text {
            "models" => Some(Self::Model),
            "datasets" => Some(Self::Dataset),
            "spaces" => Some(Self::Space),
            _ => None,
        }
    }

    /// Parses the kind as bodies have it.
    pub(crate) fn parse(text: Option<&str>) -> Answer<Self> {
        match text.unwrap_or("model") {
            "model" => Ok(Self::Model),
            "dataset" => Ok(Self::Dataset),
            "space" => Ok(Self::Space),
            other => Err(Problem::bad(format!("{other:?} is no kind of repository"))),
        }
    }

    /// Returns what the names of such repositories begin with in a store.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "dataset--",
            Self::Space => "space--",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    /// Returns the start of the addresses of files.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
        }
    }
}

/// A repository as clients name it.
#[derive(Clone, Debug)]
pub(crate) struct RepoId {
    pub(crate) kind: Kind,
    /// The namespace as it was spelled: a store has small letters alone.
    namespace: String,
    /// The name in the store.
    pub(crate) repo: RepoName,
}

impl RepoId {
    /// Checks a name.
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Answer<Self> {
        let other = [Kind::Dataset, Kind::Space].iter().any(|kind| name.starts_with(kind.prefix()));
        if other {
            return Err(Problem::bad(format!("{name:?} is reserved for other kinds")));
        }
        let stored = namespace.to_ascii_lowercase();
        let repo = RepoName::new(&stored, &format!("{}{name}", kind.prefix()))?;
        Ok(Self { kind, namespace: namespace.into(), repo })
    }

    /// Returns the repository with a name in the store.
    pub(crate) fn of(stored: &str) -> Answer<Self> {
        let repo: RepoName = stored.parse()?;
        let kinds = [Kind::Dataset, Kind::Space];
        let kind = kinds.into_iter().find(|kind| repo.name.starts_with(kind.prefix()));
        let namespace = repo.namespace.clone();
        Ok(Self { kind: kind.unwrap_or(Kind::Model), namespace, repo })
    }

    /// Returns the name as the client spells it.
    pub(crate) fn shown(&self) -> String {
        format!("{}/{}", self.namespace, &self.repo.name[self.kind.prefix().len()..])
    }
}

/// The parameters of a query, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Answer<Self> {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, true)?, decode(value, true)?))
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(pair);
        Ok(Self(pairs.collect::<Answer<_>>()?))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all<'a>(&'a self, name: &str) -> std::vec::IntoIter<&'a str> {
        let of = self.0.iter().filter(|(known, _)| known == name);
        of.map(|(_, value)| value.as_str()).collect::<Vec<_>>().into_iter()
    }

    /// Writes the query with other values for some parameters; an empty one leaves it out.
    pub(crate) fn with(&self, changed: &[(&str, &str)]) -> String {
        let is_kept = |name: &str| changed.iter().all(|(known, _)| *known != name);
        let own = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = own.filter(|(name, _)| is_kept(name));
        let new = changed.iter().copied().filter(|(_, value)| !value.is_empty());
        let pairs =
            own.chain(new).map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// Whether a parameter says yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "1" | "true" | "True" | "yes"))
    }
}

/// Splits a path as it was sent, and decodes each segment.
pub(crate) fn segments(path: &str) -> Answer<Vec<String>> {
    if path.len() > LONGEST {
        return Err(Problem::new(axum::http::StatusCode::URI_TOO_LONG, "The address is too long"));
    }
    path.trim_matches('/').split('/').map(|segment| decode(segment, false)).collect()
}

/// Decodes percent signs, and in forms plus signs.
pub(crate) fn decode(text: &str, form: bool) -> Answer<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(Problem::bad("A percent sign is not followed by two digits"));
                };
                (high * 16 + low) as u8
            }
            b'+' if form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Problem::bad("The address is not valid UTF-8"))
}

/// Whether a name is one of a commit.
pub(crate) fn is_commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Encodes a segment of a path.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_before_they_are_decoded() {
        let found = segments("/lab/m/resolve/refs%2Fpr%2F1/a%20b/%C3%BC%2B%25.txt").unwrap();
        assert_eq!(found, ["lab", "m", "resolve", "refs/pr/1", "a b", "ü+%.txt"]);
        for wrong in ["/a%2", "/%zz", "/%ff"] {
            assert!(segments(wrong).is_err(), "{wrong}");
        }
        let query = Query::parse("a=1&b=x+y%2B&expand[]=sha&expand[]=tags&c").unwrap();
        assert_eq!(query.get("b"), Some("x y+"));
        assert_eq!(query.all("expand[]").count(), 2);
        assert!(query.flag("a") && !query.flag("c"));
        let query = Query::parse("a=1&b=%26+x&page=3").unwrap();
        assert_eq!(query.with(&[("page", ""), ("sort", "-b")]), "a=1&b=%26%20x&sort=-b");
        assert_eq!(encode("ü a/+"), "%C3%BC%20a%2F%2B");
    }

    #[test]
    fn names_of_other_kinds_are_reserved() {
        let id = RepoId::new(Kind::Dataset, "lab", "m").unwrap();
        assert_eq!(id.shown(), "lab/m");
        assert_eq!(RepoId::of(&id.repo.to_string()).unwrap().kind, Kind::Dataset);
        assert!(RepoId::new(Kind::Model, "lab", "dataset--m").is_err());
        assert!(RepoId::new(Kind::Model, "..", "m").is_err());
        let id = RepoId::new(Kind::Model, "Lab", "M").unwrap();
        assert_eq!((id.shown(), id.repo.to_string()), ("Lab/M".into(), "lab/M".into()));
    }
}
