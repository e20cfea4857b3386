//! Requests by `wasi:http`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;
use waypost_sdk::http::{Error, Request};

/// Bytes that are read, and written, at a time.
const READ: u64 = 64 << 10;
const WRITTEN: usize = 4096;

/// The status of an answer, and its body.
pub(crate) fn send(request: Request, most: u32) -> Result<(u16, Vec<u8>), Error> {
    let answer = begin(request)?;
    answer.subscribe().block();
    let answered = answer.get().ok_or_else(|| error("it was not answered"))?;
    let answered = answered.map_err(|()| error("it was answered twice"))?;
    let response = answered.map_err(words)?;
    let used = |()| error("its body was read before");
    let body: IncomingBody = response.consume().map_err(used)?;
    let stream = body.stream().map_err(used)?;
    let mut read = Vec::new();
    loop {
        match stream.blocking_read(READ) {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(StreamError::Closed) => return Ok((response.status(), read)),
            Err(StreamError::LastOperationFailed(_)) => {
                return Err(error("the connection broke off"));
            }
        }
        if read.len() > most as usize {
            return Err(error("its body is too large"));
        }
    }
}

pub(crate) fn send_and_leave(request: Request) -> Result<(), Error> {
    begin(request).map(drop)
}

fn begin(request: Request) -> Result<FutureIncomingResponse, Error> {
    let headers = Fields::new();
    for (name, value) in &request.headers {
        // What frames a message, or belongs to its connection, is refused: it is left out.
        let _ = headers.append(name, value);
    }
    let outgoing = OutgoingRequest::new(headers);
    let bad = |()| error("it cannot be expressed in HTTP");
    let method = match request.method.as_str() {
        "POST" => Method::Post,
        _ => Method::Get,
    };
    outgoing.set_method(&method).map_err(bad)?;
    outgoing.set_scheme(Some(&Scheme::Http)).map_err(bad)?;
    outgoing
        .set_authority(Some(&request.upstream))
        .map_err(bad)?;
    outgoing
        .set_path_with_query(Some(&request.target))
        .map_err(bad)?;
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
        false => Some(outgoing.body().map_err(bad)?),
    };
    let answer = outgoing_handler::handle(outgoing, options).map_err(words)?;
    if let Some(body) = body {
        let stream = body.write().map_err(bad)?;
        for piece in request.body.chunks(WRITTEN) {
            stream
                .blocking_write_and_flush(piece)
                .map_err(|_| error("its body was not taken"))?;
        }
        drop(stream);
        OutgoingBody::finish(body, None).map_err(words)?;
    }
    Ok(answer)
}

fn error(what: &str) -> Error {
    Error(what.to_owned())
}

/// The words of the SDK for it.
fn words(code: ErrorCode) -> Error {
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
        ErrorCode::HttpProtocolError => "the answer is no valid HTTP",
        ErrorCode::HttpRequestBodySize(_) => "its body is too large",
        _ => return Error(format!("{code:?}")),
    };
    error(known)
}
