//! The place that the bytes of one object come from: an object store, or a web server.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::GetRange;
use reqwest::header::HeaderMap;

use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::web::{Part, Web};

/// The place that the bytes of one object come from.
#[derive(Debug)]
pub(crate) enum Origin {
    Object { objects: Arc<Objects>, key: String },
    Web(Web),
}

/// The end of a file that is read first: the one that its index is expected at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Start,
    End,
}

/// What is known of an object once a first part of it was read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) len: u64,
    pub(crate) etag: Option<String>,
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
    pub(crate) headers: HeaderMap,
}

/// The number of bytes that are read first. They hold the index of most files.
const FIRST_LEN: u64 = 64 << 10;

impl Origin {
    /// Returns the address for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Object { objects, key } => format!("{}/{key}", objects.address()),
            Self::Web(web) => web.shown(),
        }
    }

    /// Reads a first part by one request; by another one where the server knows no ranges from the
    /// end.
    pub(crate) async fn open(&self, first: First) -> Result<Opened> {
        match (first, self.open_at(first).await) {
            (First::Start, opened) => opened,
            (First::End, opened @ Ok(_)) => opened,
            (First::End, Err(error)) if error.is_final() => Err(error),
            (First::End, Err(_)) => self.open_at(First::Start).await,
        }
    }

    async fn open_at(&self, first: First) -> Result<Opened> {
        match self {
            Self::Object { objects, key } => {
                let range = match first {
                    First::Start => GetRange::Bounded(0..FIRST_LEN),
                    First::End => GetRange::Suffix(FIRST_LEN),
                };
                match objects.part(key, range).await {
                    Ok((start, bytes, meta)) => Ok(Opened {
                        len: meta.len,
                        etag: meta.etag,
                        start,
                        bytes,
                        headers: HeaderMap::new(),
                    }),
                    Err(error) if first == First::End || error.is_final() => Err(error),
                    // Nothing of an empty object can be asked for.
                    Err(error) => match objects.facts(key).await? {
                        meta if meta.len == 0 => Ok(Opened {
                            len: 0,
                            etag: meta.etag,
                            start: 0,
                            bytes: Bytes::new(),
                            headers: HeaderMap::new(),
                        }),
                        _ => Err(error),
                    },
                }
            }
            Self::Web(web) => {
                let part = match first {
                    First::Start => Part::Range(0..FIRST_LEN),
                    First::End => Part::End(FIRST_LEN),
                };
                let answer = web.get(&part, None).await?;
                let crate::web::Answer { bytes, start, len, etag, headers } = answer;
                Ok(Opened { len, etag, start, bytes, headers })
            }
        }
    }

    /// Reads a range of an object of a known length and mark.
    pub(crate) async fn read(
        &self,
        range: Range<u64>,
        len: u64,
        etag: Option<&str>,
    ) -> Result<Bytes> {
        match self {
            Self::Object { objects, key } => objects.piece(key, etag, &range).await,
            Self::Web(web) => {
                let answer = web.get(&Part::Range(range.clone()), etag).await?;
                match answer.start == range.start && answer.len == len {
                    true => Ok(answer.bytes),
                    false => Err(Error::Replaced(web.shown())),
                }
            }
        }
    }
}
