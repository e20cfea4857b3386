//! The origins and the proxies, each with its configuration.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::calls::{Servers, message};
use crate::load::Load;
use crate::program::{Program, free_port};
use crate::report::Round;
use crate::scenario::{Back, Front, Hooks, NO_HOOKS, Opponent, Scenario, TINY};
use crate::site::{self, Site};
use crate::{LOAD_CORE, PROXY_CORE, opponents, silent};

/// Kernel clock ticks per second in `/proc/PID/stat`: 100 on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

/// A folder of our own, gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The origins, and where everything is kept. Fields drop in order: programs end before their
/// folder goes.
pub(crate) struct Bench {
    _origin: Program,
    ports: [u16; 3],
    /// Of the same origins, where they speak HTTP/2.
    http2_ports: [u16; 3],
    calls: Servers,
    /// Started where a scenario needs it.
    silent: OnceCell<u16>,
    folder: Folder,
    waypost: PathBuf,
    /// The component `bench_hook`; none where a scenario has not needed it yet.
    component: OnceCell<String>,
    /// Another build of Waypost, which takes the place of every other proxy.
    against: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn new(against: Option<PathBuf>) -> Bench {
        let path = std::env::temp_dir().join(format!("waypost-bench-{}", std::process::id()));
        fs::create_dir_all(path.join("www")).expect("a temporary folder can be made");
        let folder = Folder(path);
        let waypost = std::env::var_os("WAYPOST_BIN")
            .map_or_else(|| "target/release/waypost".into(), PathBuf::from);
        assert!(
            waypost.exists(),
            "{} is missing: cargo build --release",
            waypost.display()
        );
        let sizes = [
            ("small", 100),
            ("1k", 1024),
            ("10k", 10 * 1024),
            ("1m", 1024 * 1024),
        ];
        for (name, size) in sizes {
            fs::write(folder.0.join("www").join(name), vec![b'x'; size])
                .expect("a file can be written");
        }
        fs::write(folder.0.join("www").join("message"), message()).expect("a file can be written");
        site::write_files(&folder.0.join("www"));
        let made = rcgen::generate_simple_self_signed(["bench.example".to_owned()]);
        let made = made.expect("a certificate can be made");
        write(&folder.0, "cert.pem", &made.cert.pem());
        write(&folder.0, "key.pem", &made.signing_key.serialize_pem());
        let ports = [free_port(), free_port(), free_port()];
        let http2_ports = [free_port(), free_port(), free_port()];
        let listen = |ports: [u16; 3], how: &str| -> String {
            ports
                .map(|port| format!("listen 127.0.0.1:{port}{how}; "))
                .concat()
        };
        let (listen, http2_listen) = (listen(ports, ""), listen(http2_ports, " http2"));
        let www = folder.0.join("www");
        let www = www.display();
        let config = nginx_config(
            &folder.0,
            "origin",
            "",
            8192,
            &format!(
                "access_log off; sendfile on; tcp_nopush on; open_file_cache max=32;
                types {{ application/json json; }} default_type text/plain;
                server {{ {listen} root {www}; }}
                server {{
                    {http2_listen} root {www};
                    # Corks and sendfile hold back what comes behind a header for 40 ms.
                    sendfile off; tcp_nopush off;
                }}",
            ),
        );
        let origin = Program::start(
            "origin",
            LOAD_CORE,
            &["nginx", "-c", &config],
            [ports[0]; 2],
            true,
        )
        .expect("nginx is installed: it is the origin");
        Bench {
            _origin: origin,
            ports,
            http2_ports,
            calls: Servers::start(),
            silent: OnceCell::new(),
            folder,
            waypost,
            component: OnceCell::new(),
            against,
        }
    }

    /// What a scenario declares for its hooks.
    fn declared(&self, hooks: &Hooks) -> String {
        if !hooks.declared.contains("COMPONENT") {
            return hooks.declared.to_owned();
        }
        let built = || {
            let file = waypost_tests::plugin("bench_hook", "wasm32-unknown-unknown");
            file.display().to_string()
        };
        let component = self.component.get_or_init(built);
        hooks.declared.replace("COMPONENT", component)
    }

    pub(crate) fn start_waypost(&self, scenario: &Scenario) -> Program {
        self.start_binary("waypost", &self.waypost, scenario)
    }

    fn start_binary(&self, name: &'static str, binary: &Path, scenario: &Scenario) -> Program {
        let [port, probe] = ports(scenario);
        let servers: Vec<String> = self
            .origins(scenario)
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect();
        let folder = self.folder.0.display();
        let log = if scenario.access_log {
            format!("\"{folder}/{name}.log\"")
        } else {
            "false".into()
        };
        let tls = if scenario.front.has_tls() {
            format!(
                "tls = {{ certificate = \"{folder}/cert.pem\", key = \"{folder}/key.pem\", min_version = \"1.3\" }}\n"
            )
        } else {
            String::new()
        };
        let second = if probe == port {
            String::new()
        } else {
            format!("[[listen]]\naddress = \"127.0.0.1:{probe}\"\n")
        };
        let http2 = matches!(scenario.back, Back::Http2 | Back::Calls);
        let kept = scenario.idle_connections();
        let declared = self.declared(&scenario.hooks);
        let used = match scenario.hooks.used {
            "" => String::new(),
            used => format!("hooks = {used}\n"),
        };
        let site = scenario.site.waypost(&self.folder.0, &used);
        let config = format!(
            "[server]\nworkers = 1\naccess_log = {log}\nkeepalive_requests = 1000000000\n\
             error_log = \"{folder}/{name}-error.log\"\n\
             [[listen]]\naddress = \"127.0.0.1:{port}\"\n{tls}\
             {second}\
             [upstream.backend]\npolicy = {}\nkeepalive = {kept}\nkeepalive_requests = 1000000000\nservers = [{}]\nhttp2 = {http2}\n\
             {declared}\
             {site}\
             [[route]]\npath = \"= {TINY}\"\nreturn = {{ status = 200, body = \"tiny\" }}\n",
            scenario.policy,
            servers.join(", "),
        );
        let file = self.write(&format!("{name}.toml"), &config);
        let binary = binary.to_string_lossy();
        Program::start(
            name,
            PROXY_CORE,
            &[&binary, "run", "-c", &file],
            [port, probe],
            false,
        )
        .expect("Waypost starts")
    }

    /// `None` where the program or its module is not installed.
    pub(crate) fn start_opponent(&self, scenario: &Scenario) -> Option<Program> {
        if let Some(binary) = &self.against {
            return Some(self.start_binary("other build", binary, scenario));
        }
        if scenario.opponent == Opponent::Without {
            let name = scenario.opponent.name();
            let (hooks, site) = (NO_HOOKS, Site::Proxy);
            let without = Scenario {
                hooks,
                site,
                ..*scenario
            };
            return Some(self.start_binary(name, &self.waypost, &without));
        }
        let ports = ports(scenario);
        let origins = self.origins(scenario);
        let command = opponents::command(scenario, &self.folder.0, origins, ports);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let has_worker = matches!(scenario.opponent, Opponent::Nginx | Opponent::NginxLua);
        let name = scenario.opponent.name();
        Program::start(name, PROXY_CORE, &command, ports, has_worker)
    }

    /// Where its temporary files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    fn origins(&self, scenario: &Scenario) -> [u16; 3] {
        match scenario.back {
            Back::Http1 => self.ports,
            Back::Http2 => self.http2_ports,
            Back::Calls => self.calls.ports,
            Back::Silent => [*self.silent.get_or_init(silent::start); 3],
        }
    }

    fn write(&self, name: &str, text: &str) -> String {
        write(&self.folder.0, name, text)
    }

    /// Loads all of them at the same time, the last one first where `swapped`.
    pub(crate) fn measure<const N: usize>(
        &self,
        proxies: [&Program; N],
        scenario: &Scenario,
        seconds: u32,
        swapped: bool,
    ) -> [Round; N] {
        let load = |proxy: &Program| Load::prepare(&self.folder.0, proxy.port, scenario, seconds);
        let mut loads = proxies.map(load);
        let begun = Instant::now();
        let before = proxies.map(Program::ticks);
        let mut order: Vec<&mut Load> = loads.iter_mut().collect();
        if swapped {
            order.reverse();
        }
        order.into_iter().for_each(Load::begin);
        let seen = loads.each_mut().map(|load| load.finish(seconds));
        let elapsed = begun.elapsed().as_secs_f64();
        let after = proxies.map(Program::ticks);
        let used = |side: usize| {
            [0, 1].map(|kind| (after[side][kind] - before[side][kind]) as f64 / TICKS)
        };
        let busy = (0..N).flat_map(used).sum::<f64>() / elapsed;
        let rss = proxies.map(Program::rss);
        let mut at = 0;
        seen.map(|seen| {
            let [user, system] = used(at);
            let round = Round {
                seen,
                user,
                system,
                rss: rss[at],
                first: at == if swapped { N - 1 } else { 0 },
                busy,
            };
            at += 1;
            round
        })
    }
}

/// How many files a process may have open. The programs that this one starts get as many as it may
/// have at all: the bound is low by default, for those that use `select`.
pub(crate) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let all = setrlimit(Resource::Nofile, raised).map(|()| limit.maximum);
    all.unwrap_or(limit.current).unwrap_or(u64::MAX)
}

/// Where a proxy is loaded, and where it speaks HTTP/1.1 without TLS.
fn ports(scenario: &Scenario) -> [u16; 2] {
    let port = free_port();
    match scenario.front {
        Front::Http1 => [port; 2],
        Front::Tls | Front::TlsHttp2 | Front::Http2 => [port, free_port()],
    }
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).expect("a configuration can be written");
    file.to_string_lossy().into_owned()
}

/// What origin and opponent have in common, around `http`. `connections`: of all kinds, at most.
pub(crate) fn nginx_config(
    folder: &Path,
    name: &str,
    modules: &str,
    connections: u32,
    http: &str,
) -> String {
    let root = if fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
    {
        "user root;" // the folder is readable for its owner alone
    } else {
        ""
    };
    let path = folder.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {path}/{kind}; "))
        .collect();
    let text = format!(
        "{modules} {root} daemon off; worker_processes 1; pid {path}/{name}.pid; error_log {path}/{name}-error.log;
        events {{ worker_connections {connections}; }}
        http {{ {temp} keepalive_requests 1000000000; {http} }}"
    );
    write(folder, &format!("{name}.conf"), &text)
}
