//! What was learned for a change is looked after until it is served, and from then on.

use super::*;

/// A name server, and what it says.
struct Says {
    dns: Scripted,
    /// `moves.test` stands for the second origin.
    moved: Arc<AtomicU8>,
    /// `slow.test` is answered for.
    answers: Arc<AtomicU8>,
    /// Questions about `moves.test` since it has moved.
    asked: Arc<AtomicUsize>,
}

/// Each kind of question about `once.test` is answered the first time only. Other names stand for the
/// first origin.
async fn says(origins: &[Origin]) -> Says {
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let (moved, answers) = (Arc::new(AtomicU8::new(0)), Arc::new(AtomicU8::new(0)));
    let asked = Arc::new(AtomicUsize::new(0));
    let (has_moved, may_answer, count) = (moved.clone(), answers.clone(), asked.clone());
    let once = [A, AAAA].map(|_| AtomicU8::new(0));
    let dns = Scripted::start(move |question| {
        let at = match question.name.as_str() {
            "once.test" => {
                let of_kind = usize::from(question.kind != A);
                if once[of_kind].swap(1, Relaxed) == 1 {
                    return Vec::new();
                }
                one
            }
            "slow.test" if may_answer.load(Relaxed) == 0 => return Vec::new(),
            "moves.test" if has_moved.load(Relaxed) == 1 => {
                count.fetch_add(1, Relaxed);
                two
            }
            _ => one,
        };
        let records = match question.kind {
            A => vec![Record::address(&question.name, at, 1)],
            _ => Vec::new(),
        };
        vec![question.answer(0, &records)]
    })
    .await;
    Says {
        dns,
        moved,
        answers,
        asked,
    }
}

impl Says {
    /// A key of `[server]`.
    fn resolver(&self, timeout: &str) -> String {
        let address = self.dns.address();
        format!(
            "resolver = {{ addresses = [\"{address}\"], valid = \"100ms\", timeout = \"{timeout}\" }}"
        )
    }
}

/// An upstream with a route of its own, `/moves`.
fn moves(port: u16) -> String {
    format!(
        "[upstream.moves]\nservers = [\"moves.test:{port}\"]\n\
         [[route]]\npath = \"/moves\"\nproxy = \"moves\"\n"
    )
}

/// Waits until `moves.test` is served where it is now, and with it all that names stand for.
async fn moves_on(says: &Says, proxy: &Proxy, origins: &[Origin]) {
    says.moved.store(1, Relaxed);
    eventually("another name's other address", async || {
        proxy.get("/moves").await.text() == host(&origins[1])
    })
    .await;
}

#[tokio::test]
async fn a_name_that_a_list_has_brought_keeps_its_answer() {
    let (origins, port) = origins(2).await;
    let says = says(&origins).await;
    let source = "servers_from = { file = \"s.json\" }";
    let setup = proxy::to([] as [&Origin; 0]).upstream(source);
    let setup = setup.server(&says.resolver("300ms"));
    let file = setup.directory().join("s.json");
    std::fs::write(&file, format!("[\"{}\"]", origins[1].address())).unwrap();
    let proxy = setup.more(&(moves(port) + ADMIN)).start().await;
    let next = file.with_extension("next");
    std::fs::write(&next, format!("[\"once.test:{port}\"]")).unwrap();
    std::fs::rename(next, file).unwrap();
    eventually("the name to be served", async || {
        proxy.get("/").await.text() == host(&origins[0])
    })
    .await;
    proxy.log_contains("once.test could not be resolved").await;
    moves_on(&says, &proxy, &origins).await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

#[tokio::test]
async fn a_listed_name_that_is_not_asked_about_again_and_has_no_address_is_told_once() {
    let (origins, port) = origins(1).await;
    let dns = Scripted::start(|question| vec![question.answer(3, &[])]).await;
    let resolver = format!(
        "resolve = \"once\"\nresolver = {{ addresses = [\"{}\"] }}",
        dns.address()
    );
    let source = "servers_from = { file = \"s.json\" }";
    let setup = proxy::to([] as [&Origin; 0]).upstream(source);
    let setup = setup.server(&resolver).more(ADMIN);
    let file = setup.directory().join("s.json");
    let serves = format!("\"{}\"", origins[0].address());
    std::fs::write(&file, format!("[{serves}]")).unwrap();
    let proxy = setup.start().await;
    let told = "gone.test could not be resolved (3: Host not found); it is not asked about again";
    for weight in [2, 3] {
        let next = file.with_extension("next");
        let again = format!("{{\"address\": {serves}, \"weight\": {weight}}}");
        std::fs::write(&next, format!("[{again}, \"gone.test:{port}\"]")).unwrap();
        std::fs::rename(next, &file).unwrap();
        eventually("the list to be served", async || {
            listed(&proxy).await["servers"][0]["weight"] == weight
        })
        .await;
        proxy.log_contains(told).await;
    }
    assert_eq!(proxy.log().matches(told).count(), 1);
}

#[tokio::test]
async fn a_name_that_a_command_has_brought_keeps_its_answer() {
    let (origins, port) = origins(2).await;
    let says = says(&origins).await;
    // Nobody listens there.
    let setup = proxy::to(["\"127.0.0.1:1\"".to_owned()]).server(&says.resolver("300ms"));
    let proxy = setup.more(&(moves(port) + ADMIN)).start().await;
    let add = format!("{{\"address\": \"once.test:{port}\"}}");
    let added = proxy
        .admin("POST", "/upstreams/backend/servers", &add)
        .await;
    assert_eq!(added.status, 200, "{}", added.text());
    proxy.log_contains("once.test could not be resolved").await;
    moves_on(&says, &proxy, &origins).await;
    let mut expected = vec!["127.0.0.1".to_owned(), host(&origins[0])];
    expected.sort();
    assert_eq!(served(&proxy).await, expected);
}

/// Its first answer was there long before the one that the reload waits for.
#[tokio::test]
async fn a_name_that_moves_while_a_reload_waits_is_served_where_it_is_by_then() {
    let (origins, port) = origins(2).await;
    let says = says(&origins).await;
    let setup = proxy::to([&origins[0]]).server(&says.resolver("30s"));
    let proxy = setup.more(ADMIN).start().await;
    let slow = format!("[upstream.slow]\nservers = [\"slow.test:{port}\"]\n");
    proxy.append(&(moves(port) + &slow));
    let mut waits = Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    // Both names, for IPv4 and IPv6; and one of them again.
    says.dns.is_asked(6).await;
    says.moved.store(1, Relaxed);
    eventually("an answer to have been noted", async || {
        says.asked.load(Relaxed) >= 4
    })
    .await;
    assert_eq!(proxy.shows("/status").await["generation"], 1);
    says.answers.store(1, Relaxed);
    assert_eq!(waits.response().await.status, 200);
    assert_eq!(proxy.get("/moves").await.text(), host(&origins[1]));
}

/// What the name stood for at the port before is not what it stands for now.
#[tokio::test]
async fn a_reload_that_changes_the_port_of_a_name_asks_anew() {
    let (origins, port) = origins(2).await;
    let says = says(&origins).await;
    let server = format!("\"once.test:{port}\"");
    let setup = proxy::to([server.clone()]).server(&says.resolver("300ms"));
    let proxy = setup.more(ADMIN).start().await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
    proxy.edit(&server, "\"once.test:1\"");
    let warnings = proxy.reload().await.concat();
    assert!(warnings.contains("`once.test:1`"), "{warnings}");
    assert_eq!(proxy.get("/").await.status, 502);
}
