//! The directives of nginx's configuration, each rewritten by itself: comments, blank lines and
//! everything else stay as they are.

use std::path::Path;

/// What becomes of a directive.
pub(super) enum Rewritten {
    Kept,
    /// Another text in its place, without its `;` or `{`.
    By(String),
    /// Other directives in its place, complete.
    Whole(String),
    Dropped,
}

/// A directive in its blocks.
pub(super) struct Statement<'a> {
    /// As they are written, with quotes.
    pub(super) words: Vec<&'a str>,
    /// The heads of the blocks around it, the outermost first.
    pub(super) around: &'a [String],
}

impl Statement<'_> {
    pub(super) fn name(&self) -> &str {
        self.words[0]
    }

    /// A word behind the name, without quotes.
    pub(super) fn argument(&self, index: usize) -> &str {
        let word = self.words.get(index + 1).copied().unwrap_or_default();
        word.trim_matches(['"', '\''])
    }

    /// All words but the name.
    pub(super) fn rest(&self) -> String {
        self.words[1..].join(" ")
    }

    /// Whether the nearest block begins with this word.
    pub(super) fn is_in(&self, block: &str) -> bool {
        let nearest = self.around.last();
        nearest.is_some_and(|head| head.split(' ').next() == Some(block))
    }
}

/// The end of the word, comment or space that a text begins with.
fn piece(text: &str) -> usize {
    let first = text.chars().next().unwrap_or_default();
    match first {
        '#' => text.find('\n').unwrap_or(text.len()),
        ';' | '{' | '}' => 1,
        '"' | '\'' => {
            let mut is_escaped = false;
            let closing = text.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == first && !is_escaped;
                is_escaped = *c == '\\' && !is_escaped;
                closes
            });
            closing.map_or(text.len(), |(at, _)| at + 1)
        }
        first if first.is_whitespace() => {
            let end = text.find(|c: char| !c.is_whitespace());
            end.unwrap_or(text.len())
        }
        _ => {
            let mut before = ' ';
            let end = text.char_indices().find(|(_, c)| {
                let opens_name = *c == '{' && before == '$';
                let is_in_name = before != '\\' && (*c == '{' || *c == ';') && !opens_name;
                let ends = before != '\\' && (c.is_whitespace() || is_in_name);
                before = *c;
                ends
            });
            end.map_or(text.len(), |(at, _)| at)
        }
    }
}

/// The text with each of its directives as `rewrite` has it.
pub(super) fn rewritten(
    text: &str,
    mut rewrite: impl FnMut(&Statement<'_>) -> Rewritten,
) -> String {
    let (mut out, mut around) = (String::new(), Vec::new());
    let (mut at, mut begin, mut words) = (0, 0, Vec::new());
    // Blocks that are dropped: nothing within them is written.
    let mut dropped_from = None;
    while at < text.len() {
        let end = at + piece(&text[at..]);
        let token = &text[at..end];
        match token {
            ";" | "{" if !words.is_empty() => {
                let statement = Statement {
                    words: std::mem::take(&mut words),
                    around: &around,
                };
                let is_table = around
                    .last()
                    .is_some_and(|head: &String| head.starts_with("types"));
                let verdict = match is_table || dropped_from.is_some() {
                    true => Rewritten::Kept,
                    false => rewrite(&statement),
                };
                let head = statement.words.join(" ");
                match verdict {
                    _ if dropped_from.is_some() => {}
                    Rewritten::Kept => out.push_str(&text[begin..end]),
                    Rewritten::By(by) => out.extend([&*by, token]),
                    Rewritten::Whole(texts) => out.push_str(&texts),
                    Rewritten::Dropped if token == "{" => dropped_from = Some(around.len()),
                    Rewritten::Dropped => {}
                }
                if token == "{" {
                    around.push(head);
                }
            }
            "}" => {
                around.pop();
                match dropped_from {
                    Some(depth) if depth == around.len() => dropped_from = None,
                    Some(_) => {}
                    None => out.push('}'),
                }
            }
            _ if token.starts_with('#') || token.trim().is_empty() => {
                if words.is_empty() && dropped_from.is_none() {
                    out.push_str(token);
                }
            }
            _ => {
                if words.is_empty() {
                    begin = at;
                }
                words.push(token);
            }
        }
        at = end;
    }
    out
}

/// The text with the files that it includes from beside it, and none besides.
pub(super) fn with_includes(text: &str, folder: &Path) -> String {
    rewritten(text, |statement| {
        if statement.name() != "include" {
            return Rewritten::Kept;
        }
        let name = statement.argument(0);
        if name.ends_with("mime.types") {
            return Rewritten::By("include /etc/nginx/mime.types".to_owned());
        }
        let mut files = match name.split_once("*.conf") {
            Some((directory, _)) if !name.starts_with('/') => {
                let entries = std::fs::read_dir(folder.join(directory)).expect("it is there");
                entries
                    .map(|entry| entry.expect("it can be listed").path())
                    .collect()
            }
            _ => vec![folder.join(name)],
        };
        files.retain(|file| file.exists());
        files.sort();
        if files.is_empty() {
            return Rewritten::Dropped;
        }
        let texts = files.iter().map(|file| {
            let text = std::fs::read_to_string(file).expect("it can be read");
            with_includes(&text, folder)
        });
        Rewritten::Whole(texts.collect::<Vec<_>>().join("\n"))
    })
}
