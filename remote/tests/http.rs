//! Reading from a web server that is slow, fails, or answers another object.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use at1w_container::ReadAt;
use at1w_remote::{RemoteFile, open_url};

/// A web server of one file.
struct Server {
    url: String,
    content: Arc<Mutex<(Vec<u8>, String)>>,
    /// The number of requests that are answered by an error before others are answered.
    failing: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    fn start(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a/file.at1w", listener.local_addr().unwrap());
        let server = Self {
            url,
            content: Arc::new(Mutex::new((content, "\"one\"".into()))),
            failing: Arc::default(),
            requests: Arc::default(),
        };
        let (content, failing) = (server.content.clone(), server.failing.clone());
        let requests = server.requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, failing) = (content.clone(), failing.clone());
                let requests = requests.clone();
                thread::spawn(move || serve(stream, &content, &failing, &requests));
            }
        });
        server
    }

    fn open(&self) -> RemoteFile {
        open_url(&self.url).unwrap()
    }
}

fn serve(
    stream: TcpStream,
    content: &Mutex<(Vec<u8>, String)>,
    failing: &AtomicUsize,
    requests: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim().to_ascii_lowercase());
        }
        requests.fetch_add(1, Ordering::SeqCst);
        let field = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
        let (bytes, etag) = content.lock().unwrap().clone();
        let fails = failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        let modified = "last-modified: Thu, 01 Jan 2026 00:00:00 GMT";
        let (status, body, extra) = if fails.is_ok() {
            ("503 Service Unavailable", vec![], String::new())
        } else if field("if-match: ").is_some_and(|tag| tag != etag) {
            ("412 Precondition Failed", vec![], String::new())
        } else if let Some(range) = field("range: bytes=") {
            let (from, to) = range.split_once('-').unwrap();
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            let to = to.min(bytes.len() - 1);
            let extra = format!("content-range: bytes {from}-{to}/{}\r\n", bytes.len());
            ("206 Partial Content", bytes[from..=to].to_vec(), extra)
        } else {
            ("200 OK", bytes, String::new())
        };
        let len = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {len}\r\netag: {etag}\r\n{modified}\r\n{extra}\r\n"
        )
        .unwrap();
        if !head[0].starts_with("head") && stream.write_all(&body).is_err() {
            return;
        }
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

#[test]
fn ranges_are_read_by_few_requests() {
    let all = content(20_000_000);
    let server = Server::start(all.clone());
    let file = server.open();
    assert_eq!(file.size().unwrap(), 20_000_000);
    let before = server.requests.load(Ordering::SeqCst);
    // Neighbours together, and a long range in pieces.
    let ranges = [0..10, 100..200, 5..5, 2_000_000..19_000_000, 19_999_999..20_000_000];
    for (range, bytes) in ranges.iter().zip(file.read_ranges(&ranges).unwrap()) {
        assert!(*bytes == all[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst) - before, 4);
    assert!(file.read_at(0..20_000_001).is_err());
    assert!(file.request_cost() > 0);
}

#[test]
fn requests_that_fail_are_sent_again() {
    let server = Server::start(content(1000));
    let file = server.open();
    server.failing.store(2, Ordering::SeqCst);
    assert_eq!(&*file.read_at(10..20).unwrap(), &content(1000)[10..20]);
}

#[test]
fn another_object_is_noticed() {
    let server = Server::start(content(1000));
    let file = server.open();
    file.read_at(10..20).unwrap();
    *server.content.lock().unwrap() = (content(2000), "\"two\"".into());
    let error = file.read_at(10..20).unwrap_err();
    assert!(error.to_string().contains("was replaced"), "{error}");
    server.open().read_at(1000..2000).unwrap();
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // Refused at once, and sent again for a while.
    let error = open_url(&format!("http://{address}/file")).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}
