//! `error_page`: what clients get in place of errors (`ngx_http_send_error_page`).

use std::path::Path;

use super::Translator;
use super::directory::Directory;
use super::error_page::{Answer, Content, ErrorPage};
use super::files::Uri;
use super::finding;
use super::guards;
use super::matching::Location;
use super::rewriting::fixed_path;
use super::scope::Scope;
use super::tree::Directive;
use super::try_files::{Tries, split_query};
use super::writer::{Block, Table, text};
use crate::config::REDIRECTS;
use crate::http::variable::Phase;

/// Statuses that nginx has for itself, and that no answer here has.
const OWN: [u16; 6] = [444, 494, 495, 496, 497, 499];

/// Why a page cannot be what a place with files leads on to.
const GOES_ON: &str = "what is no file there is led on, and a page leads to no further route: name the \
                       file, or the location that answers in the end";

/// Whether a place lets in some clients only.
fn keeps_out(scope: &Scope<'_>) -> bool {
    let passwords = scope.nearest("auth_basic");
    let asks = passwords.iter().any(|realm| realm.argument(0) != "off");
    asks || !scope.nearest("deny").is_empty()
}

impl Translator<'_> {
    /// Writes the pages of a context that its answers may need: those with that status, or all errors.
    pub(super) fn pages(&mut self, scope: &Scope<'_>, status: Option<u16>, block: &mut Block) {
        let accounts = self.accounts;
        let directives = scope.nearest("error_page").to_vec();
        let mut table = Table::new();
        for directive in directives {
            let Some(page) = self.error_page(directive) else {
                continue;
            };
            if status.is_some_and(|status| !page.codes.contains(&status)) {
                continue;
            }
            let content = self.content(scope, &page);
            match content.and_then(|content| page.checked(content)) {
                Ok(Content::Text(table, _)) if self.is_missing(&table) => accounts.changed(
                    directive,
                    "left out: it is a page that comes with nginx, and that is not installed here",
                ),
                Ok(content) => {
                    match (&content, page.uri.starts_with('@')) {
                        _ if page.leads_nowhere(&content) => accounts.changed(
                            directive,
                            "`error_pages` with the status of the error: a redirect says where to, and \
                             nginx sends the page without a `Location`",
                        ),
                        (Content::Text(..), _) => accounts.translated(directive, "`error_pages`"),
                        (Content::Route(..), true) => accounts.changed(
                            directive,
                            "`route` in `error_pages`: a request with a body that was read already \
                             gets the short answer",
                        ),
                        (Content::Route(..), false) => accounts.changed(
                            directive,
                            "`route` in `error_pages`: it is asked with the request's own method, and \
                             not for a request with a body that was read already",
                        ),
                    }
                    page.write(content, &mut table);
                }
                Err(why) => accounts.lost(directive, why),
            }
        }
        if table.is_empty() {
            return;
        }
        let intercepts = match scope.own("grpc_pass") {
            [] => "proxy_intercept_errors",
            _ => "grpc_intercept_errors",
        };
        if scope.is_on(intercepts) && block.get("proxy").is_some() {
            block.keys.set("intercept_errors", "true");
            for directive in scope.nearest(intercepts) {
                accounts.translated(directive, "`intercept_errors`");
            }
        }
        for directive in scope.nearest("recursive_error_pages") {
            match directive.argument(0) {
                "on" => accounts.changed(
                    directive,
                    "an error of a page's route has its own page, which leads to no further route",
                ),
                _ => accounts.built_in(directive, "a page leads to no further route"),
            }
        }
        block.tables.push(("error_pages", table));
    }

    /// Whether a page is a file of nginx's own package that this machine does not have.
    fn is_missing(&self, content: &Table) -> bool {
        let Some(file) = content
            .get("file")
            .map(|file| file.trim_matches(['"', '\'']))
        else {
            return false;
        };
        let folders = [
            "/usr/share/nginx/html/",
            "/usr/local/nginx/html/",
            "/etc/nginx/html/",
            "html/",
        ];
        folders.iter().any(|folder| {
            let name = file.strip_prefix(folder);
            name.is_some_and(|name| matches!(name, "50x.html" | "404.html"))
        }) && self.system.read(Path::new(file)).is_err()
    }

    /// Reads an `error_page`; none where none of its statuses is there.
    fn error_page<'s>(&self, directive: &'s Directive) -> Option<ErrorPage<'s>> {
        let (uri, words) = directive.arguments.split_last()?;
        let mut page = ErrorPage {
            codes: Vec::new(),
            answer: Answer::Own,
            uri,
        };
        for word in words {
            match word.strip_prefix('=') {
                Some("") => page.answer = Answer::Found,
                Some(status) => page.answer = Answer::Is(status.parse().ok()?),
                None => page.codes.extend(word.parse::<u16>()),
            }
        }
        let (own, codes): (Vec<u16>, Vec<u16>) =
            page.codes.iter().partition(|code| OWN.contains(code));
        page.codes = codes;
        match (own.contains(&497), page.codes.is_empty()) {
            (true, _) if self.words.around.scheme == Some("http") => self
                .accounts
                .harmless(directive, "497 is of listeners with TLS, and this has none"),
            (true, _) => self.accounts.changed(
                directive,
                "who speaks without TLS to a listener with it gets a 400 of a few words: \
                 `redirect_to_https = true` in a `[[listen]]` with port 80 leads others to it",
            ),
            (false, true) => self
                .accounts
                .harmless(directive, "no answer here has this status"),
            _ => {}
        }
        (!page.codes.is_empty()).then_some(page)
    }

    /// What a page is.
    ///
    /// # Errors
    /// Why it cannot be said.
    fn content(&mut self, scope: &Scope<'_>, page: &ErrorPage<'_>) -> Result<Content, String> {
        let server = finding::server_of(scope);
        if page.uri.starts_with('@') {
            let named = finding::named(server.children, page.uri);
            let named = named.ok_or_else(|| format!("there is no `location {}`", page.uri))?;
            return self.content_at((scope, page), &[named], None);
        }
        if page.is_url() {
            let location = self.words.text(page.uri, &scope.constants, Phase::Return)?;
            let table = Table::new().with("location", text(&location));
            return Ok(Content::Text(table, 302));
        }
        let (path, query) = split_query(page.uri);
        if path.contains('$') {
            return Err("a page has a fixed name: write one for each status".to_owned());
        }
        if guards::is_answered_anew(server, &path) {
            return Err(guards::ANSWERED_ANEW.to_owned());
        }
        let chain = self.find(server.children, &path);
        let query = self.words.inline(&query, &scope.constants)?;
        let uri = Uri {
            path,
            query,
            is_above: false,
        };
        self.content_at((scope, page), &chain, Some(&uri))
    }

    /// What is found at a location for a page of `from`.
    ///
    /// # Errors
    /// Why it cannot be said.
    fn content_at(
        &mut self,
        (from, page): (&Scope<'_>, &ErrorPage<'_>),
        chain: &[&Directive],
        uri: Option<&Uri>,
    ) -> Result<Content, String> {
        let server = finding::server_of(from);
        let place = chain.last().map(|found| found.id);
        let mut content = None;
        if self.named.looked_at.insert(place) {
            content = self.within(server, chain, |this, scope, location| {
                // Both ways: a page has none of those that the place of the error has.
                let has_others = page.headers_at(scope) != page.headers_at(from);
                match has_others {
                    true => None,
                    false => this.told_at(scope, location, uri),
                }
            });
            self.named.looked_at.remove(&place);
        }
        match content {
            Some(content) => {
                self.named.reach(chain);
                if let Some(location) = chain.last().filter(|_| uri.is_none()) {
                    self.accounts.translated(location, "`error_pages`");
                }
                Ok(content)
            }
            None => {
                let is_recursive = server.is_on("recursive_error_pages");
                let name = self.lead_to(server, chain, uri);
                if !is_recursive {
                    self.named.without_pages(&name);
                }
                let redirects = self.named.redirects(&name);
                match self.named.goes_on(&name) {
                    true => Err(GOES_ON.to_owned()),
                    false => Ok(Content::Route(name, redirects)),
                }
            }
        }
    }

    /// What a location tells without being a route: a text, a redirect, a file.
    fn told_at(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        uri: Option<&Uri>,
    ) -> Option<Content> {
        let is_plain = ["if", "limit_except"]
            .iter()
            .all(|name| scope.own(name).is_empty());
        let is_server = scope.directive.is_none_or(|block| block.name == "server");
        if !is_plain && !is_server {
            return None;
        }
        // A file is sent to whom its place lets in; a route asks for that, and a page does not.
        let keeps_out = keeps_out(scope);
        let is_directory = |path: &str| path.ends_with('/');
        if is_server {
            let directory = self.static_directory(scope, location)?;
            let path = uri.filter(|_| !keeps_out).map(|uri| &uri.path)?;
            let found = directory.file_of(path);
            return (!is_directory(&found)).then(|| file(&found));
        }
        let steps = self.steps(scope, Some(location));
        if let Some(answer) = steps.answer {
            // The request's path and query are others there.
            let is_of_request = uri.is_some() && self.depends_on_uri(&answer, "");
            return self.told_by(scope, &answer).filter(|_| !is_of_request);
        }
        if keeps_out {
            return None;
        }
        let tries = match scope.own("try_files").first() {
            Some(directive) => Some((*directive, Tries::parse(directive).ok()?)),
            None => None,
        };
        let fixed = fixed_path(&steps.rules);
        let directory = self.static_directory(scope, location)?;
        if fixed.is_none() && !steps.rules.is_empty() {
            return None;
        }
        let asked = fixed.or(uri.map(|uri| uri.path.as_str()));
        let tries = tries.map(|(directive, tries)| match asked {
            Some(path) => (directive, tries.asked_for(path)),
            None => (directive, tries),
        });
        let paths: Option<Vec<&str>> = match &tries {
            Some((_, tries)) => tries
                .stages
                .iter()
                .map(|stage| stage.fixed.as_deref())
                .collect(),
            None => asked.map(|path| vec![path]),
        };
        let paths = paths?;
        // A page is read with the configuration: what of several is there then.
        let is_there = |path: &&&str| {
            let file = directory.file_of(path);
            self.system.read(Path::new(&file)).is_ok()
        };
        let several = Some(&paths).filter(|paths| paths.len() > 1);
        let there = several.and_then(|paths| paths.iter().find(is_there));
        let path = there.or(paths.first())?;
        let found = directory.file_of(path);
        if is_directory(&found) {
            return None;
        }
        if let Some((directive, _)) = &tries {
            self.accounts
                .translated(directive, "`file` in `error_pages`");
        }
        Some(file(&found))
    }

    /// The content of a `return`; none where another directive has given the answer.
    fn told_by(&self, scope: &Scope<'_>, answer: &Block) -> Option<Content> {
        let directive = scope.own("return").first()?;
        if answer.range != Some((directive.id, directive.last)) {
            return None;
        }
        let (first, second) = (directive.argument(0), directive.arguments.get(1));
        let words = |text: &str| self.words.text(text, &scope.constants, Phase::Return).ok();
        let status: Option<u16> = first.parse().ok();
        match (status, second) {
            (None, None) => {
                let location = Table::new().with("location", text(&words(first)?));
                Some(Content::Text(location, 302))
            }
            (Some(status), Some(url)) if REDIRECTS.contains(&status) => {
                let location = Table::new().with("location", text(&words(url)?));
                Some(Content::Text(location, status))
            }
            (Some(status), Some(body)) if !body.is_empty() => {
                let mut table = Table::new().with("body", text(&words(body)?));
                if let Some(content_type) = answer.content_type() {
                    table.set("content_type", content_type);
                }
                Some(Content::Text(table, status))
            }
            _ => None,
        }
    }

    /// The file that a missing one is replaced by with status 200: an `error_page 404 =200
    /// /index.html` is a `fallback`.
    pub(super) fn page_as_fallback(
        &mut self,
        scope: &Scope<'_>,
        directory: &Directory,
        settings: &Block,
    ) -> Option<String> {
        for directive in scope.nearest("error_page").to_vec() {
            let Some(page) = self.error_page(directive) else {
                continue;
            };
            let is_good = matches!(page.answer, Answer::Is(200) | Answer::Found);
            if page.codes.contains(&404) && is_good && page.uri.starts_with('/') {
                let (path, _) = split_query(page.uri);
                let file = self.file_here(scope, directory, settings, &path);
                if file.is_some() {
                    self.accounts.changed(
                        directive,
                        "`fallback` in `files`, which is for a directory without an index as well",
                    );
                }
                return file;
            }
        }
        None
    }
}

fn file(path: &str) -> Content {
    let mut table = Table::new().with("file", text(path));
    let known = mime_guess::from_path(path).first_raw();
    // As `error_pages` knows them.
    if let Some(known) =
        known.filter(|known| !matches!(*known, "text/html" | "application/json" | "text/plain"))
    {
        table.set("content_type", text(known));
    }
    Content::Text(table, 200)
}
