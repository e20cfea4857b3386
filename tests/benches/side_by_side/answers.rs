//! Whether compressed answers are what they have to be, before their cost is measured.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use flate2::read::GzDecoder;

use crate::PATIENCE;
use crate::program::Program;
use crate::scenario::JSON;
use crate::setup::Bench;

/// The size in bytes of the JSON that the proxy sends compressed.
///
/// # Panics
///
/// If the answer is not compressed by gzip, or is not the file when it is decompressed.
pub(crate) fn compressed(bench: &Bench, proxy: &Program) -> usize {
    let name = proxy.name;
    let mut stream =
        TcpStream::connect(("127.0.0.1", proxy.port)).expect("the proxy takes connections");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    let request = format!(
        "GET {JSON} HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .expect("the proxy takes requests");
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = answer.read_line(&mut head).expect("the proxy answers");
        assert!(read > 0, "{name} ended within a head:\n{head}");
    }
    head.make_ascii_lowercase();
    for header in ["content-encoding: gzip", "transfer-encoding: chunked"] {
        assert!(head.contains(header), "{name} sent no {header}:\n{head}");
    }
    let body = chunks(&mut answer);
    let mut plain = Vec::new();
    GzDecoder::new(body.as_slice())
        .read_to_end(&mut plain)
        .expect("the body is gzip");
    let file = fs::read(bench.folder().join("www").join(&JSON[1..])).expect("the file is there");
    assert!(plain == file, "{name} sent something else than the file");
    body.len()
}

/// The data of a chunked body (RFC 9112 section 7.1) without trailers.
fn chunks(from: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).expect("a chunk has a size");
        let size = u64::from_str_radix(line.trim(), 16).expect("a size is hexadecimal");
        let begin = body.len();
        let read = from.by_ref().take(size).read_to_end(&mut body);
        read.expect("a chunk can be read");
        assert_eq!((body.len() - begin) as u64, size, "a chunk is complete");
        from.read_line(&mut line).expect("a chunk has an end");
        if size == 0 {
            return body;
        }
    }
}
