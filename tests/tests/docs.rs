//! Every command that the documentation shows is one that Waypost understands and carries out, and
//! every piece of configuration is TOML with keys that Waypost knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Proxy, child, plugin, proxy, waypost};

/// What a page says about itself as wrong, and why the command says no.
const REFUSED: [(&str, &str); 2] = [
    (
        "plugin load spill broken.wasm",
        "plugin `spill` is no webassembly",
    ),
    // The proxy of the pages speaks no TLS.
    (
        "certificate renew NAME",
        "the configuration has no certificate `backend`",
    ),
];

/// The plugins of the pages: a policy and a hook.
const PLUGINS: &str = "
[plugin.spill]
file = \"spill.wasm\"
grants = [\"request\", \"exchange\"]

[plugin.api_key]
file = \"target/wasm32-wasip2/release/api_key.wasm\"
grants = [\"request\", \"changes\"]

[hook.partners]
plugin = \"api_key\"
clients = { acme = \"acme-1f7c\" }
";

/// A configuration of nginx that can be said whole.
const NGINX: &[u8] = b"server { listen 80; location / { proxy_pass http://127.0.0.1:9; } }\n";

/// Those that end the process which they are said to.
const LAST_WORDS: [&str; 3] = ["drain", "stop", "upgrade"];

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).expect("the folder is there");
    let mut pages: Vec<PathBuf> = docs.map(|page| page.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    pages.push(root.join("README.md"));
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// The commands of a page, without `waypost`: those in blocks of code, and those within a line. The
/// latter may be just a command's name.
fn commands(text: &str) -> Vec<(String, bool)> {
    let (mut commands, mut in_block) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
            continue;
        }
        if in_block {
            let line = line.trim_start_matches("$ ");
            let line = line
                .strip_prefix("ExecStart=/usr/local/bin/")
                .unwrap_or(line);
            let line = line
                .strip_prefix("ExecReload=/usr/local/bin/")
                .unwrap_or(line);
            let code = line.split(" #").next().unwrap_or_default();
            commands.extend(code.strip_prefix("waypost ").map(|code| (code, false)));
        } else {
            let quoted = line.split('`').skip(1).step_by(2);
            let quoted = quoted.filter_map(|code| code.strip_prefix("waypost "));
            commands.extend(quoted.map(|code| (code, code.split(' ').count() <= 2)));
        }
    }
    let trimmed = commands.into_iter().map(|(command, may_be_a_name)| {
        let without_shell = command.split(['>', '&']).next().unwrap_or_default();
        (without_shell.trim().to_owned(), may_be_a_name)
    });
    trimmed.collect()
}

/// The blocks of a page that are configuration, each with the number of its first line.
fn blocks_of_toml(text: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut block) = (Vec::new(), None::<(usize, String)>);
    for (index, line) in text.lines().enumerate() {
        match &mut block {
            None if line == "```toml" => block = Some((index + 2, String::new())),
            None => {}
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some((_, lines)) => *lines += &format!("{line}\n"),
        }
    }
    // A crate's manifest is no configuration.
    blocks.retain(|(_, lines): &(usize, String)| !lines.starts_with("[package]"));
    blocks
}

/// A command as it is run: names in capitals stand for one, brackets for what may be left out.
fn arguments(command: &str, proxy: &Proxy) -> Vec<String> {
    let of_plugins = command.starts_with("plugin");
    let imports = command.starts_with("import");
    let words = command.replace(['[', ']'], "");
    let word = |word: &str| match word {
        "FILE" if of_plugins => "spill.wasm".to_owned(),
        "FILE" => "waypost.toml".to_owned(),
        // What the proxy serves is not to be written over.
        "waypost.toml" if imports => "imported.toml".to_owned(),
        "NAME" if of_plugins => "spill".to_owned(),
        "NAME" => "backend".to_owned(),
        // A plugin of one's own, which `new_plugin` makes.
        "shard" if of_plugins => "spill".to_owned(),
        "target/wasm32-wasip2/release/plugin.wasm" => "spill-2.wasm".to_owned(),
        "SERVER" => "127.0.0.1:9".to_owned(),
        "ADDRESS" => "127.0.0.1:10".to_owned(),
        "N" => "2".to_owned(),
        "/etc/waypost/waypost.toml" => "waypost.toml".to_owned(),
        "URL" => format!("http://{}/", proxy.address()),
        _ if word.starts_with("http://shop.example") => {
            word.replace("shop.example", proxy.address())
        }
        _ if word.starts_with("unix:/") => proxy.admin_address(),
        word => word.to_owned(),
    };
    words.split_whitespace().map(word).collect()
}

/// A proxy with the names that the pages use, and two versions of its plugins.
async fn example() -> Proxy {
    let servers = ["\"127.0.0.1:9\"", "\"10.0.0.2:3000\"", "\"10.0.0.3:3000\""];
    let setup = proxy::to(servers.map(str::to_owned));
    let component = |name| std::fs::read(plugin(name, "wasm32-unknown-unknown")).unwrap();
    let other = |component: &[u8]| [component, &[0, 2, 1, 1]].concat();
    let (policy, hook) = (component("round_robin"), component("api_key"));
    let directory = setup.directory();
    for (name, bytes) in [
        ("spill.wasm", &policy[..]),
        ("build/spill.wasm", &other(&policy)),
        ("spill-2.wasm", &other(&policy)),
        ("spill-3.wasm", &other(&other(&policy))),
        ("target/wasm32-wasip2/release/api_key.wasm", &hook),
        ("api_key-2.wasm", &other(&hook)),
        ("broken.wasm", b"broken"),
        ("nginx.conf", NGINX),
    ] {
        let file = directory.join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let proxy = setup
        .upstream("policy = \"spill\"")
        .route("hooks = [\"partners\"]")
        .more(PLUGINS)
        .more(ADMIN)
        .start()
        .await;
    for (name, file) in [("spill", "spill-2.wasm"), ("api_key", "api_key-2.wasm")] {
        let (code, said) = says(&["plugin", "load", name, file], &proxy).await;
        assert_eq!(code, 0, "{said}");
    }
    proxy
}

/// What a command says, run in the proxy's directory.
async fn says(arguments: &[&str], proxy: &Proxy) -> (i32, String) {
    let mut command = Command::new(waypost());
    command.args(arguments).current_dir(proxy.directory());
    let ran = tokio::task::spawn_blocking(move || child::run(command));
    let (code, out, err) = ran.await.expect("it does not panic");
    (code, out + &err)
}

#[tokio::test]
async fn every_command_of_the_documentation_works() {
    let mut all = BTreeSet::new();
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&page).unwrap();
        let commands = commands(&text).into_iter();
        all.extend(commands.map(|(command, may_be_a_name)| (command, may_be_a_name, name.clone())));
    }
    assert!(all.len() > 20, "{all:?}");
    let mut wrong = Vec::new();
    let proxy = example().await;
    for (command, may_be_a_name, page) in &all {
        let words = arguments(command, &proxy);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (code, said) = match words[..] {
            // It would serve until it is ended: that is what all other specs do with it.
            ["run", ..] => continue,
            ["proxy", ..] => says(&[&words[..], &["--show"]].concat(), &proxy).await,
            // What they do to a folder, `new_plugin` follows.
            ["plugin", "new" | "build" | "dev", ..] => {
                says(&[&words[..], &["--help"]].concat(), &proxy).await
            }
            [
                "plugin",
                what @ ("shadow" | "canary" | "promote" | "withdraw"),
                ..,
            ] => {
                let proxy = example().await;
                // What a page has tried is not what serves.
                let mut before = vec![["plugin", "load", "spill", "spill-3.wasm"]];
                if matches!(what, "promote" | "withdraw") {
                    before.push(["plugin", "shadow", "spill", "spill-2.wasm"]);
                }
                for command in before {
                    let (code, said) = says(&command, &proxy).await;
                    assert_eq!(code, 0, "{said}");
                }
                says(&words, &proxy).await
            }
            [last, ..] if LAST_WORDS.contains(&last) => says(&words, &example().await).await,
            _ => {
                // Servers are what the file says again.
                proxy.reload().await;
                says(&words, &proxy).await
            }
        };
        let refused = REFUSED.iter().find(|(refused, _)| refused == command);
        let as_told = match refused {
            Some((_, why)) => code == 1 && said.contains(why),
            None if code == 2 && *may_be_a_name => {
                says(&[&words[..], &["--help"]].concat(), &proxy).await.0 == 0
            }
            None => code == 0,
        };
        if !as_told {
            wrong.push(format!(
                "{page}: `waypost {command}` ends with {code}:\n{said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a block leaves out, files and other tables, is no fault of it.
#[test]
fn every_piece_of_configuration_in_the_documentation_can_be_pasted() {
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let file = directory.path().join("waypost.toml");
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&page).unwrap();
        for (line, block) in blocks_of_toml(&text) {
            count += 1;
            std::fs::write(&file, &block).unwrap();
            let mut command = Command::new(waypost());
            command.arg("check").arg("-c").arg(&file);
            let (_, _, said) = child::run(command);
            let problems = said.split("\n\n").filter(|problem| {
                [
                    "error: not valid TOML",
                    "error: unknown key",
                    "error: unknown `",
                    "error: duplicate",
                    "belongs in",
                ]
                .iter()
                .any(|fault| problem.contains(fault))
            });
            wrong.extend(problems.map(|problem| format!("{name}:{line}: {problem}")));
        }
    }
    assert!(count > 20, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
