//! Projects are whole, and the lists of what is embedded are those of the folders.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::config;

const LANGUAGES: [Language; 6] = [
    Language::Rust,
    Language::JavaScript,
    Language::TypeScript,
    Language::Python,
    Language::C,
    Language::Go,
];
const KINDS: [Kind; 4] = [Kind::Policy, Kind::Filter, Kind::Scorer, Kind::Hook];

fn each(mut check: impl FnMut(NewPlugin<'_>)) {
    for language in LANGUAGES {
        for kind in KINDS {
            check(NewPlugin {
                name: "mine",
                kind,
                language,
            });
        }
    }
}

/// The files below a folder, by their paths in it.
fn below(folder: &Path, within: &Path, files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder.join(within)).unwrap() {
        let entry = entry.unwrap();
        let path = within.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => below(folder, &path, files),
            false => {
                files.insert(path.to_str().unwrap().to_owned());
            }
        }
    }
}

#[test]
fn what_is_embedded_is_what_is_in_the_folders() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Tests of the SDKs, and what is installed or built beside them.
    let others = [
        "Makefile",
        "README.md",
        "package-lock.json",
        "requirements.txt",
        "sdk.test.js",
        "sdk_test.go",
        "test.c",
    ];
    let built = ["node_modules", "__pycache__", "wit", "target", "tests"];
    for (folder, embedded) in [
        ("wit/0.2.0", embedded::WIT),
        ("sdk/rust", embedded::RUST),
        ("sdk/javascript", embedded::JAVASCRIPT),
        ("sdk/python/waypost", embedded::PYTHON),
        ("sdk/c", embedded::C),
        ("sdk/go", embedded::GO),
        ("sdk/new", embedded::NEW),
    ] {
        let mut files = BTreeSet::new();
        below(&root.join(folder), Path::new(""), &mut files);
        let is_new = folder == "sdk/new";
        files.retain(|path| {
            let first = path.split('/').next().unwrap_or_default();
            is_new || !others.contains(&path.as_str()) && !built.contains(&first)
        });
        let embedded: BTreeSet<String> = embedded
            .iter()
            .map(|(path, _)| (*path).to_owned())
            .collect();
        assert_eq!(embedded, files, "{folder}");
    }
}

#[test]
fn each_project_has_its_files_and_none_of_them_is_empty() {
    each(|plugin| {
        let files = plugin.files();
        let paths: BTreeSet<&Path> = files.iter().map(|(path, _)| path.as_path()).collect();
        assert_eq!(paths.len(), files.len(), "{plugin:?}: {paths:?}");
        assert!(paths.contains(Path::new(plugin.source())), "{plugin:?}");
        for (path, content) in &files {
            assert!(!content.is_empty(), "{plugin:?}: {path:?}");
            let is_left = String::from_utf8_lossy(content).contains("{{name}}");
            assert!(!is_left, "{plugin:?}: {path:?}");
        }
    });
}

#[test]
fn each_project_is_described_and_configured_without_a_problem() {
    each(|plugin| {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in plugin.files() {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let project = config::load_plugin_project(&folder.path().join("waypost-plugin.toml"));
        let project = project.unwrap();
        assert_eq!((project.name.as_str(), project.kind), ("mine", plugin.kind));
        for source in &project.sources {
            assert!(source.exists(), "{plugin:?}: {source:?}");
        }
        let configuration = config::load(&folder.path().join("waypost.toml")).unwrap();
        let uses = configuration.plugins.iter().map(|plugin| &plugin.name);
        assert!(uses.eq(["mine"].iter()), "{plugin:?}");
    });
}

#[test]
fn the_rust_sdk_has_no_workspace_in_a_project() {
    let (_, manifest) = embedded::RUST
        .iter()
        .find(|(path, _)| *path == "Cargo.toml")
        .unwrap();
    let alone = String::from_utf8(texts::manifest_alone(manifest)).unwrap();
    assert!(!alone.contains("workspace"), "{alone}");
    assert!(!alone.contains("dev-dependencies"), "{alone}");
    let version = format!("\nversion = \"{}\"\n", env!("CARGO_PKG_VERSION"));
    assert!(alone.contains(&version), "{alone}");
    assert!(alone.contains("\nwit-bindgen = "), "{alone}");
}

#[test]
fn a_hook_with_settings_of_its_place_is_used_by_name() {
    let (policy, hooks, line) = used(Kind::Hook, "mine", "a = 1", "b = 2");
    assert_eq!(policy, "\"round_robin\"");
    assert_eq!(hooks, "[{ use = \"mine_at_a_place\", b = 2 }]");
    assert_eq!(
        line,
        "hook.mine_at_a_place = { plugin = \"mine\", a = 1 }\n"
    );
}
