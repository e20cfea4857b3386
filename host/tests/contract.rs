//! Each function of the contract is in every SDK, and in the pages that list them: the next one cannot
//! be forgotten in any of them.

use std::collections::BTreeSet;
use std::path::Path;

use wit_parser::{Resolve, WorldItem, WorldKey};

/// A function by its interface, as `wit/` spells both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    interface: String,
    name: String,
}

impl Function {
    fn to_text(&self) -> String {
        format!("{}.{}", self.interface, self.name)
    }
}

fn read(path: &str) -> String {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// What plugins of any kind import, and what they export, in the contract's order.
fn functions() -> (Vec<Function>, Vec<Function>) {
    let mut resolve = Resolve::default();
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/0.2.0"));
    let (package, _) = resolve.push_dir(folder).unwrap();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let worlds = [
        "full-policy",
        "endpoint-filter",
        "endpoint-scorer",
        "full-hook",
    ];
    for world in worlds {
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        let world = &resolve.worlds[world];
        for (items, into) in [
            (&world.imports, &mut imports),
            (&world.exports, &mut exports),
        ] {
            for (key, item) in items {
                let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) else {
                    panic!("{key:?} is no interface");
                };
                let interface = &resolve.interfaces[*id];
                for name in interface.functions.keys() {
                    let function = Function {
                        interface: interface.name.clone().unwrap(),
                        name: name.clone(),
                    };
                    if !into.contains(&function) {
                        into.push(function);
                    }
                }
            }
        }
    }
    assert!(imports.len() > 80 && exports.len() > 20);
    (imports, exports)
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn pascal(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_uppercase() + rest
    });
    words.collect()
}

fn camel(name: &str) -> String {
    let pascal = pascal(name);
    name[..1].to_owned() + &pascal[1..]
}

/// What stands between two texts, the first of them left out.
fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let (_, rest) = text.split_once(begin).unwrap_or_default();
    rest.split_once(end).map_or(rest, |(block, _)| block)
}

/// Whether a C name is there as a whole.
fn names(text: &str, name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.match_indices(name).any(|(at, _)| {
        !text
            .as_bytes()
            .get(at + name.len())
            .copied()
            .is_some_and(is_part)
    })
}

#[test]
fn every_sdk_has_every_function_that_plugins_may_call() {
    let javascript = read("sdk/javascript/index.d.ts");
    let python = read("sdk/python/waypost/__init__.pyi");
    let (c, double) = (read("sdk/c/waypost_host.h"), read("sdk/c/waypost_double.h"));
    let go = read("sdk/go/host.go");
    let types = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sdk/go/component_types/imports.bin"
    ));
    let types = String::from_utf8_lossy(&types.unwrap()).into_owned();
    let mut missing = Vec::new();
    for function in functions().0 {
        let Function { interface, name } = &function;
        let block = between(
            &javascript,
            &format!("export const {}: {{", camel(interface)),
            "\n};",
        );
        let block = block.split("\nexport ").next().unwrap_or_default();
        let is_in_javascript = block.contains(&format!("{}(", camel(name)));
        let block = between(
            &python,
            &format!("class _{}:", pascal(interface)),
            "\nclass ",
        );
        let is_in_python = block.contains(&format!("def {}(", snake(name)));
        let c_name = format!("wp_{}_{}", snake(interface), snake(name));
        let is_in_c = names(&c, &c_name) && names(&double, &c_name);
        let go_name = match &*function.to_text() {
            "log.write" => "Error".to_owned(), // and one for each of the other levels
            "request.hash" => "HashHeader".to_owned(), // and one for each of the other parts
            _ => pascal(name),
        };
        let is_in_go = go.contains(&format!("func ({}) {go_name}(", camel(interface)));
        for (sdk, is_there) in [
            ("JavaScript's types", is_in_javascript),
            ("Python's types", is_in_python),
            ("C's header or double", is_in_c),
            ("Go's methods", is_in_go),
            ("the types of components", types.contains(name.as_str())),
        ] {
            if !is_there {
                missing.push(format!("{sdk}: {}", function.to_text()));
            }
        }
    }
    assert!(missing.is_empty(), "missing in {}", missing.join("\n"));
}

/// The rows of a table whose header begins so: its cells, without the quotes around code.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with(header));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn the_page_of_languages_lists_what_plugins_may_call() {
    let page = read("docs/languages.md");
    let mut listed = Vec::new();
    for row in table(&page, "| interface | granted by | functions |") {
        let functions = row[2].split(", ").map(|name| Function {
            interface: row[0].clone(),
            name: name.to_owned(),
        });
        listed.extend(functions);
    }
    let (mut wanted, _) = functions();
    wanted.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, wanted);
}

#[test]
fn the_page_of_languages_says_what_every_export_is_called_and_the_sdks_have_it() {
    let page = read("docs/languages.md");
    let javascript = read("sdk/javascript/index.d.ts") + &read("sdk/javascript/guest.js");
    let sources = [
        javascript,
        read("sdk/python/waypost/guest.py") + &read("sdk/python/test_sdk.py"),
        read("sdk/c/waypost_exports.h"),
        read("sdk/go/waypost.go"),
    ];
    let rows = table(&page, "| export | JavaScript | Python | C | Go |");
    for row in &rows {
        for (cell, source) in row[1..].iter().zip(&sources) {
            let name = cell.split(' ').next_back().unwrap_or_default();
            assert!(names(source, name), "no {name} of {row:?}");
        }
    }
    let listed: Vec<String> = rows.into_iter().map(|mut row| row.remove(0)).collect();
    let (_, exports) = functions();
    let wanted: Vec<String> = exports.iter().map(Function::to_text).collect();
    let (one, other): (BTreeSet<_>, BTreeSet<_>) =
        (listed.iter().collect(), wanted.iter().collect());
    assert_eq!(one, other);
    for function in &exports {
        let folder = "sdk/go/component_types";
        let path = format!("../{folder}/{}.bin", function.interface);
        let types = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        let types = String::from_utf8_lossy(&types.unwrap()).into_owned();
        assert!(types.contains(&*function.name), "{}", function.to_text());
    }
}

#[test]
fn the_reference_has_every_function_once_with_what_it_costs() {
    let page = read("docs/contract.md");
    let measured =
        read("tests/benches/contract/plugin.c") + &read("tests/benches/contract/measure.py");
    let (imports, exports) = functions();
    let mut wanted: Vec<String> = [imports, exports]
        .concat()
        .iter()
        .map(Function::to_text)
        .collect();
    let mut listed = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, what, _, cost] = cells[..] else {
            panic!("{line} has other cells");
        };
        let name = name.trim_matches('`');
        assert!(!what.is_empty(), "{line}");
        let is_measured = measured.contains(&format!("\"{name}\""));
        let is_in_words = ["rare", "a round trip"].contains(&cost);
        assert_eq!(is_in_words, !is_measured, "{line}");
        listed.push(name.to_owned());
    }
    wanted.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, wanted);
}

#[test]
fn each_requirement_of_the_battery_is_in_the_page_or_says_that_it_is_of_hooks() {
    let battery: serde_json::Value =
        serde_json::from_str(&read("host/src/testbed/battery.json")).unwrap();
    let page = read("docs/test-a-plugin.md");
    let sources = ["mod", "settings", "policy", "hook"]
        .map(|name| read(&format!("host/src/testbed/conformance/{name}.rs")))
        .concat();
    let requirements = battery["requirements"].as_array().unwrap();
    for requirement in requirements {
        let says = requirement["says"].as_str().unwrap();
        let is_of_hooks = requirement["kinds"] == serde_json::json!(["hook"]);
        assert!(
            sources.contains(&format!("\"{says}\"")),
            "{says} is not tried"
        );
        let is_told = page.contains(&format!("| {says} |"));
        assert!(is_told || is_of_hooks, "the page has no {says}");
    }
    let tried = sources
        .lines()
        .filter(|line| line.starts_with("const ") && line.contains(": &str = \""));
    assert_eq!(
        tried.count(),
        requirements.len() + 1,
        "and one that both kinds have"
    );
}
