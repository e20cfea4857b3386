//! What makes no sense is told with the way out; what runs on is stopped.

use super::*;
use waypost_tests::admin::ADMIN;
use waypost_tests::{origin, proxy};

#[test]
fn what_is_no_url_or_no_header_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["/only/a/path"][..],
        &["http:///x"],
        &["ftp://a.example/"],
        &["http://a.example:port/"],
        &["http://a.example/", "-H", "no colon"],
        &[],
    ] {
        let (code, _, err) = says(folder.path(), arguments);
        assert_eq!(code, 2, "{arguments:?}: {err}");
    }
    let (code, _, err) = says(folder.path(), &["http://a.example/", "-c", "nowhere.toml"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("nowhere.toml"), "{err}");
}

#[tokio::test]
async fn a_request_that_the_proxy_refuses_is_told_as_it_refuses_it() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let large = format!("X-Large: {}", "a".repeat(40 << 10));
    let lines = |lines: &str| format!("{lines}\r\n");
    for (target, header) in [
        ("/../../etc/passwd", ""),
        ("/%zz", ""),
        ("/", &*large),
        ("/a/../b", ""),
    ] {
        let more: Vec<&str> = match header {
            "" => Vec::new(),
            header => vec!["-H", header],
        };
        let told = of(&proxy, target, &more);
        let sent = if header.is_empty() {
            String::new()
        } else {
            lines(header)
        };
        let response = proxy.get_with(target, &sent).await;
        match told["outcome"]["status"].as_u64() {
            Some(status) => assert_eq!(u64::from(response.status), status, "{target}: {told:#}"),
            None => assert_eq!(response.status, 200, "{target}: {told:#}"),
        }
    }
}

#[tokio::test]
async fn a_policy_that_traps_or_never_returns_is_stopped_and_the_serving_one_is_not_blamed() {
    for mode in ["loops_forever", "traps_in_pick", "traps_in_import_state"] {
        let origins = [origin::named().await, origin::named().await];
        let setup = proxy::to(&origins)
            .more(ADMIN)
            .upstream("policy = \"mine\"");
        let plugin = crate::misbehaving::in_mode(mode);
        std::fs::write(setup.directory().join("mine.wasm"), plugin).unwrap();
        let setup = setup.more(
            "[plugin.mine]\nfile = \"mine.wasm\"\nfallback = \"round_robin\"\ngrants = [\"request\", \"exchange\"]",
        );
        let proxy = setup.start().await;
        let before = proxy.shows("/plugins/mine").await;
        for _ in 0..3 {
            let told = of(&proxy, "/", &[]);
            assert!(
                told["proxy"]["choice"]["picked"].is_string(),
                "{mode}: {told:#}"
            );
        }
        let after = proxy.shows("/plugins/mine").await;
        for key in ["calls", "traps", "deadlines", "state", "history"] {
            assert_eq!(after[key], before[key], "{mode}: {key}");
        }
    }
}

#[test]
fn ten_thousand_routes_are_looked_through() {
    let folder = tempfile::tempdir().unwrap();
    let route = |number: usize| {
        let (host, path) = (number % 100, number / 100);
        format!(
            "[[route]]\nhost = \"h{host}.example\"\npath = \"/p{path}/\"\nreturn = {{ status = 200 }}\n"
        )
    };
    let routes: String = (0..10_000).map(route).collect();
    let file = format!("[[listen]]\naddress = \"127.0.0.1:8080\"\n{routes}");
    std::fs::write(folder.path().join("waypost.toml"), file).unwrap();
    let told = told(folder.path(), &["http://h42.example:8080/p42/x"]);
    assert_eq!(route_of(&told), ("h42.example", "/p42/"));
    let step = &told["steps"][0];
    let listed = step["passed"].as_array().unwrap().len();
    assert!(listed <= 12, "{listed}");
    assert_eq!(step["others"].as_u64().unwrap() as usize + listed, 9_999);
}

fn route_of(told: &Value) -> (&str, &str) {
    let taken = &told["steps"][0]["taken"];
    (
        taken["host"].as_str().unwrap(),
        taken["path"].as_str().unwrap(),
    )
}
