//! The way of a new policy from its first build to all traffic, by the commands of
//! `docs/new-plugin.md` and `docs/to-production.md`: changed, loaded while requests come in, taken
//! back, tried as a shadow and as a canary, promoted, taken back again.
//!
//! There is one other version, so that a toolchain has to build it only once: it does what the first one
//! does, and says something else about requests without a tenant.

use serde_json::Value;
use waypost_tests::languages::{behind_others, ended};
use waypost_tests::{Load, Proxy, waypost};

use super::Project;

/// What the route of a new plugin becomes, as the first page has it.
pub(super) const ROUTE: &str = "proxy = \"backend\"\n\
                                response_headers = { set = { x-note = \"$plugin_note\" } }\n";

/// Clients are those whom requests name, so that a share of them can be tried.
pub(super) const SERVER: &str =
    "access_log = false\nworkers = 1\ntrusted_proxies = [\"127.0.0.1\"]";

/// What either version notes.
const BEFORE: &str = "no tenant";
const AFTER: &str = "nobody";

/// So many clients ask when a version is tried: fewer than the rails of a canary need, as a machine that
/// runs specs tells nothing of latencies.
const CLIENTS: usize = 40;

/// The names that the plugin's source may have.
const SOURCES: [&str; 6] = [
    "src/lib.rs",
    "plugin.js",
    "plugin.ts",
    "plugin.py",
    "plugin.c",
    "plugin.go",
];

/// Leads a policy on from where its first version serves.
pub(super) async fn leads_on(project: &Project, proxy: &Proxy) {
    assert_eq!(notes(proxy).await, [BEFORE; CLIENTS]);
    change(project);
    project.builds().await;

    let load = Load::start(proxy.address(), 2);
    let said = plugin(project, proxy, "load", true, &[]).await;
    assert!(said.contains(": version 2 ("), "{said}");
    assert_eq!(proxy.get("/").await.header("X-Note"), AFTER);
    let report = load.stop().await;
    assert_eq!(report.errors, [] as [&str; 0]);
    assert_eq!(notes(proxy).await, [AFTER; CLIENTS]);
    let said = plugin(project, proxy, "rollback", false, &[]).await;
    assert!(said.contains(": version 1 ("), "{said}");
    assert!(said.contains(", rolled back from version 2 ("), "{said}");
    assert_eq!(notes(proxy).await, [BEFORE; CLIENTS]);

    plugin(project, proxy, "shadow", true, &[]).await;
    assert_eq!(notes(proxy).await, [BEFORE; CLIENTS]);
    let trial = listed(project, proxy).await["trial"].take();
    let compared = (&trial["manner"], &trial["agreed"], &trial["differed"]);
    assert_eq!(compared, (&"shadow".into(), &CLIENTS.into(), &0.into()));
    assert_eq!(trial["faults"], 0, "{trial}");

    plugin(project, proxy, "canary", true, &["--share", "50%"]).await;
    let notes_of_both = notes(proxy).await;
    let tried = notes_of_both.iter().filter(|note| *note == AFTER).count();
    assert!((1..CLIENTS).contains(&tried), "{notes_of_both:?}");
    assert_eq!(notes(proxy).await, notes_of_both, "each stays with its own");
    let trial = listed(project, proxy).await["trial"].take();
    assert_eq!(trial["candidate"]["exchanges"], 2 * tried, "{trial}");

    let said = plugin(project, proxy, "promote", false, &[]).await;
    let from = ", promoted from a canary of 50%, in place of version 1 (";
    assert!(said.contains(from), "{said}");
    assert_eq!(notes(proxy).await, [AFTER; CLIENTS]);
    let shown = listed(project, proxy).await;
    assert_eq!(shown["promoted_from"], "canary of 50%", "{shown}");
    plugin(project, proxy, "rollback", false, &[]).await;
    assert_eq!(notes(proxy).await, [BEFORE; CLIENTS]);
    let shown = listed(project, proxy).await;
    assert_eq!(shown["version"], 1, "{shown}");
    assert_eq!(shown["state"], "rolled back", "{shown}");
}

/// What the plugin notes about a request of each client.
async fn notes(proxy: &Proxy) -> Vec<String> {
    let mut notes = Vec::new();
    for client in 0..CLIENTS {
        let line = format!("X-Forwarded-For: 10.0.0.{client}\r\n");
        let answer = proxy.get_with("/", &line).await;
        assert_eq!(answer.status, 200);
        notes.push(answer.header("X-Note").to_owned());
    }
    notes
}

/// Changes a line of the source.
fn change(project: &Project) {
    let mut sources = SOURCES.iter().map(|name| project.folder.join(name));
    let source = sources.find(|path| path.exists()).expect("it has a source");
    let text = std::fs::read_to_string(&source).unwrap();
    assert_eq!(text.matches(BEFORE).count(), 1, "{text}");
    std::fs::write(source, text.replace(BEFORE, AFTER)).unwrap();
}

/// Has a command done about the plugin, with its component; what it has said.
async fn plugin(
    project: &Project,
    proxy: &Proxy,
    command: &str,
    with_component: bool,
    more: &[&str],
) -> String {
    let component = with_component.then(|| project.component());
    let mut waypost = behind_others(waypost());
    waypost
        .args(["plugin", command, "my_policy"])
        .args(component)
        .args(more)
        .args(["--admin", &proxy.admin_address()])
        .current_dir(&project.folder);
    let output = ended(&mut waypost).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}\n{log}");
    said
}

/// What `list` tells programs of it.
async fn listed(project: &Project, proxy: &Proxy) -> Value {
    let said = plugin(project, proxy, "list", false, &["--json"]).await;
    serde_json::from_str(&said).expect("it is JSON")
}
