//! The same two plugins in every language that there is an SDK for, each built by its real toolchain:
//! they do the same, are loaded while requests come in, and tell of their faults in the language's own
//! words.

use waypost_tests::admin::ADMIN;
use waypost_tests::languages::{FAULT, Language};
use waypost_tests::{Answer, Gate, Load, Origin, Proxy, child, origin, plugin, proxy, waypost};

/// The example's configuration, before these origins, with lines more in the plugin's entry.
fn configuration(language: Language, file: &str, origins: &[Origin], entry: &str) -> String {
    let named = format!("\"{file}\"\n{entry}");
    before(
        origins,
        language.configuration().replace("\"plugin.wasm\"", &named),
    )
}

/// Such a configuration, whose hook masks a word, before these origins.
fn before(origins: &[Origin], mut text: String) -> String {
    let hook = "tenants = [\"acme\", \"globex\"]\n";
    for (part, replacement) in [
        (hook, &*format!("{hook}mask = \"4111\"\n")),
        ("127.0.0.1:8080", "127.0.0.1:0"),
        ("127.0.0.1:3001", origins[0].address()),
        ("127.0.0.1:3002", origins[1].address()),
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
        text = text.replace(part, replacement);
    }
    format!("{ADMIN}[server]\nworkers = 2\naccess_log = false\n{text}")
}

async fn origins() -> Vec<Origin> {
    vec![origin::named().await, origin::named().await]
}

/// The server that each of some tenants has.
async fn homes(proxy: &Proxy) -> Vec<String> {
    let mut homes = Vec::new();
    for tenant in 0..8 {
        let line = format!("X-Tenant: tenant{tenant}\r\n");
        homes.push(proxy.get_with("/", &line).await.text());
    }
    homes
}

/// What the plugins are for: with the configuration that is made for these origins, whose hook is the
/// plugin `counts` and has this in place of `4111`.
async fn do_what_all_others_do(
    configuration: impl FnOnce(&[Origin]) -> String,
    counts: &str,
    mask: &str,
) -> Proxy {
    let gate = Gate::closed();
    let mut origins = Vec::new();
    for name in ["a", "b"] {
        let gate = gate.clone();
        origins.push(
            origin::answers(move |request| match request.target.as_str() {
                "/held" => Answer::ok(name).when(&gate),
                "/card" => Answer::ok("card 4111 of\n4111"),
                _ => Answer::ok(name),
            })
            .await,
        );
    }
    let proxy = proxy::run(&configuration(&origins), &[]).await;

    let first = homes(&proxy).await;
    assert_eq!(homes(&proxy).await, first, "a tenant stays where it is");
    assert!(first.iter().any(|home| *home != first[0]), "{first:?}");

    // All others go where the load is least: a request that is held counts.
    let requests = origins[0].requests().len();
    let mut client = proxy.client().await;
    client
        .send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    origins[0].received(requests + 1).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.text(), "b");
    }
    gate.open();
    assert_eq!(client.response().await.text(), "a");

    // By either worker: there is one instance that counts.
    for number in 1..=20 {
        let response = proxy.get_with("/", "X-Tenant: acme\r\n").await;
        assert_eq!(response.header("X-Counted"), number.to_string());
        let server = if response.text() == "a" { 0 } else { 1 };
        let requests = origins[server].requests();
        let last = requests.last().expect("it was asked");
        assert_eq!(last.header("X-Counted-As"), "acme");
    }
    let plugin = proxy.shows(&format!("/plugins/{counts}")).await;
    let counters = plugin.to_string();
    assert!(counters.contains("\"requests_acme\":20"), "{counters}");

    masks_a_word_in_bodies(mask, &proxy, &origins).await;
    proxy
}

/// That, and what there is in the log of a fault.
async fn does_what_the_others_do(language: Language) {
    let file = language.plugin().await.display().to_string();
    // C keeps the length of bodies.
    let mask = match language {
        Language::C => "****",
        _ => "***",
    };
    let configuration = |origins: &[Origin]| configuration(language, &file, origins, "");
    let proxy = do_what_all_others_do(configuration, "tenants", mask).await;

    for _ in 0..3 {
        let response = proxy.get_with("/", "X-Fault: now\r\n").await;
        assert_eq!(response.status, 200, "the fallback serves");
    }
    proxy.log_contains(FAULT).await;
    proxy.log_contains("failed in `pick`").await;
    assert_eq!(proxy.shows("/plugins/tenants").await["state"], "live");
}

/// What the hook makes of bodies, either way.
async fn masks_a_word_in_bodies(mask: &str, proxy: &Proxy, origins: &[Origin]) {
    let mut client = proxy.client().await;
    client
        .send("POST /card HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nsend 4111 ")
        .await;
    let response = client.response().await;
    assert_eq!(response.text(), format!("card {mask} of\n{mask}"));
    let received = origins.iter().flat_map(|origin| origin.requests());
    let card = received
        .into_iter()
        .find(|request| request.target == "/card");
    let body = card.expect("it was asked").body;
    assert_eq!(String::from_utf8_lossy(&body), format!("send {mask} "));
}

/// Has it compiled, which is kept for what follows. Waypost does that at a low priority, and so behind all
/// other specs: it takes as long as they do.
async fn is_compiled(language: Language) {
    let file = language.plugin().await.display().to_string();
    let limits = "limits = { compile_time = \"120s\" }";
    let text = configuration(language, &file, &origins().await, limits);
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let text = text.replace("{dir}", &directory.path().display().to_string());
    std::fs::write(directory.path().join("waypost.toml"), text).expect("it is ours");
    let mut check = std::process::Command::new(waypost());
    check
        .args(["check", "-c", "waypost.toml"])
        .current_dir(directory.path())
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
    let output = tokio::task::spawn_blocking(move || check.output());
    let output = output.await.expect("it can be waited for");
    let output = output.expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

/// A setting that is misspelt.
async fn refuses_an_unknown_setting(language: Language) {
    let file = language.plugin().await.display().to_string();
    let text = configuration(language, &file, &origins().await, "");
    let misspelt = text.replace("header = \"x-tenant\"", "haeder = \"x-tenant\"");
    assert_ne!(text, misspelt);
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let misspelt = misspelt.replace("{dir}", &directory.path().display().to_string());
    std::fs::write(directory.path().join("waypost.toml"), misspelt).expect("it is ours");
    let mut command = std::process::Command::new(waypost());
    command
        .args(["check", "-c", "waypost.toml"])
        .current_dir(directory.path())
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
    let (code, _, said) = child::run(command);
    assert_eq!(code, 1, "{said}");
    for part in [
        "unknown key `haeder`; did you mean `header`?",
        "(upstream.backend.policy.haeder)",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
}

/// What every plugin has to do. Those with an interpreter take too long for it here, without
/// optimisations.
async fn does_what_every_plugin_has_to(language: Language) {
    let file = language.plugin().await;
    for (kind, settings) in [
        ("policy", "header = \"x-tenant\""),
        ("hook", "tenants = [\"acme\"]"),
    ] {
        let mut command = std::process::Command::new(waypost());
        command.args(["plugin", "test"]).arg(&file);
        command.args(["--kind", kind, "--settings", settings]);
        command.env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
        let (code, said, log) = child::run(command);
        assert_eq!(code, 0, "{said}\n{log}");
    }
}

/// From the same plugin in C, which is there in a moment.
async fn is_loaded_under_load(language: Language) {
    let origins = origins().await;
    let before = Language::C.plugin().await.display().to_string();
    let mut component = std::fs::read(language.plugin().await).expect("it is built");
    if language == Language::C {
        component.extend([0, 2, 1, b'2']); // a section that means nothing
    }
    // What an engine without optimisations takes is not what is promised.
    let text = configuration(Language::C, &before, &origins, "budget = 100");
    let proxy = proxy::run(&text, &[]).await;
    let homes_before = homes(&proxy).await;
    let load = Load::start(proxy.address(), 2);
    let answer = proxy.load_plugin("tenants", &component).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["version"], 2);
    assert_eq!(homes(&proxy).await, homes_before, "the same choices");
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let plugin = proxy.shows("/plugins/tenants").await;
    assert_eq!(plugin["state"], "live", "{plugin}");
}

/// All of it for one language; whether its toolchain is there is said once.
async fn promises(language: Language) {
    if !language.is_installed() {
        return;
    }
    language.test().await;
    is_compiled(language).await;
    does_what_the_others_do(language).await;
    refuses_an_unknown_setting(language).await;
    if matches!(language, Language::C | Language::Go) {
        does_what_every_plugin_has_to(language).await;
    }
    if Language::C.is_installed() {
        is_loaded_under_load(language).await;
    }
}

/// In Rust a component is of one kind, so there are two.
#[tokio::test]
async fn plugins_in_rust_do_what_those_in_other_languages_do() {
    let configuration = |origins: &[Origin]| {
        let mut text = include_str!("../../examples/rust/waypost.toml").to_owned();
        for name in ["by_tenant", "count_tenants"] {
            let built = plugin(name, "wasm32-wasip2").display().to_string();
            text = text.replace(&format!("target/wasm32-wasip2/release/{name}.wasm"), &built);
        }
        before(origins, text)
    };
    do_what_all_others_do(configuration, "count_tenants", "***").await;
}

#[tokio::test]
async fn plugins_in_javascript_do_what_those_in_other_languages_do() {
    promises(Language::JavaScript).await;
}

#[tokio::test]
async fn plugins_in_python_do_what_those_in_other_languages_do() {
    promises(Language::Python).await;
}

#[tokio::test]
async fn plugins_in_c_do_what_those_in_other_languages_do() {
    promises(Language::C).await;
}

#[tokio::test]
async fn plugins_in_go_do_what_those_in_other_languages_do() {
    promises(Language::Go).await;
}

/// A hook in C that asks another server whether a request may pass.
const LOGIN: &str = r#"
#include "waypost.h"
static wp_text upstream;
static wp_about describe(wp_kind kind) { return (wp_about){.summary = kind ? "Login" : ""}; }
static bool configure(wp_kind kind, wp_settings *settings, wp_sharing *sharing) {
  (void)kind, (void)sharing;
  upstream = wp_setting_text(settings, "upstream", "");
  return wp_settled(settings);
}
static bool attach(uint32_t place, wp_settings *settings) { return place < 9 && wp_settled(settings); }
static wp_verdict on_request(const wp_call *call) {
  (void)call;
  wp_header header = {WP_TEXT("X-Path"), wp_request_path()};
  wp_text wanted = WP_TEXT("x-user");
  wp_texts all = {&wanted, 1};
  wp_request request = {.upstream = upstream, .target = WP_TEXT("/verify"), .headers = {&header, 1},
                        .wanted_headers = &all, .wanted_body = 64};
  wp_response response;
  if (wp_upstream_requests_send(&request, &response) != WP_ASKED) return WP_ANSWER;
  if (response.headers.count == 1)
    wp_changes_set_request_header(response.headers.at[0].name, response.headers.at[0].value);
  if (response.status == 200) return WP_PROCEED;
  wp_changes_answer(response.status, response.body);
  return WP_ANSWER;
}
WAYPOST(configure, describe)
WAYPOST_HOOK(attach)
WAYPOST_ON_REQUEST(on_request)
"#;

#[tokio::test]
async fn a_hook_in_c_asks_an_upstream_and_waits_for_what_it_says() {
    if !Language::C.is_installed() {
        return;
    }
    let auth = origin::answers(|request| match request.header("X-Path") {
        "/in" => Answer::ok("welcome").header("X-User", "jo"),
        _ => Answer::status(403, "not you"),
    })
    .await;
    let app = origin::answers(|request| Answer::ok(request.header("X-User"))).await;
    let file = Language::compiled(LOGIN).await;
    let proxy = proxy::to([&app])
        .route("hooks = [{ plugin = \"login\", upstream = \"auth\" }]")
        .more(&format!(
            "[upstream.auth]\nservers = [{}]\n[plugin.login]\nfile = \"{}\"\n\
             grants = [\"request\", \"changes\", \"http\"]\n",
            auth.with(""),
            file.display()
        ))
        .start()
        .await;
    assert_eq!(proxy.get("/in").await.text(), "jo");
    let refused = proxy.get("/out").await;
    assert_eq!((refused.status, refused.text().as_str()), (403, "not you"));
}
