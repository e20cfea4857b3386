//! `X-Accel-Redirect`: a server leaves the answer to another route, as Django, Rails and others have
//! files sent that not everybody may get.

mod parity;

use std::fs;

use tempfile::TempDir;
use tokio::sync::mpsc;
use waypost_tests::{Answer, Client, Http2, Origin, Proxy, Response, origin, plugin, proxy};

/// A server that answers with header lines as the query has them, split at `|`, and tells what it
/// got below `/again`.
async fn application() -> Origin {
    origin::answers(|request| {
        if request.target.starts_with("/again") {
            let body = String::from_utf8_lossy(&request.body);
            return Answer::ok(format!("{} {} [{body}]", request.method, request.target));
        }
        let query = request.target.split_once('?');
        let lines = query.map_or("", |(_, query)| query).replace("%20", " ");
        let mut answer = Answer::ok("secret");
        if request.method == "HEAD" {
            answer = Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
        }
        for line in lines.split('|').filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once('=').expect("a name and a value");
            answer = answer.header(name, value);
        }
        answer
    })
    .await
}

fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.txt", "0123456789"),
        ("b c.txt", "blank"),
        ("d.bin", "bytes"),
    ] {
        fs::write(site.path().join(name), text).unwrap();
    }
    // nginx's workers may be another user.
    let all = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(site.path(), all).unwrap();
    site
}

/// A proxy before the application, with these tables besides.
async fn following(origin: &Origin, site: &TempDir, more: &str) -> Proxy {
    let root = site.path().display();
    let files = format!("files = {{ root = \"{root}\", charset = \"\" }}");
    proxy::to([origin])
        .server("workers = 1")
        .route("accel_redirect = true")
        .more(&format!(
            "[[route]]\nname = \"protected\"\ninternal = true\npath = \"/protected/\"\n{files}\n\
             [[route]]\npath = \"/public/\"\n{files}\n\
             [[route]]\nname = \"caching\"\ninternal = true\npath = \"/caching/\"\nexpires = \"1h\"\n\
             {files}\n\
             [[route]]\nname = \"named\"\ninternal = true\n\
             return = {{ body = \"named $request_method $uri\\n\" }}\n\
             [[route]]\nname = \"again\"\ninternal = true\npath = \"/again/\"\nproxy = \"backend\"\n\
             {more}"
        ))
        .start()
        .await
}

#[tokio::test]
async fn a_file_that_nobody_may_ask_for_is_sent_where_the_server_says_so() {
    let (origin, site) = (application().await, site());
    let proxy = following(&origin, &site, "").await;
    assert_eq!(proxy.get("/protected/a.txt").await.text(), "secret");
    let led = "/?X-Accel-Redirect=/protected/a.txt|Content-Type=image/png|ETag=\"x\"|\
               Content-Disposition=attachment|Set-Cookie=a=1|Set-Cookie=b=2|X-Other=1";
    let response = proxy.get(led).await;
    assert_eq!(
        (response.status, response.text()),
        (200, "0123456789".into())
    );
    assert_eq!(response.header("Content-Type"), "image/png");
    assert_eq!(response.header("Content-Disposition"), "attachment");
    assert_eq!(response.headers.all("Set-Cookie"), ["a=1", "b=2"]);
    assert_ne!(response.header("ETag"), "\"x\"");
    for gone in ["X-Other", "X-Accel-Redirect"] {
        assert_eq!(response.headers.get(gone), None, "{gone}");
    }
    let etag = format!("If-None-Match: {}\r\n", response.header("ETag"));
    let unchanged = proxy.get_with(led, &etag).await;
    let cookies = unchanged.headers.all("Set-Cookie");
    assert_eq!((unchanged.status, cookies), (304, vec!["a=1", "b=2"]));
    assert_eq!(unchanged.header("Content-Type"), "");
    // Over HTTP/2 as well.
    let mut client = Http2::connect(proxy.address()).await;
    let response = client.get("/?X-Accel-Redirect=/protected/a.txt").await;
    assert_eq!(
        (response.status, response.text()),
        (200, "0123456789".into())
    );
}

#[tokio::test]
async fn parts_of_such_a_file_have_the_type_that_the_server_gave_it() {
    let (origin, site) = (application().await, site());
    let proxy = following(&origin, &site, "").await;
    let led = "/?X-Accel-Redirect=/protected/a.txt|Content-Type=image/png";
    let part = proxy.get_with(led, "Range: bytes=1-2\r\n").await;
    assert_eq!((part.status, part.text()), (206, "12".into()));
    assert_eq!(part.header("Content-Type"), "image/png");
    let parts = proxy.get_with(led, "Range: bytes=1-2,4-5\r\n").await;
    assert!(
        parts
            .header("Content-Type")
            .starts_with("multipart/byteranges; boundary=")
    );
    assert_eq!(
        parts.text().matches("Content-Type: image/png\r\n").count(),
        2
    );
}

#[tokio::test]
async fn such_a_file_is_compressed_by_the_type_that_the_server_gave_it() {
    let (origin, site) = (application().await, site());
    fs::write(site.path().join("long.txt"), "0123456789".repeat(200)).unwrap();
    let root = site.path().display();
    let compressed = format!(
        "[[route]]\nname = \"compressed\"\ninternal = true\npath = \"/compressed/\"\n\
         files = \"{root}\"\ncompression = true\n"
    );
    let proxy = following(&origin, &site, &compressed).await;
    for (content_type, coding, varies) in [
        ("text/html", "gzip", "Accept-Encoding"),
        ("image/png", "", ""),
    ] {
        let led = format!("/?X-Accel-Redirect=/compressed/long.txt|Content-Type={content_type}");
        let whole = proxy.get_with(&led, "Accept-Encoding: gzip\r\n").await;
        assert_eq!(whole.header("Content-Encoding"), coding, "{content_type}");
        assert_eq!(whole.header("Vary"), varies, "{content_type}");
        let fields = format!("If-None-Match: {}\r\n", whole.header("ETag"));
        let fields = format!("Accept-Encoding: gzip\r\n{fields}");
        let unchanged = proxy.get_with(&led, &fields).await;
        let answer = (unchanged.status, unchanged.header("Vary"));
        assert_eq!(answer, (304, varies), "{content_type}");
    }
}

#[tokio::test]
async fn unless_the_route_allows_it_the_field_is_one_like_others() {
    let (origin, site) = (application().await, site());
    let root = site.path().display();
    let protected = format!(
        "[[route]]\nname = \"protected\"\ninternal = true\npath = \"/protected/\"\nfiles = \"{root}\"\n"
    );
    let proxy = proxy::to([&origin]).more(&protected).start().await;
    let response = proxy.get("/?X-Accel-Redirect=/protected/a.txt").await;
    assert_eq!(response.text(), "secret");
    assert_eq!(response.header("X-Accel-Redirect"), "/protected/a.txt");
    let following = following(&origin, &site, "").await;
    let response = following
        .get("/?X-Accel-Buffering=no|X-Accel-Expires=1|X-Accel-Limit-Rate=1|X-Accel-Charset=x")
        .await;
    assert_eq!(response.text(), "secret");
    for name in ["Buffering", "Expires", "Limit-Rate", "Charset"] {
        assert_eq!(response.headers.get(&format!("X-Accel-{name}")), None);
    }
}

#[tokio::test]
async fn a_path_that_leads_nowhere_or_up_is_a_404_and_the_log_says_why() {
    let (origin, site) = (application().await, site());
    let proxy = following(&origin, &site, "").await;
    for (target, why) in [
        (
            "/protected/../a.txt",
            "which is no path that may be asked for",
        ),
        (
            "/protected/%2e%2e/a.txt",
            "which is no path that may be asked for",
        ),
        (
            "/protected/x%2f..%2fa.txt",
            "which is no path that may be asked for",
        ),
        ("/protected/%00", "which is no path that may be asked for"),
        ("protected/a.txt", "which is no path that may be asked for"),
        (
            "http://t/protected/a.txt",
            "which is no path that may be asked for",
        ),
    ] {
        let response = proxy
            .get(&format!(
                "/?X-Accel-Redirect={target}|Set-Cookie=a=1|Cache-Control=max-age=9"
            ))
            .await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (404, "404 Not Found\n".into()), "{target}");
        // Not all that was to be said of the file is true of an error.
        assert_eq!(response.header("Set-Cookie"), "a=1", "{target}");
        assert_eq!(response.header("Cache-Control"), "", "{target}");
        let line = format!("upstream sent \"X-Accel-Redirect: {target}\", {why}");
        proxy.log_contains(&line).await;
    }
    let unknown = proxy.get("/?X-Accel-Redirect=@nobody").await;
    assert_eq!(unknown.status, 500);
    proxy
        .log_contains("@nobody\", and no route has that name")
        .await;
    let missing = proxy.get("/?X-Accel-Redirect=/protected/none").await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn a_server_that_is_led_to_gets_a_get_without_the_body_that_another_had() {
    let (origin, site) = (application().await, site());
    let proxy = following(&origin, &site, "").await;
    let mut client = proxy.client().await;
    for (head, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let target = "/?X-Accel-Redirect=/again/x?y=1";
        client
            .send(format!(
                "POST {target} HTTP/1.1\r\nHost: t\r\n{head}\r\n{body}"
            ))
            .await;
        let response = client.response().await;
        assert_eq!(response.text(), "GET /again/x?y=1 []");
        let requests = origin.requests();
        let (first, last) = (&requests[requests.len() - 2], &requests[requests.len() - 1]);
        assert_eq!((&*first.method, &*first.body), ("POST", &b"hello"[..]));
        assert_eq!(last.headers.get("Content-Length"), None);
        assert_eq!(last.headers.get("Transfer-Encoding"), None);
    }
}

#[tokio::test]
async fn a_body_that_is_still_coming_is_dropped() {
    let (answered, mut has_answered) = mpsc::unbounded_channel();
    let hasty = origin::speaks(move |mut wire, _| {
        let answered = answered.clone();
        async move {
            let Ok(head) = wire.head().await else { return };
            let target = head.start.split(' ').nth(1).unwrap().to_owned();
            let (_, led) = target.split_once('?').unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\nX-Accel-Redirect: {led}\r\n\
             Connection: close\r\nContent-Length: 0\r\n\r\n"
            );
            wire.send(head).await;
            let _ = answered.send(());
            wire.rest().await;
        }
    })
    .await;
    let (told, mut hears) = mpsc::unbounded_channel();
    let next = origin::speaks(move |mut wire, _| {
        let told = told.clone();
        async move {
            if wire.head().await.is_ok() {
                wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnext")
                    .await;
                let _ = told.send(wire.rest().await.got);
            }
        }
    })
    .await;
    let (origin, site, auth) = (application().await, site(), origin::says("").await);
    let (hasty, next) = (hasty.address(), next.address());
    let routes = format!(
        "[[route]]\npath = \"/hasty\"\nproxy = \"http://{hasty}\"\naccel_redirect = true\n\
         [[route]]\nname = \"next\"\ninternal = true\npath = \"/next\"\nproxy = \"http://{next}\"\n\
         [[route]]\npath = \"/echo\"\ncomponent = \"{}\"\n\
         [[route]]\npath = \"/judged\"\nproxy = \"http://{next}\"\n\
         hooks = [{{ plugin = \"forward_auth\", upstream = \"auth\", method = \"POST\", body_limit = \"1k\" }}]\n\
         [upstream.auth]\nservers = [{}]\n",
        plugin("web_probe", "wasm32-unknown-unknown").display(),
        auth.with("")
    );
    let proxy = following(&origin, &site, &routes).await;
    let long = "x".repeat(900_000);
    for (led, text) in [
        ("/protected/a.txt", "0123456789"),
        ("/echo", ""),
        ("/judged", "next"),
        ("/next", "next"),
    ] {
        let length = long.len();
        let head =
            format!("POST /hasty?{led} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
        let mut client = proxy.client().await;
        client.send(format!("{head}{}", &long[..200_000])).await;
        has_answered.recv().await.unwrap();
        client.send(&long[200_000..]).await;
        assert_eq!(client.response().await.text(), text);
    }
    let mut http2 = Http2::connect(proxy.address()).await;
    for (led, text) in [("/echo", ""), ("/judged", "next")] {
        let mut stream = http2.begin("POST", &format!("/hasty?{led}"), &[]).await;
        stream.send(&long[..200_000], false);
        has_answered.recv().await.unwrap();
        stream.try_send(&long[200_000..], true).unwrap_or_default();
        assert_eq!(stream.response().await.text(), text);
    }
    // A byte of it behind the head would be the beginning of another request.
    for _ in 0..3 {
        let behind = hears.recv().await.unwrap();
        assert!(behind.is_empty(), "{} bytes", behind.len());
    }
    assert!((auth.requests().iter()).all(|asked| asked.body.is_empty()));
    assert_eq!(auth.requests().len(), 2);
}

#[tokio::test]
async fn a_server_that_hands_a_request_on_for_ever_is_an_error() {
    let origin = origin::answers(|_| Answer::ok("").header("X-Accel-Redirect", "/round")).await;
    let proxy = proxy::to([&origin])
        .route("accel_redirect = true")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 500);
    proxy
        .log_contains("rewrite or internal redirection cycle")
        .await;
    assert!(origin.requests().len() <= 11, "{}", origin.requests().len());
    // Its answers were short: one connection was enough.
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn hooks_of_the_route_that_is_led_to_are_asked() {
    let (origin, site) = (application().await, site());
    let root = site.path().display();
    let closed = format!(
        "[[route]]\nname = \"closed\"\ninternal = true\npath = \"/closed/\"\nfiles = \"{root}\"\n\
         hooks = [{{ plugin = \"access\", rules = [\"deny all\"] }}]\n"
    );
    let proxy = following(&origin, &site, &closed).await;
    assert_eq!(
        proxy.get("/?X-Accel-Redirect=/closed/a.txt").await.status,
        403
    );
}

#[tokio::test]
async fn a_connection_whose_answer_is_still_to_come_is_not_kept() {
    let origin = origin::speaks(|mut wire, _| async move {
        while wire.head().await.is_ok() {
            let head = "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /protected/a.txt\r\n\
                        Content-Length: 5\r\n\r\n";
            wire.send(head).await;
        }
    })
    .await;
    let site = site();
    let proxy = following(&origin, &site, "").await;
    for _ in 0..2 {
        // Nor is it waited for.
        assert_eq!(proxy.get("/").await.text(), "0123456789");
    }
    assert_eq!(origin.connections(), 2);
}
