//! The page for people at the admin address: who gets it, what it may do, and that it shows and
//! does what the API says, in a browser.

use waypost_tests::client::exchange;
use waypost_tests::{Proxy, Response, eventually, origin, peers, plugin, proxy};

/// `backend`, of which one server is out for good, `mine` as its policy; and 1,000 servers of an
/// upstream that is called as markup would be.
async fn with_page(servers: [String; 3], component: &[u8]) -> (Proxy, String) {
    let many: String = (0..1000)
        .map(|server| format!("\"127.0.1.{}:{}\",\n", server / 250 + 1, 10_000 + server))
        .collect();
    let setup = proxy::to(servers)
        .upstream("policy = \"mine\"")
        .more(&format!(
            "[upstream.\"<b>many<b>\"]\nservers = [{many}]\n\
             [[route]]\npath = \"/many/\"\nproxy = \"<b>many<b>\"\n\
             [plugin.mine]\nfile = \"mine.wasm\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n"
        ));
    std::fs::write(setup.directory().join("mine.wasm"), component).unwrap();
    let proxy = setup.start().await;
    let address = admin_address(&proxy);
    (proxy, address)
}

/// Where it listens: at a port that it has chosen.
fn admin_address(proxy: &Proxy) -> String {
    let log = proxy.log();
    let address = log.split_once("admin api on ").expect("it is logged").1;
    address.lines().next().unwrap().to_owned()
}

async fn with_an_admin_port() -> (Proxy, String) {
    let file = "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\nreturn = { status = 200, body = \"hello\" }\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let proxy = proxy::run(file, &[]).await;
    let address = admin_address(&proxy);
    (proxy, address)
}

async fn get(address: &str, target: &str, lines: &str) -> Response {
    let head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    exchange(address, format!("{head}{lines}\r\n")).await
}

#[tokio::test]
async fn a_browser_gets_the_page_and_all_that_it_is_made_of_and_a_program_nothing_at_the_root() {
    let (_proxy, address) = with_an_admin_port().await;
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let page = get(&address, "/", accept).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.text(), get(&address, "/dashboard", "").await.text());
    assert_eq!(get(&address, "/", "").await.status, 404);
    assert_eq!(get(&address, "/", "Accept: */*\r\n").await.status, 404);
    assert_eq!(get(&address, "/dashboard/nothing.js", "").await.status, 404);
    let (mut wanted, mut known) = (vec!["dashboard".to_owned()], Vec::new());
    while let Some(file) = wanted.pop() {
        let answer = get(&address, &format!("/{file}"), "").await;
        assert_eq!(answer.status, 200, "{file}");
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{file}: {policy}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{file}");
        assert_eq!(answer.header("cache-control"), "no-store", "{file}");
        let text = answer.text();
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("://"), "{file} names another place");
        // Links of the page, and imports of its scripts.
        for quoted in text.split('"').skip(1).step_by(2) {
            let file = quoted.replacen("./", "dashboard/", 1);
            let is_file = file.starts_with("dashboard/") && !known.contains(&file);
            if is_file {
                known.push(file.clone());
                wanted.push(file);
            }
        }
    }
    known.sort();
    assert_eq!(known.len(), 11, "{known:?}");
}

#[tokio::test]
async fn the_page_may_change_something_and_no_other_one() {
    let (proxy, address) = with_an_admin_port().await;
    let post = async |lines: &str| {
        let head = format!("POST /reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        let answer = exchange(&address, format!("{head}{lines}\r\n")).await;
        answer.status
    };
    let port = address.rsplit(':').next().unwrap();
    let origin =
        |host: &str, site: &str| format!("Origin: http://{host}\r\nSec-Fetch-Site: {site}\r\n");
    let others = [
        origin(&format!("localhost:{port}"), "same-origin"),
        origin("127.0.0.1:1", "same-site"),
        origin("evil.example", "cross-site"),
        origin(&address, "cross-site"),
        format!("Origin: http://{address}\r\n"),
        "Origin: null\r\nSec-Fetch-Site: same-origin\r\n".to_owned(),
    ];
    for lines in others {
        assert_eq!(post(&lines).await, 403, "{lines}");
    }
    assert!(!proxy.log().contains("reloaded"), "{}", proxy.log());
    assert_eq!(post(&origin(&address, "same-origin")).await, 200);
}

/// Who is asked for one may have never seen one.
#[tokio::test]
async fn the_page_says_where_a_token_comes_from() {
    let (_proxy, address) = with_an_admin_port().await;
    let script = get(&address, "/dashboard/actions.js", "").await.text();
    for part in ["waypost token NAME", "[[admin.tokens]]"] {
        assert!(script.contains(part), "{part}");
    }
}

#[tokio::test]
async fn what_the_log_said_of_late_is_told_by_kind() {
    let (proxy, address) = with_an_admin_port().await;
    let good = std::fs::read_to_string(proxy.file()).unwrap();
    proxy.write("[[listen]]\nadress = \"127.0.0.1:0\"\n");
    let post = format!("POST /reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(exchange(&address, &post).await.status, 422);
    }
    proxy.write(&good);
    assert_eq!(exchange(&address, &post).await.status, 200);
    // The log has a thread of its own.
    let mut events = serde_json::Value::Null;
    let said = |event: &serde_json::Value, level: &str, text: &str| {
        event["level"] == level && event["text"].as_str().unwrap().starts_with(text)
    };
    eventually("the log to say so", async || {
        events = get(&address, "/events", "").await.json()["events"].take();
        let mut events = events.as_array().unwrap().iter();
        events.any(|event| said(event, "info", "reloaded: generation 2"))
    })
    .await;
    let events = events.as_array().unwrap();
    let refused: Vec<_> = (events.iter())
        .filter(|event| said(event, "error", "reload refused"))
        .collect();
    let [refused] = refused[..] else {
        panic!("{events:?}");
    };
    assert_eq!(refused["count"], 2, "{refused}");
    assert!(refused["first"].as_str() < refused["last"].as_str());
}

#[tokio::test]
async fn in_a_browser_it_shows_what_the_api_says_and_does_what_it_is_told() {
    let Some(python) = peers::python(&["json"]) else {
        return;
    };
    if !peers::installed("chromium", "chromium") {
        return;
    }
    let component = std::fs::read(plugin("round_robin", "wasm32-unknown-unknown")).unwrap();
    let (one, two, out) = (
        origin::named().await,
        origin::named().await,
        origin::refuses(),
    );
    let out = out.with("max_fails = 1, fail_timeout = \"1h\"");
    let servers = [one.with("weight = 1"), two.with("weight = 1"), out];
    let (proxy, address) = with_page(servers, &component).await;
    // It is asked once, and is out then; what its client has sent is in the log.
    for _ in 0..3 {
        let answer = proxy.get("/<img/src=x/onerror=alert(1)>").await;
        assert_eq!(answer.status, 200);
    }
    proxy.log_contains("/<img/src=x").await;
    let next = proxy.directory().join("next.wasm");
    // A section of its own makes it another version.
    std::fs::write(&next, [&component[..], &[0, 2, 1, 2]].concat()).unwrap();
    let (file, base) = (proxy.file(), format!("http://{address}"));
    let (file, next) = (file.to_str().unwrap(), next.to_str().unwrap());
    let arguments = [&base, file, next];
    let traffic = async {
        loop {
            proxy.get("/").await;
            waypost_tests::pause().await;
        }
    };
    let said = tokio::select! {
        said = peers::run(&python, "dashboard.py", &arguments) => said,
        () = traffic => unreachable!(),
    };
    assert!(said.ends_with("all is well\n"), "{said}");
}
