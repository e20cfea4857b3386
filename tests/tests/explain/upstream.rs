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

#[tokio::test]
async fn a_server_whose_name_has_no_address_has_a_row_and_a_reason() {
    let one = origin::named().await;
    let unknown = "{ address = \"gone.invalid:80\" }".to_owned();
    let proxy = proxy::to([one.with("weight = 1"), unknown])
        .more(ADMIN)
        .start()
        .await;
    let spread = told(proxy.directory(), &["--upstream", "backend"]);
    assert_eq!(reasons(&spread), ["out"], "{spread:#}");
    let detail = &spread["reasons"][0]["detail"];
    assert_eq!(detail, "gone.invalid:80 is out of rotation: unresolved");
    let servers = spread["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    assert_eq!(servers[1]["server"], "gone.invalid:80");
    assert_eq!(servers[1]["fair"], 0);
    let (code, out, _) = says(proxy.directory(), &["--upstream", "backend"]);
    assert_eq!(code, 0);
    let row = out.lines().find(|line| line.starts_with("gone.invalid:80"));
    assert!(row.is_some_and(|row| row.ends_with("unresolved")), "{out}");
}

#[tokio::test]
async fn traffic_is_counted_for_as_long_as_is_asked_for() {
    let origins = three().await;
    let proxy = proxy::to(&origins).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    for _ in 0..REQUESTS {
        client.get("/").await;
    }
    let counted = async || {
        let told = told(proxy.directory(), &["--upstream", "backend"]);
        told["requests"].as_u64() == Some(REQUESTS as u64)
    };
    waypost_tests::eventually("the requests to be counted", counted).await;
    let directory = proxy.directory().to_owned();
    let for_a_second = move || {
        let directory = directory.clone();
        let told = move || told(&directory, &["--upstream", "backend", "--for", "1s"]);
        tokio::task::spawn_blocking(told)
    };
    // What came before does not count.
    let told = for_a_second().await.unwrap();
    assert_eq!(
        (&told["seconds"], &told["requests"]),
        (&1.into(), &0.into())
    );
    // What comes meanwhile does.
    let mut counting = for_a_second();
    let told = loop {
        tokio::select! {
            told = &mut counting => break told.unwrap(),
            _ = client.get("/") => {}
        }
    };
    assert!(told["requests"].as_u64().unwrap() > 0, "{told:#}");
    assert_eq!(told["even"], true, "{told:#}");

    // Of one request there is nothing to count.
    let one = ["http://localhost/", "--for", "1s"];
    let (code, _, err) = says(proxy.directory(), &one);
    assert_eq!(code, 2);
    assert!(err.contains("--for"), "{err}");
}
