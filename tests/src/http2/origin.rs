//! A server that behaves: h2's, recording as every [`Origin`] does.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::fields;
use crate::answer::{After, Answer};
use crate::origin::{Listener, Origin, Record, Request};
use crate::wire::{Fields, Wire};

/// A request that has arrived, and the way to answer it.
pub struct Exchange {
    /// Its head.
    pub request: Request,
    pub body: RecvStream,
    pub respond: SendResponse<Bytes>,
    record: Arc<Record>,
}

impl Exchange {
    /// The next part of the request's body; `None` at its end, or where it was cut.
    pub async fn part(&mut self) -> Option<Bytes> {
        let part = self.body.data().await?.ok()?;
        // Fails only on a stream that is gone, which the next part tells.
        let _ = self.body.flow_control().release_capacity(part.len());
        Some(part)
    }

    /// Reads the rest of the request, and records it. `false` when it was cut.
    pub async fn read(&mut self) -> bool {
        while let Some(part) = self.body.data().await {
            let Ok(part) = part else { return false };
            let _ = self.body.flow_control().release_capacity(part.len());
            self.request.body.extend(part);
        }
        match self.body.trailers().await {
            Ok(trailers) => self.request.trailers = fields(&trailers.unwrap_or_default()),
            Err(_) => return false,
        }
        self.record();
        true
    }

    /// Records the request as far as it has come.
    pub fn record(&mut self) {
        self.record.add(&mut self.request);
    }

    /// Begins a response with a body. `None` where the stream, or its connection, has ended
    /// meanwhile.
    pub fn begin(&mut self, status: u16, lines: &[(&str, &str)]) -> Option<SendStream<Bytes>> {
        self.respond.send_response(head(status, lines), false).ok()
    }

    /// Waits for the client to give the stream up, and returns its reason.
    pub async fn given_up(&mut self) -> Option<Reason> {
        let reset = std::future::poll_fn(|cx| self.respond.poll_reset(cx));
        reset.await.ok()
    }
}

fn head(status: u16, lines: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in lines {
        response = response.header(*name, *value);
    }
    response.body(()).expect("a response")
}

/// An origin that answers every request with this body.
pub async fn says(body: &str) -> Origin {
    let body = body.to_owned();
    answers(move |_| Answer::ok(&body)).await
}

/// An origin that reads each request whole and then does what `answer` says, but for closing the
/// connection.
pub async fn answers(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Origin {
    answers_with(Builder::new(), answer).await
}

/// As [`answers`], with settings.
pub async fn answers_with(
    settings: Builder,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    serves(settings, move |exchange| {
        let answer = answer.clone();
        async move { answered(exchange, &*answer).await }
    })
    .await
}

/// An origin that does as the function says with each exchange. It records what the function has it
/// record.
pub async fn serves<F: Future<Output = ()> + Send + 'static>(
    settings: Builder,
    exchange: impl Fn(Exchange) -> F + Send + Sync + 'static,
) -> Origin {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a loopback port is free");
    let address = listener.local_addr().expect("a bound socket has one");
    let record = Record::new();
    let (recorded, exchange) = (record.clone(), Arc::new(exchange));
    let converse = move |wire, number| {
        connection(
            wire,
            number,
            settings.clone(),
            recorded.clone(),
            exchange.clone(),
        )
    };
    Origin::start(
        Listener::Tcp(listener),
        address.to_string(),
        record,
        converse,
    )
}

/// Serves one connection. Its exchanges end with it.
async fn connection<F: Future<Output = ()> + Send + 'static>(
    wire: Wire,
    number: usize,
    settings: Builder,
    record: Arc<Record>,
    serve: Arc<impl Fn(Exchange) -> F>,
) {
    let (stream, _counted) = wire.into_stream();
    let Ok(mut connection) = settings.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut exchanges = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        let mut headers = vec![];
        if let Some(authority) = head.uri.authority() {
            headers.push((":authority".to_owned(), authority.to_string()));
        }
        if let Some(protocol) = head.extensions.get::<h2::ext::Protocol>() {
            headers.push((":protocol".to_owned(), protocol.as_str().to_owned()));
        }
        headers.extend(fields(&head.headers).0);
        let target = head.uri.path_and_query();
        exchanges.spawn(serve(Exchange {
            request: Request {
                connection: number,
                method: head.method.to_string(),
                target: target.map(ToString::to_string).unwrap_or_default(),
                version: format!("{:?}", head.version),
                headers: Fields(headers),
                ..Request::default()
            },
            body,
            respond,
            record: record.clone(),
        }));
    }
}

async fn answered(mut exchange: Exchange, answer: &impl Fn(&Request) -> Answer) {
    if !exchange.read().await {
        return;
    }
    let answer = answer(&exchange.request);
    tokio::time::sleep(answer.delay).await;
    if let Some(gate) = &answer.gate {
        tokio::select! {
            () = gate.opened() => {}
            _ = exchange.given_up() => return,
        }
    }
    let (status, lines) = answer.parsed();
    let lines: Vec<(&str, &str)> = lines
        .0
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let Some(mut body) = exchange.begin(status, &lines) else {
        return;
    };
    let mut bytes = Bytes::new();
    if exchange.request.method != "HEAD" {
        bytes = Bytes::from(answer.body);
    }
    match answer.after {
        // A client that has left needs nothing.
        After::Keep | After::Close => drop(body.send_data(bytes, true)),
        After::Reset => {
            drop(body.send_data(bytes, false));
            // Frames that are still to be sent would fall victim to the reset, and h2 does not tell
            // when they are.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        After::Hang => {
            drop(body.send_data(bytes, false));
            std::future::pending::<()>().await;
        }
    }
}

/// Trailers of a response or a request.
impl Fields {
    /// The fields as a header map.
    pub fn to_map(&self) -> HeaderMap {
        let pairs = self.0.iter().map(|(name, value)| {
            let name = name.parse::<http::HeaderName>().expect("a name");
            (name, value.parse::<http::HeaderValue>().expect("a value"))
        });
        pairs.collect()
    }
}
