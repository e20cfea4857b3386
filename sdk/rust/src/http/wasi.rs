//! Requests by `wasi:http`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method,
    OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use super::{Error, Request, Response};

/// The body of an answer that was not read yet.
pub(super) type Body = IncomingResponse;

/// Bytes that are read, and written, at a time.
const READ: u64 = 64 << 10;
const WRITTEN: usize = 4096;

pub(super) fn send(request: Request) -> Result<Response, Error> {
    let answer = begin(request)?;
    answer.subscribe().block();
    let answered = answer.get().ok_or_else(|| error("it was not answered"))?;
    let answered = answered.map_err(|()| error("it was answered twice"))?;
    let response = answered.map_err(|code| Error(words(&code)))?;
    Ok(Response {
        status: response.status(),
        headers: response.headers().entries(),
        body: response,
    })
}

pub(super) fn send_and_leave(request: Request) -> Result<(), Error> {
    begin(request).map(drop)
}

pub(super) fn read(response: Body, most: usize) -> Result<Vec<u8>, Error> {
    let body: IncomingBody = response
        .consume()
        .map_err(|()| error("its body was read before"))?;
    let stream = body
        .stream()
        .map_err(|()| error("its body was read before"))?;
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(READ) {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(StreamError::Closed) => return Ok(read),
            Err(StreamError::LastOperationFailed(_)) => return Err(error("its body broke off")),
        }
        if read.len() > most {
            return Err(error("its body is too large"));
        }
    }
}

fn begin(request: Request) -> Result<FutureIncomingResponse, Error> {
    let headers = Fields::new();
    for (name, value) in &request.headers {
        // What frames a message, or belongs to its connection, is refused: it is left out.
        let _ = headers.append(name, value);
    }
    let outgoing = OutgoingRequest::new(headers);
    let bad = |what: &'static str| move |()| error(what);
    outgoing
        .set_method(&method(request.method))
        .map_err(bad("its method is none"))?;
    outgoing
        .set_scheme(Some(&Scheme::Http))
        .map_err(bad("its scheme is none"))?;
    outgoing
        .set_authority(Some(&request.upstream))
        .map_err(bad("the name of its upstream is none"))?;
    outgoing
        .set_path_with_query(Some(&request.target))
        .map_err(bad("its target is none"))?;
    let options = request.timeout.map(|timeout| {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let options = RequestOptions::new();
        // A host need not know them.
        let _ = options.set_connect_timeout(Some(nanos));
        let _ = options.set_first_byte_timeout(Some(nanos));
        let _ = options.set_between_bytes_timeout(Some(nanos));
        options
    });
    let body = match request.body.is_empty() {
        true => None,
        false => Some(outgoing.body().map_err(bad("it has no body"))?),
    };
    let answer = outgoing_handler::handle(outgoing, options).map_err(|code| Error(words(&code)))?;
    if let Some(body) = body {
        let stream = body.write().map_err(bad("its body cannot be written"))?;
        for piece in request.body.chunks(WRITTEN) {
            stream
                .blocking_write_and_flush(piece)
                .map_err(|_| error("its body was not taken"))?;
        }
        drop(stream);
        OutgoingBody::finish(body, None).map_err(|code| Error(words(&code)))?;
    }
    Ok(answer)
}

fn method(name: String) -> Method {
    match name.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        _ => Method::Other(name),
    }
}

fn error(what: &str) -> Error {
    Error(what.to_owned())
}

fn words(code: &ErrorCode) -> String {
    let known = match code {
        ErrorCode::HttpRequestDenied => "the settings do not name its upstream",
        ErrorCode::DestinationNotFound => "there is no such upstream",
        ErrorCode::DestinationUnavailable => "no live upstreams",
        ErrorCode::ConnectionRefused => "connection refused",
        ErrorCode::ConnectionTimeout => "connecting timed out",
        ErrorCode::HttpResponseTimeout => "the upstream timed out",
        ErrorCode::ConnectionTerminated => "the connection broke off",
        ErrorCode::ConnectionLimitReached => "too many requests at once",
        ErrorCode::TlsProtocolError => "TLS failed",
        ErrorCode::HttpProtocolError => "the answer is no valid HTTP, or nothing may be asked here",
        ErrorCode::HttpRequestBodySize(_) => "its body is too large",
        _ => return format!("{code:?}"),
    };
    known.to_owned()
}
