//! Configurations: any text is either refused, each problem with a place that is in it, or means
//! something, and the same once it was shown and read again.

use std::io;
use std::path::Path;

use crate::config::problem::Problem;
use crate::config::system::System;
use crate::config::{parse_on, show};

const FILE: &str = "waypost.toml";

/// Has no files, and one variable.
struct Nowhere;

impl System for Nowhere {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "PORT").then(|| "3000".to_owned())
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(vec![FILE.to_owned(), "other.toml".to_owned()])
    }
}

/// A file's text.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match parse_on(text, Path::new(FILE), &Nowhere) {
        Ok(config) => {
            let shown = show(&config);
            let again = parse_on(&shown, Path::new(FILE), &Nowhere);
            let again = again.unwrap_or_else(|problems| panic!("{shown}\n{problems:#?}"));
            assert_eq!(show(&again), shown);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(|problem| is_placed(problem, text));
        }
    }
}

/// Whether a reader finds what is meant: the file, a line and a column of it, and a message that is
/// a line.
fn is_placed(problem: &Problem, text: &str) {
    let place = &problem.place;
    assert_eq!(&*place.file, FILE, "{problem}");
    // What is missing is missing in the file as a whole.
    if (place.line, place.column) != (0, 0) {
        let line = text.split('\n').nth(place.line as usize - 1);
        let columns = line.unwrap_or_else(|| panic!("{problem}")).chars().count() + 1;
        assert!(
            (1..=columns).contains(&(place.column as usize)),
            "{problem}"
        );
    }
    assert!(
        !problem.message.is_empty() && !problem.message.ends_with('.'),
        "{problem}"
    );
    let report = problem.to_string();
    let lines = 2 + usize::from(problem.hint.is_some());
    assert_eq!(report.lines().count(), lines, "{report}");
    assert!(
        !report.lines().any(|line| line.contains(char::is_control)),
        "{report:?}"
    );
}
