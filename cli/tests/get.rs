//! One tensor, in every format it can be had in.

mod common;

use ::safetensors::SafeTensors;
use common::{Place, safetensors, weights};

#[test]
fn raw_bytes_have_the_digest_that_is_listed() {
    let place = Place::packed();
    place.ok(&["get", "model.at1w", "embed.weight", "-o", "x.bin"]);
    assert!(place.read("x.bin") == weights(600_000, 1));
    assert!(place.ok(&["get", "model.at1w", "embed.weight"]) == place.read("x.bin"));
    let sums = place.run(std::process::Command::new("sha256sum").arg("x.bin"));
    let rows = place.json(&["ls", "--json", "model.at1w"]);
    let digest = rows[0]["sha256"].as_str().unwrap();
    assert_eq!(String::from_utf8(sums.stdout).unwrap(), format!("{digest}  x.bin\n"));
}

#[test]
fn slices_are_those_of_numpy() {
    let place = Place::packed();
    let all = weights(600_000, 1);
    let get = |slice| place.ok(&["get", "model.at1w", "embed.weight", "--slice", slice]);
    assert!(get("0:16, :") == all[..16 * 1200]);
    assert!(get("-1") == all[999 * 1200..]);
    assert_eq!(get("500, 7:9"), all[500 * 1200 + 14..500 * 1200 + 18]);
    let column: Vec<u8> = all.chunks(1200).flat_map(|row| row[1198..].to_vec()).collect();
    assert!(get("..., -1") == column);
}

#[test]
fn negative_steps_are_refused_with_what_to_do() {
    let place = Place::packed();
    let get = |slice| ["get", "model.at1w", "embed.weight", "--slice", slice];
    place.fails(&get("::-1"), 2, "steps are positive: read forwards, and reverse what was read");
    place.fails(&get("::0"), 2, "steps are positive");
    place.fails(&get("::x"), 2, "write a number");
}

#[test]
fn a_safetensors_of_one_tensor_is_one() {
    let place = Place::packed();
    place.ok(&["get", "model.at1w", "embed.weight", "--slice", "3:5", "-o", "rows.safetensors"]);
    let bytes = place.read("rows.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("embed.weight").unwrap();
    assert_eq!(tensor.dtype(), ::safetensors::Dtype::BF16);
    assert_eq!(tensor.shape(), [2, 600]);
    assert_eq!(tensor.data(), &weights(600_000, 1)[3 * 1200..5 * 1200]);
    place.ok(&["pack", "rows.safetensors"]);
}

#[test]
fn npy_files_have_the_header_of_numpy() {
    let place = Place::new();
    let ones: Vec<u8> = [1f32; 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    place.write(
        "model.safetensors",
        safetensors(&[
            ("f32", "F32", &[2, 3], &ones),
            ("bf16", "BF16", &[], &[0x80, 0x3f]),
            ("fp8", "F8_E4M3", &[1], &[0x38]),
            ("fp4", "F4", &[2], &[0x22]),
        ]),
    );
    place.ok(&["pack", "model.safetensors"]);
    let npy = |name: &str, header: &str, data: &[u8]| {
        let outcome = place.at1w(&["get", "model.at1w", name, "-o", &format!("{name}.npy")]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let file = place.read(&format!("{name}.npy"));
        let dict = format!("{{'descr': {header}, }}");
        assert_eq!(&file[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert_eq!(file[10..128], *format!("{dict:<117}\n").as_bytes());
        assert_eq!(&file[128..], data);
        outcome.stderr
    };
    let note = npy("f32", "'<f4', 'fortran_order': False, 'shape': (2, 3)", &ones);
    assert!(note.contains("read and verified 24 B") && !note.contains("ml_dtypes"), "{note}");
    let note = npy("bf16", "'|V2', 'fortran_order': False, 'shape': ()", &[0x80, 0x3f]);
    assert!(note.contains("ml_dtypes.bfloat16"), "{note}");
    let note = npy("fp8", "'|V1', 'fortran_order': False, 'shape': (1,)", &[0x38]);
    assert!(note.contains("ml_dtypes.float8_e4m3fn"), "{note}");

    place.fails(&["get", "model.at1w", "fp4", "-o", "fp4.npy"], 2, ".safetensors");
    assert!(!place.path("fp4.npy").exists());
    assert_eq!(place.ok(&["get", "model.at1w", "fp4"]), [0x22]);
}

#[test]
fn what_is_not_there_is_said() {
    let place = Place::packed();
    place.fails(&["get", "model.at1w", "embed.weigth"], 4, r#"did you mean "embed.weight""#);
    place.fails(&["get", "model.at1w", "embed.bias", "--slice", "600"], 4, "embed.bias");
    place.fails(&["get", "model.at1w", "embed.bias", "--slice", "0:601"], 4, "[600]");
    place.fails(&["get", "model.at1w", "embed.bias", "--slice", "0, 0"], 4, "embed.bias");
    place.fails(&["get", "model.at1w", "embed.bias", "--slice", "0:9:0"], 2, "steps are positive");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::packed();
    let script = format!(
        "set -e; {{ {} get model.at1w embed.weight; echo $? >&2; }} | head -c 9",
        env!("CARGO_BIN_EXE_at1w")
    );
    let outcome = place.run(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!((outcome.stdout.len(), &*outcome.stderr), (9, "0\n"));
}
