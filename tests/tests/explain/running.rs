//! Against a running process: what is told is what the next real request gets.

use super::*;
use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Server;
use waypost_tests::{Origin, origin, proxy};

async fn three() -> [Origin; 3] {
    [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ]
}

/// A proxy of one worker with this policy.
async fn balancing<S: Server>(servers: impl IntoIterator<Item = S>, policy: &str) -> Proxy {
    let setup = proxy::to(servers).server("workers = 1").more(ADMIN);
    setup.upstream(&format!("policy = {policy}")).start().await
}

#[tokio::test]
async fn of_policies_that_keep_a_turn_it_is_that_of_the_next_request() {
    for policy in ["\"round_robin\"", "\"least_conn\""] {
        let origins = three().await;
        let [one, two, three] = &origins;
        let servers = [
            one.with("weight = 3"),
            two.address().into(),
            three.address().into(),
        ];
        let servers = servers.map(|server: String| match server.starts_with('{') {
            true => server,
            false => format!("\"{server}\""),
        });
        let proxy = balancing(servers, policy).await;
        for turn in 0..12 {
            let told = of(&proxy, "/", &[]);
            assert_eq!(told["state"], "running");
            assert!(told["proxy"]["approximate"].is_null(), "{policy}: {told:#}");
            let expected = picked(&told).to_owned();
            assert_eq!(
                proxy.get("/").await.text(),
                expected,
                "{policy}, turn {turn}"
            );
        }
    }
}

#[tokio::test]
async fn of_hash_it_is_the_server_of_the_key() {
    let origins = three().await;
    let proxy = balancing(&origins, "{ plugin = \"hash\", key = \"$request_uri\" }").await;
    for number in 0..12 {
        let target = format!("/item/{number}");
        let told = of(&proxy, &target, &[]);
        assert_eq!(proxy.get(&target).await.text(), picked(&told));
    }
}

#[tokio::test]
async fn a_cookie_leads_where_it_leads_a_request() {
    let origins = three().await;
    let policy = "{ plugin = \"sticky\", cookie = { name = \"srv\" } }";
    let proxy = balancing(&origins, policy).await;
    for _ in 0..4 {
        let response = proxy.get("/").await;
        let cookie = response
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let told = of(&proxy, "/", &["-H", &format!("Cookie: {cookie}")]);
        assert_eq!(picked(&told), response.text());
    }
}

#[tokio::test]
async fn each_server_that_is_out_says_why() {
    let (well, refusing) = (origin::named().await, origin::refuses());
    let (down, full) = (origin::named().await, origin::named().await);
    let servers = [
        format!("\"{}\"", well.address()),
        refusing.with("max_fails = 1, fail_timeout = \"1h\""),
        down.with("weight = 2"),
        full.with("backup = true"),
    ];
    let proxy = balancing(servers, "\"round_robin\"").await;
    let path = format!("/upstreams/backend/servers/{}", down.address());
    proxy.admin("PATCH", &path, "{\"down\": true}").await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    let told = of(&proxy, "/", &[]);
    assert_eq!(picked(&told), well.address());
    let why = |address: &str| {
        let server = server(&told, address);
        assert_eq!(server["candidate"], address == well.address(), "{server}");
        server["why"][0]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(why(well.address()), "");
    assert_eq!(why(refusing.address()), "failed");
    assert_eq!(why(down.address()), "down");
    let backup = server(&told, full.address());
    assert!(
        backup["why_not"].as_str().unwrap().starts_with("backup"),
        "{backup}"
    );
    assert_eq!(proxy.get("/").await.text(), well.address());
}

#[tokio::test]
async fn where_no_server_is_left_it_says_what_the_client_gets() {
    let refusing = [origin::refuses(), origin::refuses()];
    let servers = refusing
        .iter()
        .map(|one| one.with("max_fails = 1, fail_timeout = \"1h\""));
    let proxy = balancing(servers, "\"round_robin\"").await;
    assert_eq!(proxy.get("/").await.status, 502);
    let told = of(&proxy, "/", &[]);
    assert_eq!(told["proxy"]["choice"]["refused"][0], 502, "{told:#}");
    assert_eq!(proxy.get("/").await.status, 502);
}

#[tokio::test]
async fn the_client_is_the_one_that_trusted_proxies_report() {
    let origins = three().await;
    let setup = proxy::to(&origins)
        .more(ADMIN)
        .upstream("policy = \"ip_hash\"");
    let proxy = setup
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .start()
        .await;
    for client in ["192.0.2.1", "198.51.100.1", "203.0.113.1"] {
        let header = format!("X-Forwarded-For: {client}");
        let told = of(&proxy, "/", &["-H", &header]);
        assert_eq!(told["client"]["address"], client);
        assert_eq!(told["client"]["peer"], "127.0.0.1");
        let response = proxy.get_with("/", &format!("{header}\r\n")).await;
        assert_eq!(response.text(), picked(&told));
        let told = of(&proxy, "/", &["--from", "10.9.8.7", "-H", &header]);
        assert_eq!(
            told["client"]["address"], "10.9.8.7",
            "who is not trusted is not believed"
        );
    }
}

#[tokio::test]
async fn a_worker_s_own_turn_is_said_to_be_one_of_several() {
    let origins = three().await;
    let setup = proxy::to(&origins)
        .more(ADMIN)
        .upstream("policy = \"ewma\"");
    let proxy = setup.server("workers = 3").start().await;
    let told = of(&proxy, "/", &[]);
    let approximate = told["proxy"]["approximate"].as_str().unwrap_or_default();
    assert!(approximate.contains("3 workers"), "{told:#}");
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_so_for_who_asks() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin])
        .more(ADMIN)
        .more("[hook.limit]\nplugin = \"limit_req\"\nkey = \"$remote_addr\"\nrate = \"1r/m\"");
    let proxy = setup.route("hooks = [\"limit\"]").start().await;
    let told = of(&proxy, "/", &[]);
    assert_eq!(hooks(&told), [("limit".to_owned(), "proceed".to_owned())]);
    assert_eq!(proxy.get("/").await.status, 200);
    let told = of(&proxy, "/", &[]);
    assert_eq!(told["outcome"]["status"], 503, "{told:#}");
    assert_eq!(proxy.get("/").await.status, 503);
    let told = of(&proxy, "/", &["--from", "192.0.2.1"]);
    assert_eq!(
        told["outcome"]["action"], "proxy",
        "another client has its own limit"
    );
}

#[tokio::test]
async fn who_would_be_held_back_is_told_so_and_nobody_waits() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).more(ADMIN).more(
        "[hook.limit]\nplugin = \"limit_req\"\nkey = \"$remote_addr\"\nrate = \"1r/m\"\nburst = 5",
    );
    let proxy = setup.route("hooks = [\"limit\"]").start().await;
    assert_eq!(proxy.get("/").await.status, 200);
    // A real one would wait for a minute.
    let told = of(&proxy, "/", &[]);
    assert_eq!(told["outcome"]["action"], "proxy", "{told:#}");
    assert!(
        told["notes"].to_string().contains("is held back for"),
        "{told:#}"
    );
}

#[tokio::test]
async fn where_no_process_answers_the_file_counts_unless_the_process_was_asked_for() {
    let origins = three().await;
    let mut proxy = balancing(&origins, "\"round_robin\"").await;
    let address = proxy.address().to_owned();
    let url = format!("http://{address}/");
    assert_eq!(told(proxy.directory(), &[&url])["state"], "running");
    let at = ["http://localhost/", "--listener", "127.0.0.1:0"];
    assert_eq!(
        told(proxy.directory(), &[&at[..], &["--fresh"]].concat())["state"],
        "fresh"
    );
    proxy.signal(rustix::process::Signal::TERM);
    proxy.process().ended().await;
    assert_eq!(told(proxy.directory(), &at)["state"], "fresh");
    let (code, _, err) = says(proxy.directory(), &[&url, "--running"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("nobody answers at"), "{err}");
}
