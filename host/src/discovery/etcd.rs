//! The keys below a prefix in etcd, version 3: read by a range, then watched from the revision that
//! was read ("etcd API", by its JSON gateway: `/v3/kv/range`, `/v3/watch`).
//!
//! After each change the range is read anew: whatever a watch has missed, what counts is what is
//! there.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::client::{Asked, Client, Lines};
use super::reader::{Again, Answer, BREATH, Reader, Reading};
use crate::config::model::SourceUrl;

/// A watch that has brought nothing for so long is begun anew: its connection may be dead.
const SILENCE: Duration = Duration::from_secs(300);
/// After a watch that has ended at once.
const PAUSE: Duration = Duration::from_secs(1);
/// Keys that are read. One more than there may be servers, so that too many are noticed.
const KEYS: usize = 4097;

pub(super) struct Etcd {
    client: Client,
    url: SourceUrl,
    prefix: Vec<u8>,
    /// Of what was read last; none where it is to be read anew.
    revision: Option<u64>,
    watch: Option<Lines>,
}

impl Etcd {
    pub(super) fn new(client: Client, url: SourceUrl, prefix: &str) -> Etcd {
        Etcd {
            client,
            url,
            prefix: prefix.as_bytes().to_vec(),
            revision: None,
            watch: None,
        }
    }

    async fn read_or_wait(&mut self) -> Result<Answer, String> {
        // What fails is begun anew.
        let watch = self.watch.take();
        if let Some(revision) = self.revision.take() {
            let began = Instant::now();
            let watch = match watch {
                Some(watch) => watch,
                None => self.watch_from(revision + 1).await?,
            };
            self.watch = self.changed(watch, revision).await?;
            if self.watch.is_none() && began.elapsed() < PAUSE {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.read().await
    }

    /// The range as it is now.
    async fn read(&mut self) -> Result<Answer, String> {
        let range = json!({
            "key": STANDARD.encode(&self.prefix),
            "range_end": STANDARD.encode(end_of(&self.prefix)),
            "limit": KEYS,
        });
        let path = format!("{}/v3/kv/range", self.url.path);
        let response = self
            .client
            .ask(&self.url, Asked::post(&path, &range))
            .await?;
        let range = range_of(response.json().await?)?;
        self.revision = Some(range.revision);
        Ok(Answer {
            items: Some(range.items),
            again: Again::After(BREATH),
        })
    }

    async fn watch_from(&mut self, revision: u64) -> Result<Lines, String> {
        let watch = json!({ "create_request": {
            "key": STANDARD.encode(&self.prefix),
            "range_end": STANDARD.encode(end_of(&self.prefix)),
            "start_revision": revision,
        }});
        let path = format!("{}/v3/watch", self.url.path);
        let response = self
            .client
            .ask(&self.url, Asked::post(&path, &watch))
            .await?;
        Ok(response.lines())
    }

    /// Waits for a change behind a revision. The watch, if it goes on; none where it has ended, or
    /// what it begins with is not there any more.
    async fn changed(&self, mut watch: Lines, revision: u64) -> Result<Option<Lines>, String> {
        loop {
            let Some(line) = watch.next(SILENCE).await? else {
                return Ok(None);
            };
            match event_of(line)? {
                WatchEvent::Changed(at) if at > revision => return Ok(Some(watch)),
                WatchEvent::Changed(_) | WatchEvent::Other => {}
                WatchEvent::Canceled => return Ok(None),
            }
        }
    }
}

impl Reader for Etcd {
    fn next(&mut self) -> Reading<'_> {
        Box::pin(self.read_or_wait())
    }
}

/// The first key behind all those with a prefix (etcd API: "Key ranges").
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0] // all keys
}

#[derive(Debug, PartialEq)]
struct Range {
    revision: u64,
    items: Vec<Json>,
}

#[derive(Deserialize)]
struct RangeAnswer {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

/// The gateway writes 64-bit numbers as strings, and leaves out what is 0 or empty (proto3's JSON).
#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
}

fn foreign(error: impl std::fmt::Display) -> String {
    format!("its answer is none of etcd's: {error}")
}

/// What an answer to a range says, in the order of its keys.
fn range_of(answer: Json) -> Result<Range, String> {
    let RangeAnswer { header, kvs } = serde_json::from_value(answer).map_err(foreign)?;
    let revision = header.revision.parse().map_err(foreign)?;
    let items = kvs.iter().map(|pair| {
        let decoded = |text: &str| {
            let bytes = STANDARD.decode(text).map_err(foreign)?;
            String::from_utf8(bytes).map_err(foreign)
        };
        let (key, value) = (decoded(&pair.key)?, decoded(&pair.value)?);
        item_of(&value).map_err(|error| format!("the value of `{key}` is no JSON: {error}"))
    });
    let items = items.collect::<Result<_, String>>()?;
    Ok(Range { revision, items })
}

/// The items of an answer to a range, for the fuzzer.
#[cfg(any(fuzzing, test))]
pub(super) fn items(answer: Json) -> Result<Vec<Json>, String> {
    range_of(answer).map(|range| range.items)
}

/// A value: an address, alone or as JSON, or a table as JSON.
fn item_of(value: &str) -> Result<Json, serde_json::Error> {
    let value = value.trim();
    match value.starts_with(['{', '"']) {
        true => serde_json::from_str(value),
        false => Ok(Json::String(value.to_owned())),
    }
}

#[derive(Debug, PartialEq)]
enum WatchEvent {
    /// Keys have changed, at this revision.
    Changed(u64),
    /// The watch is over: among other reasons since its beginning was compacted.
    Canceled,
    Other,
}

#[derive(Deserialize)]
struct WatchAnswer {
    #[serde(default)]
    header: Option<Header>,
    #[serde(default)]
    canceled: bool,
    #[serde(default)]
    events: Vec<Json>,
}

fn event_of(line: Json) -> Result<WatchEvent, String> {
    if let Some(error) = line.get("error") {
        return Err(format!("its watch has failed: {error}"));
    }
    let answer = line.get("result").cloned().unwrap_or_default();
    let answer: WatchAnswer = serde_json::from_value(answer).map_err(foreign)?;
    let revision = answer.header.map(|header| header.revision.parse::<u64>());
    Ok(match revision {
        _ if answer.canceled => WatchEvent::Canceled,
        Some(revision) if !answer.events.is_empty() => {
            WatchEvent::Changed(revision.map_err(foreign)?)
        }
        _ => WatchEvent::Other,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_behind_the_last_key_with_its_prefix() {
        assert_eq!(end_of(b"/web/"), b"/web0");
        assert_eq!(end_of(b"a\xff\xff"), b"b");
        assert_eq!(end_of(b"\xff"), b"\0");
    }

    #[test]
    fn values_are_addresses_or_tables() {
        let pair = |key: &str, value: &str| json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value), "mod_revision": "7" });
        let answer = json!({ "header": { "revision": "12" }, "count": "3", "kvs": [
            pair("/web/a", "10.0.0.1:80\n"),
            pair("/web/b", "\"10.0.0.2:80\""),
            pair("/web/c", "{\"address\": \"10.0.0.3\", \"weight\": 2}"),
        ]});
        let range = range_of(answer).unwrap();
        assert_eq!(range.revision, 12);
        let table = json!({ "address": "10.0.0.3", "weight": 2 });
        assert_eq!(
            range.items,
            [json!("10.0.0.1:80"), json!("10.0.0.2:80"), table]
        );
        let empty = range_of(json!({ "header": { "revision": "3" } })).unwrap();
        assert!(empty.items.is_empty());
        let bad = json!({ "header": { "revision": "3" }, "kvs": [pair("/web/a", "{")] });
        assert!(
            range_of(bad)
                .unwrap_err()
                .starts_with("the value of `/web/a` is no JSON")
        );
        assert!(range_of(json!({})).is_err());
    }

    #[test]
    fn a_watch_tells_of_changes_and_of_its_end() {
        let event = |answer: Json| event_of(json!({ "result": answer })).unwrap();
        let header = json!({ "revision": "9" });
        let created = json!({ "header": header, "created": true });
        assert_eq!(event(created), WatchEvent::Other);
        let changed = json!({ "header": header, "events": [{ "type": "DELETE", "kv": {} }] });
        assert_eq!(event(changed), WatchEvent::Changed(9));
        let compacted = json!({ "header": header, "canceled": true, "compact_revision": "8" });
        assert_eq!(event(compacted), WatchEvent::Canceled);
        let failed = json!({ "error": { "http_code": 503, "message": "no leader" } });
        assert!(event_of(failed).unwrap_err().contains("no leader"));
    }
}
