//! Pushing to a server: files are packed here, and only what it lacks is sent.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use at1w_container::{Digest, Error as Packing, Progress};
use at1w_registry::exchange::{Committed, FILES, Question, Stock, TENSORS, Wish, Wished};
use at1w_registry::{
    Commit, Error as StoreError, File as Stored, PushOptions, Pushed, RepoName, Revision, Source,
    SourceFile, StoredTensor, Tree, check_ref, pack_outline, signed_tree, tensor_keys, walk,
};
use at1w_remote::{Error as RemoteError, Payload};

use super::Hub;
use crate::failure::{Failure, Result};
use crate::secret_key::SecretKey;

/// Files of fewer bytes than this travel with the commit.
const SMALL: u64 = 1 << 20;

/// The number of files of others that a message names.
const OTHERS: usize = 5;

/// A push that runs.
struct Push<'a> {
    hub: &'a Hub,
    repo: &'a RepoName,
    options: &'a PushOptions<'a>,
    /// The commit of the branch when the push began, and its tree.
    base: Option<(Commit, Tree)>,
    /// Whether a signature is made over the tree, and whether the key has signed that of the base.
    signs: bool,
    trusted: bool,
    /// The files that are new, or other ones than before.
    files: BTreeMap<String, Stored>,
    wish: Wish,
    /// The small files, to be read again.
    small: Vec<&'a SourceFile>,
    pushed: Pushed,
}

impl Hub {
    /// Pushes a file, or the files of a directory, as one commit.
    pub(crate) fn push(
        &self,
        source: &Path,
        repo: &RepoName,
        options: &PushOptions<'_>,
        key: Option<&SecretKey>,
    ) -> Result<Pushed> {
        check_ref(options.branch)?;
        let Source { files, left_out } = walk(source, options.progress)?;
        options.progress.begin(files.iter().fold(0, |sum, file| sum.saturating_add(file.len)));
        let base = self.base(repo, options.branch)?;
        let signature = base.as_ref().and_then(|(commit, _)| commit.signature.as_deref());
        let trusted = key.zip(signature).is_some_and(|(key, signature)| {
            let tree = base.as_ref().map(|(commit, _)| signed_tree(&commit.tree));
            tree.is_some_and(|message| key.has_signed(&message, signature))
        });
        let mut push = Push {
            hub: self,
            repo,
            options,
            base,
            signs: key.is_some(),
            trusted,
            files: BTreeMap::new(),
            wish: Wish::default(),
            small: Vec::new(),
            pushed: Pushed::nothing(left_out),
        };
        push.add_all(&files)?;
        push.commit()?;
        Ok(push.pushed)
    }

    /// Returns the commit that a branch is at, and its tree; `None` where there is none yet.
    fn base(&self, repo: &RepoName, branch: &str) -> Result<Option<(Commit, Tree)>> {
        let entry = match self.entry(repo) {
            Err(Failure::Remote(RemoteError::Answer { status: 404, code, .. }))
                if code == "RepoNotFound" =>
            {
                return Ok(None);
            }
            entry => entry?,
        };
        let Some(found) = entry.branches.get(branch) else { return Ok(None) };
        let revision = Revision { repo: repo.clone(), revision: Some(found.commit.clone()) };
        Ok(Some(self.tree(&revision)?))
    }

    /// Asks which files and tensors a namespace has.
    fn stock(&self, namespace: &str, files: &[Digest], tensors: &[Digest]) -> Result<Stock> {
        let mut stock = Stock::default();
        let texts = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect();
        for files in files.chunks(FILES) {
            let question = Question { files: texts(files), ..Question::default() };
            stock.files.extend(self.say::<Stock>(&["missing", namespace], &question)?.files);
        }
        for tensors in tensors.chunks(TENSORS) {
            let question = Question { tensors: texts(tensors), ..Question::default() };
            stock.tensors.extend(self.say::<Stock>(&["missing", namespace], &question)?.tensors);
        }
        if (stock.files.len(), stock.tensors.len()) != (files.len(), tensors.len()) {
            let address = self.0.address();
            return Err(Failure::Other(format!("{address}: it does not answer what it was asked")));
        }
        Ok(stock)
    }
}

impl<'a> Push<'a> {
    /// Sends what the server lacks of all files.
    fn add_all(&mut self, files: &'a [SourceFile]) -> Result<()> {
        let mut hashed = Vec::with_capacity(files.len());
        for file in files {
            hashed.push((file, hash(file, self.options.progress)?));
            self.pushed.files += 1;
            self.pushed.bytes = self.pushed.bytes.saturating_add(file.len);
        }
        let large = |file: &SourceFile| file.len >= SMALL || file.says_weights();
        let asked = hashed.iter().filter(|(file, _)| large(file)).map(|&(_, sha256)| sha256);
        let asked: Vec<_> = asked.collect();
        let stock = self.hub.stock(&self.repo.namespace, &asked, &[])?;
        let known = asked.into_iter().zip(stock.files);
        let known: HashMap<_, _> =
            known.filter_map(|(sha256, file)| Some((sha256, file?))).collect();
        for (file, sha256) in hashed {
            if self.options.progress.cancelled() {
                return Err(Packing::Cancelled.into());
            }
            self.add(file, sha256, known.get(&sha256))?;
            file.check()?;
            self.options.progress.advance(file.len);
        }
        Ok(())
    }

    fn add(&mut self, file: &'a SourceFile, sha256: Digest, known: Option<&Stored>) -> Result<()> {
        let known = known.filter(|known| known.size == file.len && known.sha256 == sha256);
        let before = self.base.as_ref().and_then(|(_, tree)| tree.files.get(&file.path));
        let same = before.filter(|before| before.sha256 == sha256).cloned();
        if let Some(same) = same.as_ref().filter(|_| self.trusted) {
            self.files.insert(file.path.clone(), same.clone());
            return Ok(());
        }
        let stored = match known {
            // A root that is signed is computed here: the server may say any.
            Some(known) if self.signs && known.root.is_some() => {
                match self.send_packed(file, sha256)? {
                    Some(stored) => stored,
                    None => self.send_plain(file, sha256)?,
                }
            }
            Some(known) if known.root.is_some() || !file.says_weights() => known.clone(),
            _ if file.says_weights() => match self.send_packed(file, sha256)? {
                Some(stored) => stored,
                None => match known {
                    Some(known) => known.clone(),
                    None => self.send_plain(file, sha256)?,
                },
            },
            _ if file.len < SMALL => {
                let stored = match &same {
                    Some(same) if !self.signs => same.clone(),
                    Some(_) => Stored::plain(&content(file)?),
                    None => self.add_small(file, sha256)?,
                };
                self.files.insert(file.path.clone(), stored);
                return Ok(());
            }
            _ => self.send_plain(file, sha256)?,
        };
        if same.is_none() {
            let (path, sha256) = (file.path.clone(), sha256.to_string());
            self.wish.files.push(Wished { path, sha256, len: None });
        }
        let same = same.filter(|_| !self.signs);
        self.files.insert(file.path.clone(), same.unwrap_or(stored));
        Ok(())
    }

    /// Has a small file travel with the commit.
    fn add_small(&mut self, file: &'a SourceFile, sha256: Digest) -> Result<Stored> {
        self.small.push(file);
        let (path, sha256) = (file.path.clone(), sha256.to_string());
        self.wish.files.push(Wished { path, sha256, len: Some(file.len) });
        Ok(Stored::plain(&content(file)?))
    }

    /// Sends a file as it is.
    fn send_plain(&mut self, file: &SourceFile, sha256: Digest) -> Result<Stored> {
        let source = open(file)?;
        let query = [("sha256", sha256.to_string())];
        let payload = Payload::File(&source, file.len);
        let stored: Stored = self.hub.post(&["file", &self.repo.namespace], &query, &payload)?;
        self.pushed.stored = self.pushed.stored.saturating_add(file.len);
        if self.signs && stored.root.is_some() {
            return Err(self.other_root(file));
        }
        self.checked(file, sha256, stored)
    }

    /// The server may have packed what lies here as it is; a signature over a root that nobody here
    /// has computed would vouch for it.
    fn other_root(&self, file: &SourceFile) -> Failure {
        let (address, path) = (self.hub.0.address(), &file.path);
        Failure::Other(format!("{address}: it says another root of {path}"))
    }

    /// Packs a file, and sends the tensors that the server lacks; `None` for a file without
    /// weights.
    fn send_packed(&mut self, file: &SourceFile, sha256: Digest) -> Result<Option<Stored>> {
        let source = open(file)?;
        let fault = |error: StoreError| match error {
            StoreError::Container(error)
                if matches!(error.innermost(), Packing::Safetensors(_) | Packing::WrongKind(_)) =>
            {
                Ok(error.to_string())
            }
            StoreError::Container(error) => Err(Failure::from(error.in_file(&file.full))),
            error => Err(error.into()),
        };
        let keys = match tensor_keys(&source, self.options.progress) {
            Ok(keys) => keys,
            Err(error) => {
                self.pushed.faults.push((file.path.clone(), fault(error)?));
                return Ok(None);
            }
        };
        let tensors = self.hub.stock(&self.repo.namespace, &[], &keys)?.tensors;
        let known = keys.into_iter().zip(tensors);
        let known = known.filter_map(|(key, len)| Some((key, len?))).collect();
        match self.send_outline(file, &source, sha256, &known) {
            // Something was lost since: all of it is sent.
            Err(Failure::Remote(RemoteError::Answer { status: 409, code, .. }))
                if code == "Outdated" =>
            {
                self.send_outline(file, &source, sha256, &HashMap::new()).map(Some)
            }
            // As it does with one that comes by another way.
            Err(Failure::Remote(RemoteError::Answer { status: 413, code, message, .. }))
                if code == "Limit" =>
            {
                self.pushed.faults.push((file.path.clone(), message));
                Ok(None)
            }
            sent => sent.map(Some),
        }
    }

    fn send_outline(
        &mut self,
        file: &SourceFile,
        source: &File,
        sha256: Digest,
        known: &HashMap<Digest, StoredTensor>,
    ) -> Result<Stored> {
        let mut spool = spool()?;
        // The progress is that of files.
        let quiet = Quiet(self.options.progress);
        let packed = pack_outline(source, known, self.options.level, &mut spool, &quiet);
        let (outline, summary) = packed.map_err(|error| match error {
            StoreError::Container(error) => Failure::from(error.in_file(&file.full)),
            error => error.into(),
        })?;
        if summary.original_digest != sha256 {
            file.check()?;
            let problem = "it was read twice, and was another file each time: push again";
            return Err(Packing::SourceChanged(problem.into()).in_file(&file.full).into());
        }
        let len = |spool: &mut File| spool.stream_position().map_err(spooled);
        let bytes = len(&mut spool)?;
        let json = serde_json::to_vec(&outline).expect("an outline is plain data");
        spool.write_all(outline.tail()).and_then(|()| spool.write_all(&json)).map_err(spooled)?;
        let all = len(&mut spool)?;
        let query = [("bytes", bytes.to_string()), ("tail", outline.tail().len().to_string())];
        let payload = Payload::File(&spool, all);
        let stored: Stored = self.hub.post(&["packed", &self.repo.namespace], &query, &payload)?;
        let (tensors, new) = outline.tensors();
        self.pushed.tensors += tensors;
        self.pushed.new_tensors += new;
        self.pushed.stored = self.pushed.stored.saturating_add(bytes);
        if stored.root != Some(summary.root) {
            return Err(self.other_root(file));
        }
        self.checked(file, sha256, stored)
    }

    /// Checks that the server speaks of the file that was sent.
    fn checked(&self, file: &SourceFile, sha256: Digest, stored: Stored) -> Result<Stored> {
        if (stored.sha256, stored.size) == (sha256, file.len) {
            return Ok(stored);
        }
        let (address, path) = (self.hub.0.address(), &file.path);
        Err(Failure::Other(format!("{address}: it has taken {path} for another file")))
    }

    /// Checks that the signature is about no file that nobody here has seen: only of a tree that
    /// the key has signed is it believed that it has the files of others.
    fn check_others(&self, before: &Tree) -> Result<()> {
        let others = before.files.keys().filter(|path| !self.files.contains_key(*path));
        let others: Vec<_> = others.map(String::as_str).collect();
        if self.options.delete || self.trusted || others.is_empty() {
            return Ok(());
        }
        let (number, some) = (others.len(), &others[..others.len().min(OTHERS)]);
        let more = if number > OTHERS { ", …" } else { "" };
        Err(Failure::Other(format!(
            "{}: the branch {} has {number} files that are not pushed, and its last commit has no \
             signature of this key: it would vouch for {}{more}: push them as well, or remove them \
             with --delete",
            self.repo,
            self.options.branch,
            some.join(", ")
        )))
    }

    /// Makes the commit, unless there is nothing to commit.
    fn commit(&mut self) -> Result<()> {
        let options = self.options;
        let nothing = Tree::default();
        let before = self.base.as_ref().map_or(&nothing, |(_, tree)| tree);
        if options.delete {
            let gone = before.files.keys().filter(|path| !self.files.contains_key(*path));
            self.wish.removed = gone.cloned().collect();
        }
        let unchanged = self.wish.files.is_empty() && self.wish.removed.is_empty();
        if let Some((commit, tree)) = self.base.as_ref().filter(|_| unchanged)
            && options.sign.is_none()
        {
            self.pushed.commit.clone_from(&commit.id);
            self.pushed.tree = Digest::of(&tree.pinned());
            return Ok(());
        }
        if let Some(sign) = options.sign {
            self.check_others(before)?;
            let mut tree = if options.delete { Tree::default() } else { before.clone() };
            tree.files.extend(self.files.clone());
            let digest = Digest::of(&tree.pinned());
            let signature = sign(&signed_tree(&digest)).map_err(Failure::Other)?;
            self.wish.signature = Some((digest.to_string(), signature));
        }
        self.wish.branch = options.branch.into();
        self.wish.message = options.message.into();
        self.wish.parent = options.parent.map(str::to_owned);
        self.wish.base = self.base.as_ref().map(|(commit, _)| commit.id.clone());
        self.wish.exact = options.delete;
        let mut body = spool()?;
        let mut line = serde_json::to_vec(&self.wish).expect("a wish is plain data");
        line.push(b'\n');
        body.write_all(&line).map_err(spooled)?;
        for file in &self.small {
            let mut source = open(file)?.take(file.len);
            io::copy(&mut source, &mut body).map_err(spooled)?;
            file.check()?;
        }
        let len = body.stream_position().map_err(spooled)?;
        let RepoName { namespace, name } = self.repo;
        let payload = Payload::File(&body, len);
        let done: Committed = self.hub.post(&["commit", namespace, name], &[], &payload)?;
        self.pushed.commit = done.commit;
        self.pushed.tree = done.tree.parse().map_err(|_| Failure::Other("no SHA-256".into()))?;
        self.pushed.new = done.new;
        self.pushed.stored = self.pushed.stored.saturating_add(done.stored);
        self.pushed.healed = done.healed;
        Ok(())
    }
}

/// Passes on whether to give up, and what is noted, but no bytes.
struct Quiet<'a>(&'a dyn Progress);

impl Progress for Quiet<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}

fn io_failure(file: &SourceFile, error: &io::Error) -> Failure {
    Failure::Other(format!("{}: {error}", file.full.display()))
}

fn content(file: &SourceFile) -> Result<Vec<u8>> {
    std::fs::read(&file.full).map_err(|error| io_failure(file, &error))
}

fn open(file: &SourceFile) -> Result<File> {
    File::open(&file.full).map_err(|error| io_failure(file, &error))
}

/// Makes a temporary file without a name, for what is sent.
fn spool() -> Result<File> {
    tempfile::tempfile().map_err(spooled)
}

fn spooled(error: io::Error) -> Failure {
    let folder = std::env::temp_dir();
    Failure::Other(format!(
        "what is sent is kept in {}: {error}: TMPDIR names a folder with more room",
        folder.display()
    ))
}

/// Returns the SHA-256 of a file.
fn hash(file: &SourceFile, progress: &dyn Progress) -> Result<Digest> {
    let source = open(file)?;
    at1w_registry::hash(&source, &Quiet(progress)).map_err(|error| io_failure(file, &error))
}
