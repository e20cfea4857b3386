//! Which directories locations tell apart. There are endless ones, but the locations of a server see
//! only so many kinds: two directories are of one kind where every expression is in the same state of
//! its automaton behind both of them, and every fixed path has as much of it in front. Whatever name
//! follows, nginx finds the same location in both. So looking at one of each kind is a proof for all.

use std::collections::{BTreeSet, HashSet, VecDeque};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

use super::matching::Location;
use super::tree::Directive;

/// Kinds of paths that are looked at, at most: expressions of people have some dozens together.
const MOST_KINDS: usize = 4096;

/// Bytes of an automaton's states, at most.
const LARGEST: usize = 1 << 20;

/// One directory of each kind; none where there are too many, or an expression is of a kind that no
/// automaton is built of.
pub(super) fn directories(children: &[Directive]) -> Option<Vec<String>> {
    let mut locations = Locations::default();
    locations.collect(children)?;
    let alphabet = locations.alphabet();
    let root = "/".to_owned();
    let mut first = Vec::new();
    for expression in &mut locations.expressions {
        let start = expression.start()?;
        first.push(expression.pass(start, '/')?);
    }
    let mut kinds = HashSet::from([locations.kind(&root, &first)]);
    let (mut left, mut found) = (VecDeque::from([(root, first)]), Vec::new());
    while let Some((path, states)) = left.pop_front() {
        if path.ends_with('/') {
            found.push(path.clone());
        }
        for letter in &alphabet {
            // Paths are compared without `//`, `.` and `..`.
            let is_none =
                *letter == '/' && ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
            if is_none {
                continue;
            }
            let mut next = Vec::with_capacity(states.len());
            for (expression, state) in locations.expressions.iter_mut().zip(&states) {
                next.push(expression.pass(*state, *letter)?);
            }
            let mut longer = path.clone();
            longer.push(*letter);
            if kinds.insert(locations.kind(&longer, &next)) {
                if kinds.len() > MOST_KINDS {
                    return None;
                }
                left.push_back((longer, next));
            }
        }
    }
    Some(found)
}

/// What all locations of a server match, however deep they are.
#[derive(Default)]
struct Locations {
    fixed: BTreeSet<String>,
    expressions: Vec<Expression>,
}

/// What decides about all paths that begin with one.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    /// The path, while it is the beginning of a fixed one.
    begun: Option<String>,
    /// The longest fixed path that it begins with.
    behind: Option<String>,
    /// Its end, as far as a slash or a dot may follow or not.
    end: usize,
    states: Vec<State>,
}

impl Locations {
    fn collect(&mut self, children: &[Directive]) -> Option<()> {
        for child in children.iter().filter(|child| child.name == "location") {
            match Location::parse(&child.arguments) {
                Some(
                    Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path),
                ) => {
                    self.fixed.insert(path);
                }
                Some(Location::Regex(is_exact, regex)) => {
                    self.expressions.push(Expression::new(is_exact, &regex)?);
                }
                Some(Location::Named(_)) | None => {}
            }
            self.collect(child.children())?;
        }
        Some(())
    }

    /// A letter of each kind that a location tells apart from others.
    fn alphabet(&self) -> Vec<char> {
        let mut letters: BTreeSet<char> = ['/', '.', 'a', '\u{e9}'].into();
        letters.extend(self.fixed.iter().flat_map(|path| path.chars()));
        for expression in &self.expressions {
            let classes = expression.dfa.byte_classes();
            let bytes = classes.representatives(1..0x80);
            // No directory's name has lines.
            let bytes = bytes
                .filter_map(|unit| unit.as_u8())
                .filter(|byte| *byte != b'\n');
            letters.extend(bytes.map(char::from));
            let own = expression.letters.iter();
            letters
                .extend(own.flat_map(|letter| letter.to_lowercase().chain(letter.to_uppercase())));
            letters.extend(&expression.letters);
        }
        letters.into_iter().collect()
    }

    fn kind(&self, path: &str, states: &[State]) -> Kind {
        let is_begun = |fixed: &&String| fixed.len() > path.len() && fixed.starts_with(path);
        let fixed = self.fixed.iter();
        let behind = fixed
            .clone()
            .filter(|fixed| path.starts_with(fixed.as_str()));
        let ends = ["/..", "/.", "/"];
        Kind {
            begun: fixed.clone().find(is_begun).map(|_| path.to_owned()),
            behind: behind.max_by_key(|fixed| fixed.len()).cloned(),
            end: ends
                .iter()
                .position(|end| path.ends_with(end))
                .unwrap_or(ends.len()),
            states: states.to_vec(),
        }
    }
}

/// Where an automaton is: nowhere else any more once its expression has been found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum State {
    Within(LazyStateID),
    Found,
}

struct Expression {
    dfa: DFA,
    cache: Cache,
    /// Its letters beyond ASCII.
    letters: Vec<char>,
}

impl Expression {
    fn new(is_exact: bool, regex: &str) -> Option<Expression> {
        // Of classes of letters beyond ASCII, one is not enough.
        if [r"\p", r"\P", r"\x", r"\u"]
            .iter()
            .any(|class| regex.contains(class))
        {
            return None;
        }
        let config = DFA::config()
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .skip_cache_capacity_check(true)
            .cache_capacity(LARGEST);
        let dfa = DFA::builder()
            .configure(config)
            .syntax(syntax::Config::new().case_insensitive(!is_exact))
            .build(regex)
            .ok()?;
        Some(Expression {
            cache: dfa.create_cache(),
            dfa,
            letters: regex.chars().filter(|letter| !letter.is_ascii()).collect(),
        })
    }

    fn start(&mut self) -> Option<State> {
        let start = self
            .dfa
            .start_state_forward(&mut self.cache, &Input::new("/"));
        start.ok().map(State::Within)
    }

    /// Where a letter leads.
    fn pass(&mut self, state: State, letter: char) -> Option<State> {
        let State::Within(mut id) = state else {
            return Some(state);
        };
        for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
            id = self.dfa.next_state(&mut self.cache, id, byte).ok()?;
            // States that are forgotten have no number that could be compared.
            if id.is_quit() || self.cache.clear_count() > 0 {
                return None;
            }
            if id.is_match() {
                return Some(State::Found);
            }
        }
        Some(State::Within(id))
    }
}
