//! A line of nginx's configuration, split into its words (`ngx_conf_read_token`).

/// The words of a line: text between blanks, or in quotes. A backslash before a quote or a
/// backslash is dropped; in quotes a blank is text.
///
/// # Errors
/// A quote that is not closed, or has text right behind it.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        while letters
            .next_if(|letter| letter.is_ascii_whitespace())
            .is_some()
        {}
        let Some(&first) = letters.peek() else {
            return Ok(words);
        };
        let quote = matches!(first, '"' | '\'').then_some(first);
        if quote.is_some() {
            letters.next();
        }
        let mut word = String::new();
        loop {
            match letters.next() {
                None if quote.is_some() => return Err("a quote is not closed".to_owned()),
                None => break,
                Some(letter) if Some(letter) == quote => {
                    if letters
                        .peek()
                        .is_some_and(|next| !next.is_ascii_whitespace())
                    {
                        return Err("a blank must follow a closing quote".to_owned());
                    }
                    break;
                }
                Some(letter) if quote.is_none() && letter.is_ascii_whitespace() => break,
                Some('\\') => match letters.next() {
                    Some(escaped @ ('"' | '\'' | '\\')) => word.push(escaped),
                    Some('t') => word.push('\t'),
                    Some('r') => word.push('\r'),
                    Some('n') => word.push('\n'),
                    Some(other) => word.extend(['\\', other]),
                    None => word.push('\\'),
                },
                Some(letter) => word.push(letter),
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::words;

    #[test]
    fn words_are_split_as_in_nginx() {
        for (line, expected) in [
            (r"^/a(.*)$ /b$1 last", vec![r"^/a(.*)$", "/b$1", "last"]),
            (r#"  "^/a b\"c" '/x y'  "#, vec!["^/a b\"c", "/x y"]),
            (r"^/a\.b\d+$ /c\\d", vec![r"^/a\.b\d+$", r"/c\d"]),
            (r#"^/a"b /c'd"#, vec!["^/a\"b", "/c'd"]),
            (r#""" ''"#, vec!["", ""]),
            ("", vec![]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line}");
        }
        assert!(words("\"a").is_err() && words("'a'b").is_err());
    }
}
