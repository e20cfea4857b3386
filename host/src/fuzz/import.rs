//! Configurations of nginx: any text is either refused, with a line that it has, or becomes a file
//! in which Waypost finds its problems, if it has any, and each directive has its entry in the report.

use std::io;
use std::path::Path;

use crate::config::system::System;
use crate::import::{Imported, import};

const FILE: &str = "nginx.conf";

/// Has one file.
struct OneFile<'a>(&'a [u8]);

impl System for OneFile<'_> {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        match file == Path::new(FILE) {
            true => Ok(self.0.to_vec()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(vec![FILE.to_owned()])
    }
}

/// A file's text.
pub(super) fn run(bytes: &[u8]) {
    match import(Path::new(FILE), Path::new("waypost.toml"), &OneFile(bytes)) {
        Ok(Imported {
            text,
            report,
            problems,
        }) => {
            // What nginx would refuse may become what Waypost refuses, at a line that is there.
            let lines = text.lines().count();
            let is_placed = |line: u32| usize::try_from(line).unwrap() <= lines;
            assert!(
                problems.iter().all(|problem| is_placed(problem.place.line)),
                "{problems:#?}"
            );
            assert!(report.entries.iter().all(|entry| !entry.note.is_empty()));
            assert!(!report.full().contains('\0'));
        }
        Err(error) => {
            let lines = bytes.split(|byte| *byte == b'\n').count();
            let line = usize::try_from(error.line.line).unwrap();
            assert!((1..=lines).contains(&line), "{error}");
            assert!(!error.message.is_empty());
        }
    }
}
