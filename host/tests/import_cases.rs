//! Each configuration of `tests/import`: the file that `waypost import` makes of it, and its report.
//!
//! `WAYPOST_BLESS=1` writes the expected files anew; read the difference before you commit it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

use waypost::config::system::System;
use waypost::import::{Imported, import};

/// The machine that the cases were written on: its files are the folder's, and none besides.
struct Folder;

impl System for Folder {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, file: &Path) -> std::io::Result<Vec<u8>> {
        match file.is_absolute() {
            true => Err(std::io::ErrorKind::NotFound.into()),
            false => fs::read(folder().join(file)),
        }
    }

    fn list(&self, directory: &Path) -> std::io::Result<Vec<String>> {
        match directory.is_absolute() {
            true => Err(std::io::ErrorKind::NotFound.into()),
            false => {
                let entries = fs::read_dir(folder().join(directory))?;
                Ok(entries
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .collect())
            }
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/import")
}

fn cases() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".conf"))
        .collect();
    names.sort();
    assert!(names.len() > 30, "the configurations were not found");
    names
}

fn compare(file: &Path, text: &str, differences: &mut Vec<String>) {
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        fs::write(file, text).unwrap();
    } else if fs::read_to_string(file).unwrap_or_default() != text {
        differences.push(format!("{} is not\n{text}", file.display()));
    }
}

#[test]
fn each_configuration_of_nginx_becomes_the_expected_file_and_report() {
    let mut differences = Vec::new();
    for name in cases() {
        let Imported {
            text,
            report,
            problems,
        } = import(Path::new(&name), Path::new("waypost.toml"), &Folder).unwrap();
        assert!(problems.is_empty(), "{name}: {problems:#?}\n{text}");
        let file = folder().join(name);
        compare(&file.with_extension("toml"), &text, &mut differences);
        compare(
            &file.with_extension("report"),
            &report.full(),
            &mut differences,
        );
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
