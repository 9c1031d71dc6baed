//! The kinds of files that people name in place of a file of weights: a pointer, an error page, an
//! archive.

use std::fmt;

/// The number of bytes at the start of a file that tell its kind. The magic of tar lies furthest
/// in, at 257.
pub(crate) const LOOKED_AT: u64 = 4096;

/// The number of characters of a text that are shown.
const SHOWN: usize = 80;

/// A kind of file that is not the wanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A file without bytes.
    Empty,
    /// A file that begins with zeros: space that was reserved and never written.
    Zeros,
    /// The pointer that Git keeps in place of a large file.
    LfsPointer {
        /// The length of the file that it stands for, in bytes.
        size: Option<u64>,
    },
    /// An HTML page.
    Html,
    /// An XML document; object stores answer errors in XML.
    Xml {
        /// The first line.
        text: String,
    },
    /// A JSON text; hubs answer errors in JSON.
    Json {
        /// The first line.
        text: String,
    },
    /// Any other text.
    Text {
        /// The first line.
        text: String,
    },
    /// A stream of a general compressor, with the name of the compressor.
    Compressed(&'static str),
    /// An archive, with the name of its format.
    Archive(&'static str),
    /// Weights in another format, with the name of that format.
    Weights(&'static str),
    /// A safetensors file that is not packed.
    Safetensors,
    /// A directory.
    Directory,
    /// A pipe, a socket or a device.
    Special,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an empty file"),
            Self::Zeros => f.write_str("a file of zeros"),
            Self::LfsPointer { size: None } => f.write_str("a Git LFS pointer"),
            Self::LfsPointer { size: Some(size) } => {
                write!(f, "a Git LFS pointer to a file of {size} bytes")
            }
            Self::Html => f.write_str("an HTML page"),
            Self::Xml { text } => write!(f, "an XML document ({text:?})"),
            Self::Json { text } => write!(f, "a JSON text ({text:?})"),
            Self::Text { text } => write!(f, "a text ({text:?})"),
            Self::Compressed(name) => write!(f, "a file compressed by {name}"),
            Self::Archive(name) => write!(f, "a {name} archive"),
            Self::Weights(name @ "HDF5") => write!(f, "an {name} file"),
            Self::Weights(name) => write!(f, "a {name} file"),
            Self::Safetensors => f.write_str("a safetensors file that is not packed"),
            Self::Directory => f.write_str("a directory"),
            Self::Special => f.write_str("a pipe, a socket or a device"),
        }
    }
}

impl FileKind {
    /// Says what to do to get weights.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Empty | Self::Zeros => "a download did not finish: fetch the file again",
            Self::LfsPointer { .. } => "run 'git lfs pull' in the clone that it lies in",
            Self::Html | Self::Xml { .. } | Self::Json { .. } | Self::Text { .. } => {
                "a server may have answered with this in place of the file: read it, then fetch \
                 the file again, with a token if one is needed"
            }
            Self::Compressed(_) => "decompress it first",
            Self::Archive(_) => "extract the weights from it first",
            Self::Weights(_) => "convert it to safetensors first",
            Self::Safetensors => "it can be read as it is, or be packed first",
            Self::Directory => "name a file in it",
            Self::Special => "save its content to a file first",
        }
    }

    /// Whether a file of this kind and of `len` bytes holds no weights of any format. A long text
    /// may hold some: there are formats that begin as a text.
    pub(crate) fn holds_no_weights(&self, len: u64) -> bool {
        match self {
            Self::Empty | Self::Zeros | Self::LfsPointer { .. } | Self::Html => true,
            Self::Xml { .. } | Self::Json { .. } | Self::Text { .. } => len <= LOOKED_AT,
            _ => false,
        }
    }

    /// Recognises a file by the bytes that it begins with.
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
        const MAGICS: [(&[u8], FileKind); 10] = [
            (b"\x1f\x8b", FileKind::Compressed("gzip")),
            (b"\xfd7zXZ\0", FileKind::Compressed("xz")),
            (b"\x28\xb5\x2f\xfd", FileKind::Compressed("zstd")),
            (b"BZh", FileKind::Compressed("bzip2")),
            (b"7z\xbc\xaf\x27\x1c", FileKind::Archive("7z")),
            (b"\x93NUMPY", FileKind::Weights("NumPy")),
            (b"\x89HDF\r\n\x1a\n", FileKind::Weights("HDF5")),
            (b"GGUF", FileKind::Weights("GGUF")),
            (b"PK\x03\x04", FileKind::Archive("zip")),
            (b"PK\x05\x06", FileKind::Archive("zip")),
        ];
        if start.is_empty() {
            return Some(Self::Empty);
        }
        if start.starts_with(POINTER) {
            return Some(Self::LfsPointer { size: pointer_size(start) });
        }
        if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Some(match kind {
                Self::Archive("zip") => zip_kind(start),
                kind => kind.clone(),
            });
        }
        if start.get(257..262) == Some(b"ustar") {
            return Some(Self::Archive("tar"));
        }
        // The protocols of pickle that frameworks save with.
        if let [0x80, 2..=5, ..] = start {
            return Some(Self::Weights("pickle"));
        }
        if start.iter().all(|&byte| byte == 0) {
            return Some(Self::Zeros);
        }
        text_kind(start)
    }
}

/// Reads the size that a pointer of Git LFS gives.
fn pointer_size(start: &[u8]) -> Option<u64> {
    let lines = std::str::from_utf8(start).ok()?.lines();
    lines.filter_map(|line| line.strip_prefix("size ")).find_map(|size| size.trim().parse().ok())
}

/// Tells apart the formats that are zip archives, by the name of the first entry.
fn zip_kind(start: &[u8]) -> FileKind {
    let name_len =
        start.get(26..28).map_or(0, |len| usize::from(len[0]) | usize::from(len[1]) << 8);
    let name = start.get(30..).map_or(&[][..], |rest| &rest[..name_len.min(rest.len())]);
    if name.ends_with(b".npy") {
        FileKind::Weights("NumPy (npz)")
    } else if name.ends_with(b"/data.pkl") || name.ends_with(b"/.format_version") {
        FileKind::Weights("PyTorch")
    } else {
        FileKind::Archive("zip")
    }
}

/// Recognises texts: UTF-8 without control characters, perhaps cut off within a character.
fn text_kind(start: &[u8]) -> Option<FileKind> {
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.trim_start_matches('\u{feff}');
    if text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    let text = text.trim_start();
    let shown = || text.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
    let lower = text.chars().take(64).collect::<String>().to_ascii_lowercase();
    Some(match text.as_bytes().first() {
        Some(b'<') if lower.starts_with("<!doctype html") || lower.starts_with("<html") => {
            FileKind::Html
        }
        Some(b'<') => FileKind::Xml { text: shown() },
        Some(b'{' | b'[') => FileKind::Json { text: shown() },
        _ => FileKind::Text { text: shown() },
    })
}

/// The format that a caller wanted a file to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wanted {
    /// An `.at1w` file.
    At1w,
    /// A safetensors file.
    Safetensors,
    /// Either of them.
    Weights,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::At1w => "an .at1w file",
            Self::Safetensors => "a safetensors file",
            Self::Weights => "a file of weights",
        })
    }
}

/// A file is of another kind than the one that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}, not {wanted}: {}", found.advice())]
#[non_exhaustive]
pub struct WrongKind {
    /// The kind of the file.
    pub found: FileKind,
    /// The kind that was wanted.
    pub wanted: Wanted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8]) -> Option<FileKind> {
        FileKind::of(bytes)
    }

    #[test]
    fn pointers_tell_the_size_of_their_file() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\n\
            oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
            size 4401000000\n";
        assert_eq!(kind(pointer), Some(FileKind::LfsPointer { size: Some(4_401_000_000) }));
        let cut = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d";
        assert_eq!(kind(cut), Some(FileKind::LfsPointer { size: None }));
    }

    #[test]
    fn texts_are_told_apart() {
        assert_eq!(kind(b"\n <!DOCTYPE HTML><title>Sign in"), Some(FileKind::Html));
        let text = |text: &str| text.to_owned();
        let denied = "<?xml version=\"1.0\"?>";
        assert_eq!(kind(denied.as_bytes()), Some(FileKind::Xml { text: text(denied) }));
        let json = "{\"error\":\"Repository not found\"}";
        assert_eq!(kind(json.as_bytes()), Some(FileKind::Json { text: text(json) }));
        assert_eq!(
            kind(b"Entry not found"),
            Some(FileKind::Text { text: text("Entry not found") })
        );
        // Cut off within a character.
        assert_eq!(kind(b"caf\xc3"), Some(FileKind::Text { text: text("caf") }));
        assert_eq!(kind(b"\xff\xfe\x00\x01 binary"), None);
        assert_eq!(kind(b"a\x01b"), None);
    }

    #[test]
    fn zips_are_known_by_their_first_entry() {
        let zip = |name: &str| {
            let mut bytes = b"PK\x03\x04".to_vec();
            bytes.resize(26, 0);
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend(name.as_bytes());
            kind(&bytes)
        };
        assert_eq!(zip("archive/data.pkl"), Some(FileKind::Weights("PyTorch")));
        assert_eq!(zip("arr_0.npy"), Some(FileKind::Weights("NumPy (npz)")));
        assert_eq!(zip("readme.txt"), Some(FileKind::Archive("zip")));
        // The name may be cut off anywhere.
        assert_eq!(kind(b"PK\x03\x04"), Some(FileKind::Archive("zip")));
        let mut long = b"PK\x03\x04".to_vec();
        long.resize(30, 0xff);
        assert_eq!(kind(&long), Some(FileKind::Archive("zip")));
    }

    #[test]
    fn nothing_is_said_of_unknown_bytes() {
        assert_eq!(kind(&[0; 9]), Some(FileKind::Zeros));
        assert_eq!(kind(&[]), Some(FileKind::Empty));
        assert_eq!(kind(&[0, 0, 0, 7]), None);
        assert_eq!(kind(&[0xde, 0xad, 0xbe, 0xef]), None);
    }
}
