//! Lists of servers, as sources answer them: what is accepted means the same when it is written down
//! and read again, and what an API answers becomes a list or is refused.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::config::model::UpstreamConfig;
use crate::config::{ListFormat, check_list, list_item, list_items};
use crate::discovery;

fn upstream() -> &'static UpstreamConfig {
    static UPSTREAM: OnceLock<UpstreamConfig> = OnceLock::new();
    UPSTREAM.get_or_init(|| {
        let text =
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nservers = [\"10.0.0.1\"]\n";
        let config = crate::config::parse(text, Path::new("fuzz.toml")).unwrap();
        UpstreamConfig::clone(&config.upstreams[0])
    })
}

pub(super) fn run(bytes: &[u8]) {
    for format in [ListFormat::Json, ListFormat::Toml] {
        if let Ok(items) = list_items(bytes, format) {
            checked(&items);
        }
    }
    let Ok(answer) = serde_json::from_slice::<Json>(bytes) else {
        return;
    };
    for items in discovery::items_of_any(&answer).into_iter().flatten() {
        assert!(
            items
                .iter()
                .all(|item| item.is_string() || item.is_object())
        );
        checked(&items);
    }
}

fn checked(items: &[Json]) {
    let list = match check_list(items, "list", upstream()) {
        Ok(list) => list,
        Err(why) => {
            assert!(!why.contains('\n'), "{why}");
            return;
        }
    };
    assert_eq!(list.servers.len() + list.repeated.len(), items.len());
    let written: Vec<Json> = list.servers.iter().map(list_item).collect();
    let again = check_list(&written, "list", upstream()).unwrap();
    assert_eq!(again.servers, list.servers);
    assert!(again.repeated.is_empty());
}
