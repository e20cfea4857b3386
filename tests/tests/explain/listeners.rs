//! Which listener takes a connection, and which certificate the client is shown.

use super::*;
use waypost_tests::admin::ADMIN;
use waypost_tests::proxy;
use waypost_tests::tls::Authority;

const ROUTES: &str = "[[route]]\nreturn = { status = 200 }\n";

#[tokio::test]
async fn each_listener_has_its_own_routes_and_is_found_by_its_port() {
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.2:0\"\n\
         [[route]]\nlisten = \"127.0.0.1:0\"\nreturn = {{ status = 201 }}\n\
         [[route]]\nlisten = \"127.0.0.2:0\"\nreturn = {{ status = 202 }}\n{ADMIN}"
    );
    let proxy = proxy::run(&file, &[]).await;
    for (index, status) in [(0, 201), (1, 202)] {
        let url = format!("http://{}/", proxy.listener(index));
        let told = told(proxy.directory(), &[&url]);
        assert_eq!(told["outcome"]["status"], status);
        assert_eq!(told["listener"]["address"], proxy.listener(index));
    }
    let (code, _, err) = says(proxy.directory(), &["http://localhost:1/"]);
    assert_eq!(code, 1, "{err}");
    for index in 0..2 {
        let there = format!("http://{}", proxy.listener(index));
        assert!(err.contains(&there), "{err}");
    }
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_and_a_wildcard_goes_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Specs");
    for (names, file) in [
        ("a.example", "a"),
        ("*.b.example", "wild"),
        ("x.b.example", "x"),
    ] {
        authority.certificate(&[names]).write(folder.path(), file);
    }
    let certificate =
        |name: &str| format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}");
    let certificates = ["a", "wild", "x"].map(certificate).join(", ");
    let file = |more: &str| {
        let file = format!(
            "[[listen]]\naddress = \"127.0.0.1:8443\"\ntls = {{ {more}certificates = [{certificates}] }}\n{ROUTES}"
        );
        std::fs::write(folder.path().join("waypost.toml"), file).unwrap();
    };
    file("");
    for (host, shown) in [
        ("a.example", "a.pem"),
        ("x.b.example", "x.pem"),
        ("y.b.example", "wild.pem"),
        ("nobody.example", "a.pem"),
    ] {
        let told = told(folder.path(), &[&format!("https://{host}:8443/")]);
        let files = told["listener"]["certificates"].as_array().unwrap();
        assert!(
            files.len() == 1 && files[0].as_str().unwrap().ends_with(shown),
            "{told}"
        );
        assert_eq!(told["listener"]["server_name"], host);
        assert_eq!(told["outcome"]["status"], 200);
    }
    let told_of = told(folder.path(), &["http://a.example:8443/"]);
    assert_eq!(told_of["outcome"]["status"], 400, "plain HTTP: {told_of}");
    file("unknown_names = \"refuse\", ");
    let told = told(folder.path(), &["https://nobody.example:8443/"]);
    assert_eq!(told["outcome"]["action"], "error");
    let detail = told["outcome"]["detail"].as_str().unwrap();
    assert!(detail.contains("the handshake is refused"), "{detail}");
}
