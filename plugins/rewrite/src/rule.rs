//! One rule: nginx's `rewrite` line, or a table that says the same.

use waypost_sdk::{Item, Settings, SettingsError};

use crate::condition::Condition;
use crate::line;
use crate::pattern::Pattern;
use crate::replacement::Replacement;
use crate::target::Target;

/// The most rules of a hook: each of them is looked at for every request.
const MOST: usize = 1000;

/// A pattern, what paths that match it are replaced by, and what follows.
pub(crate) struct Rule {
    pattern: Pattern,
    replacement: Replacement,
    condition: Option<Condition>,
    pub(crate) flag: Option<Flag>,
}

/// What follows a rule that has matched. Without one, the next rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    /// No further rule; the route is found anew.
    Last,
    /// No further rule; the route stays.
    Break,
    /// A redirect with 302.
    Redirect,
    /// A redirect with 301.
    Permanent,
}

const FLAGS: [(&str, Flag); 4] = [
    ("last", Flag::Last),
    ("break", Flag::Break),
    ("redirect", Flag::Redirect),
    ("permanent", Flag::Permanent),
];

impl Rule {
    /// Whether the rule is for this path; the captures are those of this path from then on.
    pub(crate) fn applies(&mut self, target: &Target) -> bool {
        self.pattern.matches(target.path())
            && self
                .condition
                .as_mut()
                .is_none_or(|condition| condition.holds(target))
    }

    /// The status of the redirect that the rule makes; `None` where it changes the path.
    pub(crate) fn redirect_status(&self) -> Option<u16> {
        match self.flag {
            Some(Flag::Permanent) => Some(301),
            Some(Flag::Redirect) => Some(302),
            _ => self.replacement.is_url().then_some(302),
        }
    }

    /// Changes path and query, behind a match.
    pub(crate) fn rewrite(&self, target: &mut Target) -> Result<(), String> {
        self.replacement.rewrite(target, &self.pattern)
    }

    /// The value of `Location`, behind a match.
    pub(crate) fn location(&self, target: &Target) -> Result<String, String> {
        self.replacement.location(target, &self.pattern)
    }
}

/// Reads `rules`.
pub(crate) fn configure(settings: &mut Settings) -> Result<Vec<Rule>, SettingsError> {
    let items = settings.items("rules")?;
    if items.is_empty() {
        return Err(settings.missing("rules"));
    }
    if items.len() > MOST {
        let message = format!("there may be {MOST} rules, these are {}", items.len());
        return Err(settings.error("rules", &message));
    }
    let rule = |(number, item)| match item {
        Item::Text(line) => of_line(settings, &format!("rules[{number}]"), &line),
        Item::Table(table) => of_table(table),
    };
    items.into_iter().enumerate().map(rule).collect()
}

fn of_line(settings: &Settings, key: &str, line: &str) -> Result<Rule, SettingsError> {
    let words = line::words(line).map_err(|message| settings.error(key, &message))?;
    let is_whole_line = words.len() > 2 && words[0] == "rewrite";
    if is_whole_line || words.len() > 2 && words.last().is_some_and(|word| word.ends_with(';')) {
        let message =
            "leave out the word `rewrite` and the `;`: a rule is what stands between them";
        return Err(settings.error(key, message));
    }
    let (from, to, flag) = match words.as_slice() {
        [from, to] => (from, to, None),
        [from, to, flag] => match FLAGS.iter().find(|(word, _)| word == flag) {
            Some((_, flag)) => (from, to, Some(*flag)),
            None => {
                let message =
                    format!("`{flag}` is no flag: `last`, `break`, `redirect` and `permanent` are");
                return Err(settings.error(key, &message));
            }
        },
        _ => {
            let message = "a rule is `PATTERN REPLACEMENT [FLAG]`, as behind nginx's `rewrite`; a \
                           pattern with blanks is put in quotes";
            return Err(settings.error(key, message));
        }
    };
    let pattern = Pattern::parse(from, false).map_err(|message| settings.error(key, &message))?;
    let replacement = Replacement::parse(settings, key, to, &pattern)?;
    Ok(Rule {
        pattern,
        replacement,
        condition: None,
        flag,
    })
}

fn of_table(mut table: Settings) -> Result<Rule, SettingsError> {
    let from = table.text("from")?.ok_or_else(|| table.missing("from"))?;
    let to = table.text("to")?.ok_or_else(|| table.missing("to"))?;
    let flag = table.choice("flag", &FLAGS)?;
    let condition = match table.text("when")? {
        Some(text) => Some(Condition::parse(&table, "when", &text)?),
        None => None,
    };
    let pattern = Pattern::parse(&from, false).map_err(|message| table.error("from", &message))?;
    let replacement = Replacement::parse(&table, "to", &to, &pattern)?;
    table.finish()?;
    Ok(Rule {
        pattern,
        replacement,
        condition,
        flag,
    })
}
