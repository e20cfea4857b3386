//! A component of the world `wasi:http/proxy` that does what the path of a request tells it: for the
//! specs of routes that a component answers.

#![cfg(target_arch = "wasm32")] // what it exports has names that no other linker takes
#![allow(
    clippy::expect_used,
    reason = "what cannot be had is a trap here, as in any such program"
)]

use std::cell::Cell;
use std::fmt::Write as _;
use std::hint::black_box;

use wasip2::cli::environment;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

struct WebProbe;

wasip2::http::proxy::export!(WebProbe);

thread_local! {
    /// Requests that this instance has had.
    static REQUESTS: Cell<u32> = const { Cell::new(0) };
}

/// Bytes that are written at a time.
const PIECE: usize = 4096;

impl Guest for WebProbe {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        REQUESTS.set(REQUESTS.get() + 1);
        let target = request.path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match words.as_slice() {
            [""] => says(answer, 200, &[("content-length", "6")], "a body"),
            ["seen"] => says(answer, 200, &[], &seen(&request)),
            ["count"] => says(answer, 200, &[], &REQUESTS.get().to_string()),
            ["environment"] => says(
                answer,
                200,
                &[],
                &format!("{:?}", environment::get_environment()),
            ),
            ["status", status] => says(answer, number(status), &[], "a body"),
            ["header", name, value] => says(answer, 200, &[(name, value)], "a body"),
            ["length", length, body] => says(answer, 200, &[("content-length", length)], body),
            ["echo"] => echo(request, answer),
            ["bytes", count] => bytes(answer, number(count)),
            ["endless"] => endless(answer),
            ["paced", count, millis] => paced(answer, number(count), number(millis)),
            ["trailers"] => trailers(answer),
            ["ask", upstream, rest] => asked(answer, upstream, rest),
            ["error"] => ResponseOutparam::set(
                answer,
                Err(ErrorCode::InternalError(Some("as asked".into()))),
            ),
            ["return"] => {}
            ["sleep", millis] => {
                sleep(number(millis));
                says(answer, 200, &[], "slept");
            }
            ["spin", millis] => {
                spin(number(millis));
                says(answer, 200, &[], "spun");
            }
            ["say", text] => {
                println(text);
                says(answer, 200, &[], "said");
            }
            ["trap"] => panic!("as the request says"),
            ["trap_behind_head"] => {
                let (body, stream) = begin(answer, 200, &[]);
                let _ = stream.blocking_write_and_flush(b"half of it");
                std::mem::forget((body, stream));
                panic!("as the request says");
            }
            ["drop_behind_head"] => {
                let (body, stream) = begin(answer, 200, &[]);
                let _ = stream.blocking_write_and_flush(b"half of it");
                drop(stream);
                drop(body);
            }
            ["return_behind_head"] => {
                let (body, stream) = begin(answer, 200, &[]);
                let _ = stream.blocking_write_and_flush(b"half of it");
                std::mem::forget((body, stream));
            }
            ["stall_behind_head"] => {
                let (body, stream) = begin(answer, 200, &[]);
                let _ = stream.blocking_write_and_flush(b"half of it");
                sleep(600_000);
                drop(stream);
                let _ = OutgoingBody::finish(body, None);
            }
            ["work_behind_answer", millis] => {
                says(answer, 200, &[], "done");
                sleep(number(millis));
                println("worked behind its answer");
            }
            _ => says(answer, 404, &[], "the probe knows no such word"),
        }
    }
}

fn number<T: std::str::FromStr + Default>(word: &str) -> T {
    word.parse().unwrap_or_default()
}

/// A line for the log.
fn println(text: &str) {
    let stdout = wasip2::cli::stdout::get_stdout();
    let _ = stdout.blocking_write_and_flush(format!("{text}\n").as_bytes());
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    let fields = Fields::new();
    for (name, value) in lines {
        if let Err(error) = fields.append(name, value.as_bytes()) {
            println(&format!("header {name} refused: {error:?}"));
        }
    }
    fields
}

/// Begins an answer.
fn begin(
    answer: ResponseOutparam,
    status: u16,
    lines: &[(&str, &str)],
) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(fields(lines));
    let _ = response.set_status_code(status);
    let body = response.body().expect("it is taken once");
    ResponseOutparam::set(answer, Ok(response));
    let stream = body.write().expect("it is taken once");
    (body, stream)
}

fn says(answer: ResponseOutparam, status: u16, lines: &[(&str, &str)], text: &str) {
    let (body, stream) = begin(answer, status, lines);
    for piece in text.as_bytes().chunks(PIECE) {
        if stream.blocking_write_and_flush(piece).is_err() {
            println("the client wants no more");
            break;
        }
    }
    drop(stream);
    if let Err(error) = OutgoingBody::finish(body, None) {
        println(&format!("finish: {error:?}"));
    }
}

/// What a request is, in lines.
fn seen(request: &IncomingRequest) -> String {
    let method = match request.method() {
        Method::Get => "GET".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Other(other) => other,
        other => format!("{other:?}"),
    };
    let scheme = match request.scheme() {
        Some(Scheme::Https) => "https",
        Some(Scheme::Http) => "http",
        _ => "none",
    };
    let (authority, target) = (request.authority(), request.path_with_query());
    let mut text = format!(
        "{method} {scheme} {} {}\n",
        authority.unwrap_or_default(),
        target.unwrap_or_default()
    );
    for (name, value) in request.headers().entries() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(&value));
    }
    text
}

/// Reads up to so many bytes; none at the end.
fn read(stream: &InputStream) -> Result<Option<Vec<u8>>, String> {
    match stream.blocking_read(PIECE as u64) {
        Ok(piece) => Ok(Some(piece)),
        Err(StreamError::Closed) => Ok(None),
        Err(StreamError::LastOperationFailed(error)) => Err(error.to_debug_string()),
    }
}

/// Answers with the body of the request as it comes, and its trailers.
fn echo(request: IncomingRequest, answer: ResponseOutparam) {
    let incoming = request.consume().expect("it is taken once");
    let from = incoming.stream().expect("it is taken once");
    let (body, to) = begin(answer, 200, &[]);
    loop {
        match read(&from) {
            Ok(Some(piece)) => {
                if to.blocking_write_and_flush(&piece).is_err() {
                    return println("the client wants no more");
                }
            }
            Ok(None) => break,
            Err(error) => return println(&format!("the request broke off: {error}")),
        }
    }
    drop((from, to));
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = match trailers.get() {
        Some(Ok(Ok(trailers))) => trailers,
        _ => None,
    };
    let _ = OutgoingBody::finish(body, trailers.map(|fields| fields.clone()));
}

fn bytes(answer: ResponseOutparam, count: usize) {
    let (body, stream) = begin(answer, 200, &[]);
    let mut left = count;
    while left > 0 {
        let piece = left.min(PIECE);
        if stream.blocking_write_and_flush(&vec![b'x'; piece]).is_err() {
            return println("the client wants no more");
        }
        left -= piece;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn endless(answer: ResponseOutparam) {
    let (_body, stream) = begin(answer, 200, &[]);
    let mut written = 0_usize;
    while stream.blocking_write_and_flush(&[b'x'; PIECE]).is_ok() {
        written += PIECE;
        if written.is_multiple_of(1 << 20) {
            println(&format!("wrote {} MiB", written >> 20));
        }
    }
    println("the client wants no more");
}

fn paced(answer: ResponseOutparam, count: u32, millis: u64) {
    let (body, stream) = begin(answer, 200, &[("content-type", "text/event-stream")]);
    for number in 0..count {
        let _ = stream.blocking_write_and_flush(format!("data: {number}\n\n").as_bytes());
        sleep(millis);
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn trailers(answer: ResponseOutparam) {
    let (body, stream) = begin(answer, 200, &[("trailer", "x-sum")]);
    let _ = stream.blocking_write_and_flush(b"a body");
    drop(stream);
    let _ = OutgoingBody::finish(body, Some(fields(&[("x-sum", "6")])));
}

/// Asks an upstream, and answers with what it has answered.
fn asked(answer: ResponseOutparam, upstream: &str, rest: &str) {
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(upstream));
    let _ = request.set_path_with_query(Some(&format!("/{rest}")));
    let response = match outgoing_handler::handle(request, None) {
        Ok(response) => response,
        Err(error) => return says(answer, 200, &[], &format!("error: {error:?}")),
    };
    response.subscribe().block();
    let response = match response.get() {
        Some(Ok(Ok(response))) => response,
        other => return says(answer, 200, &[], &format!("error: {other:?}")),
    };
    let status = response.status();
    let incoming = response.consume().expect("it is taken once");
    let from = incoming.stream().expect("it is taken once");
    let mut text = Vec::new();
    while let Ok(Some(piece)) = read(&from) {
        text.extend(piece);
    }
    says(
        answer,
        200,
        &[],
        &format!("{status} {}", String::from_utf8_lossy(&text)),
    );
}

fn sleep(millis: u64) {
    monotonic_clock::subscribe_duration(millis * 1_000_000).block();
}

/// Computes for so long.
fn spin(millis: u64) {
    let until = monotonic_clock::now() + millis * 1_000_000;
    let mut number = 0_u64;
    while monotonic_clock::now() < until {
        for _ in 0..1000 {
            number = black_box(number.wrapping_mul(31).wrapping_add(7));
        }
    }
}
