//! Carries the connections of a `[[stream]]` as they are, whatever they speak: the whole way of a
//! session, top to bottom.
//!
//! A session is balanced by the same leases as an exchange, and keeps the configuration that it
//! began with to its end.

mod session; // what is known of it, for logs and plugins
pub(crate) mod preread; // the host that a ClientHello names
mod dial; // an endpoint that can be connected to
mod hooks; // who is let in
mod traced; // its span

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::copy::{CopyEnds, CopyHalf, CopyTimeouts, copy_both};
use super::downstream::{Client, accept_tls, read_proxy_header};
use super::drain::ConnectionGuard;
use super::stream::Stream;
use super::unwinding::contained;
use super::upstream::{Dialed, Timings};
use super::worker::Worker;
use super::worker_config::WorkerConfig;
use crate::config::model;
use crate::metrics::{StreamMetrics, WorkerCells};
use crate::plugin::Ending;
use crate::tls::ServerTls;
use crate::tls::server::ClientVerdict;
use dial::ClientWatch;
use hooks::SessionEnd;
use session::{SessionStatus, TcpSession};

/// Carries a connection to its end.
pub(crate) async fn run(
    worker: Rc<Worker>,
    client: Client,
    mut stream: Stream,
    guard: ConnectionGuard,
) {
    let (worker_config, position) = (
        guard.listener().worker_config(),
        guard.listener().position(),
    );
    let Some(index) = worker_config.stream_at(position) else {
        return;
    };
    let config = &worker_config.snapshot.config.streams[index];
    let due = Instant::now() + config.preread_timeout;
    let client = if config.proxy_protocol {
        let trusted = &worker_config.snapshot.config.server.trusted_proxies;
        let header = read_proxy_header(client, &mut stream, trusted, due);
        match guard.unless_evicted(header).await.flatten() {
            Some(client) => client,
            None => return,
        }
    } else {
        client
    };
    let (client, stream) = match &worker_config.snapshot.tls[position] {
        // Its state is large, and gone once the connection is open.
        Some(tls) => {
            let secured = Box::pin(secured(tls, client, stream, worker.counted()));
            match guard.unless_evicted(secured).await.flatten() {
                Some(secured) => secured,
                None => return,
            }
        }
        None => (client, stream),
    };
    let counted = CountedSession::begin(&worker_config.snapshot.metrics.streams[index], &worker);
    let session = carry(&worker, &guard, config, &worker_config, client, stream, due).await;
    counted.end(&session);
    contained(|| traced::finish(&worker_config, config, &session));
    let logs = &worker_config.snapshot.stream_logs[index];
    if !logs.is_empty() {
        let mut buffers = worker.logs.borrow_mut();
        buffers.write(logs, &*session, std::time::Instant::now());
    }
}

/// A session as it is counted, until it is dropped: one that is cut has ended too.
struct CountedSession<'a> {
    metrics: &'a StreamMetrics,
    worker: usize,
    began: std::time::Instant,
    /// Status, and bytes from the client and to it.
    end: Cell<(u16, u64, u64)>,
}

impl<'a> CountedSession<'a> {
    fn begin(metrics: &'a StreamMetrics, worker: &Worker) -> CountedSession<'a> {
        metrics.began(worker.index);
        CountedSession {
            metrics,
            worker: worker.index,
            began: std::time::Instant::now(),
            end: Cell::new((SessionStatus::Left.code(), 0, 0)),
        }
    }

    fn end(self, session: &TcpSession) {
        let summary = session.summary();
        let status = session.status.get().code();
        self.end
            .set((status, summary.bytes_received, summary.bytes_sent));
    }
}

impl Drop for CountedSession<'_> {
    fn drop(&mut self) {
        let (status, received, sent) = self.end.get();
        let took = self.began.elapsed();
        self.metrics
            .ended(self.worker, status, took, (received, sent));
    }
}

/// Ends the client's TLS here; none where it is not to be served, which the error log tells.
async fn secured(
    tls: &Arc<ServerTls>,
    mut client: Client,
    stream: Stream,
    counted: &WorkerCells,
) -> Option<(Client, Stream)> {
    let (stream, facts) = accept_tls(tls, &client, stream, counted).await?;
    let refusal = match facts.as_ref().map(|facts| facts.verdict(tls)) {
        Some(ClientVerdict::NoneNeeded | ClientVerdict::Valid) => {
            client.tls = facts.map(Box::new);
            return Some((client, stream));
        }
        Some(ClientVerdict::Missing) => "client sent no required SSL certificate".to_owned(),
        Some(ClientVerdict::Invalid(reason)) => {
            format!("client SSL certificate verify error: ({reason})")
        }
        None => "client does not speak TLS".to_owned(),
    };
    tracing::info!("{refusal} while SSL handshaking{}", client.context());
    let (_, mut writer) = stream.split();
    writer.part();
    None
}

/// Finds out where a connection goes, and takes it there.
async fn carry(
    worker: &Rc<Worker>,
    guard: &ConnectionGuard,
    config: &model::StreamConfig,
    worker_config: &Rc<WorkerConfig>,
    client: Client,
    stream: Stream,
    due: Instant,
) -> Rc<TcpSession> {
    let mut session = TcpSession::new(worker.clone(), worker_config.clone(), client);
    let (mut reader, mut writer) = stream.split();
    let (mut first, mut upstream) = (Vec::new(), config.upstream);
    if let Some(tls) = &session.client.tls {
        upstream = preread::upstream(config, tls.server_name.as_deref());
    } else if !config.sni.is_empty() {
        let name = guard.unless_evicted(preread::server_name(&mut reader, &mut first, due));
        match name.await.unwrap_or(Err(preread::PrereadEnd::Evicted)) {
            Ok(name) => {
                upstream = preread::upstream(config, name.as_deref());
                session.server_name = name;
            }
            Err(end) => {
                session.info(&end);
                session.status.set(end.status());
                return Rc::new(session);
            }
        }
    }
    session.upstream.set(Some(upstream));
    let session = Rc::new(session);
    let _end = SessionEnd::of(&session);
    let upstream = &worker_config.upstreams[upstream];
    let half_close_timeout = upstream.shared.config.half_close_timeout;
    // A client that has spoken before it ended its direction waits for an answer.
    let watched = first.is_empty().then_some(&reader);
    let mut watch = ClientWatch::new(watched, half_close_timeout);
    let asking = hooks::ask(&session, worker_config, &config.hooks, &mut watch);
    let asked = guard.unless_evicted(asking);
    if let Err(status) = asked.await.unwrap_or(Err(SessionStatus::Left)) {
        session.status.set(status);
        return session;
    }
    guard.is_busy();
    // The state of connecting is large, and gone once a connection stands.
    let dialing = Box::pin(dial::connect(&session, upstream, watch));
    let (lease, endpoint) = match dialing.await {
        Ok(reached) => reached,
        Err(status) => {
            session.status.set(status);
            return session;
        }
    };
    let timings = Timings {
        connect: lease.picked_at.elapsed(),
        ..Timings::default()
    };
    session.attempt(|attempt| attempt.connect = Some(timings.connect));
    lease.established();
    let Dialed {
        stream,
        descriptor: _held,
    } = endpoint;
    let (mut from_endpoint, mut to_endpoint) = stream.split();
    let (mut up, mut down) = (CopyHalf::new(first), CopyHalf::new(Vec::new()));
    let ended = copy_both(
        CopyEnds {
            half: &mut up,
            from: &mut reader,
            to: &mut to_endpoint,
        },
        CopyEnds {
            half: &mut down,
            from: &mut from_endpoint,
            to: &mut writer,
        },
        CopyTimeouts {
            idle: config.idle_timeout,
            half_closed: half_close_timeout,
        },
        &worker.buffers,
        || lease.end(Ending::Completed, 0, timings, &worker.clock),
    )
    .await;
    session.ended_with(up.moved, down.moved);
    lease.carried(up.moved, down.moved);
    session.status.set(SessionStatus::Carried);
    let ending = match &ended {
        Ok(()) => Ending::Completed,
        Err(error) if error.is_silence() => Ending::Completed,
        Err(_) => Ending::Abandoned,
    };
    if let Err(error) = ended {
        session.info(&format_args!("session closed: {error}"));
    }
    lease.end(ending, 0, timings, &worker.clock);
    session
}
