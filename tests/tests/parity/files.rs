//! Files: for generated requests, nginx and Waypost answer with the same status, the same fields
//! about the file, and the same bytes. What differs on purpose is not asked for: see
//! `docs/files.md`.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use waypost_tests::nginx::{self, seed};
use waypost_tests::{Client, Nginx, Response, proxy};

const REQUESTS: usize = 600;
const OLD: &str = "Mon, 01 Jan 2001 00:00:00 GMT";
const LATER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// Paths that are files.
const FILES: [&str; 11] = [
    "/",
    "/a.html",
    "/b.css",
    "/empty.js",
    "/unknown.xyzzy",
    "/dir/",
    "/alias/index.html",
    "/gz/b.css",
    "/spa/users/7",
    "/spa/a.html",
    "/exp/b.css",
];
/// Paths that are none.
const OTHERS: [&str; 9] = [
    "/none",
    "/none/",
    "/a.html/",
    "/dir",
    "/dir?a=1",
    "/without/",
    "/alias/none",
    "/a.html/b",
    "/%ff%2f..",
];

fn tree(root: &Path) {
    for (name, text) in [
        ("index.html", "<p>home, and some more of it"),
        ("a.html", "0123456789"),
        ("b.css", "p { margin: 0 }"),
        ("empty.js", ""),
        ("unknown.xyzzy", "?"),
        ("dir/index.html", "<p>directory"),
        ("without/x", "x"),
        ("gz/b.css", "p { margin: 0 } p { padding: 0 }"),
        ("gz/b.css.gz", "as if it were compressed"),
        ("spa/index.html", "<p>application"),
        ("spa/a.html", "<p>page"),
        ("exp/b.css", "p { margin: 0 }"),
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn nginx_locations(root: &str) -> String {
    format!(
        "types {{ text/html html; text/css css; application/javascript js; }}\n\
         default_type application/octet-stream;\n\
         root {root};\n\
         location /alias/ {{ alias {root}/dir/; }}\n\
         location /gz/ {{ gzip_static on; }}\n\
         location /spa/ {{ try_files $uri $uri/ /spa/index.html; }}\n\
         location /exp/ {{ expires 1h; }}\n"
    )
}

fn waypost_file(root: &str) -> String {
    let common = "charset = \"\", types = { js = \"application/javascript\" }";
    let whole = format!("root = \"{root}\", strip_prefix = false, {common}");
    let routes = [
        ("/", format!("{{ {whole} }}")),
        ("/alias/", format!("{{ root = \"{root}/dir\", {common} }}")),
        ("/gz/", format!("{{ {whole}, precompressed = [\"gzip\"] }}")),
        (
            "/spa/",
            format!("{{ {whole}, fallback = \"/spa/index.html\" }}"),
        ),
        ("/exp/", format!("{{ {whole}, expires = \"1h\" }}")),
    ];
    let routes =
        routes.map(|(path, files)| format!("[[route]]\npath = \"{path}\"\nfiles = {files}\n"));
    let start = "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n";
    format!("{start}{}", routes.concat())
}

fn ranges(random: &mut Rng) -> String {
    let mut specs = Vec::new();
    for _ in 0..random.usize(1..4) {
        let (first, last) = (random.u32(0..16), random.u32(0..40));
        specs.push(match random.u32(0..8) {
            0 => format!("{first}-"),
            1 => format!("-{last}"),
            2 => format!(" {first} - {last} "),
            3 => ["", "-", "x-1", "1-x", "1", "99999999999999999999-", "9-3"][random.usize(0..7)]
                .to_owned(),
            _ => format!("{first}-{}", first + random.u32(0..6)),
        });
    }
    let unit = ["bytes", "bytes", "bytes", "Bytes", "lines"][random.usize(0..5)];
    format!("{unit}={}", specs.join(","))
}

/// A condition, for a file that has these validators.
fn condition(random: &mut Rng, etag: &str, modified: &str) -> String {
    let tags = match random.u32(0..6) {
        0 => etag.to_owned(),
        1 => format!("W/{etag}"),
        2 => format!("\"x\", {etag}"),
        3 => format!("\"x,\" , W/{etag},\"y\""),
        4 => "*".to_owned(),
        _ => "\"x\"".to_owned(),
    };
    // nginx wants the very moment, and we take any later one.
    let since = [modified, OLD, "yesterday"][random.usize(0..3)];
    let unmodified = [modified, OLD, LATER][random.usize(0..3)];
    match random.u32(0..5) {
        0 => format!("If-None-Match: {tags}\r\n"),
        1 => format!("If-Match: {tags}\r\n"),
        2 => format!("If-Modified-Since: {since}\r\n"),
        3 => format!("If-Unmodified-Since: {unmodified}\r\n"),
        _ => String::new(),
    }
}

fn request(random: &mut Rng, etag: &str, modified: &str, path: &str) -> String {
    let is_file = FILES.contains(&path);
    let method = match random.u32(0..12) {
        0 | 1 => "HEAD",
        2 if is_file => ["POST", "PUT", "DELETE"][random.usize(0..3)],
        _ => "GET",
    };
    let mut fields = condition(random, etag, modified);
    if random.bool() {
        fields += "Accept-Encoding: gzip\r\n";
    }
    // Of compressed copies, nginx sends no parts.
    if method == "GET" && !path.starts_with("/gz/") && random.bool() {
        fields += &format!("Range: {}\r\n", ranges(random));
        let if_range = [etag, modified, OLD, LATER, "\"x\"", "x"][random.usize(0..6)];
        if random.u32(0..3) == 0 {
            fields += &format!("If-Range: {if_range}\r\n");
        }
    }
    format!("{method} {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{fields}\r\n")
}

/// What has to be the same.
fn outcome(request: &str, response: &Response) -> String {
    let content_type = response.header("Content-Type");
    let boundary = content_type
        .split_once("boundary=")
        .map(|(_, boundary)| boundary);
    let same = |text: &str| match boundary {
        Some(boundary) => text.replace(boundary, "BOUNDARY"),
        None => text.to_owned(),
    };
    let mut outcome = format!("{}\n", response.status);
    let about_file = ["ETag", "Last-Modified", "Content-Encoding", "Cache-Control"];
    let mut about_file = about_file.to_vec();
    // nginx says it beside a range that it has looked at and left aside only now and then, and not
    // of compressed copies.
    if !request.contains("Range: ") && !request.contains(" /gz/") {
        about_file.push("Accept-Ranges");
    }
    let of_body = ["Content-Type", "Content-Length"];
    let has_file = response.status < 300 || response.status == 304;
    for name in about_file.into_iter().chain(of_body).filter(|_| has_file) {
        outcome += &format!("{name}: {}\n", same(response.header(name)));
    }
    outcome += &format!("Content-Range: {}\n", response.header("Content-Range"));
    // The authority is told from `Host`, which has no port here, or from the listener.
    let location = response.header("Location").splitn(4, '/').nth(3);
    outcome += &format!("Location: {}\n", location.unwrap_or_default());
    if has_file {
        outcome += &same(&response.text());
    }
    outcome
}

async fn ask(address: &str, request: &str) -> Response {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    match request.starts_with("HEAD") {
        true => client.response_to_head().await,
        false => client.response().await,
    }
}

#[tokio::test]
async fn files_conditions_and_ranges_are_answered_as_by_nginx() {
    if !nginx::installed() {
        return;
    }
    let site = tempfile::tempdir().unwrap();
    tree(site.path());
    // nginx's workers may be another user.
    let all = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(site.path(), all).unwrap();
    let root = site.path().display().to_string();
    let nginx = Nginx::start("", &nginx_locations(&root)).await;
    let proxy = proxy::run(&waypost_file(&root), &[]).await;
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let (mut successes, mut statuses) = (0, std::collections::BTreeSet::new());
    for _ in 0..REQUESTS {
        let path = match random.u32(0..5) {
            0 => OTHERS[random.usize(0..OTHERS.len())],
            _ => FILES[random.usize(0..FILES.len())],
        };
        let plain = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let known = ask(nginx.address(), &plain).await;
        let (etag, modified) = (known.header("ETag"), known.header("Last-Modified"));
        let (etag, modified) = match etag {
            "" => ("\"e\"", OLD),
            etag => (etag, modified),
        };
        let request = request(&mut random, etag, modified, path);
        let (expected, got) = tokio::join!(
            ask(nginx.address(), &request),
            ask(proxy.address(), &request)
        );
        assert_eq!(
            outcome(&request, &got),
            outcome(&request, &expected),
            "waypost (left) differs from nginx (right), WAYPOST_PARITY_SEED={seed}\n{request}"
        );
        successes += usize::from(got.status < 300);
        statuses.insert(got.status);
    }
    assert!(successes > REQUESTS / 4, "{successes} with a file");
    for status in [200, 206, 301, 304, 403, 404, 405, 412, 416] {
        assert!(statuses.contains(&status), "none with {status}");
    }
}
