//! Nothing outside of the root is served, whatever a path or a link says; nor what is no file.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

/// A root beside a secret, with links of all kinds in it.
fn tempting() -> tempfile::TempDir {
    let place = site(&[
        ("secret.txt", "secret"),
        ("root/inside.txt", "inside"),
        ("root/.git/config", "hidden"),
        ("root/.env", "hidden"),
        ("root/a/.b/c", "hidden"),
        ("root/.well-known/acme-challenge/token", "token"),
        ("root/.well-known/.x", "hidden"),
    ]);
    let root = place.path().join("root");
    symlink("../secret.txt", root.join("up.txt")).unwrap();
    symlink(place.path().join("secret.txt"), root.join("absolute.txt")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink("inside.txt", root.join("within.txt")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/dev/zero", root.join("zero")).unwrap();
    place
}

#[tokio::test]
async fn no_path_and_no_link_leads_out_of_the_root() {
    let place = tempting();
    let proxy = serving(&place.path().join("root"), "autoindex = true").await;
    assert_eq!(proxy.get("/within.txt").await.text(), "inside");
    for (target, status) in [
        ("/../secret.txt", 400),
        ("/%2e%2e/secret.txt", 400),
        ("/..%2fsecret.txt", 400),
        ("/a/..%2f..%2fsecret.txt", 400),
        ("/%2e%2e%2f%2e%2e%2fetc/passwd", 400),
        ("/inside.txt%00.html", 400),
        ("/..%5csecret.txt", 404),
        ("//etc/passwd", 404),
        ("/%2fetc/passwd", 404),
        ("/%ff%fe", 404),
        ("/up.txt", 403),
        ("/absolute.txt", 403),
        ("/parent/secret.txt", 403),
        ("/parent/", 403),
        ("/loop", 403),
        ("/zero", 403),
    ] {
        let response = ask(&proxy, &format!("GET {target}"), "").await;
        assert_eq!(response.status, status, "{target}");
        assert!(!response.text().contains("secret"), "{target}");
    }
    let why = "Invalid cross-device link: a link leads out of `root`, and `follow_links` is off)";
    proxy.log_contains(why).await;
    let long = "x".repeat(5000);
    assert_eq!(proxy.get(&format!("/{long}")).await.status, 404);
}

#[tokio::test]
async fn links_lead_out_where_the_route_allows_it_but_no_path_does() {
    let place = tempting();
    let proxy = serving(&place.path().join("root"), "follow_links = true").await;
    for target in ["/up.txt", "/absolute.txt", "/parent/secret.txt"] {
        assert_eq!(proxy.get(target).await.text(), "secret", "{target}");
    }
    assert_eq!(proxy.get("/%2fetc/passwd").await.status, 404);
    assert_eq!(proxy.get("/..%2fsecret.txt").await.status, 400);
    // A device has no end.
    assert_eq!(proxy.get("/zero").await.status, 403);
}

#[tokio::test]
async fn names_that_begin_with_a_dot_are_not_there_but_for_well_known() {
    let place = tempting();
    let root = place.path().join("root");
    let proxy = serving(&root, "fallback = \"/inside.txt\"").await;
    let token = proxy.get("/.well-known/acme-challenge/token").await;
    assert_eq!(token.text(), "token");
    for target in [
        "/.git/config",
        "/.git/",
        "/.env",
        "/a/.b/c",
        "/%2egit/config",
    ] {
        let response = proxy.get(target).await;
        assert!(!response.text().contains("hidden"), "{target}");
        assert_eq!(response.status, 404, "{target}");
    }
    let shown = serving(&root, "hidden = true").await;
    for target in ["/.git/config", "/.env", "/a/.b/c", "/.well-known/.x"] {
        assert_eq!(shown.get(target).await.text(), "hidden", "{target}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused_at_once() {
    let site = site(&[("x", "")]);
    let pipe = site.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
    let _socket = UnixListener::bind(site.path().join("socket")).unwrap();
    let proxy = serving(site.path(), "").await;
    // A thread that opened it to wait for its other end would be lost.
    for target in ["/pipe", "/socket"].iter().cycle().take(40) {
        assert_eq!(proxy.get(target).await.status, 403, "{target}");
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_is_a_403() {
    let site = site(&[("x.txt", "x")]);
    let file = site.path().join("x.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&file).is_ok() {
        // Nothing is forbidden to root.
        return;
    }
    let proxy = serving(site.path(), "").await;
    assert_eq!(proxy.get("/x.txt").await.status, 403);
}

#[tokio::test]
async fn a_root_that_is_a_link_is_resolved_anew() {
    let place = site(&[("1/a.txt", "first"), ("2/a.txt", "second")]);
    let current = place.path().join("current");
    symlink("1", &current).unwrap();
    let proxy = serving(&current, "open_file_cache = \"0s\"").await;
    assert_eq!(proxy.get("/a.txt").await.text(), "first");
    symlink("2", place.path().join("next")).unwrap();
    fs::rename(place.path().join("next"), &current).unwrap();
    assert_eq!(proxy.get("/a.txt").await.text(), "second");
    fs::remove_file(&current).unwrap();
    assert_eq!(proxy.get("/a.txt").await.status, 404);
}
