//! What a site does besides passing requests on: files, compression, many routes, variables. Each
//! in the words of Waypost and of nginx.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const HOSTS: usize = 200;
const ROUTES_PER_HOST: usize = 10;

/// A site; [`Site::Proxy`] is the bare proxy that the others are measured against.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Site {
    /// One route to the origins.
    Proxy,
    /// Files of a directory. nginx's `open_file_cache` is off by default.
    Files { open_file_cache: bool },
    /// JSON compressed by gzip, at a level of 1 to 9.
    Gzip { level: u8 },
    /// 200 hosts with 10 routes each, asked for in turn.
    Routes,
    /// Ten variables in request headers, one of them a map.
    Variables,
}

/// What nginx is told.
pub(crate) struct Nginx {
    /// Stands in `http`.
    pub(crate) declared: String,
    /// Stands in `location /` of the default server.
    pub(crate) default: String,
    /// Servers besides the default one.
    pub(crate) servers: String,
}

/// What requests are made of in [`Site::Variables`]: a header, and a variable of nginx's, or the
/// map.
const VARIABLES: [(&str, &str); 10] = [
    ("X-Client", "$remote_addr"),
    ("X-Scheme", "$scheme"),
    ("X-Name", "$host"),
    ("X-Port", "$server_port"),
    ("X-Method", "$request_method"),
    ("X-Uri", "$request_uri"),
    ("X-Path", "$uri"),
    ("X-Query", "$args"),
    ("X-Agent", "$http_user_agent"),
    ("X-Plan", "$plan"),
];
/// The map: the plan of a tenant.
const PLANS: [(&str, &str); 8] = [
    ("acme", "gold"),
    ("blue", "silver"),
    ("cedar", "free"),
    ("delta", "free"),
    ("ember", "gold"),
    ("frost", "silver"),
    ("grove", "free"),
    ("haven", "gold"),
];

impl Site {
    /// The routes, behind what they need; `used` stands in each of them.
    pub(crate) fn waypost(self, folder: &Path, used: &str) -> String {
        let www = folder.join("www");
        let www = www.display();
        match self {
            Site::Proxy => format!("[[route]]\n{used}proxy = \"backend\"\n"),
            Site::Files { .. } => format!("[[route]]\n{used}files = \"{www}\"\n"),
            Site::Gzip { level } => format!(
                "[[route]]\n{used}proxy = \"backend\"\n\
                 compression = {{ codings = [\"gzip\"], types = [\"application/json\"], gzip_level = {level} }}\n"
            ),
            Site::Routes => {
                let mut routes = Site::Proxy.waypost(folder, used);
                for (host, path) in all_routes() {
                    let _ = write!(
                        routes,
                        "[[route]]\nhost = \"{host}\"\npath = \"{path}\"\n{used}proxy = \"backend\"\n"
                    );
                }
                routes
            }
            Site::Variables => {
                let plans = PLANS
                    .map(|(tenant, plan)| format!("{tenant} = \"{plan}\""))
                    .join(", ");
                let set = VARIABLES
                    .map(|(header, value)| format!("{header} = \"{value}\""))
                    .join(", ");
                format!(
                    "[variable.plan]\nfrom = \"$http_x_tenant\"\nmap = {{ {plans} }}\ndefault = \"none\"\n\
                     [[route]]\n{used}proxy = \"backend\"\nrequest_headers = {{ set = {{ {set} }} }}\n"
                )
            }
        }
    }

    /// `pass` is what passes a request on.
    pub(crate) fn nginx(self, folder: &Path, port: u16, pass: &str) -> Nginx {
        let www = folder.join("www");
        let www = www.display();
        let mut site = Nginx {
            declared: String::new(),
            default: pass.to_owned(),
            servers: String::new(),
        };
        match self {
            Site::Proxy => {}
            Site::Files { open_file_cache } => {
                let cache = if open_file_cache {
                    "open_file_cache max=1000;"
                } else {
                    ""
                };
                site.default = format!("root {www}; sendfile on; tcp_nopush on; {cache}");
            }
            Site::Gzip { level } => {
                let gzip = format!(
                    "gzip on; gzip_types application/json; gzip_comp_level {level}; gzip_vary on;"
                );
                site.default.insert_str(0, &gzip);
            }
            Site::Routes => {
                // The default of 512 is too little, and it says so when it starts.
                site.declared.push_str("server_names_hash_max_size 4096;");
                let routes: Vec<(String, String)> = all_routes().collect();
                for host in routes.chunks(ROUTES_PER_HOST) {
                    let _ = write!(
                        site.servers,
                        "server {{ listen 127.0.0.1:{port}; server_name {};",
                        host[0].0
                    );
                    for (_, path) in host {
                        let _ = write!(site.servers, "location {path} {{ {pass} }}");
                    }
                    site.servers.push_str("}\n");
                }
            }
            Site::Variables => {
                let plans = PLANS.map(|(tenant, plan)| format!("{tenant} {plan};"));
                site.declared = format!(
                    "map $http_x_tenant $plan {{ default none; {} }}",
                    plans.concat()
                );
                for (header, value) in VARIABLES {
                    let _ = write!(site.default, "proxy_set_header {header} {value};");
                }
            }
        }
        site
    }

    /// Headers of each request.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            Site::Gzip { .. } => &["Accept-Encoding: gzip, deflate, br"],
            Site::Variables => &["User-Agent: bench", "X-Tenant: ember"],
            Site::Proxy | Site::Files { .. } | Site::Routes => &[],
        }
    }

    /// wrk's script, where requests differ.
    pub(crate) fn script(self) -> Option<String> {
        if self != Site::Routes {
            return None;
        }
        let mut requests = String::new();
        for (host, path) in all_routes() {
            let path = path.trim_start_matches("= ");
            let file = if path.ends_with('/') { "small" } else { "" };
            let _ = writeln!(
                requests,
                "requests[#requests + 1] = wrk.format('GET', '{path}{file}', {{ Host = '{host}' }})"
            );
        }
        Some(format!(
            "local n, requests = 0, {{}}
            init = function()\n{requests}end
            request = function() n = n % #requests + 1 return requests[n] end"
        ))
    }
}

/// Host and path of each: nine prefixes, one of them `/`, and an exact path.
fn all_routes() -> impl Iterator<Item = (String, String)> {
    (0..HOSTS).flat_map(|host| {
        (0..ROUTES_PER_HOST).map(move |path| {
            let path = match path {
                0 => "/".to_owned(),
                1 => "= /part1/small".to_owned(),
                _ => format!("/part{path}/"),
            };
            (format!("site{host}.bench.example"), path)
        })
    })
}

/// The files that these sites need besides `small`, into the origins' root.
pub(crate) fn write_files(www: &Path) {
    for part in 1..ROUTES_PER_HOST {
        let folder = www.join(format!("part{part}"));
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::write(folder.join("small"), [b'x'; 100]).expect("a file can be written");
    }
    fs::write(www.join("list.json"), json()).expect("a file can be written");
}

/// A little more than 20 KiB of JSON as an API answers with: records with identifiers, names, numbers and times. The
/// same in each run.
fn json() -> String {
    const WORDS: [&str; 12] = [
        "river", "paper", "orange", "copper", "winter", "garden", "silver", "market", "bridge",
        "yellow", "forest", "engine",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = String::from("[");
    while text.len() < 20 * 1024 {
        let (id, price) = (random.u64(..), random.u32(..100_000));
        let [first, second, tag] = [0; 3].map(|_: i32| WORDS[random.usize(..WORDS.len())]);
        let (hour, minute) = (random.u32(..24), random.u32(..60));
        let _ = write!(
            text,
            r#"{{"id":"{id:016x}","name":"{first} {second}","tags":["{tag}"],"price":{price},"active":{},"updated_at":"2026-11-29T{hour:02}:{minute:02}:00Z"}},"#,
            random.bool(),
        );
    }
    text.pop(); // the last comma
    text.push(']');
    text
}
