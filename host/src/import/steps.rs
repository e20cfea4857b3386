//! The directives that nginx runs in their order before it does anything else with a request: `if`,
//! `return`, `rewrite`, `set` (`ngx_http_rewrite_module.c`).

use super::Translator;
use super::conditions::{Condition, Deciding, Test};
use super::matching::Location;
use super::report::Accounts;
use super::rewriting::{self, Rule};
use super::scope::Scope;
use super::stamps::is_of_one_host;
use super::tree::Directive;
use super::variables::Constants;
use super::writer::Block;

/// What becomes of a rule of a server that cannot be put behind the conditions in front of it.
pub(super) const BEFORE_CONDITIONS: &str = "a rule of the hook `rewrite` of the listener, which comes before the `if`s in front of it: who \
     meets both is led by the rule";

/// What the directives of a context come to.
#[derive(Default)]
pub(super) struct Steps<'a> {
    /// Routes that answer where their `when` holds, in order, each with the `if` that it is of.
    pub(super) gates: Vec<Gate>,
    /// Rules for the hook `rewrite`.
    pub(super) rules: Vec<Rule>,
    /// `if`s that only change what is set, and their conditions.
    pub(super) variants: Vec<(Condition, &'a Directive)>,
    /// The answer to all requests that came so far.
    pub(super) answer: Option<Block>,
    /// Whether something is lost that may keep requests out: all that came so far must stay out.
    pub(super) is_closed: bool,
}

/// An answer to requests of which a condition holds.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) condition: Condition,
    pub(super) block: Block,
}

/// Whether nginx runs a directive in its order, before anything else.
fn is_of_phase(name: &str) -> bool {
    matches!(name, "return" | "rewrite" | "if" | "set" | "break")
}

/// Whether an `if` may keep requests out, or lead them elsewhere.
pub(super) fn may_keep_out(block: &Directive) -> bool {
    let harmless = ["set", "add_header", "expires", "access_log", "gzip"];
    let mut children = block.children().iter();
    children.any(|child| !harmless.contains(&&*child.name))
}

/// Notes what becomes of the `set`s of an `if`. Returns whether one of them is lost.
fn note_sets(scope: &Scope<'_>, accounts: &Accounts) -> bool {
    let mut is_lost = false;
    for set in scope.own("set") {
        is_lost |= note_set(set, accounts);
    }
    is_lost
}

/// Notes what becomes of a `set`. Returns whether it is lost: one that changes the request.
fn note_set(set: &Directive, accounts: &Accounts) -> bool {
    let changes_request = matches!(set.argument(0), "$args" | "$query_string" | "$limit_rate");
    match changes_request {
        true => accounts.lost(
            set,
            "a variable of nginx's own stays what it is: change the query by a `rewrite` with `?`",
        ),
        false => accounts.translated(set, "inlined where it is used"),
    }
    // A rate keeps nobody out.
    changes_request && set.argument(0) != "$limit_rate"
}

impl Translator<'_> {
    /// What a `server` or a `location` runs.
    pub(super) fn steps<'s>(
        &mut self,
        scope: &Scope<'s>,
        location: Option<&Location>,
    ) -> Steps<'s> {
        let mut steps = Steps::default();
        let mut now = scope.entering.clone();
        // Where requests have to stay out, no later answer counts.
        let mut before_closed = None;
        let mut is_broken = false;
        for directive in scope.children {
            if is_broken && is_of_phase(&directive.name) {
                match &*directive.name {
                    "set" => {
                        self.accounts
                            .lost(directive, "`break` is before it: nginx never sets it");
                        steps.is_closed = true;
                    }
                    _ => {
                        self.accounts
                            .harmless(directive, "never reached: `break` is before it");
                        self.accounts.with_children(directive);
                    }
                }
                continue;
            }
            if steps.answer.is_some() {
                if is_of_phase(&directive.name) {
                    self.accounts
                        .harmless(directive, "never reached: an answer is given before");
                    self.accounts.with_children(directive);
                }
                continue;
            }
            match &*directive.name {
                "return" => {
                    steps.answer = Some(self.answer(&scope.at(&now), directive, location));
                    self.end_with(directive, location, &mut steps);
                }
                "set" => steps.is_closed |= note_set(directive, self.accounts),
                "break" => {
                    is_broken = true;
                    // A server has the place looked for all the same.
                    self.accounts
                        .translated(directive, "what is behind it is left out");
                    self.end_before(directive, location, &mut steps);
                }
                "rewrite" => {
                    let scope = scope.at(&now);
                    match self.fixed_redirect(&scope, directive) {
                        Some(answer) => {
                            steps.answer = Some(answer);
                            self.end_with(directive, location, &mut steps);
                        }
                        None => {
                            let mut rule = self.rule(&scope, directive, None);
                            if let (Some(rule), true) = (&mut rule, location.is_none()) {
                                let in_order = self.put_behind(rule, &steps.gates, directive);
                                steps.is_closed |= !in_order;
                            }
                            steps.is_closed |= rule.is_none();
                            steps.rules.extend(rule);
                        }
                    }
                }
                "if" => self.step_of_if(scope, &now, directive, location, &mut steps),
                _ => {}
            }
            now.pass(directive);
            if steps.is_closed {
                before_closed.get_or_insert(steps.gates.len());
            }
        }
        if let Some(count) = before_closed {
            steps.gates.truncate(count);
        }
        steps
    }

    /// Ends the rules before an answer, which is not reached where one of them has the flag `break`.
    fn end_with(&self, answer: &Directive, location: Option<&Location>, steps: &mut Steps<'_>) {
        if steps.rules.iter().any(|rule| rule.flag == "break") {
            self.accounts.lost(
                answer,
                "a `rewrite` with `break` is before it, whose paths do not get here: write a location \
                 for them",
            );
            steps.is_closed = true;
        }
        self.end_before(answer, location, steps);
    }

    /// Ends the rules of a location before what keeps its requests there: no place of another path is
    /// looked for any more.
    fn end_before(
        &self,
        directive: &Directive,
        location: Option<&Location>,
        steps: &mut Steps<'_>,
    ) {
        // A server has the place looked for all the same.
        if location.is_some() && !rewriting::end(&mut steps.rules) {
            self.accounts.lost(
                directive,
                "several rules may have changed the path before it: give the last of them the flag \
                 `break`",
            );
            steps.is_closed = true;
        }
    }

    /// Puts a rule of a server, which is a hook of its listener and comes before all conditions,
    /// behind those that nginx asks before it. Returns whether that can be said.
    fn put_behind(&self, rule: &mut Rule, gates: &[Gate], directive: &Directive) -> bool {
        let asks = |gate: &Gate| self.words.is_of_path(&gate.condition.variable);
        if gates.iter().any(asks) {
            self.accounts.lost(
                directive,
                "the hook `rewrite` of a listener comes before conditions: give it to the routes that \
                 need it",
            );
            return false;
        }
        let is_first = |gate: &&Gate| rule.redirects() || self.depends_on_uri(&gate.block, "");
        let first: Vec<&Gate> = gates.iter().filter(is_first).collect();
        let (of_hosts, others): (Vec<&Gate>, Vec<&Gate>) =
            first.into_iter().partition(|gate| is_of_one_host(gate));
        let hosts = of_hosts
            .iter()
            .filter_map(|gate| match &gate.condition.test {
                Test::Equal(host) => Some(host.clone()),
                _ => None,
            });
        rule.not_hosts.extend(hosts);
        match (others.as_slice(), &rule.when, rule.not_hosts.is_empty()) {
            ([], _, true) | ([], None, _) => true,
            ([gate], None, true) => {
                rule.behind = Some(gate.condition.negated().of_rule());
                true
            }
            _ => {
                rule.not_hosts.clear();
                self.accounts.changed(directive, BEFORE_CONDITIONS);
                true
            }
        }
    }

    fn step_of_if<'s>(
        &mut self,
        scope: &Scope<'s>,
        now: &Constants,
        block: &'s Directive,
        location: Option<&Location>,
        steps: &mut Steps<'s>,
    ) {
        let accounts = self.accounts;
        let lose = |why: &str, steps: &mut Steps<'s>| {
            accounts.lost(block, why);
            accounts.with_children(block);
            steps.is_closed |= may_keep_out(block);
        };
        let condition = match self.condition(now, block) {
            Ok(Deciding::When(condition)) => Some(condition),
            Ok(Deciding::Always) => None,
            Ok(Deciding::Never) => {
                accounts.harmless(block, "it never holds: what it asks for is constant");
                return accounts.with_children(block);
            }
            Err(why) => return lose(&why, steps),
        };
        let inner = scope.within_if(block, now);
        let of_phase: Vec<&Directive> = inner
            .children
            .iter()
            .filter(|child| is_of_phase(&child.name) && child.name != "set")
            .collect();
        let others = inner.children.iter();
        let others = others.filter(|child| !is_of_phase(&child.name)).count();
        // Behind the last of them, there is nothing to leave out.
        let is_last = scope
            .children
            .iter()
            .all(|child| child.id <= block.id || !is_of_phase(&child.name));
        let ends = |step: Option<&&Directive>| {
            step.is_some_and(|step| {
                let takes_all = matches!(step.argument(0), "^" | ".*" | "^.*$" | "^(.*)$" | "(.*)");
                step.name == "rewrite" && takes_all && !step.argument(2).is_empty()
            })
        };
        let of_phase = match of_phase.split_last() {
            Some((last, front)) if last.name == "break" && (is_last || ends(front.last())) => {
                accounts.harmless(last, "nothing is behind it");
                front.to_vec()
            }
            _ => of_phase,
        };
        let are_rewrites = of_phase.iter().all(|each| each.name == "rewrite");
        let translated = "`when` in `[[route]]`";
        match (of_phase.as_slice(), condition) {
            ([only], condition) if only.name == "return" => {
                let condition = match condition {
                    Some(condition) => condition,
                    None => {
                        accounts.translated(block, "it always holds");
                        steps.is_closed |= note_sets(&inner, accounts);
                        steps.answer = Some(self.answer(&inner, only, location));
                        self.end_with(only, location, steps);
                        return;
                    }
                };
                // Redirects of a listener are given before any condition is asked.
                let changes_path = |rule: &Rule| location.is_some() || !rule.redirects();
                if steps.rules.iter().any(changes_path) {
                    let why = "a `rewrite` before a condition changes what it asks for";
                    return lose(why, steps);
                }
                accounts.translated(block, translated);
                steps.is_closed |= note_sets(&inner, accounts);
                let mut answer = self.answer(&inner, only, location);
                answer.range = Some((block.id, block.last));
                let comments = super::comments::of_block(block);
                answer.comments = comments;
                steps.gates.push(Gate {
                    condition,
                    block: answer,
                });
            }
            ([], condition) if others == 0 => {
                steps.is_closed |= note_sets(&inner, accounts);
                match &condition {
                    _ if inner.own("set").is_empty() => {
                        accounts.harmless(block, "nothing is behind it");
                    }
                    Some(_) => accounts.translated(block, "`[variable.NAME]` with a `map`"),
                    None => accounts.translated(block, "it always holds"),
                }
                self.outdo((condition, block), scope, location, steps);
            }
            ([], Some(condition)) if location.is_some() => {
                accounts.translated(block, translated);
                steps.is_closed |= note_sets(&inner, accounts);
                steps.variants.push((condition, block));
            }
            (rules, condition) if are_rewrites && !rules.is_empty() => {
                accounts.translated(block, "`when` of a rule of the hook `rewrite`");
                steps.is_closed |= note_sets(&inner, accounts);
                for rule in rules {
                    let when = condition.as_ref().map(Condition::of_rule);
                    let mut made = self.rule(&inner, rule, when);
                    if let (Some(made), true) = (&mut made, location.is_none()) {
                        steps.is_closed |= !self.put_behind(made, &steps.gates, rule);
                    }
                    steps.is_closed |= made.is_none();
                    steps.rules.extend(made);
                }
                self.outdo((condition, block), scope, location, steps);
            }
            _ => lose(
                "it does several things at once: write a `[[route]]` with `when` for what it does",
                steps,
            ),
        }
    }

    /// Of several `if`s that hold, what the last says counts: also of one that says nothing of what
    /// another one does (`ngx_http_script_if_code`), and of a `try_files`, which none of them takes
    /// over from its location.
    fn outdo<'s>(
        &self,
        (condition, block): (Option<Condition>, &'s Directive),
        scope: &Scope<'_>,
        location: Option<&Location>,
        steps: &mut Steps<'s>,
    ) {
        let tries = scope.own("try_files");
        let drops_tries = location.is_some() && !tries.is_empty();
        match condition {
            Some(condition) if drops_tries || !steps.variants.is_empty() => {
                steps.variants.push((condition, block));
            }
            Some(_) => {}
            None => {
                steps.variants.clear();
                for directive in tries.iter().filter(|_| drops_tries) {
                    self.accounts.lost(
                        directive,
                        "nginx leaves it out where an `if` of its location holds, and one always does: \
                         take the `if` away",
                    );
                    steps.is_closed = true;
                }
            }
        }
    }
}
