//! A batch as a call of gRPC: one message there, one back, and a status behind it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use h2::client::{Connection, SendRequest};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Version};
use prost::Message;

use super::otlp::{RetryInfo, RpcStatus};
use super::transport::{ANSWER, Io, Outcome, USER_AGENT, bounded_pause, retry_after, shown};
use crate::config::model::TraceExport;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Of the heads that a collector sends.
const HEADS: u32 = 16 << 10;

/// Codes that gRPC has (`google/rpc/code.proto`).
const OK: u16 = 0;
const RESOURCE_EXHAUSTED: u16 = 8;
/// Those with which OTLP has a call made again: cancelled, deadline exceeded, aborted, out of range,
/// unavailable, data loss.
const AGAIN: [u16; 6] = [1, 4, 10, 11, 14, 15];

pub(super) async fn handshake(
    stream: Box<dyn Io>,
) -> Result<(SendRequest<Bytes>, Connection<Box<dyn Io>, Bytes>), String> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(HEADS)
        .initial_window_size(ANSWER as u32)
        .initial_connection_window_size(ANSWER as u32);
    builder.handshake(stream).await.map_err(broken)
}

/// # Errors
/// Why there is no answer, in one line.
pub(super) async fn call(
    sender: &mut SendRequest<Bytes>,
    settings: &TraceExport,
    request: &Bytes,
) -> Result<Outcome, String> {
    let url = &settings.url;
    let mut asked = Request::post(url.to_string())
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT);
    for (name, value) in &settings.headers {
        asked = asked.header(name, value);
    }
    let asked = asked
        .body(())
        .map_err(|error| format!("it cannot be asked: {error}"))?;
    let mut ready = sender.clone().ready().await.map_err(broken)?;
    let (answered, mut body) = ready.send_request(asked, false).map_err(broken)?;
    let length = u32::try_from(request.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(PREFIX + request.len());
    message.push(0);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(request);
    body.send_data(message.into(), true).map_err(broken)?;
    let (head, mut body) = answered.await.map_err(broken)?.into_parts();
    if head.status != StatusCode::OK {
        let why = format!("it answers {}", head.status.as_u16());
        return Ok(match head.status.as_u16() {
            429 | 502..=504 => Outcome::Again {
                why,
                after: retry_after(&head.headers),
            },
            _ => Outcome::Refused(why),
        });
    }
    if head.headers.contains_key("grpc-status") {
        return Ok(outcome(&head.headers, &[]));
    }
    let mut answer = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(broken)?;
        if answer.len() + data.len() > ANSWER {
            return Err(format!("its answer is longer than {} KiB", ANSWER >> 10));
        }
        answer.extend_from_slice(&data);
        body.flow_control()
            .release_capacity(data.len())
            .map_err(broken)?;
    }
    let trailers = body.trailers().await.map_err(broken)?;
    Ok(outcome(&trailers.unwrap_or_default(), &answer))
}

fn outcome(headers: &HeaderMap, answer: &[u8]) -> Outcome {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status").and_then(|code| code.parse().ok()) else {
        return Outcome::again("it answers without a status of gRPC");
    };
    if code == OK {
        return Outcome::taken(answer.get(PREFIX..).unwrap_or_default());
    }
    let message = shown(text("grpc-message").unwrap_or_default());
    let why = match message.is_empty() {
        true => format!("it answers with status {code} of gRPC"),
        false => format!("it answers with status {code} of gRPC: {message}"),
    };
    let after = headers.get("grpc-status-details-bin").and_then(retry_info);
    match code {
        // Without a time, the collector does not expect to have room again.
        RESOURCE_EXHAUSTED if after.is_some() => Outcome::Again { why, after },
        code if AGAIN.contains(&code) => Outcome::Again { why, after },
        _ => Outcome::Refused(why),
    }
}

/// When a call may be made again, as the details of a status have it.
fn retry_info(details: &HeaderValue) -> Option<Duration> {
    let details = details.to_str().ok()?.trim_end_matches('=');
    let details = STANDARD_NO_PAD.decode(details).ok()?;
    let details = RpcStatus::decode(&*details).ok()?.details.into_iter();
    let mut infos = details.filter(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"));
    let info = RetryInfo::decode(&*infos.next()?.value).ok()?;
    let delay = info.retry_delay?;
    let (seconds, nanos) = (
        delay.seconds.max(0) as u64,
        delay.nanos.clamp(0, 999_999_999),
    );
    Some(bounded_pause(Duration::new(seconds, nanos as u32)))
}

fn broken(error: h2::Error) -> String {
    format!("the connection broke: {error}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::super::otlp::{Any, Delay};
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| {
            let name = hyper::header::HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn a_call_is_made_again_where_otlp_says_so() {
        for (code, again) in [(1, true), (3, false), (8, false), (14, true), (16, false)] {
            let outcome = outcome(&headers(&[("grpc-status", &code.to_string())]), &[]);
            assert_eq!(matches!(outcome, Outcome::Again { .. }), again, "{code}");
        }
        let none = outcome(&headers(&[]), &[]);
        assert!(matches!(none, Outcome::Again { .. }), "{none:?}");
    }

    #[test]
    fn a_collector_says_when_there_is_room_again() {
        let info = RetryInfo {
            retry_delay: Some(Delay {
                seconds: 7,
                nanos: 500_000_000,
            }),
        };
        let status = RpcStatus {
            details: vec![Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        let details = base64::engine::general_purpose::STANDARD.encode(status.encode_to_vec());
        let answer = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", &details)]);
        let Outcome::Again { after, .. } = outcome(&answer, &[]) else {
            panic!("it is refused");
        };
        assert_eq!(after, Some(Duration::from_millis(7500)));
    }
}
