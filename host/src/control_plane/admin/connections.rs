//! The API's connections: a few, none of which waits for its client without end, and none of which
//! keeps another one out.
//!
//! They come out of the descriptors that are set aside for other things than traffic, so there are
//! few. Once there are as many as may be, one that waits for its client makes room, an idle one or one
//! with half a request: of those who have most of them, and who have shown no token, or one that only
//! reads. One that has only just come is spared for a moment, in which it can say who it is: a shorter
//! one where many have. A request that is being carried out is never cut off; but where all are at
//! work, none goes on to the next one of its client's.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Cursor;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, oneshot, watch};
use tokio_rustls::TlsAcceptor;

use super::access::Peer;
use super::routes::{ApiError, is_upload};
use crate::config::model::Role;
use crate::control_plane::panics::caught;
use crate::fault_injection;
use crate::tls::{ServerTls, may_be_tls};

/// At once. With what commands, scripts and dashboards need, half of what `descriptors` sets aside.
const CONNECTIONS: usize = 16;
/// How long one that has just come makes no room for others, so that its first request may arrive.
const GRACE: Duration = Duration::from_secs(1);
/// So many may have just come, where there are no others that wait for their client. Beyond them it
/// is a flood, in which such a grace would keep everybody out.
const SPARED: usize = CONNECTIONS / 2;
/// The grace in a flood: enough for a client that connects and then sends its request, so that those
/// who come at the same moment do not all push each other out.
const FLOOD_GRACE: Duration = Duration::from_millis(100);
const PATIENCE: ClientPatience = ClientPatience {
    header: Duration::from_secs(10),
    client: Duration::from_secs(60),
};
/// Bytes of a header.
const HEADER_SIZE: usize = 16 << 10;
/// Bytes of a body, uploads aside.
const BODY_SIZE: usize = 64 << 10;
/// How long a client that has its answer may go on sending: one that sends all of an upload before
/// it reads would lose its answer to a connection that is closed.
const LINGERING_TIME: Duration = Duration::from_secs(5);
/// nginx's 497, in plain text.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Connection: close\r\n\r\nThis port speaks TLS: ask it by https://, not http://\n";
/// After `accept` has failed, for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
struct ClientPatience {
    /// For a request's header, and for the next request on a connection.
    header: Duration,
    /// For a request as a whole, and for its answer to be taken: up to twice as long.
    client: Duration,
}

/// Where connections come from.
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait AdminStream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> AdminStream for S {}

/// A connection, and who is at its other end.
struct Accepted {
    stream: Box<dyn AdminStream>,
    peer: Peer,
}

impl Listening {
    async fn accept(&self) -> std::io::Result<Accepted> {
        Ok(match self {
            Listening::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                Accepted {
                    stream: Box::new(stream),
                    peer: Peer::Tcp(address),
                }
            }
            Listening::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                let credentials = stream.peer_cred()?;
                Accepted {
                    stream: Box::new(stream),
                    peer: Peer::Unix {
                        uid: credentials.uid(),
                        pid: credentials.pid(),
                    },
                }
            }
        })
    }
}

/// The TLS that clients are to speak, if any. One that speaks plain HTTP, as a browser does whose
/// user leaves out the `https`, is told so in words that it shows.
async fn secured(
    mut stream: Box<dyn AdminStream>,
    tls: Option<Arc<ServerTls>>,
) -> std::io::Result<Box<dyn AdminStream>> {
    let Some(tls) = tls else {
        return Ok(stream);
    };
    let mut first = [0];
    stream.read_exact(&mut first).await?;
    if !may_be_tls(first[0]) {
        stream.write_all(SPEAK_TLS.as_bytes()).await?;
        linger(stream).await;
        return Err(std::io::Error::other("it speaks plain HTTP"));
    }
    let (rest, answers) = tokio::io::split(stream);
    let stream = tokio::io::join(Cursor::new(first).chain(rest), answers);
    let acceptor = TlsAcceptor::from(tls.config.clone());
    Ok(Box::new(acceptor.accept(stream).await?))
}

/// Serves connections until `closed` ends, and then those that there are to their end.
/// `tls` says what they are to speak.
pub(super) async fn serve(
    listening: Listening,
    tls: impl Fn() -> Option<Arc<ServerTls>>,
    router: Router,
    closed: impl Future<Output = ()>,
) {
    let (ending, ended) = watch::channel(false);
    let connections = Rc::new(Connections::default());
    let mut serving = tokio::task::JoinSet::new();
    let mut closed = std::pin::pin!(closed);
    let mut accepting = async || loop {
        fault_injection::panics("admin");
        let next = async {
            connections.room().await;
            listening.accept().await
        };
        let accepted = tokio::select! {
            () = &mut closed => break,
            // Forgets those that have ended.
            Some(_) = serving.join_next() => continue,
            accepted = next => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("admin api: cannot accept: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let (slot, evicted) = tokio::select! {
            () = &mut closed => break,
            entered = connections.admit(accepted.peer) => entered,
        };
        serving.spawn_local(connection(
            accepted,
            tls(),
            router.clone(),
            slot,
            evicted,
            ended.clone(),
            PATIENCE,
        ));
        // The one that made room gives its descriptor back before another one comes.
        tokio::task::yield_now().await;
    };
    // Without it no command would reach the process any more.
    while caught(accepting()).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    drop(listening);
    // Without connections there is no receiver.
    let _ = ending.send(true);
    while serving.join_next().await.is_some() {}
}

async fn connection(
    accepted: Accepted,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    slot: OpenSlot,
    evicted: oneshot::Receiver<()>,
    mut ending: watch::Receiver<bool>,
    patience: ClientPatience,
) {
    let Accepted { stream, peer } = accepted;
    let mut evicted = evicted;
    let secured = tokio::select! {
        secured = tokio::time::timeout(patience.header, secured(stream, tls)) => secured,
        _ = &mut evicted => return,
    };
    let stream = match secured {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            if let Peer::Tcp(address) = peer {
                tracing::debug!("admin api: no handshake with {}: {error}", address.ip());
            }
            return;
        }
        Err(_) => return,
    };
    let (wait, known) = (slot.wait.clone(), slot.known.clone());
    let service = TowerToHyperService::new(router);
    let answer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(known.clone());
        Box::pin(answer(&service, &wait, request))
    });
    let mut crowded = slot.crowded.clone();
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.header)
        .max_buf_size(HEADER_SIZE)
        .serve_connection(TokioIo::new(stream), answer);
    let overdue = async {
        loop {
            let since = wait.since();
            tokio::time::sleep(patience.client).await;
            if since.is_some() && wait.since() == since {
                return;
            }
        }
    };
    let mut given_up = std::pin::pin!(async {
        tokio::select! {
            _ = evicted => {}
            () = overdue => {}
        }
    });
    loop {
        #[allow(clippy::disallowed_methods, reason = "until the client is given up")]
        let served = poll_fn(|cx| serving.poll_without_shutdown(cx));
        tokio::select! {
            served = served => match served {
                Ok(()) => break,
                // What went wrong with it is its client's concern.
                Err(_) => return,
            },
            () = &mut given_up => return,
            // It ends with the answer that is under way, however many requests have come behind it.
            Ok(()) = ending.changed() => Pin::new(&mut serving).graceful_shutdown(),
            Ok(()) = crowded.changed() => if wait.has_asked() {
                Pin::new(&mut serving).graceful_shutdown();
            },
        }
    }
    tokio::select! {
        () = linger(serving.into_parts().io.into_inner()) => {}
        () = &mut given_up => {}
    }
}

/// Closes in a way that lets the client read its answer: what is not read would bring about a
/// reset, which may take it away.
async fn linger(mut stream: Box<dyn AdminStream>) {
    let discarded = async {
        stream.shutdown().await?;
        let mut sink = vec![0; 16 << 10];
        while stream.read(&mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever comes of it: the client has its answer, or has had its time.
    let _ = tokio::time::timeout(LINGERING_TIME, discarded).await;
}

async fn answer(
    service: &TowerToHyperService<Router>,
    wait: &ClientWait,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let response = match whole(request, wait).await {
        Ok(request) => service
            .call(request)
            .await
            .unwrap_or_else(|never| match never {}),
        Err(refused) => refused.into_response(),
    };
    wait.begins();
    Ok(response)
}

/// The request with its body. That of an upload is read by the route, once it knows how much it may
/// be.
async fn whole(request: Request<Incoming>, wait: &ClientWait) -> Result<Request<Body>, ApiError> {
    let (head, body) = request.into_parts();
    if is_upload(head.uri.path()) {
        let wait = wait.clone();
        return Ok(Request::from_parts(
            head,
            Body::new(UploadBody { body, wait }),
        ));
    }
    let body = Limited::new(body, BODY_SIZE).collect().await;
    let body =
        body.map_err(
            |error| match error.downcast::<http_body_util::LengthLimitError>() {
                Ok(_) => ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the body has more than {BODY_SIZE} bytes"),
                ),
                Err(error) => ApiError::new(StatusCode::BAD_REQUEST, error.to_string()),
            },
        )?;
    wait.ends();
    Ok(Request::from_parts(
        head,
        Body::new(Full::new(body.to_bytes())),
    ))
}

/// A body that says when it has been read.
struct UploadBody {
    body: Incoming,
    wait: ClientWait,
}

impl hyper::body::Body for UploadBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None) = frame {
            self.wait.ends();
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a connection has waited for its client, in the order in which all began to: the lowest
/// number has waited longest, and 0 is one that does not wait.
#[derive(Clone)]
struct ClientWait {
    since: Arc<AtomicU64>,
    /// When it began to wait for the first request.
    first: u64,
    last: Arc<AtomicU64>,
    may_go: Arc<Notify>,
}

impl ClientWait {
    fn begins(&self) {
        self.since
            .store(self.last.fetch_add(1, Relaxed) + 1, Relaxed);
        self.may_go.notify_one();
    }

    fn ends(&self) {
        self.since.store(0, Relaxed);
    }

    /// Whether its client has made a request.
    fn has_asked(&self) -> bool {
        self.since.load(Relaxed) != self.first
    }

    fn since(&self) -> Option<u64> {
        Some(self.since.load(Relaxed)).filter(|since| *since > 0)
    }
}

/// What a connection's client may do, by the token that it has shown: 0 without one, and the more the
/// longer it stays where others want its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<AtomicU8>);

impl Known {
    pub(super) fn note(&self, role: Role) {
        let standing = match role {
            Role::Read => 1,
            Role::Operate => 2,
        };
        self.0.store(standing, Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// Those that there are.
#[derive(Default)]
struct Connections {
    open: RefCell<Vec<OpenConnection>>,
    next: Cell<u64>,
    last: Arc<AtomicU64>,
    /// Tells those that there are that another one waits, and all of them are at work.
    crowded: watch::Sender<()>,
    /// One of them has left, or begun to wait for its client.
    may_go: Arc<Notify>,
}

struct OpenConnection {
    id: u64,
    came: Instant,
    wait: ClientWait,
    known: Known,
    /// Of whom it is: addresses of one network are one client. None over a unix socket.
    client: Option<IpAddr>,
    evict: oneshot::Sender<()>,
}

/// One of the connections that there may be, until it is dropped.
struct OpenSlot {
    id: u64,
    wait: ClientWait,
    known: Known,
    crowded: watch::Receiver<()>,
    connections: Rc<Connections>,
}

impl Connections {
    /// Waits until there may be another one: there is a place, or one that can be made.
    async fn room(&self) {
        while self.is_full() && self.next_to_go().is_none() {
            self.crowded.send_replace(());
            // Or a grace is over.
            let _ = tokio::time::timeout(FLOOD_GRACE, self.may_go.notified()).await;
        }
    }

    fn is_full(&self) -> bool {
        self.open.borrow().len() >= CONNECTIONS
    }

    /// The one that makes room: of those that wait for their client, one of a client that may do least,
    /// and of those who have most connections; of these, the one that has waited longest, if it can be
    /// none that has just come. None where all of these have: then the room is to be waited for, and
    /// nobody's taken who has a better claim.
    fn next_to_go(&self) -> Option<usize> {
        let open = self.open.borrow();
        let alike = |one: &OpenConnection| {
            let of_client = open.iter().filter(|other| other.client == one.client);
            of_client
                .filter(|other| other.known.get() == one.known.get())
                .count()
        };
        let has_just_come = |one: &OpenConnection, grace: Duration| {
            !one.wait.has_asked() && one.came.elapsed() < grace
        };
        let claim = |one: &OpenConnection| (one.known.get(), Reverse(alike(one)));
        let waiting = || {
            let all = open.iter().enumerate();
            all.filter_map(|(at, one)| Some((at, one, one.wait.since()?)))
        };
        let least = waiting().map(|(_, one, _)| claim(one)).min()?;
        let are_few = waiting().count() <= SPARED;
        let grace = match are_few && waiting().all(|(_, one, _)| has_just_come(one, GRACE)) {
            true => GRACE,
            false => FLOOD_GRACE,
        };
        let going = waiting().filter(|(_, one, _)| claim(one) == least);
        let going = going.filter(|(_, one, _)| !has_just_come(one, grace));
        let next = going.min_by_key(|(_, one, since)| (has_just_come(one, GRACE), *since));
        next.map(|(at, ..)| at)
    }

    /// Gives one that was accepted a place: those that waited for their client when it was awaited
    /// may all be at work by now.
    async fn admit(self: &Rc<Self>, peer: Peer) -> (OpenSlot, oneshot::Receiver<()>) {
        self.room().await;
        self.enter(peer)
    }

    fn enter(self: &Rc<Self>, peer: Peer) -> (OpenSlot, oneshot::Receiver<()>) {
        if self.is_full()
            && let Some(next) = self.next_to_go()
        {
            let one = self.open.borrow_mut().swap_remove(next);
            // It may have ended at this very moment.
            let _ = one.evict.send(());
        }
        let (evict, evicted) = oneshot::channel();
        let first = self.last.fetch_add(1, Relaxed) + 1;
        let wait = ClientWait {
            since: Arc::new(AtomicU64::new(first)),
            first,
            last: self.last.clone(),
            may_go: self.may_go.clone(),
        };
        let id = self.next.replace(self.next.get() + 1);
        let known = Known::default();
        self.open.borrow_mut().push(OpenConnection {
            id,
            came: Instant::now(),
            wait: wait.clone(),
            known: known.clone(),
            client: peer.client(),
            evict,
        });
        let connections = self.clone();
        (
            OpenSlot {
                id,
                wait,
                known,
                crowded: self.crowded.subscribe(),
                connections,
            },
            evicted,
        )
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        let id = self.id;
        self.connections
            .open
            .borrow_mut()
            .retain(|one| one.id != id);
        self.connections.may_go.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::task::LocalSet;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    /// What a client that sends `bytes` and no more is told before its connection ends.
    async fn answer_to(bytes: &str, patience: ClientPatience) -> String {
        let router = Router::new()
            .route("/status", get(async || "fine"))
            .route("/plugins/a/load", post(async |body: Bytes| body))
            .route(
                "/reload",
                post(async || tokio::time::sleep(3 * SHORT).await),
            );
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (_ending, ended) = watch::channel(false);
        let connections = Rc::new(Connections::default());
        let (slot, evicted) = connections.enter(Peer::Unix { uid: 0, pid: None });
        let accepted = Accepted {
            stream: Box::new(ours),
            peer: Peer::Unix { uid: 0, pid: None },
        };
        let serving = connection(accepted, None, router, slot, evicted, ended, patience);
        let client = async {
            theirs.write_all(bytes.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            theirs.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        };
        let both = async { tokio::join!(serving, client).1 };
        let answer = LocalSet::new()
            .run_until(tokio::time::timeout(LONG, both))
            .await;
        assert!(connections.open.borrow().is_empty());
        answer.unwrap()
    }

    /// Lets all of them have come so long ago.
    fn came_before(connections: &Connections, time: Duration) {
        for one in connections.open.borrow_mut().iter_mut() {
            one.came = Instant::now().checked_sub(time).unwrap();
        }
    }

    #[test]
    fn whoever_has_most_connections_makes_room_and_whoever_shows_a_token_does_last() {
        let connections = Rc::new(Connections::default());
        let from = |last: u8| Peer::Tcp(([192, 0, 2, last], 9).into());
        let (honest, _) = connections.enter(from(1));
        let (holder, _) = connections.enter(from(2));
        holder.known.note(Role::Read);
        let mut silent: Vec<_> = (2..CONNECTIONS)
            .map(|_| connections.enter(from(3)))
            .collect();
        // All of one client's have just come: its next one waits, and takes nobody else's place.
        holder.wait.begins();
        assert_eq!(connections.next_to_go(), None);
        for _ in 0..3 * CONNECTIONS {
            came_before(&connections, FLOOD_GRACE);
            silent.push(connections.enter(from(3)));
        }
        let ids: Vec<u64> = connections.open.borrow().iter().map(|one| one.id).collect();
        assert_eq!(ids.len(), CONNECTIONS);
        assert!(
            ids.contains(&honest.id) && ids.contains(&holder.id),
            "{ids:?}"
        );
        came_before(&connections, FLOOD_GRACE);
        let (_another, _) = connections.enter(from(4));
        assert!(
            connections
                .open
                .borrow()
                .iter()
                .any(|one| one.id == honest.id)
        );
    }

    #[tokio::test]
    async fn one_that_has_just_come_is_spared_while_others_may_end() {
        let connections = Rc::new(Connections::default());
        let from = |last: u8| Peer::Tcp(([192, 0, 2, last], 9).into());
        let there: Vec<_> = (1..CONNECTIONS)
            .map(|_| connections.enter(from(1)))
            .collect();
        for (slot, _) in &there {
            slot.wait.ends();
        }
        let (new, _evicted) = connections.enter(from(1));
        let mut admitted = std::pin::pin!(connections.admit(from(2)));
        let context = &mut Context::from_waker(std::task::Waker::noop());
        assert!(admitted.as_mut().poll(context).is_pending());
        assert!(there[0].0.crowded.has_changed().unwrap());
        there[0].0.wait.begins();
        let _entered = match admitted.as_mut().poll(context) {
            Poll::Ready(entered) => entered,
            Poll::Pending => panic!("there is room"),
        };
        let ids = || -> Vec<u64> {
            let open = connections.open.borrow();
            open.iter().map(|one| one.id).collect()
        };
        assert!(ids().contains(&new.id) && !ids().contains(&there[0].0.id));
        // It is the next one to go once its grace is over.
        let at = ids().iter().position(|id| *id == new.id);
        assert_eq!(connections.next_to_go(), None);
        let came = Instant::now().checked_sub(GRACE).unwrap();
        connections.open.borrow_mut()[at.unwrap()].came = came;
        assert_eq!(connections.next_to_go(), at);
    }

    #[test]
    fn of_many_that_have_just_come_each_has_a_shorter_moment() {
        let connections = Rc::new(Connections::default());
        let from = |last: u8| Peer::Tcp(([192, 0, 2, last], 9).into());
        let there: Vec<_> = (0..CONNECTIONS)
            .map(|_| connections.enter(from(1)))
            .collect();
        assert_eq!(connections.next_to_go(), None);
        came_before(&connections, FLOOD_GRACE);
        assert_eq!(connections.next_to_go(), Some(0));
        for (slot, _) in &there[SPARED..] {
            slot.wait.begins();
        }
        // As few as there are now, they have their whole grace.
        assert_eq!(connections.next_to_go(), Some(SPARED));
    }

    #[tokio::test]
    async fn one_that_comes_once_all_have_gone_to_work_waits_for_a_place() {
        let connections = Rc::new(Connections::default());
        let from = |last: u8| Peer::Tcp(([192, 0, 2, last], 9).into());
        let there: Vec<_> = (0..CONNECTIONS)
            .map(|_| connections.enter(from(1)))
            .collect();
        connections.room().await;
        for (slot, _) in &there {
            slot.wait.ends();
        }
        let mut admitted = std::pin::pin!(connections.admit(from(2)));
        let context = &mut Context::from_waker(std::task::Waker::noop());
        assert!(admitted.as_mut().poll(context).is_pending());
        assert_eq!(connections.open.borrow().len(), CONNECTIONS);
        there[0].0.wait.begins();
        let _entered = match admitted.as_mut().poll(context) {
            Poll::Ready(entered) => entered,
            Poll::Pending => panic!("there is room"),
        };
        assert_eq!(connections.open.borrow().len(), CONNECTIONS);
    }

    #[tokio::test]
    async fn a_client_that_stops_within_its_request_is_given_up() {
        let header = ClientPatience {
            header: SHORT,
            client: 10 * LONG,
        };
        for bytes in ["", "GET /sta", "GET /status HTTP/1.1\r\nHost: a\r\n"] {
            assert_eq!(answer_to(bytes, header).await, "", "{bytes}");
        }
        let client = ClientPatience {
            header: 10 * LONG,
            client: SHORT,
        };
        let post = "HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
        for path in ["/reload", "/plugins/a/load"] {
            assert_eq!(
                answer_to(&format!("POST {path} {post}"), client).await,
                "",
                "{path}"
            );
        }
        // And one that keeps its connection for nothing, once it has been answered.
        let answer = answer_to("GET /status HTTP/1.1\r\nHost: a\r\n\r\n", header).await;
        assert!(answer.ends_with("fine"), "{answer}");
    }

    #[tokio::test]
    async fn a_request_that_is_carried_out_may_take_longer_than_its_client() {
        let client = ClientPatience {
            header: 10 * LONG,
            client: SHORT,
        };
        let head = "POST /reload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = answer_to(head, client).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
