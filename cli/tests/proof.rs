//! Proofs of a file and of a revision, checked without either.

mod common;

use common::Place;

#[test]
fn a_slice_is_proven_to_somebody_who_knows_the_root() {
    let place = Place::packed();
    place.ok(&["proof", "make", "model.at1w", "embed.weight", "--slice", "3:5", "-o", "p"]);
    place.ok(&["push", "model.safetensors", "models", "lab/model"]);
    let make = ["proof", "make", "models", "lab/model@main", "model.safetensors", "embed.weight"];
    place.ok(&[&make[..], &["--slice", "3:5", "-o", "q"]].concat());
    assert_eq!(place.read("p"), place.read("q"));
    assert!(place.read("p").len() < place.read("model.at1w").len() / 2);

    let root = place.json(&["info", "--json", "model.at1w"])["root"].as_str().unwrap().to_owned();
    let expected = place.ok(&["get", "model.at1w", "embed.weight", "--slice", "3:5"]);
    std::fs::remove_file(place.path("model.at1w")).unwrap();
    std::fs::remove_dir_all(place.path("models")).unwrap();
    let text = String::from_utf8(place.ok(&["proof", "check", "p", "--root", &root])).unwrap();
    assert!(text.starts_with(&format!("ok {root}  embed.weight [3:5]  BF16 [2,600]\n")), "{text}");
    place.ok(&["proof", "check", "p", "--root", &root, "-o", "rows.bin"]);
    assert_eq!(place.read("rows.bin"), expected);
    assert_eq!(place.ok(&["-q", "proof", "check", "p", "-o", "-"]), expected);
    let json = place.json(&["proof", "check", "p", "--json", "--root", &root]);
    assert_eq!(json["slice_shape"], serde_json::json!([2, 600]));
    assert_eq!((json["root"].as_str(), json["vouched"].as_bool()), (Some(&root[..]), Some(true)));

    // Without a root it says which one it found, and that nothing vouches for it.
    let found = place.at1w(&["proof", "check", "p"]);
    assert_eq!(found.code, 0, "{}", found.stderr);
    assert!(String::from_utf8(found.stdout).unwrap().starts_with(&format!("-- {root}")));
    assert!(found.stderr.contains("nothing vouches for this root"), "{}", found.stderr);

    let other = "0".repeat(64);
    place.fails(&["proof", "check", "p", "--root", &other], 3, "this is another model");
    place.flip("p", 300);
    place.fails(&["proof", "check", "p", "--root", &root], 3, "checksum");
    place.fails(&["proof", "check", "rows.bin"], 3, "not a proof");
}

#[test]
fn a_signature_vouches_for_the_root_of_a_proof() {
    let place = Place::packed();
    place.ok(&["keygen", "-W", "--quiet"]);
    place.ok(&["sign", "model.at1w"]);
    place.ok(&["proof", "make", "model.at1w", "embed.bias", "-o", "p"]);
    let check = ["proof", "check", "p", "--signature", "model.at1w.minisig", "--public-key"];
    place.ok(&[&check[..], &["at1w.pub"]].concat());
    place.ok(&["keygen", "-W", "-s", "other.key", "-p", "other.pub", "-q"]);
    place.fails(&[&check[..], &["other.pub"]].concat(), 3, "model.at1w.minisig");
}

#[test]
fn what_cannot_be_proven_is_refused() {
    let place = Place::packed();
    place.fails(&["proof", "make", "model.at1w", "nothing", "-o", "p"], 4, "no tensor");
    let out = ["embed.weight", "--slice", "5000", "-o", "p"];
    place.fails(&[&["proof", "make", "model.at1w"][..], &out].concat(), 4, "out of range");
    place.fails(&["proof", "make", "model.safetensors", "embed.bias", "-o", "p"], 3, "no root");
    place.fails(&["proof", "make", "a", "b/c", "d", "-o", "p"], 2, "STORE");
    assert!(!place.names().contains(&"p".to_owned()));
    place.ok(&["proof", "make", "model.at1w", "embed.bias", "-o", "p"]);
    place.fails(&["proof", "make", "model.at1w", "embed.bias", "-o", "p"], 1, "exists");
    place.ok(&["proof", "make", "model.at1w", "embed.bias", "-o", "p", "--force"]);
}
