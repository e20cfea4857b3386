//! `[variable.NAME]`: values by text, network, share and template, wherever variables are; and what
//! the regexes of a route have matched.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Proxy, Wire, eventually, origin, proxy};

/// A proxy with these tables, whose route `/` says `$v`.
async fn says_v(tables: &str) -> Proxy {
    let origin = origin::says("default").await;
    proxy::to([&origin])
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .route("host = \"unused\"")
        .more(&format!(
            "[[route]]\nreturn = {{ body = \"$v\" }}\n{tables}"
        ))
        .start()
        .await
}

#[tokio::test]
async fn a_map_has_a_value_for_texts_names_and_regexes() {
    let proxy = says_v(
        r#"
        [variable.v]
        from = "$http_x_tenant"
        map = { "exact" = "e", "*.beta.example" = "beta", '~^acme-(?<unit>.+)$' = "$unit at $host" }
        default = "public"
        "#,
    )
    .await;
    for (tenant, expected) in [
        ("EXACT", "e"),
        ("a.beta.example", "beta"),
        ("acme-r7", "r7 at test"),
        ("nobody", "public"),
    ] {
        let response = proxy
            .get_with("/", &format!("X-Tenant: {tenant}\r\n"))
            .await;
        assert_eq!(response.text(), expected, "{tenant}");
    }
    assert_eq!(proxy.get("/").await.text(), "public");
}

#[tokio::test]
async fn a_network_is_that_of_the_address_that_a_trusted_proxy_reports() {
    let proxy = says_v(
        "[variable.v]\nnetworks = { \"10.0.0.0/8\" = \"internal\", \"10.1.0.0/16\" = \"here\" }\n\
         default = \"world\"",
    )
    .await;
    for (client, expected) in [
        ("10.1.2.3", "here"),
        ("10.2.2.3", "internal"),
        ("2001:db8::1", "world"),
    ] {
        let line = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(
            proxy.get_with("/", &line).await.text(),
            expected,
            "{client}"
        );
    }
    assert_eq!(proxy.get("/").await.text(), "world", "127.0.0.1");
}

/// As others keep a list of networks: a file of its own.
#[tokio::test]
async fn a_hundred_thousand_networks_may_stand_in_a_file_of_their_own() {
    let origin = origin::says("default").await;
    let setup = proxy::to([&origin])
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .route("host = \"unused\"")
        .more("[[route]]\nreturn = { body = \"$v\" }\n[variable.v]\ndefault = \"none\"\n[variable.v.networks]");
    let mut list = "[variable.v.networks]\n".to_owned();
    for number in 0..100_000_u32 {
        let address = std::net::Ipv4Addr::from(number << 8 | 10 << 24);
        list += &format!("\"{address}/25\" = \"n{}\"\n", number % 50);
    }
    std::fs::write(setup.directory().join("networks.toml"), list).unwrap();
    let proxy = setup.start().await;
    // The file names others before its first table.
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    proxy.write(&format!("include = \"networks.toml\"\n{text}\n{ADMIN}"));
    proxy.signal(rustix::process::Signal::HUP);
    proxy.log_contains("reloaded").await;
    for (client, expected) in [
        ("10.0.0.1", "n0"),
        ("10.0.7.127", "n7"),
        ("10.0.7.128", "none"),
        ("11.134.159.1", "n49"),
        ("11.134.160.1", "none"),
    ] {
        let line = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(
            proxy.get_with("/", &line).await.text(),
            expected,
            "{client}"
        );
    }
}

#[tokio::test]
async fn a_share_is_the_same_one_for_the_same_text_everywhere() {
    let origin = origin::says("default").await;
    let proxy = proxy::to([&origin])
        .server("access_log = { path = \"access.log\", format = '$v' }")
        .route("request_headers = { set = { X-Side = \"$v\" } }")
        .route("response_headers = { set = { X-Side = \"$v\" } }")
        // Drawn anew for each request, by the time of day.
        .more("[variable.v]\nfrom = \"$msec$connection\"\nsplit = { a = \"50%\" }\ndefault = \"b\"")
        .start()
        .await;
    let mut sides = Vec::new();
    for _ in 0..60 {
        sides.push(proxy.get("/").await.header("X-Side").to_owned());
    }
    let sent: Vec<String> = origin
        .requests()
        .iter()
        .map(|request| request.header("X-Side").to_owned())
        .collect();
    assert_eq!(sides, sent);
    assert!(sides.iter().any(|side| side == "a") && sides.iter().any(|side| side == "b"));
    let log = || std::fs::read_to_string(proxy.directory().join("access.log")).unwrap_or_default();
    eventually("all lines", async || log().lines().count() == sides.len()).await;
    // Two workers write their lines when they like.
    let (mut logged, log) = (Vec::new(), log());
    logged.extend(log.lines());
    logged.sort_unstable();
    sides.sort();
    assert_eq!(logged, sides);
}

#[tokio::test]
async fn what_the_regexes_of_a_route_have_matched_is_in_its_texts() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("access_log = { path = \"access.log\" }")
        .route(
            "path = '~ ^/u/(?<user>[^/]+)/(.*)$'\nhost = '~^(?<sub>.+)\\.example$'\n\
             request_headers = { set = { X-Who = \"$user $1 $2 $sub\" } }\n\
             response_headers = { set = { X-Who = \"${sub}0$10\" } }\n\
             access_log = { path = \"route.log\", format = '$user $sub' }",
        )
        .more(
            "[[route]]\nhost = ['~^(?<sub>.+)\\.example$', \"~^(.)other(?<sub>.+)$\"]\n\
             return = { status = 302, location = \"https://$sub.test/$1\" }\n",
        )
        .start()
        .await;
    let ask = async |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        proxy.exchange(request).await
    };
    let response = ask("A.b.Example:80", "/u/j%6fe/x/y?z").await;
    assert_eq!(response.header("X-Who"), "a.b0joe0");
    assert_eq!(origin.request().header("X-Who"), "joe joe x/y a.b");
    let log = || std::fs::read_to_string(proxy.directory().join("route.log")).unwrap_or_default();
    eventually("a line", async || log() == "joe a.b\n").await;
    let location = ask("x.example", "/").await;
    assert_eq!(location.header("Location"), "https://x.test/x");
    let location = ask("1other2", "/").await;
    assert_eq!(location.header("Location"), "https://2.test/1");
    // A captured line break frames no header.
    let response = ask("x.example", "/u/a%0d%0aX-Evil:1/").await;
    assert_eq!(origin.requests()[1].header("X-Who"), "");
    assert_eq!((response.status, response.header("X-Evil")), (200, ""));
}

#[tokio::test]
async fn a_value_is_of_the_request_as_hooks_have_left_it_and_captures_of_the_one_that_matched() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .route(
            "path = '~ ^/(old|older)/'\nwhen = { variable = { kind = \"old\" } }\n\
             hooks = [{ plugin = \"rewrite\", rules = [\"^/old/(.*)$ /new/$1 break\"] }]\n\
             request_headers = { set = { X-Kind = \"$kind $1\" } }",
        )
        .more(
            "[variable.kind]\nfrom = \"$uri\"\nmap = { '~^/old' = \"old\", '~^/new' = \"new\" }\n",
        )
        .start()
        .await;
    assert_eq!(proxy.get("/old/a").await.status, 200);
    let request = origin.request();
    assert_eq!(request.target, "/new/a");
    assert_eq!(request.header("X-Kind"), "new old");
}

#[tokio::test]
async fn what_a_server_has_answered_is_not_asked_for_too_early() {
    let origin = origin::answers(|_| Answer::status(404, "none")).await;
    let proxy = proxy::to([&origin])
        .server(
            "access_log = { path = \"access.log\", format = '$verdict $sent $time_taken' }\n\
             workers = 1",
        )
        .route("response_headers = { set = { X-Verdict = \"$verdict\", X-Out = \"1\" } }")
        .more(
            "[variable.verdict]\nfrom = \"$upstream_status\"\nmap = { 404 = \"missing\" }\ndefault = \"other\"\n\
             [variable.sent]\nvalue = \"out $sent_http_x_out\"\n\
             [variable.time_taken]\nfrom = \"$request_time\"\nmap = { '~^[0-9]' = \"some\" }\n",
        )
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!(response.header("X-Verdict"), "missing");
    let log = || std::fs::read_to_string(proxy.directory().join("access.log")).unwrap_or_default();
    eventually("a line", async || log() == "missing out 1 some\n").await;
}

#[tokio::test]
async fn routes_are_chosen_by_them() {
    let origin = origin::says("desktop").await;
    let proxy = proxy::to([&origin])
        .route("path = \"/a\"\nwhen = { variable = { mobile = \"\" } }")
        .more(
            "[[route]]\npath = \"/a\"\nreturn = { body = \"mobile\" }\n\
             [variable.mobile]\nfrom = \"$http_user_agent\"\nmap = { '~*iphone|android' = \"1\" }",
        )
        .start()
        .await;
    let agent = "User-Agent: an ANDROID\r\n";
    assert_eq!(proxy.get_with("/a", agent).await.text(), "mobile");
    assert_eq!(proxy.get("/a").await.text(), "desktop");
}

#[tokio::test]
async fn policies_and_hooks_ask_for_them_by_name_and_get_those_of_the_exchange() {
    let (a, b) = (origin::named().await, origin::named().await);
    let proxy = proxy::to([&a, &b])
        .upstream("policy = { plugin = \"hash\", key = \"$tenant\" }")
        .route("path = '~ ^/(?<area>[a-z]+)'")
        .route("hooks = [{ plugin = \"limit_req\", key = \"$tenant$area\", rate = \"1r/m\", burst = 1, nodelay = true }]")
        .more("[variable.tenant]\nfrom = \"$arg_t\"\nmap = { '~^(.)' = \"$1\" }")
        .more(ADMIN)
        .start()
        .await;
    let mut servers = Vec::new();
    for tenant in ["one", "other", "one"] {
        let response = proxy.get(&format!("/x?t={tenant}")).await;
        servers.push((response.status, response.text()));
    }
    assert_eq!(servers[0], servers[1], "one tenant, one server");
    assert_eq!(servers[2].0, 503, "one tenant, one count");
    assert_eq!(proxy.get("/y?t=one").await.status, 200, "another area");

    // The same hook and the same policy, with another way to compute the key.
    proxy.edit("'~^(.)' = \"$1\"", "'~^(.*)$' = \"x$1\"");
    proxy.reload().await;
    assert_eq!(proxy.get("/x?t=one").await.status, 200);

    // What a setting names cannot go, and nothing changes.
    proxy.edit("[variable.tenant]", "[variable.tenants]");
    let response = proxy.admin("POST", "/reload", "").await;
    let text = response.text();
    assert_eq!(response.status, 422, "{text}");
    for place in ["upstream.backend.policy.key", "route[0].hooks[0].key"] {
        assert!(text.contains(place), "{text}");
    }
    assert!(text.contains("did you mean `$tenants`?"), "{text}");
    assert_eq!(proxy.get("/z?t=one").await.status, 200);
}

#[tokio::test]
async fn a_setting_may_name_only_what_has_a_value_before_a_server_is_chosen() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    proxy.append("[variable.late]\nvalue = \"$upstream_status\"");
    proxy.edit(
        "[upstream.backend]",
        "[upstream.backend]\npolicy = { plugin = \"hash\", key = \"$late\" }",
    );
    let response = proxy.admin("POST", "/reload", "").await;
    let message = "the variable `$late` has no value for requests before a server is chosen";
    assert!(response.text().contains(message), "{}", response.text());
}

#[tokio::test]
async fn streams_have_those_that_are_made_of_what_a_session_has() {
    let server = origin::speaks(|mut wire: Wire, _| async move {
        let _ = wire.try_send("hello").await;
    })
    .await;
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         access_log = {{ path = \"stream.log\", format = '$zone $ended' }}\n\
         [upstream.backend]\nservers = [\"{}\"]\npolicy = {{ plugin = \"hash\", key = \"$zone\" }}\n\
         [variable.zone]\nnetworks = {{ \"127.0.0.0/8\" = \"loop\" }}\n\
         [variable.ended]\nfrom = \"$status\"\nmap = {{ 200 = \"well\" }}\ndefault = \"badly\"\n",
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    wire.rest().await;
    drop(wire);
    let log = || std::fs::read_to_string(proxy.directory().join("stream.log")).unwrap_or_default();
    eventually("a line", async || log() == "loop well\n").await;
}

#[tokio::test]
async fn hostile_values_are_bounded_and_pass_as_the_bytes_that_came() {
    let proxy = says_v(
        "[variable.v]\nfrom = \"$http_x\"\nmap = { '~^(?<all>(a+)+)b?$' = \"$all\", '~\\xff(.)' = \"$1\" }\n\
         default = \"$long\"\n\
         [variable.long]\nvalue = \"$longer$longer\"\n\
         [variable.longer]\nvalue = \"$http_x$http_x$http_x$http_x$http_x\"",
    )
    .await;
    let of = async |value: &[u8]| {
        let head = [
            b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nX: ",
            value,
        ]
        .concat();
        proxy.exchange([&head, &b"\r\n\r\n"[..]].concat()).await
    };
    // What takes a backtracking engine for ever takes one pass here.
    let long = [&b"a".repeat(8000)[..], b"c"].concat();
    assert_eq!(of(&long).await.body.len(), 0, "80 KB are no value");
    assert_eq!(of(&b"a".repeat(8000)).await.body.len(), 8000);
    assert_eq!(of(b"\xff\xfe").await.body, b"\xfe");
    assert_eq!(of(b"xyz").await.body.len(), 30);
}
