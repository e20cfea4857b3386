//! What comes with the host does what every plugin has to; what does not is found out.

use serde_json::{Value, json};

use super::{Finding, Subject, Verdict, conformance};
use crate::plugin::{Compiler, Kind, Plugin, Runtime};
use crate::stock;

fn findings(plugin: Plugin, kind: Kind, settings: Value, place: Value) -> Vec<Finding> {
    let runtime = Runtime::new(Compiler::Here).unwrap();
    let table = |value: Value| value.as_object().cloned().unwrap();
    let subject = Subject {
        plugin,
        kind,
        settings: table(settings),
        place: table(place),
        picks: runtime.stock("round_robin").unwrap().unwrap(),
    };
    let mut findings = Vec::new();
    conformance(&subject, 1, |finding| findings.push(finding));
    findings
}

/// Each stock plugin with settings of a use, and what its place says.
fn uses() -> Vec<(&'static str, Value, Value)> {
    let hash = "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
    let users = json!({ "realm": "staff", "users": { "ann": hash } });
    let secret = "a secret of thirty-two bytes....";
    let parts = json!([{ "share": "5%", "value": "new" }, { "share": "*", "value": "old" }]);
    let limit = json!({ "key": "$binary_remote_addr", "rate": "10r/s" });
    let none = || json!({});
    vec![
        (
            "access",
            json!({ "rules": ["deny 10.0.0.1", "allow all"] }),
            none(),
        ),
        ("basic_auth", users, none()),
        ("body_limit", json!({ "limit": "1k" }), none()),
        ("bounded_hash", json!({ "key": "$arg_user" }), none()),
        ("cors", json!({ "origins": ["https://shop.test"] }), none()),
        ("ewma", none(), none()),
        ("forward_auth", json!({ "upstream": "one" }), none()),
        (
            "hash",
            json!({ "key": "$request_uri", "consistent": true }),
            none(),
        ),
        ("ip_hash", none(), none()),
        ("jwt", json!({ "secret": secret }), none()),
        ("labels", json!({ "match": { "zone": "a" } }), none()),
        ("least_conn", none(), none()),
        ("least_time", json!({ "by": "header" }), none()),
        (
            "limit_conn",
            json!({ "key": "$binary_remote_addr" }),
            json!({ "connections": 2 }),
        ),
        ("limit_req", limit, json!({ "burst": 20 })),
        ("load_score", none(), none()),
        ("maglev", json!({ "key": "$request_uri" }), none()),
        ("maintenance", json!({ "on": true }), none()),
        ("mirror", json!({ "upstream": "one" }), none()),
        ("random", json!({ "two": "least_conn" }), none()),
        ("redirect", json!({ "scheme": "https" }), none()),
        ("request_id", none(), none()),
        (
            "rewrite",
            json!({ "rules": [{ "from": "^/item/(.*)$", "to": "/$1" }] }),
            none(),
        ),
        ("round_robin", none(), none()),
        (
            "split",
            json!({ "key": "$remote_addr", "parts": parts }),
            none(),
        ),
        ("sticky", json!({ "cookie": { "name": "srv" } }), none()),
        (
            "subset",
            json!({ "key": "$http_x_tenant", "size": 2 }),
            none(),
        ),
        (
            "substitute",
            json!({ "replace": { "text": "a", "by": "b" }, "types": "*" }),
            none(),
        ),
        (
            "verify_signature",
            json!({ "form": "github", "secret": "a" }),
            none(),
        ),
        ("zone", json!({ "zone": "a" }), none()),
    ]
}

#[test]
fn every_stock_plugin_does_what_every_plugin_has_to() {
    let runtime = Runtime::new(Compiler::Here).unwrap();
    let uses = uses();
    let tried: Vec<&str> = uses.iter().map(|(name, ..)| *name).collect();
    assert_eq!(tried, stock::NAMES);
    for (name, settings, place) in uses {
        let plugin = runtime.stock(name).unwrap().unwrap();
        let kinds: Vec<Kind> = plugin.kinds().collect();
        for kind in kinds {
            let findings = findings(plugin.clone(), kind, settings.clone(), place.clone());
            let fail = findings
                .iter()
                .filter(|finding| finding.verdict == Verdict::Fails);
            let fail: Vec<&Finding> = fail.collect();
            assert!(fail.is_empty(), "{name}: {fail:?}");
            assert!(findings.len() >= 7, "{name}: {findings:?}");
        }
    }
}
