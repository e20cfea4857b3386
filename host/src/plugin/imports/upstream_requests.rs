//! `upstream-requests` in the WIT.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, WasmList, WasmStr};

use super::Caller;
use crate::http::head::ResponseHead;
use crate::plugin::host_state::HostState;
use crate::plugin::waiting::{
    Answered, BodyBroken, FieldLines, NotSent, Outgoing, Patience, RefusedRequest, RequestBody,
    Timeouts,
};

/// Bytes of a response's body that the host keeps for one plugin at a time.
const BODY: usize = 16 << 20;

/// `upstream-requests.request` in the WIT.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Request {
    upstream: WasmStr,
    method: WasmStr,
    target: WasmStr,
    headers: WasmList<RequestHeader>,
    body: WasmList<u8>,
    #[component(name = "timeout-ms")]
    timeout_ms: Option<u32>,
    #[component(name = "wanted-headers")]
    wanted_headers: Option<WasmList<WasmStr>>,
    #[component(name = "wanted-body")]
    wanted_body: u32,
}

/// `upstream-requests.header` in the WIT, as it comes.
#[derive(ComponentType, Lift)]
#[component(record)]
struct RequestHeader {
    name: WasmStr,
    value: WasmList<u8>,
}

/// `upstream-requests.header` in the WIT, as it goes.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Header {
    name: String,
    value: Vec<u8>,
}

/// `upstream-requests.response` in the WIT.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Response {
    status: u16,
    headers: Vec<Header>,
    body: Vec<u8>,
    #[component(name = "is-whole")]
    is_whole: bool,
}

/// `upstream-requests.failure` in the WIT.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum Failure {
    #[component(name = "not-here")]
    NotHere,
    #[component(name = "denied")]
    Denied,
    #[component(name = "no-such-upstream")]
    NoSuchUpstream,
    #[component(name = "unavailable")]
    Unavailable,
    #[component(name = "too-many")]
    TooMany,
    #[component(name = "invalid-request")]
    InvalidRequest,
    #[component(name = "body-too-large")]
    BodyTooLarge,
    #[component(name = "connection-refused")]
    ConnectionRefused,
    #[component(name = "connection-timeout")]
    ConnectionTimeout,
    #[component(name = "response-timeout")]
    ResponseTimeout,
    #[component(name = "tls")]
    Tls,
    #[component(name = "broken")]
    Broken,
    #[component(name = "invalid-response")]
    InvalidResponse,
}

impl From<RefusedRequest> for Failure {
    fn from(refused: RefusedRequest) -> Failure {
        match refused {
            RefusedRequest::NoUpstream(_) => Failure::NoSuchUpstream,
            RefusedRequest::NoEndpoint => Failure::Unavailable,
            RefusedRequest::TooMany => Failure::TooMany,
            RefusedRequest::BodyTooLarge(_) => Failure::BodyTooLarge,
            RefusedRequest::BodyGivenUp | RefusedRequest::Inexpressible => Failure::InvalidRequest,
            RefusedRequest::Connect => Failure::ConnectionRefused,
            RefusedRequest::ConnectTimeout => Failure::ConnectionTimeout,
            RefusedRequest::Timeout => Failure::ResponseTimeout,
            RefusedRequest::Tls => Failure::Tls,
            RefusedRequest::Broken => Failure::Broken,
            RefusedRequest::Invalid => Failure::InvalidResponse,
        }
    }
}

impl From<NotSent> for Failure {
    fn from(not_sent: NotSent) -> Failure {
        match not_sent {
            NotSent::NotHere => Failure::NotHere,
            NotSent::Denied => Failure::Denied,
            NotSent::Refused(refused) => refused.into(),
        }
    }
}

/// For plugins whose calls return without waiting.
pub(super) fn refuse_in(requests: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    requests.func_wrap("send", |_: Caller<'_>, (_,): (Request,)| {
        Ok((Err::<Response, Failure>(Failure::NotHere),))
    })?;
    requests.func_wrap("send-and-leave", |_: Caller<'_>, (_,): (Request,)| {
        Ok((Err::<(), Failure>(Failure::NotHere),))
    })
}

/// For plugins whose calls may be suspended.
pub(super) fn add_to(requests: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    requests.func_wrap_async("send", |mut host: Caller<'_>, (request,): (Request,)| {
        Box::new(async move {
            let (waits, patience) = Patience::of_one_that_waits();
            let answered = match begin(&mut host, &request, patience)? {
                Ok(answered) => answered,
                Err(failure) => return Ok((Err(failure),)),
            };
            let wanted = wanted_headers(&mut host, &request)?;
            let most = usize::try_from(request.wanted_body).unwrap_or(BODY);
            let answer = answer(answered, wanted, most.min(BODY));
            let answer = match timeout(&request) {
                Some(longest) => (tokio::time::timeout(longest, answer).await)
                    .unwrap_or(Err(Failure::ResponseTimeout)),
                None => answer.await,
            };
            if answer.is_ok() {
                waits.end();
            }
            Ok((answer,))
        })
    })?;
    requests.func_wrap("send-and-leave", |mut host: Caller<'_>, (request,)| {
        let begun = begin(&mut host, &request, Patience::of_nobody())?;
        Ok((begun.map(drop),))
    })
}

fn timeout(request: &Request) -> Option<Duration> {
    request.timeout_ms.map(u64::from).map(Duration::from_millis)
}

/// Sends a request.
fn begin(
    host: &mut Caller<'_>,
    request: &Request,
    patience: Patience,
) -> Result<std::result::Result<Answered, Failure>> {
    let mut fields = FieldLines::default();
    let headers: Vec<RequestHeader> = all_of(host, &request.headers)?;
    for RequestHeader { name, value } in headers {
        let name = name.to_str(&*host)?;
        if let Err(refused) = fields.push(name.as_bytes(), value.as_le_slice(&*host)) {
            return Ok(Err(refused.into()));
        }
    }
    let timeout = timeout(request);
    let outgoing = Outgoing {
        method: request.method.to_str(&*host)?.into_owned(),
        target: request.target.to_str(&*host)?.into_owned(),
        fields,
        body: RequestBody::Whole(Bytes::copy_from_slice(request.body.as_le_slice(&*host))),
        timeouts: Timeouts {
            connect: timeout,
            first_byte: timeout,
            between_bytes: timeout,
        },
        patience,
    };
    let upstream = request.upstream.to_str(&*host)?.into_owned();
    let port = &mut host.data_mut().waiting().port;
    Ok(port.send(&upstream, outgoing).map_err(Failure::from))
}

/// The names of the headers that are wanted; none for all of them.
fn wanted_headers(host: &mut Caller<'_>, request: &Request) -> Result<Option<Vec<String>>> {
    let Some(wanted) = &request.wanted_headers else {
        return Ok(None);
    };
    let names = all_of(host, wanted)?;
    let names = names
        .iter()
        .map(|name| Ok(name.to_str(&*host)?.into_owned()));
    Ok(Some(names.collect::<Result<_>>()?))
}

/// What is in a list, as it still lies in the plugin's memory.
fn all_of<T: Lift>(host: &mut Caller<'_>, list: &WasmList<T>) -> Result<Vec<T>> {
    list.iter(&mut *host)?.collect()
}

/// Waits for an answer.
async fn answer(
    answered: Answered,
    wanted: Option<Vec<String>>,
    most: usize,
) -> std::result::Result<Response, Failure> {
    // Without an answer, what was asked is given up.
    let mut answer = answered.await.map_err(|_| Failure::Broken)??;
    let (body, is_whole) = match answer.read(most).await {
        Ok(read) => read,
        Err(BodyBroken) => return Err(Failure::Broken),
    };
    Ok(Response {
        status: answer.head.status(),
        headers: headers(&answer.head, wanted.as_deref()),
        body,
        is_whole,
    })
}

fn headers(head: &ResponseHead, wanted: Option<&[String]>) -> Vec<Header> {
    let is_wanted = |name: &[u8]| {
        let is = |wanted: &String| name.eq_ignore_ascii_case(wanted.as_bytes());
        wanted.is_none_or(|wanted| wanted.iter().any(is))
    };
    let fields = head.fields().iter();
    let fields = fields.filter(|field| !field.known.is_of_connection() && is_wanted(field.name));
    let headers = fields.map(|field| Header {
        name: String::from_utf8_lossy(field.name).to_ascii_lowercase(),
        value: field.value.to_vec(),
    });
    headers.collect()
}
