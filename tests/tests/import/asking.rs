//! Other servers that are asked about requests, or shown them (`auth_request`, `mirror`): they get the
//! same from nginx and from what is made of its configuration, and what they say means the same.

use tempfile::TempDir;
use waypost_tests::nginx::{self, Nginx};
use waypost_tests::{Answer, Origin, Request, origin, proxy};

use super::{Placed, ask, blocks, imported, moved};

const SITE: &str = r#"
events {}
http {
    upstream app { server APP; }
    upstream auth { server AUTH; }
    server {
        listen LISTEN;
        server_name site.example;
        location / {
            auth_request /auth;
            auth_request_set $user $upstream_http_x_user;
            proxy_set_header X-User $user;
            proxy_pass http://app;
        }
        location /pages/ {
            auth_request /auth;
            error_page 401 = @login;
            proxy_pass http://app;
        }
        location = /auth {
            internal;
            proxy_pass http://auth/check;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Original-URI $request_uri;
            proxy_set_header X-Original-Method $request_method;
        }
        location @login {
            return 302 /login;
        }
        location /shown/ {
            mirror /mirror;
            mirror_request_body off;
            proxy_pass http://app;
        }
        location /copied/ {
            client_max_body_size 2m;
            mirror /copy;
            proxy_pass http://app;
        }
        location = /copy {
            internal;
            proxy_pass http://NEXT$request_uri;
            proxy_set_header Host $host;
        }
        location = /mirror {
            internal;
            proxy_pass http://NEXT$request_uri;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Host $host;
        }
    }
}
"#;

const REQUESTS: [&str; 9] = [
    "GET /a?b=c%20d HTTP/1.1\r\nHost: site.example\r\nCookie: session=jo\r\n",
    "GET /a HTTP/1.1\r\nHost: site.example\r\nCookie: session=jo\r\nX-User: forged\r\n",
    "GET /a HTTP/1.1\r\nHost: site.example\r\nCookie: session=nameless\r\nX-User: forged\r\n",
    "GET /a HTTP/1.1\r\nHost: site.example\r\n",
    "GET /a HTTP/1.1\r\nHost: site.example\r\nCookie: session=barred\r\n",
    "GET /a HTTP/1.1\r\nHost: site.example\r\nCookie: session=elsewhere\r\n",
    "POST /a HTTP/1.1\r\nHost: site.example\r\nCookie: session=jo\r\nContent-Length: 0\r\n",
    "GET /pages/a HTTP/1.1\r\nHost: site.example\r\n",
    "GET /pages/a HTTP/1.1\r\nHost: site.example\r\nCookie: session=jo\r\n",
];

/// A server that lets some in.
async fn auth() -> Origin {
    origin::answers(|request| match request.header("Cookie") {
        "session=jo" => Answer::status(200, "").header("X-User", "jo"),
        "session=nameless" => Answer::status(204, ""),
        "session=barred" => Answer::status(403, ""),
        "session=elsewhere" => Answer::status(302, "").header("Location", "/x"),
        _ => Answer::status(401, "").header("WWW-Authenticate", "Bearer"),
    })
    .await
}

/// What a server was asked, as far as it has to be the same.
fn seen(request: Option<&Request>, headers: &[&str]) -> Vec<String> {
    let Some(request) = request else {
        return Vec::new();
    };
    let what = format!("{} {}", request.method, request.target);
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let headers = headers.iter().map(|name| request.header(name).to_owned());
    [what, body].into_iter().chain(headers).collect()
}

#[tokio::test]
async fn servers_that_are_asked_get_the_same_as_from_nginx_and_mean_the_same() {
    if !nginx::installed() {
        return;
    }
    let (app, auth, next) = (
        origin::says("app").await,
        auth().await,
        origin::says("").await,
    );
    let listen = nginx::free_address();
    let text = SITE
        .replace("LISTEN", &listen)
        .replace("APP", app.address())
        .replace("AUTH", auth.address())
        .replace("NEXT", next.address());
    let directory = TempDir::new().expect("there is room for a directory");
    let placed = Placed {
        text,
        listeners: vec![listen.clone()],
        _origins: Vec::new(),
    };
    let toml = imported(directory.path(), &placed, false);
    let toml = toml.unwrap_or_else(|report| panic!("it is not imported whole:\n{report}"));
    let nginx = Nginx::configured(&blocks(&placed.text), &listen).await;
    let waypost = proxy::run(&toml, &[]).await;
    for request in REQUESTS {
        let request = format!("{request}Connection: close\r\n\r\n");
        let mut told = Vec::new();
        for address in [listen.clone(), moved(&listen)] {
            let before = [app.requests().len(), auth.requests().len()];
            let answer = ask(&address, &request).await;
            let (of_app, of_auth) = (app.requests(), auth.requests());
            let location = answer.header("Location").rsplit('/').next();
            told.push((
                (answer.status, location.map(str::to_owned)),
                answer.header("WWW-Authenticate").to_owned(),
                (answer.status == 200).then(|| answer.text()),
                seen(of_app.get(before[0]), &["X-User", "Cookie"]),
                seen(
                    of_auth.get(before[1]),
                    &["Host", "Cookie", "X-Original-URI", "X-Original-Method"],
                ),
            ));
        }
        let context = format!("{request}{}\n{toml}\n{}", nginx.log(), waypost.log());
        assert_eq!(told[1], told[0], "{context}");
    }
    let large = "x".repeat(1 << 20);
    let mirrored = [
        ("GET /shown/a?b=c", ""),
        ("POST /shown/b", "not shown"),
        ("GET /copied/a", ""),
        ("POST /copied/b?c", "of a request"),
        ("PUT /copied/c", &large),
    ];
    for (number, (request, body)) in mirrored.iter().enumerate() {
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nHost: site.example\r\nX-Own: 1\r\nContent-Type: text/x\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let mut told = Vec::new();
        for (of, address) in [listen.clone(), moved(&listen)].iter().enumerate() {
            let answer = ask(address, &request).await;
            next.received(2 * number + of + 1).await;
            let copy = next.requests().pop();
            // Of a body that is not sent, nginx sends the type all the same.
            let headers = match copy.as_ref().is_some_and(|copy| !copy.body.is_empty()) {
                true => &["Host", "X-Own", "Content-Type"][..],
                false => &["Host", "X-Own"],
            };
            told.push((answer.status, seen(copy.as_ref(), headers)));
        }
        let what = request.lines().next();
        assert!(
            told[1] == told[0],
            "{what:?}: {} {}\n{toml}",
            told[0].0,
            told[1].0
        );
    }
}
