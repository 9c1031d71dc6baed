//! The names of namespaces, repositories, branches, tags and files.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The longest name, in bytes.
const MAX_LEN: usize = 96;

/// The longest path of a file, the longest part of one, in bytes, and the largest number of parts:
/// what file systems take, and listings can walk.
const MAX_PATH: (usize, usize, usize) = (1024, 255, 64);

/// First segments that addresses of a server have a meaning for.
const RESERVED: [&str; 14] = [
    "api",
    "lfs",
    "datasets",
    "spaces",
    "cas",
    "metrics",
    "healthz",
    "readyz",
    "static",
    "v1",
    "v2",
    "login",
    ".well-known",
    "admin",
];

/// The name of a repository: a namespace and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName {
    /// The namespace.
    pub namespace: String,
    /// The name in it, spelled as its creator spelled it.
    pub name: String,
}

impl RepoName {
    /// Checks both parts of a name.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(namespace: &str, name: &str) -> Result<Self> {
        check_namespace(namespace)?;
        check_name(name)?;
        Ok(Self { namespace: namespace.into(), name: name.into() })
    }

    /// Returns the name without differences of case, which no two repositories share.
    pub(crate) fn folded(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for RepoName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || refused(text, "is no name of a repository: write NS/NAME");
        let (namespace, name) = text.split_once('/').ok_or_else(refused)?;
        Self::new(namespace, name)
    }
}

/// A repository, and a branch, tag or commit of it where one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The repository.
    pub repo: RepoName,
    /// The branch, tag or commit; `None` is the branch `main`.
    pub revision: Option<String>,
}

impl Revision {
    /// Returns the branch, tag or commit.
    pub fn name(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.name())
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (text, None),
        };
        if let Some(revision) = revision {
            check_ref(revision)?;
        }
        Ok(Self { repo: repo.parse()?, revision: revision.map(str::to_owned) })
    }
}

/// The branch that is meant where none is named.
pub const MAIN: &str = "main";

/// Checks the name of a namespace, which is a folder of the store and the start of addresses.
///
/// # Errors
/// [`Error::Name`].
pub fn check_namespace(name: &str) -> Result<()> {
    check_name(name)?;
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(refused(name, "has capital letters: namespaces are spelled in small ones"));
    }
    if RESERVED.contains(&name) {
        return Err(refused(name, "is reserved, and is no name of a namespace"));
    }
    Ok(())
}

/// Checks the name of a branch or a tag: one name, or several with '/' between them.
///
/// # Errors
/// [`Error::Name`].
pub fn check_ref(name: &str) -> Result<()> {
    if name.len() > MAX_LEN {
        return Err(refused(name, "is no name: one has 1 to 96 characters"));
    }
    name.split('/').try_for_each(|part| check_name(part).map_err(|error| renamed(error, name)))
}

/// Has an error about a part of a name be one about the name.
fn renamed(error: Error, whole: &str) -> Error {
    match error {
        Error::Name { problem, .. } => refused(whole, &problem),
        error => error,
    }
}

/// Checks the name of a namespace, a repository or a token.
///
/// # Errors
/// [`Error::Name`].
pub fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let problem = if name.is_empty() || name.len() > MAX_LEN {
        "is no name: one has 1 to 96 characters"
    } else if !name.bytes().all(plain) {
        "is no name: one has letters, digits, '.', '_' and '-'"
    } else if name.contains("..") || name.starts_with(['.', '-']) || name.ends_with('.') {
        "is no name: one has no '..', does not begin with '.' or '-', and does not end with '.'"
    } else {
        return Ok(());
    };
    Err(refused(name, problem))
}

/// Checks the path of a file in a tree, which must stay within a directory on every system.
///
/// # Errors
/// [`Error::Name`].
pub fn check_path(path: &str) -> Result<()> {
    let apart = |part: &str| matches!(part, "" | "." | "..");
    if path.contains('\\') || path.chars().any(char::is_control) || path.split('/').any(apart) {
        return Err(refused(path, "is no path within a repository"));
    }
    let (most, part, parts) = MAX_PATH;
    let long = path.len() > most || path.split('/').any(|name| name.len() > part);
    if long || path.split('/').count() > parts {
        let shown: String = path.chars().take(40).collect();
        let problem = "is too long: a path has up to 1024 bytes, in 64 parts of up to 255";
        return Err(refused(&format!("{shown}..."), problem));
    }
    Ok(())
}

/// Checks that a file lies in no folder that Git takes for its own, on any system: whoever pulled
/// it into a work tree would run what it says.
///
/// # Errors
/// [`Error::Name`].
pub(crate) fn check_no_git(path: &str) -> Result<()> {
    // Some systems drop dots and spaces at the end, or characters that are not seen.
    let unseen = |c: &char| {
        matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}'
            | '\u{feff}')
    };
    let is_git = |part: &str| {
        let part: String = part.chars().filter(|c| !unseen(c)).collect();
        let part = part.trim_end_matches(['.', ' ']).to_ascii_lowercase();
        part == ".git" || part == "git~1"
    };
    if path.split('/').any(is_git) {
        return Err(refused(path, "lies where Git keeps what is its own"));
    }
    Ok(())
}

fn refused(name: &str, problem: &str) -> Error {
    Error::Name { name: name.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_their_place_are_refused() {
        for name in ["", "..", "a..b", ".a", "-a", "a.", "a b", "a\n", "a/b", "ä", "a\\b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name(&"a".repeat(97)).is_err());
        for name in ["a", "Llama-3.1_8B", "v1.0"] {
            check_name(name).unwrap();
        }
        for namespace in ["api", "V", "datasets", "lfs"] {
            assert!(RepoName::new(namespace, "a").is_err(), "{namespace:?}");
        }
        for path in ["", "/a", "a/../b", "a//b", "./a", "a\\b", "a\u{7}"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        check_path("a/b c.json").unwrap();
        check_path(&vec!["a"; 64].join("/")).unwrap();
        for long in [vec!["a"; 65].join("/"), "a".repeat(256), vec!["a".repeat(255); 5].join("/")] {
            assert!(check_path(&long).is_err(), "{long}");
        }
    }

    #[test]
    fn what_git_takes_for_its_own_is_refused() {
        for path in
            [".git/config", "a/.GIT/hooks/x", ".git", ".git. /x", "GIT~1/x", ".g\u{200c}it/x"]
        {
            assert!(check_no_git(path).is_err(), "{path:?}");
        }
        for path in [".gitattributes", "a.git/x", ".github/x", "git/x", "a/.gitignore"] {
            check_no_git(path).unwrap();
        }
    }

    #[test]
    fn revisions_are_parsed() {
        let revision: Revision = "ns/name@v1".parse().unwrap();
        assert_eq!((revision.repo.to_string().as_str(), revision.name()), ("ns/name", "v1"));
        let revision: Revision = "ns/name".parse().unwrap();
        assert_eq!(revision.name(), "main");
        assert!("name".parse::<Revision>().is_err() && "a/b/c".parse::<Revision>().is_err());
        assert!("a/b@../c".parse::<Revision>().is_err());
        let revision: Revision = "ns/name@feature/x".parse().unwrap();
        assert_eq!((revision.repo.name.as_str(), revision.name()), ("name", "feature/x"));
        for wrong in ["/x", "x/", "a//b", "a/../b", "a/.b"] {
            assert!(check_ref(wrong).is_err(), "{wrong}");
        }
    }
}
