//! Checks that any file that safetensors allows comes back exactly, however odd. A file that it
//! refuses is refused with the reason.

use at1w_codec::Dtype;
use at1w_container::{Error, HeaderError};
use at1w_tests::{Random, Tensor, open, packed, restored, safetensors, weights, with_header};

#[track_caller]
fn round_trips(original: &[u8]) {
    let packed = packed(original).unwrap();
    assert!(restored(&packed).unwrap() == original);
    open(&packed).unwrap().verify(&()).unwrap();
}

#[track_caller]
fn refused(original: &[u8]) -> HeaderError {
    assert!(safetensors::SafeTensors::deserialize(original).is_err(), "safetensors accepts it");
    match packed(original) {
        Err(Error::Safetensors(reason)) => reason,
        Err(Error::WrongKind(kind)) => panic!("taken for {kind}"),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("accepted"),
    }
}

#[test]
fn no_tensors() {
    round_trips(&with_header("{}", &[]));
    round_trips(&with_header("  {}", &[]));
    round_trips(&with_header("{\"__metadata__\":null}", &[]));
    round_trips(&with_header("{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}   ", &[]));
}

#[test]
fn empty_tensors_and_scalars() {
    let huge = 1 << 40;
    round_trips(&safetensors(&[
        Tensor::new("z", Dtype::F32, &[0], vec![]),
        Tensor::new("huge", Dtype::F32, &[0, huge, huge, huge], vec![]),
        Tensor::new("s", Dtype::F64, &[], vec![1; 8]),
        Tensor::new("y", Dtype::F32, &[3, 0], vec![]),
    ]));
    let reader_file =
        packed(&safetensors(&[Tensor::new("z", Dtype::F32, &[0, 5], vec![])])).unwrap();
    let reader = open(&reader_file).unwrap();
    let tensor = reader.tensor("z").unwrap();
    assert!(tensor.read_to_vec().unwrap().is_empty());
    assert_eq!(tensor.read_slice(&":, 1:3".parse().unwrap()).unwrap(), (vec![0, 2], vec![]));
}

#[test]
fn odd_headers() {
    // Unaligned data, odd spacing, extra fields, any key order, tensors out of data order.
    round_trips(&with_header(
        "{ \"b\" :{\"data_offsets\":[1, 5],\"shape\":[1 ],\"dtype\":\"F32\",\"note\":[{\"x\":1}]},\n\
         \"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}\t",
        &[1, 2, 3, 4, 5],
    ));
    round_trips(&with_header(
        "{\"u\":{\"dtype\":\"Q4_K\",\"shape\":[9,9],\"data_offsets\":[0,3]}}",
        &[1, 2, 3],
    ));
}

#[test]
fn odd_names() {
    let long = "n".repeat(64 << 10);
    let names = ["", "a\nb\u{1}\u{7f}", "ünï/../code", "\"quoted\\\"", &long];
    let tensors: Vec<Tensor> =
        names.iter().map(|n| Tensor::new(n, Dtype::U8, &[2], vec![1, 2])).collect();
    let original = safetensors(&tensors);
    round_trips(&original);
    let packed = packed(&original).unwrap();
    let reader = open(&packed).unwrap();
    for name in names {
        assert_eq!(reader.tensor(name).unwrap().read_to_vec().unwrap(), [1, 2]);
    }
}

#[test]
fn a_hundred_thousand_tensors() {
    let tensors: Vec<Tensor> = (0..100_000)
        .map(|i| {
            Tensor::new(&format!("layer.{i}.weight"), Dtype::BF16, &[2], vec![i as u8, 1, 2, 3])
        })
        .collect();
    let original = safetensors(&tensors);
    round_trips(&original);
    let packed = packed(&original).unwrap();
    let reader = open(&packed).unwrap();
    assert_eq!(reader.tensor("layer.77777.weight").unwrap().read_to_vec().unwrap(), [209, 1, 2, 3]);
    // Checks the documented bound of the index, and that a header shrinks to a third or less.
    assert!(reader.info().index_len <= 64 * 100_000);
    assert!(reader.info().header_stored_len * 3 <= reader.info().header_len);
}

#[test]
fn what_safetensors_refuses() {
    let one =
        |info: &str, data: &[u8]| refused(&with_header(&format!("{{\"t\":{{{info}}}}}"), data));
    assert!(matches!(refused(&[1; 7]), HeaderError::TooShort(7)));
    assert!(matches!(refused(&(1u64 << 63).to_le_bytes()), HeaderError::TooLarge(_)));
    assert!(matches!(refused(&100u64.to_le_bytes()), HeaderError::Truncated { .. }));
    assert!(matches!(refused(&with_header("[]", &[])), HeaderError::Json(_)));
    assert!(matches!(refused(&with_header("{\"\u{0}\":1}", &[])), HeaderError::Json(_)));
    assert!(matches!(
        refused(&with_header("{}", &[0])),
        HeaderError::Trailing { tensors: 10, file: 11 }
    ));
    assert!(matches!(
        one("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,5]", &[0; 5]),
        HeaderError::Size { .. }
    ));
    assert!(matches!(
        one("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]", &[0]),
        HeaderError::Size { .. }
    ));
    assert!(matches!(
        one("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]", &[0; 5]),
        HeaderError::Offsets { .. }
    ));
    assert!(matches!(
        one("\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,0],\"data_offsets\":[0,0]", &[]),
        HeaderError::Overflow { .. }
    ));
    assert!(matches!(
        one("\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]", &[]),
        HeaderError::Json(_)
    ));
    let mut broken = with_header(
        "{\"t\":{\"x\":\"__\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        &[],
    );
    broken[19..21].copy_from_slice(&[0xff, 0xfe]);
    assert!(matches!(refused(&broken), HeaderError::Json(_)));
    // Tensors that overlap, and tensors with a gap.
    for second in ["[1,3]", "[3,5]"] {
        let header = format!(
            "{{\"a\":{{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}},\
             \"b\":{{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":{second}}}}}"
        );
        assert!(matches!(refused(&with_header(&header, &[0; 5])), HeaderError::Offsets { .. }));
    }
    let original = safetensors(&[Tensor::new("t", Dtype::U8, &[9], vec![0; 9])]);
    assert!(matches!(refused(&original[..original.len() - 1]), HeaderError::CutShort { .. }));
    for len in 9..original.len() {
        refused(&original[..len]);
    }
    // The length alone may look like another kind of file.
    for len in 0..9 {
        assert!(packed(&original[..len]).is_err());
    }
}

#[test]
fn a_shape_beyond_all_memory_is_refused_without_a_panic() {
    let dim = (1u64 << 58) + 1;
    let header =
        format!("{{\"t\":{{\"dtype\":\"U8\",\"shape\":[1,{dim}],\"data_offsets\":[0,{dim}]}}}}");
    assert!(matches!(refused(&with_header(&header, &[])), HeaderError::CutShort { .. }));
}

#[test]
fn duplicate_names_are_refused() {
    let header = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\
                  \"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
    match packed(&with_header(header, &[0, 0])) {
        Err(Error::Safetensors(HeaderError::Duplicate(name))) => assert_eq!(name, "a"),
        other => panic!("{:?}", other.map(|p| p.len())),
    }
}

#[test]
fn a_packed_source_is_refused() {
    let packed_once = packed(&safetensors(&[])).unwrap();
    assert!(matches!(packed(&packed_once), Err(Error::AlreadyPacked)));
}

#[test]
fn an_old_reader_refuses_a_packed_file() {
    let file = packed(&safetensors(&[])).unwrap();
    let error = safetensors::SafeTensors::deserialize(&file).err().unwrap();
    assert_eq!(error.to_string(), "header too large");
}

#[test]
fn wrong_slices_say_what_is_wrong() {
    let data = weights(Dtype::F32, 12, &mut Random::new(1));
    let original = safetensors(&[
        Tensor::new("t", Dtype::F32, &[3, 4], data),
        Tensor::new("half", Dtype::F4, &[2, 3], vec![1, 2, 3]),
    ]);
    let packed = packed(&original).unwrap();
    let reader = open(&packed).unwrap();
    let fails = |name: &str, slice: &str| {
        let error = reader.tensor(name).unwrap().read_slice(&slice.parse().unwrap()).err();
        error.unwrap_or_else(|| panic!("{slice} was taken")).to_string()
    };
    assert!(fails("t", "3").contains("3 is out of range for dimension 0 of size 3"));
    assert!(fails("t", "-4").contains("-4 is out of range"));
    assert!(fails("t", ":, 0:5").contains("5 is out of range for dimension 1 of size 4"));
    assert!(fails("t", "0, 0, 0").contains("3 indices for 2 dimensions"));
    assert!(fails("t", "..., ...").contains("only once"));
    assert!(fails("half", "0").contains("whole bytes"));
    assert_eq!(
        reader.tensor("half").unwrap().read_slice(&":, :".parse().unwrap()).unwrap().1,
        [1, 2, 3]
    );
    assert_eq!(reader.tensor("t").unwrap().read_slice(&"0:1,".parse().unwrap()).unwrap().0, [1, 4]);
    assert_eq!(reader.tensor("t").unwrap().read_slice(&"".parse().unwrap()).unwrap().0, [3, 4]);
    assert!("1:2:0".parse::<at1w_container::Slice>().is_err());
    assert!("x".parse::<at1w_container::Slice>().is_err());
    match reader.tensor("tt") {
        Err(Error::NoTensor { near, .. }) => assert_eq!(near, ["t"]),
        _ => panic!("found"),
    }
}
