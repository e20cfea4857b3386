//! Where the traffic of an upstream has gone, and why.

use super::*;
use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Setup;
use waypost_tests::{Origin, origin, proxy};

/// Requests that each spec sends.
const REQUESTS: usize = 90;

async fn three() -> [Origin; 3] {
    [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ]
}

/// What is said of the upstream once requests were sent, in JSON.
async fn spread(setup: Setup, target: &str) -> (Proxy, Value) {
    let proxy = setup.more(ADMIN).start().await;
    let mut client = proxy.client().await;
    for _ in 0..REQUESTS {
        client.get(target).await;
    }
    // Each is counted once its answer has left.
    let ended = async || {
        let told = told(proxy.directory(), &["--upstream", "backend"]);
        told["requests"].as_u64().unwrap() >= REQUESTS as u64
    };
    waypost_tests::eventually("the requests to be counted", ended).await;
    let told = told(proxy.directory(), &["--upstream", "backend"]);
    (proxy, told)
}

fn reasons(told: &Value) -> Vec<&str> {
    let reasons = told["reasons"].as_array().unwrap().iter();
    reasons
        .map(|reason| reason["reason"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_even_needs_no_reason() {
    let origins = three().await;
    let (proxy, told) = spread(proxy::to(&origins), "/").await;
    assert_eq!(told["even"], true, "{told:#}");
    assert!(reasons(&told).is_empty(), "{told:#}");
    for server in told["servers"].as_array().unwrap() {
        assert_eq!(
            (&server["requests"], &server["fair"]),
            (&30.into(), &33.into())
        );
    }
    let (code, out, _) = says(proxy.directory(), &["--upstream", "backend"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("90 requests since the process started"),
        "{out}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let (code, _, err) = says(proxy.directory(), &["--upstream", "bakend"]);
    assert_eq!(code, 1);
    assert!(err.contains("`backend`"), "{err}");
}

#[tokio::test]
async fn each_reason_is_named_where_it_applies() {
    let origins = three().await;
    let [one, two, three] = &origins;
    let weighted = [
        one.with("weight = 8"),
        two.with("weight = 1"),
        three.with("backup = true"),
    ];
    let (_proxy, told) = spread(proxy::to(weighted), "/").await;
    assert_eq!(reasons(&told), ["backup", "weights"], "{told:#}");
    assert_eq!(told["even"], true, "by their weights: {told:#}");
    for (policy, reason) in [
        ("\"ip_hash\"", "one_address"),
        (
            "{ plugin = \"hash\", key = \"$remote_addr\" }",
            "one_address",
        ),
        ("{ plugin = \"hash\", key = \"same\" }", "constant_key"),
        ("{ plugin = \"hash\", key = \"$arg_user\" }", "key"),
    ] {
        let setup = proxy::to(&origins).upstream(&format!("policy = {policy}"));
        let (_proxy, told) = spread(setup, "/?user=ann").await;
        assert_eq!(reasons(&told), [reason], "{policy}: {told:#}");
        assert_eq!(told["even"], false, "{policy}: {told:#}");
    }
    let down = [one.with("weight = 1"), two.with("down = true")];
    let (_proxy, told) = spread(proxy::to(down), "/").await;
    assert_eq!(reasons(&told), ["out"], "{told:#}");
}
