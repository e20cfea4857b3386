//! What a client has already (RFC 9110 section 13), and parts of a file (section 14).

use super::*;

const OLD: &str = "Mon, 01 Jan 2001 00:00:00 GMT";
const LATER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

#[tokio::test]
async fn conditions_are_judged_in_the_order_of_the_rfc() {
    let site = site(&[("a.txt", "0123456789")]);
    let proxy = serving(site.path(), "").await;
    let first = proxy.get("/a.txt").await;
    let (etag, modified) = (first.header("ETag"), first.header("Last-Modified"));
    let cases = [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: \"x\", W/{etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {modified}"), 304),
        (format!("If-Modified-Since: {LATER}"), 304),
        (format!("If-Modified-Since: {OLD}"), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        // The tag counts, whatever the date says.
        (
            format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {LATER}"),
            200,
        ),
        (
            format!("If-None-Match: {etag}\r\nIf-Modified-Since: {OLD}"),
            304,
        ),
        (format!("If-Match: {etag}"), 200),
        ("If-Match: *".to_owned(), 200),
        (format!("If-Match: W/{etag}"), 412),
        ("If-Match: \"x\"".to_owned(), 412),
        (format!("If-Unmodified-Since: {modified}"), 200),
        (format!("If-Unmodified-Since: {OLD}"), 412),
        (
            format!("If-Match: {etag}\r\nIf-Unmodified-Since: {OLD}"),
            200,
        ),
        (format!("If-Match: \"x\"\r\nIf-None-Match: {etag}"), 412),
        (format!("If-Match: {etag}\r\nIf-None-Match: {etag}"), 304),
    ];
    for (fields, status) in cases {
        let response = ask(&proxy, "GET /a.txt", &format!("{fields}\r\n")).await;
        assert_eq!(response.status, status, "{fields}");
        if status == 304 {
            assert_eq!(response.header("ETag"), etag);
            assert_eq!(response.header("Last-Modified"), modified);
            assert_eq!(response.header("Content-Length"), "");
            assert_eq!(response.header("Content-Type"), "");
        }
    }
}

#[tokio::test]
async fn a_part_of_a_file_is_sent_and_what_is_not_there_is_a_416() {
    let site = site(&[("a.txt", "0123456789"), ("empty", "")]);
    let proxy = serving(site.path(), "").await;
    for (range, content_range, text) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=9-99", "bytes 9-9/10", "9"),
    ] {
        let fields = format!("Range: {range}\r\n");
        let response = ask(&proxy, "GET /a.txt", &fields).await;
        assert_eq!(response.status, 206, "{range}");
        assert_eq!(response.header("Content-Range"), content_range);
        assert_eq!(response.text(), text);
        // It means nothing to HEAD.
        let head = ask(&proxy, "HEAD /a.txt", &fields).await;
        assert_eq!((head.status, head.header("Content-Length")), (200, "10"));
    }
    for range in ["bytes=10-", "bytes=x", "bytes=5-3"] {
        let response = ask(&proxy, "GET /a.txt", &format!("Range: {range}\r\n")).await;
        let answer = (response.status, response.header("Content-Range"));
        assert_eq!(answer, (416, "bytes */10"), "{range}");
    }
    let whole = ask(&proxy, "GET /a.txt", "Range: lines=1-2\r\n").await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let empty = ask(&proxy, "GET /empty", "Range: bytes=0-0\r\n").await;
    assert_eq!((empty.status, empty.text().as_str()), (200, ""));
}

#[tokio::test]
async fn several_parts_come_in_the_order_in_which_they_were_asked_for() {
    let site = site(&[("a.txt", "0123456789")]);
    let proxy = serving(site.path(), "").await;
    let response = ask(&proxy, "GET /a.txt", "Range: bytes=7-8, 0-0\r\n").await;
    assert_eq!(response.status, 206);
    let content_type = response.header("Content-Type");
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let of_part = "Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes";
    let expected = format!(
        "\r\n--{boundary}\r\n{of_part} 7-8/10\r\n\r\n78\r\n--{boundary}\r\n{of_part} 0-0/10\r\n\r\n0\r\n--{boundary}--\r\n"
    );
    assert_eq!(response.text(), expected);
}

#[tokio::test]
async fn a_download_goes_on_only_where_the_file_is_still_the_same() {
    let site = site(&[("a.txt", "0123456789")]);
    let proxy = serving(site.path(), "").await;
    let first = proxy.get("/a.txt").await;
    let (etag, modified) = (first.header("ETag"), first.header("Last-Modified"));
    for (if_range, status) in [
        (etag, 206),
        (modified, 206),
        ("\"x\"", 200),
        (&format!("W/{etag}"), 200),
        (OLD, 200),
        // Not the same moment, and that is what counts.
        (LATER, 200),
        ("yesterday", 200),
    ] {
        let fields = format!("Range: bytes=2-\r\nIf-Range: {if_range}\r\n");
        let response = ask(&proxy, "GET /a.txt", &fields).await;
        assert_eq!(response.status, status, "{if_range}");
    }
    // A condition comes before a range.
    let fields = format!("Range: bytes=2-\r\nIf-None-Match: {etag}\r\n");
    assert_eq!(ask(&proxy, "GET /a.txt", &fields).await.status, 304);
}

#[tokio::test]
async fn a_304_says_of_its_etag_and_of_vary_what_the_compressed_200_does() {
    let text = "long enough to be compressed\n".repeat(100);
    let site = site(&[("a.txt", &text), ("short.txt", "short"), ("a.bin", &text)]);
    let root = site.path().display();
    let proxy = routes(&format!(
        "[[route]]\npath = \"/\"\ncompression = true\nfiles = {{ root = \"{root}\" }}\n\
         [[route]]\npath = \"/plain/\"\ncompression = true\nfiles = {{ root = \"{root}\" }}\n\
         response_headers = {{ set = {{ Cache-Control = \"no-transform\" }} }}\n\
         [[route]]\npath = \"/off/\"\nfiles = {{ root = \"{root}\" }}\n"
    ))
    .await;
    for (target, varies) in [
        ("/a.txt", true),
        ("/short.txt", false),
        ("/a.bin", false),
        ("/plain/a.txt", false),
        ("/off/a.txt", false),
    ] {
        for accepts in ["gzip", "identity"] {
            let fields = format!("Accept-Encoding: {accepts}\r\n");
            let whole = ask(&proxy, &format!("GET {target}"), &fields).await;
            let etag = whole.header("ETag");
            let is_weak = varies && accepts == "gzip";
            assert_eq!(etag.starts_with("W/"), is_weak, "{target} {accepts}");
            for method in ["GET", "HEAD"] {
                let fields = format!("{fields}If-None-Match: {etag}\r\n");
                let again = ask(&proxy, &format!("{method} {target}"), &fields).await;
                assert_eq!(again.status, 304, "{target} {accepts}");
                assert_eq!(again.header("ETag"), etag, "{target} {accepts}");
                let vary = if varies { "Accept-Encoding" } else { "" };
                for response in [&whole, &again] {
                    assert_eq!(response.header("Vary"), vary, "{target} {accepts}");
                }
                for field in ["Content-Encoding", "Transfer-Encoding", "Content-Length"] {
                    assert_eq!(again.header(field), "", "{target} {accepts}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_part_tells_that_the_whole_is_compressed_for_others() {
    let text = "0123456789".repeat(200);
    let site = site(&[
        ("a.txt", &text),
        ("b.png", &text),
        ("short.txt", "0123456789"),
    ]);
    let root = site.path().display();
    let proxy = routes(&format!(
        "[[route]]\npath = \"/\"\nfiles = \"{root}\"\ncompression = true\n"
    ))
    .await;
    for (path, ranges, varies) in [
        ("/a.txt", "bytes=0-3", "Accept-Encoding"),
        ("/a.txt", "bytes=0-3,7-8", "Accept-Encoding"),
        ("/b.png", "bytes=0-3", ""),
        ("/short.txt", "bytes=0-3", ""),
    ] {
        for accepted in ["gzip", "identity"] {
            let fields = format!("Accept-Encoding: {accepted}\r\nRange: {ranges}\r\n");
            let response = ask(&proxy, &format!("GET {path}"), &fields).await;
            assert_eq!(response.status, 206, "{path}");
            assert_eq!(response.header("Content-Encoding"), "", "{path}");
            assert_eq!(response.header("Vary"), varies, "{path} {ranges}");
            assert!(response.text().contains("0123"), "{path} {ranges}");
        }
    }
}
