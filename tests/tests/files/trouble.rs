//! Files that change while they are sent, file systems that do not answer, and bounds.

use std::time::Duration;

use waypost_tests::{eventually, outlast};

use super::*;

/// Makes a client wait in the middle of a file: it has read its head, and the rest is more than
/// sockets hold.
async fn half_way(proxy: &Proxy, target: &str) -> (Client, Response) {
    let mut client = proxy.client().await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n");
    client.send(request).await;
    let head = client.response_head().await;
    (client, head)
}

fn length(head: &Response) -> usize {
    head.header("Content-Length").parse().unwrap()
}

#[tokio::test]
async fn a_file_that_is_replaced_is_sent_as_it_was() {
    let text = "before\n".repeat(6_000_000);
    let site = site(&[("a.txt", &text)]);
    let proxy = serving(site.path(), "open_file_cache = \"0s\"").await;
    let (mut client, head) = half_way(&proxy, "/a.txt").await;
    write(site.path(), "b.txt", "after");
    fs::rename(site.path().join("b.txt"), site.path().join("a.txt")).unwrap();
    let body = client.wire.exactly(length(&head)).await.ok().unwrap();
    assert!(body == text.as_bytes());
    assert_eq!(proxy.get("/a.txt").await.text(), "after");
}

#[tokio::test]
async fn a_file_that_is_cut_short_ends_the_connection_and_is_told_in_the_log() {
    let text = "before\n".repeat(6_000_000);
    let site = site(&[("a.txt", &text)]);
    let proxy = serving(site.path(), "open_file_cache = \"1d\"").await;
    let (mut client, head) = half_way(&proxy, "/a.txt").await;
    let mut writing = fs::File::options();
    let file = writing.write(true).open(site.path().join("a.txt"));
    file.unwrap().set_len(10).unwrap();
    let body = client.wire.exactly(length(&head)).await;
    assert!(body.is_err(), "all of it came");
    proxy
        .log_contains("a file was cut short while it was sent")
        .await;
    // The file that is open is not taken for it any more.
    assert_eq!(proxy.get("/a.txt").await.body.len(), 10);
}

#[tokio::test]
async fn an_open_file_is_taken_for_its_name_for_a_while_and_then_closed() {
    let site = site(&[("a.txt", "before")]);
    let mut proxy = serving(site.path(), "open_file_cache = \"1s\"").await;
    assert_eq!(proxy.get("/a.txt").await.text(), "before");
    write(site.path(), "b.txt", "after");
    fs::rename(site.path().join("b.txt"), site.path().join("a.txt")).unwrap();
    outlast(Duration::from_secs(1)).await;
    assert_eq!(proxy.get("/a.txt").await.text(), "after");
    let root = fs::canonicalize(site.path()).unwrap();
    let process = proxy.process().id();
    eventually("the file to be closed", async || {
        let open = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let files = open.filter_map(|open| fs::read_link(open.unwrap().path()).ok());
        files.filter(|file| file.starts_with(&root)).count() == 0
    })
    .await;
}

#[tokio::test]
async fn files_take_no_more_descriptors_than_there_are() {
    let names: Vec<String> = (0..200).map(|number| format!("{number}.txt")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let site = site(&files);
    let root = site.path().display();
    let origin = origin::says("server").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .route("path = \"/server\"")
        .more(&format!(
            "[[route]]\npath = \"/\"\nfiles = {{ root = \"{root}\", open_file_cache = \"60s\" }}\n"
        ))
        .through_shell("ulimit -n 64; exec \"$@\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    for name in &names {
        assert_eq!(client.get(&format!("/{name}")).await.status, 200, "{name}");
    }
    assert_eq!(client.get("/server").await.text(), "server");
}

#[tokio::test]
async fn a_file_system_that_does_not_answer_costs_its_requests_a_504_and_others_nothing() {
    let site = site(&[("a.txt", "a"), ("dead/a.txt", "a")]);
    let root = site.path().display();
    // All of the threads that one directory may have.
    let stuck = 8;
    let faults = format!("file system:{stuck}");
    let proxy = proxy::run(
        &format!(
            "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\npath = \"/dead/\"\nfiles = {{ root = \"{root}/dead\", timeout = \"1s\" }}\n\
             [[route]]\npath = \"/\"\nfiles = {{ root = \"{root}\", timeout = \"60s\" }}\n"
        ),
        &[("WAYPOST_FAULTS", &faults)],
    )
    .await;
    let mut waiting = Vec::new();
    for _ in 0..stuck + 1 {
        let mut client = proxy.client().await;
        client
            .send("GET /dead/a.txt HTTP/1.1\r\nHost: t\r\n\r\n")
            .await;
        waiting.push(client);
    }
    for client in &mut waiting {
        assert_eq!(client.response().await.status, 504);
    }
    assert_eq!(proxy.get("/a.txt").await.text(), "a");
    assert_eq!(proxy.get("/dead/a.txt").await.status, 504);
}

#[tokio::test]
async fn listings_that_nobody_reads_leave_no_room_for_others_until_they_are_gone() {
    // As long in the listing as names can be: each quote is three bytes in a link, and six as text.
    let site = tempfile::tempdir().unwrap();
    for number in 0..5_000 {
        let name = format!("{number:05}{}", "\"".repeat(245));
        fs::write(site.path().join(name), "").unwrap();
    }
    let proxy = serving(site.path(), "autoindex = true").await;
    // More than sockets hold, and less than all have room for.
    let mut waiting = Vec::new();
    let refused = loop {
        let mut client = proxy.client().await;
        client.wire.read_little();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let head = client.response_head().await;
        if head.status != 200 {
            break head;
        }
        assert!(length(&head) > 10_000_000, "{}", length(&head));
        waiting.push(client);
        assert!(waiting.len() < 10, "listings without end");
    };
    assert_eq!(refused.status, 503);
    assert!(waiting.len() > 2, "{}", waiting.len());
    proxy.log_contains("is not listed: all listings").await;
    drop(waiting);
    eventually("room for a listing", async || {
        proxy.get("/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_directory_of_too_many_names_is_told_of_once_and_not_each_time() {
    let site = tempfile::tempdir().unwrap();
    for number in 0..10_001 {
        fs::write(site.path().join(number.to_string()), "").unwrap();
    }
    let proxy = serving(site.path(), "autoindex = true").await;
    for _ in 0..3 {
        let listing = proxy.get("/").await;
        assert_eq!(listing.text().matches("<a href").count(), 10_001);
    }
    proxy.log_contains("more than 10000 names").await;
    assert_eq!(proxy.get("/none").await.status, 404);
    proxy.log_contains("/none").await;
    let told = proxy.log().matches("more than 10000 names").count();
    assert_eq!(told, 1, "{}", proxy.log());
}
