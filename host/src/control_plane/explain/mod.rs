//! What would become of a request, told without sending it (`waypost explain`).
//!
//! The request goes its way in a worker of its own, on a thread that may take its time: with the
//! configuration that is served or a file has, with hooks and an upstream that are made for it and
//! begin with what those that serve know. Nobody else is served by them, so nothing that serves
//! changes.

mod url; // what is asked for, and at which listener
mod file; // against a file
mod upstream; // the policy's choice
mod spread; // where traffic has gone

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use self::url::Asked;
use super::admin::{Admin, Demand};
use super::blocking::run_blocking;
use super::hooks;
use super::plugins::Selection;
use crate::admin_api::{ClientTold, ExplainRequest, Explanation, ListenerTold, Outcome};
use crate::config::model::{Address, Config, FromEnvironment};
use crate::data_plane::exchange::explained::{Explained, Visit, explain};
use crate::data_plane::process::Clock;
use crate::data_plane::upstream::PolicyStates;
use crate::data_plane::worker_config::{ListenerId, Router, Snapshot, SnapshotMetrics, Trials};
use crate::metrics::Registry;
use crate::names::Resolution;
use crate::plugin::WorkerHook;
use crate::tls::ServerTls;

pub(crate) use file::{FileNotExplained, explain_file};
pub(super) use spread::spread;
pub(crate) use url::explained_url;

/// For all of it: thousands of routes, and plugins that run on to their deadlines.
const LIMIT: Duration = Duration::from_secs(20);
/// For a worker to tell what its instances know.
const STATES: Duration = Duration::from_secs(2);

/// Why a request is not explained.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotExplained(pub(super) String);

/// What a request is explained against.
struct Ground {
    config: Config,
    /// Of the listeners; where they really are.
    addresses: Vec<String>,
    tls: Vec<Option<Arc<ServerTls>>>,
    /// By listener, if they are there already.
    routers: Option<Arc<[Router]>>,
    plugins: Selection,
    resolution: Resolution,
    clock: Clock,
    /// Of the process. Of what is made here, there is one worker.
    workers: usize,
    /// What is served, if this is about a process.
    served: Option<Arc<Snapshot>>,
    notes: Vec<String>,
}

/// How what a worker's own instances know is asked for, of the policies of an upstream.
type AskStates = Box<dyn Fn(String) -> oneshot::Receiver<PolicyStates> + Send>;

/// Explains a request against what the process serves.
///
/// # Errors
/// It makes no sense, or took too long.
pub(super) async fn explain_running(
    admin: &Admin,
    request: ExplainRequest,
) -> Result<Explanation, NotExplained> {
    let published = admin.published.load_full();
    let served = published.snapshot.clone();
    let entries = published.registry.entries();
    let on_trial = entries.filter(|(_, entry)| entry.on_trial.is_some());
    let notes = on_trial.map(|(name, _)| {
        format!(
            "a version of plugin `{name}` is on trial: clients of its share may get another answer"
        )
    });
    let mut config = served.config.clone();
    config.server.workers = 1;
    let ground = Ground {
        workers: served.config.server.workers,
        config,
        addresses: published.addresses.clone(),
        tls: served.tls.clone(),
        routers: Some(served.routers.clone()),
        plugins: published.registry.selection(),
        resolution: published.resolution.clone(),
        clock: admin.workers.clock(),
        notes: notes.collect(),
        served: Some(served),
    };
    let demands = admin.demands.clone();
    let ask_states: AskStates = Box::new(move |upstream| {
        let (answer, told) = oneshot::channel();
        // Where nobody receives it, the process ends.
        let _ = demands.send(Demand::TellStates { upstream, answer });
        told
    });
    let leave = admin.explains.clone().try_acquire_owned();
    let leave =
        leave.map_err(|_| NotExplained("too much is asked for at once: ask again".into()))?;
    let work = move || {
        let _leave = leave;
        on_this_thread(&ground, &request, Some(&ask_states))
    };
    let explained = run_blocking("explaining the request", LIMIT, work).await;
    explained.map_err(|late| NotExplained(late.to_string()))?
}

/// Explains a request. Blocks.
fn on_this_thread(
    ground: &Ground,
    request: &ExplainRequest,
    ask_states: Option<&AskStates>,
) -> Result<Explanation, NotExplained> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default());
    let runtime = runtime.map_err(|error| NotExplained(format!("no event loop: {error}")))?;
    // What goes wrong here is told to who asks, and is none of the log's business.
    let quiet = tracing::subscriber::NoSubscriber::default();
    tracing::subscriber::with_default(quiet, || {
        runtime.block_on(explained(ground, request, ask_states))
    })
}

async fn explained(
    ground: &Ground,
    request: &ExplainRequest,
    ask_states: Option<&AskStates>,
) -> Result<Explanation, NotExplained> {
    let asked = Asked::of(request).map_err(NotExplained)?;
    let listener = asked.listener(&ground.config, &ground.addresses);
    let listener = listener.map_err(NotExplained)?;
    let of_tls = ground.tls.get(listener).cloned().flatten();
    let address = ground.addresses.get(listener).cloned().unwrap_or_default();
    let server_name = asked.server_name().filter(|_| asked.is_https);
    let mut notes = ground.notes.clone();
    let mut told = ListenerTold {
        address: address.clone(),
        tls: of_tls.is_some(),
        server_name: server_name.clone().filter(|_| of_tls.is_some()),
        certificates: Vec::new(),
    };
    let mut refuses = false;
    if let Some(tls) = of_tls.as_ref().filter(|_| asked.is_https) {
        let shown = tls.shown_for(server_name.as_deref());
        told.certificates = shown.map(|file| file.display().to_string()).collect();
        refuses = !tls.serves(server_name.as_deref());
    }
    let client = match &ground.config.listeners[listener].address {
        Address::Unix(_) => asked.client,
        Address::Tcp(_) => Some(asked.client.unwrap_or((Ipv4Addr::LOCALHOST, 0).into())),
    };
    if ground.config.listeners[listener].proxy_protocol {
        notes.push(
            "the listener has the client's address from a PROXY header: `--from` stands for it"
                .to_owned(),
        );
    }
    let visit = Visit {
        snapshot: Arc::new(bare(ground)),
        clock: ground.clock,
        listener,
        client,
        local: local(&ground.config.listeners[listener].address, &address),
        is_tls: asked.is_https,
        server_name,
    };
    let hook = |index: usize| worker_hook(ground, index);
    let went = explain(visit, &asked.head, &hook).await;
    let went = went.map_err(|error| NotExplained(format!("cannot be explained: {error}")))?;
    let Explained {
        client: address,
        host,
        steps,
        mut outcome,
        notes: of_way,
        proxied,
    } = went;
    notes.extend(of_way);
    let mut explanation = Explanation {
        state: if ground.served.is_some() {
            "running"
        } else {
            "fresh"
        }
        .to_owned(),
        generation: ground.served.as_ref().map(|served| served.generation),
        method: request.method.clone(),
        url: request.url.clone(),
        listener: told,
        client: ClientTold {
            peer: client
                .map(|client| client.ip().to_string())
                .filter(|peer| *peer != address),
            address,
        },
        host,
        steps,
        outcome: Outcome::default(),
        proxy: None,
        notes,
    };
    if refuses {
        explanation.steps.clear();
        outcome = Outcome {
            action: "error".to_owned(),
            detail: Some(
                "the handshake is refused: no certificate is for that name, and `unknown_names` is `refuse`"
                    .to_owned(),
            ),
            ..Outcome::default()
        };
    } else if let Some(proxied) = proxied {
        upstream::explain(ground, &proxied, ask_states, &mut explanation).await?;
    }
    explanation.outcome = outcome;
    masked(&explanation, &ground.config.environment)
}

/// With nothing of what the configuration has from the environment, wherever that has got to: headers,
/// paths, arguments, notes of plugins.
fn masked(
    explanation: &Explanation,
    environment: &FromEnvironment,
) -> Result<Explanation, NotExplained> {
    let untold = |error| NotExplained(format!("it cannot be told: {error}"));
    let mut told = serde_json::to_value(explanation).map_err(untold)?;
    environment.mask(&mut told);
    serde_json::from_value(told).map_err(untold)
}

/// The end of a connection to a listener that is ours.
fn local(configured: &Address, address: &str) -> SocketAddr {
    let really = address.parse().ok();
    let configured = match configured {
        Address::Tcp(address) => *address,
        Address::Unix(_) => (Ipv4Addr::LOCALHOST, 0).into(),
    };
    let mut local: SocketAddr = really.unwrap_or(configured);
    if local.ip().is_unspecified() {
        local.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    local
}

/// All that a way up to an upstream needs of a configuration: no hooks, no upstreams, no logs.
fn bare(ground: &Ground) -> Snapshot {
    let config = ground.config.clone();
    let listeners = config.listeners.len() + config.streams.len();
    let routers = match &ground.routers {
        Some(routers) => routers.clone(),
        None => Router::of_listeners(&config.routes, config.listeners.len()).into(),
    };
    let by_name = match &ground.served {
        Some(served) => served.by_name.clone(),
        None => {
            let names = config.upstreams.iter().enumerate();
            let names = names.map(|(index, upstream)| (upstream.name.as_str().into(), index));
            Arc::new(names.collect())
        }
    };
    Snapshot {
        generation: ground.served.as_ref().map_or(1, |served| served.generation),
        listeners: (0..listeners as u64).map(ListenerId).collect(),
        tls: ground.tls.clone(),
        admin_tls: None,
        traces: None,
        routers,
        upstreams: Vec::new(),
        by_name,
        hooks: Vec::new(),
        components: Vec::new(),
        trials: Trials::default(),
        page_files: Arc::default(),
        listener_logs: vec![Vec::new(); config.listeners.len()],
        route_logs: config.routes.iter().map(|_| None).collect(),
        stream_logs: vec![Vec::new(); config.streams.len()],
        metrics: SnapshotMetrics::new(&config, &Arc::new(Registry::uncounted()), None),
        logs_sent_header: false,
        shows_notes: true,
        config,
    }
}

/// A hook that nobody else asks, with what the one that serves knows where all workers share that.
fn worker_hook(ground: &Ground, index: usize) -> Result<Rc<WorkerHook>, String> {
    let hook = &ground.config.hooks[index];
    let plugin = ground.plugins.get(&hook.plugin);
    let plugin = plugin.ok_or_else(|| format!("there is no plugin `{}`", hook.plugin))?;
    let own = match ground.served {
        Some(_) => plugin.apart(),
        None => plugin.clone(),
    };
    let plugins = Selection::from([(hook.plugin.clone(), own)]);
    let made = hooks::candidate(index, &ground.config, &plugins);
    let made = made.map_err(|problem| format!("it cannot be made: {}", problem.message))?;
    if made.waits() {
        return Err("it waits for other servers, or for the store: it would ask them".to_owned());
    }
    let serving = ground.served.as_ref();
    if let Some(serving) = serving.and_then(|served| served.hooks.get(index)) {
        let copied = made.copy(serving);
        copied.map_err(|error| format!("it failed to begin with what it knows: {error}"))?;
    }
    Ok(WorkerHook::attach(&Arc::new(made), None))
}
