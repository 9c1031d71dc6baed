//! Reading from a web server that is slow, fails, or answers another object.

mod server;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use at1w_container::{FEATURES, ReadAt};
use at1w_remote::{Error, RemoteFile, UrlOptions, open_url, open_url_with, unblock};

use self::server::{Fault, Server};

fn content(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

fn open(server: &Server) -> RemoteFile {
    open_url(&server.url("a/file.at1w")).unwrap()
}

/// Opens a file and gives up soon.
fn open_soon(server: &Server) -> Result<RemoteFile, Error> {
    let options = UrlOptions::new().timeout(Duration::from_millis(300));
    open_url_with(&server.url("file.at1w"), &options)
}

/// Returns the error of this crate that reading failed with.
fn reason(error: &std::io::Error) -> String {
    error.to_string()
}

#[test]
fn ranges_are_read_by_few_requests() {
    let all = content(20_000_000);
    let server = Server::start(all.clone());
    let file = open(&server);
    assert_eq!(file.size().unwrap(), 20_000_000);
    assert_eq!(server.take_requests(), 1);
    // Neighbours together, a long range in pieces, and the end was read on opening.
    let ranges = [0..10, 100..200, 5..5, 2_000_000..19_000_000, 19_999_999..20_000_000];
    for (range, bytes) in ranges.iter().zip(file.read_ranges(&ranges).unwrap()) {
        assert!(*bytes == all[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(server.take_requests(), 4);
    assert!(file.read_at(0..20_000_001).is_err());
    assert!(file.request_cost() > 0);
}

#[test]
fn what_is_announced_is_sent_ahead_and_once() {
    let all = content(200_000_000);
    let server = Server::start(all.clone());
    let file = open(&server);
    server.take_requests();
    let ranges: Vec<_> = (0..190).map(|i| i * 1_000_000..(i + 1) * 1_000_000).collect();
    file.will_read(&ranges);
    for range in &ranges {
        let bytes = file.read_at(range.clone()).unwrap();
        assert!(*bytes == all[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(server.take_requests(), 190_000_000_usize.div_ceil(8 << 20));
}

#[test]
fn the_start_is_read_first_where_the_index_is_there() {
    let server = Server::start(content(1_000_000));
    let file = open_url(&server.url("model.safetensors")).unwrap();
    file.read_at(8..60_000).unwrap();
    assert_eq!(server.take_requests(), 1);
    assert_eq!(file.etag(), Some("\"one\""));
}

#[test]
fn requests_that_fail_are_sent_again() {
    let server = Server::start(content(100_000));
    let file = open(&server);
    server.state().failing = vec![(503, ""), (429, "retry-after: 0\r\n"), (500, "")];
    assert_eq!(&*file.read_at(10..20).unwrap(), &content(1000)[10..20]);
}

#[test]
fn a_server_that_asks_for_too_much_time_is_an_error() {
    let server = Server::start(content(100_000));
    server.state().failing = vec![(429, "retry-after: 86400\r\n")];
    let error = open_url(&server.url("file")).unwrap_err();
    assert!(matches!(error, Error::Busy { status: 429, wait: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("86400 s"), "{error}");
    assert_eq!(server.take_requests(), 1);
}

#[test]
fn another_object_is_noticed() {
    let server = Server::start(content(100_000));
    let file = open(&server);
    file.read_at(10..20).unwrap();
    {
        let mut state = server.state();
        state.content = Arc::new(content(200_000));
        state.etag = "\"two\"".into();
    }
    let error = file.read_at(100..200).unwrap_err();
    assert!(reason(&error).contains("was replaced"), "{error}");
    open(&server).read_at(100..200).unwrap();
    // Weak marks and other lengths are compared as well.
    server.state().etag = "W/\"three\"".into();
    let file = open(&server);
    server.state().etag = "W/\"four\"".into();
    assert!(reason(&file.read_at(100..200).unwrap_err()).contains("was replaced"));
    let file = open(&server);
    server.state().content = Arc::new(content(200_001));
    assert!(reason(&file.read_at(100..200).unwrap_err()).contains("was replaced"));
}

#[test]
fn a_server_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let options = UrlOptions::new().timeout(Duration::from_millis(300));
    let error = open_url_with(&format!("http://{address}/file"), &options).unwrap_err();
    assert!(error.to_string().contains("/file"), "{error}");
}

#[test]
fn files_that_are_not_there_or_not_allowed_are_errors() {
    let server = Server::start(content(1000));
    server.state().failing = vec![(404, "")];
    assert!(open_soon(&server).unwrap_err().is_not_found());
    server.set_fault(Fault::Token("secret"));
    let error = open_url(&server.url("file?signature=hidden")).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("who are you") && error.contains("expired"), "{error}");
    assert!(!error.contains("hidden"), "{error}");
}

#[test]
fn a_server_without_ranges_sends_all_or_is_refused() {
    let all = content(3_000_000);
    for fault in [Fault::NoRanges, Fault::NoLength] {
        let server = Server::start(all.clone());
        server.set_fault(fault.clone());
        let options = UrlOptions::new().download(false);
        let error = open_url_with(&server.url("file.at1w"), &options).unwrap_err();
        assert!(matches!(error, Error::NoRanges(_)), "{error}");
        // A body of no stated length may have no end.
        let opened = open_url(&server.url("file.at1w"));
        if fault == Fault::NoLength {
            assert!(matches!(opened, Err(Error::NoRanges(_))), "{opened:?}");
            continue;
        }
        let file = opened.unwrap();
        assert!(file.is_downloaded() && file.request_cost() == 0);
        server.take_requests();
        assert!(*file.read_at(5..2_000_000).unwrap() == all[5..2_000_000]);
        assert_eq!(server.take_requests(), 0);
    }
    // All of a small file is no more than was asked for.
    let server = Server::start(content(1000));
    server.set_fault(Fault::NoRanges);
    assert!(!open(&server).is_downloaded());
}

#[test]
fn ranges_from_the_end_are_not_needed() {
    let all = content(3_000_000);
    let server = Server::start(all.clone());
    server.set_fault(Fault::NoSuffix);
    let file = open(&server);
    assert_eq!(server.take_requests(), 2);
    assert!(*file.read_at(2_000_000..3_000_000).unwrap() == all[2_000_000..]);
}

#[test]
fn empty_files_are_opened() {
    let server = Server::start(Vec::new());
    for name in ["file.at1w", "file.safetensors"] {
        let file = open_url(&server.url(name)).unwrap();
        assert_eq!(file.size().unwrap(), 0);
        assert!(file.read_at(0..0).unwrap().is_empty() && file.read_at(0..1).is_err());
    }
}

#[test]
fn bodies_that_are_short_endless_or_of_another_place_are_errors() {
    for (fault, problem) in [
        (Fault::Short, ""),
        (Fault::Endless, "more than"),
        (Fault::OtherPlace, ""),
        (Fault::Silent, "in time"),
    ] {
        let server = Server::start(content(3_000_000));
        server.set_fault(fault.clone());
        let options = UrlOptions::new().timeout(Duration::from_millis(300)).download(false);
        // Another request may be answered right, from the start of the file.
        if fault != Fault::OtherPlace {
            let error = open_url_with(&server.url("file.at1w"), &options).unwrap_err();
            assert!(error.to_string().contains(problem), "{fault:?}: {error}");
        }
        // The same once it is open.
        server.set_fault(Fault::None);
        let file = open_url_with(&server.url("file.at1w"), &options).unwrap();
        server.set_fault(fault.clone());
        assert!(file.read_at(1_000_000..1_001_000).is_err(), "{fault:?}");
        file.will_read(std::slice::from_ref(&(500_000..1_000_000)));
        assert!(file.read_at(600_000..700_000).is_err(), "{fault:?}");
        server.set_fault(Fault::None);
        assert!(file.read_at(1_000_000..1_001_000).is_ok(), "{fault:?}");
        assert!(file.read_at(600_000..700_000).is_ok(), "{fault:?}");
        assert!(file.read_at(700_000..800_000).is_ok(), "{fault:?}");
    }
}

#[test]
fn redirects_are_followed_until_they_expire() {
    let (hub, store) = (Server::start(content(300_000)), Server::start(content(300_000)));
    hub.set_fault(Fault::Redirect(store.url("signed?expires=1")));
    let file = open(&hub);
    assert_eq!((hub.take_requests(), store.take_requests()), (1, 1));
    // Later requests go there at once.
    file.read_at(5..10).unwrap();
    assert_eq!((hub.take_requests(), store.take_requests()), (0, 1));
    // When that address has expired, the first one leads to another.
    store.state().failing = vec![(403, "")];
    file.read_at(100..200).unwrap();
    assert_eq!((hub.take_requests(), store.take_requests()), (1, 2));
    // A circle ends.
    store.set_fault(Fault::Redirect(store.url("again")));
    let error = open_url(&hub.url("file")).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
}

#[test]
fn waiting_can_be_given_up() {
    let server = Server::start(content(1_000_000));
    let cancelled = Arc::new(AtomicBool::new(false));
    let asked = cancelled.clone();
    let options = UrlOptions::new().cancelled(move || asked.load(Ordering::Relaxed));
    let file = open_url_with(&server.url("file.at1w"), &options).unwrap();
    server.set_fault(Fault::Silent);
    file.will_read(std::slice::from_ref(&(0..1000)));
    let reading = std::thread::spawn(move || {
        [file.read_at(0..1000).unwrap_err(), file.read_at(5000..6000).unwrap_err()]
    });
    cancelled.store(true, Ordering::Relaxed);
    for error in reading.join().unwrap() {
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    }
    let options = options.timeout(Duration::from_secs(3600));
    let error = open_url_with(&server.url("file.at1w"), &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
}

#[test]
fn the_packed_form_is_read_where_it_is_announced() {
    let server = Server::start(content(300_000));
    let link = "link: </a/packed?x=1>; rel=\"alternate\"; type=\"application/vnd.at1w\"\r\n";
    server.state().head = link.into();
    let url = server.url("model.safetensors");
    open_url_with(&url, &UrlOptions::new().packed(true)).unwrap();
    let lines: Vec<_> = server.state().requests.iter().map(|head| head[0].clone()).collect();
    let asked = format!("GET /a/packed?x=1&features={FEATURES:x} HTTP/1.1");
    assert_eq!(lines[1], asked);
    assert_eq!(server.take_requests(), 2);
    open_url(&url).unwrap();
    assert_eq!(server.take_requests(), 1);
}

#[test]
fn asynchronous_code_reads_without_blocking() {
    let server = Server::start(b"0123456789".to_vec());
    let url = server.url("model.bin");
    let read = async move {
        let file = unblock(move || open_url(&url)).await.unwrap().unwrap();
        let range = unblock(move || file.read_at(2..5).map(|bytes| bytes.into_owned()));
        range.await.unwrap().unwrap()
    };
    assert_eq!(futures_executor::block_on(read), b"234");
    let failing = unblock(|| -> u8 { panic!("as expected") });
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        futures_executor::block_on(failing)
    }));
    assert!(panic.is_err());
}
