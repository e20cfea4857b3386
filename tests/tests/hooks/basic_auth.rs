//! `basic_auth`: users and their passwords, through the host's checks.

use tokio::task::JoinSet;
use waypost_tests::{Proxy, eventually, origin, proxy};

/// Of "secret", with bcrypt's cost of 5.
const BCRYPT: &str = "$2a$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
/// The same by other kinds.
const OTHERS: [&str; 5] = [
    "$apr1$xxxxxxxx$/mULyOsdWlXlIt5U99q7h1",
    "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
    "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
    "{PLAIN}secret",
];
/// `Authorization` of `ann` with "secret", with "wrong", and of `eve` with "secret".
const ANN: &str = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
const WRONG: &str = "Authorization: Basic YW5uOndyb25n\r\n";
const EVE: &str = "Authorization: Basic ZXZlOnNlY3JldA==\r\n";

async fn status(proxy: &Proxy, line: &str) -> u16 {
    proxy.get_with("/", line).await.status
}

fn with_user(hash: &str) -> String {
    format!(
        "hooks = [{{ plugin = \"basic_auth\", realm = \"staff\", \
         users = {{ ann = \"{hash}\" }} }}]\n\
         request_headers = {{ set = {{ X-User = \"$hook_user\" }} }}"
    )
}

#[tokio::test]
async fn a_password_of_any_kind_of_hash_lets_in_and_servers_learn_the_user() {
    for hash in OTHERS.iter().chain([&BCRYPT]) {
        let app = origin::says("app").await;
        let proxy = proxy::to([&app]).route(&with_user(hash)).start().await;
        let asked = proxy.get("/").await;
        assert_eq!(asked.status, 401, "{hash}");
        assert_eq!(asked.header("WWW-Authenticate"), "Basic realm=\"staff\"");
        for _ in 0..2 {
            assert_eq!(status(&proxy, ANN).await, 200, "{hash}");
            assert_eq!(status(&proxy, WRONG).await, 401, "{hash}");
            assert_eq!(status(&proxy, EVE).await, 401, "{hash}");
        }
        assert_eq!(app.requests().len(), 2);
        assert_eq!(app.requests()[1].header("X-User"), "ann");
        proxy.log_contains("user \"ann\": password mismatch").await;
        proxy
            .log_contains("user \"eve\" was not found in \"users\"")
            .await;
    }
}

#[tokio::test]
async fn a_crowd_with_the_same_password_is_let_in_at_once() {
    let app = origin::says("app").await;
    let proxy = proxy::to([&app]).route(&with_user(BCRYPT)).start().await;
    let mut crowd = JoinSet::new();
    for number in 0..64 {
        let mut client = proxy.client().await;
        let (line, expected) = if number % 4 == 0 {
            (WRONG, 401)
        } else {
            (ANN, 200)
        };
        crowd.spawn(async move {
            client
                .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{line}\r\n"))
                .await;
            (client.response().await.status, expected)
        });
    }
    for (status, expected) in crowd.join_all().await {
        assert_eq!(status, expected);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_password_is_checked_harms_no_other() {
    let app = origin::says("app").await;
    let proxy = proxy::to([&app]).route(&with_user(BCRYPT)).start().await;
    for _ in 0..16 {
        let mut client = proxy.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{WRONG}\r\n"))
            .await;
        drop(client);
    }
    assert_eq!(status(&proxy, ANN).await, 200);
}

#[tokio::test]
async fn users_come_and_go_with_their_file() {
    let app = origin::says("app").await;
    let hooks = "hooks = [{ plugin = \"basic_auth\", realm = \"staff\", \
                 users_file = \"htpasswd\" }]";
    let setup = proxy::to([&app]).route(hooks);
    let file = setup.directory().join("htpasswd");
    std::fs::write(&file, "# nobody yet\n").expect("the directory is ours");
    let proxy = setup.start().await;
    assert_eq!(status(&proxy, ANN).await, 401);
    std::fs::write(&file, format!("broken\nann:{BCRYPT}\n")).expect("the directory is ours");
    eventually("the user to be there", async || {
        status(&proxy, ANN).await == 200
    })
    .await;
    proxy
        .log_contains("users_file `htpasswd`: 1 lines are skipped")
        .await;
    // The verdict is remembered, and still goes with the user.
    std::fs::write(&file, "bob:{PLAIN}x\n").expect("the directory is ours");
    eventually("the user to be gone", async || {
        status(&proxy, ANN).await == 401
    })
    .await;
    std::fs::remove_file(&file).expect("the directory is ours");
    eventually("the file to be gone", async || {
        status(&proxy, ANN).await == 403
    })
    .await;
}

#[tokio::test]
async fn a_user_whose_hash_cannot_be_checked_is_left_out_and_the_log_says_so_once() {
    let app = origin::says("app").await;
    let setup = proxy::to([&app])
        .route("hooks = [{ plugin = \"basic_auth\", realm = \"staff\", users_file = \"users\" }]");
    let file = setup.directory().join("users");
    let slow = "$2b$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
    let users = |first: &str| format!("{first}ann:{slow}\neve:{{PLAIN}}secret\n");
    std::fs::write(&file, users("")).expect("the directory is ours");
    let proxy = setup.start().await;
    assert_eq!(status(&proxy, ANN).await, 401);
    assert_eq!(status(&proxy, EVE).await, 200);
    assert_eq!(app.requests().len(), 1);
    let said = "the first is 1: the cost of bcrypt must be from 4 to 14";
    proxy.log_contains(said).await;
    std::fs::write(&file, users("# staff\n")).expect("the directory is ours");
    let said_anew = "the first is 2: the cost of bcrypt must be from 4 to 14";
    proxy.log_contains("were read again").await;
    // Each worker's instance hears of it before it is asked next.
    for line in [ANN, WRONG, EVE].repeat(8) {
        status(&proxy, line).await;
    }
    proxy.log_contains(said_anew).await;
    for said in [said, said_anew] {
        assert_eq!(proxy.log().matches(said).count(), 1, "{}", proxy.log());
    }
}
