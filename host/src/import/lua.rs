//! Where a block of nginx's configuration ends that is a program in Lua: braces in its texts and
//! comments are none (Lua 5.1 reference, section 2.1).

/// The bytes of a block up to its closing brace, with that.
///
/// # Errors
/// What is not closed.
pub(super) fn end_of_block(text: &[u8]) -> Result<usize, &'static str> {
    let mut rest = Rest { text, at: 0 };
    let mut depth = 1_u32;
    while depth > 0 {
        match rest.take().ok_or("a brace")? {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            quote @ (b'"' | b'\'') => rest.skip_text(quote).ok_or("a text")?,
            b'[' => {
                rest.skip_long().ok_or("a long bracket")?;
            }
            b'-' if rest.next_is(b'-') => {
                let is_long = rest.next_is(b'[') && rest.skip_long().ok_or("a comment")?;
                while !is_long && rest.take().is_some_and(|byte| byte != b'\n') {}
            }
            _ => {}
        }
    }
    Ok(rest.at)
}

struct Rest<'t> {
    text: &'t [u8],
    at: usize,
}

impl Rest<'_> {
    fn take(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// Takes a byte if it is this one.
    fn next_is(&mut self, byte: u8) -> bool {
        let is_next = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Passes over a text behind its opening quote; none where it ends nowhere.
    fn skip_text(&mut self, quote: u8) -> Option<()> {
        loop {
            match self.take()? {
                b'\\' => {
                    self.take()?;
                }
                b'\n' => return None,
                byte if byte == quote => return Some(()),
                _ => {}
            }
        }
    }

    /// Passes over a text in long brackets, such as `[==[ ]==]`, behind the first of them. Returns
    /// whether it is one; none where it ends nowhere.
    fn skip_long(&mut self) -> Option<bool> {
        let level = self.level();
        if self.text.get(self.at + level) != Some(&b'[') {
            return Some(false);
        }
        self.at += level + 1;
        loop {
            while self.take()? != b']' {}
            if self.level() == level && self.text.get(self.at + level) == Some(&b']') {
                self.at += level + 1;
                return Some(true);
            }
        }
    }

    /// How many `=` come next.
    fn level(&self) -> usize {
        let rest = self.text.iter().skip(self.at);
        rest.take_while(|byte| **byte == b'=').count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_block_is_found_behind_braces_in_texts_and_comments() {
        for program in [
            r#"ngx.say("}") if a then b = { c = {} } end"#,
            r#"ngx.say('}', "\"}", '\\')"#,
            "-- it's a }\nngx.say(1)",
            "--[[ } \n } ]] ngx.say(1)",
            "--[==[ } ]] } ]==] ngx.say(1)",
            "--[ } not long\nngx.say(1)",
            "ngx.say([[ } ' ]], [=[ ]] } ]=])",
            "a[b[1]] = {}",
        ] {
            let text = format!("{program}\n}} }}");
            assert_eq!(
                end_of_block(text.as_bytes()),
                Ok(text.len() - 2),
                "{program}"
            );
        }
    }

    #[test]
    fn what_is_left_open_is_told() {
        for (program, what) in [
            ("{ }", "a brace"),
            ("-- }", "a brace"),
            ("ngx.say(\"", "a text"),
            ("[[ }", "a long bracket"),
            ("--[[ ] }", "a comment"),
        ] {
            assert_eq!(end_of_block(program.as_bytes()), Err(what), "{program}");
        }
    }
}
