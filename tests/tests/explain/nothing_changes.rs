//! However often it is asked, nothing is other than without.

use super::*;
use waypost_tests::admin::ADMIN;
use waypost_tests::{eventually, origin, proxy};

/// How often.
const TIMES: usize = 20;

/// Everything that is counted, but for what passes by itself.
async fn counted(proxy: &Proxy) -> Vec<String> {
    let text = proxy.admin("GET", "/metrics", "").await.text();
    let by_itself = [
        "waypost_process_",
        "waypost_uptime",
        "waypost_admin",
        "process_",
    ];
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| by_itself.iter().all(|prefix| !line.starts_with(prefix)));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_distribution_and_every_counter_stay_as_they_are() {
    let origins = [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ];
    let setup = proxy::to(&origins).server("workers = 1").more(ADMIN).more(
        "[hook.office]\nplugin = \"access\"\nrules = [\"allow all\"]\n\
         [hook.few]\nplugin = \"limit_conn\"\nkey = \"$remote_addr\"\nconnections = 1",
    );
    let proxy = setup.route("hooks = [\"office\", \"few\"]").start().await;
    // So that all that is made when it is first needed is there.
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    eventually("the last request to have ended", async || {
        let counted = counted(&proxy).await;
        let is = |line: &str| counted.iter().any(|counted| counted == line);
        is("waypost_requests_in_flight 0") && is("waypost_connections{state=\"busy\"} 0")
    })
    .await;
    let (counters, upstreams) = (counted(&proxy).await, proxy.shows("/upstreams").await);
    let plugins = proxy.shows("/plugins").await;
    for _ in 0..TIMES {
        let told = of(&proxy, "/", &[]);
        assert_eq!(picked(&told), origins[0].address());
        let expected = [("office", "proceed"), ("few", "proceed")];
        assert_eq!(
            hooks(&told),
            expected.map(|(name, said)| (name.into(), said.into()))
        );
    }
    let now = counted(&proxy).await;
    let other: Vec<_> = counters
        .iter()
        .zip(&now)
        .filter(|(before, now)| before != now)
        .collect();
    assert!(
        other.is_empty() && counters.len() == now.len(),
        "{other:#?}"
    );
    assert_eq!(proxy.shows("/upstreams").await, upstreams);
    let of_plugins = |plugins: &Value| -> Vec<Vec<Value>> {
        let keys = [
            "name",
            "calls",
            "traps",
            "counters",
            "state",
            "history",
            "instances",
        ];
        let plugins = plugins["plugins"].as_array().unwrap().iter();
        plugins
            .map(|plugin| keys.map(|key| plugin[key].clone()).into())
            .collect()
    };
    assert_eq!(
        of_plugins(&proxy.shows("/plugins").await),
        of_plugins(&plugins)
    );
    let mut client = proxy.client().await;
    for turn in 0..9 {
        let expected = origins[turn % 3].address();
        assert_eq!(client.get("/").await.text(), expected, "turn {turn}");
    }
    assert!(!proxy.log().contains("failed"), "{}", proxy.log());
}

#[tokio::test]
async fn a_hook_that_asks_a_server_or_the_store_is_not_asked() {
    let (app, auth) = (origin::says("app").await, origin::says("auth").await);
    let setup = proxy::to([&app]).more(ADMIN).more(&format!(
        "[upstream.auth]\nservers = [\"{}\"]\n\
         [hook.login]\nplugin = \"forward_auth\"\nupstream = \"auth\"\npath = \"/verify\"\n\
         [hook.shared]\nplugin = \"limit_req\"\nkey = \"$remote_addr\"\nrate = \"1r/m\"\nstore = true\nzone = \"z\"",
        auth.address()
    ));
    let proxy = setup.route("hooks = [\"login\", \"shared\"]").start().await;
    for _ in 0..3 {
        let told = of(&proxy, "/", &[]);
        let expected = [("login", "not asked"), ("shared", "not asked")];
        assert_eq!(
            hooks(&told),
            expected.map(|(name, said)| (name.into(), said.into()))
        );
        assert_eq!(told["proxy"]["upstream"], "backend");
    }
    assert_eq!((app.connections(), auth.connections()), (0, 0));
    assert_eq!(
        proxy.get("/").await.status,
        200,
        "no share of the limit is used up"
    );
}
