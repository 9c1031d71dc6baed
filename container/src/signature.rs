//! The message that is signed for a packed file, so that every signer and checker means the same
//! bytes.

use crate::digest::Digest;

/// Returns the message that is signed for a file with this root: `at1w root v1`, a space, the root
/// in lowercase hexadecimal, a line feed. The prefix keeps it apart from any other digest that the
/// same key may sign.
pub fn signed_message(root: &Digest) -> String {
    format!("at1w root v1 {root}\n")
}
