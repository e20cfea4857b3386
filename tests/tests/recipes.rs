//! Pages that show a configuration and what to try are followed to the letter: each configuration
//! runs, and each `curl` behind it gets what stands beside it.

use std::path::Path;

use waypost_tests::client::Response;
use waypost_tests::{Proxy, eventually, plugin, proxy};

/// What the pages listen on for `curl`.
const LISTENER: &str = "127.0.0.1:8080";

/// The toy servers of the pages.
const SERVERS: [&str; 2] = ["127.0.0.1:3001", "127.0.0.1:3002"];

/// A configuration, and the lines of shell behind it.
#[derive(Default)]
struct Recipe {
    toml: String,
    lines: Vec<String>,
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(path.join(name)).expect("the page is there")
}

/// The recipes of a page: configurations, each with the shell up to the next one.
fn recipes(text: &str) -> Vec<Recipe> {
    let (mut recipes, mut language) = (Vec::<Recipe>::new(), None);
    for line in text.lines() {
        match (language, line.strip_prefix("```")) {
            (None, Some("toml")) => {
                language = Some("toml");
                recipes.push(Recipe::default());
            }
            (None, Some(other)) => language = Some(other),
            (None, None) => {}
            (Some(_), Some(_)) => language = None,
            (Some(of), None) => match (of, recipes.last_mut()) {
                ("toml", Some(recipe)) => recipe.toml += &format!("{line}\n"),
                ("sh", Some(recipe)) => recipe.lines.push(line.to_owned()),
                _ => {}
            },
        }
    }
    recipes
}

impl Recipe {
    fn is_tried(&self) -> bool {
        self.lines.iter().any(|line| line.starts_with("curl "))
    }

    /// With ports that are free, the servers' sockets in a directory, and plugins built for a target.
    fn toml(&self, sockets: &str, target: &str) -> String {
        let mut toml = self.toml.replace(LISTENER, "127.0.0.1:0");
        for (number, server) in SERVERS.iter().enumerate() {
            toml = toml.replace(server, &format!("unix:{sockets}/{number}.sock"));
        }
        let with_plugin = |line: &str| match line.strip_prefix("file = ") {
            Some(file) => {
                let file = Path::new(file.trim_matches('"')).file_stem();
                let package = file.and_then(|stem| stem.to_str()).expect("a name");
                format!("file = \"{}\"\n", plugin(package, target).display())
            }
            None => format!("{line}\n"),
        };
        toml.lines().map(with_plugin).collect()
    }

    /// Runs it, and tries what the page tries.
    async fn follow(&self, sockets: &str, target: &str) {
        let proxy = proxy::run(&self.toml(sockets, target), &[]).await;
        let (mut has_changed, mut variables) = (false, Vec::new());
        for line in &self.lines {
            let line = &expanded(line, &variables);
            if let Some((name, value)) = line.split_once('=')
                && name.bytes().all(|byte| byte.is_ascii_uppercase())
            {
                variables.push((format!("${name}"), value.to_owned()));
            }
            if let Some(name) = line.strip_prefix("touch ") {
                std::fs::write(proxy.directory().join(name), "").expect("the directory is ours");
                has_changed = true;
            }
            let Some(attempt) = Attempt::parse(line) else {
                continue;
            };
            if has_changed {
                // The proxy takes notice in a moment.
                eventually(line, async || attempt.fails(&proxy).await.is_none()).await;
            }
            assert_eq!(attempt.fails(&proxy).await, None, "{line}");
        }
    }
}

/// A line with `curl`.
#[derive(Debug)]
struct Attempt {
    method: String,
    target: String,
    /// Header lines, each with its CRLF.
    headers: String,
    body: String,
    shows_head: bool,
    expected: String,
}

impl Attempt {
    fn parse(line: &str) -> Option<Attempt> {
        let (command, expected) = line.strip_prefix("curl ")?.split_once(" # ")?;
        let mut attempt = Attempt {
            method: "GET".to_owned(),
            target: String::new(),
            headers: String::new(),
            body: String::new(),
            shows_head: false,
            expected: expected.trim().to_owned(),
        };
        let mut words = words(command).into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("the option has a value");
            match &*word {
                "-i" => attempt.shows_head = true,
                "-H" => attempt.headers += &format!("{}\r\n", value()),
                "-X" => attempt.method = value(),
                "-d" => (attempt.method, attempt.body) = ("POST".to_owned(), value()),
                "-A" => attempt.headers += &format!("User-Agent: {}\r\n", value()),
                "-b" => attempt.headers += &format!("Cookie: {}\r\n", value()),
                url => {
                    let target = url.strip_prefix("http://").expect("a URL");
                    let target = target.strip_prefix(LISTENER).expect("the page's listener");
                    attempt.target = target.to_owned();
                }
            }
        }
        Some(attempt)
    }

    /// What is wrong with the answer.
    async fn fails(&self, proxy: &Proxy) -> Option<String> {
        let has_host = self.headers.starts_with("Host:") || self.headers.contains("\nHost:");
        let host = if has_host { "" } else { "Host: test\r\n" };
        let length = match self.body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let request = format!(
            "{} {} HTTP/1.1\r\n{host}{}{length}Connection: close\r\n\r\n{}",
            self.method, self.target, self.headers, self.body
        );
        let response = proxy.exchange(request).await;
        let comes = match self.expected.parse::<u16>() {
            Ok(status) => response.status == status,
            Err(_) if self.shows_head => self.is_shown_by(&response),
            Err(_) => response.text().trim() == self.expected,
        };
        (!comes).then(|| format!("{} comes: {response:?}", response.text()))
    }

    /// `Name: value`, where dots stand for the rest.
    fn is_shown_by(&self, response: &Response) -> bool {
        let (name, expected) = self.expected.split_once(": ").expect("a header");
        let value = response.header(name);
        match expected.strip_suffix("...") {
            Some(beginning) => value.len() > beginning.len() && value.starts_with(beginning),
            None => value == expected,
        }
    }
}

/// A line with the values of variables in it.
fn expanded(line: &str, variables: &[(String, String)]) -> String {
    let mut line = line.to_owned();
    for (name, value) in variables {
        line = line.replace(name, value);
    }
    line
}

/// A command's words; blanks within quotes part none, nor does the other kind of quote.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quote, mut is_within) = (Vec::<String>::new(), None, false);
    for character in command.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                if !is_within {
                    words.push(String::new());
                }
                is_within = true;
            }
            (None, ' ') => is_within = false,
            _ => {
                if !is_within {
                    words.push(String::new());
                }
                is_within = true;
                words.last_mut().expect("one was begun").push(character);
            }
        }
    }
    words
}

/// Follows the recipes of a page with the servers that it shows; how many there were.
async fn follow(page: &str, target: &str) -> usize {
    let recipes = recipes(page);
    let is_of_servers = |recipe: &&Recipe| {
        let listens = format!("address = \"{}\"", SERVERS[0]);
        recipe.toml.contains(&listens)
    };
    let servers = recipes.iter().find(is_of_servers);
    let servers = servers.expect("the page shows toy servers");
    let servers = proxy::run(&servers.toml("{dir}", target), &[]).await;
    let sockets = servers.directory().display().to_string();
    let mut followed = 0;
    for recipe in recipes.iter().filter(|recipe| recipe.is_tried()) {
        recipe.follow(&sockets, target).await;
        followed += 1;
    }
    followed
}

#[tokio::test]
async fn each_recipe_of_the_cookbook_does_what_the_page_shows() {
    let followed = follow(&page("cookbook.md"), "wasm32-unknown-unknown").await;
    assert!(followed >= 25, "{followed} recipes");
}

#[tokio::test]
async fn the_hook_of_ten_minutes_does_what_its_page_shows() {
    assert_eq!(follow(&page("write-a-hook.md"), "wasm32-wasip2").await, 1);
}

#[tokio::test]
async fn the_hook_of_ten_minutes_serves_without_wasi() {
    assert_eq!(
        follow(&page("write-a-hook.md"), "wasm32-unknown-unknown").await,
        1
    );
}

#[test]
fn the_hook_of_signed_links_is_the_one_that_the_cookbook_shows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("guests/signed_link/src/lib.rs"));
    let source = source.expect("it is there");
    let (_, code) = source.split_once("\n\n").expect("what it is, and the code");
    assert!(page("cookbook.md").contains(code));
}
