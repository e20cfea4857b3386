//! `health_check` of nginx Plus and `check` of Tengine: the `health_check` of an upstream.

use super::Translator;
use super::conditions::check_regex;
use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::writer::{Table, list, text};
use crate::config::duration_text;

/// Statuses that both take for good ones by default, as Waypost does.
const GOOD: [&str; 2] = ["2xx", "3xx"];

impl Translator<'_> {
    /// `health_check` beside a `proxy_pass` to a group (`ngx_http_upstream_hc_module`, of nginx
    /// Plus). `speaks`: the `protocol` if it names none.
    pub(super) fn health_check(&mut self, scope: &Scope<'_>, group: &str, speaks: &str) {
        let accounts = self.accounts;
        let checks = scope.own("health_check");
        let Some((check, others)) = checks.split_first() else {
            return;
        };
        for other in others {
            accounts.lost(other, "the servers of an upstream have one `health_check`");
        }
        if !self.upstreams.is_declared(group) {
            return accounts.lost(check, "servers are checked that an `upstream` has");
        }
        // One bad probe takes a server out there, and one good one brings it back.
        let mut keys = Table::new();
        let mut rest = Table::new().with("rise", "1").with("fall", "1");
        if speaks != "http" {
            keys.set("protocol", text(speaks));
        }
        for argument in &check.arguments {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            let result = match name {
                "uri" => {
                    if value != "/" {
                        keys.set("path", text(value));
                    }
                    Ok(())
                }
                "match" => self.matching(scope, value, &mut keys),
                "grpc_service" => {
                    keys.set("service", text(value));
                    Ok(())
                }
                "type" if value == "grpc" => {
                    keys.set("protocol", text("grpc"));
                    Ok(())
                }
                "interval" | "jitter" => time(name, value, "5s", &mut rest),
                "passes" => number("rise", value, &mut rest),
                "fails" => number("fall", value, &mut rest),
                "port" => number("port", value, &mut rest),
                "mandatory" => {
                    rest.set("initial", text("down"));
                    Ok(())
                }
                "persistent" | "keepalive_time" => Ok(()),
                _ => Err(format!("`{argument}` of a check is not there")),
            };
            if let Err(why) = result {
                return accounts.lost(check, why);
            }
        }
        if let Some(timeout) = scope.one("health_check_timeout") {
            match time("timeout", timeout.argument(0), "2s", &mut rest) {
                Ok(()) => accounts.translated(timeout, "`timeout` in `health_check`"),
                Err(why) => accounts.lost(timeout, why),
            }
        }
        match self.upstreams.check(group, &keys.followed_by(rest)) {
            true => accounts.translated(check, "`health_check` in `[upstream]`"),
            false => accounts.lost(
                check,
                format!("another place checks `{group}` in another way: one `health_check` counts"),
            ),
        }
    }

    /// What a `match` expects.
    fn matching(&self, scope: &Scope<'_>, name: &str, keys: &mut Table) -> Result<(), String> {
        let blocks = scope.nearest("match");
        let found = blocks.iter().find(|block| block.argument(0) == name);
        let block = found.ok_or_else(|| format!("there is no `match {name}`"))?;
        let result = expected(block, keys);
        match &result {
            Ok(()) => self
                .accounts
                .translated(block, "`health_check` in `[upstream]`"),
            Err(why) => self.accounts.lost(block, why.clone()),
        }
        result
    }
}

fn expected(block: &Directive, keys: &mut Table) -> Result<(), String> {
    // Without a word about it, any status will do.
    let mut statuses = vec!["100-599".to_owned()];
    let mut body = None;
    for test in block.children() {
        let words: Vec<&str> = test.arguments.iter().map(String::as_str).collect();
        match (&*test.name, words.as_slice()) {
            ("status", ["!", ..]) => {
                return Err("write which statuses are expected: `expect_status`".to_owned());
            }
            ("status", codes) => statuses = codes.iter().map(|code| (*code).to_owned()).collect(),
            ("body", ["~", regex]) => {
                check_regex(regex)?;
                body = Some((*regex).to_owned());
            }
            ("body", ["~*", regex]) => {
                check_regex(regex)?;
                body = Some(format!("(?i){regex}"));
            }
            _ => {
                return Err(format!(
                    "`{}` is not looked at: a check asks for statuses and for what is in the body",
                    test.name
                ));
            }
        }
    }
    keys.set(
        "expect_status",
        list(statuses.iter().map(|code| text(code))),
    );
    if let Some(body) = body {
        keys.set("expect_body", text(&body));
    }
    Ok(())
}

fn time(key: &str, value: &str, default: &str, keys: &mut Table) -> Result<(), String> {
    let time = values::time(value).ok_or_else(|| format!("`{value}` is no time"))?;
    let time = duration_text(time);
    if time != default {
        keys.set(key, text(&time));
    }
    Ok(())
}

fn number(key: &str, value: &str, keys: &mut Table) -> Result<(), String> {
    let number: u32 = value
        .parse()
        .map_err(|_| format!("`{value}` is no number"))?;
    match (key, number) {
        ("rise", 2) | ("fall", 3) => {
            keys.remove(key);
        }
        _ => keys.set(key, number.to_string()),
    }
    Ok(())
}

/// Tengine's `check` and what goes with it, in an `upstream`
/// (`ngx_http_upstream_check_module`); none where it is not there, or lost.
pub(super) fn of_group(group: &Directive, accounts: &Accounts) -> Option<Table> {
    let named = |name: &str| group.children().iter().find(|child| child.name == name);
    for unused in ["check_keepalive_requests", "check_shm_size"] {
        if let Some(directive) = named(unused) {
            accounts.built_in(directive, "a probe's connection is kept for the next one");
        }
    }
    let check = named("check")?;
    let companions = ["check_http_send", "check_http_expect_alive"];
    let companions: Vec<&Directive> = companions.iter().filter_map(|name| named(name)).collect();
    match tengine(
        check,
        named("check_http_send"),
        named("check_http_expect_alive"),
    ) {
        Ok(table) => {
            for directive in std::iter::once(check).chain(companions) {
                accounts.translated(directive, "`health_check` in `[upstream]`");
            }
            Some(table)
        }
        Err(why) => {
            for directive in std::iter::once(check).chain(companions) {
                accounts.lost(directive, why.clone());
            }
            None
        }
    }
}

fn tengine(
    check: &Directive,
    send: Option<&Directive>,
    expect: Option<&Directive>,
) -> Result<Table, String> {
    let mut keys = Table::new();
    let mut rest = Table::new()
        .with("interval", text("30s"))
        .with("timeout", text("1s"))
        .with("fall", "5");
    let (mut protocol, mut is_down) = ("tcp", true);
    for argument in &check.arguments {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "interval" | "timeout" => {
                let default = if name == "interval" { "5s" } else { "2s" };
                rest.remove(name);
                // A number is milliseconds here.
                time(name, &format!("{value}ms"), default, &mut rest)?;
            }
            "rise" => number("rise", value, &mut rest)?,
            "fall" => number("fall", value, &mut rest)?,
            "port" => number("port", value, &mut rest)?,
            "default_down" => is_down = value != "false",
            "type" if matches!(value, "tcp" | "http") => protocol = value,
            "type" => {
                return Err(format!(
                    "a check speaks HTTP, gRPC or TCP, and not `{value}`"
                ));
            }
            _ => return Err(format!("`{argument}` of a check is not there")),
        }
    }
    if is_down {
        rest.set("initial", text("down"));
    }
    match protocol {
        "tcp" => keys.set("protocol", text("tcp")),
        _ => {
            if let Some(send) = send {
                request(send.argument(0), &mut keys)?;
            }
            if let Some(expect) = expect {
                let classes: Vec<String> = expect
                    .arguments
                    .iter()
                    .map(|class| class.trim_start_matches("http_").to_owned())
                    .collect();
                if classes != GOOD {
                    keys.set(
                        "expect_status",
                        list(classes.iter().map(|class| text(class))),
                    );
                }
            }
        }
    }
    Ok(keys.followed_by(rest))
}

/// `GET /health HTTP/1.0\r\nHost: app\r\n\r\n` as keys.
fn request(written: &str, keys: &mut Table) -> Result<(), String> {
    let mut lines = written.split(['\r', '\n']).filter(|line| !line.is_empty());
    let mut words = lines.next().unwrap_or_default().split_whitespace();
    match words.next() {
        Some("GET") => {}
        Some("HEAD") => keys.set("method", text("HEAD")),
        _ => return Err("a probe's method is GET or HEAD".to_owned()),
    }
    match words.next() {
        Some("/") | None => {}
        Some(path) => keys.set("path", text(path)),
    }
    let mut headers = Table::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("`{line}` is no header"))?;
        match name.to_ascii_lowercase().as_str() {
            "host" => keys.set("host", text(value.trim())),
            "connection" | "keep-alive" => {}
            _ => headers.set(name, text(value.trim())),
        }
    }
    if !headers.is_empty() {
        keys.set("headers", headers.inline());
    }
    Ok(())
}
