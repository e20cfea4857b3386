//! Tells what would become of a request, by going its way: the same steps, in a worker of its own
//! whose hooks and upstreams nobody else uses. Nothing is sent, and nothing is written that lasts.

mod told; // what is told
mod witness; // what plugins ask
mod routes; // why it is that route
mod looking_on; // while hooks are asked
mod proxied; // which server it would go to

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UnixStream;

use self::looking_on::LookingOn;
use super::admit::{self, Admission, Admitted};
use super::conditions::shown;
use super::fault::Fault;
use super::finish::Finish;
use super::named::named;
use super::proxy::outgoing_target;
use super::settle::{Settled, Way, settle};
use super::state::Exchange;
use super::{error_page, local, redirect};
use crate::access_log::LogBuffers;
use crate::config::model::{Action, CLOSE, Found, Proxy, ProxyUpstream, Return};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::{Client, ClientConnection, LocalEnd, Session};
use crate::data_plane::drain::ShutdownSlot;
use crate::data_plane::process::{Clock, ConnectionBounds, Process};
use crate::data_plane::scrapes::Scrapes;
use crate::data_plane::stream::Stream;
use crate::data_plane::wanted::WantedUpstreams;
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::{Snapshot, WorkerConfig};
use crate::http::framing::Framing;
use crate::http::head::{BadHead, RequestHead};
use crate::plugin::WorkerHook;

pub(crate) use proxied::Proxied;
pub(crate) use told::{Choice, Fact, HookStep, Outcome, RouteStep, RouteTold, Step};

/// A connection that is made up.
pub(crate) struct Visit {
    /// Without upstreams, hooks and logs: those are had elsewhere, or not at all.
    pub(crate) snapshot: Arc<Snapshot>,
    /// That of the process whose endpoints are looked at.
    pub(crate) clock: Clock,
    /// Index of the listener.
    pub(crate) listener: usize,
    /// None by a unix socket.
    pub(crate) client: Option<SocketAddr>,
    pub(crate) local: SocketAddr,
    /// The client speaks TLS, where the listener does.
    pub(crate) is_tls: bool,
    /// What the client asks for in its handshake.
    pub(crate) server_name: Option<String>,
}

/// How a hook of that index is asked; or why it is not.
pub(crate) type HookOf<'a> = &'a dyn Fn(usize) -> Result<Rc<WorkerHook>, String>;

/// What is told of the way up to an upstream.
pub(crate) struct Explained {
    /// The client's address, as trusted proxies report it.
    pub(crate) client: String,
    pub(crate) host: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) outcome: Outcome,
    pub(crate) notes: Vec<String>,
    /// It goes to an upstream.
    pub(crate) proxied: Option<Proxied>,
}

/// Tells what would become of a request, up to its upstream if it goes to one.
///
/// # Errors
/// There are no descriptors, or no listener of that index.
pub(crate) async fn explain(visit: Visit, head: &[u8], hooks: HookOf<'_>) -> io::Result<Explained> {
    let clock = visit.clock;
    let mut connection = Connection::made_up(visit).await?;
    let mut session = connection.client.next_request(Instant::now());
    let mut request = RequestHead::default();
    let limits = session.limits();
    let parsed = match head.len() > limits.client_header_size {
        true => Err(Fault::HeaderTooLarge),
        false => request.parse(head, limits.max_headers).map_err(of_head),
    };
    let worker_config = session.worker_config.clone();
    let mut exchange = Exchange::new(&session, request, Instant::now());
    let admission = parsed.and_then(|()| admit::examine(&mut exchange, &session));
    let (client, host) = (
        exchange.remote_address().to_owned(),
        exchange.host.to_string(),
    );
    let mut finish = Finish::new(&session, exchange.into());
    let looking_on = LookingOn::new(&worker_config, session.listener, hooks);
    let gone = match admission {
        Ok(Admission::Route(framing)) => {
            go_on(
                &mut session,
                &worker_config,
                &mut finish,
                framing,
                &looking_on,
            )
            .await
        }
        Ok(Admission::Redirect { port }) => {
            let exchange = finish.exchange();
            Ok(redirected(exchange, &redirect::to_https(exchange, port)))
        }
        Ok(Admission::Challenge(_)) => {
            let detail = "an authority validates a domain by it".to_owned();
            Ok(Gone::Ends(Outcome::of("acme", Some(200), Some(detail))))
        }
        Err(fault) => Err(fault),
    };
    let (steps, mut notes) = looking_on.finish();
    let (outcome, proxied) = match gone {
        Ok(Gone::Ends(outcome)) => (outcome, None),
        Ok(Gone::To(upstream, route, target)) => {
            let outcome = Outcome::of("proxy", None, None);
            (outcome, Some((upstream, route, target)))
        }
        Err(fault) => {
            let page =
                error_page::route(finish.exchange(), &session, &worker_config, fault.status());
            if let Some((route, _)) = page {
                let path = worker_config.snapshot.config.routes[route].name.clone();
                let name = path.unwrap_or_default();
                notes.push(format!(
                    "route `{name}` answers in place of that error (`error_pages`)"
                ));
            }
            (failed(fault), None)
        }
    };
    let proxied = proxied.map(|(upstream, route, target)| Proxied {
        upstream,
        route,
        target,
        clock,
        finish,
    });
    Ok(Explained {
        client,
        host,
        steps,
        outcome,
        notes,
        proxied,
    })
}

fn of_head(bad: BadHead) -> Fault {
    Fault::BadHead(bad)
}

fn failed(fault: Fault) -> Outcome {
    let status = fault.status();
    let detail = fault.to_string();
    match fault.into_answer() {
        Ok(answer) => Outcome::of("hook", Some(answer.status), None),
        Err(_) => Outcome::of("error", Some(status), Some(detail)),
    }
}

/// A client's connection whose other end nobody reads.
struct Connection {
    client: ClientConnection,
    _slot: ShutdownSlot,
    _other_end: UnixStream,
}

impl Connection {
    async fn made_up(visit: Visit) -> io::Result<Connection> {
        let bounds = ConnectionBounds {
            clients: 1,
            descriptors: 1,
        };
        let hostname = rustix::system::uname();
        let hostname = hostname.nodename().to_string_lossy().into_owned().into();
        let asked = (WantedUpstreams::new().0, Scrapes::new().0);
        let mut process = Process::new(bounds, 1, hostname, asked);
        process.clock = visit.clock;
        let (ours, theirs) = UnixStream::pair()?;
        let tls = visit.snapshot.tls.get(visit.listener).cloned().flatten();
        let listener = visit.snapshot.listeners.get(visit.listener).copied();
        let logs = LogBuffers::of_none();
        let worker = Worker::new(0, visit.snapshot, Arc::new(process), logs).await;
        let worker = Rc::new(worker);
        let worker_config = worker.worker_config();
        let slot = listener.and_then(|listener| worker.drain.open(listener, &worker_config));
        let slot = slot.ok_or(io::ErrorKind::NotFound)?;
        let mut client = match visit.client {
            Some(client) => Client::tcp(client, LocalEnd::new(visit.local), 1),
            None => Client::unix(1),
        };
        if let Some(tls) = tls.as_ref().filter(|_| visit.is_tls) {
            client = client.over_tls(tls, visit.server_name.as_deref());
        }
        let state = slot.listener().clone();
        let halves = Stream::unix(ours).split();
        Ok(Connection {
            client: ClientConnection::new(worker, state, Rc::new(client), halves),
            _slot: slot,
            _other_end: theirs,
        })
    }
}

/// Where a request has gone.
enum Gone {
    Ends(Outcome),
    /// To an upstream, by a route, and what is asked of it.
    To(usize, usize, Vec<u8>),
}

async fn go_on(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    framing: Framing,
    looking_on: &LookingOn<'_>,
) -> Result<Gone, Fault> {
    let mut body = BodyPipe::of_request(framing);
    looking_on.note_body(framing);
    let mut way = Way::of(session, worker_config);
    let to_settle = (framing, &mut body);
    let settled = settle(
        session,
        worker_config,
        finish,
        to_settle,
        &mut way,
        looking_on,
    );
    let exchange;
    let admitted = match settled.await? {
        Settled::Answer(answer) => {
            return Ok(Gone::Ends(Outcome::of("hook", Some(answer.status), None)));
        }
        Settled::Route(admitted) => {
            exchange = finish.exchange();
            admitted
        }
    };
    if admitted.lacks_slash {
        return Ok(redirected(exchange, &redirect::with_slash(exchange)));
    }
    let route = &worker_config.snapshot.config.routes[admitted.route];
    let says = |action: &str, detail: Option<String>| Gone::Ends(Outcome::of(action, None, detail));
    Ok(match &route.action {
        Action::Proxy(proxy) => return proxied(worker_config, exchange, proxy, &admitted),
        Action::Return(answer) => Gone::Ends(returned(exchange, answer)),
        Action::StubStatus => says("stub_status", None),
        Action::Metrics => says("metrics", None),
        Action::Probe(probe) => says("probe", Some(probe.name().to_owned())),
        Action::Files(site) => {
            let below = site.root.display();
            says(
                "files",
                Some(format!(
                    "below {below}: whether a file is there was not looked"
                )),
            )
        }
        Action::Component(index) => {
            let component = &worker_config.snapshot.config.components[*index];
            let detail = format!("plugin `{}`, which was not asked", component.plugin);
            says("component", Some(detail))
        }
    })
}

fn redirected(exchange: &Exchange, location: &[u8]) -> Gone {
    let status = local::redirect_status(exchange);
    Gone::Ends(Outcome::redirect(status, location))
}

fn returned(exchange: &Rc<Exchange>, answer: &Return) -> Outcome {
    exchange.stats.status.set(answer.status);
    if answer.status == CLOSE {
        let detail = "the connection is closed without an answer";
        return Outcome::of("return", Some(CLOSE), Some(detail.to_owned()));
    }
    let body = answer.body.as_ref();
    let body = body.map(|body| shown(&body.rendered(&**exchange)));
    let location = answer.location.as_ref();
    Outcome {
        location: location.map(|location| shown(&location.rendered(&**exchange))),
        ..Outcome::of("return", Some(answer.status), body)
    }
}

fn proxied(
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    proxy: &Proxy,
    admitted: &Admitted,
) -> Result<Gone, Fault> {
    let upstream = match (exchange.hooked.upstream(), &proxy.upstream) {
        (Some(index), _) => index,
        (None, ProxyUpstream::Fixed(index)) => *index,
        (None, ProxyUpstream::Dynamic(dynamic)) => match named(exchange, dynamic)? {
            Found::Upstream(index) => index,
            Found::Dynamic { name, .. } => {
                let upstream = dynamic.upstream_name(&name);
                match worker_config.snapshot.upstream_index(&upstream) {
                    Some(index) => index,
                    None => {
                        let host = shown(name.host.to_string().as_bytes());
                        let detail = format!(
                            "to `{host}`, which the request names: its addresses would be asked for first"
                        );
                        return Ok(Gone::Ends(Outcome::of("proxy", None, Some(detail))));
                    }
                }
            }
        },
    };
    let mut rewritten = Vec::new();
    let target = outgoing_target(exchange, proxy, admitted, &mut rewritten)?.to_vec();
    Ok(Gone::To(upstream, admitted.route, target))
}
