//! The keys of the objects of a store, as `docs/REGISTRY.md` lists them.

use std::time::{SystemTime, UNIX_EPOCH};

use at1w_container::Digest;

use crate::name::RepoName;

pub(crate) const STORE: &str = "store.json";
pub(crate) const LEASES: &str = "leases";
pub(crate) const REPOS: &str = "repos";
pub(crate) const PROBES: &str = "probes";
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const METER: &str = "meter";
pub(crate) const SEALS: &str = "seals";
pub(crate) const PAST: &str = "past";
pub(crate) const SIGNATURES: &str = "signatures";

/// Returns the folder of a kind of objects of a namespace.
pub(crate) fn packs(namespace: &str) -> String {
    format!("packs/{namespace}")
}

pub(crate) fn pack(namespace: &str, id: &str) -> String {
    format!("packs/{namespace}/{id}")
}

pub(crate) fn files(namespace: &str) -> String {
    format!("files/{namespace}")
}

/// Returns the folder of the recipes of a file.
pub(crate) fn recipes(namespace: &str, sha256: Digest) -> String {
    let sha256 = sha256.to_string();
    format!("files/{namespace}/{}/{sha256}", &sha256[..2])
}

pub(crate) fn trees(namespace: &str) -> String {
    format!("trees/{namespace}")
}

/// Returns the folder of the copies of a tree.
pub(crate) fn tree(namespace: &str, sha256: Digest) -> String {
    let sha256 = sha256.to_string();
    format!("trees/{namespace}/{}/{sha256}", &sha256[..2])
}

pub(crate) fn index(namespace: &str) -> String {
    format!("index/{namespace}")
}

pub(crate) fn tombstones(namespace: &str) -> String {
    format!("tombstones/{namespace}")
}

pub(crate) fn marks(namespace: &str) -> String {
    format!("scrub/{namespace}/marks")
}

pub(crate) fn scrubs(namespace: &str) -> String {
    format!("scrub/{namespace}/done")
}

pub(crate) fn summaries(namespace: &str) -> String {
    format!("summaries/{namespace}")
}

/// Returns the folder of what the meter needs of objects that were deleted.
pub(crate) fn past(namespace: &str) -> String {
    format!("{PAST}/{namespace}")
}

/// Returns the folder of the usage records of an hour.
pub(crate) fn records(hour: &str) -> String {
    format!("{METER}/{hour}")
}

/// Returns the key of usage records, by the number of the first one.
pub(crate) fn record(hour: &str, server: &str, seq: u64) -> String {
    format!("{METER}/{hour}/{server}/{seq:08}")
}

pub(crate) fn seal(hour: &str) -> String {
    format!("{SEALS}/{hour}")
}

pub(crate) fn signature(day: &str) -> String {
    format!("{SIGNATURES}/{day}")
}

/// Returns the folder of all logs that a name has had.
pub(crate) fn name(repo: &RepoName) -> String {
    format!("{REPOS}/{}/{}", repo.namespace, repo.folded())
}

/// Returns the folder of the log of the `birth`-th repository of a name.
pub(crate) fn log(repo: &RepoName, birth: u32) -> String {
    format!("{}/{birth:04}/log", name(repo))
}

/// Returns the repository that a log is of, in small letters.
pub(crate) fn repo_of(log: &str) -> Option<&str> {
    let (repo, _birth) = log.strip_prefix("repos/")?.strip_suffix("/log")?.rsplit_once('/')?;
    Some(repo)
}

/// Returns the key of an entry of a log.
pub(crate) fn entry(log: &str, seq: u64) -> String {
    format!("{log}/{seq:08}")
}

/// Returns the folder of the checkpoints of a log.
pub(crate) fn checkpoints(log: &str) -> String {
    let repo = log.strip_prefix(REPOS).unwrap_or(log);
    format!("{CHECKPOINTS}{}", repo.strip_suffix("/log").unwrap_or(repo))
}

/// Returns 128 random bits in hexadecimal: a name that nobody else chooses.
pub(crate) fn random() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a name is one of [`random`]: names out of objects of a store become parts of keys.
pub(crate) fn is_random(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns a name that nobody else chooses, and that sorts after those that were chosen before, and
/// after `last`.
pub(crate) fn next(last: Option<&str>) -> String {
    next_at(SystemTime::now(), last)
}

/// [`next`] for those who know the time of the store.
pub(crate) fn next_at(now: SystemTime, last: Option<&str>) -> String {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let stamp = now.max(last.map_or(0, |last| millis(last).saturating_add(1)));
    format!("{stamp:012x}-{}", &random()[..16])
}

/// Returns the time in a name of [`next`], in milliseconds since 1970; 0 for another name.
pub(crate) fn millis(name: &str) -> u64 {
    let stamp = name.split_once('-').map(|(stamp, _)| u64::from_str_radix(stamp, 16));
    stamp.and_then(Result::ok).unwrap_or(0)
}

/// Returns the folder that an object lies in.
pub(crate) fn parent(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the last part of a key.
pub(crate) fn last_part(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_names_sort_later() {
        let first = next(None);
        let second = next(Some(&first));
        assert!(first < second);
        // Also where the clock is behind.
        let ahead = "ffff00000000-0000000000000000";
        assert!(next(Some(ahead)).as_str() > ahead);
    }
}
