//! Blocks come back, know their length, and notice what they say that they notice.

use at1w_codec::block::{BlockDecoder, BlockEncoder};
use at1w_codec::{DecodeError, Dtype, EncodeError, Level};
use proptest::prelude::*;

/// Numbers like weights, as bf16 if two bytes are taken of each.
fn weights(elements: usize) -> Vec<f32> {
    let weight = |i: usize| (i as f32 * 0.7).sin() * (i as f32 * 0.013).cos() / 50.0;
    (0..elements).map(weight).collect()
}

fn bf16(elements: usize) -> Vec<u16> {
    weights(elements).iter().map(|weight| (weight.to_bits() >> 16) as u16).collect()
}

/// Both kinds of blocks.
fn kinds(level: Level) -> [(BlockEncoder, BlockDecoder); 2] {
    [
        (BlockEncoder::new(level), BlockDecoder::new()),
        (BlockEncoder::checked(level), BlockDecoder::checked()),
    ]
}

#[test]
fn blocks_know_their_length() {
    for dtype in Dtype::ALL {
        for (mut encoder, mut decoder) in kinds(Level::Max) {
            let raw: Vec<u8> = bf16(2000).iter().flat_map(|v| v.to_le_bytes()).collect();
            let mut encoded = b"before".to_vec();
            let len = encoder.encode_into(dtype, &raw, &mut encoded).unwrap();
            let encoded = encoded.strip_prefix(b"before").unwrap();
            assert_eq!(encoded.len(), len);
            assert!(len <= BlockEncoder::max_encoded_len(raw.len()));
            assert_eq!(decoder.raw_len(encoded), Ok(raw.len()));
            let mut back = vec![0; raw.len()];
            decoder.decode(encoded, &mut back).unwrap();
            assert!(back == raw);
            for cut in 0..len.min(50) {
                assert!(decoder.decode(&encoded[..cut], &mut back).is_err());
            }
            let mut back = vec![7];
            decoder.decode_into(encoded, raw.len(), &mut back).unwrap();
            assert!(back[1..] == raw);
            let refused = decoder.decode_into(encoded, raw.len() - 1, &mut back);
            let (raw_len, max) = (raw.len() as u64, raw.len() - 1);
            assert_eq!(refused, Err(DecodeError::TooLong { raw_len, max }));
            assert_eq!(back.len(), 1 + raw.len());
        }
    }
    let decoder = BlockDecoder::new();
    assert_eq!(decoder.raw_len(&[7, 0]), Err(DecodeError::UnknownLayout(7)));
    assert!(decoder.raw_len(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
}

#[test]
fn a_block_of_the_other_kind_is_refused() {
    let [(mut bare, mut of_bare), (mut checked, mut of_checked)] = kinds(Level::Default);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    bare.encode_into(Dtype::U8, &[1; 50], &mut a).unwrap();
    checked.encode_into(Dtype::U8, &[1; 50], &mut b).unwrap();
    // The same, but for the kind and the checksum.
    assert_eq!(a[1..], b[1..b.len() - 4]);
    let mut back = [0; 50];
    assert_eq!(of_bare.decode(&b, &mut back), Err(DecodeError::UnknownLayout(0x80)));
    assert_eq!(of_checked.decode(&a, &mut back), Err(DecodeError::Checksum));
}

#[test]
fn a_checked_block_notices_every_flipped_bit() {
    let values = bf16(1000);
    let (mut encoder, mut decoder) = kinds(Level::Default)[1].clone();
    let mut encoded = Vec::new();
    encoder.encode_slice_into(Dtype::BF16, &values, &mut encoded).unwrap();
    let mut back = vec![0; values.len()];
    for bit in 0..8 * encoded.len() {
        encoded[bit / 8] ^= 1 << (bit % 8);
        let refused = decoder.decode_slice(&encoded, &mut back);
        assert_eq!(refused, Err(DecodeError::Checksum), "bit {bit}");
        assert!(!refused.unwrap_err().is_misuse());
        encoded[bit / 8] ^= 1 << (bit % 8);
    }
    decoder.decode_slice(&encoded, &mut back).unwrap();
    assert_eq!(back, values);
}

/// The documentation says that a bare block does not notice most damage. If this fails, it has
/// become better than it says.
#[test]
fn a_bare_block_does_not_notice_most_flipped_bits() {
    let values = bf16(1000);
    let (mut encoder, mut decoder) = kinds(Level::Default)[0].clone();
    let mut encoded = Vec::new();
    encoder.encode_slice_into(Dtype::BF16, &values, &mut encoded).unwrap();
    let bits = 8 * encoded.len();
    let unnoticed = (0..bits).filter(|bit| {
        let mut damaged = encoded.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut back = vec![0; values.len()];
        decoder.decode_slice(&damaged, &mut back).is_ok() && back != values
    });
    assert!(2 * unnoticed.count() > bits);
}

#[test]
fn the_checksum_is_the_one_of_the_format_page() {
    let mut encoded = Vec::new();
    BlockEncoder::checked(Level::Fast).encode_into(Dtype::U8, b"123456789", &mut encoded).unwrap();
    // The layout with its flag, the raw length, a stored chunk.
    assert_eq!(encoded[..12], *b"\x80\x09\x00123456789");
    let mut crc = !0_u32;
    for byte in &encoded[..12] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    assert_eq!(encoded[12..], (!crc).to_le_bytes());
}

#[test]
fn a_block_fits_or_leaves_the_page_alone() {
    for (mut encoder, mut decoder) in kinds(Level::Default) {
        let raw: Vec<u8> = bf16(3000).iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut whole = Vec::new();
        let len = encoder.encode_into(Dtype::BF16, &raw, &mut whole).unwrap();
        for room in [0, len - 1, len, len + 1, BlockEncoder::max_encoded_len(raw.len())] {
            let mut page = vec![0xee; room];
            let fits = encoder.encode_if_fits(Dtype::BF16, &raw, &mut page).unwrap();
            assert_eq!(fits, (room >= len).then_some(len));
            match fits {
                None => assert!(page.iter().all(|&byte| byte == 0xee)),
                Some(len) => assert_eq!(page[..len], whole),
            }
        }
        let mut back = vec![0; raw.len()];
        decoder.decode(&whole, &mut back).unwrap();
        assert!(back == raw);
    }
}

#[test]
fn mistakes_of_the_caller_are_named_as_such() {
    let mut encoder = BlockEncoder::new(Level::Fast);
    let mut out = vec![1];
    let wrong = encoder.encode_slice_into(Dtype::F32, &[0_u16; 8], &mut out);
    assert_eq!(wrong, Err(EncodeError::WrongElement { len: 2, width: 4 }));
    let ragged = encoder.encode_into(Dtype::F32, &[0; 5], &mut out);
    assert_eq!(ragged, Err(EncodeError::Ragged { len: 5, width: 4 }));
    assert_eq!(out, [1]);
    assert_eq!(
        encoder.encode(Dtype::U8, &[0; 20], &mut [0; 20]),
        Err(EncodeError::OutputTooSmall { len: 20, needed: BlockEncoder::max_encoded_len(20) })
    );

    let mut encoded = Vec::new();
    encoder.encode_slice_into(Dtype::F32, &[1_f32; 8], &mut encoded).unwrap();
    let mut decoder = BlockDecoder::new();
    for (mistake, error) in [
        (decoder.decode_slice(&encoded, &mut [0_u16; 16]), "into values of 2 bytes"),
        (decoder.decode_slice(&encoded, &mut [0_f32; 7]), "the destination 28"),
    ] {
        let mistake = mistake.unwrap_err();
        assert!(mistake.is_misuse() && mistake.to_string().contains(error), "{mistake}");
    }
}

proptest! {
    #[test]
    fn any_bytes_never_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        layout in 0_u8..7,
    ) {
        let mut raw = Vec::new();
        let _ = BlockDecoder::new().decode_into(&bytes, 1 << 20, &mut raw);
        let _ = BlockDecoder::checked().decode_into(&bytes, 1 << 20, &mut raw);
        if let Some(first) = bytes.first_mut() {
            *first = 0x80 | layout;
        }
        // Hostile bytes with the right checksum.
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        let _ = BlockDecoder::checked().decode_into(&bytes, 1 << 20, &mut raw);
    }
}
