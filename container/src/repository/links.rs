//! Symbolic links within a repository: their targets as manifests write them.

use std::path::{Component, Path};

/// Returns the path that a link of the repository leads to in one step; empty for the root. `None`
/// unless `target` is the one spelling that never leaves the repository: some `..`, and then names.
///
/// After a name there is no `..`: the name may be another link, and then `..` would lead from
/// there. So what a manifest says decides where a link leads, wherever the other links lead.
pub(super) fn destination(link: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    if target == "." {
        return Some(parts.join("/"));
    }
    let mut named = false;
    for part in target.split('/') {
        match part {
            ".." if !named => {
                parts.pop()?;
            }
            "" | "." | ".." => return None,
            name if name.contains(['\\', '\0']) => return None,
            name => {
                named = true;
                parts.push(name);
            }
        }
    }
    Some(parts.join("/"))
}

/// Returns the target for a link of the repository that leads to `path` in it.
pub(super) fn target_of(link: &str, path: &str) -> String {
    let folders: Vec<&str> =
        link.rsplit_once('/').map_or(Vec::new(), |(f, _)| f.split('/').collect());
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let common = folders.iter().zip(&names).take_while(|(a, b)| a == b).count();
    let up = folders.len() - common;
    let parts: Vec<&str> =
        std::iter::repeat_n("..", up).chain(names[common..].iter().copied()).collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

/// Returns a path as manifests write it; `None` if its names are not valid UTF-8.
pub(super) fn written(path: &Path) -> Option<String> {
    let parts = path.components().map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_within_a_repository_have_a_destination() {
        let link = "models--a/snapshots/main/model.safetensors";
        let blob = Some("models--a/blobs/abc".to_owned());
        assert_eq!(destination(link, "../../blobs/abc"), blob);
        assert_eq!(destination("a", "b/c"), Some("b/c".into()));
        assert_eq!(destination("a/b", "."), Some("a".into()));
        assert_eq!(destination("a/b", ".."), Some(String::new()));
    }

    #[test]
    fn targets_that_may_leave_it_have_none() {
        for target in ["", "/etc/passwd", "../../x", "x/../y", "x/..", "./x", "x//y", "x/", "a\\b"]
        {
            assert_eq!(destination("a/b", target), None, "{target:?}");
        }
    }

    #[test]
    fn targets_are_found_again() {
        for link in ["a", "a/b", "a/b/c", "x/y"] {
            for path in ["", "a", "a/b", "a/d", "x/y/z", "q/r"] {
                assert_eq!(destination(link, &target_of(link, path)).as_deref(), Some(path));
            }
        }
    }
}
