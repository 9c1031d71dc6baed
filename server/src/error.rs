//! What goes wrong: for the one who starts a server ([`Error`]), and for its clients ([`Problem`]).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

/// A failure to start or to run a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not readable, or makes no sense.
    #[error("{path}: {problem}")]
    Config {
        /// The file.
        path: String,
        /// The problem with it.
        problem: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] at1w_registry::Error),
    /// The operating system refused something.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried, with its object.
        what: String,
        /// The answer of the operating system.
        cause: std::io::Error,
    },
    /// A token is not what it must be.
    #[error("{0}")]
    Token(String),
}

/// The result of starting a server, and of managing its tokens.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<at1w_remote::Error> for Error {
    fn from(error: at1w_remote::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The answer to a request that cannot be met.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The code that clients know.
    code: Option<&'static str>,
    message: String,
    more: Option<Box<More>>,
}

/// What few answers have.
#[derive(Clone, Debug, Default)]
struct More {
    headers: Vec<(HeaderName, String)>,
    body: Option<Value>,
    /// What the log says and the client does not learn.
    cause: String,
}

/// The result of a request.
pub(crate) type Answer<T = Response<Body>> = std::result::Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into(), more: None }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// Nobody is known by this token.
    pub(crate) fn unknown_token() -> Self {
        let message = "Invalid credentials in Authorization header";
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// A token is needed.
    pub(crate) fn needs_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "A token is needed: set HF_TOKEN, or run hf auth login")
    }

    pub(crate) fn no_repo() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Repository not found").code("RepoNotFound")
    }

    pub(crate) fn no_revision(revision: &str) -> Self {
        let message = format!("Invalid rev id: {revision}");
        Self::new(StatusCode::NOT_FOUND, message).code("RevisionNotFound")
    }

    pub(crate) fn no_entry(path: &str) -> Self {
        let message = format!("{path}: there is no such file");
        Self::new(StatusCode::NOT_FOUND, message).code("EntryNotFound")
    }

    pub(crate) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found")
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The server has too much to do, or what it needs is down.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).header(RETRY_AFTER, "5")
    }

    pub(crate) fn internal(cause: impl ToString) -> Self {
        let message = "The server failed; its log says why, by the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message).because(cause)
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// Adds what the log says.
    pub(crate) fn because(mut self, cause: impl ToString) -> Self {
        self.more().cause = cause.to_string();
        self
    }

    /// Returns what the log says: the cause, or else the message.
    pub(crate) fn cause(&self) -> &str {
        let cause = self.more.as_deref().map(|more| more.cause.as_str());
        cause.filter(|cause| !cause.is_empty()).unwrap_or(&self.message)
    }

    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.more().body = Some(body);
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.more().headers.push((name, value.into()));
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body = self.more.as_ref().and_then(|more| more.body.clone());
        let body = body.unwrap_or_else(|| json!({ "error": self.message }));
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.add_headers(headers);
        response
    }

    /// Adds what clients read in the headers.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) {
        if let Some(code) = self.code {
            headers.insert("x-error-code", HeaderValue::from_static(code));
        }
        headers.insert("x-error-message", header_value(&self.message));
        for (name, value) in self.more.iter().flat_map(|more| &more.headers) {
            headers.insert(name, header_value(value));
        }
    }
}

/// Returns a text as the value of a header: what has no place there becomes a question mark.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    let plain = |char: char| if (' '..='~').contains(&char) { char } else { '?' };
    let text: String = text.chars().map(plain).collect();
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("?"))
}

impl From<at1w_registry::Error> for Problem {
    fn from(error: at1w_registry::Error) -> Self {
        use at1w_registry::Error as Store;
        match error {
            Store::NoRepo { .. } => Self::no_repo(),
            Store::NoRevision { revision, .. } => Self::no_revision(&revision),
            Store::NoFile { path, .. } => Self::no_entry(&path),
            Store::Name { .. } => Self::bad(error.to_string()),
            Store::Conflict { .. } => Self::new(StatusCode::PRECONDITION_FAILED, error.to_string()),
            Store::Exists(_) | Store::Collected(_) => Self::conflict(error.to_string()),
            Store::Expired(_) | Store::Unknown { .. } => Self::busy(error.to_string()),
            // A push relied on what is not there any more, or is damaged.
            Store::Outdated(_) => Self::conflict(error.to_string()).code("Outdated"),
            Store::Outline(_) => Self::bad(error.to_string()),
            Store::Full(_) => Self::too_large(error.to_string()),
            // The one who asked has signed something else.
            Store::Unfit(_) => Self::new(StatusCode::PRECONDITION_FAILED, error.to_string()),
            Store::Remote(_) | Store::NoStore(_) => {
                Self::busy("The store does not answer: try again").because(error)
            }
            Store::Container(at1w_container::Error::Read { .. }) => {
                Self::busy("The store could not be read: try again").because(error)
            }
            error if error.is_integrity() => {
                let problem = Self::internal(&error);
                let message = "What is stored is damaged, and is not sent";
                Self { message: message.into(), ..problem }
            }
            error => Self::internal(error),
        }
    }
}

impl From<at1w_remote::Error> for Problem {
    fn from(error: at1w_remote::Error) -> Self {
        at1w_registry::Error::from(error).into()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => {
                Self::busy("The disk of the server is full").because(error)
            }
            _ => Self::internal(error),
        }
    }
}
