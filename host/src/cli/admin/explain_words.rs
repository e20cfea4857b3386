//! What would become of a request, in words: top down, as the request goes.

use std::fmt::Write;

use super::servers::{state, why_in_words};
use super::table::aligned;
use crate::admin_api::{
    Candidate, Explanation, Fact, HookStep, Outcome, ProxyTold, RouteStep, RouteTold, Spread, Step,
};

/// Columns of a line.
const WIDTH: usize = 80;
/// Where what is said of a word begins.
const INDENT: usize = 10;

/// Text in two columns: a word, and what is said of it.
#[derive(Default)]
struct Page(String);

impl Page {
    /// `word` is empty for what belongs to the word before.
    fn say(&mut self, word: &str, text: &str) {
        let mut word = word;
        for line in wrapped(text, WIDTH - INDENT) {
            // Writing to a string cannot fail.
            let _ = writeln!(self.0, "{}", format!("{word:<INDENT$}{line}").trim_end());
            word = "";
        }
    }
}

/// Lines of at most so many characters, broken at blanks where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let has = line.chars().count();
        if has > 0 && has + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        } else if has > 0 {
            line.push(' ');
        }
        while line.is_empty() && word.len() > width {
            let rest = word.split_off(width);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

pub(super) fn in_words(told: Explanation) -> String {
    let mut page = Page::default();
    let state = match (told.state.as_str(), told.generation) {
        ("running", Some(generation)) => {
            format!("by the running process, generation {generation}")
        }
        _ => "by a process that starts with the file now".to_owned(),
    };
    page.say("", &format!("{} {}", told.method, told.url));
    page.say("", &state);
    page.0.push('\n');
    let listener = &told.listener;
    let tls = if listener.tls { ", TLS" } else { "" };
    page.say("listener", &format!("{}{tls}", listener.address));
    for file in &listener.certificates {
        let name = match &listener.server_name {
            Some(name) => format!("certificate for `{name}`: {file}"),
            None => format!("certificate without a name: {file}"),
        };
        page.say("", &name);
    }
    let client = match &told.client.peer {
        Some(peer) => format!(
            "{}, as {peer} reports, which is trusted",
            told.client.address
        ),
        None => told.client.address.clone(),
    };
    page.say("client", &client);
    for step in &told.steps {
        match step {
            Step::Route(step) => route(&mut page, step, &told.host),
            Step::Hook(step) => hook(&mut page, step),
        }
    }
    outcome(&mut page, &told.outcome);
    if let Some(told) = &told.proxy {
        proxy(&mut page, told);
    }
    for note in &told.notes {
        page.say("note", note);
    }
    page.0
}

/// Where the traffic of an upstream has gone, and why.
pub(super) fn spread_in_words(told: Spread) -> String {
    let mut page = Page::default();
    let when = match told.seconds {
        Some(seconds) => format!("in {seconds} s"),
        None => "since the process started".to_owned(),
    };
    let Spread {
        name,
        policy,
        requests,
        ..
    } = &told;
    page.say(
        "upstream",
        &format!("{name}, policy `{policy}`: {requests} requests {when}"),
    );
    page.0.push('\n');
    let header = [
        "SERVER",
        "WEIGHT",
        "REQUESTS",
        "SHARE",
        "FAIR",
        "FAILED",
        "IN_FLIGHT",
        "STATE",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(told.servers.iter().map(|one| {
        let server = &one.server;
        [
            server
                .address
                .clone()
                .unwrap_or_else(|| server.server.clone()),
            server.weight.to_string(),
            one.requests.to_string(),
            format!("{}%", one.share),
            format!("{}%", one.fair),
            one.failures.to_string(),
            server.in_flight.to_string(),
            state(server),
        ]
    }));
    page.0.push_str(&aligned(&rows));
    page.0.push('\n');
    match told.even {
        _ if told.requests == 0 => page.say("spread", "no requests"),
        true => page.say(
            "spread",
            "each server has about the share that its weight stands for",
        ),
        false => page.say("spread", "uneven: SHARE is not FAIR"),
    }
    for reason in &told.reasons {
        page.say("because", &reason.detail);
        page.say("  do", &reason.action);
    }
    if told.reasons.is_empty() && !told.even {
        page.say("", "nothing that is known accounts for it: `waypost explain URL` says of one request where it goes");
    }
    page.0
}

fn spelled(route: &RouteTold) -> String {
    let name = route.name.as_ref().map(|name| format!("`{name}` "));
    let name = name.unwrap_or_default();
    let gap = if route.host.is_empty() || route.path.starts_with('/') {
        ""
    } else {
        " "
    };
    format!("{name}{}{gap}{}  ({})", route.host, route.path, route.place)
}

fn route(page: &mut Page, step: &RouteStep, host: &str) {
    match &step.taken {
        Some(route) => {
            page.say("route", &spelled(route));
            page.say("", &step.why);
        }
        None if host.is_empty() => page.say("route", &step.why),
        None => page.say("route", &format!("{}: `{host}`", step.why)),
    }
    for passed in &step.passed {
        page.say("  not", &spelled(&passed.route));
        page.say("", &passed.why);
    }
    match step.others {
        0 => {}
        1 => page.say("", "and 1 route that is for something else"),
        others => page.say(
            "",
            &format!("and {others} routes that are for something else"),
        ),
    }
}

fn facts(page: &mut Page, facts: &[Fact]) {
    for fact in facts {
        let value = match &fact.value {
            Some(value) => format!("= {value}"),
            None if fact.name == "all headers" => String::new(),
            None => "is not there".to_owned(),
        };
        page.say("  asks", &format!("{} {value}", fact.name));
    }
}

fn hook(page: &mut Page, step: &HookStep) {
    let HookStep {
        name,
        plugin,
        of,
        verdict,
        detail,
        ..
    } = step;
    let plugin = match name == plugin {
        true => String::new(),
        false => format!("{plugin}, "),
    };
    let detail = detail.as_ref().map(|detail| format!(": {detail}"));
    let detail = detail.unwrap_or_default();
    page.say(
        "hook",
        &format!("{name} ({plugin}of the {of}): {verdict}{detail}"),
    );
    facts(page, &step.asked);
    for change in &step.changes {
        page.say("  wants", change);
    }
}

fn outcome(page: &mut Page, outcome: &Outcome) {
    if outcome.action == "proxy" && outcome.detail.is_none() {
        return;
    }
    let mut text = match (outcome.action.as_str(), outcome.status) {
        ("hook", Some(status)) => format!("the hook answers with {status}"),
        (_, Some(status)) => format!("{status}"),
        (_, None) => String::new(),
    };
    for part in outcome
        .location
        .iter()
        .map(|to| format!("to {to}"))
        .chain(outcome.detail.clone())
    {
        let gap = if text.is_empty() { "" } else { ", " };
        text = format!("{text}{gap}{part}");
    }
    let word = match outcome.action.as_str() {
        "hook" => "answer",
        "stub_status" => "status",
        action => action,
    };
    page.say(word, &text);
}

fn proxy(page: &mut Page, told: &ProxyTold) {
    page.say(
        "proxy",
        &format!("upstream `{}`, policy `{}`", told.upstream, told.policy),
    );
    for (number, line) in told.request.iter().enumerate() {
        page.say(if number == 0 { "  sends" } else { "" }, line);
    }
    for (number, server) in told.servers.iter().enumerate() {
        page.say(
            if number == 0 { "  servers" } else { "" },
            &candidate(server),
        );
    }
    let Some(choice) = &told.choice else {
        return;
    };
    facts(page, &choice.asked);
    match (&choice.picked, &choice.refused) {
        (Some(picked), _) => page.say("  picks", picked),
        (None, Some((status, why))) => page.say("  picks", &format!("none: {status}, {why}")),
        (None, None) => {}
    }
    if let Some(note) = &choice.note {
        page.say("", &format!("it says: {note}"));
    }
    for header in &choice.headers {
        page.say("", &format!("adds to the answer: {header}"));
    }
    if !told.by_chance.is_empty() {
        let chosen = told.by_chance.join(", ");
        page.say("", &format!("by chance: one of {chosen}"));
    }
    if let Some(why) = &told.approximate {
        page.say("", &format!("approximate: {why}"));
    }
}

fn candidate(one: &Candidate) -> String {
    let server = &one.server;
    let address = server.address.as_deref().unwrap_or(&server.server);
    let mut text = address.to_owned();
    if server.weight != 1 {
        let _ = write!(text, " weight {}", server.weight);
    }
    if server.in_flight > 0 {
        let _ = write!(text, ", {} in flight", server.in_flight);
    }
    let why = why_in_words(server);
    let standing = match (&one.why_not, one.candidate) {
        (Some(why_not), _) => why_not.clone(),
        (None, true) if why.is_empty() => "in rotation".to_owned(),
        (None, true) => format!("in rotation ({why})"),
        (None, false) => why,
    };
    format!("{text}: {standing}")
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_at_blanks_and_within_what_has_none() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("abcdefghi j", 4), ["abcd", "efgh", "i j"]);
        assert_eq!(wrapped("x abcdefghi", 4), ["x", "abcd", "efgh", "i"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
