//! A hub as `at1w` itself talks to it: requests with a token, which go to that server alone.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH};
use reqwest::{Body, Method, Response, Url};
use tokio::time::timeout;

use crate::answer::text;
use crate::error::{Error, Result, chain};
use crate::location::{parse, problem, token_of_user};
use crate::open::open_web;
use crate::options::UrlOptions;
use crate::runtime::{self, block_on_unless};
use crate::source::RemoteFile;
use crate::web::{Failed, Retries};

/// The largest answer that is taken, in bytes.
const ANSWER: usize = 256 << 20;

/// The number of bytes of a file that are sent at a time.
const PIECE: usize = 256 << 10;

/// How many times as long as usual a server may be silent that works on what it was sent.
const PATIENCE: u32 = 10_000;

/// A server of the hub protocol.
#[derive(Clone, Debug)]
pub struct Hub {
    url: Url,
    token: Option<String>,
    options: UrlOptions,
}

/// The body of a request.
#[derive(Debug)]
pub enum Payload<'a> {
    /// There is none.
    Nothing,
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// All of a file, of this length.
    File(&'a File, u64),
}

impl Hub {
    /// Opens the server at an address. Sends no request. The token is that of the user (`HF_TOKEN`,
    /// or the one of `hf auth login`).
    ///
    /// # Errors
    /// [`Error::Address`] for an address that names none; where a token would travel unencrypted to
    /// another machine, unless `insecure` allows that.
    pub fn open(address: &str, insecure: bool, options: UrlOptions) -> Result<Self> {
        let url = parse(address)?;
        let local = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(problem(address, "names no server")),
        };
        let token = token_of_user();
        if url.scheme() == "http" && token.is_some() && !local && !insecure {
            let text = "would show the token to everybody on the way: https:// does not";
            return Err(problem(address, text));
        }
        Ok(Self { url, token, options })
    }

    /// Returns the address, for messages.
    pub fn address(&self) -> &str {
        self.url.as_str()
    }

    fn at(&self, path: &[&str], query: &[(&str, String)]) -> Result<Url> {
        let mut url = self.url.clone();
        let segments = url.path_segments_mut();
        let mut segments = segments.map_err(|()| problem(self.url.as_str(), "names no server"))?;
        segments.pop_if_empty().extend(path);
        drop(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Opens a file on the server.
    ///
    /// # Errors
    /// As [`crate::open_url_with`].
    pub fn file(&self, path: &[&str], query: &[(&str, String)]) -> Result<RemoteFile> {
        open_web(&self.at(path, query)?, self.token.as_deref(), &self.options, false)
    }

    /// Asks for something; returns the body of the answer.
    ///
    /// # Errors
    /// [`Error::Answer`] where the server refuses, [`Error::Cancelled`], and those of the network.
    pub fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Vec<u8>> {
        self.call(&Method::GET, path, query, &Payload::Nothing)
    }

    /// Sends something; returns the body of the answer. It is sent again where no answer came: the
    /// server has to tell a request that it knows.
    ///
    /// # Errors
    /// As [`Hub::get`].
    pub fn post(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        payload: &Payload<'_>,
    ) -> Result<Vec<u8>> {
        self.call(&Method::POST, path, query, payload)
    }

    fn call(
        &self,
        method: &Method,
        path: &[&str],
        query: &[(&str, String)],
        payload: &Payload<'_>,
    ) -> Result<Vec<u8>> {
        let url = self.at(path, query)?;
        let work = async {
            let mut retries = Retries::new(self.options.timeout);
            loop {
                match self.attempt(method, &url, payload).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => retries.wait(failed).await?,
                }
            }
        };
        block_on_unless(&self.options.cancelled, work)
    }

    async fn attempt(
        &self,
        method: &Method,
        url: &Url,
        payload: &Payload<'_>,
    ) -> Result<Vec<u8>, Failed> {
        let mut request = runtime::current()?.client.request(method.clone(), url.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request = match payload {
            Payload::Nothing => request,
            Payload::Bytes(bytes) => request.body(bytes.clone()),
            Payload::File(file, len) => request.header(CONTENT_LENGTH, *len).body(self.body(file)?),
        };
        let patience = match payload {
            Payload::Nothing => self.options.timeout * 10,
            _ => self.options.timeout * PATIENCE,
        };
        let response = match timeout(patience, request.send()).await {
            Err(_) => return Err(again(Error::TimedOut(self.shown()), None)),
            Ok(Err(error)) if error.is_connect() => {
                return Err(Failed::Unreachable(self.failed(&error.without_url())));
            }
            Ok(Err(error)) => return Err(again(self.failed(&error.without_url()), None)),
            Ok(Ok(response)) => response,
        };
        self.receive(response).await
    }

    /// Takes an answer, or tells why there is none.
    async fn receive(&self, mut response: Response) -> Result<Vec<u8>, Failed> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Vec::new();
        loop {
            let piece = match timeout(self.options.timeout, response.chunk()).await {
                Err(_) => return Err(again(Error::TimedOut(self.shown()), None)),
                Ok(Err(error)) => return Err(again(self.failed(&error.without_url()), None)),
                Ok(Ok(piece)) => piece,
            };
            let Some(piece) = piece else { break };
            if bytes.len() + piece.len() > ANSWER {
                let asked = ANSWER as u64;
                return Err(Error::Long { object: self.shown(), asked }.into());
            }
            bytes.extend_from_slice(&piece);
        }
        if status.is_success() {
            return Ok(bytes);
        }
        let object = self.shown();
        let message = text(&headers, "x-error-message").unwrap_or_else(|| status.to_string());
        let code = text(&headers, "x-error-code").unwrap_or_default();
        let status = status.as_u16();
        let error = Error::Answer { object, status, code, message };
        match status {
            429 | 502..=504 => Err(again(error, crate::answer::retry_after(&headers))),
            _ => Err(error.into()),
        }
    }

    /// Returns a body that is read from the start of a file.
    fn body(&self, file: &File) -> Result<Body> {
        let failed = |cause: std::io::Error| Error::Failed {
            object: self.shown(),
            cause: format!("what is sent cannot be read: {cause}"),
        };
        let mut file = file.try_clone().map_err(failed)?;
        std::io::Seek::rewind(&mut file).map_err(failed)?;
        let file = Arc::new(file);
        let pieces = stream::unfold(file, |file| async move {
            let mut buffer = vec![0; PIECE];
            match (&*file).read(&mut buffer) {
                Ok(0) => None,
                Ok(len) => {
                    buffer.truncate(len);
                    Some((Ok(Bytes::from(buffer)), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        });
        Ok(Body::wrap_stream(pieces))
    }

    fn shown(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.into()
    }

    fn failed(&self, error: &reqwest::Error) -> Error {
        Error::Failed { object: self.shown(), cause: chain(error) }
    }
}

fn again(error: Error, wait: Option<Duration>) -> Failed {
    Failed::Again { error, wait }
}
