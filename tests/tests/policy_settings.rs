//! Settings of policies are checked as all others are: by the policy, at their line, with every
//! other problem.

use std::process::Command;

use tempfile::TempDir;
use waypost_tests::{child, waypost};

/// What `waypost check` says of a configuration that it refuses.
fn refusal(file: &str) -> String {
    let directory = TempDir::new().expect("there is room for a directory");
    let path = directory.path().join("waypost.toml");
    std::fs::write(&path, file).expect("the directory is ours");
    let mut command = Command::new(waypost());
    command.arg("check").arg("-c").arg(&path);
    let (code, out, err) = child::run(command);
    assert_eq!(code, 1, "{out}{err}");
    err
}

/// A configuration with this upstream.
fn with(upstream: &str) -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nproxy = \"backend\"\n\
         [upstream.backend]\n{upstream}\n"
    )
}

const SERVERS: &str = "servers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]";

/// What only an answer has cannot be what a server is chosen by. `sticky` may learn from it.
#[test]
fn a_variable_that_is_known_only_after_the_choice_is_a_problem_at_its_line() {
    let learn = |create: &str, lookup: &str| {
        format!(
            "plugin = \"sticky\", learn = {{ create = \"{create}\", lookup = \"{lookup}\", zone = \"1m\" }}"
        )
    };
    for (settings, late, key) in [
        (
            "plugin = \"hash\", key = \"$upstream_addr\"".to_owned(),
            "upstream_addr",
            "key",
        ),
        (
            "plugin = \"hash\", key = \"$uri-${status}\"".to_owned(),
            "status",
            "key",
        ),
        (
            "plugin = \"hash\", key = \"$sent_http_x_a\"".to_owned(),
            "sent_http_x_a",
            "key",
        ),
        (
            "plugin = \"sticky\", route = [\"$arg_id\", \"$upstream_http_id\"]".to_owned(),
            "upstream_http_id",
            "route",
        ),
        (
            "plugin = \"sticky\", cookie = { name = \"id\", domain = \"$upstream_cookie_d\" }"
                .to_owned(),
            "upstream_cookie_d",
            "cookie.domain",
        ),
        (
            learn("$upstream_cookie_id", "$upstream_cookie_id"),
            "upstream_cookie_id",
            "learn.lookup",
        ),
    ] {
        let said = refusal(&with(&format!("policy = {{ {settings} }}\n{SERVERS}")));
        let expected =
            format!("the variable `${late}` has no value for requests before a server is chosen");
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains("waypost.toml:6:"), "{said}");
        assert!(
            said.contains(&format!("(upstream.backend.policy.{key}")),
            "{said}"
        );
        assert!(said.contains("has 1 problem"), "{said}");
    }
    let of_stream = "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
                     [upstream.backend]\npolicy = { plugin = \"hash\", key = \"$bytes_received\" }\n";
    let said = refusal(&format!("{of_stream}{SERVERS}\n"));
    let expected =
        "the variable `$bytes_received` has no value in a stream before a server is chosen";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_misspelt_variable_is_a_problem_at_its_line() {
    for (settings, misspelt, key) in [
        (
            "plugin = \"hash\", key = \"$cokie_user\"",
            "cokie_user",
            "key",
        ),
        (
            "plugin = \"hash\", key = \"a-${requst_uri}\"",
            "requst_uri",
            "key",
        ),
        (
            "plugin = \"sticky\", route = [\"$arg_id\", \"$coockie_id\"]",
            "coockie_id",
            "route",
        ),
        (
            "plugin = \"sticky\", cookie = { name = \"id\", domain = \"$hots\" }",
            "hots",
            "cookie.domain",
        ),
        (
            "plugin = \"sticky\", learn = { create = \"$upstream_cokie_id\", \
             lookup = \"$cookie_id\", zone = \"1m\" }",
            "upstream_cokie_id",
            "learn.create",
        ),
    ] {
        let said = refusal(&with(&format!("policy = {{ {settings} }}\n{SERVERS}")));
        assert!(
            said.contains(&format!("unknown variable `${misspelt}`")),
            "{said}"
        );
        assert!(said.contains("waypost.toml:6:"), "{said}");
        assert!(said.contains(key), "{said}");
    }
}

#[test]
fn the_variable_that_was_meant_is_named() {
    let policy = "policy = { plugin = \"hash\", key = \"$requst_uri\" }";
    let said = refusal(&with(&format!("{policy}\n{SERVERS}")));
    assert!(said.contains("`$request_uri`"), "{said}");
}

#[test]
fn problems_of_policies_settings_are_reported_with_all_others() {
    let policy = "policy = { plugin = \"hash\", key = \"$cokie_user\" }";
    let file = with(&format!("{policy}\nkeepalive_timout = \"1s\"\n{SERVERS}"));
    let said = refusal(&format!(
        "{file}[upstream.other]\npolicy = {{ plugin = \"random\", too = true }}\n{SERVERS}\n"
    ));
    for part in ["$cokie_user", "keepalive_timout", "`too`", "has 3 problems"] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

#[test]
fn a_problem_of_the_file_is_not_reported_by_the_policy_once_more() {
    let policy = "policy = { plugin = \"hash\", key = inf }";
    let said = refusal(&with(&format!("{policy}\n{SERVERS}")));
    assert!(said.contains("has 1 problem\n"), "{said}");
}

/// Whether there is no such plugin, or its file cannot be loaded.
#[test]
fn a_hook_whose_plugin_is_not_there_is_one_problem() {
    for (plugin, tables) in [
        ("acces", ""),
        ("mine", "[plugin.mine]\nfile = \"nothing.wasm\"\n"),
    ] {
        let hook = format!("[hook.guard]\nplugin = \"{plugin}\"\n{tables}");
        let file = format!("{}\n{hook}", with(SERVERS));
        let file = file.replace("[[route]]", "[[route]]\nhooks = [\"guard\"]");
        let said = refusal(&file);
        assert_eq!(said.matches("error: ").count(), 1, "{said}");
    }
}

#[test]
fn backups_beside_a_policy_without_a_second_list_are_refused_by_the_policy() {
    for policy in [
        "{ plugin = \"hash\", key = \"$uri\" }",
        "{ plugin = \"maglev\", key = \"$uri\" }",
        "{ plugin = \"bounded_hash\", key = \"$uri\" }",
        "{ plugin = \"subset\", key = \"$uri\", size = 1 }",
        "\"ip_hash\"",
        "\"random\"",
    ] {
        let servers = "servers = [\"127.0.0.1:1\", { address = \"127.0.0.1:2\", backup = true }]";
        let said = refusal(&with(&format!("policy = {policy}\n{servers}")));
        assert!(said.contains("does not support `backup`"), "{said}");
        assert!(said.contains("waypost.toml:6:"), "{said}");
    }
}

#[test]
fn what_a_stream_has_none_of_is_refused_by_the_policy() {
    for (policy, part) in [
        (
            "{ plugin = \"sticky\", route = \"$cookie_id\" }",
            "which a stream has none of",
        ),
        (
            "{ plugin = \"least_time\", by = \"header\" }",
            "use `least_conn`",
        ),
        ("\"ewma\"", "use `least_conn`"),
        (
            "{ plugin = \"hash\", key = \"$request_uri\" }",
            "`$request_uri`",
        ),
    ] {
        let said = refusal(&format!(
            "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
             [upstream.backend]\n\n\npolicy = {policy}\n{SERVERS}\n"
        ));
        assert!(said.contains(part), "{said}");
        assert!(said.contains("waypost.toml:7:"), "{said}");
    }
}

/// The keys that a table of `docs/policies.md` documents, under this heading.
fn documented(heading: &str) -> Vec<String> {
    let page = include_str!("../../docs/policies.md");
    let (_, part) = page.split_once(heading).expect("the page has it");
    let rows = part
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('#') && !line.starts_with("In `"));
    let keys = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    keys.map(str::to_owned).collect()
}

/// The keys that a policy names when it is given one that it does not know.
fn known(policy: &str) -> Vec<String> {
    let said = refusal(&with(&format!("policy = {{ {policy} }}\n{SERVERS}")));
    if said.contains("it takes none") {
        return Vec::new();
    }
    let (_, keys) = said.split_once("known keys: ").expect("it names them");
    let keys = keys.lines().next().unwrap_or_default();
    keys.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_settings_of_every_stock_policy_filter_and_scorer_are_documented() {
    let cookie = "plugin = \"sticky\", cookie = { name = \"id\", zzzzzz = 1 }";
    let learn = "plugin = \"sticky\", learn = { create = \"$upstream_cookie_id\", \
                 lookup = \"$cookie_id\", zone = \"1m\", zzzzzz = 1 }";
    for (heading, policy) in [
        ("## `round_robin`", "plugin = \"round_robin\", zzzzzz = 1"),
        ("## `least_conn`", "plugin = \"least_conn\", zzzzzz = 1"),
        (
            "## `least_time`",
            "plugin = \"least_time\", by = \"header\", zzzzzz = 1",
        ),
        ("## `ewma`", "plugin = \"ewma\", zzzzzz = 1"),
        ("## `ip_hash`", "plugin = \"ip_hash\", zzzzzz = 1"),
        ("## `hash`", "plugin = \"hash\", key = \"$uri\", zzzzzz = 1"),
        (
            "## `maglev`",
            "plugin = \"maglev\", key = \"$uri\", zzzzzz = 1",
        ),
        (
            "## `bounded_hash`",
            "plugin = \"bounded_hash\", key = \"$uri\", zzzzzz = 1",
        ),
        ("## `random`", "plugin = \"random\", zzzzzz = 1"),
        (
            "## `subset`",
            "plugin = \"subset\", key = \"$uri\", size = 1, zzzzzz = 1",
        ),
        (
            "## `sticky`",
            "plugin = \"sticky\", route = \"$cookie_id\", zzzzzz = 1",
        ),
        (
            "## `zone`",
            "plugin = \"random\", filters = [{ plugin = \"zone\", zone = \"a\", zzzzzz = 1 }]",
        ),
        (
            "## `labels`",
            "plugin = \"random\", \
             filters = [{ plugin = \"labels\", match = { a = \"b\" }, zzzzzz = 1 }]",
        ),
        (
            "## `load_score`",
            "plugin = \"random\", scorers = [{ plugin = \"load_score\", zzzzzz = 1 }]",
        ),
        ("In `cookie`:", cookie),
        ("In `learn`:", learn),
    ] {
        let (mut documented, mut known) = (documented(heading), known(policy));
        documented.sort();
        known.sort();
        assert_eq!(documented, known, "{heading}");
    }
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let pages = std::fs::read_dir(docs).expect("the docs are there");
    let pages = pages.map(|page| page.expect("it can be listed").path());
    let pages = pages.filter(|page| page.extension().is_some_and(|ending| ending == "md"));
    let pages = pages.map(|page| std::fs::read_to_string(page).expect("it can be read"));
    let pages: String = pages.collect();
    let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins");
    for folder in std::fs::read_dir(plugins).expect("the stock plugins are there") {
        let name = folder.expect("it can be listed").file_name();
        let heading = format!("\n## `{}`\n", name.display());
        assert!(pages.contains(&heading), "no page has {heading:?}");
    }
}
