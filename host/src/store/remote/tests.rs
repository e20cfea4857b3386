//! A real Redis, which dies, hangs and is full.

mod strangers; // servers that only claim to be one, and one that proves it

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::super::{LONGEST, PluginStore, Pour, RemoteEntries, Store, StoreError};
use crate::config;
use crate::config::model::StoreConfig;

/// Far longer than any answer takes, and what a test that waits in vain waits for.
const LONG: &str = "20s";
const PATIENCE: Duration = Duration::from_secs(60);

/// A `redis-server` at a unix socket. Dropping it ends it.
struct Redis {
    directory: TempDir,
    options: Vec<String>,
    process: Child,
}

/// None, loudly, where it is not installed.
fn redis(options: &[&str]) -> Option<Redis> {
    let found = Command::new("redis-server").arg("--version").output();
    if found.is_err() {
        eprintln!("SKIPPED: redis-server is not installed (apt-get install redis-server)");
        assert!(
            std::env::var_os("CI").is_none(),
            "CI runs with redis-server, and it is not installed"
        );
        return None;
    }
    let directory = TempDir::new().unwrap();
    let options: Vec<String> = options.iter().map(ToString::to_string).collect();
    let process = started(&directory, &options);
    Some(Redis {
        directory,
        options,
        process,
    })
}

fn started(directory: &TempDir, options: &[String]) -> Child {
    let socket = directory.path().join("redis.sock");
    let _ = std::fs::remove_file(&socket);
    let mut process = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no"])
        .args(["--unixsocket", socket.to_str().unwrap()])
        .args(["--dir", directory.path().to_str().unwrap()])
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually(|| {
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none(), "redis-server has ended: {ended:?}");
        UnixStream::connect(&socket).is_ok()
    });
    process
}

impl Redis {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// A store there, of the plugin `p`, whose answers take so long at the most.
    fn store(&self, timeout: &str) -> RemoteEntries {
        let socket = self.socket();
        entries(&format!(
            "url = \"unix:{}\"\ntimeout = \"{timeout}\"\nconnect_timeout = \"{LONG}\"",
            socket.display()
        ))
    }

    /// What it says to a command in its plainest form.
    fn told(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        write!(stream, "{command}\r\nQUIT\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
            .trim_end()
            .trim_end_matches("+OK")
            .trim_end()
            .to_owned()
    }

    fn dies(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn comes_back(&mut self) {
        self.process = started(&self.directory, &self.options);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn eventually(mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(5)); // another process tells nobody
    }
}

/// `[store]` of a file.
fn configured(of_store: &str) -> StoreConfig {
    let text = format!("[[listen]]\naddress = \"127.0.0.1:8080\"\n[store]\n{of_store}");
    config::parse(&text, "waypost.toml".as_ref()).unwrap().store
}

fn store(of_store: &str) -> Store {
    let store = Store::of(&configured(of_store));
    store.remote.as_ref().unwrap().start(None).unwrap();
    store
}

fn part(store: &Store, plugin: &str) -> RemoteEntries {
    match store.of_plugin(plugin) {
        PluginStore::Remote(entries) => entries,
        PluginStore::Embedded(_) | PluginStore::Untold(_) => panic!("it is in this process"),
    }
}

fn entries(of_store: &str) -> RemoteEntries {
    part(&store(of_store), "p")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

#[test]
fn entries_elsewhere_do_what_entries_here_do() {
    let Some(redis) = redis(&[]) else { return };
    let there = redis.store(LONG);
    let pour = Pour {
        amount: 1000,
        leak: 1,
        capacity: 2500,
    };
    block_on(async {
        assert_eq!(there.get(b"k").await, Ok(None));
        assert_eq!(there.set(b"k", b"v\r\n\0".to_vec(), 60_000).await, Ok(()));
        assert_eq!(there.get(b"k").await, Ok(Some(b"v\r\n\0".to_vec())));
        assert_eq!(there.add(b"k", 1, 0).await, Err(StoreError::WrongKind));
        assert_eq!(there.add(b"n", -5, 60_000).await, Ok(-5));
        assert_eq!(there.add(b"n", i64::MAX, 1).await, Ok(i64::MAX - 5));
        assert_eq!(there.add(b"n", 6, 1).await, Err(StoreError::WrongKind));
        let digits = (i64::MAX - 5).to_string().into_bytes();
        assert_eq!(there.get(b"n").await, Ok(Some(digits.clone())));
        let swap = async |expected: Option<&[u8]>, value: &[u8]| {
            let expected = expected.map(<[u8]>::to_vec);
            there
                .compare_and_swap(b"s", expected, value.to_vec(), 60_000)
                .await
        };
        assert_eq!(swap(Some(b""), b"a").await, Ok(false));
        assert_eq!(swap(None, b"").await, Ok(true));
        assert_eq!(swap(None, b"b").await, Ok(false));
        assert_eq!(swap(Some(b""), b"b").await, Ok(true));
        assert_eq!(swap(Some(b"a"), b"c").await, Ok(false));
        assert_eq!(there.delete(b"s").await, Ok(true));
        assert_eq!(there.delete(b"s").await, Ok(false));
        let mut levels = Vec::new();
        for _ in 0..5 {
            // A thousandth of a second takes nothing away, and a second takes one.
            levels.push(there.fill(b"b", pour).await.unwrap().div_ceil(500) * 500);
        }
        assert_eq!(levels, [0, 1000, 2000, 3000, 3000]);
        assert_eq!(there.fill(b"k", pour).await, Err(StoreError::WrongKind));
        assert_eq!(there.set(b"k", vec![1; LONGEST], 0).await, Ok(()));
        assert_eq!(there.get(b"k").await, Ok(Some(vec![1; LONGEST])));
        let too_large = Err(StoreError::TooLarge);
        assert_eq!(there.set(b"k", vec![1; LONGEST + 1], 0).await, too_large);
        assert_eq!(
            there.delete(&vec![b'k'; LONGEST + 1]).await,
            Err(StoreError::TooLarge)
        );
        assert_eq!(
            there.set(&vec![b'k'; LONGEST], b"long".to_vec(), 0).await,
            Ok(())
        );
        assert_eq!(
            there.get(&vec![b'k'; LONGEST]).await,
            Ok(Some(b"long".to_vec()))
        );
    });
}

#[test]
fn times_to_live_are_those_of_redis_and_a_counter_keeps_its_first() {
    let Some(redis) = redis(&[]) else { return };
    let there = redis.store(LONG);
    let left = |key: &str| -> i64 {
        let told = redis.told(&format!("PTTL {key}"));
        told.trim_start_matches(':').parse().unwrap()
    };
    block_on(async {
        there.set(b"v", b"".to_vec(), 1_000_000).await.unwrap();
        there.add(b"n", 1, 2_000_000).await.unwrap();
        there.add(b"n", 1, 9_000_000).await.unwrap();
        there.set(b"forever", b"".to_vec(), 0).await.unwrap();
        there.set(b"long", b"".to_vec(), u64::MAX).await.unwrap();
        there
            .compare_and_swap(b"s", None, b"a".to_vec(), 3_000_000)
            .await
            .unwrap();
        let pour = Pour {
            amount: 1000,
            leak: 1,
            capacity: 5000,
        };
        there.fill(b"b", pour).await.unwrap();
    });
    for (key, ttl) in [
        ("v", 1_000_000),
        ("n", 2_000_000),
        ("s", 3_000_000),
        ("b", 1_000_000),
    ] {
        let left = left(&format!("waypost:p:{key}"));
        assert!(left <= ttl && left > ttl - 100_000, "{key}: {left}");
    }
    assert_eq!(left("waypost:p:forever"), -1);
    assert!(left("waypost:p:long") > 1 << 50);
}

#[test]
fn plugins_and_prefixes_are_kept_apart() {
    let Some(redis) = redis(&[]) else { return };
    let url = format!(
        "url = \"unix:{}\"\ntimeout = \"{LONG}\"\nconnect_timeout = \"{LONG}\"",
        redis.socket().display()
    );
    let (one, other) = (store(&url), store(&format!("{url}\nprefix = \"other\"")));
    block_on(async {
        assert_eq!(part(&one, "a").add(b"k", 1, 0).await, Ok(1));
        assert_eq!(part(&one, "b").add(b"k", 1, 0).await, Ok(1));
        assert_eq!(part(&other, "a").add(b"k", 1, 0).await, Ok(1));
        assert_eq!(part(&store(&url), "a").add(b"k", 1, 0).await, Ok(2));
    });
}

#[test]
fn threads_that_ask_at_once_lose_no_addition_and_none_waits_for_another() {
    let Some(redis) = redis(&[]) else { return };
    let there = Arc::new(redis.store(LONG));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let there = there.clone();
            scope.spawn(move || {
                block_on(async {
                    let mut all = tokio::task::JoinSet::new();
                    for _ in 0..200 {
                        let there = there.clone();
                        all.spawn(async move { there.add(b"n", 1, 0).await });
                    }
                    while let Some(sum) = all.join_next().await {
                        sum.unwrap().unwrap();
                    }
                });
            });
        }
    });
    assert_eq!(block_on(there.add(b"n", 0, 0)), Ok(800));
}

#[test]
fn a_redis_that_dies_is_unavailable_at_once_and_serves_when_it_is_back() {
    let Some(mut redis) = redis(&[]) else { return };
    let there = redis.store(LONG);
    assert_eq!(block_on(there.add(b"n", 1, 0)), Ok(1));
    redis.dies();
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(
            block_on(there.add(b"n", 1, 0)),
            Err(StoreError::Unavailable)
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "nobody waits for its time to pass"
    );
    let figures = there.remote.figures();
    assert!(
        !figures.is_connected && figures.failed >= 100,
        "{figures:?}"
    );
    assert!(figures.error.is_some());
    redis.comes_back();
    eventually(|| block_on(there.add(b"n", 1, 0)).is_ok());
    assert!(there.remote.figures().is_connected);
}

#[test]
fn a_redis_that_hangs_costs_some_their_time_and_all_others_nothing() {
    let Some(redis) = redis(&[]) else { return };
    let there = redis.store("300ms");
    eventually(|| block_on(there.add(b"n", 1, 0)).is_ok());
    redis.signal(Signal::STOP);
    // Whoever has waited in vain is the last one: the thread hears of it a moment later.
    let mut waited = 0;
    while there.remote.figures().is_connected {
        assert_eq!(
            block_on(there.add(b"n", 1, 0)),
            Err(StoreError::Unavailable)
        );
        waited += 1;
        assert!(waited < 10, "the connection is kept");
    }
    // 100 of them would have waited for half a minute.
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(
            block_on(there.add(b"n", 1, 0)),
            Err(StoreError::Unavailable)
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    redis.signal(Signal::CONT);
    eventually(|| block_on(there.add(b"n", 1, 0)).is_ok());
}

#[test]
fn a_redis_that_is_full_refuses_what_is_new_and_answers_all_else() {
    let Some(redis) = redis(&["--maxmemory-policy", "noeviction"]) else {
        return;
    };
    let there = redis.store(LONG);
    block_on(async {
        assert_eq!(there.set(b"old", b"v".to_vec(), 0).await, Ok(()));
        assert!(redis.told("CONFIG SET maxmemory 1").contains("+OK"));
        let full = StoreError::Full;
        assert_eq!(there.set(b"new", b"v".to_vec(), 0).await, Err(full));
        assert_eq!(there.add(b"n", 1, 0).await, Err(full));
        let swap = there.compare_and_swap(b"s", None, b"v".to_vec(), 0).await;
        assert_eq!(swap, Err(full));
        let pour = Pour {
            amount: 1,
            leak: 1,
            capacity: 1,
        };
        assert_eq!(there.fill(b"b", pour).await, Err(full));
        assert_eq!(there.get(b"old").await, Ok(Some(b"v".to_vec())));
        assert_eq!(there.delete(b"old").await, Ok(true));
    });
    let figures = there.remote.figures();
    assert!(figures.is_connected);
    assert!(figures.error.unwrap().contains("maxmemory"));
}

#[test]
fn scripts_that_were_flushed_are_sent_again() {
    let Some(redis) = redis(&[]) else { return };
    let there = redis.store(LONG);
    assert_eq!(block_on(there.add(b"n", 1, 0)), Ok(1));
    redis.told("SCRIPT FLUSH");
    assert_eq!(block_on(there.add(b"n", 1, 0)), Ok(2));
    assert_eq!(block_on(there.add(b"n", 1, 0)), Ok(3));
    assert!(there.remote.figures().is_connected);
}

#[test]
fn a_user_and_a_password_are_those_of_the_url_and_are_in_no_message() {
    let Some(redis) = redis(&[
        "--requirepass",
        "s3cret",
        "--user",
        "me",
        "on",
        ">pass/word",
        "~waypost:*",
        "+get",
        "+set",
        "+del",
        "+eval",
        "+evalsha",
        "+script|load",
        "+exists",
        "+incrby",
        "+time",
    ]) else {
        return;
    };
    let socket = redis.socket();
    let as_whom = |query: &str| {
        let url = format!("unix:{}?{query}", socket.display());
        entries(&format!(
            "url = \"{url}\"\ntimeout = \"{LONG}\"\nconnect_timeout = \"{LONG}\""
        ))
    };
    for good in [
        "pass=s3cret",
        "user=me&pass=pass%2Fword",
        "db=3&pass=s3cret",
    ] {
        assert_eq!(
            block_on(as_whom(good).set(b"k", b"v".to_vec(), 0)),
            Ok(()),
            "{good}"
        );
    }
    // What `docs/store.md` lets a user of Waypost's do is enough.
    let there = as_whom("user=me&pass=pass%2Fword");
    let pour = Pour {
        amount: 1,
        leak: 1,
        capacity: 1,
    };
    block_on(async {
        assert_eq!(there.add(b"n", 1, 1000).await, Ok(1));
        assert_eq!(there.fill(b"b", pour).await, Ok(0));
        let swap = there.compare_and_swap(b"s", None, b"v".to_vec(), 0);
        assert_eq!(swap.await, Ok(true));
        assert_eq!(there.get(b"s").await, Ok(Some(b"v".to_vec())));
        assert_eq!(there.delete(b"s").await, Ok(true));
    });
    for bad in [
        "pass=wr0ng",
        "user=me&pass=s3cret",
        "db=999&pass=s3cret",
        "",
    ] {
        let there = as_whom(bad);
        let set = block_on(there.set(b"k", b"v".to_vec(), 0));
        assert_eq!(set, Err(StoreError::Unavailable), "{bad}");
        let shown = format!("{:?}", there.remote.figures());
        assert!(there.remote.figures().error.is_some(), "{shown}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("wr0ng"),
            "{shown}"
        );
    }
    let config = configured("url = \"redis://me:s3cret@10.0.0.1/0\"");
    assert!(!format!("{config:?}").contains("s3cret"));
}
