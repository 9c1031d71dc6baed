//! Files whose tensors are versions of those of other files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use at1w_container::{
    Dtype, Error, FindBase, Folders, FoundBase, OpenOptions, PackBase, PackOptions, Progress,
    Reader, Result, Staged, StagedTensor, WantedBase, Weights, pack, pack_file, rebase_file,
};

/// A source of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn normal(&mut self) -> f32 {
        let sum: u64 = (0..12).map(|_| self.next() & 0xffff).sum();
        sum as f32 / 65536.0 - 6.0
    }
}

/// A model of a few tensors, some of several chunks.
#[derive(Clone)]
struct Toy(Vec<(String, Dtype, Vec<u64>, Vec<u8>)>);

fn bf16(values: &[f32]) -> Vec<u8> {
    let round = |x: &f32| {
        let bits = x.to_bits();
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    };
    values.iter().flat_map(|x| round(x).to_le_bytes()).collect()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Values of a master copy, and how they move.
struct Master(Vec<f32>);

impl Master {
    fn new(n: usize, random: &mut Random) -> Self {
        Self((0..n).map(|_| random.normal() / 30.0).collect())
    }

    fn step(&mut self, by: f32, random: &mut Random) {
        self.0.iter_mut().for_each(|x| *x += by * random.normal());
    }
}

/// Versions of a model: each a few steps of training on.
fn versions(count: usize) -> Vec<Toy> {
    let mut random = Random(11);
    let mut large = Master::new(900 * 1000, &mut random);
    let mut small = Master::new(64 * 100, &mut random);
    let frozen = bf16(&Master::new(300 * 1000, &mut random).0);
    let ids: Vec<u8> = (0..4000_u32).flat_map(|i| (i * 7).to_le_bytes()).collect();
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Toy(vec![
            ("large".into(), Dtype::BF16, vec![900, 1000], bf16(&large.0)),
            ("master".into(), Dtype::F32, vec![900, 1000], f32s(&large.0)),
            ("small".into(), Dtype::F32, vec![64, 100], f32s(&small.0)),
            ("frozen".into(), Dtype::BF16, vec![300, 1000], frozen.clone()),
            ("ids".into(), Dtype::I32, vec![4000], ids.clone()),
            ("empty".into(), Dtype::F32, vec![0, 3], vec![]),
        ]));
        large.step(1e-5, &mut random);
        small.step(1e-5, &mut random);
    }
    all
}

impl Toy {
    fn file(&self) -> Vec<u8> {
        let tensors = self.0.iter().map(|(name, dtype, shape, data)| StagedTensor {
            name,
            dtype: *dtype,
            shape,
            data,
        });
        let staged = Staged::new(tensors.collect(), None).unwrap();
        let mut file = Vec::new();
        staged.write(&mut file, &()).unwrap();
        file
    }

    fn data(&self, name: &str) -> &[u8] {
        &self.0.iter().find(|tensor| tensor.0 == name).unwrap().3
    }
}

fn folders(folder: &Path) -> Arc<Folders> {
    Arc::new(Folders::new([folder.to_owned()], OpenOptions::new()))
}

fn base(path: &Path) -> PackBase {
    let folders = (*folders(path.parent().unwrap())).clone();
    PackBase::open(path, &OpenOptions::new(), folders).unwrap()
}

/// Packs a model as a version of files.
fn pack_on(toy: &Toy, bases: &[PackBase], path: &Path) -> Result<()> {
    let mut packed = Vec::new();
    let options = PackOptions::new().bases(bases);
    pack(&toy.file(), &mut packed, &options)?;
    fs::write(path, packed).unwrap();
    Ok(())
}

fn open(path: &Path) -> Reader {
    Reader::open(path).unwrap().with_bases(folders(path.parent().unwrap()))
}

fn check(path: &Path, toy: &Toy) {
    let reader = open(path);
    reader.verify(&()).unwrap();
    let mut restored = Vec::new();
    reader.restore(&mut restored, &()).unwrap();
    assert!(restored == toy.file());
    for (name, _, shape, data) in &toy.0 {
        let tensor = reader.tensor(name).unwrap();
        assert!(tensor.read_to_vec().unwrap() == *data, "{name}");
        tensor.verify(&()).unwrap();
        if let [rows, columns] = shape[..]
            && rows > 0
        {
            let row = data.len() / rows as usize;
            let slice = format!("{}:, :", rows - 2).parse().unwrap();
            let (shape, read) = tensor.read_slice(&slice).unwrap();
            assert_eq!(shape, [2, columns], "{name}");
            assert!(read == data[data.len() - 2 * row..], "{name}");
        }
    }
    let mut all: Vec<_> = toy.0.iter().map(|t| (t.0.as_str(), vec![0; t.3.len()])).collect();
    let mut wanted: Vec<_> = all.iter_mut().map(|(name, out)| (*name, &mut out[..])).collect();
    reader.read_tensors(&mut wanted, &()).unwrap();
    assert!(all.iter().all(|(name, out)| toy.data(name) == out));
}

struct Family {
    _folder: tempfile::TempDir,
    toys: Vec<Toy>,
    paths: Vec<PathBuf>,
}

/// A chain of packed versions, the first alone.
fn family(count: usize) -> Family {
    let folder = tempfile::tempdir().unwrap();
    let toys = versions(count);
    let path = |i| folder.path().join(format!("step{i}.at1w"));
    let paths: Vec<_> = (0..count).map(path).collect();
    pack_on(&toys[0], &[], &paths[0]).unwrap();
    for i in 1..count {
        pack_on(&toys[i], &[base(&paths[i - 1])], &paths[i]).unwrap();
    }
    Family { _folder: folder, toys, paths }
}

#[test]
fn versions_are_small_and_come_back() {
    let family = family(3);
    let len = |path: &Path| path.metadata().unwrap().len();
    for (path, toy) in family.paths.iter().zip(&family.toys) {
        check(path, toy);
    }
    for path in &family.paths[1..] {
        assert!(len(path) < len(&family.paths[0]) * 6 / 10, "{} bytes", len(path));
    }
    let reader = open(&family.paths[2]);
    assert_eq!((reader.info().required_features & 2, reader.summary().versions), (2, 5));
    let base = |name| reader.tensor(name).unwrap().base().unwrap();
    assert_eq!((base("large").depth, base("large").same), (2, false));
    assert_eq!((base("frozen").depth, base("frozen").same), (2, true));
    assert_eq!((base("large").file, base("large").tensor), ("step1.at1w", "large"));
    assert_eq!(base("large").root, open(&family.paths[1]).root());
    assert_eq!(reader.tensor("frozen").unwrap().stored_len(), 0);
    assert!(reader.tensor("empty").unwrap().base().is_none());
    // The root is that of the content, however it is packed.
    let mut alone = Vec::new();
    let summary = pack(&family.toys[2].file(), &mut alone, &PackOptions::new()).unwrap();
    assert_eq!(summary.root, reader.root());
    assert_eq!(open(&family.paths[0]).info().required_features & 2, 0);
}

#[test]
fn plain_files_are_bases_and_roundings_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut toys = versions(2);
    // A twin of 16 bits of all that has 32.
    toys[1].0[1] = ("master".into(), Dtype::BF16, vec![900, 1000], toys[0].data("large").into());
    fs::write(path("base.safetensors"), toys[0].file()).unwrap();
    pack_on(&toys[1], &[base(&path("base.safetensors"))], &path("new.at1w")).unwrap();
    check(&path("new.at1w"), &toys[1]);
    let reader = open(&path("new.at1w"));
    let twin = reader.tensor("master").unwrap();
    assert!(twin.base().is_some() && twin.stored_len() < 200, "{}", twin.stored_len());
    // A packed file of the same content does as well, whatever its name.
    pack_file(&path("base.safetensors"), &path("other.at1w"), &PackOptions::new()).unwrap();
    assert_eq!(reader.base_models().next().unwrap().0, open(&path("other.at1w")).root());
    fs::remove_file(path("base.safetensors")).unwrap();
    check(&path("new.at1w"), &toys[1]);
    fs::rename(path("other.at1w"), path("renamed.at1w")).unwrap();
    check(&path("new.at1w"), &toys[1]);
}

#[test]
fn equal_tensors_of_other_names_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let toy = versions(1).remove(0);
    pack_on(&toy, &[], &path("base.at1w")).unwrap();
    let mut renamed = toy.clone();
    renamed.0.iter_mut().for_each(|tensor| tensor.0.insert_str(0, "model."));
    pack_on(&renamed, &[base(&path("base.at1w"))], &path("new.at1w")).unwrap();
    check(&path("new.at1w"), &renamed);
    let reader = open(&path("new.at1w"));
    let base = reader.tensor("model.frozen").unwrap().base().unwrap();
    assert_eq!((base.tensor, base.same), ("frozen", true));
    // What packing alone adds for a tensor is its entry and its header.
    assert!(path("new.at1w").metadata().unwrap().len() < 1200);
}

#[test]
fn models_trained_apart_stand_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut random = Random(5);
    let ids: Vec<u8> = (0..512_u64).flat_map(u64::to_le_bytes).collect();
    let mut model = || {
        let values = Master::new(500_000, &mut random).0;
        Toy(vec![
            ("w".into(), Dtype::BF16, vec![500, 1000], bf16(&values)),
            ("v".into(), Dtype::F32, vec![5000], f32s(&values[..5000])),
            // What every model of the kind has is no reason to need another file.
            ("position_ids".into(), Dtype::I64, vec![1, 512], ids.clone()),
            ("step".into(), Dtype::F32, vec![], vec![0; 4]),
            ("zeros".into(), Dtype::F32, vec![5000], vec![0; 20_000]),
        ])
    };
    let (one, other) = (model(), model());
    pack_on(&one, &[], &path("one.at1w")).unwrap();
    pack_on(&other, &[base(&path("one.at1w"))], &path("other.at1w")).unwrap();
    let mut alone = Vec::new();
    pack(&other.file(), &mut alone, &PackOptions::new()).unwrap();
    assert!(fs::read(path("other.at1w")).unwrap() == alone);
}

#[test]
fn what_is_missing_is_named() {
    let family = family(2);
    let [base, new] = &family.paths[..] else { panic!() };
    let root = open(base).root();
    let away = base.with_extension("gone");
    fs::rename(base, &away).unwrap();
    let reader = open(new);
    // The index is there.
    assert_eq!(reader.len(), 6);
    assert_eq!(reader.tensor("large").unwrap().base().unwrap().depth, 1);
    let mut out = vec![7; family.toys[1].data("large").len()];
    for name in ["large", "frozen"] {
        let error = reader.tensor(name).unwrap().read_to_vec().unwrap_err();
        let Error::NoBase(missing) = &error else { panic!("{error}") };
        let (tensor, file) = (missing.tensor.as_str(), missing.file.as_str());
        assert_eq!((tensor, file, missing.root), (name, "step0.at1w", root));
        let places = &missing.places;
        assert!(places.contains(new.parent().unwrap().to_str().unwrap()), "{places}");
    }
    assert!(reader.tensor("large").unwrap().read(&mut out).is_err());
    assert!(out.iter().all(|&byte| byte == 0));
    // Nobody looks: the error says so all the same.
    let reader = Reader::open(new).unwrap();
    let error = reader.verify(&()).unwrap_err();
    assert!(matches!(error, Error::NoBase(_)) && !error.is_integrity(), "{error}");
    assert!(reader.tensor("empty").unwrap().read_to_vec().is_ok());
    // A file that cannot be read is named where its tensors are missed.
    fs::write(base, "no weights").unwrap();
    let error = open(new).verify(&()).unwrap_err().to_string();
    assert!(error.contains("step0.at1w") && error.contains("; "), "{error}");
}

#[test]
fn damaged_bases_are_told_from_damaged_versions() {
    let family = family(2);
    let [base, new] = &family.paths[..] else { panic!() };
    let (intact, version) = (fs::read(base).unwrap(), fs::read(new).unwrap());
    let end = intact.len() - open(base).info().index_len as usize - 1000;
    let (mut of_base, mut of_version) = (0, 0);
    for place in (8..end).step_by(end / 60) {
        let mut damaged = intact.clone();
        damaged[place] ^= 0x10;
        fs::write(base, damaged).unwrap();
        match open(new).verify(&()) {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, Error::Base { .. }), "{error}");
                assert!(error.is_integrity() && error.to_string().contains("step0.at1w"));
                of_base += 1;
            }
        }
    }
    fs::write(base, &intact).unwrap();
    let end = version.len() - open(new).info().index_len as usize - 1000;
    for place in (8..end).step_by(end / 60) {
        let mut damaged = version.clone();
        damaged[place] ^= 0x10;
        fs::write(new, damaged).unwrap();
        if let Err(error) = open(new).verify(&()) {
            assert!(matches!(error, Error::DamagedTensor { .. }), "{error}");
            of_version += 1;
        }
    }
    assert!(of_base > 20 && of_version > 20, "{of_base}, {of_version}");
}

#[test]
fn a_plain_base_that_is_changed_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let toys = versions(2);
    fs::write(path("base.safetensors"), toys[0].file()).unwrap();
    pack_on(&toys[1], &[base(&path("base.safetensors"))], &path("new.at1w")).unwrap();
    let reader = open(&path("new.at1w"));
    let mut large = vec![0; toys[1].data("large").len()];
    reader.tensor("large").unwrap().read(&mut large).unwrap();
    // In place, as nobody should: the file that is open changes under its reader.
    let mut changed = toys[0].file();
    let at = changed.len() / 2;
    changed[at..].iter_mut().for_each(|byte| *byte ^= 1);
    fs::write(path("base.safetensors"), &changed).unwrap();
    let error = reader.tensor("large").unwrap().read(&mut large).unwrap_err();
    assert!(error.to_string().contains("base.safetensors"), "{error}");
    assert!(error.is_integrity());
    // Opened anew, it is no base any more.
    let error = open(&path("new.at1w")).verify(&()).unwrap_err();
    assert!(matches!(error, Error::NoBase(_)), "{error}");
}

/// Offers one tensor of one file for everything.
struct Always(Arc<Weights>, &'static str);

impl FindBase for Always {
    fn find(&self, _: &WantedBase<'_>) -> Result<Option<FoundBase>> {
        self.0.clone().base(self.1, "always").map(Some)
    }

    fn places(&self) -> String {
        String::new()
    }
}

#[test]
fn bases_that_are_others_are_refused() {
    let family = family(2);
    let new = &family.paths[1];
    for (file, tensor) in [(0, "small"), (0, "master"), (1, "large"), (1, "frozen")] {
        let weights = Weights::open(&family.paths[file], &OpenOptions::new()).unwrap();
        // A loop, if it were followed.
        let weights = Arc::new(weights.with_bases(folders(new.parent().unwrap())));
        let finder = Always(weights, tensor);
        let reader = Reader::open(new).unwrap().with_bases(Arc::new(finder));
        for name in ["large", "frozen"] {
            let error = reader.tensor(name).unwrap().read_to_vec().unwrap_err();
            // The frozen one of the file itself has the right content.
            let is_deep = (tensor, name) == ("frozen", "frozen");
            match error {
                Error::DeepBase { depth: 1, limit: 1, .. } => assert!(is_deep, "{error}"),
                Error::WrongBase { .. } => assert!(!is_deep && error.is_integrity(), "{error}"),
                error => panic!("{error}"),
            }
            assert!(error.to_string().contains("always"), "{error}");
        }
    }
}

#[test]
fn chains_end() {
    let family = family(5);
    check(&family.paths[4], &family.toys[4]);
    let last = family.paths[4].parent().unwrap().join("last.at1w");
    let error = pack_on(&family.toys[4], &[base(&family.paths[4])], &last).unwrap_err();
    let Error::BaseDepth { base, depth: 5, limit: 4 } = error else { panic!("{error}") };
    assert_eq!(base, family.paths[4]);
    assert!(!last.exists());
}

#[test]
fn no_version_takes_the_place_of_its_base() {
    let family = family(2);
    let [first, second] = &family.paths[..] else { panic!() };
    let before = fs::read(first).unwrap();
    let original = first.with_extension("safetensors");
    fs::write(&original, family.toys[1].file()).unwrap();
    let bases = [base(first)];
    let options = PackOptions::new().overwrite(true).bases(&bases);
    let error = pack_file(&original, first, &options).unwrap_err();
    assert!(matches!(error, Error::SameFile(_)), "{error}");
    let finder = || (*folders(first.parent().unwrap())).clone();
    let error = rebase_file(second, first, finder(), &options).unwrap_err();
    assert!(matches!(error, Error::SameFile(_)), "{error}");
    // Nor that of the base of its base.
    let bases = [base(second)];
    let options = PackOptions::new().overwrite(true).bases(&bases);
    let error = rebase_file(first, first, finder(), &options).unwrap_err();
    assert!(matches!(error, Error::BaseOfBase { .. }), "{error}");
    assert!(fs::read(first).unwrap() == before);
}

#[test]
fn no_version_takes_the_place_of_a_base_far_below() {
    let family = family(3);
    let [first, second, third] = &family.paths[..] else { panic!() };
    let before = fs::read(first).unwrap();
    let finder = || (*folders(first.parent().unwrap())).clone();
    let bases = [base(third)];
    let options = PackOptions::new().overwrite(true).bases(&bases);
    let error = rebase_file(first, first, finder(), &options).unwrap_err();
    assert!(matches!(error, Error::BaseOfBase { .. }), "{error}");
    assert!(fs::read(first).unwrap() == before);
    // A copy of it elsewhere does as well.
    fs::copy(first, first.with_file_name("copy.at1w")).unwrap();
    rebase_file(first, first, finder(), &options).unwrap();
    check(third, &family.toys[2]);
    check(first, &family.toys[0]);
    fs::copy(first.with_file_name("copy.at1w"), first).unwrap();
    fs::remove_file(first.with_file_name("copy.at1w")).unwrap();
    // What needs nothing may take any place.
    let alone = PackOptions::new().overwrite(true);
    rebase_file(second, second, finder(), &alone).unwrap();
    fs::remove_file(first).unwrap();
    check(third, &family.toys[2]);
}

/// A listener that keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn bases_that_become_deeper_are_told_of() {
    let family = family(3);
    let [first, second, third] = &family.paths[..] else { panic!() };
    let finder = || (*folders(first.parent().unwrap())).clone();
    let other = first.with_file_name("other.at1w");
    pack_on(&versions(4)[3], &[base(first)], &other).unwrap();
    let bases = [base(&other)];
    let warnings = Warnings::default();
    let options = PackOptions::new().overwrite(true).bases(&bases).progress(&warnings);
    rebase_file(second, second, finder(), &options).unwrap();
    let warnings = warnings.0.into_inner().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("step1.at1w"), "{warnings:?}");
    check(second, &family.toys[1]);
    let error = open(third).verify(&()).unwrap_err();
    assert!(error.to_string().contains("step1.at1w") && !error.is_integrity(), "{error}");
    assert!(matches!(error, Error::DeepBase { depth: 2, limit: 2, .. }), "{error}");
    // Nothing is lost.
    let quiet = Warnings::default();
    let alone = PackOptions::new().overwrite(true).progress(&quiet);
    rebase_file(second, second, finder(), &alone).unwrap();
    assert!(quiet.0.into_inner().unwrap().is_empty());
    check(third, &family.toys[2]);
}

#[test]
fn a_fault_far_below_is_named() {
    let family = family(3);
    let [first, _, third] = &family.paths[..] else { panic!() };
    let intact = fs::read(first).unwrap();
    let end = intact.len() - open(first).info().index_len as usize - 1000;
    let mut failed = 0;
    for place in (8..end).step_by(end / 40) {
        let mut damaged = intact.clone();
        damaged[place] ^= 0x10;
        fs::write(first, damaged).unwrap();
        if let Err(error) = open(third).verify(&()) {
            assert!(error.to_string().contains("step0.at1w"), "{error}");
            assert!(error.is_of_base(), "{error}");
            failed += 1;
        }
    }
    assert!(failed > 10, "{failed}");
}

#[test]
fn equal_bytes_in_other_shapes_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let ones = vec![1; 3072];
    let tensor = |name, shape| StagedTensor { name, dtype: Dtype::F32, shape, data: &ones };
    let pack_to = |name: &str, tensors: Vec<StagedTensor<'_>>, options: &PackOptions<'_>| {
        let mut file = Vec::new();
        pack(&Staged::new(tensors, None).unwrap(), &mut file, options).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, file).unwrap();
        path
    };
    let both = vec![tensor("a", &[768]), tensor("b", &[1, 768]), tensor("c", &[768, 1])];
    let old = pack_to("old.at1w", both, &PackOptions::new());
    let bases = [base(&old)];
    let new = vec![tensor("b", &[1, 768]), tensor("c", &[768, 1])];
    let new = pack_to("new.at1w", new, &PackOptions::new().bases(&bases));
    let new = open(&new);
    for name in ["b", "c"] {
        assert_eq!(new.tensor(name).unwrap().read_to_vec().unwrap(), ones, "{name}");
    }
}

#[test]
fn other_files_are_looked_into_where_one_fails() {
    let family = family(2);
    let [first, second] = &family.paths[..] else { panic!() };
    let copy = first.with_file_name("a copy.at1w");
    fs::copy(first, &copy).unwrap();
    let finder = folders(first.parent().unwrap());
    let reader = || Reader::open(second).unwrap().with_bases(finder.clone());
    reader().verify(&()).unwrap();
    // Nobody holds it open, and by now it is another file, of fewer tensors.
    let tensor = StagedTensor { name: "w", dtype: Dtype::U8, shape: &[3], data: &[1, 2, 3] };
    let mut other = Vec::new();
    pack(&Staged::new(vec![tensor], None).unwrap(), &mut other, &PackOptions::new()).unwrap();
    fs::write(first, other).unwrap();
    reader().verify(&()).unwrap();
    // Nor does it matter that one is gone.
    let finder = folders(first.parent().unwrap());
    let reader = || Reader::open(second).unwrap().with_bases(finder.clone());
    fs::copy(&copy, first).unwrap();
    reader().verify(&()).unwrap();
    fs::remove_file(first).unwrap();
    reader().verify(&()).unwrap();
}

#[test]
fn files_change_their_bases() {
    let family = family(3);
    let [first, second, third] = &family.paths[..] else { panic!() };
    let finder = || (*folders(first.parent().unwrap())).clone();
    let root = open(third).root();
    let bases = [base(first)];
    let options = PackOptions::new().overwrite(true).bases(&bases);
    assert_eq!(rebase_file(third, third, finder(), &options).unwrap().root, root);
    fs::remove_file(second).unwrap();
    check(third, &family.toys[2]);
    assert_eq!(open(third).tensor("large").unwrap().base().unwrap().depth, 1);
    let alone = PackOptions::new().overwrite(true);
    assert_eq!(rebase_file(third, third, finder(), &alone).unwrap().root, root);
    fs::remove_file(first).unwrap();
    check(third, &family.toys[2]);
    assert_eq!(open(third).info().required_features & 2, 0);
}

#[test]
fn a_damaged_base_makes_no_version() {
    let family = family(1);
    let mut damaged = fs::read(&family.paths[0]).unwrap();
    let end = damaged.len() - open(&family.paths[0]).info().index_len as usize - 1000;
    damaged[8..end].iter_mut().step_by(999).for_each(|byte| *byte ^= 4);
    fs::write(&family.paths[0], damaged).unwrap();
    let new = family.paths[0].with_file_name("new.at1w");
    let error = pack_on(&family.toys[0], &[base(&family.paths[0])], &new).unwrap_err();
    assert!(error.is_integrity() && error.to_string().contains("step0.at1w"), "{error}");
}

/// The tensors of a model in memory.
fn memory(toy: &Toy) -> Vec<(String, Vec<u8>)> {
    toy.0.iter().map(|tensor| (tensor.0.clone(), tensor.3.clone())).collect()
}

fn wanted(memory: &mut [(String, Vec<u8>)]) -> Vec<(&str, &mut [u8])> {
    memory.iter_mut().map(|(name, bytes)| (name.as_str(), bytes.as_mut_slice())).collect()
}

#[test]
fn memory_follows_versions() {
    let family = family(3);
    let mut memory = memory(&family.toys[0]);
    for step in 1..3 {
        // No base is looked for.
        let reader = Reader::open(&family.paths[step]).unwrap();
        let updated = reader.update(&mut wanted(&mut memory), &());
        assert!(updated.failed.is_none(), "{:?}", updated.failed);
        assert_eq!((updated.names.len(), updated.root), (6, Some(reader.root())));
        assert!(memory.iter().all(|(name, bytes)| family.toys[step].data(name) == bytes));
        // Again: all is there already.
        let updated = reader.update(&mut wanted(&mut memory), &());
        assert_eq!((updated.failed.is_none(), updated.root), (true, Some(reader.root())));
    }
    // A part of the tensors is no root.
    let reader = Reader::open(&family.paths[2]).unwrap();
    let updated = reader.update(&mut wanted(&mut memory)[..2], &());
    assert_eq!((updated.failed.is_none(), updated.root), (true, None));
}

#[test]
fn memory_is_the_old_or_the_new() {
    let family = family(2);
    let intact = fs::read(&family.paths[1]).unwrap();
    let end = intact.len() - open(&family.paths[1]).info().index_len as usize - 1000;
    let mut failed = 0;
    for place in (8..end).step_by(end / 40) {
        let mut damaged = intact.clone();
        damaged[place] ^= 0x20;
        let Ok(reader) = Reader::new(Box::new(damaged), &OpenOptions::new()) else { continue };
        let mut memory = memory(&family.toys[0]);
        let updated = reader.update(&mut wanted(&mut memory), &());
        let (names, error) = (updated.names.len(), updated.failed);
        failed += usize::from(error.is_some());
        for (i, (name, bytes)) in memory.iter().enumerate() {
            let toy = &family.toys[usize::from(i < names)];
            assert!(toy.data(name) == bytes, "{name}");
        }
        // The intact file goes on where this one stopped.
        let reader = Reader::open(&family.paths[1]).unwrap();
        let updated = reader.update(&mut wanted(&mut memory), &());
        assert_eq!(updated.root, Some(reader.root()), "{:?}", updated.failed);
    }
    assert!(failed > 20, "{failed}");
    // Memory that is neither.
    let reader = Reader::open(&family.paths[1]).unwrap();
    let mut memory = memory(&family.toys[0]);
    for name in ["large", "frozen"] {
        let other = memory.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        other.1[100] ^= 1;
        let before = other.1.clone();
        let updated = reader.update(&mut [(name, &mut other.1)], &());
        let error = updated.failed.unwrap();
        assert!(matches!(error, Error::WrongBase { .. }), "{error}");
        assert!(other.1 == before && updated.names.is_empty());
    }
}

#[test]
fn memory_that_shares_bytes_follows() {
    let mut random = Random(8);
    let old = Master::new(5000, &mut random);
    let (one, other) = (f32s(&old.0), f32s(&Master::new(5000, &mut random).0));
    let mut new = old;
    new.step(1e-5, &mut random);
    let new = f32s(&new.0);
    let toy = |a: &[u8], b: &[u8]| {
        let tensor = |name: &str, data: &[u8]| (name.into(), Dtype::F32, vec![5000], data.to_vec());
        Toy(vec![tensor("a", a), tensor("b", b)])
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Two that were different become equal, one of them near to what it was.
    fs::write(path("old.safetensors"), toy(&one, &other).file()).unwrap();
    let bases = [base(&path("old.safetensors"))];
    pack_on(&toy(&new, &new), &bases, &path("new.at1w")).unwrap();
    let reader = open(&path("new.at1w"));
    assert!(reader.tensor("b").unwrap().base().is_some());
    assert_eq!(reader.tensor("b").unwrap().stored_len(), 0);
    for names in [["a", "b"], ["b", "a"]] {
        // Read alone, in both orders.
        let reader = open(&path("new.at1w"));
        for name in names {
            assert!(reader.tensor(name).unwrap().read_to_vec().unwrap() == new, "{name}");
        }
        let mut memory: Vec<(String, Vec<u8>)> = names
            .iter()
            .map(|&name| (name.into(), if name == "a" { one.clone() } else { other.clone() }))
            .collect();
        for _ in 0..2 {
            let updated = reader.update(&mut wanted(&mut memory), &());
            assert_eq!(updated.root, Some(reader.root()), "{:?}", updated.failed);
            assert!(memory.iter().all(|(_, bytes)| *bytes == new));
        }
        // One is new, whichever comes first.
        memory[1].1 = if names[1] == "a" { one.clone() } else { other.clone() };
        let updated = reader.update(&mut wanted(&mut memory), &());
        assert_eq!(updated.root, Some(reader.root()), "{:?}", updated.failed);
    }
}

#[test]
fn roundings_are_no_updates() {
    let mut toys = versions(2);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    pack_on(&toys[0], &[], &path("wide.at1w")).unwrap();
    let twin = toys[0].data("large").to_vec();
    toys[1].0[1] = ("master".into(), Dtype::BF16, vec![900, 1000], twin.clone());
    pack_on(&toys[1], &[base(&path("wide.at1w"))], &path("twin.at1w")).unwrap();
    let reader = Reader::open(&path("twin.at1w")).unwrap();
    let mut memory = vec![1; twin.len()];
    let updated = reader.update(&mut [("master", &mut memory)], &());
    let error = updated.failed.unwrap();
    assert!(error.to_string().contains("rounding"), "{error}");
    memory.copy_from_slice(&twin);
    let updated = reader.update(&mut [("master", &mut memory)], &());
    assert!(updated.failed.is_none(), "{:?}", updated.failed);
}
