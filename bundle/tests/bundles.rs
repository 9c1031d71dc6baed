//! Bundles of model-signing itself are checked, and changed ones are refused.

use std::path::Path;

use at1w_bundle::{Error, PublicKey, SecretKey, Signed, is_bundle, sign};
use at1w_container::Digest;
use proptest::prelude::*;

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    std::fs::read(folder.join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(read(name)).unwrap()
}

fn public(name: &str) -> PublicKey {
    PublicKey::parse(&text(&format!("{name}.pub"))).unwrap()
}

fn secret(name: &str) -> SecretKey {
    SecretKey::parse(&text(&format!("{name}.key"))).unwrap()
}

const CURVES: [&str; 3] = ["p256", "p384", "p521"];

fn files() -> Vec<(&'static str, Digest)> {
    [
        ("config.json", "{}"),
        ("model.safetensors", "weights"),
        ("onnx.txt", "y"),
        ("onnx/a.txt", "x"),
    ]
    .map(|(path, content)| (path, Digest::of(content.as_bytes())))
    .to_vec()
}

#[test]
fn bundles_of_model_signing_are_checked() {
    for curve in CURVES {
        let bundle = read(&format!("{curve}.sig"));
        assert!(is_bundle(&bundle));
        let signed = Signed::check(&bundle, &public(curve)).unwrap();
        assert_eq!((signed.name(), signed.files().len()), ("model", 4));
        signed.compare(files(), &[]).unwrap();
        assert_eq!(signed.path_of(Digest::of(b"weights")), Some("model.safetensors"));
        assert_eq!(signed.path_of(Digest::of(b"other")), None);
        // Another key of the same curve, and keys of others.
        for other in CURVES.into_iter().filter(|other| *other != curve) {
            let refused = Signed::check(&bundle, &public(other));
            assert!(matches!(refused, Err(Error::OtherKey)), "{curve} {other}");
        }
    }
}

#[test]
fn what_is_made_here_is_checked_here() {
    for curve in CURVES {
        let bundle = sign("model", files(), &["model.sig"], &secret(curve));
        let signed = Signed::check(bundle.as_bytes(), &public(curve)).unwrap();
        let mut all = files();
        all.extend([("model.sig", Digest::of(b"s")), (".gitattributes", Digest::of(b"g"))]);
        signed.compare(all.clone(), &[]).unwrap();
        let sec1 = SecretKey::parse(&text(&format!("{curve}.sec1.pem"))).unwrap();
        let again = sign("model", all, &["model.sig"], &sec1);
        let again = Signed::check(again.as_bytes(), &public(curve)).unwrap();
        assert_eq!(again.files(), signed.files());
    }
}

#[test]
fn the_statement_is_that_of_model_signing() {
    use base64::Engine;
    let payload = |bundle: &[u8]| {
        let bundle: serde_json::Value = serde_json::from_slice(bundle).unwrap();
        let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
        let mut payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        let ignored = &mut payload["predicate"]["serialization"]["ignore_paths"];
        ignored.as_array_mut().unwrap().sort_by_key(|path| path.to_string());
        payload
    };
    let ours = sign("model", files(), &["model.sig"], &secret("p256"));
    assert_eq!(payload(ours.as_bytes()), payload(&read("p256.sig")));
}

#[test]
fn every_changed_byte_of_a_bundle_is_found_or_harmless() {
    let (bundle, key) = (read("p256.sig"), public("p256"));
    let expected = Signed::check(&bundle, &key).unwrap();
    for at in 0..bundle.len() {
        for bit in 0..8 {
            let mut changed = bundle.clone();
            changed[at] ^= 1 << bit;
            if let Ok(signed) = Signed::check(&changed, &key) {
                assert_eq!(signed.files(), expected.files(), "byte {at}");
                assert_eq!(signed.name(), expected.name(), "byte {at}");
            }
        }
        let _ = Signed::check(&bundle[..at], &key).unwrap_err();
    }
}

#[test]
fn other_files_are_named() {
    let signed = Signed::check(&read("p256.sig"), &public("p256")).unwrap();
    let mut other = files();
    other[0].1 = Digest::of(b"[]");
    other[2] = ("extra.py", Digest::of(b"import os"));
    let Err(Error::Differs { missing, other, unsigned }) = signed.compare(other, &[]) else {
        panic!("they differ");
    };
    assert_eq!((missing, other), (vec!["onnx.txt".to_owned()], vec!["config.json".to_owned()]));
    assert_eq!(unsigned, ["extra.py"]);
    let extra = files().into_iter().chain([("extra.py", Digest::of(b""))]);
    let error = signed.compare(extra.clone(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "not the files that were signed: not signed: extra.py");
    signed.compare(extra, &["extra.py"]).unwrap();
    // What only begins as the name of something of Git is not left out.
    let near = files().into_iter().chain([(".gitattributes.py", Digest::of(b""))]);
    signed.compare(near, &[]).unwrap_err();
}

#[test]
fn what_is_no_key_is_refused() {
    for wrong in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(matches!(PublicKey::parse(wrong), Err(Error::Key)));
        assert!(matches!(SecretKey::parse(wrong), Err(Error::Key)));
    }
    assert!(matches!(PublicKey::parse(&text("other.pub")), Err(Error::Key)));
    assert!(matches!(PublicKey::parse(&text("p256.key")), Err(Error::Key)));
    assert!(matches!(SecretKey::parse(&text("p256.pub")), Err(Error::Key)));
    assert!(matches!(SecretKey::parse(&text("locked.key")), Err(Error::Encrypted)));
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes: Vec<u8>, json in "\\{.{0,200}\\}") {
        let key = public("p256");
        prop_assert!(Signed::check(&bytes, &key).is_err());
        prop_assert!(Signed::check(json.as_bytes(), &key).is_err());
    }
}
