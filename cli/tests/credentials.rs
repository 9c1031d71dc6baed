//! Buckets whose credentials are missing, or that refuse them: the message says which were used.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use common::{Outcome, Place};

/// A server of S3 that refuses everybody.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 8192]);
            let body = "<Error><Code>InvalidAccessKeyId</Code><Message>who?</Message></Error>";
            let len = body.len();
            let head = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// Lists a bucket with these variables, and no others that name credentials.
fn ls(place: &Place, variables: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_at1w"));
    command.args(["repo", "ls", "s3://models/place"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("HOME", place.path("home")).env("AWS_REGION", "us-east-1");
    place.run(command.envs(variables.iter().copied()))
}

#[test]
fn refused_credentials_are_named() {
    let (place, endpoint) = (Place::new(), refusing());
    let credentials = place.path("credentials");
    let profiles = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n\
                    [lab]\naws_access_key_id = c\naws_secret_access_key = d\n";
    place.write("credentials", profiles);
    place.write("home/.aws/credentials", profiles);
    let at = ("AWS_ENDPOINT_URL", &*endpoint);
    let file = ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap());
    let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
    for (variables, named) in [
        (vec![at, keys[0], keys[1]], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()),
        (vec![at], format!("profile \"default\" of {}", place.path("home").display())),
        (vec![at, ("AWS_PROFILE", "lab"), file], "profile \"lab\" of".into()),
        (vec![at, ("AWS_SKIP_SIGNATURE", "true")], "AWS_SKIP_SIGNATURE".into()),
    ] {
        let Outcome { code, stderr, .. } = ls(&place, &variables);
        assert_eq!(code, 1, "{variables:?}");
        assert!(stderr.contains("refuses access") && stderr.contains(&named), "{stderr}");
    }
}

#[test]
fn missing_credentials_are_named() {
    let place = Place::new();
    for (variables, named) in [
        (vec![("AWS_ACCESS_KEY_ID", "a")], "AWS_SECRET_ACCESS_KEY is not"),
        (vec![("AWS_PROFILE", "lab")], "no profile \"lab\" of"),
        (vec![("AWS_EC2_METADATA_DISABLED", "true")], "AWS_ACCESS_KEY_ID is not set"),
    ] {
        let Outcome { code, stderr, .. } = ls(&place, &variables);
        assert_eq!(code, 1, "{variables:?}");
        assert!(stderr.contains("s3://models/place") && stderr.contains(named), "{stderr}");
    }
}
