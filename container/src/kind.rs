//! Names what a file is that turned out to be no file of weights: a pointer, an error page, an
//! archive. Only files whose header does not parse are looked at, so that no valid file is
//! misjudged.

use std::fmt;
use std::fs::{File, Metadata};
use std::path::Path;

use crate::error::HeaderError;
use crate::format::trailer::{END_MAGIC, MAGIC};
use crate::source::{self, ReadAt};
use crate::{Error, Result};

/// Bytes at the start of a file that are looked at. The magic of tar lies furthest in, at 257.
const LOOKED_AT: u64 = 4096;

/// Characters of a text that are shown.
const SHOWN: usize = 80;

/// What a file is instead of a file of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A file without bytes.
    Empty,
    /// A file that begins with zeros: space that was reserved and never written.
    Zeros,
    /// The pointer that Git keeps in place of a large file.
    LfsPointer {
        /// Bytes of the file that it stands for.
        size: Option<u64>,
    },
    /// An HTML page.
    Html,
    /// An XML document; object stores answer errors in XML.
    Xml {
        /// How it begins.
        text: String,
    },
    /// A JSON text; hubs answer errors in JSON.
    Json {
        /// How it begins.
        text: String,
    },
    /// Any other text.
    Text {
        /// How it begins.
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

    /// Whether a file of this kind and of `len` bytes holds no weights of any format. A long text may:
    /// there are formats that begin as one.
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

/// The size that a pointer of Git LFS gives.
fn pointer_size(start: &[u8]) -> Option<u64> {
    let lines = std::str::from_utf8(start).ok()?.lines();
    lines.filter_map(|line| line.strip_prefix("size ")).find_map(|size| size.trim().parse().ok())
}

/// Tells apart what is a zip archive underneath, by the name of its first entry.
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

/// Recognises texts: bytes that are UTF-8 without control characters, cut off within a character
/// perhaps.
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

/// Recognises what a source holds by its first bytes, once it does not parse as what it should be:
/// a damaged `.at1w` file, or another kind of file.
pub(crate) fn recognise(source: &dyn ReadAt, wanted: Wanted) -> Result<Option<Error>> {
    let damaged = |problem: &str| {
        let problem = problem.into();
        Ok(Some(Error::Damaged { section: "first bytes", offset: 0, problem }))
    };
    let size = source.size().map_err(|source| Error::Read { offset: 0, source })?;
    let start = source::read(source, 0..size.min(4))?;
    let end = source::read(source, size.saturating_sub(END_MAGIC.len() as u64)..size)?;
    if *start == MAGIC[..4] {
        // The line ends in the magic are there to show this.
        return damaged("the file may have been converted as a text");
    }
    if *end == END_MAGIC {
        return damaged("the file ends as an .at1w file, and does not begin as one");
    }
    Ok(look(source)?.map(|found| Error::WrongKind { found, wanted }))
}

/// Recognises what kind of file a source holds by its first bytes.
pub(crate) fn look(source: &dyn ReadAt) -> Result<Option<FileKind>> {
    let size = source.size().map_err(|source| Error::Read { offset: 0, source })?;
    Ok(FileKind::of(&source::read(source, 0..size.min(LOOKED_AT))?))
}

/// Replaces the error of a header that does not parse by the kind of the file, where that is known.
pub(crate) fn explain(source: &dyn ReadAt, error: Error, wanted: Wanted) -> Error {
    let unparsed = matches!(
        error,
        Error::Safetensors(
            HeaderError::TooShort(_)
                | HeaderError::TooLarge(_)
                | HeaderError::Truncated { .. }
                | HeaderError::Json(_)
        )
    );
    match unparsed.then(|| recognise(source, wanted)) {
        Some(Ok(Some(known))) => known,
        _ => error,
    }
}

/// Opens a file for reading.
///
/// # Errors
/// [`Error::WrongKind`] for a directory, a pipe, a socket or a device, none of which can be read at
/// any offset; [`Error::Io`].
pub fn open_file(path: &Path, wanted: Wanted) -> Result<File> {
    // Before it is opened: to open a pipe blocks until somebody writes to it.
    let metadata = path.metadata().map_err(Error::io(path))?;
    check_regular(&metadata, wanted).map_err(|error| error.in_file(path))?;
    File::open(path).map_err(Error::io(path))
}

fn check_regular(metadata: &Metadata, wanted: Wanted) -> Result<()> {
    let found = match metadata {
        metadata if metadata.is_file() => return Ok(()),
        metadata if metadata.is_dir() => FileKind::Directory,
        _ => FileKind::Special,
    };
    Err(Error::WrongKind { found, wanted })
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
