//! `jwt`: signed tokens. What a good one is is in the plugin's own tests.

use waypost_tests::{Proxy, eventually, origin, proxy};

const SECRET: &str = "a secret of thirty-two bytes....";
/// Of `ann`, whose tenant is `acme`, until 2100.
const GOOD: &str = "\
    eyJhbGciOiAiSFMyNTYifQ.eyJzdWIiOiAiYW5uIiwgInRlbmFudCI6ICJhY21lIiwgImV4cCI6IDQxMDI0NDQ4M\
    DB9.WHVxQtqnxHVNKB-9bmtDPIl3LUPZ6-RsmiNtRev-YqE";
/// As signed with another secret.
const OTHER: &str = "\
    eyJhbGciOiAiSFMyNTYifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDQxMDI0NDQ4MDB9.6-xV0q5oV1SRAkQSH9A7\
    rc1NflBXEnXg_UrBOOGa2_k";
/// Until 2017.
const EXPIRED: &str = "\
    eyJhbGciOiAiSFMyNTYifQ.eyJzdWIiOiAiYW5uIiwgImV4cCI6IDE1MDAwMDAwMDB9.QiRVEJNgg6yA0IuEvDv9\
    1eTWvXd5Z5kmbFcQCGbAzOM";
/// Sets of keys: the secret of [`GOOD`], and that of [`OTHER`].
const KEY: &str =
    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4\"}]}";
const OTHER_KEY: &str =
    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieS4\"}]}";

async fn status(proxy: &Proxy, token: &str) -> u16 {
    let line = format!("Authorization: Bearer {token}\r\n");
    proxy.get_with("/", &line).await.status
}

#[tokio::test]
async fn a_token_lets_in_and_servers_learn_its_claims_from_nothing_else() {
    let app = origin::says("app").await;
    let route = format!(
        "hooks = [{{ plugin = \"jwt\", secret = \"{SECRET}\", realm = \"api\", \
         claims = [\"tenant\"], \
         claims_to_headers = {{ sub = \"X-User\", admin = \"X-Admin\" }} }}]\n\
         request_headers = {{ set = {{ X-Tenant = \"$hook_jwt_tenant\" }} }}"
    );
    let proxy = proxy::to([&app]).route(&route).start().await;
    let asked = proxy.get("/").await;
    assert_eq!(
        (asked.status, asked.header("WWW-Authenticate")),
        (401, "Bearer realm=\"api\"")
    );
    let lines = format!(
        "X-User: root\r\nAuthorization: Bearer {GOOD}\r\nx-admin: true\r\nX-User: admin\r\n"
    );
    for _ in 0..2 {
        assert_eq!(proxy.get_with("/", &lines).await.status, 200);
    }
    for request in app.requests() {
        assert_eq!(request.headers.all("X-User"), ["ann"]);
        assert_eq!(request.header("X-Admin"), "");
        assert_eq!(request.header("X-Tenant"), "acme");
    }
    let forged = format!("{}x", &GOOD[..GOOD.len() - 1]);
    for token in [OTHER, EXPIRED, &forged, "x", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(status(&proxy, token).await, 401, "{token}");
    }
    proxy
        .log_contains("the token was refused: it has expired")
        .await;
    proxy
        .log_contains("the token was refused: its signature is wrong")
        .await;
    assert_eq!(app.requests().len(), 2);
}

#[tokio::test]
async fn requests_without_a_token_that_is_optional_have_no_claims() {
    let app = origin::says("app").await;
    let route = format!(
        "hooks = [{{ plugin = \"jwt\", secret = \"{SECRET}\", optional = true, \
         claims_to_headers = {{ sub = \"X-User\" }} }}]"
    );
    let proxy = proxy::to([&app]).route(&route).start().await;
    assert_eq!(proxy.get_with("/", "X-User: root\r\n").await.status, 200);
    assert_eq!(app.request().header("X-User"), "");
    assert_eq!(status(&proxy, OTHER).await, 401);
}

#[tokio::test]
async fn keys_are_followed_when_their_file_changes() {
    let app = origin::says("app").await;
    let hooks = "hooks = [{ plugin = \"jwt\", key_file = \"keys.json\" }]";
    let setup = proxy::to([&app]).route(hooks);
    let file = setup.directory().join("keys.json");
    std::fs::write(&file, KEY).expect("the directory is ours");
    let proxy = setup.start().await;
    assert_eq!(
        (status(&proxy, GOOD).await, status(&proxy, OTHER).await),
        (200, 401)
    );
    std::fs::write(&file, OTHER_KEY).expect("the directory is ours");
    // With both workers, and although the token was verified before.
    eventually("the old key to be gone", async || {
        let mut refused = 0;
        for _ in 0..8 {
            refused += usize::from(status(&proxy, GOOD).await == 401);
        }
        refused == 8
    })
    .await;
    assert_eq!(status(&proxy, OTHER).await, 200);
}
