//! What an upstream does with load that does not fit.

use super::{TomlWriter, inline_table, text};
use crate::config::model::Overload;
use crate::config::units::duration_text;

pub(super) fn overload(out: &mut TomlWriter, overload: &Overload) {
    if let Some(queue) = &overload.queue {
        let timeout = text(&duration_text(queue.timeout));
        let keys = [
            format!("size = {}", queue.size),
            format!("timeout = {timeout}"),
        ];
        out.key("queue", inline_table(keys));
    }
    let limits = &overload.limits;
    let keys = [
        format!("requests = {}", limits.requests),
        format!("connections = {}", limits.connections),
        format!("client_share = \"{}%\"", limits.client_share),
    ];
    out.key("limits", inline_table(keys));
    if let Some(budget) = &overload.retry_budget {
        let keys = [
            format!("ratio = \"{}%\"", budget.ratio),
            format!("min_per_second = {}", budget.min_per_second),
        ];
        out.key("retry_budget", inline_table(keys));
    }
}
