//! Files that are not what their names say: each is named for what it is, with what to do.

mod common;

use common::{Place, model};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
    size 4401000000\n";

/// Files by how they begin, each with what is said of it and what to do.
fn kinds() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let mut torch = b"PK\x03\x04".to_vec();
    torch.resize(26, 0);
    torch.extend([16, 0, 0, 0]);
    torch.extend(b"archive/data.pkl");
    vec![
        (Vec::new(), "an empty file", "fetch the file again"),
        (vec![0; 100_000], "a file of zeros", "fetch the file again"),
        (POINTER.into(), "a Git LFS pointer to a file of 4401000000 bytes", "git lfs pull"),
        (b"<!doctype html><html>Sign in".into(), "an HTML page", "token"),
        (b"<?xml version=\"1.0\"?><Error/>".into(), "an XML document (\"<?xml", "token"),
        (b"{\"error\":\"gated\"}".into(), r#"a JSON text ("{\"error\":\"gated\"}")"#, "token"),
        (b"Entry not found".into(), "a text (\"Entry not found\")", "token"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0".into(), "a file compressed by gzip", "decompress"),
        (b"\xfd7zXZ\0\0\x04".into(), "a file compressed by xz", "decompress"),
        (b"\x28\xb5\x2f\xfd\x04\0\0\0".into(), "a file compressed by zstd", "decompress"),
        (b"BZh91AY&SY\x01".into(), "a file compressed by bzip2", "decompress"),
        (torch, "a PyTorch file", "convert"),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9".into(), "a pickle file", "convert"),
        (b"\x93NUMPY\x01\0\x76\0".into(), "a NumPy file", "convert"),
        (b"\x89HDF\r\n\x1a\n\0".into(), "an HDF5 file", "convert"),
        (b"GGUF\x03\0\0\0\0".into(), "a GGUF file", "convert"),
        (tar, "a tar archive", "extract"),
    ]
}

#[test]
fn every_command_says_what_a_file_is() {
    let place = Place::new();
    for (bytes, is, advice) in kinds() {
        place.write("model.safetensors", bytes);
        std::fs::copy(place.path("model.safetensors"), place.path("model.at1w")).unwrap();
        for (args, code) in [
            (&["pack", "model.safetensors", "-o", "new"][..], 1),
            (&["ls", "model.safetensors"], 1),
            (&["info", "model.at1w"], 1),
            (&["get", "model.at1w", "embed.bias", "-o", "new"], 1),
            (&["diff", "model.at1w", "model.at1w"], 2),
            (&["unpack", "model.at1w", "-o", "new"], 3),
            (&["verify", "model.at1w"], 3),
            (&["verify", "model.safetensors"], 3),
        ] {
            let outcome = place.fails(args, code, &format!(": {is}"));
            assert!(outcome.stderr.contains(advice), "{args:?}: {}", outcome.stderr);
            assert!(!outcome.stderr.contains("at1w pack"), "{args:?}: {}", outcome.stderr);
        }
        assert_eq!(place.names(), ["model.at1w", "model.safetensors"]);
    }
}

#[test]
fn damage_at_either_end_of_a_packed_file_is_told_apart() {
    let place = Place::packed();
    let whole = place.read("model.at1w");
    let says = |bytes: &[u8], problem: &str| {
        place.write("bad.at1w", bytes);
        for args in [&["verify", "bad.at1w"][..], &["ls", "bad.at1w"], &["unpack", "bad.at1w"]] {
            // Not all of them know that it was packed once.
            let outcome = place.at1w(args);
            let message = &outcome.stderr;
            assert!(message.contains(problem), "{args:?}: {message}");
            assert!(!message.contains("at1w pack"), "{args:?}: {message}");
        }
    };
    says(&whole[..whole.len() - 1], "cut short");
    says(&whole[..100], "cut short");
    says(&[&whole[..], b"\n"].concat(), "1 bytes follow the end");
    says(&[&whole[..], &[7; 99]].concat(), "99 bytes follow the end");
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    says(&flipped, "ends as an .at1w file, and does not begin as one");
    // As a transfer in text mode changes the line ends.
    let text: Vec<u8> = whole.iter().copied().filter(|&byte| byte != b'\r').collect();
    says(&text, "converted as a text");
}

#[test]
fn pipes_are_named() {
    let place = Place::packed();
    if cfg!(unix) {
        let made = std::process::Command::new("mkfifo").arg(place.path("pipe")).status();
        assert!(made.unwrap().success());
        for (args, code) in
            [(&["ls", "pipe"][..], 1), (&["pack", "pipe"], 1), (&["verify", "pipe"], 3)]
        {
            place.fails(args, code, "a pipe, a socket or a device");
        }
    }
}

#[test]
fn plain_files_are_read_as_packed_ones() {
    let place = Place::packed();
    let (plain, packed) = ("model.safetensors", "model.at1w");
    for slice in [":", "5:7, ::3", "..., -1"] {
        let get = |file| place.ok(&["get", file, "embed.weight", "--slice", slice]);
        assert_eq!(get(plain), get(packed));
    }
    assert_eq!(place.ok(&["get", plain, "embed.bias"]), place.ok(&["get", packed, "embed.bias"]));
    place.fails(&["get", plain, "embed.biass"], 4, "did you mean");
    place.ok(&["get", plain, "embed.bias", "-o", "bias.npy"]);

    let (ours, theirs) =
        (place.json(&["ls", "--json", plain]), place.json(&["ls", "--json", packed]));
    for (ours, theirs) in ours.as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
        for key in ["name", "dtype", "shape", "raw_bytes"] {
            assert_eq!(ours[key], theirs[key]);
        }
        assert_eq!(ours["stored_bytes"], ours["raw_bytes"]);
        assert!(ours["sha256"].is_null() && ours["model"].is_null());
    }
    let table = String::from_utf8(place.ok(&["ls", plain])).unwrap();
    assert!(table.contains("no root: nothing pins its bytes"), "{table}");
    let info = place.json(&["info", "--json", plain]);
    assert_eq!((&info["format"], &info["tensors"]), (&"safetensors".into(), &2.into()));
    assert!(info.get("root").is_none());
    let text = String::from_utf8(place.ok(&["info", plain])).unwrap();
    assert!(text.contains("safetensors, not packed"), "{text}");
}

#[test]
fn a_plain_file_is_verified_by_its_sha256_alone() {
    let place = Place::packed();
    let printed = String::from_utf8(place.ok(&["verify", "model.safetensors"])).unwrap();
    assert!(printed.starts_with("ok (well formed; nothing pins its bytes) "), "{printed}");
    let sha256 = place.json(&["info", "--json", "model.at1w"])["original_sha256"].clone();
    let sha256 = sha256.as_str().unwrap();
    for file in ["model.safetensors", "model.at1w"] {
        place.ok(&["verify", file, "--sha256", sha256]);
        place.fails(&["verify", file, "--sha256", &"00".repeat(32)], 3, "this is another file");
    }
    let root = "00".repeat(32);
    place.fails(&["verify", "model.safetensors", "--root", &root], 3, "has no root");
    place.ok(&["keygen", "-W"]);
    place.ok(&["sign", "model.at1w", "-s", "at1w.key"]);
    let signed = ["--signature", "model.at1w.minisig", "--public-key", "at1w.pub"];
    place.ok(&[&["verify", "model.at1w"], &signed[..]].concat());
    place.fails(&[&["verify", "model.safetensors"], &signed[..]].concat(), 3, "has no root");
    place.write("cut.safetensors", &model(1)[..9000]);
    place.fails(&["verify", "cut.safetensors"], 3, "cut short");
}
