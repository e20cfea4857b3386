//! Directories for configurations that answer with files, what is asked of them, and what of an
//! answer has to be the same.

use std::io::{Read, Write};
use std::path::Path;

use fastrand::Rng;
use waypost_tests::Response;

use super::{paths_of_locations, words_behind};

/// Below each directory of a configuration, and below each of its locations there.
const TREE: [&str; 19] = [
    "index.html",
    "home.htm",
    "about.html",
    "about/index.html",
    "style.css",
    "app.js",
    "img.png",
    "page.txt",
    "d/index.html",
    "d/home.htm",
    "d/x.txt",
    "empty/deep/x.txt",
    "404.html",
    "50x.html",
    "500.html",
    "maintenance.html",
    "auth.html",
    "latest.txt",
    "told.txt",
];

/// Whether a configuration has files.
pub(super) fn has_some(text: &str) -> bool {
    text.contains("root /") || text.contains("alias /")
}

/// The configuration with its directories below ours, which are made and filled.
pub(super) fn placed(text: &str, directory: &Path) -> String {
    let base = directory.join("files").display().to_string();
    let locations: Vec<&str> = paths_of_locations(text).collect();
    let pages = ["error_page", "try_files"].map(|name| words_behind(text, name));
    let pages: Vec<&str> = pages
        .into_iter()
        .flatten()
        .filter(|page| page.starts_with('/') && !page.contains('$') && ends_in_name_of_file(page))
        .collect();
    for root in words_behind(text, "root").filter(|word| word.starts_with('/')) {
        let root = format!("{base}{root}");
        fill(&root);
        for page in &pages {
            write(&format!("{root}{page}"));
        }
        for path in &locations {
            match ends_in_name_of_file(path) {
                true => write(&format!("{root}{path}")),
                false => fill(&format!("{root}{path}")),
            }
        }
    }
    for alias in words_behind(text, "alias").filter(|word| word.starts_with('/')) {
        let alias = format!("{base}{alias}");
        match ends_in_name_of_file(&alias) {
            true => write(&alias),
            false => fill(&alias),
        }
    }
    let text = text.replace("root /", &format!("root {base}/"));
    text.replace("alias /", &format!("alias {base}/"))
}

fn ends_in_name_of_file(path: &str) -> bool {
    path.rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'))
}

fn fill(directory: &str) {
    for name in TREE {
        write(&format!("{directory}/{name}"));
    }
}

fn write(path: &str) {
    let path = Path::new(path);
    let directory = path.parent().expect("it is in a directory");
    // A file of an earlier location may be in the way: then there is nothing below it.
    if std::fs::create_dir_all(directory).is_err() || path.is_dir() {
        return;
    }
    let text = format!("file {}, which is long enough for all\n", path.display());
    std::fs::write(path, &text).expect("the directory is ours");
    if path.extension().is_some_and(|ending| ending == "js") {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("into memory");
        let compressed = encoder.finish().expect("into memory");
        let path = format!("{}.gz", path.display());
        std::fs::write(path, compressed).expect("the directory is ours");
    }
}

/// Paths of files, directories and what is not there.
pub(super) fn paths(text: &str) -> Vec<String> {
    let mut names = TREE.to_vec();
    names.extend([
        "",
        "d",
        "d/",
        "about",
        "none",
        "none.css",
        "none/",
        "d/none",
        "robots.txt",
    ]);
    // A directory without an index is another thing there: see `docs/files.md`.
    let falls_back = ["$uri/ /", "$uri/ @", "=200 /index"];
    if !falls_back.iter().any(|words| text.contains(words)) {
        names.extend(["empty", "empty/"]);
    }
    let mut paths: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
    for path in paths_of_locations(text).filter(|path| !ends_in_name_of_file(path)) {
        let path = path.trim_end_matches('/');
        paths.extend(names.iter().map(|name| format!("{path}/{name}")));
    }
    paths
}

/// A field that decides how a file is sent.
pub(super) fn field(rng: &mut Rng, method: &str) -> &'static str {
    match (rng.u8(..4), method) {
        (0, "GET") => "Range: bytes=2-9\r\n",
        (1, "GET") => "Range: bytes=-3\r\n",
        (2, "GET" | "HEAD") => "If-None-Match: *\r\n",
        _ => "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT\r\n",
    }
}

/// Whether two answers differ in what `docs/files.md` and `docs/error-pages.md` say.
pub(super) fn departs(text: &str, request: &str, got: &Response, expected: &Response) -> bool {
    let is_read = request.starts_with("GET ") || request.starts_with("HEAD ");
    let refused = [301, 403, 404, 405].contains(&expected.status);
    // Methods are looked at before files are looked for.
    let by_page = text.contains("error_page");
    let is_other_method = !is_read && got.status == 405 && (refused || by_page);
    // The password of a directory's index is asked for here before the method is looked at.
    let is_asked_first = !is_read && expected.status == 405 && got.status == 401;
    // A page in place of an error is for all methods here.
    let is_page = !is_read && expected.status == 405 && text.contains("error_page");
    // What was read of a body is gone, and so another server does not get the request.
    let is_sent_once = text.contains("error_page")
        && request.ends_with("hello")
        && got.status >= 500
        && told(got).is_empty();
    // A page with the status of a redirect, which leads nowhere, has the error's.
    let is_led = [301, 302].contains(&expected.status) && expected.header("Location").is_empty();
    if is_led && got.status == 404 && told(got) == told(expected) {
        return true;
    }
    // nginx answers a condition by a text that has nothing to compare it with; here it is sent.
    let is_any = request.contains("If-None-Match: *") && got.headers.get("ETag").is_none();
    if is_any && (expected.status, got.status) == (304, 200) {
        return true;
    }
    // nginx asks for a page by GET.
    if is_sent_once || (!is_read && told(expected).contains(" GET /ping\n")) {
        return true;
    }
    // Where nginx finds no location for it.
    let lacks_slash = expected.status == 404 && lacks_slash(text, request, got);
    has_some(text) && (is_other_method || is_asked_first || is_page || lacks_slash)
}

/// Whether a client is sent to a path with a slash at its end where the configuration has a location.
fn lacks_slash(text: &str, request: &str, got: &Response) -> bool {
    let target = request.split(' ').nth(1).unwrap_or_default();
    let with_slash = format!("{}/", target.split('?').next().unwrap_or_default());
    let is_sent_there = got.header("Location").contains(&with_slash);
    matches!(got.status, 301 | 308)
        && is_sent_there
        && paths_of_locations(text).any(|path| path == with_slash)
}

/// What an answer tells, plain: nothing where it is a proxy's own page of a status.
pub(super) fn told(response: &Response) -> String {
    let mut plain = Vec::new();
    match response.header("Content-Encoding") {
        "gzip" => {
            let mut decoder = flate2::read::MultiGzDecoder::new(&response.body[..]);
            let decoded = decoder.read_to_end(&mut plain);
            // A part of it is none by itself.
            if decoded.is_err() {
                plain = response.body.clone();
            }
        }
        _ => plain = response.body.clone(),
    }
    let text = String::from_utf8_lossy(&plain).into_owned();
    let is_own = text.contains("<center>nginx")
        || text.starts_with(&format!("{} ", response.status))
        || text.contains("Index of /")
        || text.starts_with('[');
    match is_own {
        true => String::new(),
        false => text,
    }
}

/// Headers with what is said in several lines of how long an answer may be kept in one, which means
/// the same (RFC 9110 section 5.3).
pub(super) fn with_one_cache_control(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_it = |(name, _): &(String, String)| name == "cache-control";
    let (said, mut others): (Vec<_>, Vec<_>) = headers.into_iter().partition(is_it);
    // What both lines say is said once.
    let mut words: Vec<&str> = Vec::new();
    for word in said.iter().flat_map(|(_, value)| value.split(", ")) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if !words.is_empty() {
        others.push(("cache-control".to_owned(), words.join(", ")));
    }
    others
}

/// A media type as far as it has to be the same: that of a file has a charset here, and scripts have
/// another name (RFC 9239).
pub(super) fn media_type(content_type: &str, has_files: bool) -> String {
    match (has_files, content_type.split(';').next()) {
        (true, Some("application/javascript")) => "text/javascript".to_owned(),
        (true, Some(media_type)) => media_type.to_owned(),
        _ => content_type.to_owned(),
    }
}
