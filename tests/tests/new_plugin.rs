//! From an empty folder to a plugin that decides: `waypost plugin new`, `build`, `test` and `dev`,
//! in every language and for every kind, with nothing but what is in the binary and the toolchains.

mod dev; // each change is loaded while it serves
mod path; // a policy's whole way, to all traffic and back

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use waypost_tests::languages::{Language, behind_others, ended};
use waypost_tests::{Origin, Proxy, child, origin, plugin as built_plugin, proxy, waypost};

/// The folder of a new plugin, with what its language needs.
struct Project {
    /// Others of its language beside it share what was compiled.
    within: PathBuf,
    folder: PathBuf,
    kind: &'static str,
    /// How its tests are run.
    test: &'static str,
}

impl Project {
    fn new(within: &Path, lang: &str, kind: &'static str, test: &'static str) -> Project {
        let name = format!("my_{kind}");
        let mut command = Command::new(waypost());
        command
            .args(["plugin", "new", &name, "--lang", lang, "--kind", kind])
            .current_dir(within);
        let (code, said, error) = child::run(command);
        assert_eq!(code, 0, "{said}{error}");
        assert!(said.contains("waypost plugin build"), "{said}");
        Project {
            within: within.to_owned(),
            folder: within.join(name),
            kind,
            test,
        }
    }

    /// Runs something in the folder, behind all other specs; what it has said, where it went well.
    async fn run(&self, program: &Path, arguments: &[&str]) -> String {
        let mut command = behind_others(program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"))
            // Of Rust's crates alone: all of them are there, as this workspace has them.
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_BUILD_BUILD_DIR", self.within.join("built"));
        let output = ended(&mut command).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}\n{log}");
        said
    }

    /// Its own tests pass, by the language's own means.
    async fn passes_its_tests(&self) {
        self.run(Path::new("sh"), &["-c", self.test]).await;
    }

    /// It builds, and what came out is a plugin of its kind.
    async fn builds(&self) {
        let said = self.run(waypost(), &["plugin", "build"]).await;
        let kind = format!("loads       yes: {}", self.kind);
        assert!(said.starts_with("$ "), "{said}");
        assert!(said.contains("\nsize "), "{said}");
        assert!(said.contains(&kind), "{said}");
        assert!(said.contains("\nsettings    taken: "), "{said}");
        let needed = match self.kind {
            "policy" => "grants = [\"request\", \"exchange\"]",
            "filter" => "grants = [\"request\"]",
            "scorer" => "none needed",
            _ => "grants = [\"request\", \"exchange\", \"changes\"]",
        };
        assert!(said.contains(&format!("grants      {needed}\n")), "{said}");
    }

    fn component(&self) -> String {
        let file = std::fs::read_to_string(self.folder.join("waypost-plugin.toml")).unwrap();
        let line = file.lines().find(|line| line.starts_with("component"));
        let component = line.unwrap().split('"').nth(1).unwrap();
        self.folder.join(component).display().to_string()
    }

    /// What every plugin has to do.
    async fn is_tried(&self) {
        let component = self.component();
        self.run(waypost(), &["plugin", "test", &component]).await;
    }

    /// A proxy with the configuration of the folder, before two servers; those. Answers say what the
    /// plugin notes.
    async fn serves(&self) -> (Proxy, [Origin; 2]) {
        let (one, other) = (origin::named().await, origin::named().await);
        let text = std::fs::read_to_string(self.folder.join("waypost.toml")).unwrap();
        let file = text
            .split("file = \"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let text = text
            .replace("127.0.0.1:8080", "127.0.0.1:0")
            .replace("127.0.0.1:9180", "unix:{dir}/admin.sock")
            .replace("proxy = \"backend\"\n", path::ROUTE)
            .replace("127.0.0.1:3001", one.address())
            .replace("127.0.0.1:3002", other.address())
            .replace(&format!("file = \"{file}\""), &self.entry());
        let text = format!("[server]\n{}\n{text}", path::SERVER);
        let proxy = proxy::run(&text, &[]).await;
        (proxy, [one, other])
    }

    /// The lines of its entry in that configuration. What an engine without optimisations takes is not
    /// what is promised.
    fn entry(&self) -> String {
        format!("file = \"{}\"\nbudget = 100", self.component())
    }

    /// It decides about requests over a socket.
    async fn decides(&self, proxy: &Proxy) {
        match self.kind {
            "hook" => {
                let refused = proxy.get("/").await;
                assert_eq!(refused.status, 401);
                assert_eq!(refused.text(), "say who you are: x-tenant\n");
                let known = proxy.get_with("/", "X-Tenant: acme\r\n").await;
                assert_eq!(known.status, 200);
            }
            "filter" => {
                for zone in ["a", "b"] {
                    let line = format!("X-Zone: {zone}\r\n");
                    let first = proxy.get_with("/", &line).await.text();
                    for _ in 0..4 {
                        assert_eq!(proxy.get_with("/", &line).await.text(), first, "{zone}");
                    }
                }
                let other = proxy.get_with("/", "X-Zone: b\r\n").await.text();
                assert_ne!(proxy.get_with("/", "X-Zone: a\r\n").await.text(), other);
            }
            "policy" => {
                for tenant in ["acme", "globex", "initech"] {
                    let line = format!("X-Tenant: {tenant}\r\n");
                    let first = proxy.get_with("/", &line).await.text();
                    for _ in 0..4 {
                        assert_eq!(proxy.get_with("/", &line).await.text(), first, "{tenant}");
                    }
                }
            }
            _ => assert_eq!(proxy.get("/").await.status, 200),
        }
        let name = format!("/plugins/my_{}", self.kind);
        let plugin = proxy.shows(&name).await;
        assert_eq!(plugin["state"], "live", "{plugin}");
        assert_eq!(plugin["traps"], 0, "{plugin}");
        assert_ne!(plugin["calls"], 0, "{plugin}");
    }
}

const KINDS: [&str; 4] = ["policy", "hook", "filter", "scorer"];

/// Every kind passes its tests; these are built, tried and decide.
async fn new_plugins_decide(
    lang: &str,
    language: Option<Language>,
    test: &'static str,
    built: &[&str],
) {
    let within = TempDir::new().unwrap();
    for kind in KINDS {
        let project = Project::new(within.path(), lang, kind, test);
        match language {
            Some(language) => language.equip(&project.folder),
            // The versions that this workspace has.
            None => {
                let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
                std::fs::copy(lock, project.folder.join("Cargo.lock")).unwrap();
            }
        }
        project.passes_its_tests().await;
        if !built.contains(&kind) {
            continue;
        }
        project.builds().await;
        // Those with an interpreter take too long for it here, without optimisations.
        if !matches!(lang, "js" | "ts" | "python") {
            project.is_tried().await;
        }
        let (proxy, _servers) = project.serves().await;
        project.decides(&proxy).await;
        if kind == "policy" {
            path::leads_on(&project, &proxy).await;
        }
    }
}

/// What is built of a language. Most components bring an interpreter or a runtime, and take half a minute
/// each time: `languages` has a policy and a hook of each in any case, and the specs' own plugins a filter
/// and a scorer in Rust.
fn built<'a>(always: &'a [&'a str], with_toolchains: &'a [&'a str]) -> &'a [&'a str] {
    match std::env::var_os("WAYPOST_TOOLCHAINS") {
        Some(_) => with_toolchains,
        None => always,
    }
}

/// Their tests are those of the SDK in `sdk/rust/tests`, where nothing is compiled for them again.
#[tokio::test]
async fn a_new_plugin_in_rust_builds_and_decides() {
    let built = built(&["policy", "filter", "hook"], &KINDS);
    new_plugins_decide("rust", None, "true", built).await;
}

#[tokio::test]
async fn a_new_plugin_in_c_builds_and_decides() {
    if Language::C.is_installed() {
        let built = built(&["policy", "filter", "scorer"], &KINDS);
        new_plugins_decide("c", Some(Language::C), "make test", built).await;
    }
}

#[tokio::test]
async fn a_new_plugin_in_go_builds_and_decides() {
    if Language::Go.is_installed() {
        let built = built(&["policy"], &["policy", "filter", "scorer"]);
        new_plugins_decide("go", Some(Language::Go), "go test", built).await;
    }
}

#[tokio::test]
async fn a_new_plugin_in_python_passes_its_tests_and_decides() {
    if Language::Python.is_installed() {
        let test = ".venv/bin/python -B -m unittest";
        let built = built(&[], &["policy", "filter"]);
        new_plugins_decide("python", Some(Language::Python), test, built).await;
    }
}

/// Those in TypeScript become components in the same way.
#[tokio::test]
async fn a_new_plugin_in_javascript_passes_its_tests_and_decides() {
    if Language::JavaScript.is_installed() {
        let language = Some(Language::JavaScript);
        let built = built(&[], &["policy", "hook"]);
        new_plugins_decide("js", language, "npm test", built).await;
    }
}

#[tokio::test]
async fn a_new_plugin_in_typescript_builds_and_decides() {
    if Language::JavaScript.is_installed() {
        let language = Some(Language::JavaScript);
        new_plugins_decide("ts", language, "npm test", &["policy"]).await;
    }
}

/// A command of `waypost plugin` in a folder.
fn plugin(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(waypost());
    command.arg("plugin").args(arguments).current_dir(folder);
    child::run(command)
}

#[test]
fn a_name_that_is_none_or_taken_makes_no_folder() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    std::fs::write(folder.path().join("mine/notes"), "").unwrap();
    for (name, message) in [
        ("Mine", "`Mine` is no name for a plugin: use a-z, 0-9"),
        ("hash", "`hash` is a plugin that comes with Waypost: give"),
        (
            "mine",
            "`mine` has something in it already: give the plugin",
        ),
    ] {
        let (code, _, said) = plugin(folder.path(), &["new", name]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(message), "{said}");
    }
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "nothing is made");
    let (code, _, said) = plugin(folder.path(), &["new", "mine", "--lang", "cobol"]);
    assert_eq!(code, 2);
    assert!(said.contains("rust, js, ts, python, c, go"), "{said}");
}

/// A folder whose commands are these.
fn project(build: &str, more: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "name = \"mine\"\ncomponent = \"plugin.wasm\"\nsources = [\"source\"]\nbuild = [{build:?}]\n{more}"
    );
    std::fs::write(folder.path().join("waypost-plugin.toml"), text).unwrap();
    folder
}

#[test]
fn a_build_that_goes_wrong_says_what_did() {
    for (command, part) in [
        ("exit 3", "error: `exit 3` failed: exit status: 3\n"),
        ("true", "the commands have not made `plugin.wasm`"),
        ("echo text > plugin.wasm", "plugin `mine` is no webassembly"),
        (
            "no_such_program_here",
            "needs a program that is not installed",
        ),
    ] {
        let folder = project(command, "");
        let (code, said, error) = plugin(folder.path(), &["build"]);
        assert_eq!(code, 1, "{said}{error}");
        assert!(said.starts_with(&format!("$ {command}\n")), "{said}");
        assert!(error.to_lowercase().contains(part), "{error}");
    }
}

/// Else `dev` and `test` would be the first to say so.
#[test]
fn a_build_tries_the_settings_of_the_project() {
    let component = built_plugin("label_filter", "wasm32-unknown-unknown");
    let build = format!("cp {} plugin.wasm", component.display());
    for (more, exit, part) in [
        ("settings = ''", 1, "`label` is missing"),
        ("settings = 'label = 3'", 1, "`label`"),
        ("settings = 'label = \"zone\"'", 0, ""),
    ] {
        let folder = project(&build, &format!("kind = \"filter\"\n{more}\n"));
        let (code, said, error) = plugin(folder.path(), &["build"]);
        assert_eq!(code, exit, "{more}: {said}{error}");
        assert!(error.contains(part), "{more}: {error}");
        let taken = said.ends_with("\nsettings    taken: label = \"zone\"\n");
        assert_eq!(taken, exit == 0, "{more}: {said}");
        let file = error.contains("`settings` in `waypost-plugin.toml`");
        assert_eq!(file, exit == 1, "{more}: {error}");
    }
}

#[test]
fn what_is_wrong_in_the_project_s_file_has_its_key_and_its_place() {
    let folder = project(
        "true",
        "kind = \"polcy\"\nseting = 'a = 1'\nplace = \"a\"\n",
    );
    let (code, _, said) = plugin(folder.path(), &["build"]);
    assert_eq!(code, 1, "{said}");
    for part in [
        "waypost-plugin.toml:5:8",
        "did you mean `policy`?",
        "unknown key `seting`",
        "waypost-plugin.toml:6:1",
        "`place` is not what an inline table has within its braces",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let empty = TempDir::new().unwrap();
    let (code, _, said) = plugin(empty.path(), &["build"]);
    assert_eq!(code, 1);
    let way_out =
        "there is no `waypost-plugin.toml`: name the folder of a plugin, or make one with";
    assert!(said.contains(way_out), "{said}");
}

#[test]
fn what_a_language_needs_first_is_had_once() {
    let prepare =
        "prepare = { unless = \"ready\", run = [\"echo once >> log\", \"touch ready\"] }\n";
    let folder = project("true", prepare);
    for _ in 0..2 {
        plugin(folder.path(), &["build"]);
    }
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log, "once\n");
}
