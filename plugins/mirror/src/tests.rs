use std::cell::RefCell;
use std::rc::Rc;

use waypost_sdk::Verdict;
use waypost_sdk::http::{Error, Request as Asked};
use waypost_sdk::testing::outgoing::{Answer, answer_with};
use waypost_sdk::testing::{Hooked, Request, Services};

use super::Mirror;

/// The copies that are sent of these requests.
fn copies(settings: &str, requests: Vec<Request>) -> Vec<Asked> {
    let copies = Rc::new(RefCell::new(Vec::new()));
    let seen = copies.clone();
    answer_with(move |request| {
        seen.borrow_mut().push(request.clone());
        Ok(Answer::new(500))
    });
    let mut hooked = Hooked::<Mirror>::of(settings);
    for request in requests {
        let mut exchange = hooked.exchange(request);
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
        assert!(exchange.answer().is_none());
    }
    copies.take()
}

#[test]
fn a_copy_is_like_its_request_but_for_the_body() {
    let request = Request::new("POST", "/a?b")
        .header("Host", "site.example")
        .header("Content-Length", "3")
        .header("X-Test", "no")
        .header("Connection", "X-Listed")
        .header("X-Listed", "of the connection");
    let settings = r#"{"upstream": "new", "set_headers": {"X-Test": "of $request_method"}}"#;
    let copies = copies(settings, vec![request]);
    let [copy] = copies.as_slice() else {
        panic!("{copies:?}");
    };
    let what = (&*copy.method, &*copy.upstream, &*copy.target);
    assert_eq!(what, ("POST", "new", "/a?b"));
    let headers = [
        ("Host".to_owned(), b"site.example".to_vec()),
        ("X-Test".to_owned(), b"of POST".to_vec()),
    ];
    assert_eq!(copy.headers, headers);
}

#[test]
fn a_copy_has_the_body_where_it_is_wanted_and_there_may_be_one() {
    let copies = Rc::new(RefCell::new(Vec::new()));
    let seen = copies.clone();
    answer_with(move |request| {
        seen.borrow_mut().push(request.clone());
        Ok(Answer::new(200))
    });
    let mut hooked = Hooked::<Mirror>::of(r#"{"upstream": "new", "body_limit": "1k"}"#);
    let post = Request::new("POST", "/a")
        .header("Content-Type", "text/plain")
        .header("Content-Length", "4");
    let mut exchange = hooked.exchange(post);
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
    assert!(copies.borrow().is_empty());
    let (verdict, body) = hooked.on_request_body(&mut exchange, "body", true);
    assert_eq!((verdict, body), (Verdict::Proceed, b"body".to_vec()));
    let mut exchange = hooked.exchange(Request::get("/b"));
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
    let [post, get] = &*copies.take() else {
        panic!("they were not copied once each");
    };
    assert_eq!((&*post.target, &*post.body), ("/a", &b"body"[..]));
    assert!((post.headers.iter()).any(|(name, _)| name == "Content-Type"));
    assert_eq!((&*get.target, &*get.body), ("/b", &b""[..]));
}

#[test]
fn a_body_that_is_said_to_be_too_large_is_counted_and_goes_by() {
    answer_with(|_| panic!("nothing is sent"));
    let mut hooked = Hooked::<Mirror>::of(r#"{"upstream": "new", "body_limit": "1k"}"#);
    for (length, counted) in [("1024", 0), ("1025", 1), ("many", 1)] {
        let post = Request::new("POST", "/a").header("Content-Length", length);
        let mut exchange = hooked.exchange(post);
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
        assert_eq!(hooked.counter("too_large"), counted, "{length}");
    }
}

#[test]
fn a_share_of_the_requests_and_some_methods_are_copied() {
    let settings = r#"{"upstream": "new", "share": "25%", "path": "/copy$uri"}"#;
    let some = copies(settings, vec![Request::get("/x"); 4000]);
    assert!((900..1100).contains(&some.len()), "{}", some.len());
    assert_eq!(some[0].target, "/copy/x");
    let settings = r#"{"upstream": "new", "methods": ["GET"]}"#;
    let requests = vec![Request::get("/"), Request::new("POST", "/")];
    assert_eq!(copies(settings, requests).len(), 1);
}

#[test]
fn a_copy_that_cannot_be_sent_changes_nothing() {
    answer_with(|_| Err(Error("no".to_owned())));
    let mut hooked = Hooked::<Mirror>::of(r#"{"upstream": "new"}"#);
    let mut exchange = hooked.exchange(Request::get("/"));
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
}

#[test]
fn settings_that_make_no_sense_are_refused_at_their_key() {
    for (settings, key) in [
        ("{}", "upstream"),
        (r#"{"upstream": "new", "share": "5"}"#, "share"),
        (r#"{"upstream": "new", "share": "101%"}"#, "share"),
        (r#"{"upstream": "new", "path": "x"}"#, "path"),
        (r#"{"upstream": "new", "body_limit": "0"}"#, "body_limit"),
        (r#"{"upstream": "new", "body_limit": "9m"}"#, "body_limit"),
        (
            r#"{"upstream": "new", "methods": ["GET", "put"]}"#,
            "methods",
        ),
        (
            r#"{"upstream": "new", "set_headers": {"Upgrade": "x"}}"#,
            "set_headers.Upgrade",
        ),
    ] {
        let refused = Hooked::<Mirror>::new(settings, &[]).err();
        assert_eq!(
            refused.map(|error| error.key),
            Some(key.to_owned()),
            "{settings}"
        );
    }
}

#[test]
fn it_says_what_settings_it_takes() {
    let good = [
        r#"{"upstream": "new", "path": "/x", "share": "0.1%", "methods": "GET",
            "set_headers": {"Host": "$host"}, "timeout": "1s", "body_limit": "8m"}"#,
    ];
    Hooked::<Mirror>::check_description(&Services::new(), &good, &["{}"]);
}
