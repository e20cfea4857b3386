//! nginx's texts: literals and variables in turn.

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Literal(&'a str),
    /// A variable's name, or the digit of a capture.
    Variable(&'a str),
}

/// The parts of a text (`ngx_http_script_compile`). A `$` before nothing that could be a name is a
/// text, which nginx refuses.
pub(super) fn pieces_of(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (literal, from) = rest.split_at(at);
        let after = from.get(1..).unwrap_or_default();
        let in_braces = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (name, behind) = match in_braces {
            Some((name, behind)) => (name, behind),
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                // A capture is one digit.
                let end = match after.starts_with(|c: char| c.is_ascii_digit()) {
                    true => 1,
                    false => end,
                };
                after.split_at(end)
            }
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        match name.is_empty() {
            true => pieces.push(Piece::Literal("$")),
            false => pieces.push(Piece::Variable(name)),
        }
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    pieces
}

/// The text of parts, with braces where a name would not end otherwise.
fn joined(pieces: &[Piece<'_>]) -> String {
    let mut text = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Variable(name) => {
                let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let next = pieces.get(index + 1);
                let needs_braces =
                    matches!(next, Some(Piece::Literal(literal)) if literal.starts_with(goes_on));
                match needs_braces {
                    true => text.push_str(&format!("${{{name}}}")),
                    false => text.push_str(&format!("${name}")),
                }
            }
        }
    }
    text
}

/// As [`joined`], of texts and names (`true`) that are there.
pub(super) fn joined_of(written: &[(bool, String)]) -> String {
    let pieces: Vec<Piece<'_>> = written
        .iter()
        .map(|(is_variable, text)| match is_variable {
            true => Piece::Variable(text),
            false => Piece::Literal(text),
        })
        .collect();
    joined(&pieces)
}

/// The names of a text's variables.
pub(super) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    pieces_of(text).into_iter().filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Literal(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_their_variables() {
        use Piece::{Literal, Variable};
        assert_eq!(
            pieces_of("a$b-${c}d$1x$"),
            [
                Literal("a"),
                Variable("b"),
                Literal("-"),
                Variable("c"),
                Literal("d"),
                Variable("1"),
                Literal("x"),
                Literal("$")
            ]
        );
        assert_eq!(joined(&pieces_of("${c}d$b-")), "${c}d$b-");
    }
}
