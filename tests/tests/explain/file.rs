//! Against a file: as a process would that has just started with it.

use super::*;

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

/// What is said of a request, by an example.
fn by(example: &str, url: &str, more: &[&str]) -> Value {
    let file = format!("{example}.toml");
    told(examples(), &[&[url, "-c", &file], more].concat())
}

#[test]
fn the_route_is_told_and_why_the_others_are_not_taken() {
    let told = by("routes", "http://example.com:8080/api/x", &[]);
    assert_eq!(told["state"], "fresh");
    assert_eq!(route(&told), "/api/");
    assert_eq!(
        why_not(&told, "example.com", "/"),
        "another one's prefix is longer"
    );
    assert_eq!(
        why_not(&told, "example.com", "= /health"),
        "`/api/x` is another path"
    );
    assert_eq!(
        why_not(&told, "old.example", "/"),
        "`example.com` is another host"
    );
    assert_eq!(told["proxy"]["upstream"], "api");
    assert_eq!(
        told["proxy"]["request"][0], "GET /x HTTP/1.1",
        "the route's part is replaced"
    );
    let told = by("routes", "http://example.com:8080/a/../api/b.php", &[]);
    assert_eq!(route(&told), r"~ \.php$");
    let why = why_not(&told, "example.com", "/api/");
    assert_eq!(why, "a regex fits, which goes before a prefix");
    assert_eq!(told["outcome"]["status"], 404);
    let told = by("routes", "http://www.example.com:8080/health", &[]);
    assert_eq!(route(&told), "= /health");
    let told = by("routes", "http://old.example:8080/x?y", &[]);
    assert_eq!(told["outcome"]["location"], "https://example.com/x?y");
    let told = by("routes", "http://nobody.example:8080/", &[]);
    assert_eq!(told["outcome"]["status"], 404);
    assert_eq!(
        why_not(&told, "example.com", "/"),
        "`nobody.example` is another host"
    );
}

#[test]
fn conditions_that_do_not_hold_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[[listen]]\naddress = \"127.0.0.1:8080\"\n\
        [[route]]\nwhen = { method = \"POST\" }\nreturn = { status = 201 }\n\
        [[route]]\nwhen = { header = { X-Beta = \"yes\" } }\nreturn = { status = 202 }\n\
        [[route]]\nwhen = { client = [\"192.0.2.0/24\"] }\nreturn = { status = 203 }\n\
        [[route]]\nreturn = { status = 204 }\n";
    std::fs::write(folder.path().join("waypost.toml"), file).unwrap();
    let told = |more: &[&str]| told(folder.path(), &[&["http://localhost:8080/"], more].concat());
    let plain = told(&[]);
    assert_eq!(plain["outcome"]["status"], 204);
    let passed = plain["steps"][0]["passed"].as_array().unwrap();
    let why: Vec<&str> = passed
        .iter()
        .map(|one| one["why"].as_str().unwrap())
        .collect();
    let expected = [
        "the method is `GET`, not `POST`",
        "header `X-Beta` is ``, and has to be `yes`",
        "the client 127.0.0.1 is not in its `client`",
    ];
    assert_eq!(why, expected);
    assert_eq!(told(&["-X", "POST"])["outcome"]["status"], 201);
    assert_eq!(told(&["-H", "X-Beta: yes"])["outcome"]["status"], 202);
    assert_eq!(told(&["--from", "192.0.2.9"])["outcome"]["status"], 203);
}

#[test]
fn hooks_are_asked_in_their_order_and_their_verdicts_told() {
    let url = "http://localhost:8080/statistics/";
    let told = by("access", url, &["--from", "10.0.0.1"]);
    assert_eq!(hooks(&told), [("office".to_owned(), "answer".to_owned())]);
    assert_eq!(told["outcome"]["status"], 403);
    assert!(told["proxy"].is_null(), "{told}");
    assert_eq!(told["steps"][1]["asked"][0]["name"], "client");
    let told = by("access", url, &["--from", "10.0.0.2"]);
    assert_eq!(hooks(&told), [("office".to_owned(), "proceed".to_owned())]);
    assert_eq!(told["proxy"]["upstream"], "app");
    let told = by(
        "access",
        "http://localhost:8080/wiki/",
        &["--from", "192.0.2.1"],
    );
    let expected = [("office", "proceed"), ("staff", "answer")];
    assert_eq!(
        hooks(&told),
        expected.map(|(name, said)| (name.to_owned(), said.to_owned()))
    );
    assert_eq!(told["outcome"]["status"], 401);
    let secret = [
        "--from",
        "192.0.2.1",
        "-H",
        "Authorization: Basic YW5uOnNlY3JldA==",
    ];
    let told = by("access", "http://localhost:8080/wiki/", &secret);
    assert_eq!(told["outcome"]["action"], "proxy", "{told:#}");
    let told = by("rewrite", "http://localhost:8080/api/x", &[]);
    assert_eq!(hooks(&told)[0].0, "rewrite");
    let told = by("limit_req", "http://localhost:8080/api/", &[]);
    assert!(
        hooks(&told).iter().all(|(_, verdict)| verdict == "proceed"),
        "{told:#}"
    );
    let told = by("split", "http://localhost:8080/", &["-H", "X-Canary: new"]);
    assert_eq!(
        told["proxy"]["upstream"], "new",
        "the hook's upstream counts"
    );
    assert!(
        told["steps"][1]["changes"]
            .to_string()
            .contains("upstream becomes `new`")
    );
}

#[test]
fn a_hook_that_waits_for_others_is_not_asked_and_said_to_be_not() {
    let told = by("forward_auth", "http://localhost:8080/", &[]);
    assert_eq!(hooks(&told), [("login".to_owned(), "not asked".to_owned())]);
    assert_eq!(told["proxy"]["upstream"], "app");
    let told = by("forward_auth", "http://localhost:8080/public/", &[]);
    assert_eq!(hooks(&told), []);
}

#[test]
fn the_policy_is_asked_and_what_it_asked_about_is_told() {
    let told = by("hash", "http://localhost:8080/a?b", &[]);
    let asked = &told["proxy"]["choice"]["asked"];
    let expected = serde_json::json!([{ "name": "$request_uri", "value": "/a?b" }]);
    assert_eq!(*asked, expected);
    assert!(told["proxy"]["by_chance"].is_null(), "{told:#}");
    let told = by(
        "ip_hash",
        "http://localhost:8080/",
        &["--from", "192.0.2.77"],
    );
    let again = by(
        "ip_hash",
        "http://localhost:8080/",
        &["--from", "192.0.2.5"],
    );
    assert_eq!(picked(&told), picked(&again), "one network of 24 bits");
    let down = server(&told, "127.0.0.1:8083");
    assert_eq!(
        (&down["candidate"], &down["why"][0]["reason"]),
        (&false.into(), &"down".into())
    );
    let told = by("sticky_cookie", "http://localhost:8080/", &[]);
    let headers = told["proxy"]["choice"]["headers"].to_string();
    assert!(headers.contains("srv_id="), "{told:#}");
    let told = by("backup", "http://localhost:8080/", &[]);
    let servers = told["proxy"]["servers"].as_array().unwrap();
    let backup = servers
        .iter()
        .find(|server| server["backup"] == true)
        .unwrap();
    assert!(
        backup["why_not"].as_str().unwrap().starts_with("backup"),
        "{backup}"
    );
    let told = by("random_two", "http://localhost:8080/", &[]);
    assert!(told["proxy"]["by_chance"].as_array().is_some(), "{told:#}");
}

#[test]
fn a_client_of_a_unix_socket_has_no_address_unless_one_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[[listen]]\naddress = \"unix:/run/waypost/specs.sock\"\n\
        [[route]]\nreturn = { status = 200, body = \"$remote_addr\" }\n";
    std::fs::write(folder.path().join("waypost.toml"), file).unwrap();
    let at = [
        "http://localhost/",
        "--listener",
        "unix:/run/waypost/specs.sock",
    ];
    assert_eq!(told(folder.path(), &at)["outcome"]["detail"], "unix:");
    let from = [&at[..], &["--from", "192.0.2.1"]].concat();
    assert_eq!(told(folder.path(), &from)["outcome"]["detail"], "192.0.2.1");
}

#[test]
fn its_words_fit_into_eighty_columns() {
    for (example, url) in [
        ("routes", "http://example.com:8080/api/x"),
        ("split", "http://localhost:8080/"),
        ("sticky_cookie", "http://localhost:8080/"),
        ("access", "http://localhost:8080/wiki/"),
    ] {
        let file = format!("{example}.toml");
        let (code, out, err) = says(examples(), &[url, "--fresh", "-c", &file]);
        assert_eq!(code, 0, "{err}");
        let long: Vec<&str> = out
            .lines()
            .filter(|line| line.chars().count() > 80)
            .collect();
        assert!(long.is_empty(), "{long:#?}");
        assert!(out.contains("\nlistener  127.0.0.1:8080\n"), "{out}");
        assert!(out.contains("\nroute  "), "{out}");
    }
}

#[test]
fn what_the_configuration_sets_and_may_be_secret_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[[listen]]\naddress = \"127.0.0.1:8080\"\n[[route]]\nproxy = \"http://127.0.0.1:9\"\n\
        request_headers = { set = { Authorization = \"Bearer 12345\", X-Stage = \"live\" } }\n";
    std::fs::write(folder.path().join("waypost.toml"), file).unwrap();
    let (code, out, err) = says(folder.path(), &["http://localhost:8080/"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        !out.contains("12345") && out.contains("X-Stage: live"),
        "{out}"
    );
}

/// It may have got anywhere: into a header of any name, a path, an argument of a plugin.
#[test]
fn what_comes_from_the_environment_is_told_as_the_file_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[[listen]]\naddress = \"127.0.0.1:8080\"\n\
        [[route]]\npath = \"/a/\"\nproxy = \"http://127.0.0.1:1/${env:KEY_OF_SPEC}/\"\n\
        request_headers = { set = { X-Team = \"of ${env:KEY_OF_SPEC}\", X-Port = \"${env:PORT_OF_SPEC}\" } }\n\
        [[route]]\nreturn = { status = 302, location = \"https://a.example/?k=${env:KEY_OF_SPEC}\" }\n";
    std::fs::write(folder.path().join("waypost.toml"), file).unwrap();
    let told = |path: &str| {
        let mut command = Command::new(waypost());
        let url = format!("http://localhost:8080{path}");
        command.current_dir(folder.path());
        command.args(["explain", &url, "--json"]);
        command.envs([("KEY_OF_SPEC", "s3cret-of-spec"), ("PORT_OF_SPEC", "3000")]);
        let (code, out, err) = child::run(command);
        assert_eq!(code, 0, "{err}");
        assert!(!out.contains("s3cret"), "{out}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let proxied = told("/a/b");
    let request: Vec<&str> = proxied["proxy"]["request"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap())
        .collect();
    assert_eq!(request[0], "GET /${env:KEY_OF_SPEC}/b HTTP/1.1");
    assert!(
        request.contains(&"X-Team: of ${env:KEY_OF_SPEC}"),
        "{request:?}"
    );
    assert!(request.contains(&"X-Port: 3000"), "{request:?}");
    let location = &told("/")["outcome"]["location"];
    assert_eq!(location, "https://a.example/?k=${env:KEY_OF_SPEC}");
}
