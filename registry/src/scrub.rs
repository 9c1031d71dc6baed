//! Scrubbing: reads and proves every byte that is in use, and names the revisions that need what is
//! damaged.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use at1w_container::{Digest, Progress};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::keys;
use crate::log::read_each;
use crate::mark::{Broken, InUse, Marked, Part, read_trees, revision, survey};
use crate::name::RepoName;
use crate::prove::{Proof, pack_lens};
use crate::push::Signer;
use crate::recipe::Location;
use crate::record::Record;
use crate::stage;
use crate::store::Store;
use crate::time::rfc3339;
use crate::view::marks;

/// How a store is scrubbed.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ScrubOptions<'a> {
    /// The namespace; `None` is all of them.
    pub namespace: Option<&'a str>,
    /// The repository; `None` is all of the namespace.
    pub repo: Option<&'a RepoName>,
    /// The part of the bytes to prove, from 0 to 1, chosen at random.
    pub sample: f64,
    /// Whether to go on with a scrub of everything that did not come to its end.
    pub resume: bool,
    /// The number of bytes after which what was proven so far is written down.
    pub checkpoint: u64,
    /// Signs the statement of the record; returns the signature.
    pub sign: Option<&'a Signer<'a>>,
    /// The listener that is told about the work.
    pub progress: &'a dyn Progress,
}

impl Default for ScrubOptions<'_> {
    fn default() -> Self {
        Self {
            namespace: None,
            repo: None,
            sample: 1.0,
            resume: false,
            checkpoint: 256 << 30,
            sign: None,
            progress: &(),
        }
    }
}

impl fmt::Debug for ScrubOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubOptions")
            .field("namespace", &self.namespace)
            .field("repo", &self.repo)
            .field("sample", &self.sample)
            .finish_non_exhaustive()
    }
}

impl<'a> ScrubOptions<'a> {
    /// Returns the defaults: everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the namespace.
    #[must_use]
    pub fn namespace(self, namespace: impl Into<Option<&'a str>>) -> Self {
        Self { namespace: namespace.into(), ..self }
    }

    /// Sets the repository.
    #[must_use]
    pub fn repo(self, repo: impl Into<Option<&'a RepoName>>) -> Self {
        Self { repo: repo.into(), ..self }
    }

    /// Sets the part of the bytes to prove.
    #[must_use]
    pub fn sample(self, sample: f64) -> Self {
        Self { sample, ..self }
    }

    /// Sets whether to go on with a scrub of everything that did not come to its end.
    #[must_use]
    pub fn resume(self, resume: bool) -> Self {
        Self { resume, ..self }
    }

    /// Sets the number of bytes after which what was proven so far is written down.
    #[must_use]
    pub fn checkpoint(self, checkpoint: u64) -> Self {
        Self { checkpoint, ..self }
    }

    /// Whether everything in a namespace is proven.
    pub(crate) fn is_whole(&self) -> bool {
        self.repo.is_none() && self.sample >= 1.0
    }

    /// Sets what signs the record.
    #[must_use]
    pub fn sign(self, sign: impl Into<Option<&'a Signer<'a>>>) -> Self {
        Self { sign: sign.into(), ..self }
    }

    /// Sets the listener that is told about the work.
    #[must_use]
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}

/// A tensor or a file that is damaged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Damage {
    /// The namespace.
    pub namespace: String,
    /// The SHA-256 of an original file that needs it; `None` for a log or a tree.
    pub file: Option<String>,
    /// The name of the tensor in that file; `None` for a file that is not packed.
    pub tensor: Option<String>,
    /// The object that is damaged, or the folder of objects of which none is good.
    pub pack: String,
    /// The first damaged byte; 0 for an object that is damaged as a whole.
    pub offset: u64,
    /// The number of bytes; 0 for an object that is damaged as a whole.
    pub len: u64,
    /// What is wrong.
    pub problem: String,
    /// The revisions that need it: repository, commit and path.
    pub revisions: Vec<String>,
}

impl Damage {
    /// Returns the damage of an object as a whole.
    fn whole(namespace: &str, object: String, problem: &str, revisions: Vec<String>) -> Self {
        Self {
            namespace: namespace.into(),
            file: None,
            tensor: None,
            pack: object,
            offset: 0,
            len: 0,
            problem: problem.into(),
            revisions,
        }
    }
}

/// The outcome of a scrub.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scrubbed {
    /// The number of stored bytes that were read.
    pub bytes: u64,
    /// The number of places that were proven.
    pub proven: u64,
    /// The number of places of differences that could not be proven because their base is damaged.
    #[serde(default)]
    pub unproven: u64,
    /// What is damaged.
    pub damaged: Vec<Damage>,
    /// The number of marks that were lifted, since what they marked is good again.
    pub lifted: u64,
}

/// Returns the damage that something broken is; `None` where what is asked for does not need it.
fn damage_of(
    namespace: &str,
    Broken { part, error }: &Broken,
    asked: Option<&RepoName>,
    revisions: &HashMap<Digest, Vec<String>>,
) -> Option<Damage> {
    let damage =
        |object, revisions| Damage::whole(namespace, object, &error.to_string(), revisions);
    match part {
        Part::Log(folder) => {
            let of_asked = |repo| folder.starts_with(&format!("{}/", keys::name(repo)));
            asked.is_none_or(of_asked).then(|| damage(folder.clone(), Vec::new()))
        }
        Part::Tree(tree, revisions) => {
            let of_asked =
                |found: &str| asked.is_none_or(|repo| found.starts_with(&format!("{repo}@")));
            let revisions: Vec<_> =
                revisions.iter().filter(|found| of_asked(found)).cloned().collect();
            (!revisions.is_empty()).then(|| damage(keys::tree(namespace, *tree), revisions))
        }
        Part::Recipe(file) => {
            let damage = damage(keys::recipes(namespace, *file), revisions.get(file)?.clone());
            Some(Damage { file: Some(file.to_string()), ..damage })
        }
    }
}

impl Store {
    /// Reads and proves what is in use, marks what is damaged so that nobody relies on it, and
    /// lifts the marks of what is good.
    ///
    /// # Errors
    /// Those of the store. Damage is an outcome and no error.
    pub fn scrub(&self, options: &ScrubOptions<'_>) -> Result<Scrubbed> {
        self.require()?;
        let now = self.now()?;
        let mut done = Scrubbed::default();
        let asked = options.namespace.or(options.repo.map(|repo| repo.namespace.as_str()));
        if let Some(repo) = options.repo {
            self.head(repo)?;
        }
        let all = match asked {
            Some(namespace) => vec![namespace.to_owned()],
            None => self.namespaces()?,
        };
        for namespace in all {
            // One at a time is in memory.
            let marked = survey(self, Some(&namespace), now, Duration::ZERO, read_each)?;
            for (namespace, marked) in marked {
                self.scrub_namespace(&namespace, &marked, options, &mut done)?;
            }
        }
        Ok(done)
    }

    /// Returns for each of some files of a namespace the revisions that need it.
    fn revisions(
        &self,
        namespace: &str,
        commits: &[&InUse],
        files: &HashSet<Digest>,
    ) -> Result<HashMap<Digest, Vec<String>>> {
        let mut revisions: HashMap<_, Vec<_>> = HashMap::new();
        if files.is_empty() {
            return Ok(revisions);
        }
        let mut paths: HashMap<Digest, Vec<(Digest, String)>> = HashMap::new();
        read_trees(
            self,
            namespace,
            commits.iter().map(|in_use| &in_use.commit),
            |commit, tree| {
                // One that is gone meanwhile is in no use.
                let needs = tree.into_iter().flat_map(|tree| tree.files);
                let needs = needs.filter(|(_, file)| files.contains(&file.sha256));
                paths.insert(commit.tree, needs.map(|(path, file)| (file.sha256, path)).collect());
                Ok(())
            },
        )?;
        for in_use in commits {
            for (file, path) in paths.get(&in_use.commit.tree).into_iter().flatten() {
                let revision = format!("{} {path}", revision(&in_use.repo, &in_use.commit));
                revisions.entry(*file).or_default().push(revision);
            }
        }
        Ok(revisions)
    }

    fn scrub_namespace(
        &self,
        namespace: &str,
        marked: &Marked,
        options: &ScrubOptions<'_>,
        done: &mut Scrubbed,
    ) -> Result<()> {
        let damaged_before = done.damaged.len();
        let is_asked =
            |in_use: &InUse| options.repo.is_none_or(|repo| repo.to_string() == in_use.repo);
        let files: HashSet<_> = marked.files(is_asked).map(|file| file.sha256).collect();
        let chance = RandomState::new();
        let limit = (options.sample.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        // What was proven before, where another scrub is gone on with.
        let before = if options.resume { self.unfinished(namespace)? } else { None };
        let (began, proven) =
            before.unwrap_or_else(|| (rfc3339(SystemTime::now()), HashSet::new()));
        let whole = options.is_whole().then(|| began.clone());
        let mut record = Record { began: whole, ..Record::default() };
        let mut written = proven;
        let skipped = written.clone();
        let wanted = |location: &Location| {
            chance.hash_one(location) <= limit && !skipped.contains(&location.pack)
        };
        let files = |file: &Digest| files.contains(file);
        let sizes = marked.recipes.values().map(|(_, recipe)| (recipe.sha256, recipe.size));
        options.progress.begin(sizes.filter(|(file, _)| files(file)).map(|(_, size)| size).sum());
        let lens = pack_lens(self, namespace)?;
        let mut last: Option<String> = None;
        let after = |proof: &Proof| {
            if proof.bytes - record.bytes < options.checkpoint {
                return Ok(());
            }
            record.note(proof, &lens, &mut written);
            // Two of one millisecond would be in any order.
            last = Some(self.write_record(namespace, record.clone(), last.as_deref())?);
            Ok(())
        };
        let proof = Proof::of(self, namespace, marked, &files, &wanted, options.progress, after)?;
        let before = marks(&self.objects, namespace)?;
        for (location, problem) in proof.damaged() {
            if !before.contains_key(location) {
                stage::mark(self, namespace, location, problem)?;
            }
        }
        let lifted = before.iter().filter(|(location, _)| proof.is_good(location));
        let lifted: Vec<_> = lifted.flat_map(|(_, keys)| keys.clone()).collect();
        self.objects.delete(&lifted)?;
        let broken = marked.broken.iter().filter_map(|broken| match broken.part {
            Part::Recipe(file) => Some(file),
            _ => None,
        });
        let needed: HashSet<_> = proof.bad.iter().map(|bad| bad.file).chain(broken).collect();
        let commits: Vec<_> = marked.commits.iter().filter(|in_use| is_asked(in_use)).collect();
        let revisions = self.revisions(namespace, &commits, &needed)?;
        let of = |file: &Digest| revisions.get(file).cloned().unwrap_or_default();
        for broken in &marked.broken {
            done.damaged.extend(damage_of(namespace, broken, options.repo, &revisions));
        }
        for bad in &proof.bad {
            let (key, _) = &marked.recipes[&bad.file];
            let (pack, offset, len) = match bad.damaged_place(&proof) {
                Some((_, place)) => (keys::pack(namespace, &place.pack), place.offset, place.len),
                None => (key.clone(), 0, 0),
            };
            done.damaged.push(Damage {
                file: Some(bad.file.to_string()),
                tensor: bad.tensor.clone(),
                offset,
                len,
                ..Damage::whole(namespace, pack, &bad.problem, of(&bad.file))
            });
        }
        done.damaged
            .sort_by(|a, b| (&a.pack, a.offset, &a.file).cmp(&(&b.pack, b.offset, &b.file)));
        done.bytes += proof.bytes;
        done.proven += proof.good().count() as u64;
        done.unproven += proof.unproven();
        done.lifted += lifted.len() as u64;
        record.note(&proof, &lens, &mut written);
        record.complete = options.is_whole();
        let found = (done.damaged.len() - damaged_before) as u64;
        let statement = self.statement(namespace, marked, &proof, found, &record, began)?;
        let record = record.stating(&statement, options.sign)?;
        self.write_record(namespace, record, last.as_deref()).map(drop)
    }
}
