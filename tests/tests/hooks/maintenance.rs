//! `maintenance`: a page while a file exists.

use waypost_tests::{eventually, origin, proxy};

#[tokio::test]
async fn a_file_closes_the_site_while_it_exists_without_a_reload() {
    let origin = origin::says("open").await;
    let proxy = proxy::to([&origin])
        .listen("hooks = [\"closed\"]")
        .more(
            "[hook.closed]\nplugin = \"maintenance\"\nflag_file = \"closed.flag\"\n\
             page = \"<p>soon\"\nretry_after = \"2m\"\nallow_paths = \"/health\"",
        )
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "open");
    let flag = proxy.directory().join("closed.flag");
    for _ in 0..2 {
        std::fs::write(&flag, "").expect("the directory is ours");
        eventually("the site to close", async || {
            proxy.get("/").await.status == 503
        })
        .await;
        // Other workers hear of it within the same moment, and not in the same instant.
        eventually("all workers to close it", async || {
            let mut closed = true;
            for _ in 0..16 {
                closed &= proxy.get("/").await.status == 503;
            }
            closed
        })
        .await;
        let answer = proxy.get("/").await;
        assert_eq!(answer.text(), "<p>soon");
        assert_eq!(answer.header("Retry-After"), "120");
        assert_eq!(answer.header("Content-Type"), "text/html; charset=utf-8");
        assert_eq!(proxy.get("/health").await.text(), "open");
        std::fs::remove_file(&flag).expect("the directory is ours");
        eventually("the site to open", async || {
            let mut open = true;
            for _ in 0..16 {
                open &= proxy.get("/").await.status == 200;
            }
            open
        })
        .await;
    }
}

#[tokio::test]
async fn a_flag_closes_the_site_whatever_kind_of_file_it_is() {
    let origin = origin::says("open").await;
    let setup = proxy::to([&origin])
        .route("hooks = [{ plugin = \"maintenance\", flag_file = \"closed.flag\" }]");
    let flag = setup.directory().join("closed.flag");
    std::fs::create_dir(&flag).expect("the directory is ours");
    let proxy = setup.start().await;
    assert_eq!(proxy.get("/").await.status, 503);
    std::fs::remove_dir(&flag).expect("the directory is ours");
    eventually("the site to open", async || {
        proxy.get("/").await.status == 200
    })
    .await;
    std::fs::create_dir(&flag).expect("the directory is ours");
    eventually("the site to close", async || {
        proxy.get("/").await.status == 503
    })
    .await;
}

#[tokio::test]
async fn a_page_from_a_file_is_answered_to_clients_that_are_not_allowed() {
    let origin = origin::says("open").await;
    let setup = proxy::to([&origin])
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .route(
            "hooks = [{ plugin = \"maintenance\", on = true, page_file = \"page.txt\", \
         allow = [\"192.0.2.0/24\"] }]",
        );
    std::fs::write(setup.directory().join("page.txt"), "closed").expect("the directory is ours");
    let proxy = setup.start().await;
    let from = async |client: &str| {
        let answer = proxy
            .get_with("/", &format!("X-Forwarded-For: {client}\r\n"))
            .await;
        (answer.status, answer.text())
    };
    assert_eq!(from("192.0.2.7").await, (200, "open".to_owned()));
    assert_eq!(from("198.51.100.7").await, (503, "closed".to_owned()));
}
