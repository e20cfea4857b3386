//! nginx's configuration as words: what `ngx_conf_read_token` (`ngx_conf_file.c`) makes of a file.
//!
//! Its rules are those of nothing else: a backslash protects the next character and stays, but for
//! quotes, itself and `\t`, `\r`, `\n`; a quote counts at the beginning of a word only; `${` does
//! not begin a block. Comments are kept, which nginx drops.

/// Bytes of one word at most, as in nginx (`NGX_CONF_BUFFER`).
const LONGEST_WORD: usize = 4096;

/// What ends a run of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Semicolon,
    OpenBlock,
    CloseBlock,
    File,
}

/// The words up to an end.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) words: Vec<String>,
    /// Where the first word begins, or what ends it if there is none. Counts from 1.
    pub(super) line: u32,
    pub(super) end: End,
    /// Comments before it, and behind its first word.
    pub(super) comments: Vec<String>,
    /// A comment behind the end of the statement before, in the same line.
    pub(super) behind_last: Option<String>,
}

/// What is wrong, as nginx says it, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LexError {
    pub(super) line: u32,
    pub(super) message: String,
}

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    /// The line in which the last statement ended.
    ended: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Lexer<'a> {
        Lexer {
            // Editors begin a file with a mark of its encoding, which nginx skips as well.
            text: text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text),
            at: 0,
            line: 1,
            ended: 0,
        }
    }

    fn take(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        Some(byte)
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError {
            line: self.line,
            message: message.into(),
        })
    }

    /// The next words and what ends them.
    pub(super) fn next(&mut self) -> Result<Statement, LexError> {
        let mut statement = Statement {
            words: Vec::new(),
            line: 0,
            end: End::File,
            comments: Vec::new(),
            behind_last: None,
        };
        loop {
            let line = self.line;
            let Some(byte) = self.take() else {
                if !statement.words.is_empty() {
                    return self.error("unexpected end of file, expecting \";\" or \"}\"");
                }
                statement.line = line;
                return Ok(statement);
            };
            let end = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'#' => {
                    let comment = self.comment();
                    match line == self.ended && statement.words.is_empty() {
                        true => statement.behind_last = Some(comment),
                        false => statement.comments.push(comment),
                    }
                    continue;
                }
                b';' | b'{' if statement.words.is_empty() => {
                    return self.error(format!("unexpected \"{}\"", char::from(byte)));
                }
                b'}' if !statement.words.is_empty() => return self.error("unexpected \"}\""),
                b';' => Some(End::Semicolon),
                b'{' => Some(End::OpenBlock),
                b'}' => Some(End::CloseBlock),
                _ => None,
            };
            if statement.words.is_empty() {
                statement.line = line;
            }
            let end = match end {
                Some(end) => Some(end),
                None => self.word(byte, &mut statement.words)?,
            };
            if let Some(end) = end {
                statement.end = end;
                self.ended = self.line;
                return Ok(statement);
            }
        }
    }

    /// The text of a comment, behind its `#`.
    fn comment(&mut self) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let comment = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += comment.len();
        String::from_utf8_lossy(comment).trim().to_owned()
    }

    /// Reads a word that begins with `first`, and what ends the statement if that follows at once.
    fn word(&mut self, first: u8, words: &mut Vec<String>) -> Result<Option<End>, LexError> {
        let first_line = self.line;
        let quote = match first {
            b'"' => Quote::Double,
            b'\'' => Quote::Single,
            _ => Quote::None,
        };
        let start = if quote == Quote::None {
            self.at - 1
        } else {
            self.at
        };
        let (mut escaped, mut variable) = (first == b'\\', first == b'$');
        loop {
            let Some(byte) = self.take() else {
                return self.error("unexpected end of file, expecting \";\" or \"}\"");
            };
            if self.at - start > LONGEST_WORD {
                self.line = first_line;
                return self.error("too long parameter, or a quote that is not closed");
            }
            if escaped {
                escaped = false;
                continue;
            }
            if byte == b'{' && variable {
                continue;
            }
            variable = byte == b'$';
            let ends = match (byte, quote) {
                (b'\\', _) => {
                    escaped = true;
                    false
                }
                (b'"', Quote::Double) | (b'\'', Quote::Single) => true,
                (b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{', Quote::None) => true,
                _ => false,
            };
            if !ends {
                continue;
            }
            words.push(unescaped(
                self.text.get(start..self.at - 1).unwrap_or_default(),
            ));
            return match (quote, byte) {
                (Quote::None, b';') => Ok(Some(End::Semicolon)),
                (Quote::None, b'{') => Ok(Some(End::OpenBlock)),
                (Quote::None, _) => Ok(None),
                _ => self.behind_quote(),
            };
        }
    }

    /// Behind a closing quote only blanks and the end of the statement may follow, or a `)`.
    fn behind_quote(&mut self) -> Result<Option<End>, LexError> {
        match self.text.get(self.at).copied() {
            Some(b' ' | b'\t' | b'\r' | b'\n' | b')') | None => Ok(None),
            Some(b';') => {
                self.at += 1;
                Ok(Some(End::Semicolon))
            }
            Some(b'{') => {
                self.at += 1;
                Ok(Some(End::OpenBlock))
            }
            Some(other) => self.error(format!("unexpected \"{}\"", char::from(other))),
        }
    }

    /// Passes over the inside of a block that is a program in Lua, and its closing brace.
    pub(super) fn skip_lua(&mut self) -> Result<(), LexError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = super::lua::end_of_block(rest).map_err(|what| LexError {
            line: self.line,
            message: format!("{what} is not closed in the Lua block that begins here"),
        })?;
        while self.at < self.text.len() - (rest.len() - end) {
            self.take();
        }
        Ok(())
    }
}

/// A word without the backslashes that nginx takes away.
fn unescaped(raw: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        let replaced = match (byte, rest.peek()) {
            (b'\\', Some(next @ (b'"' | b'\'' | b'\\'))) => Some(*next),
            (b'\\', Some(b't')) => Some(b'\t'),
            (b'\\', Some(b'r')) => Some(b'\r'),
            (b'\\', Some(b'n')) => Some(b'\n'),
            _ => None,
        };
        if replaced.is_some() {
            rest.next();
        }
        bytes.push(replaced.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        Lexer::new(text.as_bytes()).next().unwrap().words
    }

    fn error(text: &str) -> LexError {
        let mut lexer = Lexer::new(text.as_bytes());
        loop {
            match lexer.next() {
                Ok(statement) => assert_ne!(statement.end, End::File, "no error in {text:?}"),
                Err(error) => return error,
            }
        }
    }

    #[test]
    fn words_are_cut_as_nginx_cuts_them() {
        for (text, expected) in [
            ("a b;", vec!["a", "b"]),
            ("a 'b c' \"d;e\";", vec!["a", "b c", "d;e"]),
            ("a ${b}c;", vec!["a", "${b}c"]),
            ("a b\\;c;", vec!["a", "b\\;c"]),
            ("a \"b\\\"c\\\\d\\te\";", vec!["a", "b\"c\\d\te"]),
            ("a b'c\"d;", vec!["a", "b'c\"d"]),
            ("location ~ \\.php$ {", vec!["location", "~", "\\.php$"]),
            ("if ($a = \"b\") {", vec!["if", "($a", "=", "b", ")"]),
            ("a ''\n;", vec!["a", ""]),
            ("a b#c;", vec!["a", "b#c"]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    #[test]
    fn comments_are_kept_and_are_no_words() {
        let statement = Lexer::new(b"# one\n#two\na # three\n b;").next().unwrap();
        assert_eq!(statement.words, ["a", "b"]);
        assert_eq!(statement.comments, ["one", "two", "three"]);
        assert_eq!(statement.line, 3);
    }

    #[test]
    fn lines_are_counted_in_a_block_in_lua() {
        let mut lexer = Lexer::new(b" ngx.say(\"}\")\n\n}\nnext;");
        lexer.skip_lua().unwrap();
        let next = lexer.next().unwrap();
        assert_eq!((next.words, next.line), (vec!["next".to_owned()], 4));
        let error = Lexer::new(b"\nngx.say(\"").skip_lua().unwrap_err();
        assert_eq!(
            (error.line, &*error.message),
            (1, "a text is not closed in the Lua block that begins here")
        );
    }

    #[test]
    fn what_nginx_refuses_is_refused_with_its_line() {
        for (text, line, message) in [
            ("a;\n;", 2, "unexpected \";\""),
            ("a }", 1, "unexpected \"}\""),
            ("a 'b'c;", 1, "unexpected \"c\""),
            (
                "a\nb",
                2,
                "unexpected end of file, expecting \";\" or \"}\"",
            ),
            ("{", 1, "unexpected \"{\""),
        ] {
            let error = error(text);
            assert_eq!((error.line, &*error.message), (line, message), "{text:?}");
        }
        let endless = format!("a;\na \"{}\";", "b".repeat(5000));
        assert_eq!(error(&endless).line, 2);
    }
}
