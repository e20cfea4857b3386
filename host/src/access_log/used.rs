//! A log as one place of a configuration uses it: open, with what its lines are, and which there
//! are.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::writer::Log;
use crate::config::model::{AccessLog, Conditions, LogConditions, PathPattern};
use crate::http::variable::{Variable, VariableSource};

/// An access log, open, and what the configuration says of it.
#[derive(Debug, Clone)]
pub struct UsedLog {
    pub log: Arc<Log>,
    pub config: AccessLog,
}

/// What is known of one exchange while its logs are asked, one after the other.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The number that was drawn for it, once a share was asked for.
    draw: Option<u32>,
    /// Room for one value, kept from exchange to exchange.
    value: Vec<u8>,
}

impl Asking {
    /// Forgets the exchange.
    pub(super) fn start(&mut self) {
        self.draw = None;
    }

    fn text(&mut self, variable: &Variable, source: &dyn VariableSource) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(variable, source))
    }

    fn bytes(&mut self, variable: &Variable, source: &dyn VariableSource) -> &[u8] {
        self.value.clear();
        source.append(variable, &mut self.value);
        &self.value
    }
}

impl UsedLog {
    /// Whether an exchange, or a session, that has ended has a line.
    pub(super) fn has_line(&self, source: &dyn VariableSource, asking: &mut Asking) -> bool {
        if let Some(share) = self.config.sample {
            let draw = asking.draw.get_or_insert_with(|| fastrand::u32(..));
            if !share.has(*draw) {
                return false;
            }
        }
        self.config.when.is_empty() || hold(&self.config.when, source, asking)
    }
}

/// Whether all of it holds.
fn hold(conditions: &LogConditions, source: &dyn VariableSource, asking: &mut Asking) -> bool {
    let LogConditions {
        request,
        paths,
        other_paths,
        statuses,
        other_statuses,
    } = conditions;
    if !(statuses.is_empty() && other_statuses.is_empty()) {
        let status: u16 = asking.text(&Variable::Status, source).parse().unwrap_or(0);
        let among =
            |ranges: &[RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&status));
        if !(statuses.is_empty() || among(statuses)) || among(other_statuses) {
            return false;
        }
    }
    if !(paths.is_empty() && other_paths.is_empty()) {
        let path = asking.text(&Variable::Uri, source);
        let among = |patterns: &[PathPattern]| patterns.iter().any(|each| each.fits(&path));
        if !(paths.is_empty() || among(paths)) || among(other_paths) {
            return false;
        }
    }
    let Conditions {
        methods,
        clients,
        values,
    } = request;
    if !methods.is_empty() {
        let method = asking.bytes(&Variable::RequestMethod, source);
        if !methods.iter().any(|each| each.as_bytes() == method) {
            return false;
        }
    }
    if let Some(networks) = clients {
        let ip = asking.text(&Variable::RemoteAddr, source).parse().ok();
        if !networks.has(ip) {
            return false;
        }
    }
    values
        .iter()
        .all(|condition| condition.holds(asking.bytes(&condition.variable, source)))
}
