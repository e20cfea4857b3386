//! gRPC by tonic, the field's own for Rust: a server and a client of bytes, without generated code.
//!
//! The service is that of `peers/grpc_server.py`, so that each client can talk to either server.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::metadata::MetadataMap;
use tonic::server::{
    ClientStreamingService, ServerStreamingService, StreamingService, UnaryService,
};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use crate::in_time;

/// The start of every method's path.
const PREFIX: &str = "/bytes.Echo/";

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Plain;
    type Decoder = Plain;

    fn encoder(&mut self) -> Plain {
        Plain
    }

    fn decoder(&mut self) -> Plain {
        Plain
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A server of every kind of call; ends when dropped.
pub struct Server {
    address: String,
    serving: AbortHandle,
}

impl Server {
    pub async fn start() -> Server {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let incoming = TcpIncoming::bind(address).expect("a loopback port is free");
        let address = incoming.local_addr().expect("a bound socket has one");
        let server = tonic::transport::Server::builder().serve_with_incoming(Echo, incoming);
        Server {
            address: address.to_string(),
            serving: tokio::spawn(server).abort_handle(),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The service, and each of its methods.
#[derive(Clone, Copy)]
struct Echo;

struct Unary;
struct Collect;
struct Repeat;
struct Talk;
struct Fail;
struct Sleep;

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            let method = request.uri().path().strip_prefix(PREFIX);
            Ok(match method.unwrap_or_default() {
                "Unary" => grpc.unary(Unary, request).await,
                "Collect" => grpc.client_streaming(Collect, request).await,
                "Repeat" => grpc.server_streaming(Repeat, request).await,
                "Talk" => grpc.streaming(Talk, request).await,
                "Fail" => grpc.unary(Fail, request).await,
                "Sleep" => grpc.unary(Sleep, request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl UnaryService<Bytes> for Unary {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move {
            let asked = request.metadata().contains_key("x-ask");
            let mut reversed = request.into_inner().to_vec();
            reversed.reverse();
            let mut response = Response::new(Bytes::from(reversed));
            if asked {
                let first = "first".parse().expect("a value");
                response.metadata_mut().insert("x-answer", first);
                let bytes = tonic::metadata::MetadataValue::from_bytes(b"\x00\xff");
                response.metadata_mut().insert_bin("x-bytes-bin", bytes);
            }
            Ok(response)
        })
    }
}

impl ClientStreamingService<Bytes> for Collect {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let mut messages = request.into_inner();
            let mut all = Vec::new();
            while let Some(message) = messages.message().await? {
                all.push(message);
            }
            Ok(Response::new(Bytes::from(all.join(&b'|'))))
        })
    }
}

type Answers = ReceiverStream<Result<Bytes, Status>>;

impl ServerStreamingService<Bytes> for Repeat {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (sender, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            let count = number(request.get_ref());
            for number in 0..count as usize {
                let answer = Bytes::from(number.to_string());
                if sender.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(async { Ok(Response::new(ReceiverStream::new(answers))) })
    }
}

impl StreamingService<Bytes> for Talk {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (sender, answers) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut words = request.into_inner();
            while let Ok(Some(word)) = words.message().await {
                let upper = Bytes::from(word.to_ascii_uppercase());
                if sender.send(Ok(upper)).await.is_err() {
                    return;
                }
            }
        });
        Box::pin(async { Ok(Response::new(ReceiverStream::new(answers))) })
    }
}

impl UnaryService<Bytes> for Fail {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        Box::pin(async {
            let mut status = Status::failed_precondition("not today, żaden");
            let why = "why".parse().expect("a value");
            status.metadata_mut().insert("x-detail", why);
            Err(status)
        })
    }
}

impl UnaryService<Bytes> for Sleep {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs_f64(number(request.get_ref()))).await;
            Ok(Response::new(Bytes::from_static(b"late")))
        })
    }
}

fn number(message: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(message);
    text.parse()
        .unwrap_or_else(|_| panic!("no number: {text:?}"))
}

/// A client of the service, or of anything at its address.
pub struct Client {
    grpc: Grpc<Channel>,
}

/// A call in both directions at once.
pub struct Talking {
    words: mpsc::Sender<Bytes>,
    answers: Streaming<Bytes>,
}

impl Client {
    pub async fn connect(address: &str) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let channel = in_time("a channel", endpoint.connect()).await;
        Client {
            grpc: Grpc::new(channel.unwrap_or_else(|error| panic!("no channel: {error}"))),
        }
    }

    async fn ready(&mut self) {
        let ready = in_time("the channel", self.grpc.ready()).await;
        ready.expect("the channel works");
    }

    /// A call with one message each way; `timeout` is sent along as its deadline, and not kept
    /// here.
    pub async fn unary(
        &mut self,
        method: &str,
        message: impl Into<Bytes>,
        lines: &[(&'static str, &'static str)],
    ) -> Result<Response<Bytes>, Status> {
        self.ready().await;
        let mut request = Request::new(message.into());
        metadata(request.metadata_mut(), lines);
        let call = self.grpc.unary(request, path(method), Plain);
        in_time("the answer to a call", call).await
    }

    /// A call with many messages to the server, sent at once.
    pub async fn collect(&mut self, messages: &[&'static str]) -> Result<Bytes, Status> {
        self.ready().await;
        let (sender, stream) = mpsc::channel(messages.len().max(1));
        for message in messages {
            let message = Bytes::from_static(message.as_bytes());
            sender.send(message).await.expect("there is room");
        }
        drop(sender);
        let request = Request::new(ReceiverStream::new(stream));
        let call = self.grpc.client_streaming(request, path("Collect"), Plain);
        let answer = in_time("the answer to a call", call).await?;
        Ok(answer.into_inner())
    }

    /// A call with many messages from the server.
    pub async fn repeat(&mut self, number: usize) -> Result<Streaming<Bytes>, Status> {
        self.ready().await;
        let request = Request::new(Bytes::from(number.to_string()));
        let call = self.grpc.server_streaming(request, path("Repeat"), Plain);
        Ok(in_time("the answer to a call", call).await?.into_inner())
    }

    /// A call in both directions, up to the first word and the answer to it: some servers say
    /// nothing before.
    pub async fn talk(&mut self, first: &'static str) -> Result<Talking, Status> {
        self.ready().await;
        let (words, stream) = mpsc::channel(1);
        let word = Bytes::from_static(first.as_bytes());
        words.send(word).await.expect("there is room");
        let request = Request::new(ReceiverStream::new(stream));
        let call = self.grpc.streaming(request, path("Talk"), Plain);
        let answers = in_time("the start of an answer", call).await?.into_inner();
        let mut talking = Talking { words, answers };
        let answer = talking.next().await?.expect("an answer");
        assert_eq!(answer, first.to_ascii_uppercase());
        Ok(talking)
    }
}

impl Talking {
    /// Says a word, and returns the answer to it.
    pub async fn say(&mut self, word: &'static str) -> Result<Bytes, Status> {
        let word = Bytes::from_static(word.as_bytes());
        in_time("room for a word", self.words.send(word))
            .await
            .map_err(|_| Status::cancelled("nobody listens"))?;
        self.next().await.map(|answer| answer.expect("an answer"))
    }

    /// The next answer; `None` at their end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        in_time("an answer", self.answers.message()).await
    }

    /// Says nothing more, and returns what is left of the answers.
    pub async fn finish(self) -> Result<Vec<Bytes>, Status> {
        let Talking { words, mut answers } = self;
        drop(words);
        let mut rest = Vec::new();
        while let Some(answer) = in_time("the end", answers.message()).await? {
            rest.push(answer);
        }
        Ok(rest)
    }
}

fn path(method: &str) -> PathAndQuery {
    let path = if method.starts_with('/') {
        method.to_owned()
    } else {
        format!("{PREFIX}{method}")
    };
    path.parse().expect("a path")
}

fn metadata(map: &mut MetadataMap, lines: &[(&'static str, &'static str)]) {
    for (name, value) in lines {
        map.insert(*name, value.parse().expect("a value"));
    }
}

/// Makes every kind of call, and checks each answer: what `peers/grpc_client.py` does.
pub async fn every_kind_of_call(address: &str) {
    let mut client = Client::connect(address).await;
    let answer = client.unary("Unary", "abc", &[("x-ask", "please")]).await;
    let answer = answer.expect("an answer");
    let metadata = answer.metadata();
    assert_eq!(metadata.get("x-answer").expect("metadata"), "first");
    let bytes = metadata.get_bin("x-bytes-bin").expect("metadata");
    assert_eq!(bytes.to_bytes().expect("bytes"), b"\x00\xff"[..]);
    assert_eq!(answer.into_inner(), "cba");
    let large: Vec<u8> = (0..2_000_000u32).map(|at| (at % 251) as u8).collect();
    let answer = client.unary("Unary", large.clone(), &[]).await;
    assert!(
        answer
            .expect("an answer")
            .into_inner()
            .iter()
            .eq(large.iter().rev())
    );

    let collected = client.collect(&["a", "b", "c"]).await;
    assert_eq!(collected.expect("an answer"), "a|b|c");
    let mut answers = client.repeat(500).await.expect("answers");
    let mut count = 0;
    while let Some(answer) = in_time("an answer", answers.message()).await.expect("one") {
        assert_eq!(answer, count.to_string());
        count += 1;
    }
    assert_eq!(count, 500);

    let mut talk = client.talk("one").await.expect("a call");
    for (word, answer) in [("two", "TWO"), ("three", "THREE")] {
        assert_eq!(talk.say(word).await.expect("an answer"), answer);
    }
    assert!(talk.finish().await.expect("an end in order").is_empty());

    let failure = client.unary("Fail", "", &[]).await.expect_err("a failure");
    assert_eq!(failure.code(), tonic::Code::FailedPrecondition);
    assert_eq!(failure.message(), "not today, żaden");
    assert_eq!(failure.metadata().get("x-detail").expect("metadata"), "why");
    let nowhere = client.unary("Nowhere", "", &[]).await;
    let nowhere = nowhere.expect_err("a failure");
    assert_eq!(nowhere.code(), tonic::Code::Unimplemented);
}
