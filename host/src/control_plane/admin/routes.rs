//! Which path does what.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Json, Path, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::guard::guard;
use super::view::{Plugin, Plugins, Status, UpstreamView, Upstreams};
use super::{Admin, Demand};
use crate::config::model::Address;
use crate::control_plane::operator::{Change, ChangeRefused, Changed};
use crate::control_plane::servers::ServerChange;

/// Bytes of a component that may be sent; the plugin's own `limits.file_size` is lower, as a rule.
const COMPONENT: usize = 1 << 30;

/// The API at an address.
pub(super) fn router(admin: Admin, address: Address) -> Router {
    let load = post(load).layer(DefaultBodyLimit::max(COMPONENT));
    Router::new()
        .route(
            "/status",
            get(async |State(admin): State<Admin>| Json(Status::of(&admin))),
        )
        .route("/reload", post(reload))
        .route(
            "/drain",
            post(async |State(admin): State<Admin>| demand(&admin, Demand::Drain)),
        )
        .route(
            "/stop",
            post(async |State(admin): State<Admin>| demand(&admin, Demand::Stop)),
        )
        .route("/upgrade", post(upgrade))
        .route(
            "/plugins",
            get(async |State(admin): State<Admin>| Json(Plugins::of(&admin.published.load()))),
        )
        .route("/plugins/{name}", get(plugin))
        .route("/plugins/{name}/load", load)
        .route("/plugins/{name}/rollback", post(roll_back))
        .route(
            "/upstreams",
            get(async |State(admin): State<Admin>| Json(Upstreams::of(&admin.published.load()))),
        )
        .route("/upstreams/{name}", get(upstream))
        .route("/upstreams/{name}/servers", post(add))
        .route(
            "/upstreams/{name}/servers/{server}",
            patch(alter).delete(remove),
        )
        .fallback(async || Refused::new(StatusCode::NOT_FOUND, "no such path: see docs/admin.md"))
        .method_not_allowed_fallback(async || {
            Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not with this method: see docs/admin.md",
            )
        })
        .layer(from_fn_with_state(address, guard))
        .with_state(admin)
}

/// An answer that says no.
pub(super) struct Refused {
    status: StatusCode,
    error: String,
    problems: Vec<String>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Refused {
        Refused {
            status,
            error: error.into(),
            problems: Vec::new(),
        }
    }

    fn unknown(what: &str, name: &str) -> Refused {
        Refused::new(
            StatusCode::NOT_FOUND,
            format!("the configuration has no {what} `{name}`"),
        )
    }
}

impl From<ChangeRefused> for Refused {
    fn from(refusal: ChangeRefused) -> Refused {
        let status = match &refusal {
            ChangeRefused::Unknown(_) => StatusCode::NOT_FOUND,
            ChangeRefused::Conflict(_) => StatusCode::CONFLICT,
            ChangeRefused::Problems { .. } | ChangeRefused::Failed(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        let mut refused = Refused::new(status, refusal.to_string());
        if let ChangeRefused::Problems { problems, .. } = &refusal {
            refused.problems = problems.iter().map(ToString::to_string).collect();
        }
        refused
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.error });
        if !self.problems.is_empty() {
            body["problems"] = json!(self.problems);
        }
        (self.status, Json(body)).into_response()
    }
}

/// Has the operator change something, and waits for the outcome.
async fn ask(admin: &Admin, change: Change) -> Result<Changed, Refused> {
    let ending = || {
        Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the process is about to end",
        )
    };
    let (asker, outcome) = oneshot::channel();
    admin
        .wishes
        .send((change, Some(asker)))
        .map_err(|_| ending())?;
    Ok(outcome.await.map_err(|_| ending())??)
}

async fn reload(State(admin): State<Admin>) -> Result<Json<Value>, Refused> {
    let Changed {
        generation,
        warnings,
    } = ask(&admin, Change::Reload).await?;
    Ok(Json(
        json!({ "generation": generation, "warnings": warnings }),
    ))
}

fn demand(admin: &Admin, demand: Demand) -> (StatusCode, Json<Value>) {
    // Nobody hears it only if the process ends anyway.
    let _ = admin.demands.send(demand);
    (StatusCode::ACCEPTED, Json(json!({})))
}

async fn upgrade(State(admin): State<Admin>) -> Result<Json<Value>, Refused> {
    let (asker, outcome) = oneshot::channel();
    let _: (StatusCode, _) = demand(&admin, Demand::Upgrade(asker));
    let failed = |error| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, error);
    match outcome.await {
        Ok(Ok(pid)) => Ok(Json(json!({ "pid": pid }))),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(failed("the process is about to end".to_owned())),
    }
}

async fn plugin(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<Plugin>, Refused> {
    let plugin = Plugin::named(&admin.published.load(), &name);
    plugin
        .map(Json)
        .ok_or_else(|| Refused::unknown("plugin", &name))
}

async fn load(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    component: Bytes,
) -> Result<Json<Plugin>, Refused> {
    let change = Change::Load {
        name: name.clone(),
        component: component.into(),
    };
    ask(&admin, change).await?;
    plugin(State(admin), Named(name)).await
}

async fn roll_back(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<Plugin>, Refused> {
    ask(&admin, Change::RollBack { name: name.clone() }).await?;
    plugin(State(admin), Named(name)).await
}

async fn upstream(
    State(admin): State<Admin>,
    Named(name): Named<String>,
) -> Result<Json<UpstreamView>, Refused> {
    let upstream = UpstreamView::named(&admin.published.load(), &name);
    upstream
        .map(Json)
        .ok_or_else(|| Refused::unknown("upstream", &name))
}

async fn change(
    admin: Admin,
    name: String,
    change: ServerChange,
) -> Result<Json<UpstreamView>, Refused> {
    let change = Change::Servers {
        upstream: name.clone(),
        change,
    };
    ask(&admin, change).await?;
    upstream(State(admin), Named(name)).await
}

async fn add(
    State(admin): State<Admin>,
    Named(name): Named<String>,
    Body(server): Body<Map<String, Value>>,
) -> Result<Json<UpstreamView>, Refused> {
    change(admin, name, ServerChange::Add(server)).await
}

/// `PATCH`: what is not named stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alteration {
    weight: Option<u32>,
    down: Option<bool>,
}

async fn alter(
    State(admin): State<Admin>,
    Named((name, server)): Named<(String, String)>,
    Body(Alteration { weight, down }): Body<Alteration>,
) -> Result<Json<UpstreamView>, Refused> {
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
) -> Result<Json<UpstreamView>, Refused> {
    change(admin, name, ServerChange::Remove { server }).await
}

/// A JSON body; what is wrong with one is said as everything else is.
struct Body<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> axum::extract::FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Refused> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Body(body)),
            Err(rejection) => Err(Refused::new(rejection.status(), rejection.body_text())),
        }
    }
}

/// What a path names; what is wrong with one is said as everything else is.
struct Named<T>(T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned + Send> axum::extract::FromRequestParts<S>
    for Named<T>
{
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Refused> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(Named(names)),
            Err(rejection) => Err(Refused::new(rejection.status(), rejection.body_text())),
        }
    }
}
