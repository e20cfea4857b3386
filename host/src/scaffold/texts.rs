//! The texts that are written for each project: how it is made, how it is used, and what is what.

use super::{Language, NewPlugin, ProjectFile, text, used};
use crate::stock::Kind;

/// What is not to be kept in a repository.
const IGNORED: &str = "\
plugin.wasm
target/
node_modules/
.venv/
.test/
test.out
__pycache__/
";

pub(super) fn of(plugin: &NewPlugin<'_>) -> Vec<ProjectFile> {
    vec![
        text(".gitignore", IGNORED),
        text("README.md", readme(plugin)),
        text("waypost-plugin.toml", project(plugin)),
        text("waypost.toml", configuration(plugin)),
    ]
}

/// How a language makes the component.
struct Making {
    component: &'static str,
    sources: &'static str,
    prepare: &'static str,
    build: &'static str,
    test: &'static str,
}

fn making(language: Language) -> Making {
    // What npm writes last.
    const NPM: &str = "prepare = { unless = \"node_modules/.package-lock.json\", run = [\n  \
                       \"npm install --no-audit --no-fund\",\n] }\n";
    const VENV: &str = "prepare = { unless = \".venv/ready\", run = [\n  \
                        \"python3 -m venv .venv\",\n  \
                        \".venv/bin/python -m pip install --quiet -r requirements.txt\",\n  \
                        \"touch .venv/ready\",\n] }\n";
    match language {
        Language::Rust => Making {
            component: "target/wasm32-wasip2/release/plugin.wasm",
            sources: "\"src\", \"Cargo.toml\", \"waypost-sdk\"",
            prepare: "",
            build: "cargo build --release --target wasm32-wasip2 --target-dir target",
            test: "cargo test",
        },
        Language::JavaScript => Making {
            component: "plugin.wasm",
            sources: "\"plugin.js\", \"package.json\", \"waypost-sdk\"",
            prepare: NPM,
            build: "npm run build",
            test: "npm test",
        },
        Language::TypeScript => Making {
            component: "plugin.wasm",
            sources: "\"plugin.ts\", \"package.json\", \"waypost-sdk\"",
            prepare: NPM,
            build: "npm run build",
            test: "npm test",
        },
        Language::Python => Making {
            component: "plugin.wasm",
            sources: "\"plugin.py\", \"waypost\"",
            prepare: VENV,
            build: ".venv/bin/python -m waypost plugin.py -o plugin.wasm",
            test: ".venv/bin/python -m unittest",
        },
        Language::C => Making {
            component: "plugin.wasm",
            sources: "\"plugin.c\", \"Makefile\", \"waypost-sdk\"",
            prepare: VENV,
            build: "make",
            test: "make test",
        },
        Language::Go => Making {
            component: "plugin.wasm",
            sources: "\"plugin.go\", \"go.mod\", \"waypost-sdk\"",
            prepare: "",
            build: "go run . -o plugin.wasm",
            test: "go test",
        },
    }
}

/// `waypost-plugin.toml`.
fn project(plugin: &NewPlugin<'_>) -> String {
    let Making {
        component,
        sources,
        prepare,
        build,
        ..
    } = making(plugin.language);
    let (name, kind) = (plugin.name, plugin.kind.word());
    format!(
        "# How `waypost plugin build` and `waypost plugin dev` make the component. Commands are run in\n\
         # this folder, by `sh`.\n\
         name = \"{name}\"\n\
         kind = \"{kind}\"\n\
         component = \"{component}\"\n\
         sources = [{sources}]\n\
         {prepare}\
         build = [\"{build}\"]\n\
         settings = '{}'\n",
        settings(plugin.kind),
    )
}

/// Those that a project's configuration shows.
fn settings(kind: Kind) -> &'static str {
    match kind {
        Kind::Policy | Kind::Hook => "header = \"x-tenant\"",
        Kind::Filter => "header = \"x-zone\"",
        Kind::Scorer => "most = 10",
    }
}

fn grants(kind: Kind) -> &'static str {
    match kind {
        Kind::Policy => "grants = [\"request\", \"exchange\"]\n",
        Kind::Filter => "grants = [\"request\"]\n",
        Kind::Scorer => "",
        Kind::Hook => "grants = [\"request\", \"exchange\", \"changes\"]\n",
    }
}

/// `waypost.toml`.
fn configuration(plugin: &NewPlugin<'_>) -> String {
    let (name, kind) = (plugin.name, plugin.kind);
    let (policy, hooks, _) = used(kind, name, settings(kind), "");
    let hooks = match kind {
        Kind::Hook => format!("hooks = {hooks}\n"),
        _ => String::new(),
    };
    let component = making(plugin.language).component;
    let grants = grants(kind);
    format!(
        "[[listen]]\naddress = \"127.0.0.1:8080\"\n\n\
         # Where commands reach it, such as `waypost plugin load {name} {component}`.\n\
         [admin]\naddress = \"127.0.0.1:9180\"\n\n\
         [plugin.{name}]\nfile = \"{component}\"\n{grants}\n\
         [upstream.backend]\npolicy = {policy}\nservers = [\n  \
         {{ address = \"127.0.0.1:3001\", labels = {{ zone = \"a\" }} }},\n  \
         {{ address = \"127.0.0.1:3002\", labels = {{ zone = \"b\" }} }},\n]\n\n\
         [[route]]\npath = \"/\"\n{hooks}proxy = \"backend\"\n"
    )
}

fn readme(plugin: &NewPlugin<'_>) -> String {
    let (name, kind) = (plugin.name, plugin.kind.word());
    let Making {
        component, test, ..
    } = making(plugin.language);
    let (source, settings) = (plugin.source(), settings(plugin.kind));
    let sdk = match plugin.language {
        Language::Python => "waypost",
        _ => "waypost-sdk",
    };
    format!(
        "# {name}\n\n\
         A {kind} for Waypost: `{source}`, with its tests. The SDK is in `{sdk}`, as it came with the\n\
         Waypost that made this folder.\n\n\
         ```sh\n\
         waypost plugin build       # makes {component}\n\
         {test}\n\
         waypost plugin test {component} --settings '{settings}'\n\
         waypost plugin dev         # builds and loads each change, and shows what the {kind} decides\n\
         waypost run                # with waypost.toml, before servers on ports 3001 and 3002\n\
         waypost plugin load {name} {component}   # another version, into the process that runs\n\
         ```\n"
    )
}

/// The manifest of the Rust SDK without what it has from its workspace.
pub(super) fn manifest_alone(manifest: &[u8]) -> Vec<u8> {
    let (mut alone, mut is_kept) = (String::new(), true);
    for line in String::from_utf8_lossy(manifest).lines() {
        if line.starts_with('[') {
            is_kept = !matches!(line, "[lints]" | "[dev-dependencies]");
        }
        let line = match line.split_once(".workspace = true") {
            None => line.to_owned(),
            Some(("version", _)) => format!("version = \"{}\"", env!("CARGO_PKG_VERSION")),
            Some(("edition", _)) => "edition = \"2024\"".to_owned(),
            Some(("license", _)) => format!("license = \"{}\"", env!("CARGO_PKG_LICENSE")),
            Some(("rust-version", _)) => {
                format!("rust-version = \"{}\"", env!("CARGO_PKG_RUST_VERSION"))
            }
            Some(_) => continue,
        };
        if is_kept {
            alone += &line;
            alone.push('\n');
        }
    }
    alone.into_bytes()
}
