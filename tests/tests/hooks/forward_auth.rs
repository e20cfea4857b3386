//! `forward_auth`: a server that says who may come in, beside nginx's `auth_request`.

use std::fmt::Write;
use std::time::Duration;

use waypost_tests::redis::{self, Redis};
use waypost_tests::{Answer, Gate, Http2, Nginx, Origin, Proxy, eventually, nginx, origin, proxy};

/// A server that answers as its path says: `/STATUS`, with what it knows of the user.
async fn authority() -> Origin {
    origin::answers(|request| {
        let status = request.header("X-Forwarded-Uri");
        let status = match status.is_empty() {
            true => request.header("X-Original-Uri"),
            false => status,
        };
        let status = status.trim_start_matches('/').parse().unwrap_or(200);
        Answer::status(status, format!("answer {status}"))
            .header("X-User", "jo")
            .header("WWW-Authenticate", "Bearer realm=\"a\"")
            .header("Location", "/login")
            .header("Set-Cookie", "session=2")
    })
    .await
}

async fn with(app: &Origin, auth: &Origin, settings: &str) -> Proxy {
    proxy::to([app])
        .route(&format!(
            "hooks = [{{ plugin = \"forward_auth\", upstream = \"auth\"{settings} }}]"
        ))
        .more(&format!("[upstream.auth]\nservers = [{}]\n", auth.with("")))
        .start()
        .await
}

#[tokio::test]
async fn whom_the_server_lets_in_reaches_the_app_with_what_it_says_of_the_user() {
    let (app, auth) = (origin::says("app").await, authority().await);
    let settings = ", path = \"/verify?$args\", copy_to_request = [\"X-User\"], \
                    copy_to_response = [\"Set-Cookie\"], attributes = { user = \"X-User\" }";
    let proxy = with(&app, &auth, settings).await;
    let forged = "X-User: root\r\nCookie: session=1\r\nContent-Length: 4\r\n\r\nbody";
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST /200?a=b HTTP/1.1\r\nHost: site.example\r\n{forged}"
        ))
        .await;
    let answer = client.response().await;
    assert_eq!((answer.status, &*answer.text()), (200, "app"));
    assert_eq!(answer.header("Set-Cookie"), "session=2");
    let (asked, reached) = (auth.request(), app.request());
    assert_eq!((&*asked.method, &*asked.target), ("GET", "/verify?a=b"));
    for (name, value) in [
        ("Cookie", "session=1"),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Host", "site.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-User", ""),
        ("Content-Length", ""),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert_eq!(reached.header("X-User"), "jo");
    assert_eq!(reached.body, b"body");
}

#[tokio::test]
async fn the_server_judges_a_body_before_it_reaches_the_app() {
    let app = origin::says("app").await;
    let auth = origin::answers(|request| match &*request.body {
        b"good" => Answer::ok(""),
        _ => Answer::status(403, ""),
    })
    .await;
    let proxy = with(&app, &auth, ", method = \"POST\", body_limit = \"4\"").await;
    let mut client = proxy.client().await;
    for (body, status) in [("good", 200), ("evil", 403), ("goods", 413)] {
        let length = body.len();
        client
            .send(format!(
                "PUT / HTTP/1.1\r\nHost: site.example\r\nContent-Length: {length}\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(client.response().await.status, status, "{body}");
    }
    let mut http2 = Http2::connect(proxy.address()).await;
    assert_eq!(http2.post("/", "evil").await.status, 403);
    assert_eq!(http2.post("/", "good").await.status, 200);
    assert_eq!(
        proxy.get("/").await.status,
        403,
        "one without a body is asked about too"
    );
    assert_eq!(auth.requests()[0].method, "POST");
    let reached = app.requests();
    assert!(reached.iter().all(|request| request.body == b"good"));
    assert_eq!(reached.len(), 2);
}

#[tokio::test]
async fn many_large_bodies_that_wait_for_a_verdict_keep_it_from_no_other() {
    let gate = Gate::closed();
    let held = gate.clone();
    let app = origin::says("app").await;
    let auth = origin::answers(move |request| match request.body.len() {
        4 => Answer::ok(""),
        _ => Answer::ok("").when(&held),
    })
    .await;
    let settings = ", method = \"POST\", body_limit = \"8m\"";
    let proxy = proxy::to([&app])
        .server("workers = 1")
        .route(&format!(
            "client_max_body_size = \"8m\"\n\
             hooks = [{{ plugin = \"forward_auth\", upstream = \"auth\"{settings} }}]"
        ))
        .more(&format!("[upstream.auth]\nservers = [{}]\n", auth.with("")))
        .start()
        .await;
    let large = vec![b'x'; 8 << 20];
    let mut waiting = Vec::new();
    for number in 1..=9 {
        let mut client = proxy.client().await;
        client
            .send("PUT / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 8388608\r\n\r\n")
            .await;
        client.send(&large).await;
        auth.received(number).await;
        waiting.push(client);
    }
    let mut http2 = Http2::connect(proxy.address()).await;
    assert_eq!(http2.post("/", "good").await.status, 200);
    gate.open();
    for mut client in waiting {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_client_that_is_turned_away_gets_the_servers_answer_where_that_is_wanted() {
    let (app, auth) = (origin::says("app").await, authority().await);
    let proxy = with(&app, &auth, ", refusal = \"answer\"").await;
    let answer = proxy.get("/302").await;
    assert_eq!((answer.status, &*answer.text()), (302, "answer 302"));
    assert_eq!(answer.header("Location"), "/login");
    let mut http2 = Http2::connect(proxy.address()).await;
    let answer = http2.get("/401").await;
    assert_eq!((answer.status, &*answer.text()), (401, "answer 401"));
    assert!(app.requests().is_empty());
}

#[tokio::test]
async fn where_there_is_no_verdict_nobody_comes_in() {
    let app = origin::says("app").await;
    let auth = origin::refuses();
    let proxy = with(&app, &auth, ", error_status = 503").await;
    assert_eq!(proxy.get("/200").await.status, 503);
    proxy
        .log_contains("auth request to upstream `auth` failed: connection refused")
        .await;
    assert!(app.requests().is_empty());
}

/// Each with and without a challenge, 2xx, 401, 403, and statuses that are no verdict.
#[tokio::test]
async fn the_same_verdicts_as_nginx() {
    let Some((nginx, proxy, app)) = both().await else {
        return;
    };
    let mut compared = 0;
    for status in [
        200, 201, 204, 299, 301, 302, 400, 401, 403, 404, 429, 500, 502,
    ] {
        let target = format!("/{status}");
        let theirs = waypost_tests::client::get_with(nginx.address(), &target, "").await;
        let ours = proxy.get(&target).await;
        assert_eq!(ours.status, theirs.status, "{status}");
        for name in ["WWW-Authenticate", "X-Seen"] {
            assert_eq!(ours.header(name), theirs.header(name), "{status}: {name}");
        }
        compared += 1;
    }
    assert_eq!(compared, 13);
    let requests = app.requests();
    let users: Vec<&str> = requests
        .iter()
        .map(|request| request.header("X-User"))
        .collect();
    assert_eq!(users, ["jo"; 8]);
}

/// nginx with `auth_request`, and Waypost with the hook, before the same two servers.
async fn both() -> Option<(Nginx, Proxy, Origin)> {
    let (app, auth) = (origin::says("app").await, authority().await);
    let mut server = String::new();
    let _ = write!(
        server,
        "location / {{ auth_request /auth; auth_request_set $user $upstream_http_x_user;\n\
         proxy_set_header X-User $user; add_header X-Seen $user; proxy_pass http://{}; }}\n\
         location = /auth {{ internal; proxy_pass http://{}/verify;\n\
         proxy_pass_request_body off; proxy_set_header Content-Length \"\";\n\
         proxy_set_header X-Original-URI $request_uri; }}\n",
        app.address(),
        auth.address()
    );
    if !nginx::installed() {
        return None;
    }
    let nginx = Nginx::start("", &server).await;
    let settings = ", path = \"/verify\", attributes = { user = \"X-User\" }";
    let proxy = proxy::to([&app])
        .route(&format!(
            "hooks = [{{ plugin = \"forward_auth\", upstream = \"auth\"{settings} }}]\n\
             request_headers = {{ set = {{ X-User = \"$hook_user\" }} }}\n\
             response_headers = [{{ statuses = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308], \
             set = {{ X-Seen = \"$hook_user\" }} }}]"
        ))
        .more(&format!("[upstream.auth]\nservers = [{}]\n", auth.with("")))
        .start()
        .await;
    Some((nginx, proxy, app))
}

/// A server that lets each session in as its user, and others not at all.
async fn sessions() -> Origin {
    origin::answers(
        |request| match request.header("Cookie").strip_prefix("session=") {
            Some(user) => Answer::status(204, "").header("X-User", user),
            None => Answer::status(401, ""),
        },
    )
    .await
}

/// As `with`, with verdicts that hold for so long; `more`: further tables.
async fn keeping(app: &Origin, auth: &Origin, time: &str, more: &str) -> Proxy {
    let hook = format!(
        "hooks = [{{ plugin = \"forward_auth\", upstream = \"auth\", copy_to_request = [\"X-User\"], \
         cache = {{ key = [\"$cookie_session\"], time = \"{time}\" }} }}]"
    );
    let upstream = format!("[upstream.auth]\nservers = [{}]\n{more}", auth.with(""));
    proxy::to([app]).route(&hook).more(&upstream).start().await
}

#[tokio::test]
async fn the_server_is_asked_once_for_all_requests_that_show_the_same() {
    let (app, auth) = (origin::says("app").await, sessions().await);
    let proxy = keeping(&app, &auth, "1h", "").await;
    // By either worker.
    for _ in 0..10 {
        for user in ["jo", "al"] {
            let cookie = format!("Cookie: session={user}\r\nX-User: forged\r\n");
            assert_eq!(proxy.get_with("/", &cookie).await.status, 200);
            let reached = app.requests().pop();
            assert_eq!(
                reached.map(|request| request.header("X-User").to_owned()),
                Some(user.into())
            );
        }
    }
    assert_eq!(auth.requests().len(), 2);
    // Nothing is kept of those that show nothing.
    for _ in 0..2 {
        assert_eq!(proxy.get("/").await.status, 401);
    }
    assert_eq!(auth.requests().len(), 4);
}

#[tokio::test]
async fn a_verdict_that_has_expired_is_asked_for_again() {
    let (app, auth) = (origin::says("app").await, sessions().await);
    let proxy = keeping(&app, &auth, "200ms", "").await;
    eventually("another question", async || {
        assert_eq!(
            proxy.get_with("/", "Cookie: session=jo\r\n").await.status,
            200
        );
        auth.requests().len() >= 2
    })
    .await;
}

#[tokio::test]
async fn processes_that_share_a_store_share_verdicts_and_no_secret_is_in_it() {
    if !redis::installed() {
        return;
    }
    let redis = Redis::start().await;
    let store = format!("[store]\nurl = \"{}\"\ntimeout = \"60s\"\n", redis.url());
    let (app, auth) = (origin::says("app").await, sessions().await);
    let one = keeping(&app, &auth, "1h", &store).await;
    let other = keeping(&app, &auth, "1h", &store).await;
    for proxy in [&one, &other, &one] {
        let answer = proxy.get_with("/", "Cookie: session=verysecret\r\n").await;
        assert_eq!(answer.status, 200, "{}", proxy.log());
    }
    assert_eq!(auth.requests().len(), 1);
    let keys = redis.told("KEYS *").await;
    assert!(!keys.is_empty() && !keys.contains("verysecret"), "{keys}");
}

#[tokio::test]
async fn a_server_that_trickles_has_no_longer_than_the_timeout_all_in_all() {
    let app = origin::says("app").await;
    let trickles = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nX: ").await;
        while wire.try_send("x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let proxy = with(&app, &trickles, ", timeout = \"300ms\"").await;
    assert_eq!(proxy.get("/").await.status, 500);
    trickles.has_open(0).await;
    proxy.log_contains("the upstream timed out").await;
}

#[tokio::test]
async fn a_status_that_no_client_can_have_is_no_verdict_and_costs_nobody_else() {
    let app = origin::says("app").await;
    let auth = origin::speaks(|mut wire, _| async move {
        while let Ok(head) = wire.head().await {
            let status = if String::from_utf8_lossy(&head.raw).contains("bad") {
                999
            } else {
                200
            };
            wire.send(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"))
                .await;
        }
    })
    .await;
    let proxy = with(&app, &auth, ", refusal = \"answer\"").await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/bad").await.status, 500);
        assert_eq!(proxy.get("/good").await.text(), "app");
    }
    proxy
        .log_contains("a client cannot be answered with 999")
        .await;
}
