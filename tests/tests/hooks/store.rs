//! What plugins share: through workers, reloads and versions in the process, and between processes in
//! a Redis, which dies, hangs and is full. Requests never wait for it for longer than they may.

use std::time::{Duration, Instant};

use waypost_tests::admin::ADMIN;
use waypost_tests::redis::{self, Redis};
use waypost_tests::{Client, Proxy, eventually, proxy};

/// A zone that no spec outlasts: each request beyond the burst takes a minute.
const ZONE: &str = "[hook.api]\nplugin = \"limit_req\"\nkey = \"$arg_user\"\nrate = \"1r/m\"\n\
                    zone = \"api\"\nstore = true\nburst = 9\nnodelay = true\nstatus = 429";

/// Two workers, which answer by themselves; `more` is at the end of the hook's table.
async fn limited(more: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         keepalive_requests = 1000000\n\
         [[route]]\nhooks = [\"api\"]\nreturn = {{ status = 204 }}\n{ADMIN}\n{ZONE}\n{more}\n"
    );
    proxy::run(&file, &[]).await
}

/// How many of so many requests of a user pass, each on a connection of its own; the others are
/// rejected.
async fn passed(proxy: &Proxy, user: &str, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        match proxy.get(&format!("/?user={user}")).await.status {
            204 => passed += 1,
            status => assert_eq!(status, 429),
        }
    }
    passed
}

#[tokio::test]
async fn a_zone_in_the_store_is_one_for_all_workers_and_reloads() {
    let proxy = limited("").await;
    assert_eq!(passed(&proxy, "a", 8).await, 8);
    let stored = proxy.shows("/plugins/limit_req").await["store"].clone();
    assert_eq!(stored["entries"], 1);
    assert_eq!(stored["refused"], 0);
    // Another declaration is another hook: what instances know would be gone.
    proxy.edit(
        "status = 429",
        "status = 429\ndry_run = false\nlog_level = \"info\"",
    );
    proxy.reload().await;
    assert_eq!(passed(&proxy, "a", 8).await, 2);
    assert_eq!(passed(&proxy, "b", 20).await, 10);
}

#[tokio::test]
async fn a_store_that_is_full_lets_requests_pass_and_keeps_those_that_it_counts() {
    let proxy = limited("[store]\nsize = \"64k\"").await;
    let mut client = proxy.client().await;
    let ask = async |client: &mut Client, user: &str| {
        let request = format!("GET /?user={user} HTTP/1.1\r\nHost: test\r\n\r\n");
        client.send(request).await;
        client.response().await.status
    };
    for _ in 0..10 {
        assert_eq!(ask(&mut client, "first").await, 204);
    }
    for user in 0..1000 {
        assert_eq!(ask(&mut client, &format!("u{user}")).await, 204);
    }
    proxy
        .log_contains("the store of zone \"api\" is full: requests are let pass uncounted")
        .await;
    assert_eq!(ask(&mut client, "first").await, 429);
    let stored = proxy.shows("/plugins/limit_req").await["store"].clone();
    assert!(stored["bytes"].as_u64().unwrap() <= 64 << 10, "{stored}");
    assert!(stored["refused"].as_u64().unwrap() > 0, "{stored}");
}

fn elsewhere(redis: &Redis, more: &str) -> String {
    let url = redis.url();
    format!("[store]\nurl = \"{url}\"\nconnect_timeout = \"60s\"\n{more}")
}

#[tokio::test]
async fn two_processes_with_one_redis_share_a_limit() {
    if !redis::installed() {
        return;
    }
    let redis = Redis::start().await;
    let store = elsewhere(&redis, "timeout = \"60s\"");
    let (one, other) = (limited(&store).await, limited(&store).await);
    let both = async {
        let (one, other) = tokio::join!(passed(&one, "a", 20), passed(&other, "a", 20));
        one + other
    };
    assert_eq!(both.await, 10);
    assert_eq!(
        passed(&one, "b", 4).await + passed(&other, "b", 20).await,
        10
    );
    // It outlives the processes.
    drop((one, other));
    assert_eq!(passed(&limited(&store).await, "a", 5).await, 0);
    // With another prefix there is nothing to share.
    let apart = elsewhere(&redis, "timeout = \"60s\"\nprefix = \"apart\"");
    assert_eq!(passed(&limited(&apart).await, "a", 20).await, 10);
}

#[tokio::test]
async fn requests_pass_while_redis_is_dead_and_are_limited_when_it_is_back() {
    if !redis::installed() {
        return;
    }
    let mut redis = Redis::start().await;
    let proxy = limited(&elsewhere(&redis, "timeout = \"60s\"")).await;
    assert_eq!(passed(&proxy, "a", 20).await, 10);
    redis.dies().await;
    let began = Instant::now();
    assert_eq!(passed(&proxy, "a", 50).await, 50);
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "nobody waits for a store that is gone"
    );
    proxy
        .log_contains("the store of zone \"api\" does not answer: requests are let pass")
        .await;
    let store = proxy.shows("/status").await["store"].clone();
    assert_eq!(store["connected"], false);
    assert!(store["failed"].as_u64().unwrap() >= 50, "{store}");
    redis.comes_back().await;
    eventually("the store to be asked again", async || {
        proxy.shows("/status").await["store"]["connected"] == true
    })
    .await;
    proxy.log_contains("answers again").await;
    assert_eq!(passed(&proxy, "a", 20).await, 10);
}

#[tokio::test]
async fn requests_are_rejected_while_redis_is_dead_where_that_is_wanted() {
    if !redis::installed() {
        return;
    }
    let mut redis = Redis::start().await;
    let store = elsewhere(&redis, "timeout = \"60s\"");
    let proxy = limited(&format!("store_error = \"reject\"\n{store}")).await;
    assert_eq!(passed(&proxy, "a", 1).await, 1);
    redis.dies().await;
    assert_eq!(passed(&proxy, "a", 5).await, 0);
    proxy
        .log_contains("does not answer: requests are rejected")
        .await;
}

#[tokio::test]
async fn a_redis_that_hangs_holds_up_no_worker_and_nobody_for_long() {
    if !redis::installed() {
        return;
    }
    let redis = Redis::start().await;
    let file = format!(
        "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nhooks = [\"api\"]\nreturn = {{ status = 204 }}\n\
         [[route]]\npath = \"/other\"\nreturn = {{ status = 200 }}\n{ADMIN}\n{ZONE}\n{}",
        elsewhere(&redis, "timeout = \"5s\"")
    );
    let proxy = proxy::run(&file, &[]).await;
    assert_eq!(passed(&proxy, "a", 1).await, 1);
    redis.hangs();
    let mut waiting = proxy.client().await;
    waiting
        .send("GET /?user=a HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    // The worker serves others meanwhile, long before the time is over.
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(proxy.get("/other").await.status, 200);
    }
    let others = began.elapsed();
    assert_eq!(waiting.response().await.status, 204);
    assert!(others < began.elapsed(), "{others:?}");
    // From then on nobody waits at all.
    let began = Instant::now();
    assert_eq!(passed(&proxy, "a", 50).await, 50);
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    redis.goes_on();
    eventually("the store to be asked again", async || {
        proxy.shows("/status").await["store"]["connected"] == true
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_full_lets_new_clients_pass() {
    if !redis::installed() {
        return;
    }
    let redis = Redis::start().await;
    let proxy = limited(&elsewhere(&redis, "timeout = \"60s\"")).await;
    assert_eq!(passed(&proxy, "a", 20).await, 10);
    redis.told("CONFIG SET maxmemory 1").await;
    assert_eq!(passed(&proxy, "b", 20).await, 20);
    proxy
        .log_contains("the store of zone \"api\" is full")
        .await;
    redis.told("CONFIG SET maxmemory 0").await;
    assert_eq!(passed(&proxy, "b", 20).await, 10);
}
