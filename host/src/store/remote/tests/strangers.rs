//! Servers that only claim to be a Redis, and one that proves it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::super::super::{RemoteEntries, Store, StoreError};
use super::{LONG, PATIENCE, block_on, configured, entries, part, redis};

/// A server that answers each connection with these bytes, again and again, whatever it is asked.
fn claiming(bytes: &'static [u8]) -> RemoteEntries {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 4096];
            // Ends when the client has had enough.
            while stream.read(&mut asked).is_ok_and(|read| read > 0)
                && stream.write_all(bytes).is_ok()
            {}
        }
    });
    entries(&format!("url = \"redis://{address}\"\ntimeout = \"200ms\""))
}

#[test]
fn a_server_that_answers_nonsense_is_unavailable() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\0\0\0\0",
        b"*9999999999999\r\n",
        b"*4096\r\n*4096\r\n*4096\r\n*4096\r\n*4096\r\n",
        b"$999999999999\r\nx",
        b"$-7\r\n",
        b":1\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n",
        b"-OOM\r\n",
        b"-\r\n",
        b"%1\r\n+a\r\n+b\r\n",
    ] {
        let there = claiming(bytes);
        for _ in 0..3 {
            let answered = block_on(there.get(b"k"));
            assert!(answered.is_err(), "{bytes:?}: {answered:?}");
            let added = block_on(there.add(b"k", 1, 0));
            assert!(added.is_err(), "{bytes:?}: {added:?}");
        }
    }
}

#[test]
fn a_server_that_sends_more_than_was_asked_for_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, left) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // A value without an end, as a log-in's answer.
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"$500000000\r\n").unwrap();
        let mut sent = 0_u64;
        while stream.write_all(&[b'x'; 4096]).is_ok() {
            sent += 4096;
        }
        let _ = told.send(sent);
    });
    let there = entries(&format!(
        "url = \"redis://{address}\"\nconnect_timeout = \"60s\"\ntimeout = \"60s\""
    ));
    assert_eq!(block_on(there.get(b"k")), Err(StoreError::Unavailable));
    let sent = left.recv_timeout(PATIENCE).unwrap();
    assert!(sent < 100 << 20, "{sent}"); // what sockets hold, not all of it
}

#[test]
fn nothing_is_asked_before_the_thread_is_started() {
    let store = Store::of(&configured("url = \"redis://127.0.0.1:1\""));
    let there = part(&store, "p");
    assert_eq!(block_on(there.get(b"k")), Err(StoreError::Unavailable));
}

/// A certificate of its own, for `localhost`.
fn certificate(directory: &TempDir) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = (
        directory.path().join("c.pem"),
        directory.path().join("k.pem"),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-subj", "/CN=localhost", "-days", "2"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|made| made.success())
        .then_some((certificate, key))
}

#[test]
fn a_redis_with_tls_is_verified() {
    let files = TempDir::new().unwrap();
    let Some((certificate, key)) = certificate(&files) else {
        eprintln!("SKIPPED: openssl is not installed");
        assert!(std::env::var_os("CI").is_none(), "CI runs with openssl");
        return;
    };
    // A port that was free a moment ago: redis tells nobody which one it took.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ];
    let Some(_redis) = redis(&options) else {
        return;
    };
    let url = format!(
        "url = \"rediss://127.0.0.1:{port}\"\ntimeout = \"{LONG}\"\nconnect_timeout = \"{LONG}\""
    );
    let trusting = entries(&format!("{url}\nca = \"{certificate}\""));
    assert_eq!(block_on(trusting.add(b"n", 1, 0)), Ok(1));
    let doubting = entries(&url);
    assert_eq!(
        block_on(doubting.add(b"n", 1, 0)),
        Err(StoreError::Unavailable)
    );
    let why = doubting.remote.figures().error.unwrap();
    assert!(why.contains("TLS handshake"), "{why}");
    let plain = entries(&url.replace("rediss", "redis"));
    assert_eq!(
        block_on(plain.add(b"n", 1, 0)),
        Err(StoreError::Unavailable)
    );
}
