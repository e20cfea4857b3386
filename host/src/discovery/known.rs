//! What is known of one list: the last good one, and what came of reading it since.
//!
//! An answer that cannot be had, or not be used, changes nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::config::check_list;
use crate::config::model::{UpstreamConfig, UpstreamServer};

/// The first wait after a failure, which doubles with each further one, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Letters of an error: what a source answers must not fill the log.
const LONGEST_ERROR: usize = 300;

/// Servers that a line of the log names.
const NAMED: usize = 10;

/// What is to be seen of one source.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceState {
    /// When the list was last read, or last known to be the same.
    pub(crate) answered: Option<Instant>,
    /// When it will be read again; none while it is being read or watched.
    pub(crate) next: Option<Instant>,
    /// Why the last answer could not be had, or not be used.
    pub(crate) why: Option<String>,
    /// What serves was kept from before, and not answered yet.
    pub(crate) kept: bool,
}

/// A list as a source has it, and what it means.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) items: Arc<[Json]>,
    pub(super) servers: Arc<[UpstreamServer]>,
}

/// What is known of one list.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) list: Option<List>,
    pub(super) state: SourceState,
    failures: u32,
    /// What it had more than once when that was last said.
    repeated: Vec<String>,
}

/// What an answer has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is another list.
    List,
    /// It is the same.
    None,
    /// It cannot be used.
    Refused,
}

impl Known {
    /// With what was known before its task began. `kept`: on a disk.
    pub(super) fn before(list: Option<List>, kept: bool) -> Known {
        let state = SourceState {
            kept: kept && list.is_some(),
            ..SourceState::default()
        };
        Known {
            list,
            state,
            ..Known::default()
        }
    }

    /// Takes an answer; `items` is none where the list is the one before.
    pub(super) fn answered(
        &mut self,
        items: Option<Vec<Json>>,
        upstream: &UpstreamConfig,
        now: Instant,
    ) -> Change {
        let Some(items) = items else {
            self.is_well(upstream, now);
            return Change::None;
        };
        let list = match read(items, upstream) {
            Ok((list, repeated)) => {
                self.tell_repeated(repeated, upstream);
                list
            }
            Err(why) => {
                self.failed(why, upstream);
                return Change::Refused;
            }
        };
        let before = self.list.as_ref().map(|list| &list.servers);
        let is_same = before.is_some_and(|before| *before == list.servers);
        self.is_well(upstream, now);
        if is_same {
            return Change::None;
        }
        self.list = Some(list);
        Change::List
    }

    /// Notes why an answer could not be had, or not be used. The log tells once, however often the
    /// reason changes until there is a good one.
    pub(super) fn failed(&mut self, why: String, upstream: &UpstreamConfig) {
        let why = bounded(why);
        if self.state.why.is_none() {
            let meanwhile = match self.list.as_ref().map_or(0, |list| list.servers.len()) {
                0 => "it has none until there is one".to_owned(),
                1 => "the one known before stays".to_owned(),
                number => format!("the {number} known before stay"),
            };
            tracing::error!(
                "upstream `{}`: no list of servers from {}: {why}; {meanwhile}",
                upstream.name,
                name(upstream)
            );
        }
        self.failures = self.failures.saturating_add(1);
        self.state.why = Some(why);
    }

    /// How long to wait before the next attempt after a failure. `random`: from 0 to 1.
    pub(super) fn wait(&self, random: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        let wait = (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT);
        // Many proxies must not ask one source in step.
        wait.mul_f64(0.5 + random / 2.0)
    }

    fn is_well(&mut self, upstream: &UpstreamConfig, now: Instant) {
        if self.state.why.take().is_some() {
            let again = match self.list {
                Some(_) => " again",
                None => "",
            };
            let (upstream, source) = (&upstream.name, name(upstream));
            tracing::info!(
                "upstream `{upstream}`: there is a list of servers from {source}{again}"
            );
        }
        self.failures = 0;
        self.state.answered = Some(now);
        self.state.kept = false;
    }

    /// Says what is listed more than once, once for as long as that stays so.
    fn tell_repeated(&mut self, repeated: Vec<String>, upstream: &UpstreamConfig) {
        if let Some(first) = repeated.first()
            && self.repeated != repeated
        {
            let others = match repeated.len() {
                1 => String::new(),
                number => format!(", and {} others,", number - 1),
            };
            let (upstream, source) = (&upstream.name, name(upstream));
            tracing::warn!(
                "upstream `{upstream}`: {source} lists `{first}`{others} more than once, which counts once"
            );
        }
        self.repeated = repeated;
    }
}

/// Says that a list is served that was not before.
pub(super) fn tell_served(list: &List, upstream: &UpstreamConfig) {
    let (servers, source) = (named(&list.servers), name(upstream));
    tracing::info!("upstream `{}`: {source} lists {servers} now", upstream.name);
}

/// What items of a list mean for an upstream, and which of them it has more than once.
///
/// # Errors
/// Why they cannot be used.
pub(super) fn read(
    items: Vec<Json>,
    upstream: &UpstreamConfig,
) -> Result<(List, Vec<String>), String> {
    let mut checked = check_list(&items, &name(upstream), upstream)?;
    let allow_empty = upstream
        .source
        .as_ref()
        .is_some_and(|source| source.allow_empty);
    if checked.servers.is_empty() && !allow_empty {
        return Err("it lists no server, which counts with `allow_empty = true` only".to_owned());
    }
    for server in &mut checked.servers {
        server.listed = true;
    }
    let list = List {
        items: items.into(),
        servers: checked.servers.into(),
    };
    Ok((list, checked.repeated))
}

fn name(upstream: &UpstreamConfig) -> String {
    let source = upstream.source.as_ref();
    source.map_or_else(String::new, ToString::to_string)
}

/// At most so much of an error, without what would end a line of a log.
fn bounded(why: String) -> String {
    let plain: String = why
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    match plain.char_indices().nth(LONGEST_ERROR) {
        Some((end, _)) => format!("{}...", &plain[..end]),
        None => plain,
    }
}

fn named(servers: &[UpstreamServer]) -> String {
    let names: Vec<_> = servers.iter().map(|server| &*server.spelling).collect();
    match names.len() {
        0 => "no server".to_owned(),
        number if number > NAMED => {
            let first = names.get(..NAMED).unwrap_or_default().join(", ");
            format!("{number} servers ({first} ...)")
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn upstream(more: &str) -> UpstreamConfig {
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.u]\n\
             servers_from = {{ file = \"a.json\"{more} }}\n"
        );
        let config = crate::config::parse(&text, Path::new("test.toml")).unwrap();
        UpstreamConfig::clone(&config.upstreams[0])
    }

    fn spellings(known: &Known) -> Vec<String> {
        let servers = known.list.iter().flat_map(|list| &*list.servers);
        servers.map(|server| server.spelling.clone()).collect()
    }

    #[test]
    fn an_answer_that_cannot_be_used_changes_nothing() {
        let (upstream, now) = (upstream(""), Instant::now());
        let mut known = Known::default();
        let mut answer = |items: Vec<Json>| known.answered(Some(items), &upstream, now);
        assert_eq!(answer(vec![json!("10.0.0.1:80")]), Change::List);
        assert_eq!(answer(vec![json!("10.0.0.1:80")]), Change::None);
        for bad in [
            vec![],
            vec![json!(7)],
            vec![json!("10.0.0.2:80"), json!("a b")],
        ] {
            assert_eq!(answer(bad), Change::Refused);
        }
        assert!(known.state.why.is_some());
        assert_eq!(spellings(&known), ["10.0.0.1:80"]);
        assert_eq!(known.answered(None, &upstream, now), Change::None);
        assert!(known.state.why.is_none(), "it is the one before");
    }

    #[test]
    fn a_list_without_servers_counts_where_that_is_allowed() {
        let mut known = Known::default();
        let upstream = upstream(", allow_empty = true");
        let change = known.answered(Some(vec![]), &upstream, Instant::now());
        assert_eq!(change, Change::List);
    }

    #[test]
    fn each_further_failure_is_waited_for_twice_as_long_up_to_a_bound() {
        let (upstream, mut known) = (upstream(""), Known::default());
        let mut waits = Vec::new();
        for _ in 0..8 {
            known.failed("no answer".to_owned(), &upstream);
            waits.push(known.wait(1.0).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(known.wait(0.0).as_secs(), 15);
        known.answered(None, &upstream, Instant::now());
        known.failed("no answer".to_owned(), &upstream);
        assert_eq!(known.wait(1.0).as_secs(), 1);
    }

    #[test]
    fn an_error_is_one_line_of_bounded_length() {
        let (upstream, mut known) = (upstream(""), Known::default());
        known.failed(format!("a\n{}", "ä".repeat(1000)), &upstream);
        let why = known.state.why.unwrap();
        assert!(why.starts_with("a ä") && why.ends_with("ä..."));
        assert_eq!(why.chars().count(), LONGEST_ERROR + 3);
    }
}
