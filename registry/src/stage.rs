//! Storing files: what is not there yet is written to packs, and each file gets a recipe.

mod bases;
mod outline;
mod packed;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::mem;
use std::time::SystemTime;

use at1w_container::{Digest, Error as Packing, Level, Progress};
use sha2::{Digest as _, Sha256};

use crate::bases::Bases;
use crate::content::{blob, pointer};
use crate::error::{Error, Result, is_damage};
use crate::index::{Index, Stored, TensorKey};
use crate::keys;
use crate::lease::Lease;
use crate::meter::past;
use crate::original::Original;
use crate::packs::Packs;
use crate::recipe::{Form, Location, Moved, Moves, Recipe};
use crate::relocate::{Newest, forget_broken, relocate};
use crate::store::Store;
use crate::time::rfc3339;
use crate::tree;
use crate::view::{Mark, View};
use crate::walk::SourceFile;

pub(crate) use bases::candidates;

/// Files of fewer bytes than this share a pack with others.
const SMALL: u64 = 1 << 20;

/// The number of files from which on all recipes are listed at once.
const MANY: usize = 16;

/// The number of bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// The version that stored tensors are made by.
pub(crate) const ENCODER: &str = env!("CARGO_PKG_VERSION");

/// The files that are being stored for one commit.
pub(crate) struct Stage<'a> {
    store: &'a Store,
    namespace: &'a str,
    level: Level,
    progress: &'a dyn Progress,
    view: View,
    index: Index,
    packs: Packs<'a>,
    /// The stored bytes of tensors that were written.
    new: Vec<Stored>,
    /// The recipes to write, each with the name of the one before.
    recipes: HashMap<Digest, (Recipe, Option<String>)>,
    /// The names of recipes of files of this commit, and the roots of those that are packed.
    names: HashMap<Digest, (String, Option<Digest>)>,
    /// What is written with the tree.
    pending: Vec<(String, Vec<u8>)>,
    /// The keys of recipes that were written, and of those that they supersede.
    written: Vec<String>,
    superseded: Vec<String>,
    /// The newest recipes of the namespace, where all were listed.
    listed: Option<HashMap<Digest, String>>,
    /// The newest recipes of the namespace that were read.
    pub(crate) read: Newest,
    /// Recipes that the tree before names.
    known_before: HashMap<Digest, (String, Recipe)>,
    /// The packs that the commit relies on and that others wrote.
    relied: HashSet<String>,
    /// The revisions whose tensors new ones may be stored as differences to.
    base_trees: Option<Vec<tree::Tree>>,
    /// Damaged places by the tensor that should be there.
    damaged: HashMap<TensorKey, Vec<Location>>,
    /// Damaged places, and the good copies of what should be there.
    pub(crate) healed: Moves,
    /// The damaged places of files that are stored as they are.
    bad: HashMap<Digest, Vec<Location>>,
    /// The number of tensors of the last packed file that stand alone because their base is
    /// damaged, and the files that have some.
    pub(crate) without_base: u64,
    pub(crate) bases_lost: Vec<(String, u64)>,
    /// The number of tensors of all files, and of those that were written.
    pub(crate) tensors: (u64, u64),
    /// The files whose names say weights and that hold none.
    pub(crate) faults: Vec<(String, String)>,
}

impl<'a> Stage<'a> {
    /// Begins after the lease did. Tensors that are stored are relied on where `accept` says so.
    pub(crate) fn new(
        store: &'a Store,
        namespace: &'a str,
        lease: &Lease,
        level: Level,
        accept: &dyn Fn(&Stored) -> bool,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let view = View::load(&store.objects, namespace, lease, store.times.promise)?;
        let mut index = Index::default();
        let mut damaged: HashMap<_, Vec<_>> = HashMap::new();
        for run in store.runs.load(&store.objects, namespace)? {
            for stored in run.iter() {
                if stored.all(|place| view.usable(namespace, place)) {
                    if accept(stored) {
                        index.insert(stored.clone());
                    }
                } else if !stored.all(|place| !view.doubts.marks.contains_key(place)) {
                    index.expect(stored.samples);
                    damaged.entry(stored.key).or_default().push(stored.location.clone());
                }
            }
        }
        // What is healed already stays marked until its pack is collected.
        damaged.retain(|key, _| index.get(*key).is_none());
        Ok(Self {
            store,
            namespace,
            level,
            progress,
            view,
            index,
            packs: Packs::new(&store.objects, namespace),
            new: Vec::new(),
            recipes: HashMap::new(),
            names: HashMap::new(),
            pending: Vec::new(),
            written: Vec::new(),
            superseded: Vec::new(),
            listed: None,
            read: Newest::new(),
            known_before: HashMap::new(),
            relied: HashSet::new(),
            damaged,
            healed: Moves::new(),
            base_trees: None,
            bad: HashMap::new(),
            without_base: 0,
            bases_lost: Vec::new(),
            tensors: (0, 0),
            faults: Vec::new(),
        })
    }

    pub(crate) fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// Returns the recipe that will be written for a file; `None` where there is the same already.
    pub(crate) fn recipe_of(&self, sha256: Digest) -> Option<&Recipe> {
        self.recipes.get(&sha256).map(|(recipe, _)| recipe)
    }

    /// Has a tensor stored anew where it is found.
    pub(crate) fn forget(&mut self, key: TensorKey) {
        self.index.remove(key);
    }

    /// Has whatever has the old bytes of tensors of a file that were stored anew take the new ones.
    /// Of equal tensors, one recipe may share the bytes where another does not.
    pub(crate) fn leave(&mut self, before: &Recipe, after: &Recipe) -> Result<()> {
        let (Some(was), Some(now)) = (&before.packed, &after.packed) else { return Ok(()) };
        let (lens, digests) = (after.model_lens()?, after.digests()?);
        for (segment, tensor) in was.tensors.iter().enumerate() {
            let Ok(at) = now.tensors.binary_search(tensor) else { continue };
            let (old, new) = (before.location(segment), after.location(at));
            if old != new {
                let (digest, model_len, base) = (digests[at], lens[at], after.ground(at));
                let form = Form::Tensor { digest, model_len, base };
                self.healed.insert(old, Moved { location: new, form });
            }
        }
        Ok(())
    }

    /// Stores all files; `before` is the tree that the commit follows.
    pub(crate) fn add_all(
        &mut self,
        files: &[SourceFile],
        before: &tree::Tree,
    ) -> Result<Vec<(String, tree::File)>> {
        if files.len() > MANY {
            let mut listed = HashMap::new();
            for meta in self.store.objects.list(&keys::files(self.namespace))? {
                let mut parts = meta.key.rsplitn(3, '/');
                let (name, sha256) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
                if let Ok(sha256) = sha256.parse() {
                    listed.insert(sha256, name.to_owned());
                }
            }
            self.listed = Some(listed);
        }
        self.read_before(files, before)?;
        // A blob of a hub cache has no suffix: the name that says weights goes before it.
        let (weights, others): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| file.says_weights());
        let mut added = Vec::with_capacity(files.len());
        for file in weights.into_iter().chain(others) {
            if self.progress.cancelled() {
                return Err(Packing::Cancelled.into());
            }
            let entry = self.add(file, before)?;
            file.check()?;
            added.push((file.path.clone(), entry));
        }
        Ok(added)
    }

    /// Reads the recipes of files that may not have changed, side by side.
    fn read_before(&mut self, files: &[SourceFile], before: &tree::Tree) -> Result<()> {
        let same = |file: &SourceFile| {
            let before = before.files.get(&file.path)?;
            let name = before.recipe.as_ref().filter(|_| before.size == file.len)?;
            Some((before.sha256, name.clone()))
        };
        let same: Vec<_> =
            files.iter().filter(|file| !file.says_weights()).filter_map(same).collect();
        let key = |(sha256, name): &(Digest, String)| {
            format!("{}/{name}", keys::recipes(self.namespace, *sha256))
        };
        let read = self.store.objects.get_all(&same.iter().map(key).collect::<Vec<_>>())?;
        for ((sha256, name), bytes) in same.into_iter().zip(read) {
            if let Some(Ok(recipe)) = bytes.map(|bytes| Recipe::parse_for(&bytes, sha256)) {
                self.known_before.insert(sha256, (name, recipe));
            }
        }
        Ok(())
    }

    fn add(&mut self, file: &SourceFile, before: &tree::Tree) -> Result<tree::File> {
        let source = File::open(&file.full).map_err(Error::io(&file.full))?;
        if file.says_weights() {
            let bases = match &self.base_trees {
                Some(others) => {
                    let trees: Vec<_> = [before].into_iter().chain(others).collect();
                    self.bases(&file.path, &trees)?
                }
                None => Bases::default(),
            };
            match self.add_packed(&source, bases, &HashSet::new()) {
                Err(Error::Container(error)) => match error.innermost() {
                    Packing::Safetensors(_) | Packing::WrongKind(_) => {
                        self.faults.push((file.path.clone(), error.to_string()));
                    }
                    _ => return Err(error.in_file(&file.full).into()),
                },
                added => {
                    let number = mem::take(&mut self.without_base);
                    if number > 0 {
                        self.bases_lost.push((file.path.clone(), number));
                    }
                    return added;
                }
            }
        }
        self.add_plain(source, file)
    }

    /// Has new tensors be stored as differences to those of the revision before, and of others.
    pub(crate) fn take_bases(&mut self, others: Vec<tree::Tree>) {
        self.base_trees = Some(others);
    }

    /// Stores a file as it is.
    fn add_plain(&mut self, mut source: File, file: &SourceFile) -> Result<tree::File> {
        let at = &file.full;
        let mut small = Vec::new();
        let sha256 = if file.len < SMALL {
            let mut limited = (&source).take(SMALL);
            limited.read_to_end(&mut small).map_err(Error::io(at))?;
            Digest::of(&small)
        } else {
            copy(&mut source, &mut std::io::sink(), self.progress).map_err(Error::io(at))?.1
        };
        let size = if file.len < SMALL { small.len() as u64 } else { file.len };
        self.progress.advance(size);
        let git = if file.len < SMALL { blob(&small) } else { pointer(sha256, size) };
        let entry = tree::File { size, sha256, git, root: None, recipe: None };
        let known = match self.known(sha256) {
            None => self.find(sha256)?,
            known => known,
        };
        match known {
            Some(root) => return Ok(entry.with_root(root)),
            // Trees that name its root rely on a packed one.
            None if self.is_packed(sha256)? => {
                return self.add_packed(&source, Bases::default(), &HashSet::new());
            }
            None => {}
        }
        let mut recipe = Recipe::new(size, sha256, None);
        if file.len < SMALL {
            if size > 0 {
                recipe.push(&self.packs.add_small(&small)?, None);
            }
        } else {
            let mut spool = self.packs.begin();
            std::io::Seek::rewind(&mut source).map_err(Error::io(at))?;
            let (len, again) =
                copy(&mut source, &mut spool, self.progress).map_err(Error::io(at))?;
            if (len, again) != (size, sha256) {
                let problem = "it was read twice, and was another file each time: push again";
                let error = Packing::SourceChanged(problem.into());
                return Err(error.in_file(at).into());
            }
            let (pack, offset) = self.packs.end(spool)?;
            recipe.push(&Location { pack, offset, len }, None);
        }
        self.keep(entry, recipe)
    }

    /// Adds a file that is stored already; `None` where there is none with good bytes that may be
    /// relied on.
    pub(crate) fn add_stored(&mut self, sha256: Digest) -> Result<Option<tree::File>> {
        if self.find(sha256)?.is_none() {
            return Ok(None);
        }
        let Some((_, recipe)) = self.newest(sha256)? else { return Ok(None) };
        let original = Original::open(self.store, self.namespace, &recipe)?;
        tree_file(&recipe, &original).map(Some)
    }

    /// Finds a file that is stored, with good bytes that may be relied on; returns its root, where
    /// it is packed.
    fn find(&mut self, sha256: Digest) -> Result<Option<Option<Digest>>> {
        let before =
            self.known_before.get(&sha256).filter(|(n, r)| self.may_rely_on(n, r)).cloned();
        let Some((name, recipe)) = before.map_or_else(|| self.newest(sha256), |b| Ok(Some(b)))?
        else {
            return Ok(None);
        };
        let root = recipe.packed.as_ref().map(|packed| packed.root);
        if !self.may_rely_on(&name, &recipe) {
            if recipe.locations().any(|location| self.view.doubts.marks.contains_key(&location)) {
                self.note_bad(&recipe);
            }
            return Ok(None);
        }
        if !recipe.packs.iter().all(|pack| self.view.is_fresh(&pack.id)) {
            match Original::open(self.store, self.namespace, &recipe)?.verify(sha256, self.progress)
            {
                Ok(()) => {}
                Err(Error::Container(error)) if !is_damage(&error) => return Err(error.into()),
                Err(error) => {
                    // Tensors are proven one by one when they are pushed again.
                    for location in recipe.locations().filter(|_| root.is_none()) {
                        mark(self.store, self.namespace, &location, &error.to_string())?;
                    }
                    self.note_bad(&recipe);
                    return Ok(None);
                }
            }
        }
        self.rely_on(&recipe);
        self.names.insert(sha256, (name, root));
        Ok(Some(root))
    }

    /// Notes the damaged places of a file that is stored as it is, to be healed.
    fn note_bad(&mut self, recipe: &Recipe) {
        if recipe.packed.is_none() {
            self.bad.insert(recipe.sha256, recipe.locations().collect());
        }
    }

    /// Whether the newest recipe of a file is that of a packed one.
    fn is_packed(&self, sha256: Digest) -> Result<bool> {
        Ok(self.newest(sha256)?.is_some_and(|(_, recipe)| recipe.packed.is_some()))
    }

    /// Returns the newest recipe of a file.
    fn newest(&self, sha256: Digest) -> Result<Option<(String, Recipe)>> {
        if let Some(listed) = &self.listed
            && !listed.contains_key(&sha256)
        {
            return Ok(None);
        }
        match Recipe::newest(&self.store.objects, self.namespace, sha256) {
            // A damaged recipe is replaced.
            Err(Error::Damaged { .. }) => Ok(None),
            newest => newest,
        }
    }

    fn may_rely_on(&self, name: &str, recipe: &Recipe) -> bool {
        self.view.is_usable(self.namespace, name, recipe)
    }

    fn rely_on(&mut self, recipe: &Recipe) {
        let packs = recipe.packs.iter().map(|pack| &pack.id);
        self.relied.extend(packs.filter(|&pack| self.view.packs.contains_key(pack)).cloned());
    }

    /// Returns the root of a file of this commit that was stored or found before: `None` within for
    /// one that is not packed.
    fn known(&self, sha256: Digest) -> Option<Option<Digest>> {
        let written = self.recipe_of(sha256);
        let written = written.map(|recipe| recipe.packed.as_ref().map(|packed| packed.root));
        written.or_else(|| self.names.get(&sha256).map(|(_, root)| *root))
    }

    /// Keeps the recipe of a file, unless there is the same already.
    fn keep(&mut self, file: tree::File, recipe: Recipe) -> Result<tree::File> {
        if let Some(root) = self.known(file.sha256)
            && (root.is_some() || file.root.is_none())
        {
            return Ok(file.with_root(root));
        }
        let bad = self.bad.remove(&file.sha256).unwrap_or_default();
        let good = recipe.locations().map(|location| Moved { location, form: Form::Same });
        self.healed.extend(bad.into_iter().zip(good));
        let newest = self.newest(file.sha256)?;
        if let Some((name, found)) = &newest
            && found.segments.len() == recipe.segments.len()
            && found.locations().eq(recipe.locations())
            && self.may_rely_on(name, found)
        {
            self.rely_on(found);
            self.names.insert(file.sha256, (name.clone(), file.root));
            return Ok(file);
        }
        if recipe.has_bases() {
            // It may take the place of a good one.
            let mut recipe = recipe.clone();
            self.fill_in(&mut recipe);
            self.store.reader(self.namespace, &recipe)?;
        }
        self.rely_on(&recipe);
        self.recipes.insert(file.sha256, (recipe, newest.map(|(name, _)| name)));
        Ok(file)
    }

    /// Fills in the lengths of packs.
    fn fill_in(&self, recipe: &mut Recipe) {
        for pack in &mut recipe.packs {
            if let Some(&(len, _)) = self.view.packs.get(&pack.id) {
                pack.len = len;
            }
        }
        self.packs.fill_in(recipe);
    }

    /// Names the recipes that are to be written, once all files are added, by the time `now` of the
    /// store: from then on their files are stored so.
    pub(crate) fn name_recipes(&mut self, now: SystemTime) {
        for (mut recipe, before) in mem::take(&mut self.recipes).into_values() {
            self.fill_in(&mut recipe);
            let name = keys::next_at(now, before.as_deref());
            let folder = keys::recipes(self.namespace, recipe.sha256);
            let root = recipe.packed.as_ref().map(|packed| packed.root);
            self.names.insert(recipe.sha256, (name.clone(), root));
            self.superseded.extend(before.map(|before| format!("{folder}/{before}")));
            self.written.push(format!("{folder}/{name}"));
            self.pending.push((format!("{folder}/{name}"), recipe.to_bytes()));
        }
        self.pending.extend(crate::index::new_runs(self.namespace, mem::take(&mut self.new)));
    }

    /// Writes what is left, with a tree that names it: the pack of small files, recipes, and a run
    /// of the index. Checks first that what the commit relies on is there: others come to read by
    /// these recipes. Returns once everything is there, packs too.
    pub(crate) fn write(&mut self, tree: Option<(String, Vec<u8>)>, lease: &Lease) -> Result<()> {
        // A list may be late: each pack of others is asked for by its name.
        for pack in mem::take(&mut self.relied) {
            let key = keys::pack(self.namespace, &pack);
            if self.store.objects.head(&key)?.is_none() {
                return Err(Error::damaged(key, "a pack that was listed is gone: push again"));
            }
        }
        lease.check(self.namespace)?;
        if !self.superseded.is_empty() {
            // Somebody may read by the new recipes at once.
            self.packs.finish()?;
        }
        let mut objects = mem::take(&mut self.pending);
        objects.extend(self.packs.take_small());
        objects.extend(tree);
        self.store.objects.put_all(objects)?;
        self.packs.finish()?;
        // What was written a moment ago is relied on as what others have written.
        let there = self.packs.lens().map(|(id, len)| (id.clone(), (len, true)));
        self.view.packs.extend(there);
        Ok(())
    }

    /// Removes the recipes that those of this commit supersede, and has files that are damaged
    /// elsewhere lie in the good copies, once the commit is acknowledged.
    pub(crate) fn settle<T>(&mut self, committed: Result<T>, lease: &Lease) -> Result<T> {
        let committed = self.held(committed)?;
        if let Err(error) = self.mend(lease) {
            self.warn_unhealed(&error);
        }
        Ok(committed)
    }

    /// If the collector has given up on a commit, removes those of its recipes that name what is
    /// deleted.
    pub(crate) fn held<T>(&self, committed: Result<T>) -> Result<T> {
        if let Err(Error::Expired(_)) = committed {
            // Best effort: the collector prefers recipes whose packs are there.
            let _ = forget_broken(self.store, self.namespace, &self.written);
        }
        committed
    }

    /// Removes the recipes that new ones supersede, and has files that are damaged elsewhere lie in
    /// the good copies.
    pub(crate) fn mend(&mut self, lease: &Lease) -> Result<()> {
        lease.check(self.namespace)?;
        // Trees that name them find the newer ones.
        past::delete(&self.store.objects, self.namespace, &self.superseded)?;
        relocate(self.store, self.namespace, &self.healed, lease, &mut self.read)
    }

    pub(crate) fn warn_unhealed(&self, error: &Error) {
        self.progress.warn(&format!("damaged tensors elsewhere were not healed: {error}"));
    }

    /// Deletes the packs that were written, where nothing comes of them.
    pub(crate) fn discard(&mut self) {
        self.packs.discard();
    }

    /// Returns the name of the recipe of a file.
    pub(crate) fn recipe_name(&self, sha256: Digest) -> Option<&String> {
        self.names.get(&sha256).map(|(name, _)| name)
    }

    /// Returns the number of bytes that were written.
    pub(crate) fn written(&self) -> u64 {
        self.packs.written()
    }
}

/// Marks a damaged place, so that nobody relies on it; returns the key of the mark.
pub(crate) fn mark(
    store: &Store,
    namespace: &str,
    location: &Location,
    problem: &str,
) -> Result<String> {
    let time = rfc3339(SystemTime::now());
    let mark = Mark { location: location.clone(), problem: problem.into(), time };
    let json = serde_json::to_vec(&mark).expect("a mark is plain data");
    let key = format!("{}/{}", keys::marks(namespace), keys::next(None));
    store.objects.put(&key, json)?;
    Ok(key)
}

fn copy(
    source: &mut File,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> std::io::Result<(u64, Digest)> {
    let (mut hasher, mut len, mut buffer) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => return Ok((len, Digest(hasher.finalize().into()))),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if progress.cancelled() {
            return Err(std::io::Error::other("interrupted"));
        }
        hasher.update(&buffer[..read]);
        sink.write_all(&buffer[..read])?;
        len += read as u64;
    }
}

/// Returns what a tree says about a file with a recipe.
pub(crate) fn tree_file(recipe: &Recipe, original: &Original) -> Result<tree::File> {
    let (size, sha256) = (recipe.size, recipe.sha256);
    let root = recipe.packed.as_ref().map(|packed| packed.root);
    let git = match root {
        None if size < SMALL => blob(&original.read(0..size)?),
        _ => pointer(sha256, size),
    };
    Ok(tree::File { size, sha256, git, root, recipe: None })
}

impl tree::File {
    /// Returns the same file, as one that is packed where there is a root.
    fn with_root(self, root: Option<Digest>) -> Self {
        let git = if root.is_some() { pointer(self.sha256, self.size) } else { self.git };
        Self { root, git, ..self }
    }
}
