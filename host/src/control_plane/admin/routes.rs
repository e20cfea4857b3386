//! Which path does what.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Json, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::audit::Loaded;
use super::guard::{Guard, guard};
use super::{Admin, Demand, certificates, dashboard, view};
use crate::admin_api::{
    EventList, ExplainRequest, Explanation, PluginStatus, Reloaded, RequestRefused, SIGNATURE,
    ServerPatch, Spread, SpreadRequest, Upgraded, UpstreamStatus,
};
use crate::config::model::{Address, Manner, Percent, Rails, TrialTerms};
use crate::config::problem::suggestion;
use crate::control_plane::explain::{NotExplained, explain_running, spread};
use crate::control_plane::loading::LoadError;
use crate::control_plane::metrics;
use crate::control_plane::operator::{Change, ChangeRefused, ChangeResult, Changed, Published};
use crate::control_plane::preparing::Uploaded;
use crate::control_plane::resolve;
use crate::control_plane::servers::ServerChange;
use crate::metrics::Format;

/// The API at an address.
pub(super) fn router(admin: Admin, address: Address) -> Router {
    Router::new()
        .route(
            "/status",
            get(async |State(admin): State<Admin>| Json(view::status(&admin))),
        )
        .route("/", get(dashboard::home))
        .route("/dashboard", get(async || dashboard::page()))
        .route("/dashboard/{file}", get(dashboard::file))
        .route("/metrics", get(metrics))
        .route(
            "/events",
            get(async |State(admin): State<Admin>| {
                let events = admin.events.list();
                Json(EventList { events })
            }),
        )
        .route("/reload", post(reload))
        .route(
            "/drain",
            post(async |State(admin): State<Admin>| drain(&admin)),
        )
        .route(
            "/stop",
            post(async |State(admin): State<Admin>| demand(&admin, Demand::Stop)),
        )
        .route("/upgrade", post(upgrade))
        .route(
            "/plugins",
            get(async |State(admin): State<Admin>| Json(view::plugins(&admin.published.load()))),
        )
        .route("/plugins/{name}", get(plugin))
        .route("/plugins/{name}/load", post(load))
        .route("/plugins/{name}/rollback", post(roll_back))
        .route("/plugins/{name}/shadow", post(shadow))
        .route("/plugins/{name}/canary", post(canary))
        .route("/plugins/{name}/promote", post(promote))
        .route("/plugins/{name}/withdraw", post(withdraw))
        .route("/explain", post(explain))
        .route(
            "/upstreams",
            get(async |State(admin): State<Admin>| Json(view::upstreams(&admin))),
        )
        .route("/certificates", get(certificates::list))
        .route("/certificates/{name}/renew", post(certificates::renew))
        .route("/upstreams/{name}", get(upstream))
        .route("/upstreams/{name}/explain", post(explain_upstream))
        .route("/upstreams/{name}/servers", post(add))
        .route(
            "/upstreams/{name}/servers/{server}",
            patch(alter).delete(remove),
        )
        .fallback(async || ApiError::no_such_path())
        .method_not_allowed_fallback(async || {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not with this method: see docs/admin.md",
            )
        })
        .layer(from_fn_with_state(
            Guard {
                admin: admin.clone(),
                address,
                refusals: Arc::default(),
            },
            guard,
        ))
        .with_state(admin)
}

/// Whether a path takes a body of any size: its route reads it, as far as it may.
pub(super) fn is_upload(path: &str) -> bool {
    let is_one = |upload| path.ends_with(upload);
    path.starts_with("/plugins/") && ["/load", "/shadow", "/canary"].iter().any(is_one)
}

/// An answer that says no.
pub(super) struct ApiError {
    status: StatusCode,
    body: RequestRefused,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> ApiError {
        let body = RequestRefused {
            error: error.into(),
            problems: Vec::new(),
        };
        ApiError { status, body }
    }

    pub(super) fn no_such_path() -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "no such path: see docs/admin.md")
    }

    /// `known`: what there is to choose from.
    pub(super) fn unknown<'a>(
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> ApiError {
        let known = suggestion(name, known, &format!("its {what}s are"));
        ApiError::new(
            StatusCode::NOT_FOUND,
            format!("the configuration has no {what} `{name}`; {known}"),
        )
    }
}

impl From<ChangeRefused> for ApiError {
    fn from(refused: ChangeRefused) -> ApiError {
        let status = match &refused {
            ChangeRefused::Unknown(_) => StatusCode::NOT_FOUND,
            ChangeRefused::Conflict(_) | ChangeRefused::Overtaken => StatusCode::CONFLICT,
            ChangeRefused::Problems { .. } | ChangeRefused::Failed(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        let mut error = ApiError::new(status, refused.to_string());
        if let ChangeRefused::Problems { problems, .. } = &refused {
            error.body.problems = problems.iter().map(ToString::to_string).collect();
        }
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// Has the operator change something, and waits for the outcome.
async fn ask(admin: &Admin, change: Change) -> Result<Changed, ApiError> {
    let (asker, outcome) = oneshot::channel();
    // Where nobody receives it, the process ends.
    let _ = admin.changes.send((change, Some(asker)));
    answer(outcome).await
}

/// Has certificates served that were written a moment ago.
pub(super) async fn serve_certificates(admin: &Admin) -> Result<(), ApiError> {
    ask(admin, Change::TlsFilesChanged).await.map(drop)
}

/// Waits for the outcome of what was asked for.
async fn answer(outcome: oneshot::Receiver<ChangeResult>) -> Result<Changed, ApiError> {
    let ending = |_| ApiError::from(ChangeRefused::ending());
    Ok(outcome.await.map_err(ending)??)
}

/// Leave to wait for name servers, sources and compilers.
pub(super) fn wait(admin: &Admin) -> Result<OwnedSemaphorePermit, ApiError> {
    admin.waits.clone().try_acquire_owned().map_err(|_| {
        let message = "too many reloads, additions and loads of plugins wait for others: ask again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })
}

/// What is counted, in the text that the scraper takes.
async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Result<Response, ApiError> {
    let accept = headers.get(header::ACCEPT);
    let format = Format::accepted(accept.map(HeaderValue::as_bytes).unwrap_or_default());
    let text = metrics::text(&admin, format)
        .await
        .map_err(|late| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, late.to_string()))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

/// What would become of a request.
async fn explain(
    State(admin): State<Admin>,
    JsonBody(request): JsonBody<ExplainRequest>,
) -> Result<Json<Explanation>, ApiError> {
    let explained = explain_running(&admin, request).await;
    let refused =
        |error: NotExplained| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
    explained.map(Json).map_err(refused)
}

/// Where the traffic of an upstream goes, and why.
async fn explain_upstream(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<SpreadRequest>,
) -> Result<Json<Spread>, ApiError> {
    let _leave = admin.explains.clone().try_acquire_owned().map_err(|_| {
        let message = "too much is explained at once: ask again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    let spread = spread(&admin, &name, &request).await;
    spread
        .map(Json)
        .ok_or_else(|| unknown_upstream(&admin, &name))
}

async fn reload(State(admin): State<Admin>) -> Result<Json<Reloaded>, ApiError> {
    let _leave = wait(&admin)?;
    let (asker, outcome) = oneshot::channel();
    admin.preparations.reload(Some(asker));
    let Changed {
        generation,
        warnings,
    } = answer(outcome).await?;
    Ok(Json(Reloaded {
        generation,
        warnings,
    }))
}

fn demand(admin: &Admin, demand: Demand) -> (StatusCode, Json<Value>) {
    // The receiver is gone only if the process ends anyway.
    let _ = admin.demands.send(demand);
    (StatusCode::ACCEPTED, Json(json!({})))
}

/// With how long it goes on accepting, where it does.
fn drain(admin: &Admin) -> (StatusCode, Json<Value>) {
    // Who asks once more does not want to wait, and while another process starts none begins.
    let delay = match admin.workers.is_draining() || admin.workers.is_upgrading() {
        true => Duration::ZERO,
        false => admin.published.load().snapshot.config.server.shutdown_delay,
    };
    let (status, nothing) = demand(admin, Demand::Drain);
    match delay.is_zero() {
        true => (status, nothing),
        false => (
            status,
            Json(json!({ "delay_ms": view::milliseconds(delay) })),
        ),
    }
}

async fn upgrade(State(admin): State<Admin>) -> Result<Json<Upgraded>, ApiError> {
    let (asker, outcome) = oneshot::channel();
    let _: (StatusCode, _) = demand(&admin, Demand::Upgrade(asker));
    let failed = |error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error);
    match outcome.await {
        Ok(Ok(pid)) => Ok(Json(Upgraded { pid })),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(failed("the process is about to end".to_owned())),
    }
}

async fn plugin(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<PluginStatus>, ApiError> {
    let published = admin.published.load();
    let plugin = view::plugin(&published, &name);
    plugin
        .map(Json)
        .ok_or_else(|| unknown_plugin(&published, &name))
}

async fn load(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    headers: HeaderMap,
    component: Body,
) -> Result<LoadedPlugin, ApiError> {
    let component = uploaded(&admin, &name, &headers, component).await?;
    load_to(admin, name, component, None).await
}

/// What was loaded, for the audit, and how its plugin does.
type LoadedPlugin = (Extension<Loaded>, Json<PluginStatus>);

/// Has a component loaded, to be tried on these terms, or else to serve.
async fn load_to(
    admin: Admin,
    name: String,
    component: Uploaded,
    tried: Option<TrialTerms>,
) -> Result<LoadedPlugin, ApiError> {
    let leave = wait(&admin)?;
    let (asker, outcome) = oneshot::channel();
    let preparations = &admin.preparations;
    preparations.load(name.clone(), component, tried, asker, leave);
    answer(outcome).await?;
    let Json(status) = plugin(State(admin), Named(name)).await?;
    let trial = status.trial.as_ref();
    let hash = trial.map_or(&status.hash, |trial| &trial.hash);
    Ok((Extension(Loaded(hash.clone())), Json(status)))
}

async fn shadow(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    headers: HeaderMap,
    component: Body,
) -> Result<LoadedPlugin, ApiError> {
    let terms = TrialTerms {
        manner: Manner::Shadow,
        rails: Rails::default(),
    };
    let component = uploaded(&admin, &name, &headers, component).await?;
    load_to(admin, name, component, Some(terms)).await
}

async fn canary(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    uri: Uri,
    headers: HeaderMap,
    component: Body,
) -> Result<LoadedPlugin, ApiError> {
    let terms = canary_terms(uri.query().unwrap_or_default());
    let terms = terms.map_err(|error| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error))?;
    let component = uploaded(&admin, &name, &headers, component).await?;
    load_to(admin, name, component, Some(terms)).await
}

/// The terms of a canary, as a query says them: `share=5%25&errors=off`.
fn canary_terms(query: &str) -> Result<TrialTerms, String> {
    let mut share = None;
    let mut rails = Rails::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace("%25", "%");
        match key {
            "share" => share = Some(Percent::of_canary(&value)?),
            "after" => {
                let after = value.parse().ok().filter(|after| *after > 0);
                rails.after = after
                    .ok_or_else(|| format!("`after` is a number of exchanges, not `{value}`"))?;
            }
            rail => rails.set(rail, &value)?,
        }
    }
    Ok(TrialTerms {
        manner: Manner::Canary(share.ok_or("`share` is missing: say `share=5%25`")?),
        rails,
    })
}

async fn promote(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<PluginStatus>, ApiError> {
    ask(&admin, Change::Promote { name: name.clone() }).await?;
    plugin(State(admin), Named(name)).await
}

async fn withdraw(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<PluginStatus>, ApiError> {
    ask(&admin, Change::Withdraw { name: name.clone() }).await?;
    plugin(State(admin), Named(name)).await
}

/// A component, and the signature that came with it.
async fn uploaded(
    admin: &Admin,
    name: &str,
    headers: &HeaderMap,
    component: Body,
) -> Result<Uploaded, ApiError> {
    let signature = headers.get(SIGNATURE).map(|text| {
        let text = BASE64_STANDARD.decode(text).ok();
        let text = text.and_then(|text| String::from_utf8(text).ok());
        text.map(Into::into).ok_or_else(|| {
            let message = format!("`{SIGNATURE}` is not the text of a `.minisig` in base64");
            ApiError::new(StatusCode::BAD_REQUEST, message)
        })
    });
    let signature = signature.transpose()?;
    let most = component_size(admin, name)?;
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "a version of `{name}` has {most} bytes at most: raise its `limits.file_size` and reload"
            ),
        )
    };
    // What says how large it is need not be read for that.
    if component.size_hint().lower() > most {
        return Err(too_large());
    }
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    match axum::body::to_bytes(component, limit).await {
        Ok(component) => Ok(Uploaded {
            bytes: component.as_ref().into(),
            signature,
        }),
        Err(error) if is_length_limit(&error) => Err(too_large()),
        Err(error) => {
            let message = format!("the component broke off: {error}");
            Err(ApiError::new(StatusCode::BAD_REQUEST, message))
        }
    }
}

fn unknown_plugin(published: &Published, name: &str) -> ApiError {
    let (registry, waiting) = (&published.registry, published.registry.waiting());
    let served = registry.entries().map(|(name, _)| name);
    ApiError::unknown("plugin", name, served.chain(waiting.map(|(name, _)| name)))
}

/// Bytes that a version of a plugin may have.
fn component_size(admin: &Admin, name: &str) -> Result<u64, ApiError> {
    let published = admin.published.load();
    match published.registry.entry_to_load(name) {
        Ok(config) => Ok(config.compile.file_size),
        Err(LoadError::Unknown) => Err(unknown_plugin(&published, name)),
        Err(error) => {
            let message = format!("`{name}` cannot be loaded: {error}");
            Err(ApiError::new(StatusCode::CONFLICT, message))
        }
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

async fn roll_back(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<PluginStatus>, ApiError> {
    ask(&admin, Change::RollBack { name: name.clone() }).await?;
    plugin(State(admin), Named(name)).await
}

async fn upstream(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<UpstreamStatus>, ApiError> {
    let upstream = view::upstream(&admin, &name);
    upstream
        .map(Json)
        .ok_or_else(|| unknown_upstream(&admin, &name))
}

fn unknown_upstream(admin: &Admin, name: &str) -> ApiError {
    let published = admin.published.load();
    let known = published.snapshot.upstreams.iter();
    let known = known.map(|upstream| &*upstream.config.name);
    ApiError::unknown("upstream", name, known)
}

async fn change(
    admin: Admin,
    name: String,
    change: ServerChange,
) -> Result<Json<UpstreamStatus>, ApiError> {
    let change = Change::Servers {
        upstream: name.clone(),
        change,
    };
    let Changed { warnings, .. } = ask(&admin, change).await?;
    let Json(status) = upstream(State(admin), Named(name)).await?;
    Ok(Json(UpstreamStatus { warnings, ..status }))
}

async fn add(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    JsonBody(server): JsonBody<Map<String, Value>>,
) -> Result<Json<UpstreamStatus>, ApiError> {
    let config = admin.published.load().snapshot.config.clone();
    let to_learn = resolve::name_to_add(&config, &name, &server);
    let leave = to_learn.as_ref().map(|_| wait(&admin)).transpose()?;
    let learned = tokio::select! {
        learned = admin.names.learn(to_learn.into_iter().collect()) => learned,
        () = admin.workers.ending() => return Err(ChangeRefused::ending().into()),
    };
    let addition = ServerChange::Add {
        keys: server,
        learned,
    };
    drop(leave);
    change(admin, name, addition).await
}

async fn alter(
    State(admin): State<Admin>,
    Named((name, server)): Named<(String, String)>,
    JsonBody(ServerPatch { weight, down }): JsonBody<ServerPatch>,
) -> Result<Json<UpstreamStatus>, ApiError> {
    if (weight, down) == (None, None) {
        let message = "nothing to change: give `weight`, or `down`, or both";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    let alteration = ServerChange::Alter {
        server,
        weight,
        down,
    };
    change(admin, name, alteration).await
}

async fn remove(
    State(admin): State<Admin>,
    Named((name, server)): Named<(String, String)>,
) -> Result<Json<UpstreamStatus>, ApiError> {
    change(admin, name, ServerChange::Remove { server }).await
}

/// A JSON body; what is wrong with one is said as everything else is.
struct JsonBody<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> axum::extract::FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(JsonBody(body)),
            Err(rejection) => {
                let text = rejection.body_text();
                // Of a body that is JSON, what is wrong with its members, and which there are.
                let said = text.split_once("into the target type: ");
                let said = said.map_or(&*text, |(_, said)| said);
                Err(ApiError::new(rejection.status(), said))
            }
        }
    }
}

/// What a path names; what is wrong with one is said as everything else is.
pub(super) struct Named<T>(pub(super) T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> axum::extract::FromRequestParts<S>
    for Named<T>
{
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Named(names)),
            Err(rejection) => Err(ApiError::new(rejection.status(), rejection.body_text())),
        }
    }
}
