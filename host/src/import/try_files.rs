//! `try_files`, as far as `files` has it (`ngx_http_try_files_module.c`).

use std::collections::HashSet;

use super::tree::Directive;
use super::variables::{Piece, pieces_of};

/// What is tried, and what comes of it in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tries {
    /// One at least: each is tried where nothing of those before it is there.
    pub(super) stages: Vec<Stage>,
    pub(super) last: Last,
    /// Whether nginx tries a suffix before the path itself, which comes first here.
    pub(super) is_reordered: bool,
}

/// What one `files` tries, in its order: the path, the path with suffixes, the directory's index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stage {
    /// What is tried behind the path.
    pub(super) suffixes: Vec<String>,
    /// The path may be a directory, `$uri/`.
    pub(super) directories: bool,
    /// The one file that is tried, whatever the path is.
    pub(super) fixed: Option<String>,
}

impl Stage {
    fn of_file(name: &str) -> Stage {
        Stage {
            fixed: Some(name.to_owned()),
            ..Stage::default()
        }
    }
}

/// What a request gets in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Last {
    Status(u16),
    /// The location of this name.
    Named(String),
    /// What is found for a path; and the query that it has there, with its `?`.
    Uri(String, String),
    /// What is found for the request's path below this one, with the request's query.
    Below(String),
}

/// Why a path with a suffix cannot be tried alone.
const WITHOUT_PATH: &str = "without `$uri`, files of other names are not served: make a `[[route]]` for \
                            what there is";

/// A word of a `try_files`, but the last.
enum Tried<'a> {
    Path,
    Directory,
    Suffix(&'a str),
    File(&'a str),
}

impl<'a> Tried<'a> {
    fn parse(word: &'a str) -> Result<Tried<'a>, String> {
        Ok(match *pieces_of(word) {
            [Piece::Variable("uri" | "document_uri")] => Tried::Path,
            [Piece::Variable("uri" | "document_uri"), Piece::Literal("/")] => Tried::Directory,
            [
                Piece::Variable("uri" | "document_uri"),
                Piece::Literal(suffix),
            ] if !suffix.ends_with('/') && !suffix.contains('?') => Tried::Suffix(suffix),
            [Piece::Literal(name)] if name.starts_with('/') && !name.ends_with('/') => {
                Tried::File(name)
            }
            _ => {
                return Err(format!(
                    "`{word}` is not tried here: a file is the path, the path with a suffix, or one \
                     that is fixed"
                ));
            }
        })
    }

    /// Whether it needs a stage of its own behind this one.
    fn needs_another(&self, stage: &Stage) -> bool {
        stage.fixed.is_some()
            || match self {
                Tried::Path => false,
                // Names within a directory come behind its index.
                Tried::Directory => stage.suffixes.iter().any(|suffix| suffix.starts_with('/')),
                Tried::Suffix(_) => stage.directories,
                Tried::File(_) => true,
            }
    }
}

impl Tries {
    /// What `$uri $uri/ =404` stands for, without being said.
    pub(super) fn by_default() -> Tries {
        let stage = Stage {
            directories: true,
            ..Stage::default()
        };
        Tries {
            stages: vec![stage],
            last: Last::Status(404),
            is_reordered: false,
        }
    }

    /// Reads the words of a `try_files`.
    ///
    /// # Errors
    /// What of it cannot be said.
    pub(super) fn parse(directive: &Directive) -> Result<Tries, String> {
        let Some((last, tried)) = directive.arguments.split_last() else {
            return Err("it tries nothing".to_owned());
        };
        let last = Last::parse(last)?;
        let mut stages: Vec<Stage> = Vec::new();
        let (mut by_path, mut is_reordered) = (false, false);
        for word in tried {
            let word = Tried::parse(word)?;
            if stages.last().is_none_or(|stage| word.needs_another(stage)) {
                stages.push(Stage::default());
            }
            let Some(stage) = stages.last_mut() else {
                continue;
            };
            match word {
                Tried::Path => {
                    let is_beside = |suffix: &String| !suffix.starts_with('/');
                    is_reordered |= !by_path && stage.suffixes.iter().any(is_beside);
                    by_path = true;
                }
                Tried::Directory => stage.directories = true,
                Tried::Suffix(suffix) => stage.suffixes.push(suffix.to_owned()),
                Tried::File(name) => stage.fixed = Some(name.to_owned()),
            }
            // The stages before it have the path as well.
            let is_early = |stage: &Stage| stage.fixed.is_none() && !by_path;
            if stages.iter().rev().skip(1).any(is_early) {
                return Err(WITHOUT_PATH.to_owned());
            }
        }
        let is_of_path = |stage: &Stage| stage.fixed.is_none();
        match stages.iter().any(is_of_path) && !by_path {
            true => Err(WITHOUT_PATH.to_owned()),
            false => Ok(Tries {
                stages,
                last,
                is_reordered,
            }),
        }
    }

    /// What is tried where the path is another one than the client's: files with fixed names.
    pub(super) fn asked_for(mut self, path: &str) -> Tries {
        let of_stage = |stage: Stage| match stage.fixed {
            Some(_) => vec![stage],
            None => {
                let suffixes = stage.suffixes.iter();
                let names = suffixes.map(|suffix| format!("{path}{suffix}"));
                let names = std::iter::once(path.to_owned()).chain(names);
                names.map(|name| Stage::of_file(&name)).collect()
            }
        };
        self.stages = self.stages.into_iter().flat_map(of_stage).collect();
        let mut known = HashSet::new();
        self.stages
            .retain(|stage| known.insert(stage.fixed.clone()));
        self
    }

    /// Whether all that is tried for this path is the file of that name.
    pub(super) fn are_only(self, path: &str) -> bool {
        let ends = match &self.last {
            Last::Status(status) => *status == 404,
            Last::Uri(last, _) => last == path,
            Last::Named(_) | Last::Below(_) => false,
        };
        ends && self.asked_for(path).stages == [Stage::of_file(path)]
    }

    /// Whether directories are tried, and by what is tried first.
    pub(super) fn serve_directories(&self) -> (bool, bool) {
        let mut stages = self.stages.iter().map(|stage| stage.directories);
        let first = stages.next().unwrap_or_default();
        (first || stages.any(|directories| directories), first)
    }
}

impl Last {
    fn parse(word: &str) -> Result<Last, String> {
        if let Some(status) = word.strip_prefix('=') {
            let status = status.parse().ok();
            let status = status.filter(|status| (400..=599).contains(status) && *status != 444);
            return status
                .map(Last::Status)
                .ok_or_else(|| "a `fallback` is a status from 400 to 599".to_owned());
        }
        if word.starts_with('@') {
            return Ok(Last::Named(word.to_owned()));
        }
        if let [Piece::Literal(above), Piece::Variable("request_uri")] = *pieces_of(word)
            && above.starts_with('/')
            && !above.ends_with('/')
            && !above.contains('?')
        {
            return Ok(Last::Below(above.to_owned()));
        }
        let (path, query) = split_query(word);
        match path.starts_with('/') && !path.contains('$') {
            true => Ok(Last::Uri(path, query)),
            false => Err(format!(
                "`{word}` is made of the request: a `fallback` is fixed"
            )),
        }
    }
}

/// A path, and the query with its `?` as a text with variables: `/index.php?q=$uri&$args`,
/// `/index.php$is_args$args`.
pub(super) fn split_query(uri: &str) -> (String, String) {
    if let Some(path) = uri.strip_suffix("$is_args$args") {
        return (path.to_owned(), "$is_args$args".to_owned());
    }
    match uri.split_once('?') {
        None => (uri.to_owned(), String::new()),
        Some((path, "$args" | "$query_string")) => (path.to_owned(), "$is_args$args".to_owned()),
        Some((path, query)) => (path.to_owned(), format!("?{query}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::import::tree::Line;

    fn tries(words: &str) -> Result<Tries, String> {
        Tries::parse(&Directive {
            id: 0,
            last: 0,
            name: "try_files".to_owned(),
            arguments: words.split(' ').map(str::to_owned).collect(),
            line: Line {
                file: "a.conf".into(),
                line: 1,
            },
            block: None,
            comments: Vec::new(),
            missing: None,
        })
    }

    fn stage(suffixes: &[&str], directories: bool) -> Stage {
        Stage {
            suffixes: suffixes.iter().map(|each| (*each).to_owned()).collect(),
            directories,
            fixed: None,
        }
    }

    #[test]
    fn what_is_tried_is_read_in_the_forms_that_people_write() {
        let whole = tries("$uri $uri/ =404").unwrap();
        assert_eq!(whole, Tries::by_default());
        let suffixes = tries("$uri $uri.html ${uri}/index.html @app").unwrap();
        assert_eq!(suffixes.stages, [stage(&[".html", "/index.html"], false)]);
        assert_eq!(suffixes.last, Last::Named("@app".to_owned()));
        let fixed = tries("/index.html =404").unwrap();
        assert_eq!(fixed.stages, [Stage::of_file("/index.html")]);
        for (words, stages) in [
            (
                "/a /b =404",
                vec![Stage::of_file("/a"), Stage::of_file("/b")],
            ),
            (
                "/a $uri $uri/ =404",
                vec![Stage::of_file("/a"), stage(&[], true)],
            ),
            (
                "$uri /a $uri.html @x",
                vec![
                    stage(&[], false),
                    Stage::of_file("/a"),
                    stage(&[".html"], false),
                ],
            ),
            (
                "$uri $uri/ $uri.html =404",
                vec![stage(&[], true), stage(&[".html"], false)],
            ),
            ("$uri $uri.html $uri/ =404", vec![stage(&[".html"], true)]),
            ("$uri/ $uri =404", vec![stage(&[], true)]),
            (
                "$uri $uri/a.html $uri/ =404",
                vec![stage(&["/a.html"], false), stage(&[], true)],
            ),
        ] {
            let read = tries(words).unwrap();
            assert_eq!((read.stages, read.is_reordered), (stages, false), "{words}");
        }
        assert!(tries("$uri.html $uri =404").unwrap().is_reordered);
        let asked = tries("$uri $uri/ /a $uri.html =404")
            .unwrap()
            .asked_for("/b");
        let names = ["/b", "/a", "/b.html"].map(Stage::of_file);
        assert_eq!(asked.stages, names);
        for (last, path, query) in [
            ("/index.html", "/index.html", ""),
            ("/i.php?$args", "/i.php", "$is_args$args"),
            ("/i.php?$query_string", "/i.php", "$is_args$args"),
            ("/i.php$is_args$args", "/i.php", "$is_args$args"),
            ("/i.php?q=$uri&$args", "/i.php", "?q=$uri&$args"),
        ] {
            let read = tries(&format!("$uri {last}")).unwrap();
            assert_eq!(read.last, Last::Uri(path.to_owned(), query.to_owned()));
        }
        for (last, above) in [
            ("/index.php$request_uri", "/index.php"),
            ("/a/b.php${request_uri}", "/a/b.php"),
        ] {
            let read = tries(&format!("$uri {last}")).unwrap();
            assert_eq!(read.last, Last::Below(above.to_owned()));
        }
        for refused in [
            "$uri /in$request_uri/x",
            "$uri /in/$request_uri",
            "$uri =200",
            "$uri =444",
            "$uri $uri",
            "/cache/$host$uri @app",
            "$request_filename @app",
            "$uri.html @app",
            "$uri/index.html @app",
            "$uri/ @app",
            "/a $uri.html =404",
            "$uri.html /a $uri =404",
            "$uri $uri/sub/ =404",
        ] {
            assert!(tries(refused).is_err(), "{refused}");
        }
    }
}
