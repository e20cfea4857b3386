//! Comments that are worth keeping: those that a person wrote for another one.

use super::tree::Directive;

/// Comments of a block at most: above it, and within it.
const MOST: usize = 8;

/// What stands above a block and above what it has directly within.
pub(super) fn of_block(directive: &Directive) -> Vec<String> {
    let within = directive.children().iter();
    let within = within.filter(|child| child.block.is_none());
    let all = std::iter::once(directive).chain(within);
    let mut kept: Vec<String> = all
        .flat_map(|directive| &directive.comments)
        .filter(|comment| is_prose(comment))
        .map(|comment| comment.trim_start_matches(['#', ' ']).to_owned())
        .collect();
    kept.truncate(MOST);
    kept
}

/// Whether a comment is no directive that was put aside, no line of ornament and no mark of a
/// program.
fn is_prose(comment: &str) -> bool {
    let code = comment.ends_with([';', '{', '}']);
    let words = comment.chars().any(char::is_alphabetic);
    let printable = !comment.chars().any(char::is_control) && comment.chars().count() <= 200;
    let by_program = comment.contains("managed by Certbot");
    words && printable && !code && !by_program
}
