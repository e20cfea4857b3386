//! `substitute`: text in answers, as nginx's `sub_filter` replaces it.

use fastrand::Rng;
use waypost_tests::client::get_with;
use waypost_tests::nginx::{self, Nginx};
use waypost_tests::{Answer, Http2, Origin, Proxy, Response, origin, proxy};

async fn substituting(origin: &Origin, settings: &str) -> Proxy {
    let hook = format!("[hook.sub]\nplugin = \"substitute\"\n{settings}\n");
    let setup = proxy::to([origin]).route("hooks = [\"sub\"]");
    setup.more(&hook).start().await
}

fn page(text: &str) -> Answer {
    Answer::ok(text)
        .header("Content-Type", "text/html; charset=utf-8")
        .header("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT")
        .header("ETag", "\"1\"")
        .header("Accept-Ranges", "bytes")
}

#[tokio::test]
async fn text_is_replaced_in_answers_of_servers_and_of_our_own() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/text" => Answer::ok("http://inside/").header("Content-Type", "text/plain"),
        _ => page("<a href='http://inside/a'>, <a href='HTTP://INSIDE/b'>"),
    })
    .await;
    let settings = "once = false\nreplace = [{ text = \"http://inside\", by = \"https://$host\" }]";
    let setup = proxy::to([&origin]).route("hooks = [\"sub\"]");
    std::fs::write(setup.directory().join("page.html"), "to http://inside/").unwrap();
    let files = format!(
        "[[route]]\npath = \"/files/\"\nfiles = {{ root = \"{}\", strip_prefix = true }}\nhooks = [\"sub\"]\n",
        setup.directory().display()
    );
    let hook = format!("[hook.sub]\nplugin = \"substitute\"\n{settings}\n");
    let proxy = setup.more(&files).more(&hook).start().await;
    let expected = "<a href='https://test/a'>, <a href='https://test/b'>";
    let response = proxy.get("/").await;
    assert_eq!(response.text(), expected);
    for name in ["ETag", "Last-Modified", "Accept-Ranges"] {
        assert_eq!(response.header(name), "", "{name}");
    }
    let mut http2 = Http2::connect(proxy.address()).await;
    assert_eq!(http2.get("/").await.text(), expected);
    let response = proxy.get("/text").await;
    assert_eq!(response.text(), "http://inside/", "it is no HTML");
    let response = proxy.get("/files/page.html").await;
    assert_eq!(response.text(), "to https://test/");
    assert_eq!(response.header("ETag"), "");
}

/// A text of few letters, so that what is looked for is begun and found often.
fn text(rng: &mut Rng, length: usize) -> String {
    (0..length)
        .map(|_| rng.choice(['a', 'b', 'A', '<']).unwrap())
        .collect()
}

/// An origin that answers `/SEED` with the text of that seed, in pieces that end anywhere.
async fn random_pages() -> Origin {
    origin::speaks(|mut wire, _| async move {
        while let Ok(head) = wire.head().await {
            let target = head.start.split(' ').nth(1).unwrap_or_default();
            let mut rng = Rng::with_seed(target[1..].parse().unwrap_or_default());
            let length = *rng.choice(&[0, 1, 5, 40, 3000]).unwrap();
            let mut text = text(&mut rng, length);
            if length > 0 {
                // Where the beginning of a text is all that is left, nginx looks for no other one.
                text.push('.');
            }
            wire.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"1\"\r\n\
                 Last-Modified: Sun, 29 Nov 2026 12:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await;
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rng.usize(1..=rest.len()));
                rest = after;
                wire.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await
}

/// What both have to say alike.
fn facts(response: &Response) -> [String; 4] {
    let [etag, modified] = ["ETag", "Last-Modified"].map(|name| response.header(name));
    // Where nothing was replaced in an answer that was there at once, its tag is as good as before;
    // nginx weakens it all the same.
    let etag = etag.trim_start_matches("W/").to_owned();
    let modified = modified.to_owned();
    [response.status.to_string(), etag, modified, response.text()]
}

#[tokio::test]
async fn text_is_replaced_where_nginx_replaces_it() {
    if !nginx::installed() {
        return;
    }
    let seed = nginx::seed();
    let mut rng = Rng::with_seed(seed);
    let origin = random_pages().await;
    for _ in 0..6 {
        let (once, modified) = (rng.bool(), rng.bool());
        let (mut theirs, mut ours) = (String::new(), Vec::new());
        // nginx takes each text once.
        let mut texts = std::collections::BTreeSet::new();
        for number in 0..rng.usize(1..=4) {
            let length = rng.usize(1..=5);
            let search = text(&mut rng, length);
            if texts.insert(search.to_lowercase()) {
                theirs.push_str(&format!("sub_filter '{search}' '[{number}]';\n"));
                ours.push(format!("{{ text = \"{search}\", by = \"[{number}]\" }}"));
            }
        }
        let on = |is_on: bool| if is_on { "on" } else { "off" };
        let server = format!(
            "location / {{ proxy_pass http://{}; proxy_http_version 1.1;\n{theirs}\
             sub_filter_once {}; sub_filter_last_modified {}; }}",
            origin.address(),
            on(once),
            on(modified)
        );
        let nginx = Nginx::start("", &server).await;
        let settings = format!(
            "once = {once}\nlast_modified = {modified}\nreplace = [{}]",
            ours.join(", ")
        );
        let proxy = substituting(&origin, &settings).await;
        for _ in 0..40 {
            let target = format!("/{}", rng.u32(..));
            let expected = get_with(nginx.address(), &target, "").await;
            let got = get_with(proxy.address(), &target, "").await;
            let same = facts(&got) == facts(&expected);
            assert!(same, "seed {seed}, {target}: {server}");
        }
    }
}
