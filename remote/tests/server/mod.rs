//! A web server of one file, with the faults that servers have.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// A web server of one file, at any path.
#[derive(Clone)]
pub(crate) struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

/// The file and the faults.
pub(crate) struct State {
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) etag: String,
    /// The answers that come before right ones: status, and more lines of the head.
    pub(crate) failing: Vec<(u16, &'static str)>,
    /// More lines of the head of right answers.
    pub(crate) head: String,
    pub(crate) fault: Fault,
    /// The heads of all requests.
    pub(crate) requests: Vec<Vec<String>>,
}

/// How the server answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// It knows no ranges, and sends all of the file.
    NoRanges,
    /// It sends all of the file, and not how much that is.
    NoLength,
    /// It knows no ranges from the end.
    NoSuffix,
    /// It ends the connection after half of the bytes.
    Short,
    /// It sends bytes without an end.
    Endless,
    /// It sends nothing.
    Silent,
    /// It sends bytes of another place.
    OtherPlace,
    /// It leads to another address.
    Redirect(String),
    /// It asks for a token.
    Token(&'static str),
}

impl Server {
    pub(crate) fn start(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            content: Arc::new(content),
            etag: "\"one\"".into(),
            failing: Vec::new(),
            head: String::new(),
            fault: Fault::None,
            requests: Vec::new(),
        };
        let server = Self { address, state: Arc::new(Mutex::new(state)) };
        let state = server.state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || serve(stream, &state));
            }
        });
        server
    }

    /// Returns the address of the file under a name.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Forgets the requests so far; returns their number.
    pub(crate) fn take_requests(&self) -> usize {
        std::mem::take(&mut self.state().requests).len()
    }

    /// Returns the last header of a name, over all requests.
    pub(crate) fn last_header(&self, name: &str) -> Option<String> {
        let name = format!("{name}: ");
        let state = self.state();
        let last = state.requests.last()?;
        last.iter().find_map(|line| line.strip_prefix(&name).map(str::to_owned))
    }
}

/// Reads the head of a request, in lower case but for its first line.
fn head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line == "\r\n" {
            return Some(head);
        }
        let line = line.trim();
        head.push(match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_ascii_lowercase()),
            None => line.to_owned(),
        });
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(head) = head(&mut reader) {
        if answer(&mut stream, &head, state).is_err() {
            return;
        }
    }
}

fn answer(stream: &mut TcpStream, head: &[String], state: &Mutex<State>) -> std::io::Result<()> {
    let field = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
    let (content, etag, fault, failing, extra) = {
        let mut state = state.lock().unwrap();
        state.requests.push(head.to_vec());
        let failing = if state.failing.is_empty() { None } else { Some(state.failing.remove(0)) };
        let State { content, etag, fault, head, .. } = &*state;
        (content.clone(), etag.clone(), fault.clone(), failing, head.clone())
    };
    let mut send = |status: &str, lines: &str, body: &[u8]| {
        let len = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {len}\r\n{lines}\r\n")?;
        stream.write_all(body)
    };
    let len = content.len();
    let range = field("range: bytes=").and_then(|range| match range.split_once('-')? {
        ("", last) => Some((len.saturating_sub(last.parse().ok()?), len)),
        (first, last) => Some((first.parse().ok()?, len.min(last.parse::<usize>().ok()? + 1))),
    });
    let suffix = field("range: bytes=-").is_some();
    if let Some((status, lines)) = failing {
        return send(&format!("{status} Failed"), lines, b"");
    }
    let marks = format!("etag: {etag}\r\n{extra}");
    let part = |(from, to): (usize, usize)| {
        (format!("{marks}content-range: bytes {from}-{}/{len}\r\n", to - 1), &content[from..to])
    };
    match (&fault, range) {
        (Fault::Silent, _) => {
            thread::sleep(Duration::from_secs(3600));
            Ok(())
        }
        (Fault::Redirect(to), _) => send("302 Found", &format!("location: {to}\r\n"), b""),
        (Fault::Token(token), _)
            if field("authorization: ") != Some(&format!("Bearer {token}")) =>
        {
            send("401 Unauthorized", "x-error-message: who are you\r\n", b"")
        }
        _ if field("if-match: ").is_some_and(|mark| mark != etag) => {
            send("412 Precondition Failed", "", b"")
        }
        (Fault::NoSuffix, _) if suffix => send("416 Range Not Satisfiable", "", b""),
        (Fault::NoLength, _) => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n{marks}\r\n")?;
            stream.write_all(&content)?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        (Fault::NoRanges, _) | (_, None) => send("200 OK", &marks, &content),
        (_, Some((from, _))) if from >= len => {
            let lines = format!("content-range: bytes */{len}\r\n");
            send("416 Range Not Satisfiable", &lines, b"")
        }
        (Fault::Short, Some(range)) => {
            let (lines, body) = part(range);
            let len = body.len();
            write!(stream, "HTTP/1.1 206 Partial Content\r\ncontent-length: {len}\r\n{lines}\r\n")?;
            stream.write_all(&body[..len / 2])?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        (Fault::Endless, Some(range)) => {
            let (lines, _) = part(range);
            write!(stream, "HTTP/1.1 206 Partial Content\r\nconnection: close\r\n{lines}\r\n")?;
            loop {
                stream.write_all(&[0; 4096])?;
            }
        }
        (Fault::OtherPlace, Some((from, to))) => {
            let (lines, body) = part((from.min(len - 1) / 2, to));
            send("206 Partial Content", &lines, body)
        }
        (_, Some(range)) => {
            let (lines, body) = part(range);
            send("206 Partial Content", &lines, body)
        }
    }
}
