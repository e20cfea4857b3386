//! What is told of a request that is explained: facts, in the order in which a request meets them.
//! `docs/explain.md` documents each field.

use serde::{Deserialize, Serialize};

/// Something that was asked about a request, as `$request_uri`, `header x-tenant`, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    pub(crate) name: String,
    /// None where the request has none.
    pub(crate) value: Option<String>,
}

/// A step of a request on its way to its route's action.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    Route(RouteStep),
    Hook(HookStep),
}

/// A route was looked for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RouteStep {
    /// None where there is none.
    pub(crate) taken: Option<RouteTold>,
    /// Why it is that one, or why there is none.
    pub(crate) why: String,
    /// Those that one might have expected in its place, the likeliest first.
    pub(crate) passed: Vec<PassedRoute>,
    /// Further routes of the listener.
    pub(crate) others: usize,
}

/// A route as the configuration has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RouteTold {
    pub(crate) name: Option<String>,
    pub(crate) host: String,
    pub(crate) path: String,
    /// `waypost.toml:12`
    pub(crate) place: String,
}

/// A route that was not taken.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PassedRoute {
    pub(crate) route: RouteTold,
    pub(crate) why: String,
}

/// A hook had its turn.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct HookStep {
    pub(crate) name: String,
    pub(crate) plugin: String,
    /// `listener` or `route`.
    pub(crate) of: String,
    /// `proceed`, `answer`, `reroute` or `failed`; `not asked`.
    pub(crate) verdict: String,
    /// What it answers with, why it failed or was not asked.
    pub(crate) detail: Option<String>,
    /// What it changes, each in words.
    pub(crate) changes: Vec<String>,
    /// What it asked about the request.
    pub(crate) asked: Vec<Fact>,
}

/// What becomes of the request in the end.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// `proxy`, `return`, `redirect`, `files`, `component`, `stub_status`, `metrics`; `hook` where a
    /// hook answers, `error` where the request comes to nothing.
    pub(crate) action: String,
    /// Of the answer; none where a server has it.
    pub(crate) status: Option<u16>,
    pub(crate) detail: Option<String>,
    pub(crate) location: Option<String>,
}

impl Outcome {
    pub(super) fn of(action: &str, status: Option<u16>, detail: Option<String>) -> Outcome {
        Outcome {
            action: action.to_owned(),
            status,
            detail,
            location: None,
        }
    }

    pub(super) fn redirect(status: u16, location: &[u8]) -> Outcome {
        Outcome {
            location: Some(super::shown(location)),
            ..Outcome::of("redirect", Some(status), None)
        }
    }
}

/// Which server a policy has chosen, or why it has none.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// Its address.
    pub(crate) picked: Option<String>,
    /// The status that the client gets where there is none, and why.
    pub(crate) refused: Option<(u16, String)>,
    /// What the policy, its filters and scorers asked about the request.
    pub(crate) asked: Vec<Fact>,
    /// What they say of it (`$plugin_note`).
    pub(crate) note: Option<String>,
    /// Headers that the policy adds to the answer.
    pub(crate) headers: Vec<String>,
    /// Addresses of candidates that filters, scorers or growing shares have left out.
    pub(crate) left_out: Vec<String>,
}
