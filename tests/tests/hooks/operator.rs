//! What commands and the admin API show of hooks.

use std::process::Command;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Proxy, child, origin, proxy, waypost};

use super::{at_route, probe};

fn command(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = Command::new(waypost());
    let file = proxy.file();
    command
        .args(arguments)
        .arg("-c")
        .arg(&file)
        .current_dir(proxy.directory());
    let (code, out, err) = child::run(command);
    assert_eq!(code, 0, "{arguments:?} said:\n{out}{err}");
    out
}

#[tokio::test]
async fn a_hook_is_listed_with_its_kind_its_uses_and_the_counters_of_its_own() {
    let origin = origin::says("hello").await;
    let more = "[hook.limit]\nplugin = \"limit_req\"\nkey = \"$remote_addr\"\nrate = \"1r/s\"\nburst = 100\nnodelay = true\n\
                [hook.unused]\nplugin = \"limit_conn\"\nkey = \"$remote_addr\"\nconnections = 1\n";
    let proxy = proxy::to([&origin])
        .route("hooks = [\"probe\", \"limit\"]")
        .more(&probe())
        .more(more)
        .more(ADMIN)
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let shown = proxy.shows("/plugins/probe").await;
    assert_eq!(shown["kinds"], serde_json::json!(["hook"]));
    assert_eq!(shown["hooks"], serde_json::json!(["probe"]));
    assert_eq!(shown["counters"], serde_json::json!({ "asked": 3 }));
    let shown = proxy.shows("/plugins/limit_req").await;
    assert_eq!(
        (shown["stock"].as_bool(), &shown["hooks"]),
        (Some(true), &serde_json::json!(["limit"]))
    );

    let listed = command(&proxy, &["plugin", "list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with("probe "))
        .expect("it is listed");
    assert!(line.contains(" hook "), "{listed}");
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("limit_req ") && line.contains(" hook ")),
        "{listed}"
    );
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("round_robin ") && line.contains(" policy ")),
        "{listed}"
    );
    let inspected = command(&proxy, &["plugin", "inspect", "probe"]);
    assert!(
        inspected
            .lines()
            .any(|line| line.starts_with("kinds") && line.ends_with(" hook")),
        "{inspected}"
    );
    assert!(
        inspected
            .lines()
            .any(|line| line.starts_with("counters") && line.ends_with("asked 3")),
        "{inspected}"
    );
    command(&proxy, &["status"]);
    command(&proxy, &["check"]);
}

#[tokio::test]
async fn counters_of_a_plugin_go_on_when_its_hook_is_configured_anew() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).more(ADMIN).start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy.edit(
        "hooks = [\"probe\"]",
        "hooks = [{ plugin = \"probe\", name = \"other\" }]",
    );
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(proxy.shows("/plugins/probe").await["counters"]["asked"], 2);
}

/// What `waypost check` says of a configuration with these hooks at its route.
fn problems(hooks: &str) -> String {
    problems_of(&format!("hooks = {hooks}"), "")
}

/// The same, with these lines at the route, and other tables.
pub(super) fn problems_of(route: &str, tables: &str) -> String {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let file = directory.path().join("waypost.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\n{route}\n\
         return = {{ status = 204 }}\n{tables}\n"
    );
    std::fs::write(&file, text).expect("the directory is ours");
    let mut check = Command::new(waypost());
    check.arg("check").arg("-c").arg(&file);
    let (code, out, err) = child::run(check);
    assert_eq!(code, 1, "{out}{err}");
    err
}

#[test]
fn settings_that_can_never_work_are_problems_at_their_line() {
    for (hooks, problem) in [
        (
            r#"[{ plugin = "split", header = "X", parts = [{ route = "canary" }] }]"#,
            "there is no route with the `name` `canary`",
        ),
        (
            r#"[{ plugin = "split", header = "X", parts = [{ upstream = "green" }] }]"#,
            "unknown upstream `green`",
        ),
        (
            r#"[{ plugin = "basic_auth", realm = "x", users = { ann = "$2y$15$short" } }]"#,
            "it is no whole bcrypt hash",
        ),
    ] {
        let said = problems(hooks);
        assert!(said.contains(problem), "{said}");
        assert!(said.contains("waypost.toml:4:"), "{said}");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_told_with_the_nearest_one() {
    let tables = "[upstream.green]\nservers = [\"127.0.0.1:1\"]\n\
                  [[route]]\nname = \"canary\"\ninternal = true\nreturn = { status = 204 }\n";
    for (part, near) in [
        (
            "upstream = \"gren\"",
            "unknown upstream `gren`: did you mean `green`?",
        ),
        (
            "route = \"canari\"",
            "there is no route with the `name` `canari`: did you mean `canary`?",
        ),
    ] {
        let hooks =
            format!("hooks = [{{ plugin = \"split\", header = \"X\", parts = [{{ {part} }}] }}]");
        let said = problems_of(&hooks, tables);
        assert!(said.contains(near), "{said}");
    }
}

/// A hook is kept over a reload if nothing about it has changed; that a name leads nowhere any more
/// is a change.
#[tokio::test]
async fn a_reload_without_the_route_that_a_hook_names_is_refused() {
    let origin = origin::says("hello").await;
    let split = "hooks = [{ plugin = \"split\", header = \"X-Part\", \
                 parts = [{ route = \"canary\" }] }]";
    let canary = "[[route]]\nname = \"canary\"\ninternal = true\n\
                  return = { status = 200, body = \"canary\" }\n";
    let proxy = proxy::to([&origin])
        .route(split)
        .more(canary)
        .more(ADMIN)
        .start()
        .await;
    let part = async || proxy.get_with("/", "X-Part: canary\r\n").await.text();
    assert_eq!(part().await, "canary");
    proxy.edit("name = \"canary\"", "name = \"gone\"");
    let refused = proxy.admin("POST", "/reload", "").await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let said = refused.text();
    assert!(said.contains("there is no route"), "{said}");
    assert_eq!(part().await, "canary");
}
