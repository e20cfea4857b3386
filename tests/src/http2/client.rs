//! A client that behaves: h2's, in the harness's words.

use std::net::Ipv4Addr;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::fields;
use crate::client::Response;
use crate::in_time;
use crate::wire::Wire;

/// A connection to a proxy, with any number of streams.
pub struct Http2 {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

impl Http2 {
    /// Connects without TLS, knowing that the proxy speaks HTTP/2.
    pub async fn connect(address: &str) -> Http2 {
        let mut settings = Builder::new();
        // Room for every stream's own window: what a spec does not read of one must not stop the
        // others.
        settings.initial_connection_window_size(16 << 20);
        Http2::connect_with(address, &settings).await
    }

    /// As [`connect`](Http2::connect), from a loopback address of its own: another client, as far as
    /// addresses tell.
    pub async fn connect_from(source: Ipv4Addr, address: &str) -> Http2 {
        let wire = in_time("a connection", Wire::connect_from(source, address)).await;
        let wire = wire.unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Http2::on(wire).await
    }

    /// Connects with settings of its own.
    pub async fn connect_with(address: &str, settings: &Builder) -> Http2 {
        let wire = in_time("a connection", Wire::connect(address)).await;
        let wire = wire.unwrap_or_else(|error| panic!("no connection to {address}: {error}"));
        Http2::over(wire.into_stream().0, settings).await
    }

    /// Speaks on a connection that is there already, such as one with TLS.
    pub async fn on(wire: Wire) -> Http2 {
        Http2::over(wire.into_stream().0, &Builder::new()).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        settings: &Builder,
    ) -> Http2 {
        let handshake = in_time("the handshake", settings.handshake(stream)).await;
        let (sender, connection) = handshake.expect("settings can be sent");
        let mut client = Http2 {
            sender,
            connection: tokio::spawn(connection),
            authority: "test".to_owned(),
        };
        client.ready().await.expect("the connection lives");
        client
    }

    /// Waits until another stream may be opened.
    pub async fn ready(&mut self) -> Result<(), h2::Error> {
        let ready = self.sender.clone().ready();
        self.sender = in_time("a stream to be allowed", ready).await?;
        Ok(())
    }

    /// Waits until the proxy's settings offer extended CONNECT (RFC 8441).
    pub async fn offers_extended_connect(&self) {
        crate::eventually("the offer of extended CONNECT", async || {
            self.sender.is_extended_connect_protocol_enabled()
        })
        .await;
    }

    /// How many streams the proxy allows at a time, as far as it has said so.
    pub fn allowed_streams(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// Opens a stream. `end` says that the request has no body.
    pub async fn open(&mut self, request: Request<()>, end: bool) -> Stream {
        self.try_open(request, end)
            .await
            .expect("the connection takes a request")
    }

    /// Opens a stream, on a connection that may take none any more.
    pub async fn try_open(&mut self, request: Request<()>, end: bool) -> Result<Stream, h2::Error> {
        self.ready().await?;
        let (response, sender) = self.sender.send_request(request, end)?;
        Ok(Stream {
            sender,
            response: Some(response),
            body: None,
        })
    }

    /// A request's head with these fields.
    pub fn request(&self, method: &str, target: &str, lines: &[(&str, &str)]) -> Request<()> {
        let uri = format!("http://{}{target}", self.authority);
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).expect("a method"))
            .uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request")
    }

    /// Opens a stream for a request whose body is still to be sent.
    pub async fn begin(&mut self, method: &str, target: &str, lines: &[(&str, &str)]) -> Stream {
        let request = self.request(method, target, lines);
        self.open(request, false).await
    }

    /// A GET and its response.
    pub async fn get(&mut self, target: &str) -> Response {
        self.ask("GET", target, &[]).await
    }

    /// A request without a body, and its response.
    pub async fn ask(&mut self, method: &str, target: &str, lines: &[(&str, &str)]) -> Response {
        let request = self.request(method, target, lines);
        self.open(request, true).await.response().await
    }

    /// A POST with a body, and its response.
    pub async fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Response {
        let mut stream = self.begin("POST", target, &[]).await;
        stream.send(body, true);
        stream.response().await
    }

    /// Waits for the end of the connection: the proxy's reason if it was for an error, or that of a
    /// graceful end.
    pub async fn ended(self) -> Option<Reason> {
        drop(self.sender);
        let end = in_time("the end of the connection", self.connection).await;
        let end = end.expect("the connection's task does not panic");
        end.err().and_then(|error| error.reason())
    }

    /// Whether the connection is still open.
    pub fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }
}

/// One stream: a request on its way and the response to it.
pub struct Stream {
    sender: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
}

impl Stream {
    /// Sends a part of the body.
    pub fn send(&mut self, part: impl AsRef<[u8]>, end: bool) {
        let part = Bytes::copy_from_slice(part.as_ref());
        self.sender
            .send_data(part, end)
            .expect("the stream is open");
    }

    /// As [`Stream::send`], on a stream that may be gone.
    pub fn try_send(&mut self, part: impl AsRef<[u8]>, end: bool) -> Result<(), h2::Error> {
        let part = Bytes::copy_from_slice(part.as_ref());
        self.sender.send_data(part, end)
    }

    /// Ends the body with trailers.
    pub fn finish(&mut self, trailers: HeaderMap) {
        self.sender
            .send_trailers(trailers)
            .expect("the stream is open");
    }

    pub fn reset(&mut self, reason: Reason) {
        self.sender.send_reset(reason);
    }

    /// Waits for an interim response: its status and fields.
    pub async fn interim(&mut self) -> Response {
        let response = self.response.as_mut().expect("no final response yet");
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
        let interim = in_time("an interim response", interim).await;
        let (head, ()) = interim
            .expect("one comes before the final response")
            .expect("the stream lives")
            .into_parts();
        Response {
            status: head.status.as_u16(),
            headers: fields(&head.headers),
            ..Response::default()
        }
    }

    /// Waits for the response's head.
    pub async fn try_head(&mut self) -> Result<Response, h2::Error> {
        let response = self.response.take().expect("asked for once");
        let (head, body) = in_time("a response", response).await?.into_parts();
        self.body = Some(body);
        Ok(Response {
            status: head.status.as_u16(),
            version: format!("{:?}", head.version),
            headers: fields(&head.headers),
            ..Response::default()
        })
    }

    /// Waits for the response's head, which must come.
    pub async fn head(&mut self) -> Response {
        self.try_head().await.expect("the stream is answered")
    }

    /// The next part of the response's body; `None` at its end.
    pub async fn try_part(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = self.body.as_mut().expect("after the head");
        loop {
            let part = in_time("a part of the body", body.data()).await?;
            if let Ok(part) = &part {
                let released = body.flow_control().release_capacity(part.len());
                released.expect("what was read can be released");
                // The end may come in a frame of its own.
                if part.is_empty() {
                    continue;
                }
            }
            return Some(part);
        }
    }

    /// The next part of the response's body, which must come.
    pub async fn part(&mut self) -> Bytes {
        let part = self.try_part().await.expect("more of the body");
        part.expect("the stream lives")
    }

    /// Reads a response to its end, or to the error that cut it.
    pub async fn try_response(&mut self) -> Result<Response, (Response, h2::Error)> {
        let mut response = match self.try_head().await {
            Ok(response) => response,
            Err(error) => return Err((Response::default(), error)),
        };
        while let Some(part) = self.try_part().await {
            match part {
                Ok(part) => response.body.extend(part),
                Err(error) => return Err((response, error)),
            }
        }
        let body = self.body.as_mut().expect("after the head");
        match in_time("the trailers", body.trailers()).await {
            Ok(trailers) => response.trailers = fields(&trailers.unwrap_or_default()),
            Err(error) => return Err((response, error)),
        }
        response.complete = true;
        Ok(response)
    }

    /// Reads a response, which must be complete.
    pub async fn response(&mut self) -> Response {
        self.try_response()
            .await
            .unwrap_or_else(|(response, error)| panic!("cut by {error}: {response:?}"))
    }

    /// Waits for the stream to end with an error, and returns what had come before it and its
    /// reason. None where the connection broke without a word.
    pub async fn failure(&mut self) -> (Response, Option<Reason>) {
        match self.try_response().await {
            Ok(response) => panic!("a whole response: {response:?}"),
            Err((response, error)) => (response, error.reason()),
        }
    }
}
