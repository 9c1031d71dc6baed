//! Packs bytes that may be a safetensors file. Checks that they are accepted exactly if the crate
//! `safetensors` accepts them, except for unknown dtypes and equal names.

use arbitrary::{Result, Unstructured};
use at1w_container::{Error, HeaderError};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::{open, packed, with_header};

/// The most bytes of data.
const MOST: u64 = 1 << 16;

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let json = match u.ratio(1, 3)? {
        true => String::from_utf8_lossy(u.bytes(u.len())?).into_owned(),
        false => written(u)?,
    };
    let file = with_header(&json, &vec![1; data_len(&json).min(MOST) as usize]);
    compare(&file);
    // Another length of the header.
    if let Some((first, rest)) = file.split_first() {
        compare(&[&[first.wrapping_add(u.arbitrary().unwrap_or(1))], rest].concat());
    }
    Ok(())
}

fn compare(file: &[u8]) {
    let theirs = SafeTensors::deserialize(file);
    match packed(file) {
        Ok(packed) => {
            let reader = open(&packed).expect("what was packed");
            if reader.tensors().any(|tensor| tensor.dtype().is_none()) {
                return;
            }
            let theirs = theirs.unwrap_or_else(|error| panic!("safetensors refuses it: {error}"));
            assert_eq!(theirs.len(), reader.len());
            for (name, view) in theirs.tensors() {
                let tensor = reader.tensor(&name).expect("the same names");
                assert!(tensor.read_to_vec().expect("what was packed") == view.data());
                assert!(tensor.shape().iter().map(|&dim| dim as usize).eq(view.shape().to_vec()));
            }
        }
        Err(Error::Safetensors(HeaderError::Duplicate(_))) => {}
        // The magic of a packed file, read as a safetensors length, would be absurd.
        Err(Error::AlreadyPacked) => assert!(theirs.is_err()),
        Err(error) => assert!(theirs.is_err(), "safetensors accepts it: {error}"),
    }
}

/// Returns the offset at which the last tensor ends, by its header.
fn data_len(json: &str) -> u64 {
    let Ok(Value::Object(entries)) = serde_json::from_str(json) else { return 0 };
    let ends = entries.values().filter_map(|info| match info {
        Value::Object(info) => info.get("data_offsets")?.get(1)?.as_u64(),
        info => info.get(2)?.get(1)?.as_u64(),
    });
    ends.max().unwrap_or(0)
}

/// Makes JSON that is nearly a header.
fn written(u: &mut Unstructured<'_>) -> Result<String> {
    let mut json = String::from(*u.choose(&["{", " {", "{ ", "[", "\n{"])?);
    let mut start = 0;
    for i in 0..u.int_in_range(0..=4)? {
        if i > 0 {
            json += ",";
        }
        match u.int_in_range(0..=9)? {
            0 => {
                json += u.choose(&[
                    r#""__metadata__":{"a":"b"}"#,
                    r#""__metadata__":null"#,
                    r#""__metadata__":{"a":1}"#,
                    r#""__metadata__":{"a":"b","a":"c"}"#,
                    r#""__metadata__":[]"#,
                ])?
            }
            _ => json += &tensor(u, &mut start)?,
        }
    }
    json += u.choose(&["}", "} ", "}}", "]", "} x", ""])?;
    Ok(json)
}

fn tensor(u: &mut Unstructured<'_>, start: &mut u64) -> Result<String> {
    let dtypes = ["F32", "U8", "BF16", "F4", "F6_E2M3", "BOOL", "C64", "I64", "F8_E8M0", "Q4", ""];
    let bits = [32, 8, 16, 4, 6, 8, 64, 64, 8, 8, 8];
    let kind = u.choose_index(dtypes.len())?;
    let shape: Vec<u64> =
        (0..u.int_in_range(0..=3)?).map(|_| u.int_in_range(0..=6)).collect::<Result<_>>()?;
    let len = shape.iter().product::<u64>() * bits[kind] / 8;
    let begin = *start;
    *start += len;
    let name = u.choose(&["a", "b", "c", "\\u0061", "", "__metadata__", "é", "\\ud800"])?;
    let mut dims = format!("{shape:?}");
    if u.ratio(1, 8)? {
        dims = (*u.choose(&[
            "[-1]",
            "[1.0]",
            "[1e3]",
            "null",
            "[18446744073709551615]",
            "[18446744073709551616]",
            "[4294967296,4294967296,0]",
            "[0,4294967296,4294967296]",
            "[true]",
            "[ ]",
            "[01]",
        ])?)
        .into();
    }
    let (mut from, mut to) = (begin.to_string(), (begin + len).to_string());
    if u.ratio(1, 8)? {
        from = (*u.choose(&["0", "1", "-0", "18446744073709551615", "0.0", "null"])?).into();
    }
    if u.ratio(1, 8)? {
        to = (*u.choose(&["0", "1", "64", "18446744073709551615", "1e1", "\"4\""])?).into();
    }
    let (dtype, offsets) = (dtypes[kind], format!("[{from},{to}]"));
    Ok(match u.int_in_range(0..=9)? {
        0 => format!(r#""{name}":["{dtype}",{dims},{offsets}]"#),
        1 => format!(r#""{name}":{{"dtype":"{dtype}","shape":{dims}}}"#),
        2 => format!(
            r#""{name}":{{"x":[{{}}],"dtype":"{dtype}","shape":{dims},"data_offsets":{offsets}}}"#
        ),
        3 => format!(
            r#""{name}":{{"dtype":"{dtype}","dtype":"U8","shape":{dims},"data_offsets":{offsets}}}"#
        ),
        4 => format!(
            r#""{name}" : {{ "data_offsets":{offsets} , "shape":{dims},"dtype":"{dtype}" }}"#
        ),
        _ => format!(r#""{name}":{{"dtype":"{dtype}","shape":{dims},"data_offsets":{offsets}}}"#),
    })
}
