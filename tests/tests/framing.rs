//! Where a message ends is never a guess: what two peers could read differently is refused, and
//! what goes on is written anew.
//!
//! RFC 9112 sections 2, 3, 5, 6 and 7; RFC 9110 sections 5.5, 7.2, 7.6.1 and 10.1.1.

use waypost_tests::{Answer, Client, Http2, origin, proxy};

/// Sends a request whole or byte by byte: where the network cuts it must not change what it means.
/// A peer that has refused the first half need not take the second.
async fn send(client: &mut Client, in_pieces: bool, bytes: &[u8]) {
    match in_pieces {
        true => drop(client.wire.try_send_in_pieces(bytes).await),
        false => client.send(bytes).await,
    }
}

/// Each request, whole and in pieces.
fn both_ways<'a>(requests: &'a [&[u8]]) -> impl Iterator<Item = (&'a [u8], bool)> {
    let each = requests.iter();
    each.flat_map(|request| [(*request, false), (*request, true)])
}

/// Each of these requests gets 400 and a closed connection, no server hears of it, nor of what
/// follows it.
async fn refused(requests: &[&[u8]]) {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    for (request, in_pieces) in both_ways(requests) {
        let shown = format!(
            "{:?} in pieces: {in_pieces}",
            String::from_utf8_lossy(request)
        );
        let mut client = proxy.client().await;
        let next = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";
        send(&mut client, in_pieces, &[request, next].concat()).await;
        let response = client.cut_response().await;
        assert_eq!(response.status, 400, "{shown}: {response:?}");
        // A reset may follow, since the proxy need not read what it refused; another answer may
        // not.
        let rest = client.wire.rest().await;
        assert!(rest.got.is_empty(), "{shown}: more than one answer");
        assert!(
            origin.requests().is_empty(),
            "{shown}: it was sent on: {:?}",
            origin.requests()
        );
    }
    proxy.log_contains("client sent").await;
    assert_eq!(proxy.get("/").await.text(), "served");
}

/// Each of these requests is served, and is one request.
async fn served(requests: &[&[u8]]) {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    for (number, (request, in_pieces)) in both_ways(requests).enumerate() {
        let shown = format!(
            "{:?} in pieces: {in_pieces}",
            String::from_utf8_lossy(request)
        );
        let mut client = proxy.client().await;
        send(&mut client, in_pieces, request).await;
        let response = client.response().await;
        assert_eq!(response.status, 200, "{shown}: {response:?}");
        assert_eq!(
            origin.requests().len(),
            number + 1,
            "{shown}: {:?}",
            origin.requests()
        );
    }
}

#[tokio::test]
async fn a_transfer_encoding_that_is_not_exactly_chunked_is_refused() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding:\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn chunked_is_chunked_in_any_case() {
    served(&[
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\ntransfer-encoding:CHUNKED \r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn where_the_network_cuts_a_response_does_not_change_it() {
    let bodies: [(&str, &str); 4] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "served"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "6;a=b\r\nserved\r\n0\r\nX-Last: one\r\n\r\n",
        ),
        ("HTTP/1.0 200 OK\r\n\r\n", "served"),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
            "served",
        ),
    ];
    for (head, body) in bodies {
        let whole = [head, body].concat();
        let origin = origin::speaks(move |mut wire, _| {
            let whole = whole.clone();
            async move {
                let _ = wire.head().await;
                let _ = wire.try_send_in_pieces(&whole).await;
            }
        })
        .await;
        let proxy = proxy::to([&origin]).start().await;
        let mut client = proxy.client().await;
        client
            .send("GET / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\n\r\n")
            .await;
        let mut response = client.cut_response().await;
        while response.status < 200 {
            response = client.cut_response().await;
        }
        assert_eq!(
            (response.status, response.text().as_str(), response.complete),
            (200, "served", true),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn a_transfer_encoding_together_with_a_length_is_refused() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn a_transfer_encoding_in_http_1_0_is_refused() {
    refused(&[b"POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]).await;
}

#[tokio::test]
async fn a_length_that_is_not_one_plain_number_is_refused() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1, 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length:\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0x1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1e0\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: one\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 18446744073709551616\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999999\r\n\r\nx",
    ])
    .await;
}

#[tokio::test]
async fn bad_chunks_are_refused() {
    let bodies: [&[u8]; 17] = [
        b"zz\r\n\r\n0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"+1\r\nx\r\n0\r\n\r\n",
        b"0x1\r\nx\r\n0\r\n\r\n",
        b" 1\r\nx\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b";x\r\n0\r\n\r\n",
        b"10000000000000000\r\nx\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFF1\r\nx\r\n0\r\n\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nxx\r\n0\r\n\r\n",
        b"2\r\nx\r\n0\r\n\r\n",
        b"1\rx\r\n0\r\n\r\n",
        b"1;a\nb\r\nx\r\n0\r\n\r\n",
        b"1\r\nx\r\n0\n\r\n",
        b"1\r\nx\r\n0\r\nbad trailer\r\n\r\n",
    ];
    let head = b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    let requests: Vec<Vec<u8>> = bodies.iter().map(|body| [head, *body].concat()).collect();
    refused(&requests.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn bare_cr_and_bare_lf_are_refused() {
    refused(&[
        b"GET / HTTP/1.1\nHost: t\n\n",
        b"GET / HTTP/1.1\r\nHost: t\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\nb: c\r\n\r\n",
        b"GET / HTTP/1.1\rHost: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\n\n",
        b"GET / HTTP/1.1\r\nHost: t\r\rX: y\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn folded_and_misshapen_header_lines_are_refused() {
    refused(&[
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n\tb\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : t\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length : 1\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\n: no name\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn names_and_values_that_http_does_not_allow_are_refused() {
    refused(&[
        b"GET / HTTP/1.1\r\nHost: t\r\nX(y): z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX/y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX\x00y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX\xe4: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX\ty: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x01b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x0bb\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn tabs_and_8_bit_bytes_in_values_go_through() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let response = proxy
        .exchange(b"GET / HTTP/1.1\r\nHost: t\r\nX: a\tb\xe4\xff\r\nX-Empty:\r\n\r\n")
        .await;
    assert_eq!(response.status, 200);
    let request = origin.request();
    assert_eq!(
        (request.header("X"), request.headers.get("X-Empty")),
        ("a\tb\u{e4}\u{ff}", Some(""))
    );
}

#[tokio::test]
async fn misshapen_request_lines_are_refused() {
    refused(&[
        b"GET / HTTP/1.1 x\r\nHost: t\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: t\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET\t/\tHTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET HTTP/1.1\r\nHost: t\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1.1.1\r\nHost: t\r\n\r\n",
        b"GET / HTTP/1\r\nHost: t\r\n\r\n",
        b"GET / http/1.1\r\nHost: t\r\n\r\n",
        b"GET / HTP/1.1\r\nHost: t\r\n\r\n",
        b"GET relative HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /a#fragment HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /a%00b HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /a%zz HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: t\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn versions_other_than_1_x_are_refused() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    for version in [" HTTP/1.1", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        let mut client = proxy.client().await;
        client
            .send(format!("GET / {version}\r\nHost: t\r\n\r\n"))
            .await;
        let status = client.response().await.status;
        assert!(status == 505 || status == 400, "{version}: {status}");
        client.closed().await;
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    refused(&[
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a:port\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: \r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn fields_of_which_there_is_one_are_given_once() {
    refused(&[
        b"GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic Yzpk\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nauthorization: a\r\nAuthorization: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nContent-Range: bytes 0-1/2\r\nContent-Range: bytes 1-2/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nIf-Range: \"a\"\r\nIf-Range: \"b\"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nIf-Modified-Since: a\r\nIf-Modified-Since: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nIf-Unmodified-Since: a\r\nIf-Unmodified-Since: b\r\n\r\n",
    ])
    .await;
    served(&[
        b"GET / HTTP/1.1\r\nHost: t\r\nIf-None-Match: \"a\"\r\nIf-None-Match: \"b\"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nAccept: a\r\nAccept: b\r\nAuthorization: c\r\n\r\n",
    ])
    .await;
}

/// Heads are kept to be read into again: nothing of the one before shapes the next one's refusal.
#[tokio::test]
async fn a_bad_request_after_a_call_of_grpc_is_told_so_in_http_1() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).server("workers = 1").start().await;
    for bad in ["BAD\x01\r\n\r\n", "GET / HTTP/1.1\nHost: t\r\n\r\n"] {
        let mut grpc = Http2::connect(proxy.address()).await;
        let fields = [("content-type", "application/grpc"), ("te", "trailers")];
        assert_eq!(grpc.ask("POST", "/s/m", &fields).await.status, 200);
        let response = proxy.exchange(bad).await;
        assert_eq!(response.status, 400, "{bad:?}");
        assert_eq!(response.header("Connection"), "close", "{bad:?}");
    }
}

/// RFC 9112 section 2.2: a server ignores an empty line before a request, be its end still under
/// way.
#[tokio::test]
async fn an_empty_line_before_a_request_may_come_in_pieces() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    for pieces in [
        &["\r", "\nGET / HTTP/1.1\r\nHost: t\r\n\r\n"][..],
        &["\r\n\r", "\nGET / HTTP/1.1\r\nHost: t\r\n\r\n"],
        &["\r", "\n", "G", "ET / HTTP/1.1\r\nHost: t\r\n\r", "\n"],
    ] {
        let mut client = proxy.client().await;
        for _ in 0..2 {
            for piece in pieces {
                client.send(piece).await;
                client.wire.was_read().await;
            }
            assert_eq!(client.response().await.status, 200, "{pieces:?}");
        }
    }
    refused(&[b"\rGET / HTTP/1.1\r\nHost: t\r\n\r\n"]).await;
}

/// As in nginx: a condition of a route that asks for `DELETE` holds for whatever a server takes for
/// that.
#[tokio::test]
async fn a_method_with_other_than_capital_letters_and_dashes_is_refused() {
    refused(&[
        b"delete / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"DELETe / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"GET1 / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"G.T / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"!GET / HTTP/1.1\r\nHost: t\r\n\r\n",
    ])
    .await;
    served(&[
        b"M-SEARCH / HTTP/1.1\r\nHost: t\r\n\r\n",
        b"OF_ONES_OWN / HTTP/1.1\r\nHost: t\r\n\r\n",
    ])
    .await;
}

#[tokio::test]
async fn connect_and_trace_are_not_forwarded() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    for request in [
        "CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: t\r\n\r\n",
    ] {
        let status = proxy.exchange(request).await.status;
        assert!(status == 405 || status == 400, "{request:?}: {status}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn trailers_cannot_change_the_framing() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let request = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\nContent-Length: 50\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n";
    let mut client = proxy.client().await;
    client.send(request).await;
    let status = client.response().await.status;
    assert!(status == 200 || status == 400, "{status}");
    for request in origin.requests() {
        assert!(request.trailers.0.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn connection_cannot_remove_what_the_request_stands_on() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let lines = "Connection: Host, X-Forwarded-For, Content-Length, close";
    let response = proxy
        .exchange(format!(
            "POST / HTTP/1.1\r\nHost: t\r\n{lines}\r\nContent-Length: 2\r\n\r\nup"
        ))
        .await;
    assert!(response.status == 200 || response.status == 400);
    for request in origin.requests() {
        assert_eq!(
            (request.header("Content-Length"), request.body.as_slice()),
            ("2", &b"up"[..])
        );
        assert!(
            request.headers.get("Host").is_some()
                && request.headers.get("X-Forwarded-For").is_some()
        );
    }
}

/// A request whose end two readers could see in different places, sent in one piece with what would
/// be smuggled in.
#[tokio::test]
async fn nothing_can_be_smuggled() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).server("workers = 1").start().await;
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";
    let obscured = [
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding:\tchunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\nContent-Length: 4",
        "Transfer-Encoding\r\n : chunked\r\nContent-Length: 4",
        "X: y\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 4",
        "X: y\nTransfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 60",
        "Content-Length: 60\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent_Length: 60",
        "Content-Length: 4, 60",
        "Connection: Content-Length\r\nContent-Length: 60",
    ];
    for lines in obscured {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST /outer HTTP/1.1\r\nHost: t\r\n{lines}\r\n\r\n0\r\n\r\n{hidden}"
            ))
            .await;
        client.wire.finish_sending().await;
        client.wire.rest().await;
    }
    let ours = proxy.get("/ours").await;
    assert_eq!(ours.text(), "served");
    let smuggled: Vec<_> = origin
        .requests()
        .into_iter()
        .filter(|request| request.target == "/smuggled")
        .collect();
    // Behind `Content-Length: 4` stands garbage, not a request: a parser that finds `/smuggled` has
    // read it out of a body.
    assert!(smuggled.is_empty(), "{smuggled:?}");
}

/// The proxy's answers to a client that sends byte by byte are those to one that sends all at once.
#[tokio::test]
async fn how_the_bytes_are_cut_into_packets_does_not_matter() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = proxy::to([&origin]).start().await;
    let request = "POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: x\r\n\r\n";
    let mut client = proxy.client().await;
    for byte in request.bytes() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.response().await.text(), "hello world");
    assert_eq!(origin.request().target, "/x");
}
