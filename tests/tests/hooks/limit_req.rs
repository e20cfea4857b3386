//! `limit_req`: requests within a rate, in nginx's arithmetic. What it decides is in the plugin's own
//! tests and in `parity`; here it is asked by a proxy, over many connections, through changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Client, Proxy, eventually, origin, plugin, proxy};

/// A zone that no spec outlasts: each request beyond the burst takes a minute.
const ZONE: &str = "[hook.api]\nplugin = \"limit_req\"\nkey = \"$arg_user\"\nrate = \"1r/m\"\n\
                    zone = \"api\"";

/// A route that answers by itself, with these hooks.
fn answering(path: &str, hooks: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nhooks = [{hooks}]\nreturn = {{ status = 204 }}\n")
}

async fn limited(tables: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         keepalive_requests = 10000000\n{tables}\n{ADMIN}\n"
    );
    proxy::run(&file, &[]).await
}

/// Sends a request for each target in one write, and reads the statuses.
async fn statuses(client: &mut Client, targets: &[String]) -> Vec<u16> {
    let requests = targets.iter();
    let requests: String = requests
        .map(|target| format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
        .collect();
    client.send(requests).await;
    let mut statuses = Vec::new();
    for _ in targets {
        statuses.push(client.response().await.status);
    }
    statuses
}

async fn statuses_of(proxy: &Proxy, target: &str, requests: usize) -> Vec<u16> {
    let targets = vec![target.to_owned(); requests];
    statuses(&mut proxy.client().await, &targets).await
}

/// Waits for a line of the error log with both parts. The excess between them depends on the moment.
async fn logs(proxy: &Proxy, part: &str, end: &str) -> String {
    let has_both = |line: &&str| line.contains(part) && line.contains(end);
    let log = proxy.stderr();
    let text = log
        .wait_until(part, |text| {
            text.ends_with('\n') && text.lines().any(|line| has_both(&line))
        })
        .await;
    let line = text.lines().find(has_both);
    line.expect("it is there").to_owned()
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|each| **each == status).count()
}

#[tokio::test]
async fn of_twenty_requests_back_to_back_a_burst_of_five_lets_six_pass() {
    let hook = "{ plugin = \"limit_req\", key = \"$binary_remote_addr\", rate = \"10r/s\", \
                burst = 5, nodelay = true, status = 429 }";
    let proxy = limited(&answering("/", hook)).await;
    let began = Instant::now();
    let statuses = statuses_of(&proxy, "/", 20).await;
    // One more each tenth of a second.
    let later = began.elapsed().as_millis() as usize / 100;
    let passed = count(&statuses, 204);
    assert!((6..=6 + later).contains(&passed), "{statuses:?}");
    assert_eq!(statuses[..6], [204; 6]);
    assert_eq!(passed + count(&statuses, 429), 20, "{statuses:?}");
}

#[tokio::test]
async fn the_same_zone_has_another_burst_at_another_place() {
    let api = answering("/api/", "{ use = \"api\", burst = 20, nodelay = true }");
    let auth = answering("/api/auth/", "{ use = \"api\", burst = 5, nodelay = true }");
    let proxy = limited(&format!("{api}{auth}{ZONE}")).await;
    assert_eq!(
        count(&statuses_of(&proxy, "/api/auth/?user=a", 10).await, 204),
        6
    );
    assert_eq!(
        count(&statuses_of(&proxy, "/api/?user=a", 30).await, 204),
        15
    );
    assert_eq!(
        count(&statuses_of(&proxy, "/api/auth/?user=a", 10).await, 204),
        0
    );
    assert_eq!(
        count(&statuses_of(&proxy, "/api/?user=b", 30).await, 204),
        21
    );
    // Without a key nothing is counted.
    assert_eq!(count(&statuses_of(&proxy, "/api/", 30).await, 204), 30);
}

#[tokio::test]
async fn the_limit_is_one_for_all_workers_and_connections() {
    let proxy = limited(&format!(
        "{}{ZONE}",
        answering("/", "{ use = \"api\", burst = 9, nodelay = true }")
    ))
    .await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(proxy.client().await);
    }
    let mut asked = JoinSet::new();
    for mut client in clients {
        asked.spawn(async move {
            let targets = vec!["/?user=a".to_owned(); 3];
            statuses(&mut client, &targets).await
        });
    }
    let asked = asked.join_all().await.concat();
    assert_eq!(count(&asked, 204), 10);
}

#[tokio::test]
async fn a_burst_is_answered_at_the_rate_and_the_log_says_why() {
    let hook = "{ plugin = \"limit_req\", key = \"$arg_user\", rate = \"5r/s\", burst = 3, \
                zone = \"slow\" }";
    let proxy = limited(&answering("/", hook)).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(proxy.client().await);
    }
    let began = Instant::now();
    for client in &mut clients {
        client
            .send("GET /?user=a HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
    }
    let mut answers = Vec::new();
    for client in &mut clients {
        let status = client.response().await.status;
        answers.push((status, began.elapsed()));
    }
    let passed = answers.iter().filter(|(status, _)| *status == 204);
    assert!(passed.count() >= 4, "{answers:?}");
    // Each has its turn a fifth of a second after the one before. A millisecond is lost to nginx's
    // clock, which has whole ones.
    let last = answers.iter().map(|(_, elapsed)| *elapsed).max().unwrap();
    assert!(last >= Duration::from_millis(3 * 200 - 1), "{answers:?}");
    logs(&proxy, "delaying request, excess: ", ", by zone \"slow\"").await;
}

#[tokio::test]
async fn a_rejection_is_an_error_of_the_proxys_own_and_keeps_the_connection() {
    let proxy = limited(&format!(
        "{}{ZONE}",
        answering("/", "{ use = \"api\", status = 429 }")
    ))
    .await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/?user=a").await.status, 204);
    let rejected = client.get("/?user=a").await;
    assert_eq!(rejected.status, 429);
    assert!(rejected.text().contains("429"), "{}", rejected.text());
    assert_eq!(client.get("/?user=b").await.status, 204);
    let line = logs(&proxy, "limiting requests, excess: ", " by zone \"api\"").await;
    assert!(
        line.contains("127.0.0.1") && line.contains("/?user=a"),
        "{line}"
    );
}

#[tokio::test]
async fn the_status_is_an_attribute_that_the_log_can_have() {
    let routes = format!(
        "{}{}{ZONE}",
        answering("/", "{ use = \"api\", burst = 1, nodelay = true }"),
        answering("/dry", "{ use = \"api\", dry_run = true }")
    );
    let file = format!(
        "[server]\nworkers = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\naccess_log = {{ path = \
         \"stdout\", format = \"<$hook_limit_req_status $status>\" }}\n{routes}"
    );
    let proxy = proxy::run(&file, &[]).await;
    for target in ["/", "/?user=a", "/?user=a", "/?user=a", "/dry?user=a"] {
        proxy.get(target).await;
    }
    let wanted = "<- 204>\n<PASSED 204>\n<PASSED 204>\n<REJECTED 503>\n<REJECTED_DRY_RUN 204>\n";
    proxy.stdout().contains(wanted).await;
}

#[tokio::test]
async fn several_zones_decide_together_and_a_rejected_request_counts_in_none() {
    let zones = "[hook.both]\nplugin = \"limit_req\"\n\
        [hook.both.zones.user]\nkey = \"$arg_user\"\nrate = \"1r/m\"\n\
        [hook.both.zones.all]\nkey = \"all\"\nrate = \"1r/m\"\n";
    let hook = "{ use = \"both\", zones = [{ zone = \"user\", burst = 1, nodelay = true }, \
                { zone = \"all\", burst = 2, nodelay = true }] }";
    let proxy = limited(&format!("{}{zones}", answering("/", hook))).await;
    assert_eq!(count(&statuses_of(&proxy, "/?user=a", 9).await, 204), 2);
    assert_eq!(count(&statuses_of(&proxy, "/?user=b", 9).await, 204), 1);
    logs(&proxy, "limiting requests, excess: ", " by zone \"all\"").await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_reported_at_their_line() {
    let proxy = limited(&format!(
        "{}{ZONE}",
        answering("/", "{ use = \"api\", burst = 5 }")
    ))
    .await;
    for (part, wrong, message) in [
        (
            "rate = \"1r/m\"",
            "rate = \"1r/h\"",
            "is not a rate such as",
        ),
        ("rate = \"1r/h\"", "rote = \"1r/m\"", "is `rote` meant?"),
        (
            "rote = \"1r/m\"",
            "rate = \"1r/m\"\nsize = \"1k\"",
            "`size` must be from",
        ),
    ] {
        proxy.edit(part, wrong);
        let answer = proxy.admin("POST", "/reload", "").await;
        assert_ne!(answer.status, 200);
        assert!(answer.text().contains(message), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_crowd_of_keys_takes_no_more_memory_than_the_zone_has() {
    let zone = ZONE.replace("rate", "size = \"1m\"\nrate");
    let mut proxy = limited(&format!("{}{zone}", answering("/", "{ use = \"api\" }"))).await;
    let mut client = proxy.client().await;
    let mut next = 0;
    let mut crowd = async |proxy: &mut Proxy, keys: u32| {
        for _ in 0..keys / 500 {
            let targets: Vec<String> = (next..next + 500)
                .map(|user| format!("/?user={user}"))
                .collect();
            next += 500;
            assert_eq!(count(&statuses(&mut client, &targets).await, 204), 500);
        }
        proxy.process().memory()
    };
    let full = crowd(&mut proxy, 30_000).await;
    let after = crowd(&mut proxy, 60_000).await;
    // 60,000 more would take 4 MiB and more.
    assert!(after <= full + 2048, "{full} KiB, then {after} KiB");
    // The latest are known, the first were forgotten.
    let last = format!("/?user={}", 89_999);
    assert_eq!(statuses_of(&proxy, &last, 1).await, [503]);
    assert_eq!(statuses_of(&proxy, "/?user=0", 1).await, [204]);
}

#[tokio::test]
async fn settings_change_while_requests_are_delayed_and_all_are_answered() {
    let hook = "{ use = \"api\", burst = 3 }";
    let zone = ZONE.replace("1r/m", "20r/m");
    let proxy = limited(&format!("{}{zone}", answering("/", hook))).await;
    let mut clients = Vec::new();
    for delayed in 0..3 {
        let mut client = proxy.client().await;
        client
            .send("GET /?user=a HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        clients.push(client);
        let log = proxy.stderr();
        log.wait_until("a delay", |log| {
            log.matches("delaying request").count() >= delayed
        })
        .await;
    }
    proxy.edit("burst = 3", "burst = 4, nodelay = true");
    proxy.reload().await;
    proxy.edit("burst = 4, nodelay = true", "burst = 0");
    proxy.reload().await;
    assert_eq!(proxy.get("/?user=a").await.status, 503);
    proxy.edit("rate = \"20r/m\"", "rate = \"1r/m\"");
    proxy.reload().await;
    assert_eq!(proxy.get("/?user=a").await.status, 503);
    proxy.edit("[hook.api]", "[hook.other]");
    proxy.edit("use = \"api\"", "use = \"other\"");
    proxy.reload().await;
    // The hook has another name, and begins anew; requests of before are still to be answered.
    assert_eq!(proxy.get("/?user=a").await.status, 204);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 204);
    }
}

/// The plugin from a file, under a name of the spec's.
fn mine() -> Vec<u8> {
    let file = plugin("limit_req", "wasm32-unknown-unknown");
    std::fs::read(file).expect("cargo has built it")
}

#[tokio::test]
async fn a_client_over_its_limit_stays_over_it_through_swaps_and_reloads_at_full_load() {
    let origin = origin::named().await;
    let setup = proxy::to([&origin])
        .listen("keepalive_requests = 1000000")
        .route("hooks = [{ use = \"api\", burst = 50, nodelay = true, status = 500 }]")
        .more(&ZONE.replace("\"limit_req\"", "\"mine\""))
        .more(
            // A machine that stands still for some milliseconds is no fault of the plugin's.
            "[plugin.mine]\nfile = \"mine.wasm\"\nlimits = { deadline = \"1s\" }\nbudget = 100\n\
               grants = [\"request\", \"exchange\", \"changes\", \"store\"]",
        )
        .more(ADMIN);
    std::fs::write(setup.directory().join("mine.wasm"), mine()).unwrap();
    let proxy = setup.start().await;
    let began = Instant::now();
    let (stop, over) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut clients = Vec::new();
    for user in 0..4 {
        let mut client = proxy.client().await;
        let (stop, over) = (stop.clone(), over.clone());
        clients.push(tokio::spawn(async move {
            let mut statuses = Vec::new();
            while !stop.load(Relaxed) {
                let status = client.get(&format!("/?user={user}")).await.status;
                if status != 200 && !statuses.contains(&500) {
                    over.fetch_add(1, Relaxed);
                }
                statuses.push(status);
            }
            statuses
        }));
    }
    // What is counted while an instance hands over may be missed; that a client is over is not.
    eventually("all to be over their limit", async || {
        over.load(Relaxed) == 4
    })
    .await;
    for number in 0..6_u8 {
        let version = [mine().as_slice(), &[0, 2, 1, number]].concat();
        let loaded = proxy.load_plugin("mine", &version).await;
        assert_eq!(loaded.status, 200, "{}", loaded.text());
        let (before, after) = (500 + u16::from(number), 501 + u16::from(number));
        proxy.edit(&format!("status = {before}"), &format!("status = {after}"));
        proxy.reload().await;
    }
    stop.store(true, Relaxed);
    for client in clients {
        let statuses = client.await.expect("no panic");
        let passed = count(&statuses, 200);
        let rejected = |status: &&u16| (500..=506).contains(*status);
        assert_eq!(
            passed + statuses.iter().filter(rejected).count(),
            statuses.len()
        );
        // One and the burst of 50, and one each minute.
        let most = 52 + began.elapsed().as_secs() as usize / 60;
        assert!(
            (51..=most).contains(&passed),
            "{passed} of {}:\n{}",
            statuses.len(),
            proxy.log()
        );
        assert!(statuses.len() > 60, "{}", statuses.len());
    }
}
