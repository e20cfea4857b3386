//! What a request that is explained would be to an upstream, and which server it would go to.

use std::rc::Rc;

use super::super::conditions::shown;
use super::super::finish::Finish;
use super::super::forward::fault_of;
use super::super::proxy::{body_plan_for_empty, outgoing_method};
use super::super::request::{ConfiguredChanges, RequestPlan, write_request};
use super::super::state::Exchange;
use super::told::Choice;
use super::witness::{Facts, Witness};
use crate::config::model::{Action, HeaderChange, Route};
use crate::data_plane::process::Clock;
use crate::data_plane::upstream::{Balanceable, WorkerUpstream};
use crate::http::variable::{Variable, VariableSource as _};

/// A request on its way to an upstream.
pub(crate) struct Proxied {
    /// Index into the configuration's upstreams.
    pub(crate) upstream: usize,
    pub(super) route: usize,
    pub(super) target: Vec<u8>,
    pub(super) clock: Clock,
    pub(super) finish: Finish,
}

impl Proxied {
    fn route(&self) -> &Route {
        let config = &self.finish.exchange().worker_config.snapshot.config;
        &config.routes[self.route]
    }

    /// The head that a server would get, line by line.
    pub(crate) fn head_for(&self, upstream: &WorkerUpstream) -> Vec<String> {
        let (exchange, route) = (self.finish.exchange(), self.route());
        let Action::Proxy(proxy) = &route.action else {
            return Vec::new();
        };
        *exchange.proxy_host.borrow_mut() = Some(upstream.name().clone());
        exchange.to_tls.set(upstream.shared.tls.is_some());
        let method = outgoing_method(exchange, proxy);
        let outgoing = RequestPlan {
            method,
            target: &self.target,
            body: body_plan_for_empty(method),
            upgrade: false,
            http2: upstream.shared.config.http2.is_some(),
            websocket_key: None,
            keep_alive: upstream.keeps_connections(),
            trusted: exchange.peer_trusted,
            changes: ConfiguredChanges::of(exchange, route),
        };
        let mut head = Vec::new();
        write_request(exchange, &outgoing, &mut head);
        let of_listener = listener_headers(exchange);
        let set = route.request_headers.iter().chain(of_listener);
        let set: Vec<&str> = set.map(|change| &*change.name).collect();
        let lines = head.split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.filter(|line| !line.is_empty()).map(shown);
        lines.map(|line| without_secret(line, &set)).collect()
    }

    /// Has the policy of an upstream choose a server for its first attempt, which then ends as one that
    /// was never made.
    pub(crate) fn choose(&self, upstream: &WorkerUpstream) -> Choice {
        let (exchange, facts) = (self.finish.exchange(), Rc::<Facts>::default());
        exchange.balance.begin_anew();
        let told_before = notes(exchange).len();
        let witness = Rc::new(Witness {
            exchange: exchange.clone(),
            facts: facts.clone(),
        });
        let leased = upstream.lease(witness as Rc<dyn Balanceable>, &self.clock, 0);
        let note = notes(exchange).get(told_before..).map(|note| {
            let note = String::from_utf8_lossy(note);
            note.trim_start_matches("; ").to_owned()
        });
        let lines = exchange.balance.response_headers().clone();
        let lines = lines.split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let now = self.clock.seconds();
        let left_out = exchange.balance.left_out(now);
        let (picked, refused) = match leased {
            Ok(lease) => (Some(lease.endpoint().name.to_string()), None),
            Err(none) => {
                let fault = fault_of(none);
                (None, Some((fault.status(), fault.to_string())))
            }
        };
        Choice {
            picked,
            refused,
            asked: facts.take(),
            note: note.filter(|note| !note.is_empty()),
            headers: lines.filter(|line| !line.is_empty()).map(shown).collect(),
            left_out: left_out.into_iter().map(String::from).collect(),
        }
    }
}

/// The listener's changes to the header of requests.
fn listener_headers(exchange: &Exchange) -> &[HeaderChange] {
    let config = &exchange.worker_config.snapshot.config;
    &config.listeners[exchange.listener].request_headers
}

/// A line of a head without its value, where the configuration sets that, and it may be secret. `set`:
/// the names of fields that it sets.
fn without_secret(line: String, set: &[&str]) -> String {
    let Some((name, _)) = line.split_once(':') else {
        return line;
    };
    let lower = name.to_ascii_lowercase();
    let words = ["auth", "cookie", "key", "password", "secret", "token"];
    let may_be_secret = words.iter().any(|word| lower.contains(word));
    match may_be_secret && set.iter().any(|set| set.eq_ignore_ascii_case(name)) {
        true => format!("{name}: (the configuration's, not shown)"),
        false => line,
    }
}

/// What plugins have said of the exchange so far.
fn notes(exchange: &Exchange) -> Vec<u8> {
    let mut notes = Vec::new();
    exchange.append(&Variable::PluginNote, &mut notes);
    notes
}
