//! One file on a web server: requests for its ranges, what is believed of their answers, and when
//! they are sent again.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, IF_MATCH, RANGE};
use reqwest::{Response, StatusCode, Url};
use tokio::time::{Instant, sleep, timeout};

use crate::answer::{ContentRange, retry_after, text};
use crate::error::{Error, Result, chain};
use crate::runtime;

/// The number of times that a request is sent again.
const RETRIES: u32 = 6;

/// The wait before a request is sent again for the first time. It doubles with each time.
const BACKOFF: Duration = Duration::from_millis(100);

/// The longest wait before a request is sent again, unless the server asks for more.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// How many times as long as the server may be silent a request may take in all.
const WHOLE: u32 = 10;

/// How many times as long as the server may be silent requests are sent again and again.
const AGAIN: u32 = 4;

/// A file on a web server.
#[derive(Debug)]
pub(crate) struct Web {
    /// The address that was given.
    url: Url,
    /// The address that it led to last.
    target: Mutex<Url>,
    token: Option<String>,
    timeout: Duration,
}

/// The part of a file that is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Range(Range<u64>),
    /// The last bytes, as many as there are.
    End(u64),
}

/// The bytes that a server sent, and what it says of the file.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) bytes: Bytes,
    /// The offset of the bytes.
    pub(crate) start: u64,
    /// The length of the file.
    pub(crate) len: u64,
    /// The mark that changes with the content.
    pub(crate) etag: Option<String>,
    pub(crate) headers: HeaderMap,
}

/// The outcome of one attempt.
pub(crate) enum Failed {
    /// Another attempt may succeed, after a while.
    Again {
        error: Error,
        wait: Option<Duration>,
    },
    /// Nobody answers at all: another attempt hardly helps.
    Unreachable(Error),
    For(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

impl Web {
    pub(crate) fn new(url: Url, token: Option<String>, timeout: Duration) -> Self {
        Self { target: Mutex::new(url.clone()), url, token, timeout }
    }

    /// Returns the address without what may be secret in it.
    pub(crate) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.into()
    }

    fn target(&self) -> Url {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_target(&self, url: Url) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    /// Reads a part of the file, which is refused if it has another `etag` by now.
    pub(crate) async fn get(&self, part: &Part, etag: Option<&str>) -> Result<Answer> {
        let mut retries = Retries::new(self.timeout);
        loop {
            match self.attempt(part, etag).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => retries.wait(failed).await?,
            }
        }
    }

    async fn attempt(&self, part: &Part, etag: Option<&str>) -> Result<Answer, Failed> {
        let response = self.send(Some(part), etag).await?;
        let received = timeout(self.timeout * WHOLE, self.receive(response, part, etag));
        received.await.unwrap_or_else(|_| Err(self.late()))
    }

    /// Reads all of the file, piece by piece. What fails on the way is not sent again.
    pub(crate) async fn get_all(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut retries = Retries::new(self.timeout);
        let mut response = loop {
            match self.send(None, None).await {
                Ok(response) => break response,
                Err(failed) => retries.wait(failed).await?,
            }
        };
        // A body of no stated length may have no end.
        let Some(asked) = response.content_length() else {
            return Err(Error::NoRanges(self.shown()));
        };
        let mut came = 0;
        while let Some(bytes) = self.next(&mut response).await.map_err(Failed::into_error)? {
            came += bytes.len() as u64;
            if came > asked {
                return Err(Error::Long { object: self.shown(), asked });
            }
            take(&bytes)?;
        }
        match came == asked {
            true => Ok(()),
            false => Err(Error::Short { object: self.shown(), came, asked }),
        }
    }

    /// Sends a request; returns an answer that has something to read.
    async fn send(&self, part: Option<&Part>, etag: Option<&str>) -> Result<Response, Failed> {
        let target = self.target();
        let response = self.send_to(target.clone(), part, etag).await?;
        let expired = matches!(response.status().as_u16(), 400 | 401 | 403 | 410);
        let response = if expired && target != self.url {
            // The address that a redirect led to has expired.
            self.send_to(self.url.clone(), part, etag).await?
        } else {
            response
        };
        self.set_target(response.url().clone());
        self.judge(response)
    }

    async fn send_to(
        &self,
        url: Url,
        part: Option<&Part>,
        etag: Option<&str>,
    ) -> Result<Response, Failed> {
        // What is compressed on the way has no ranges.
        let mut request =
            runtime::current()?.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        match part {
            Some(Part::Range(range)) => {
                let last = range.end.saturating_sub(1);
                request = request.header(RANGE, format!("bytes={}-{last}", range.start));
            }
            Some(Part::End(len)) => request = request.header(RANGE, format!("bytes=-{len}")),
            None => {}
        }
        // A weak mark never matches.
        if let Some(etag) = etag.filter(|etag| etag.starts_with('"')) {
            request = request.header(IF_MATCH, etag);
        }
        if let Some(token) = &self.token
            && url.origin() == self.url.origin()
        {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        match timeout(self.timeout, request.send()).await {
            Err(_) => Err(self.late()),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_redirect() || error.is_builder() => {
                Err(Failed::For(self.failed(&error.without_url())))
            }
            Ok(Err(error)) => Err(self.again(error)),
        }
    }

    /// Tells answers that have something to read from all others.
    fn judge(&self, response: Response) -> Result<Response, Failed> {
        let object = self.shown();
        let status = response.status();
        let told = text(response.headers(), "x-error-message");
        let cause =
            format!("{status}{}", told.map_or_else(String::new, |told| format!(": {told}")));
        Err(match status.as_u16() {
            200 | 206 | 416 => return Ok(response),
            401 | 403 => Failed::For(Error::Refused {
                object,
                credentials: self.credentials(&response).into(),
                cause,
            }),
            404 | 410 => Failed::For(Error::NotFound(object)),
            412 => Failed::For(Error::Replaced(object)),
            status @ (408 | 429 | 500 | 502..=504) => {
                let wait = retry_after(response.headers());
                Failed::Again { error: Error::Busy { object, status, wait }, wait }
            }
            _ => Failed::For(Error::Failed { object, cause }),
        })
    }

    /// Says with which credentials a request was sent.
    fn credentials(&self, response: &Response) -> &'static str {
        match (&self.token, self.url.query()) {
            _ if response.url().origin() != self.url.origin() => {
                "none: the address that it leads to may have expired"
            }
            (Some(_), _) => "the token of HF_TOKEN or of 'hf auth login'",
            (None, Some(_)) => "those in the address, which may have expired",
            (None, None) => "no credentials",
        }
    }

    async fn receive(
        &self,
        mut response: Response,
        part: &Part,
        etag: Option<&str>,
    ) -> Result<Answer, Failed> {
        let object = || self.shown();
        let headers = response.headers().clone();
        let mark = text(&headers, "etag").or_else(|| text(&headers, "last-modified"));
        if etag.is_some() && mark.as_deref() != etag {
            return Err(Error::Replaced(object()).into());
        }
        let range = ContentRange::of(&headers);
        let (range, len) = match (response.status(), range, response.content_length()) {
            (StatusCode::PARTIAL_CONTENT, Some(ContentRange { range, len }), _) => (range, len),
            // Nothing of an empty file can be asked for.
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(ContentRange { len: 0, .. }), _) => {
                let (bytes, start, len) = (Bytes::new(), 0, 0);
                return Ok(Answer { bytes, start, len, etag: mark, headers });
            }
            // All of the file is no more than was asked for.
            (StatusCode::OK, _, Some(len)) if part.covers(len) => (0..len, len),
            (StatusCode::RANGE_NOT_SATISFIABLE, ..) if etag.is_some() => {
                return Err(Error::Replaced(object()).into());
            }
            _ => return Err(Error::NoRanges(object()).into()),
        };
        let asked = part.within(len);
        if range.start != asked.start {
            return Err(Error::NoRanges(object()).into());
        }
        let asked = asked.end - asked.start;
        // The length that the server states is bounded by what was asked for.
        let mut bytes = BytesMut::with_capacity(asked as usize);
        while let Some(more) = self.next(&mut response).await? {
            if bytes.len() as u64 + more.len() as u64 > asked {
                return Err(Error::Long { object: object(), asked }.into());
            }
            bytes.extend_from_slice(&more);
        }
        let came = bytes.len() as u64;
        if came != asked {
            let error = Error::Short { object: object(), came, asked };
            return Err(Failed::Again { error, wait: None });
        }
        Ok(Answer { bytes: bytes.freeze(), start: range.start, len, etag: mark, headers })
    }

    async fn next(&self, response: &mut Response) -> Result<Option<Bytes>, Failed> {
        match timeout(self.timeout, response.chunk()).await {
            Ok(bytes) => bytes.map_err(|error| self.again(error)),
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> Failed {
        Failed::Again { error: Error::TimedOut(self.shown()), wait: None }
    }

    fn again(&self, error: reqwest::Error) -> Failed {
        let unreachable = error.is_connect();
        let error = self.failed(&error.without_url());
        if unreachable { Failed::Unreachable(error) } else { Failed::Again { error, wait: None } }
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        Error::Failed { object: self.shown(), cause: chain(error) }
    }
}

/// The attempts that are left.
pub(crate) struct Retries {
    left: u32,
    backoff: Duration,
    end: Instant,
}

impl Retries {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { left: RETRIES, backoff: BACKOFF, end: Instant::now() + timeout * AGAIN }
    }

    /// Waits until another attempt may be made; returns the error if none may.
    pub(crate) async fn wait(&mut self, failed: Failed) -> Result<()> {
        let (error, wait, cost) = match failed {
            Failed::For(error) => return Err(error),
            Failed::Again { error, wait } => (error, wait, 1),
            Failed::Unreachable(error) => (error, None, RETRIES / 2),
        };
        let wait = wait.unwrap_or(Duration::ZERO).max(self.backoff);
        if self.left == 0 || Instant::now() + wait > self.end {
            return Err(error);
        }
        sleep(wait).await;
        self.left = self.left.saturating_sub(cost);
        self.backoff = MAX_BACKOFF.min(self.backoff * 2);
        Ok(())
    }
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Again { error, .. } | Self::For(error) | Self::Unreachable(error) => error,
        }
    }
}

impl Part {
    /// Returns the range that is meant of a file of this length.
    fn within(&self, len: u64) -> Range<u64> {
        match self {
            Self::Range(range) => range.start.min(len)..range.end.min(len),
            Self::End(last) => len.saturating_sub(*last)..len,
        }
    }

    /// Whether all of a file of this length is asked for.
    fn covers(&self, len: u64) -> bool {
        self.within(len) == (0..len)
    }
}
