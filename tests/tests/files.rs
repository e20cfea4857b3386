//! `files`: a route that answers with the files of a directory.

mod conditions; // what a client has already, and parts of a file
mod safety; // nothing outside of the root
mod sending; // by the kernel, or read and written
mod trouble; // files that change, bounds

use std::fs;
use std::path::Path;
use std::time::Duration;

use waypost_tests::{Answer, Client, Http2, Proxy, Request, Response, origin, proxy, tls};

/// A directory of files: names and contents.
fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(directory.path(), name, text);
    }
    directory
}

fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A proxy with one route at `/`, of these keys beside the root.
async fn serving(directory: &Path, keys: &str) -> Proxy {
    let root = directory.display();
    routes(&format!(
        "[[route]]\npath = \"/\"\nfiles = {{ root = \"{root}\", {keys} }}\n"
    ))
    .await
}

async fn routes(routes: &str) -> Proxy {
    let file = "[server]\nworkers = 1\naccess_log = { path = \"stdout\", format = \"$status \
                $body_bytes_sent $request\" }\n[[listen]]\naddress = \"127.0.0.1:0\"\n";
    proxy::run(&format!("{file}{routes}"), &[]).await
}

async fn ask(proxy: &Proxy, line: &str, fields: &str) -> Response {
    let request = format!("{line} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{fields}\r\n");
    match line.starts_with("HEAD ") {
        true => {
            let mut client = proxy.client().await;
            client.send(request).await;
            client.response_to_head().await
        }
        false => proxy.exchange(request).await,
    }
}

#[tokio::test]
async fn a_file_is_served_with_its_type_and_its_validators() {
    let site = site(&[
        ("index.html", "<p>home"),
        ("a/style.css", "p {}"),
        ("a/unknown.xyzzy", "?"),
        ("a/p\u{e4}ge two.TXT", "two"),
        ("a/app.wasm", "\0asm"),
        ("a/own.wasm2", ""),
    ]);
    let keys = "types = { wasm2 = \"application/wasm\", css = \"text/x-css\" }";
    let proxy = serving(site.path(), keys).await;
    for (target, content_type, text) in [
        ("/", "text/html; charset=utf-8", "<p>home"),
        ("/index.html?v=1", "text/html; charset=utf-8", "<p>home"),
        ("/a/style.css", "text/x-css; charset=utf-8", "p {}"),
        ("/a/unknown.xyzzy", "application/octet-stream", "?"),
        ("/a/p%C3%A4ge%20two.TXT", "text/plain; charset=utf-8", "two"),
        ("/a/app.wasm", "application/wasm", "\0asm"),
        ("/a/own.wasm2", "application/wasm", ""),
    ] {
        let response = proxy.get(target).await;
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.header("Content-Type"), content_type, "{target}");
        assert_eq!(response.text(), text, "{target}");
        assert_eq!(response.header("Accept-Ranges"), "bytes");
        assert!(response.header("Last-Modified").ends_with(" GMT"));
        let etag = response.header("ETag");
        let size = format!("-{:x}\"", text.len());
        assert!(etag.starts_with('"') && etag.ends_with(&size), "{etag}");
    }
    let head = ask(&proxy, "HEAD /a/style.css", "").await;
    assert_eq!((head.status, head.header("Content-Length")), (200, "4"));
}

#[tokio::test]
async fn what_the_path_of_the_route_matched_is_left_out_unless_it_says_otherwise() {
    let site = site(&[
        ("x.txt", "x"),
        ("static/x.txt", "static x"),
        ("favicon.ico", "icon"),
        ("deep/favicon.ico", "deep icon"),
    ]);
    let root = site.path().display();
    let routes = [
        ("/static/", format!("\"{root}\"")),
        ("/plain", format!("\"{root}\"")),
        ("= /deep/favicon.ico", format!("\"{root}\"")),
        (
            "/",
            format!("{{ root = \"{root}\", strip_prefix = false }}"),
        ),
        (
            "/static/whole/",
            format!("{{ root = \"{root}\", strip_prefix = false }}"),
        ),
        ("~ ^/re/", format!("\"{root}\"")),
    ];
    let routes = routes
        .map(|(path, files)| format!("[[route]]\npath = '{path}'\nfiles = {files}\n"))
        .concat();
    let proxy = self::routes(&routes).await;
    for (target, expected) in [
        ("/static/x.txt", "x"),
        ("/plain/x.txt", "x"),
        ("/deep/favicon.ico", "icon"),
        ("/x.txt", "x"),
        ("/plainx.txt", "404"),
        ("/static/whole/x.txt", "404"),
        ("/re/x.txt", "404"),
    ] {
        let response = proxy.get(target).await;
        match response.status {
            200 => assert_eq!(response.text(), expected, "{target}"),
            status => assert_eq!(status.to_string(), expected, "{target}"),
        }
    }
}

#[tokio::test]
async fn a_directory_has_an_index_and_needs_its_slash() {
    let site = site(&[("a/b.html", "b"), ("a/c.html", "c"), ("empty/x/y", "")]);
    let keys = "index = [\"none.html\", \"b.html\", \"c.html\"]";
    let proxy = serving(site.path(), keys).await;
    assert_eq!(proxy.get("/a/").await.text(), "b");
    let redirect = proxy.get("/a?x=1").await;
    let to = (redirect.status, redirect.header("Location"));
    assert_eq!(to, (301, "http://test/a/?x=1"));
    assert_eq!(proxy.get("/empty/").await.status, 403);
    assert_eq!(proxy.get("/none/").await.status, 404);
    assert_eq!(proxy.get("/a/b.html/").await.status, 404);
    fs::remove_file(site.path().join("a/b.html")).unwrap();
    // Another name, as the index before is kept open for a moment.
    assert_eq!(proxy.get("/a/./").await.status, 200);
}

/// As in nginx, which redirects by itself to locations that proxy alone.
#[tokio::test]
async fn a_path_without_the_slash_of_a_route_with_files_is_any_other_routes_first() {
    let site = site(&[("a.css", "a")]);
    let root = site.path().display();
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n
         [[route]]\nhost = \"alone\"\npath = \"/css/\"\nfiles = \"{root}\"\n
         [[route]]\nhost = \"test\"\npath = \"^~ /css/\"\nfiles = \"{root}\"\n
         [[route]]\nhost = \"test\"\npath = \"~ ^/cs\"\nreturn = {{ status = 200, body = \"cs\" }}\n
         [[route]]\nhost = \"test\"\npath = \"/img/\"\nfiles = \"{root}\"\n
         [[route]]\nhost = \"test\"\nreturn = {{ status = 200, body = \"all\" }}\n"
    );
    let proxy = proxy::run(&text, &[]).await;
    for (host, target, expected) in [
        ("test", "/css/a.css", (200, "a")),
        ("test", "/css", (200, "cs")),
        ("test", "/img", (200, "all")),
        ("alone", "/css", (301, "http://alone/css/")),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let response = proxy.exchange(request).await;
        let told = match response.status {
            301 => response.header("Location").to_owned(),
            _ => response.text(),
        };
        assert_eq!((response.status, &*told), expected, "{host} {target}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_looked_for_with_suffixes_then_falls_back_to_a_file() {
    let site = site(&[("index.html", "app"), ("about.html", "about"), ("d/x", "")]);
    let keys = "suffixes = [\".htm\", \".html\"], fallback = \"/index.html\"";
    let proxy = serving(site.path(), keys).await;
    for (target, expected) in [
        ("/about", "about"),
        ("/about.html", "about"),
        ("/users/7", "app"),
        ("/users/7/", "app"),
        // It has no index.
        ("/d/", "app"),
    ] {
        let response = proxy.get(target).await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, expected),
            "{target}"
        );
    }
    fs::remove_file(site.path().join("index.html")).unwrap();
    assert_eq!(proxy.get("/else").await.status, 404);
}

#[tokio::test]
async fn a_file_with_a_suffix_comes_before_a_directory_of_the_same_name() {
    let site = site(&[
        ("index.html", "home"),
        ("about.html", "about"),
        ("about/index.html", "directory"),
        ("about/.html", "hidden"),
        ("team/index.html", "team"),
    ]);
    let proxy = serving(site.path(), "suffixes = [\".html\"]").await;
    assert_eq!(proxy.get("/about").await.text(), "about");
    assert_eq!(proxy.get("/about/").await.text(), "directory");
    assert_eq!(proxy.get("/team").await.status, 301);
    // As `try_files $uri $uri/index.html`: without a redirect.
    let within = "index = [], suffixes = [\"/index.html\"]";
    let proxy = serving(site.path(), within).await;
    for (target, expected) in [("/", "home"), ("/team", "team"), ("/team/", "team")] {
        let response = proxy.get(target).await;
        let got = (response.status, response.text());
        assert_eq!(got, (200, expected.to_owned()), "{target}");
    }
    let hidden = serving(site.path(), "index = [], suffixes = [\".html\"]").await;
    assert_eq!(hidden.get("/about/").await.status, 404);
}

#[tokio::test]
async fn without_an_index_and_a_listing_directories_are_not_there() {
    let site = site(&[("index.html", "app"), ("d/index.html", "directory")]);
    let proxy = serving(site.path(), "index = []").await;
    for target in ["/", "/d", "/d/"] {
        assert_eq!(proxy.get(target).await.status, 404, "{target}");
    }
    let keys = "index = [], fallback = \"/index.html\"";
    let proxy = serving(site.path(), keys).await;
    for target in ["/", "/d", "/d/"] {
        assert_eq!(proxy.get(target).await.text(), "app", "{target}");
    }
    let listed = serving(site.path(), "index = [], autoindex = true").await;
    assert_eq!(listed.get("/d").await.status, 301);
}

#[tokio::test]
async fn one_file_may_be_the_answer_whatever_the_path_is() {
    let site = site(&[("app/index.html", "app"), ("x.txt", "x"), (".hidden", "h")]);
    let proxy = serving(site.path(), "file = \"/app/index.html\"").await;
    for target in ["/", "/x.txt", "/app/", "/none/", "/.git/config"] {
        let response = proxy.get(target).await;
        let got = (response.status, response.text());
        assert_eq!(got, (200, "app".to_owned()), "{target}");
    }
    let keys = "file = \"none.html\", fallback = 410";
    let proxy = serving(site.path(), keys).await;
    assert_eq!(proxy.get("/x.txt").await.status, 410);
    let proxy = serving(site.path(), "file = \".hidden\"").await;
    assert_eq!(proxy.get("/").await.text(), "h");
}

#[tokio::test]
async fn a_route_that_files_fall_back_to_gets_all_methods_for_what_is_no_file() {
    let site = site(&[("a.txt", "a"), ("d/index.html", "d")]);
    let root = site.path().display();
    let origin = origin::answers(|request: &Request| {
        let body = String::from_utf8_lossy(&request.body);
        Answer::ok(format!("{} {} {body}", request.method, request.target))
    })
    .await;
    let proxy = proxy::to([&origin])
        .route("name = \"app\"\ninternal = true")
        .more(&format!(
            "[[route]]\nfiles = {{ root = \"{root}\", fallback = \"@app\" }}\n"
        ))
        .start()
        .await;
    let body = "Content-Length: 5\r\n";
    // What a worker has open is no other.
    for _ in 0..2 {
        let mut posted = proxy.client().await;
        posted
            .send(format!(
                "POST /form?a=1 HTTP/1.1\r\nHost: t\r\n{body}\r\nhello"
            ))
            .await;
        assert_eq!(posted.response().await.text(), "POST /form?a=1 hello");
        assert_eq!(proxy.get("/a.txt").await.text(), "a");
        for target in ["/a.txt", "/d/", "/d"] {
            let line = format!("POST {target}");
            let refused = ask(&proxy, &line, "Content-Length: 0\r\n").await;
            assert_eq!(refused.status, 405, "{target}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_may_have_another_status_or_another_route() {
    let site = site(&[("a.txt", "a"), ("d/x", "")]);
    let root = site.path().display();
    let origin = origin::says("from the server").await;
    let proxy = proxy::to([&origin])
        .route("name = \"app\"\ninternal = true")
        .more(&format!(
            "[[route]]\nfiles = {{ root = \"{root}\", fallback = \"@app\" }}\n\
             [[route]]\npath = \"/gone/\"\nfiles = {{ root = \"{root}\", fallback = 410 }}\n\
             [[route]]\nname = \"round\"\npath = \"/round/\"\nfiles = {{ root = \"{root}\", fallback = \"@round\" }}\n"
        ))
        .start()
        .await;
    assert_eq!(proxy.get("/a.txt").await.text(), "a");
    assert_eq!(proxy.get("/gone/b").await.status, 410);
    for target in ["/b.txt?q", "/d/"] {
        assert_eq!(
            proxy.get(target).await.text(),
            "from the server",
            "{target}"
        );
    }
    let asked: Vec<_> = origin.requests();
    assert_eq!(asked.len(), 2);
    // A circle of routes ends.
    assert_eq!(proxy.get("/round/b").await.status, 500);
}

#[tokio::test]
async fn other_methods_than_get_and_head_are_told_what_is_allowed() {
    let site = site(&[("a.txt", "a")]);
    let proxy = serving(site.path(), "").await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let line = format!("{method} /a.txt");
        let response = ask(&proxy, &line, "Content-Length: 0\r\n").await;
        let answer = (response.status, response.header("Allow"));
        assert_eq!(answer, (405, "GET, HEAD"), "{method}");
    }
    // A body is no reason to close the connection.
    let mut client = proxy.client().await;
    let request = "GET /a.txt HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc";
    for _ in 0..2 {
        client.send(request).await;
        assert_eq!(client.response().await.text(), "a");
    }
}

#[tokio::test]
async fn a_directory_is_listed_as_html_or_json_with_every_name_escaped() {
    let site = site(&[
        ("d/<b>&\"'.txt", "12345"),
        ("d/z dir/x", ""),
        ("d/a:b?#%.txt", ""),
        ("d/.hidden", ""),
    ]);
    let root = site.path();
    std::os::unix::fs::symlink("/etc/hostname", root.join("d/out")).unwrap();
    std::os::unix::fs::symlink("a:b?#%.txt", root.join("d/within")).unwrap();
    let html = serving(root, "autoindex = true").await;
    let response = html.get("/d/").await;
    assert_eq!(response.header("Content-Type"), "text/html; charset=utf-8");
    let text = response.text();
    for part in [
        "Index of /d/",
        "<a href=\"../\">",
        "<a href=\"./z%20dir/\">z dir/</a>",
        "<a href=\"./%3Cb%3E&amp;%22&#39;.txt\">&lt;b&gt;&amp;&quot;&#39;.txt</a>",
        "<a href=\"./a:b%3F%23%25.txt\">",
        "within",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["hidden", "out", "<b>"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
    let json = serving(root, "autoindex = \"json\"").await;
    let response = json.get("/d/").await;
    assert_eq!(response.header("Content-Type"), "application/json");
    let entries = response.json();
    let of = |name: &str| -> Vec<_> {
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry[name].clone()).collect()
    };
    assert_eq!(of("name"), ["z dir", "<b>&\"'.txt", "a:b?#%.txt", "within"]);
    assert_eq!(of("type"), ["directory", "file", "file", "file"]);
    assert_eq!(entries[1]["size"], 5);
}

#[tokio::test]
async fn a_compressed_file_beside_another_goes_to_clients_that_like_it_best() {
    let site = site(&[
        ("a.css", "plain"),
        ("a.css.gz", "as gzip"),
        ("a.css.br", "as brotli"),
        ("b.css", "plain"),
    ]);
    let proxy = serving(site.path(), "precompressed = [\"br\", \"zstd\", \"gzip\"]").await;
    for (accepted, coding, text) in [
        ("gzip, deflate, br, zstd", "br", "as brotli"),
        ("gzip", "gzip", "as gzip"),
        ("x-gzip", "gzip", "as gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip", "as gzip"),
        ("br;q=0, *;q=0.1", "gzip", "as gzip"),
        ("*", "br", "as brotli"),
        ("zstd", "", "plain"),
        ("br;q=0, gzip;q=0", "", "plain"),
        ("br;q=x", "", "plain"),
        ("brotli", "", "plain"),
        ("", "", "plain"),
    ] {
        let fields = format!("Accept-Encoding: {accepted}\r\n");
        let response = ask(&proxy, "GET /a.css", &fields).await;
        assert_eq!(response.header("Content-Encoding"), coding, "{accepted}");
        assert_eq!(response.text(), text, "{accepted}");
        assert_eq!(response.header("Content-Type"), "text/css; charset=utf-8");
        assert_eq!(response.header("Vary"), "Accept-Encoding");
    }
    let other = ask(&proxy, "GET /b.css", "Accept-Encoding: br\r\n").await;
    assert_eq!(other.text(), "plain");
}

#[tokio::test]
async fn no_two_codings_of_a_file_have_the_same_validator() {
    let names = ["a.css", "a.css.gz", "a.css.br", "a.css.zst", "b.css"];
    let site = site(&names.map(|name| (name, "same size")));
    write(site.path(), "b.css.gz", "another size");
    // As `gzip`, `brotli` and `zstd` leave it.
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for name in names.into_iter().chain(["b.css.gz"]) {
        let file = fs::File::options().write(true).open(site.path().join(name));
        file.unwrap().set_modified(modified).unwrap();
    }
    let proxy = serving(site.path(), "precompressed = [\"br\", \"zstd\", \"gzip\"]").await;
    for (line, accepted, etag) in [
        ("GET /a.css", "", "\"3b9aca00-9\""),
        ("GET /a.css", "gzip", "\"3b9aca00-9.gz\""),
        ("GET /a.css", "br", "\"3b9aca00-9.br\""),
        ("GET /a.css", "zstd", "\"3b9aca00-9.zst\""),
        // nginx's, where that tells them apart.
        ("GET /b.css", "gzip", "\"3b9aca00-c\""),
    ] {
        let accepts = format!("Accept-Encoding: {accepted}\r\n");
        let response = ask(&proxy, line, &accepts).await;
        assert_eq!(response.header("Content-Encoding"), accepted);
        assert_eq!(response.header("ETag"), etag, "{line} {accepted}");
        let again = format!("{accepts}If-None-Match: {etag}\r\n");
        assert_eq!(ask(&proxy, line, &again).await.status, 304, "{accepted}");
        let part = format!("{accepts}Range: bytes=1-2\r\nIf-Range: {etag}\r\n");
        let part = ask(&proxy, line, &part).await;
        assert_eq!((part.status, part.header("ETag")), (206, etag));
        let other = format!("{accepts}If-None-Match: \"3b9aca00-9.x\"\r\n");
        assert_eq!(ask(&proxy, line, &other).await.status, 200, "{accepted}");
    }
}

#[tokio::test]
async fn how_long_a_file_may_be_kept_is_said_in_cache_control() {
    let site = site(&[("a.txt", "a")]);
    for (expires, expected) in [
        ("\"30d\"", "max-age=2592000"),
        ("\"max\"", "max-age=315360000"),
        ("\"no-cache\"", "no-cache"),
        ("false", ""),
    ] {
        let proxy = serving(site.path(), &format!("expires = {expires}")).await;
        let response = proxy.get("/a.txt").await;
        assert_eq!(response.header("Cache-Control"), expected);
        let etag = format!("If-None-Match: {}\r\n", response.header("ETag"));
        let unchanged = ask(&proxy, "GET /a.txt", &etag).await;
        let again = (unchanged.status, unchanged.header("Cache-Control"));
        assert_eq!(again, (304, expected));
    }
}

#[tokio::test]
async fn headers_of_the_route_and_its_hooks_hold_for_files_and_the_log_counts_their_bytes() {
    let site = site(&[("a.txt", "0123456789")]);
    let root = site.path().display();
    let proxy = routes(&format!(
        "[[route]]\nfiles = \"{root}\"\nresponse_headers = {{ set = {{ X-Frame-Options = \"DENY\", \
         ETag = \"\" }} }}\nhooks = [{{ plugin = \"access\", rules = [\"allow all\"] }}]\n"
    ))
    .await;
    let response = proxy.get("/a.txt").await;
    assert_eq!(response.header("X-Frame-Options"), "DENY");
    assert_eq!(response.header("ETag"), "");
    ask(&proxy, "GET /a.txt", "Range: bytes=2-4\r\n").await;
    for line in ["200 10 GET /a.txt", "206 3 GET /a.txt"] {
        proxy.stdout().contains(line).await;
    }
    let refusing = routes(&format!(
        "[[route]]\nfiles = \"{root}\"\nhooks = [{{ plugin = \"access\", rules = [\"deny all\"] }}]\n"
    ))
    .await;
    assert_eq!(refusing.get("/a.txt").await.status, 403);
}

/// Some megabytes that are no repetition of each other.
fn long_text() -> String {
    let mut text: String = (0..400_000).map(|number| format!("{number}\n")).collect();
    text.push_str("the end");
    text
}

#[tokio::test]
async fn a_large_file_comes_whole_over_http1_http2_and_tls() {
    let text = long_text();
    let site = site(&[("large.txt", &text)]);
    let authority = tls::Authority::new("Specs");
    authority
        .certificate(&["a.example"])
        .write(site.path(), "own");
    let root = site.path().display();
    let proxy = routes(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{root}/own.pem\", \
         key = \"{root}/own.key\" }}\n[[route]]\nfiles = \"{root}\"\n"
    ))
    .await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let response = client.get("/large.txt").await;
        assert!(response.text() == text);
    }
    let mut http2 = Http2::connect(proxy.address()).await;
    assert!(http2.get("/large.txt").await.text() == text);
    let range = [("range", "bytes=-7")];
    let part = http2.ask("GET", "/large.txt", &range).await;
    assert_eq!((part.status, part.text().as_str()), (206, "the end"));
    let secure = proxy.listener(1);
    let response = tls::get(secure, authority.trusting(), "a.example", "/large.txt").await;
    assert!(response.text() == text);
    let mut config = authority.trusting();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = tls::connect(secure, config, "a.example").await;
    let mut http2 = Http2::on(client.unwrap().wire).await;
    assert!(http2.get("/large.txt").await.text() == text);
}

/// What a client reads little by little costs no thread: more of them than there are threads.
#[tokio::test]
async fn clients_that_do_not_read_hold_up_no_others() {
    let text = long_text();
    let site = site(&[("large.txt", &text), ("small.txt", "small")]);
    let proxy = serving(site.path(), "").await;
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut client: Client = proxy.client().await;
        client
            .send("GET /large.txt HTTP/1.1\r\nHost: t\r\n\r\n")
            .await;
        slow.push(client);
    }
    assert_eq!(proxy.get("/small.txt").await.text(), "small");
    for mut client in slow {
        assert!(client.response().await.text() == text);
    }
}

#[tokio::test]
async fn error_pages_hold_for_files_and_a_file_may_be_one_itself() {
    let site = site(&[("a.txt", "a"), ("sorry.html", "sorry")]);
    let root = site.path().display();
    let proxy = routes(&format!(
        "[[route]]\npath = \"/\"\nfiles = {{ root = \"{root}\", fallback = 404 }}\n\
         error_pages = {{ \"404 416\" = {{ route = \"sorry\", status = 503 }}, 405 = {{ body = \"no\" }} }}\n\
         [[route]]\nname = \"sorry\"\ninternal = true\n\
         files = {{ root = \"{root}\", fallback = \"/sorry.html\" }}\n"
    ))
    .await;
    assert_eq!(proxy.get("/a.txt").await.text(), "a");
    let refused = ask(&proxy, "POST /a.txt", "").await;
    assert_eq!((refused.status, refused.text().as_str()), (405, "no"));
    // What the client knows of another file is of no concern.
    for fields in ["", "If-None-Match: *\r\n", "Range: bytes=0-1\r\n"] {
        let sorry = ask(&proxy, "GET /none", fields).await;
        let answer = (sorry.status, sorry.text());
        assert_eq!(answer, (503, "sorry".to_owned()), "{fields}");
    }
}
