//! How a file gets to its client: sent by the kernel from its own pages, or read and written.

use std::os::unix::fs::FileExt;

use super::*;

/// A site with one large file and a small one, and the text of the large one.
fn with_large() -> (tempfile::TempDir, String) {
    let text = long_text();
    let site = site(&[("large.txt", &text), ("small.txt", "small")]);
    (site, text)
}

/// A proxy with one worker that finds so many pages missing in memory, one after the other, in
/// which it looks for files.
async fn missing_pages(directory: &Path, keys: &str, missing: usize) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\naccess_log = {{ path = \"stdout\", format = '$status sent \
         $body_bytes_sent.' }}\n[[listen]]\naddress = \"127.0.0.1:0\"\n{keys}\n[[route]]\nfiles = \
         \"{}\"\n",
        directory.display()
    );
    let faults = format!("page cache:{missing}");
    proxy::run(&file, &[("WAYPOST_FAULTS", &faults)]).await
}

/// The kernel keeps pages, not copies of them, until the client has read them. So what is written
/// over them meanwhile shows who sent them.
#[tokio::test]
async fn without_tls_a_large_file_is_sent_from_its_own_pages() {
    let text = "before\n".repeat(200_000);
    let site = site(&[("a.txt", &text), ("b.txt", &text), ("c.txt", &text)]);
    let authority = tls::Authority::new("Specs");
    authority
        .certificate(&["a.example"])
        .write(site.path(), "own");
    let root = site.path().display();
    let proxy = routes(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{root}/own.pem\", \
         key = \"{root}/own.key\" }}\n[[route]]\nfiles = \"{root}\"\n"
    ))
    .await;
    let plain = proxy.client().await.wire;
    let secure = tls::connect(proxy.listener(1), authority.trusting(), "a.example").await;
    let secure = secure.unwrap().wire;
    for (name, mut wire, is_sent_by_kernel) in [("a.txt", plain, true), ("b.txt", secure, false)] {
        wire.send(format!("GET /{name} HTTP/1.1\r\nHost: t\r\n\r\n"))
            .await;
        let head = wire.head().await.ok().unwrap();
        assert_eq!(head.start, "HTTP/1.1 200 OK");
        // In what is read first, and not yet read here.
        let at = 7 * 6_000;
        let mut writing = fs::File::options();
        let file = writing.write(true).open(site.path().join(name));
        file.unwrap().write_all_at(b"after!\n", at as u64).unwrap();
        let body = wire.exactly(text.len()).await.ok().unwrap();
        let found = std::str::from_utf8(&body[at..at + 7]).unwrap();
        assert_eq!(found == "after!\n", is_sent_by_kernel, "{name}: {found}");
        assert_eq!(&body[..at], &text.as_bytes()[..at], "{name}");
        assert_eq!(&body[at + 7..], &text.as_bytes()[at + 7..], "{name}");
    }
}

#[tokio::test]
async fn a_file_is_the_same_whatever_of_it_is_in_memory() {
    let (site, text) = with_large();
    let (third, end) = (text.len() / 3, text.len());
    for missing in [0, 1, 2, 3, 5, 8, 30, 1_000_000] {
        let proxy = missing_pages(site.path(), "", missing).await;
        let mut client = proxy.client().await;
        // All at once: what comes behind a file is another answer.
        let mut requests = String::new();
        for (line, fields) in [
            ("GET /large.txt", String::new()),
            ("HEAD /large.txt", String::new()),
            (
                "GET /large.txt",
                format!("Range: bytes={third}-{}\r\n", end - 2),
            ),
            ("GET /small.txt", String::new()),
            (
                "GET /large.txt",
                format!("Range: bytes=5-{third},{third}-\r\n"),
            ),
            (
                "GET /large.txt",
                "Range: bytes=131071-262144\r\n".to_owned(),
            ),
            ("GET /large.txt", String::new()),
        ] {
            requests.push_str(&format!("{line} HTTP/1.1\r\nHost: t\r\n{fields}\r\n"));
        }
        client.send(requests).await;
        assert!(client.response().await.text() == text, "{missing}");
        let head = client.response_to_head().await;
        assert_eq!(head.header("Content-Length"), end.to_string(), "{missing}");
        let part = client.response().await;
        assert_eq!(part.status, 206);
        assert!(part.text() == text[third..end - 1], "{missing}");
        assert_eq!(client.response().await.text(), "small");
        let parts = client.response().await.text();
        let (first, second) = (&text[5..=third], &text[third..]);
        let (_, behind) = parts.split_once(first).expect("the first part");
        assert!(behind.contains(second), "{missing}");
        let part = client.response().await.text();
        assert!(part == text[131_071..=262_144], "{missing}");
        assert!(client.response().await.text() == text, "{missing}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_and_only_what_left_is_counted() {
    let text = "before\n".repeat(6_000_000);
    let site = site(&[("large.txt", &text)]);
    for missing in [0, 1_000_000] {
        let proxy = missing_pages(site.path(), "send_timeout = \"300ms\"", missing).await;
        let mut client = proxy.client().await;
        client
            .send("GET /large.txt HTTP/1.1\r\nHost: t\r\n\r\n")
            .await;
        let log = proxy
            .stdout()
            .wait_until("the line", |log| log.ends_with(".\n"))
            .await;
        let response = client.cut_response().await;
        let sent = format!("200 sent {}.", response.body.len());
        assert_eq!(log.trim(), sent);
        assert!(response.body == text.as_bytes()[..response.body.len()]);
    }
}

#[tokio::test]
async fn of_a_file_that_is_emptied_nothing_else_is_sent_in_place_of_the_rest() {
    let text = "before\n".repeat(6_000_000);
    for missing in [0, 1_000_000] {
        let site = site(&[("large.txt", &text)]);
        let proxy = missing_pages(site.path(), "", missing).await;
        let mut client = proxy.client().await;
        client
            .send("GET /large.txt HTTP/1.1\r\nHost: t\r\n\r\n")
            .await;
        client.response_head().await;
        fs::File::create(site.path().join("large.txt")).unwrap();
        let cut = client.wire.rest().await;
        assert!(cut.got.len() < text.len());
        assert!(cut.got == text.as_bytes()[..cut.got.len()]);
        proxy
            .log_contains("a file was cut short while it was sent")
            .await;
    }
}

#[tokio::test]
async fn a_client_may_send_all_of_its_request_before_it_reads_a_file() {
    let text = "before\n".repeat(6_000_000);
    let site = site(&[("large.txt", &text)]);
    let limit = "client_max_body_size = \"64m\"";
    let proxy = missing_pages(site.path(), limit, 0).await;
    let mut client = proxy.client().await;
    // Both are more than sockets hold.
    let body = vec![b'x'; 30 << 20];
    let head = format!(
        "GET /large.txt HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send(head).await;
    client.send(body).await;
    assert!(client.response().await.text() == text);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_file_costs_others_nothing() {
    let text = "before\n".repeat(6_000_000);
    let site = site(&[("large.txt", &text), ("small.txt", "small")]);
    let proxy = missing_pages(site.path(), "", 0).await;
    let mut client = proxy.client().await;
    client
        .send("GET /large.txt HTTP/1.1\r\nHost: t\r\n\r\n")
        .await;
    client.response_head().await;
    client.wire.reset();
    proxy.stdout().contains("200 sent ").await;
    assert_eq!(proxy.get("/small.txt").await.text(), "small");
}
