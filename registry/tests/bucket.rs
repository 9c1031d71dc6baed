//! A store in a bucket: `ci/bucket` starts servers and runs these.

mod common;

use std::sync::Arc;

use at1w_container::{OpenOptions, ReadAt, Weights};
use at1w_registry::{CollectOptions, PullOptions, PushOptions, Revision, ScrubOptions, Store};
use at1w_remote::Objects;
use common::{Place, files, forged, model, owned};

/// A place of its own in the bucket of `AT1W_BUCKET`, such as `s3://bucket`.
fn address(name: &str) -> String {
    let bucket =
        std::env::var("AT1W_BUCKET").expect("ci/bucket starts servers and names a bucket of each");
    let id = std::process::id();
    format!("{bucket}/{name}-{id}")
}

#[test]
#[ignore = "needs a bucket: ci/bucket"]
fn one_tensor_takes_five_requests_cold_and_one_warm() {
    let place = Place::new();
    // A gigabyte, in tensors of 1 MB.
    let names: Vec<_> = (1..=1000).map(|i| (format!("layer.{i:04}"), i)).collect();
    let tensors: Vec<_> = names.iter().map(|(name, i)| (name.as_str(), *i, 500_000)).collect();
    let source = place.source("source", &[("m.safetensors", model(&tensors, "m"))]);
    let store = Store::open(&address("tensor")).unwrap();
    store.push(&source, &"lab/model".parse().unwrap(), &PushOptions::new()).unwrap();

    let objects = Arc::new(Objects::open(&address("tensor")).unwrap());
    let cold = Store::new(objects.clone());
    let revision: Revision = "lab/model".parse().unwrap();
    let weights = cold.open_file(&revision, "m.safetensors").unwrap();
    let (_, bytes) = weights.read_to_vec("layer.0041", None).unwrap();
    assert!(bytes == common::tensor(41, 500_000));
    assert!(objects.requests() <= 5, "{} requests cold", objects.requests());
    let before = objects.requests();
    let (_, bytes) = weights.read_to_vec("layer.0077", None).unwrap();
    assert!(bytes == common::tensor(77, 500_000));
    assert_eq!(objects.requests() - before, 1);
    // Many neighbours are a few requests.
    let before = objects.requests();
    let mut all: Vec<_> = (0..20).map(|_| vec![0; 1_000_000]).collect();
    let mut wanted: Vec<_> = all
        .iter_mut()
        .zip(&names[20..])
        .map(|(out, name)| (name.0.as_str(), &mut out[..]))
        .collect();
    weights.read(&mut wanted, &()).unwrap();
    assert!(objects.requests() - before <= 4, "{}", objects.requests() - before);
}

#[test]
#[ignore = "needs a bucket: ci/bucket"]
fn a_bucket_holds_a_store() {
    let place = Place::new();
    let content = [
        ("m.safetensors", model(&[("a", 1, 6_000_000), ("b", 2, 300)], "m")),
        ("config.json", b"{}".to_vec()),
        ("data.bin", vec![7; 2_000_000]),
    ];
    let store = Store::open(&address("whole")).unwrap();
    let (repo, revision) = ("lab/model".parse().unwrap(), "lab/model".parse().unwrap());
    let source = place.source("source", &content);
    store.push(&source, &repo, &PushOptions::new()).unwrap();
    store.check().unwrap();
    let target = place.path("back");
    store.pull(&revision, &target, &PullOptions::new()).unwrap();
    assert_eq!(files(&target), owned(&content));
    assert!(store.scrub(&ScrubOptions::new()).unwrap().damaged.is_empty());
    store.remove(&revision).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let grace = CollectOptions::new().grace(std::time::Duration::ZERO);
    store.collect(&grace).unwrap();
    let left = store.objects().list("packs").unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
#[ignore = "needs a bucket: ci/bucket"]
fn an_object_that_is_replaced_is_noticed() {
    let store = Store::open(&address("replaced")).unwrap();
    let weights = model(&[("a", 1, 3_000_000)], "m");
    store.objects().put("m.safetensors", weights).unwrap();
    let url = format!("{}/m.safetensors", address("replaced"));
    let file = at1w_remote::open_url(&url).unwrap();
    assert_eq!(file.read_at(0..8).unwrap().len(), 8);
    let file = Weights::new(Box::new(file), &OpenOptions::new()).unwrap();
    assert!(file.read_to_vec("a", None).unwrap().1 == common::tensor(1, 3_000_000));
    store.objects().put("m.safetensors", model(&[("a", 2, 3_000_000)], "m")).unwrap();
    let error = file.read_to_vec("a", None).unwrap_err();
    assert!(error.to_string().contains("replaced"), "{error}");
}

#[test]
#[ignore = "needs a bucket: ci/bucket"]
fn a_thousand_repositories_are_listed_by_few_requests() {
    let store = Store::open(&address("many")).unwrap();
    let place = Place::new();
    store.init().unwrap();
    let source = place.source("source", &[("a", b"1".to_vec())]);
    store.push(&source, &"lab/r0".parse().unwrap(), &PushOptions::new()).unwrap();
    let entry = store.objects().get("repos/lab/r0/0000/log/00000000").unwrap().unwrap();
    let mut copies = Vec::new();
    for repo in 1..1000 {
        for seq in 0..10 {
            let (name, number) = (format!("lab/r{repo}"), format!("\"seq\":{seq},\"id"));
            let entry = forged(&entry, &[("lab/r0", &name), ("\"seq\":0,\"id", &number)]);
            copies.push((format!("repos/lab/r{repo}/0000/log/{seq:08}"), entry));
        }
    }
    store.objects().put_all(copies).unwrap();
    let objects = Arc::new(Objects::open(&address("many")).unwrap());
    assert_eq!(Store::new(objects.clone()).repos(None).unwrap().len(), 1000);
    assert!(objects.requests() <= 1100, "{}", objects.requests());
}
