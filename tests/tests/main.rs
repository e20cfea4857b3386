//! Waypost's specs: one file per promise, in the order in which a newcomer would ask.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a spec fails by panicking"
)]

mod harness; // what the specs stand on
mod parity; // the choices are nginx's

#[test]
fn every_spec_file_is_part_of_the_suite() {
    let this = include_str!("main.rs");
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .expect("this folder exists");
    let names = files.map(|file| {
        file.expect("it can be listed")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let missing: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
        .filter(|name| name != "main" && !this.contains(&format!("\nmod {name};")))
        .collect();
    assert!(missing.is_empty(), "not in main.rs: {missing:?}");
}
