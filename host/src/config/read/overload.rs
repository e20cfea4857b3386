//! `queue`, `limits` and `retry_budget` of an upstream.

use super::{Complaint, part};
use crate::config::declared::{QUEUE, RETRY_BUDGET, UPSTREAM_LIMITS};
use crate::config::model::{
    Overload, QueueConfig, RetryBudgetConfig, UpstreamLimits, UpstreamServer,
};
use crate::config::section::Section;

/// What an upstream says of load that does not fit.
pub(super) fn overload(upstream: &Section<'_>, servers: &[UpstreamServer]) -> Overload {
    let queue = upstream.table("queue", &QUEUE).map(|queue| {
        queue.required("size");
        QueueConfig {
            size: queue.integer("size"),
            timeout: queue.duration("timeout"),
        }
    });
    let limits = upstream.table("limits", &UPSTREAM_LIMITS);
    let limits = limits.map(|limits| UpstreamLimits {
        requests: limits.integer("requests"),
        connections: limits.integer("connections"),
        client_share: percent(&limits, "client_share"),
    });
    let budget = upstream.table("retry_budget", &RETRY_BUDGET);
    let overload = Overload {
        queue,
        limits: limits.unwrap_or_default(),
        retry_budget: budget.map(|budget| RetryBudgetConfig {
            ratio: percent(&budget, "ratio"),
            min_per_second: budget.integer("min_per_second"),
        }),
    };
    check(upstream, servers, &overload);
    overload
}

/// Notes what would never have an effect.
fn check(upstream: &Section<'_>, servers: &[UpstreamServer], overload: &Overload) {
    let bounded = |server: &UpstreamServer| server.max_conns > 0;
    if overload.queue.is_some()
        && let (Some(server), Some(node)) = (servers.first(), upstream.get("queue"))
        && !servers.iter().any(bounded)
    {
        let hint = format!(
            "say how many requests a server takes: `{{ address = \"{}\", max_conns = 100 }}`",
            server.spelling
        );
        let complaint =
            Complaint::new("`queue` beside servers without `max_conns`: nothing would ever wait");
        upstream.problems.add(complaint.hint(hint).at(&node.place));
    }
    let limits = &overload.limits;
    let is_of_something =
        overload.queue.is_some() || limits.requests > 0 || servers.iter().all(bounded);
    if limits.client_share < 100
        && !is_of_something
        && let Some(node) = upstream.get("limits")
    {
        let complaint = Complaint::new("`client_share` of what has no bound");
        let hint = "it is a part of `requests` in `limits`, of the `max_conns` of all servers, and of the \
             `size` of the `queue`: say one of them";
        upstream.problems.add(complaint.hint(hint).at(&node.place));
    }
}

/// A part that is written as `"20%"`, from 1 to 100.
fn percent(section: &Section<'_>, name: &str) -> u32 {
    let parse = |text: &str| {
        let number = text.strip_suffix('%')?.trim_end().parse().ok()?;
        (1..=100).contains(&number).then_some(number)
    };
    let by_default = || parse(section.text_by_default(name)).unwrap_or(100);
    let Some((text, node)) = part(section, name, "20%") else {
        return by_default();
    };
    parse(text).unwrap_or_else(|| {
        let complaint = Complaint::new(format!("`{name}` must be a part, not `{text}`"));
        let hint = format!("write it as `{name} = \"20%\"`, from 1% to 100%");
        section.problems.add(complaint.hint(hint).at(&node.place));
        by_default()
    })
}
