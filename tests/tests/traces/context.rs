//! Which trace a request is of: what is heeded of `traceparent` and `tracestate`, and what servers
//! get of them.

use waypost_tests::{Origin, Proxy, origin, proxy};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A proxy whose spans nobody takes, and its server.
async fn with(lines: &str) -> (Proxy, Origin) {
    let origin = origin::says("hello").await;
    let nobody = origin::refuses();
    let traces = format!(
        "[traces]\nendpoint = \"http://{}\"\n{lines}",
        nobody.address()
    );
    let proxy = proxy::to([&origin]).more(&traces).start().await;
    (proxy, origin)
}

/// What the server gets in `traceparent` and `tracestate`.
async fn passed(proxy: &Proxy, origin: &Origin, lines: &str) -> (String, Option<String>) {
    proxy.get_with("/", lines).await;
    let requests = origin.requests();
    let request = requests.last().unwrap();
    let states = request.headers.0.iter();
    let states = states.filter(|(name, _)| name.eq_ignore_ascii_case("tracestate"));
    let states: Vec<&str> = states.map(|(_, value)| &**value).collect();
    let state = (!states.is_empty()).then(|| states.join(" & "));
    (request.header("traceparent").to_owned(), state)
}

fn parts(traceparent: &str) -> (String, String, String) {
    let parts: Vec<&str> = traceparent.split('-').collect();
    assert_eq!(parts.len(), 4, "{traceparent}");
    assert_eq!(parts[0], "00");
    (
        parts[1].to_owned(),
        parts[2].to_owned(),
        parts[3].to_owned(),
    )
}

#[tokio::test]
async fn a_trace_goes_on_where_the_caller_is_heeded_and_as_it_says() {
    let (proxy, origin) = with("context = \"propagate\"\nsample = \"0%\"").await;
    for flags in ["01", "00"] {
        let lines = format!(
            "Traceparent: 00-{TRACE}-{SPAN}-{flags}\r\nTracestate: a=b, c@d=e\r\nTracestate: f=g\r\n"
        );
        let (parent, state) = passed(&proxy, &origin, &lines).await;
        let (trace, span, passed) = parts(&parent);
        assert_eq!((&*trace, &*passed), (TRACE, flags));
        assert_ne!(span, SPAN);
        assert_eq!(state.as_deref(), Some("a=b, c@d=e & f=g"));
    }
    // Flags that are not known end here.
    let later = format!("Traceparent: cc-{TRACE}-{SPAN}-ff-more\r\n");
    let (parent, _) = passed(&proxy, &origin, &later).await;
    assert_eq!(parts(&parent).2, "01");
}

#[tokio::test]
async fn a_malformed_traceparent_begins_a_trace_and_its_tracestate_ends() {
    let (proxy, origin) = with("context = \"propagate\"").await;
    let good = format!("00-{TRACE}-{SPAN}-01");
    for lines in [
        "Traceparent: nonsense\r\n".to_owned(),
        format!("Traceparent: {}\r\n", good.to_uppercase()),
        format!("Traceparent: {good}-more\r\n"),
        format!("Traceparent: {good}\r\nTraceparent: {good}\r\n"),
        format!("Traceparent: 00-{}-{SPAN}-01\r\n", "0".repeat(32)),
        format!("Traceparent: 00-{TRACE}-{}-01\r\n", "0".repeat(16)),
        format!("Traceparent: ff-{TRACE}-{SPAN}-01\r\n"),
        String::new(),
    ] {
        let lines = format!("{lines}Tracestate: a=b\r\n");
        let (parent, state) = passed(&proxy, &origin, &lines).await;
        let (trace, _, flags) = parts(&parent);
        assert_ne!(trace, TRACE, "{lines}");
        assert_eq!((&*flags, state), ("01", None), "{lines}");
    }
    for state in ["a", "A=b", &format!("a={}", "x".repeat(257)), "a=b,a=c"] {
        let lines = format!("Traceparent: {good}\r\nTracestate: {state}\r\n");
        let (parent, passed) = passed(&proxy, &origin, &lines).await;
        assert_eq!(parts(&parent).0, TRACE);
        assert_eq!(passed, None, "{state}");
    }
}

#[tokio::test]
async fn each_word_of_context_does_as_it_says() {
    let theirs = format!("00-{TRACE}-{SPAN}-01");
    let lines = format!("Traceparent: {theirs}\r\nTracestate: a=b\r\n");
    for (word, is_same_trace, is_same_field) in [
        ("inject", false, false),
        ("extract", true, true),
        ("propagate", true, false),
        ("ignore", false, true),
    ] {
        let origin = origin::says("hello").await;
        let nobody = origin::refuses();
        let traces = format!(
            "[traces]\nendpoint = \"http://{}\"\ncontext = \"{word}\"",
            nobody.address()
        );
        let proxy = proxy::to([&origin])
            .route("response_headers = { set = { X-Trace = \"$otel_trace_id\", X-Sampled = \"$otel_parent_sampled\" } }")
            .more(&traces)
            .start()
            .await;
        let response = proxy.get_with("/", &lines).await;
        assert_eq!(response.header("x-trace") == TRACE, is_same_trace, "{word}");
        let sampled = if is_same_trace { "1" } else { "" };
        assert_eq!(
            response.headers.get("x-sampled").unwrap_or_default(),
            sampled,
            "{word}"
        );
        let request = origin.request();
        assert_eq!(
            request.header("traceparent") == theirs,
            is_same_field,
            "{word}"
        );
        let state = request.headers.get("tracestate");
        assert_eq!(state.is_some(), is_same_field || is_same_trace, "{word}");
    }
}

#[tokio::test]
async fn a_share_is_sampled_by_the_id_and_servers_are_told() {
    let (proxy, origin) = with("sample = \"50%\"").await;
    let mut client = proxy.client().await;
    for _ in 0..64 {
        client.get("/").await;
    }
    let mut sampled = 0;
    for request in origin.requests() {
        let (trace, _, flags) = parts(request.header("traceparent"));
        let is_low = u64::from_str_radix(&trace[16..], 16).unwrap() < 1 << 63;
        assert_eq!(flags == "01", is_low, "{trace}");
        sampled += usize::from(is_low);
    }
    // One in 2^64 fails for nothing.
    assert!((1..64).contains(&sampled), "{sampled}");
}

#[tokio::test]
async fn what_a_route_sets_counts_more_than_what_is_injected() {
    let origin = origin::says("hello").await;
    let nobody = origin::refuses();
    let traces = format!("[traces]\nendpoint = \"http://{}\"", nobody.address());
    let proxy = proxy::to([&origin])
        .route("request_headers = { set = { traceparent = \"mine\" } }")
        .more(&traces)
        .start()
        .await;
    proxy.get("/").await;
    let request = origin.request();
    let fields = request.headers.0.iter();
    let fields: Vec<_> = fields.filter(|(name, _)| name == "traceparent").collect();
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].1, "mine");
}
