//! What commands change of an upstream's servers is kept where it is wanted, and otherwise it is said
//! what a reload forgets.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Origin, Proxy, origin, outlast, proxy};

const SERVERS: &str = "/upstreams/backend/servers";

/// A proxy of these origins whose state is in a directory that outlives it.
async fn keeping(directory: &TempDir, origins: &[&Origin]) -> Proxy {
    let state = format!(
        "state = \"{}\"",
        directory.path().join("backend.json").display()
    );
    let setup = proxy::to(origins.iter().copied()).upstream(&state);
    setup.more(ADMIN).start().await
}

async fn command(proxy: &Proxy, method: &str, server: &str, body: &str) {
    let path = match server {
        "" => SERVERS.to_owned(),
        server => format!("{SERVERS}/{server}"),
    };
    let response = proxy.admin(method, &path, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Each server, with its weight and whether it is down.
async fn servers(proxy: &Proxy) -> Vec<(String, u64, bool)> {
    let shown = proxy.shows("/upstreams/backend").await;
    let servers = shown["servers"].as_array().unwrap().iter().map(|server| {
        (
            server["address"].as_str().unwrap().to_owned(),
            server["weight"].as_u64().unwrap(),
            server["down"].as_bool().unwrap(),
        )
    });
    servers.collect()
}

#[tokio::test]
async fn each_command_outlives_a_reload_an_upgrade_and_a_killed_process() {
    let (a, b, c, d) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let directory = TempDir::new().unwrap();
    let mut proxy = keeping(&directory, &[&a, &b, &c]).await;
    let added = format!("{{\"address\": \"{}\", \"max_conns\": 7}}", d.address());
    command(&proxy, "POST", "", &added).await;
    command(&proxy, "DELETE", a.address(), "").await;
    command(&proxy, "PATCH", b.address(), "{\"weight\": 5}").await;
    command(&proxy, "PATCH", c.address(), "{\"down\": true}").await;
    let expected = [
        (b.address().to_owned(), 5, false),
        (c.address().to_owned(), 1, true),
        (d.address().to_owned(), 1, false),
    ];
    assert_eq!(servers(&proxy).await, expected);
    let why = || async { proxy.server(c.address()).await["why"][0].clone() };
    let before = why().await;
    let words = (&before["reason"], &before["detail"]);
    assert_eq!(
        words,
        (&"down".into(), &"by a command, until `resume`".into())
    );
    // Other changes do not begin it anew.
    let shown = Instant::now();
    outlast(Duration::from_secs(1)).await;
    command(&proxy, "PATCH", b.address(), "{\"weight\": 5}").await;
    let passed = shown.elapsed().as_millis() as u64;
    let since = |why: &serde_json::Value| why["since_ms"].as_u64().unwrap();
    assert!(since(&why().await) + 1 >= since(&before) + passed);
    // Killed at once: the command has been answered.
    proxy.signal(Signal::KILL);
    proxy.process().ended().await;
    let mut again = keeping(&directory, &[&a, &b, &c]).await;
    assert_eq!(servers(&again).await, expected);
    assert_eq!(again.server(d.address()).await["max_conns"], 7);
    let detail = &again.server(c.address()).await["why"][0]["detail"];
    assert_eq!(detail, "by a command, until `resume`");
    assert!(again.reload().await.is_empty());
    assert_eq!(servers(&again).await, expected);
    command(&again, "PATCH", c.address(), "{\"down\": false}").await;
    let successor = again.upgrade().await;
    again.process().ended().await;
    assert!(servers(&again).await.iter().all(|(_, _, down)| !down));
    successor.signal(Signal::TERM);
    successor.ended().await;
}

#[tokio::test]
async fn a_server_that_the_file_has_down_is_not_down_by_a_command() {
    let (a, b) = (origin::named().await, origin::named().await);
    let down = format!("{{ address = \"{}\", down = true }}", a.address());
    let up = format!("{{ address = \"{}\" }}", b.address());
    let proxy = proxy::to([down, up]).more(ADMIN).start().await;
    let detail = async || proxy.server(a.address()).await["why"][0]["detail"].clone();
    assert_eq!(detail().await, "`down = true`");
    command(&proxy, "PATCH", a.address(), "{\"down\": true}").await;
    assert_eq!(detail().await, "`down = true`");
    command(&proxy, "PATCH", a.address(), "{\"down\": false}").await;
    assert!(detail().await.is_null());
    command(&proxy, "PATCH", a.address(), "{\"down\": true}").await;
    assert_eq!(detail().await, "by a command, until `resume`");
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_is_refused_and_nothing_changes() {
    let (a, b) = (origin::named().await, origin::named().await);
    let directory = TempDir::new().unwrap();
    let proxy = keeping(&directory, &[&a]).await;
    // Also for root, which may write everywhere.
    let folder = directory.path().to_owned();
    directory.close().unwrap();
    let body = format!("{{\"address\": \"{}\"}}", b.address());
    for (place, part) in [
        (None, "No such file"),
        (Some(folder.join("backend.json")), "directory"),
    ] {
        if let Some(place) = place {
            // There, but no file: it is only found out when it is to be put in its place.
            std::fs::create_dir_all(place.join("full")).unwrap();
        }
        let refused = proxy.admin("POST", SERVERS, &body).await;
        assert_eq!(refused.status, 422);
        let text = refused.text();
        assert!(
            text.contains("nothing has changed, as the change cannot be kept")
                && text.contains(part),
            "{text}"
        );
        let expected = [(a.address().to_owned(), 1, false)];
        assert_eq!(servers(&proxy).await, expected);
        for _ in 0..4 {
            assert_eq!(proxy.get("/").await.text(), a.address());
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_a_problem_that_names_it_and_is_never_written_over() {
    let a = origin::named().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("backend.json");
    let proxy = keeping(&directory, &[&a]).await;
    command(&proxy, "PATCH", a.address(), "{\"weight\": 3}").await;
    std::fs::write(&file, "{\"servers\": [").unwrap();
    let refused = proxy.admin("POST", "/reload", "").await;
    assert_eq!(refused.status, 422);
    let said = format!("cannot be read from `{}`", file.display());
    let text = refused.json()["problems"][0].as_str().unwrap().to_owned();
    assert!(
        text.contains(&said) && text.contains("move it away"),
        "{text}"
    );
    assert_eq!(servers(&proxy).await[0].1, 3);
    for command in ["check", "run"] {
        let mut waypost = std::process::Command::new(waypost_tests::waypost());
        waypost.args([command, "-c"]).arg(proxy.file());
        let (code, out, err) = waypost_tests::child::run(waypost);
        assert_eq!(code, 1, "{out}{err}");
        assert!((out + &err).contains(&said));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"servers\": [");
}

#[tokio::test]
async fn what_commands_say_of_listed_servers_is_kept_as_well() {
    let (a, b) = (origin::named().await, origin::named().await);
    let directory = TempDir::new().unwrap();
    let list = serde_json::json!([a.address(), b.address()]).to_string();
    std::fs::write(directory.path().join("list.json"), list).unwrap();
    let upstream = format!(
        "state = \"{0}/backend.json\"\nservers_from = {{ file = \"{0}/list.json\" }}",
        directory.path().display()
    );
    let start = async || {
        let setup = proxy::to([] as [&Origin; 0]).upstream(&upstream);
        setup.more(ADMIN).start().await
    };
    let mut proxy = start().await;
    command(&proxy, "PATCH", b.address(), "{\"down\": true}").await;
    let expected = [
        (a.address().to_owned(), 1, false),
        (b.address().to_owned(), 1, true),
    ];
    proxy.signal(Signal::KILL);
    proxy.process().ended().await;
    let again = start().await;
    assert_eq!(servers(&again).await, expected);
    again.reload().await;
    assert_eq!(servers(&again).await, expected);
}

#[tokio::test]
async fn a_reload_says_what_it_forgets_and_what_does_not_count() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let proxy = proxy::to([&a, &b]).more(ADMIN).start().await;
    let added = format!("{{\"address\": \"{}\"}}", c.address());
    command(&proxy, "POST", "", &added).await;
    command(&proxy, "PATCH", a.address(), "{\"weight\": 5}").await;
    command(&proxy, "DELETE", b.address(), "").await;
    let warnings = proxy.reload().await;
    let said = format!(
        "`{}` with weight 5, `{}` added, `{}` removed",
        a.address(),
        c.address(),
        b.address()
    );
    assert!(warnings[0].contains(&said), "{warnings:?}");
    proxy.log_contains(&said).await;
    assert!(proxy.reload().await.is_empty(), "once");
    // With a `state`, the file of the configuration has no say any more.
    let directory = TempDir::new().unwrap();
    let proxy = keeping(&directory, &[&a]).await;
    command(&proxy, "POST", "", &added).await;
    proxy.edit(a.address(), b.address());
    let warnings = proxy.reload().await;
    assert!(warnings[0].contains("has changed, but"), "{warnings:?}");
    assert_eq!(servers(&proxy).await[0].0, a.address());
}
