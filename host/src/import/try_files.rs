//! `try_files`, as far as `files` has it (`ngx_http_try_files_module.c`).

use super::tree::Directive;
use super::variables::{Piece, pieces_of};

/// What is tried, and what comes of it in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tries {
    /// The path may be a directory, `$uri/`.
    pub(super) directories: bool,
    /// What is tried behind the path.
    pub(super) suffixes: Vec<String>,
    /// The one file that is tried, whatever the path is.
    pub(super) fixed: Option<String>,
    pub(super) last: Last,
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

impl Tries {
    /// What `$uri $uri/ =404` stands for, without being said.
    pub(super) fn by_default() -> Tries {
        Tries {
            directories: true,
            suffixes: Vec::new(),
            fixed: None,
            last: Last::Status(404),
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
        let mut tries = Tries {
            directories: false,
            last: Last::parse(last)?,
            ..Tries::by_default()
        };
        // Whether the path itself may be a file.
        let mut by_path = false;
        for word in tried {
            match *pieces_of(word) {
                [Piece::Variable("uri" | "document_uri")] => by_path = true,
                [Piece::Variable("uri" | "document_uri"), Piece::Literal("/")] => {
                    tries.directories = true;
                }
                [
                    Piece::Variable("uri" | "document_uri"),
                    Piece::Literal(suffix),
                ] if !suffix.ends_with('/') && !suffix.contains('?') => {
                    tries.suffixes.push(suffix.to_owned());
                }
                [Piece::Literal(name)] if name.starts_with('/') && !name.ends_with('/') => {
                    if tries.fixed.replace(name.to_owned()).is_some() {
                        return Err("of several files whose names are fixed, one is served: \
                                    `file` of `files`, and a `fallback`"
                            .to_owned());
                    }
                }
                _ => {
                    return Err(format!(
                        "`{word}` is not tried here: a file is the path, the path with a suffix, or one \
                         that is fixed"
                    ));
                }
            }
        }
        let has_others = tries.directories || !tries.suffixes.is_empty();
        if has_others && !by_path && tries.fixed.is_none() {
            return Err(
                "without `$uri`, files of other names are not served: make a `[[route]]` for \
                        what there is"
                    .to_owned(),
            );
        }
        match tries.fixed.is_some() && (by_path || has_others) {
            true => Err(
                "whether one file is there does not decide about all others: put a route \
                         that answers with it before this one while it should"
                    .to_owned(),
            ),
            false => Ok(tries),
        }
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

    #[test]
    fn what_is_tried_is_read_in_the_forms_that_people_write() {
        let whole = tries("$uri $uri/ =404").unwrap();
        assert_eq!(whole, Tries::by_default());
        let suffixes = tries("$uri $uri.html ${uri}/index.html @app").unwrap();
        assert_eq!(suffixes.suffixes, [".html", "/index.html"]);
        assert_eq!(suffixes.last, Last::Named("@app".to_owned()));
        assert!(!suffixes.directories);
        let fixed = tries("/index.html =404").unwrap();
        let only = Tries {
            directories: false,
            fixed: Some("/index.html".to_owned()),
            ..Tries::by_default()
        };
        assert_eq!(fixed, only);
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
            "/a /b =404",
            "/a $uri =404",
            "/cache/$host$uri @app",
            "$request_filename @app",
            "$uri.html @app",
            "$uri/index.html @app",
            "$uri/ @app",
            "/a $uri.html =404",
            "$uri $uri/sub/ =404",
        ] {
            assert!(tries(refused).is_err(), "{refused}");
        }
    }
}
