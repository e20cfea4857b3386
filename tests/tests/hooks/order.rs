//! Which hooks are asked, in which order, and where they lead.

use waypost_tests::{origin, proxy};

use super::{asked, at_listener, at_route, probe};

/// A `[hook.NAME]` of the probe that adds its name to the request and to the response.
fn signs(name: &str) -> String {
    format!(
        "[hook.{name}]\nplugin = \"probe\"\nname = \"{name}\"\nrequest = [\"add X-Order {name}\"]\n\
         response = [\"answer_add X-Order {name}\"]\n"
    )
}

#[tokio::test]
async fn hooks_are_asked_from_the_server_s_to_the_route_s_and_for_responses_in_reverse() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("hooks = [\"a\"]")
        .listen("hooks = [\"b\"]")
        .route("hooks = [\"d\", \"c\"]")
        .more(&probe())
        .more(&["a", "b", "c", "d"].map(signs).concat())
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!(response.text(), "hello");
    assert_eq!(
        origin.request().headers.all("X-Order"),
        ["a", "b", "d", "c"]
    );
    assert_eq!(response.headers.all("X-Order"), ["c", "d", "b", "a"]);
}

#[tokio::test]
async fn a_route_that_inherits_no_hooks_is_asked_about_by_its_own_alone() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("hooks = [\"a\"]")
        .listen("hooks = [\"b\"]")
        .route("hooks = [\"c\"]\ninherit_hooks = false")
        .more(&probe())
        .more(&["a", "b", "c"].map(signs).concat())
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!(origin.request().headers.all("X-Order"), ["c"]);
    assert_eq!(response.headers.all("X-Order"), ["c"]);
}

/// Nor in place of an error.
#[tokio::test]
async fn an_error_of_a_route_without_inherited_hooks_leads_to_no_other_route_past_them() {
    let origin = origin::says("guarded").await;
    let open = "[[route]]\npath = \"/open\"\ninherit_hooks = false\nreturn = { status = 404 }\n\
                error_pages = { 404 = { route = \"inner\" } }\n\
                [[route]]\nname = \"inner\"\ninternal = true\nproxy = \"backend\"\n";
    let proxy = proxy::to([&origin])
        .listen("hooks = [{ plugin = \"access\", rules = \"deny all\" }]")
        .more(open)
        .start()
        .await;
    assert_eq!(proxy.get("/open").await.status, 403);
    assert!(origin.requests().is_empty());
}

/// It leads past them to none that inherits them, by its path or by name.
#[tokio::test]
async fn a_route_without_inherited_hooks_leads_to_no_other_route_past_them() {
    let origin = origin::says("guarded").await;
    let open = "[[route]]\npath = \"/open/\"\ninherit_hooks = false\nhooks = [\"probe\"]\n\
                return = { status = 200, body = \"open\" }\n\
                [[route]]\nname = \"inner\"\ninternal = true\nproxy = \"backend\"\n\
                [[route]]\nname = \"free\"\ninternal = true\ninherit_hooks = false\n\
                return = { status = 200, body = \"free\" }\n";
    let proxy = proxy::to([&origin])
        .listen("hooks = [{ plugin = \"access\", rules = \"deny all\" }]")
        .more(&probe())
        .more(open)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 403);
    for (commands, answer) in [
        ("say nothing", (200, "open")),
        ("path /x | reroute", (403, "")),
        ("route inner", (403, "")),
        ("route free", (200, "free")),
    ] {
        let response = asked(&proxy, "/open/", commands).await;
        assert_eq!(response.status, answer.0, "{commands}");
        if !answer.1.is_empty() {
            assert_eq!(response.text(), answer.1, "{commands}");
        }
    }
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn each_place_that_uses_a_hook_has_settings_of_its_own() {
    let origin = origin::says("hello").await;
    let table = |what: &str| format!("{{ use = \"shared\", request = [\"add X-Order {what}\"] }}");
    let proxy = proxy::to([&origin])
        .listen(&format!("hooks = [{}]", table("listener")))
        .route(&format!(
            "hooks = [{}, {}]",
            table("first"),
            table("second")
        ))
        .more(&probe())
        .more("[hook.shared]\nplugin = \"probe\"\nrequest = [\"place\"]")
        .start()
        .await;
    let response = proxy.get("/").await;
    let order = origin.request();
    assert_eq!(
        order.headers.all("X-Order"),
        ["listener", "first", "second"]
    );
    assert_eq!(response.headers.all("X-Probe-Place").len(), 3);
    let places = response.headers.all("X-Probe-Place");
    assert!(
        ["0", "1", "2"].iter().all(|place| places.contains(place)),
        "{places:?}"
    );
}

/// Routes by their paths, and an internal one.
const ROUTES: &str = "[[route]]\npath = \"/b/\"\nreturn = { body = \"b\" }\n\
                      [[route]]\npath = \"/secret/\"\nname = \"secret\"\ninternal = true\n\
                      return = { body = \"secret\" }\n";

#[tokio::test]
async fn a_path_that_a_listener_s_hook_writes_decides_which_route_matches() {
    let origin = origin::says("hello").await;
    let proxy = at_listener(proxy::to([&origin])).more(ROUTES).start().await;
    assert_eq!(asked(&proxy, "/", "path /b/").await.text(), "b");
    assert_eq!(asked(&proxy, "/b/", "path /other").await.text(), "hello");
    assert_eq!(origin.request().target, "/other");
    // Its route is found anew whatever the verdict is.
    assert_eq!(asked(&proxy, "/", "path /b/ | reroute").await.text(), "b");
}

#[tokio::test]
async fn a_host_that_a_listener_s_hook_sets_decides_which_route_matches() {
    let origin = origin::says("hello").await;
    let other = "[[route]]\nhost = \"other.example\"\nreturn = { body = \"other\" }\n";
    let proxy = at_listener(proxy::to([&origin])).more(other).start().await;
    let response = asked(&proxy, "/", "set Host other.example").await;
    assert_eq!(response.text(), "other");
}

#[tokio::test]
async fn a_path_that_a_route_s_hook_writes_finds_another_route_only_if_it_says_so() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).more(ROUTES).start().await;
    assert_eq!(asked(&proxy, "/", "path /b/").await.text(), "hello");
    assert_eq!(origin.request().target, "/b/");
    assert_eq!(asked(&proxy, "/", "path /b/ | reroute").await.text(), "b");
}

#[tokio::test]
async fn an_internal_route_is_for_hooks_that_name_it() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin])
        .listen("hooks = [\"probe\"]")
        .route("hooks = [\"at_route\"]");
    let also = "[hook.at_route]\nplugin = \"probe\"\nname = \"route\"\n";
    let proxy = setup.more(&probe()).more(also).more(ROUTES).start().await;
    assert_eq!(asked(&proxy, "/", "route secret").await.text(), "secret");
    let from_route = proxy.get_with("/", "X-Route: route secret\r\n").await;
    assert_eq!(from_route.text(), "secret");
    // From outside its path leads elsewhere, be it the client's or a hook's.
    assert_eq!(proxy.get("/secret/").await.text(), "hello");
    assert_eq!(asked(&proxy, "/", "path /secret/").await.text(), "hello");
}

#[tokio::test]
async fn names_that_there_are_not_are_refused_with_a_line_of_the_log() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let response = asked(&proxy, "/", "route nowhere | upstream none").await;
    assert_eq!(
        (response.text().as_str(), response.header("X-Probe-Refused")),
        ("hello", "2")
    );
    let said = "`changes.take-route` refused: this listener has no route with the `name` `nowhere`";
    proxy.log_contains(said).await;
    let said = "`changes.take-upstream` refused: there is no upstream `none`";
    proxy.log_contains(said).await;
}

#[tokio::test]
async fn a_hook_takes_another_upstream_for_a_route() {
    let (origin, other) = (origin::says("hello").await, origin::says("other").await);
    let upstream = format!("[upstream.other]\nservers = [\"{}\"]\n", other.address());
    let proxy = at_route(proxy::to([&origin])).more(&upstream).start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(asked(&proxy, "/", "upstream other").await.text(), "other");
}

/// A proxy whose hook finds the route anew in its first calls.
async fn rerouted(times: u32) -> u16 {
    let origin = origin::says("hello").await;
    let route =
        format!("hooks = [{{ plugin = \"probe\", request = [\"reroute_at_first {times}\"] }}]");
    let proxy = proxy::to([&origin])
        .route(&route)
        .more(&probe())
        .start()
        .await;
    let response = proxy.get("/").await;
    if response.status != 200 {
        let cycle = "rewrite or internal redirection cycle";
        proxy.log_contains(cycle).await;
    }
    response.status
}

#[tokio::test]
async fn ten_changes_of_route_are_followed_and_the_eleventh_is_a_cycle() {
    assert_eq!(rerouted(10).await, 200);
    assert_eq!(rerouted(11).await, 500);
}
