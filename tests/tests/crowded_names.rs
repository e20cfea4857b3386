//! Names of one name server of which many are not answered for any more, or in part alone: the others
//! are followed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use waypost_tests::admin::ADMIN;
use waypost_tests::names::{A, AAAA, Question, Record, SRV, Scripted, host, origins};
use waypost_tests::{Origin, Proxy, client, eventually, proxy};

/// How many names fill all places that there are.
const CROWD: usize = 100;

/// A name server that answers for every name, until some questions hang; and names of the crowd, one
/// of which is `moves.test`, that it has answered for.
struct Crowd {
    origins: Vec<Origin>,
    proxy: Proxy,
    hangs: Arc<AtomicBool>,
    moves: Arc<AtomicBool>,
    /// Questions that were not answered.
    unanswered: Arc<AtomicUsize>,
    /// Questions about services.
    services: Arc<AtomicUsize>,
    /// Questions about names that requests have made.
    made: Arc<AtomicUsize>,
    _dns: Scripted,
}

/// What a crowd is made of.
struct Setup {
    /// Servers of the configuration, beside `moves.test`.
    servers: Vec<String>,
    /// A server of a service has a target of so many.
    targets: usize,
    timeout: &'static str,
    valid: &'static str,
    /// What name servers need for an answer.
    late: Duration,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            servers: vec!["other.test".to_owned()],
            targets: 0,
            timeout: "60s",
            valid: "1s",
            late: Duration::ZERO,
        }
    }
}

impl Setup {
    /// `dead`: whether a question is not answered once that begins.
    async fn start(self, dead: impl Fn(&Question) -> bool + Send + Sync + 'static) -> Crowd {
        let (origins, port) = origins(2).await;
        let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
        let (hangs, moves) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (unanswered, services) = (Arc::<AtomicUsize>::default(), Arc::default());
        let made = Arc::<AtomicUsize>::default();
        let (do_hang, moved, count) = (hangs.clone(), moves.clone(), unanswered.clone());
        let (asked, of_requests): (Arc<AtomicUsize>, _) = (Arc::clone(&services), made.clone());
        let targets = self.targets;
        let dns = Scripted::late(self.late, move |question| {
            let name = &*question.name;
            // They are too long for a datagram.
            let is_whole = question.kind == SRV && question.over_tcp;
            asked.fetch_add(usize::from(is_whole), Relaxed);
            of_requests.fetch_add(usize::from(name.ends_with(".random.test")), Relaxed);
            if do_hang.load(Relaxed) && dead(question) {
                count.fetch_add(1, Relaxed);
                return Vec::new();
            }
            let has_moved = moved.load(Relaxed) && name.starts_with("moves");
            let at = if has_moved { two } else { one };
            let target = |number| Record::server(name, 1, port, &format!("t{number}.dead.test"));
            let records = match question.kind {
                A => vec![Record::address(name, at, 1)],
                SRV => (0..targets).map(target).collect(),
                _ => Vec::new(),
            };
            match question.over_tcp {
                true => vec![question.answer(0, &records)],
                false => vec![question.answer_as_it_fits(&records)],
            }
        })
        .await;
        let servers = self
            .servers
            .iter()
            .map(|server| match server.contains('{') {
                true => server.clone(),
                false => format!("\"{server}:{port}\""),
            });
        let servers: Vec<String> = servers.collect();
        let text = format!(
            "[server]\nworkers = 1\naccess_log = false\n\
             resolver = {{ addresses = [\"{}\"], valid = \"{}\", timeout = \"{}\" }}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.moves]\nservers = [\"moves.test:{port}\"]\n\
             [upstream.crowd]\nservers = [{}]\n\
             [[route]]\npath = \"/moves\"\nproxy = \"moves\"\n\
             [[route]]\npath = \"/crowd\"\nproxy = \"crowd\"\n\
             [[route]]\nproxy = \"http://$arg_to:{port}\"\n\
             proxy_allow = [\"*.random.test\", \"127.0.0.0/8\"]\n{ADMIN}",
            dns.address(),
            self.valid,
            self.timeout,
            servers.join(", "),
        );
        let proxy = proxy::run(&text, &[]).await;
        Crowd {
            origins,
            proxy,
            hangs,
            moves,
            unanswered,
            services,
            made,
            _dns: dns,
        }
    }
}

impl Crowd {
    /// Requests name so many servers.
    async fn name(&self, names: usize) {
        let mut asked = tokio::task::JoinSet::new();
        for number in 0..names {
            let address = self.proxy.address().to_owned();
            asked.spawn(async move {
                let target = format!("/?to=n{number}.random.test");
                client::get_with(&address, &target, "").await.status
            });
        }
        let statuses = asked.join_all().await;
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }

    /// Has questions hang from now on; back once so many do.
    async fn hangs(&self, number: usize) {
        self.hangs.store(true, Relaxed);
        eventually("questions to hang", async || {
            self.unanswered.load(Relaxed) >= number
        })
        .await;
    }

    /// The name whose requests have this target gets another address, and is followed before those
    /// that hang are over.
    async fn follows(&self, target: &str) {
        assert_eq!(self.proxy.get(target).await.text(), host(&self.origins[0]));
        self.moves.store(true, Relaxed);
        let since = Instant::now();
        eventually("the other address", async || {
            self.proxy.get(target).await.text() == host(&self.origins[1])
        })
        .await;
        let took = since.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}

fn names(number: usize) -> Vec<String> {
    (0..number)
        .map(|number| format!("n{number}.dead.test"))
        .collect()
}

fn is_dead(question: &Question) -> bool {
    question.name.ends_with(".dead.test")
}

#[tokio::test]
async fn names_that_are_answered_for_in_part_hold_up_no_others() {
    let setup = Setup {
        servers: names(CROWD),
        ..Setup::default()
    };
    let dead = |question: &Question| is_dead(question) && question.kind == AAAA;
    let crowd = setup.start(dead).await;
    crowd.hangs(64).await;
    crowd.follows("/moves").await;
}

/// Each of them was answered for the last time.
#[tokio::test]
async fn names_that_die_together_hold_up_no_others() {
    let setup = Setup {
        servers: names(CROWD),
        ..Setup::default()
    };
    let crowd = setup.start(is_dead).await;
    crowd.hangs(64).await;
    crowd.follows("/moves").await;
}

/// All places that there are would be taken for minutes, if each question kept its own.
#[tokio::test]
async fn one_of_hundreds_of_dead_names_is_followed_as_soon_as_it_is_answered_for() {
    let setup = Setup {
        servers: names(500),
        timeout: "9s",
        ..Setup::default()
    };
    let (well, hung) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let (is_well, count) = (well.clone(), hung.clone());
    let crowd = setup
        .start(move |question| match question.name.as_str() {
            "moves.test" if is_well.load(Relaxed) => false,
            "moves.test" => {
                count.fetch_add(1, Relaxed);
                true
            }
            _ => is_dead(question),
        })
        .await;
    crowd.hangs(1000).await;
    eventually("its own questions to hang", async || {
        hung.load(Relaxed) >= 2
    })
    .await;
    well.store(true, Relaxed);
    crowd.follows("/moves").await;
}

#[tokio::test]
async fn a_service_whose_servers_are_not_answered_for_holds_up_no_others() {
    let setup = Setup {
        servers: vec!["{ address = \"svc.test\", service = \"http\" }".to_owned()],
        targets: CROWD,
        ..Setup::default()
    };
    let dead = |question: &Question| is_dead(question) && !question.name.starts_with("t0.");
    let crowd = setup.start(dead).await;
    crowd.hangs(64).await;
    crowd.follows("/moves").await;
}

/// As often as if it was one of its servers that is not answered for.
#[tokio::test]
async fn a_service_is_asked_about_again_however_many_of_its_servers_are_not_answered_for() {
    let setup = Setup {
        servers: vec!["{ address = \"svc.test\", service = \"http\" }".to_owned()],
        targets: CROWD,
        timeout: "6s",
        ..Setup::default()
    };
    let dead = |question: &Question| is_dead(question) && !question.name.starts_with("t0.");
    let crowd = setup.start(dead).await;
    crowd.hangs(1).await;
    let asked = async |times| {
        eventually("a question about the service", async || {
            crowd.services.load(Relaxed) >= times
        })
        .await;
    };
    let before = crowd.services.load(Relaxed);
    asked(before + 1).await;
    let since = Instant::now();
    asked(before + 2).await;
    // Those that wait for a place and are asked then take twice the time for an answer.
    let took = since.elapsed();
    assert!(took < Duration::from_secs(11), "{took:?}");
}

#[tokio::test]
async fn names_by_a_pattern_that_die_hold_up_no_others_of_it() {
    let is_random = |question: &Question| question.name.starts_with('n');
    let crowd = Setup::default().start(is_random).await;
    let target = "/?to=moves.random.test";
    assert_eq!(crowd.proxy.get(target).await.status, 200);
    crowd.name(CROWD).await;
    crowd.hangs(32).await;
    crowd.follows(target).await;
}

/// They have places of their own, and so they have behind a reload.
#[tokio::test]
async fn names_by_a_pattern_that_die_hold_up_no_name_that_is_answered_for_slowly() {
    for reload in [false, true] {
        let setup = Setup {
            // More than a quick place is for.
            late: Duration::from_millis(400),
            valid: "2s",
            ..Setup::default()
        };
        let is_random = |question: &Question| question.name.ends_with(".random.test");
        let crowd = setup.start(is_random).await;
        crowd.name(CROWD * 2 / 3).await;
        if reload {
            crowd.proxy.reload().await;
        }
        crowd.hangs(64).await;
        crowd.follows("/moves").await;
    }
}

#[tokio::test]
async fn a_reload_neither_asks_for_names_by_a_pattern_anew_nor_waits_for_them() {
    let setup = Setup {
        valid: "1h",
        ..Setup::default()
    };
    let is_random = |question: &Question| question.name.ends_with(".random.test");
    let crowd = setup.start(is_random).await;
    crowd.name(3).await;
    let asked = crowd.made.load(Relaxed);
    let generation = crowd.proxy.reload().await;
    assert_eq!(crowd.made.load(Relaxed), asked, "{generation:?}");
    // With another `resolver` they have to be asked about, be it that nobody answers.
    crowd.hangs.store(true, Relaxed);
    crowd.proxy.edit("valid = \"1h\"", "valid = \"2h\"");
    let since = Instant::now();
    crowd.proxy.reload().await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    crowd.name(3).await;
    eventually("them to be asked about", async || {
        crowd.unanswered.load(Relaxed) > 0
    })
    .await;
}

/// The other part may not come at all.
#[tokio::test]
async fn a_name_that_is_answered_for_in_part_is_served_before_the_time_for_the_rest_is_over() {
    let setup = Setup {
        timeout: "9s",
        ..Setup::default()
    };
    let dead = |question: &Question| question.name == "moves.test" && question.kind == AAAA;
    let crowd = setup.start(dead).await;
    crowd.hangs(1).await;
    crowd.moves.store(true, Relaxed);
    let since = Instant::now();
    eventually("the other address", async || {
        crowd.proxy.get("/moves").await.text() == host(&crowd.origins[1])
    })
    .await;
    // The question that was under way, and the next one: half of the time each.
    let took = since.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
}

/// A list may have thousands of them.
#[tokio::test]
async fn names_that_a_list_has_brought_hold_up_none_that_are_answered() {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let moves = Arc::<AtomicBool>::default();
    let moved = moves.clone();
    let dns = Scripted::start(move |question| {
        let at = if moved.load(Relaxed) { two } else { one };
        match (question.name.starts_with("own"), question.kind) {
            (true, A) => vec![question.answer(0, &[Record::address(&question.name, at, 1)])],
            (true, _) => vec![question.answer(0, &[])],
            (false, _) => Vec::new(),
        }
    })
    .await;
    let resolver = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"1s\" }}",
        dns.address()
    );
    let more = format!(
        "[upstream.own]\nservers = [\"own.test:{port}\"]\n{resolver}\n\
         [upstream.listed]\nservers_from = {{ file = \"s.json\" }}\n{resolver}\n\
         [[route]]\npath = \"/own\"\nproxy = \"own\"\n\
         [[route]]\npath = \"/listed\"\nproxy = \"listed\""
    );
    let setup = proxy::to([&origins[0]]).more(&more);
    let mut list = vec![origins[0].address().to_owned()];
    std::fs::write(setup.directory().join("s.json"), format!("{list:?}")).unwrap();
    let proxy = setup.start().await;
    assert_eq!(proxy.get("/own").await.text(), host(&origins[0]));
    list.extend((0..4000).map(|number| format!("new{number}.test:80")));
    let file = proxy.directory().join("s.json");
    std::fs::write(file.with_extension("new"), format!("{list:?}")).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
    dns.is_asked(dns.questions() + 100).await;
    moves.store(true, Relaxed);
    let began = Instant::now();
    eventually("the other address", async || {
        proxy.get("/own").await.text() == host(&origins[1])
    })
    .await;
    // All of them have their moment in 30 s, two kinds of records each.
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "it waited for those that are new"
    );
}
