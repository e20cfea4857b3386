//! `sticky` beside that of an nginx 1.31: where each request goes, and the cookie that it gets.

use std::collections::BTreeMap;

use fastrand::Rng;
use waypost_tests::{Answer, Client, Nginx, Origin, Proxy, nginx, origin, proxy};

use super::seed;

/// What both make of the same request.
#[derive(Debug, PartialEq)]
struct Answered {
    server: String,
    set_cookie: String,
}

/// Both proxies before three servers, which say their names. One that is asked for `?new=N` gives
/// the client the session `N`.
struct Both {
    nginx: Nginx,
    proxy: Proxy,
    _servers: Vec<Origin>,
}

impl Both {
    /// None where there is no such nginx. `directive` is nginx's, `settings` the same for Waypost.
    async fn start(directive: &str, settings: &str) -> Option<Both> {
        let program = nginx::with_least_time()?;
        let mut servers = Vec::new();
        for name in ["a", "b", "c"] {
            let answer = move |request: &waypost_tests::Request| {
                let answer = Answer::ok(name);
                match request.target.split_once("?new=") {
                    Some((_, session)) => answer.header("Set-Cookie", &format!("sid={session}")),
                    None => answer,
                }
            };
            servers.push(origin::answers(answer).await);
        }
        let (mut upstream, mut list) = (format!("upstream s {{ {directive}\n"), String::new());
        for (server, (route, weight)) in servers.iter().zip([("ra", 1), ("rb", 3), ("rc", 1)]) {
            let address = server.address();
            upstream.push_str(&format!(
                "server {address} weight={weight} route={route};\n"
            ));
            list.push_str(&format!(
                "{{ address = \"{address}\", weight = {weight}, route = \"{route}\" }},\n"
            ));
        }
        upstream.push('}');
        let location = "location / { proxy_pass http://s; proxy_http_version 1.1; }";
        let file = format!(
            "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.s]\npolicy = {{ plugin = \"sticky\", {settings} }}\nservers = [\n{list}]\n\
             [[route]]\nproxy = \"s\""
        );
        Some(Both {
            nginx: Nginx::start_program(&program, &upstream, location).await,
            proxy: proxy::run(&file, &[]).await,
            _servers: servers,
        })
    }

    /// Asks both, which must not differ.
    async fn ask(&self, target: &str, cookies: &str) -> Answered {
        let lines = match cookies {
            "" => String::new(),
            cookies => format!("Cookie: {cookies}\r\n"),
        };
        let [expected, got] = [self.nginx.address(), self.proxy.address()].map(async |address| {
            let mut client = Client::connect(address).await;
            client
                .send(format!("GET {target} HTTP/1.1\r\nHost: t\r\n{lines}\r\n"))
                .await;
            let response = client.response().await;
            assert_eq!(response.status, 200, "{target} {cookies}");
            Answered {
                server: response.text(),
                set_cookie: response.headers.all("Set-Cookie").join(" | "),
            }
        });
        let (expected, got) = (expected.await, got.await);
        assert_eq!(
            got, expected,
            "waypost (left) differs from nginx: {target} {cookies}"
        );
        got
    }
}

#[tokio::test]
async fn sticky_cookies_name_the_server_as_nginx_does() {
    let both = Both::start(
        "sticky cookie srv_id domain=t.example path=/app httponly secure samesite=lax;",
        "cookie = { name = \"srv_id\", domain = \"t.example\", path = \"/app\", httponly = true, \
         secure = true, samesite = \"lax\" }",
    )
    .await;
    let (Some(both), mut rng) = (both, Rng::with_seed(seed())) else {
        return;
    };
    let mut clients: Vec<String> = Vec::new();
    for _ in 0..60 {
        let known = (!clients.is_empty()).then(|| rng.usize(..clients.len()));
        match (rng.u8(0..5), known) {
            (0, _) | (_, None) => {
                let cookie = both.ask("/", "").await.set_cookie;
                assert!(cookie.starts_with("srv_id="), "{cookie}");
                clients.push(cookie.split(';').next().unwrap_or_default().to_owned());
            }
            (1, _) => {
                let garbage = rng.u64(..);
                both.ask("/", &format!("srv_id={garbage:032x}")).await;
            }
            (_, Some(client)) => {
                both.ask("/x", &format!("a=b; {}; c=d", clients[client]))
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn sticky_routes_lead_where_nginx_leads() {
    let both = Both::start(
        "sticky route $cookie_r $arg_r;",
        "route = [\"$cookie_r\", \"$arg_r\"]",
    );
    let (Some(both), mut rng) = (both.await, Rng::with_seed(seed())) else {
        return;
    };
    let routes = ["", "ra", "rb", "rc", "rd", "ra2", "RA"];
    for _ in 0..60 {
        let (cookie, argument) = (rng.choice(routes).unwrap(), rng.choice(routes).unwrap());
        let cookie = match cookie {
            "" => String::new(),
            route => format!("r={route}"),
        };
        both.ask(&format!("/?r={argument}"), &cookie).await;
    }
}

#[tokio::test]
async fn sticky_learns_sessions_as_nginx_does() {
    let both = Both::start(
        "sticky learn create=$upstream_cookie_sid lookup=$cookie_sid zone=sessions:1m;",
        "learn = { create = \"$upstream_cookie_sid\", lookup = \"$cookie_sid\", zone = \"1m\" }",
    );
    let (Some(both), mut rng) = (both.await, Rng::with_seed(seed())) else {
        return;
    };
    let mut sessions: BTreeMap<u32, String> = BTreeMap::new();
    for number in 0..60 {
        match rng.u8(0..4) {
            0 => {
                let server = both.ask(&format!("/?new={number}"), "").await.server;
                sessions.insert(number, server);
            }
            1 => {
                both.ask("/", &format!("sid=unknown{number}")).await;
            }
            _ => {
                let known: Vec<_> = sessions.iter().collect();
                if let Some((session, server)) = rng.choice(&known) {
                    let answered = both.ask("/", &format!("sid={session}")).await;
                    assert_eq!(answered.server, **server);
                }
            }
        }
    }
}
