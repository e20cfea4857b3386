//! A configuration that cannot be served changes nothing at all, and every reason is told.

use super::*;

/// A reload that must be refused, and has changed nothing; the answer.
async fn refused(proxy: &Proxy) -> waypost_tests::Response {
    let before = proxy.shows("/status").await;
    let response = proxy.admin("POST", "/reload", "").await;
    assert_eq!(response.status, 422, "{response:?}");
    let after = proxy.shows("/status").await;
    for key in ["generation", "listeners"] {
        assert_eq!(after[key], before[key]);
    }
    let failed = |status: &serde_json::Value| status["reloads"]["failed"].as_u64();
    assert_eq!(failed(&after), failed(&before).map(|failed| failed + 1));
    // One line there, with the first of the problems that the answer lists.
    let (answer, last_error) = (response.json(), after["reloads"]["last_error"].clone());
    let last_error = last_error.as_str().unwrap();
    assert!(last_error.starts_with(answer["error"].as_str().unwrap()));
    if let Some(first) = answer["problems"][0].as_str() {
        let message = first
            .lines()
            .next()
            .unwrap()
            .strip_prefix("error: ")
            .unwrap();
        assert!(last_error.contains(message), "{last_error}");
        assert!(last_error.contains("waypost.toml"), "{last_error}");
        assert!(!last_error.contains('\n'), "{last_error}");
    }
    response
}

/// Nobody else has to be looked for.
#[tokio::test]
async fn a_listener_that_an_older_one_of_the_same_process_keeps_out_is_told_so() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let here = proxy.address().to_owned();
    let (_, port) = here.rsplit_once(':').unwrap();
    proxy.append(&format!("[[listen]]\naddress = \"0.0.0.0:{port}\"\n"));
    let response = refused(&proxy).await.json();
    let problem = response["problems"][0].as_str().unwrap();
    for part in [
        &*format!("cannot listen on 0.0.0.0:{port}: "),
        &*format!("hint: this process listens on {here} now"),
    ] {
        assert!(problem.contains(part), "no {part} in {problem}");
    }
}

#[tokio::test]
async fn every_problem_is_told_at_its_line_and_nothing_has_changed() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    kept(&mut client, "/").await;
    proxy.append(&format!(
        "{NEW}[[route]]\npath = \"/a\"\nprox = \"backend\"\n[[route]]\npath = \"/b\"\nproxy = \"nobody\""
    ));
    let response = refused(&proxy).await.json();
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    let line = |part: &str| {
        let before = text.split_once(part).unwrap().0;
        format!("waypost.toml:{}:", before.matches('\n').count() + 1)
    };
    let problems: Vec<String> = serde_json::from_value(response["problems"].clone()).unwrap();
    for part in ["prox = ", "\"nobody\""] {
        let place = line(part);
        assert!(
            problems.iter().any(|problem| problem.contains(&place)),
            "{part} is not at {place}: {problems:?}"
        );
        proxy.log_contains(&place).await;
    }
    proxy.log_contains("everything stays as it was").await;
    assert_eq!(kept(&mut client, "/new").await, "hello");

    let known = proxy.log().len();
    proxy.signal(Signal::HUP);
    let log = proxy.stderr();
    log.wait_until("the second refusal", |log| {
        log[known..].contains(&line("\"nobody\""))
    })
    .await;
    assert_eq!(kept(&mut client, "/new").await, "hello");
}

#[tokio::test]
async fn an_address_that_is_taken() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    kept(&mut client, "/").await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let socket = proxy.directory().join("front.sock");
    proxy.append(&format!("{NEW}{FRONT}[[listen]]\naddress = \"{taken}\""));
    let response = refused(&proxy).await;
    assert!(response.text().contains(&taken), "{}", response.text());
    assert!(!socket.exists(), "what was opened already is closed again");
    assert_eq!(kept(&mut client, "/new").await, "hello");
    drop(other);
    proxy.reload().await;
    assert!(socket.exists());
    assert_eq!(kept(&mut client, "/new").await, "new");
}

#[tokio::test]
async fn settings_that_a_policy_refuses() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let socket = proxy.directory().join("front.sock");
    proxy.edit(
        "[[route]]",
        "policy = { plugin = \"random\", tow = \"least_conn\" }\n[[route]]",
    );
    proxy.append(&format!("{NEW}{FRONT}"));
    let response = refused(&proxy).await;
    assert!(response.text().contains("tow"), "{}", response.text());
    assert!(!socket.exists());
    assert_eq!(proxy.get("/new").await.text(), "hello");
}

#[tokio::test]
async fn a_file_that_is_gone() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    std::fs::remove_file(proxy.file()).unwrap();
    refused(&proxy).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
}
