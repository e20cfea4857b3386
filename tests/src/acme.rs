//! An authority that issues certificates by ACME (RFC 8555) as a spec wants it to: at once, late,
//! never, with nonsense. It believes what it is sent (no signature is verified) and looks at HTTP-01
//! where it is told to; it has renewal information (RFC 9773), which pebble has not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tls::Authority;
use crate::{Answer, Gate, Origin, Request, eventually, origin};

/// A directory of ACME. Dropping it ends it.
pub struct Directory {
    origin: Origin,
    /// Of the directory's own certificate, and of those that it issues.
    pub authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
    files: TempDir,
}

/// What it does.
#[derive(Clone)]
pub enum Mode {
    Issues,
    /// Every new order is answered with this status, these fields and this problem document.
    Refuses(u16, &'static [(&'static str, &'static str)], Value),
    /// Everything is answered with a page.
    Babbles,
    /// Nothing is answered until the gate opens.
    Waits(Gate),
    /// Issues, but a new order is answered once the gate opens.
    Holds(Gate),
}

struct State {
    mode: Mode,
    orders: Vec<Order>,
    /// How many questions there were, of any kind.
    questions: usize,
    /// Where tokens are looked for; the domain is not resolved.
    looks_at: Option<String>,
    /// Of what it suggests for every certificate, as RFC 3339 has it.
    window: Option<(&'static str, &'static str)>,
}

/// An order, as far as it has come.
#[derive(Debug, Clone, Default)]
pub struct Order {
    pub domain: String,
    /// What it is to replace.
    pub replaces: Option<String>,
    ready: bool,
    certificate: Option<String>,
}

impl Directory {
    pub async fn start() -> Directory {
        let authority = Arc::new(Authority::new("Directory"));
        let own = authority.certificate(&["127.0.0.1"]);
        let state = Arc::new(Mutex::new(State {
            mode: Mode::Issues,
            orders: Vec::new(),
            questions: 0,
            looks_at: None,
            window: None,
        }));
        let (issuer, known) = (authority.clone(), state.clone());
        let origin = origin::answers_with(own.server(), move |request| {
            answer(&mut known.lock().unwrap(), &issuer, request)
        });
        Directory {
            origin: origin.await,
            state,
            files: authority_file(&authority.pem()),
            authority,
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://{}/directory", self.origin.address())
    }

    /// What `acme` has to say of it.
    pub fn settings(&self) -> String {
        settings(&self.url(), &self.files)
    }

    /// The folder of the store that it is given.
    pub fn folder(&self) -> String {
        format!("{}-directory", self.origin.address().replace(':', "-"))
    }

    pub fn does(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// Has it look for tokens at this address.
    pub fn looks_at(&self, address: &str) {
        self.state.lock().unwrap().looks_at = Some(address.to_owned());
    }

    pub fn suggests(&self, start: &'static str, end: &'static str) {
        self.state.lock().unwrap().window = Some((start, end));
    }

    pub fn orders(&self) -> Vec<Order> {
        self.state.lock().unwrap().orders.clone()
    }

    /// Waits until it has had so many orders.
    pub async fn has_orders(&self, number: usize) {
        eventually("orders", async || self.orders().len() >= number).await;
    }

    pub fn questions(&self) -> usize {
        self.state.lock().unwrap().questions
    }
}

/// A directory with an authority's certificate.
pub(crate) fn authority_file(pem: &str) -> TempDir {
    let files = TempDir::new().expect("there is room for a directory");
    std::fs::write(files.path().join("ca.pem"), pem).expect("the directory is ours");
    files
}

/// What `acme` has to say of a directory whose authority is in such files.
pub(crate) fn settings(directory: &str, files: &TempDir) -> String {
    let ca = files.path().join("ca.pem");
    let ca = ca.display();
    format!("directory = \"{directory}\", trusted_certificate = \"{ca}\"")
}

fn answer(state: &mut State, issuer: &Authority, request: &Request) -> Answer {
    state.questions += 1;
    match &state.mode {
        Mode::Babbles => {
            return Answer::status(200, "<html>\u{1b}[2Jmaintenance").header("X-Is", "no-acme");
        }
        Mode::Waits(gate) => {
            return Answer::status(503, "later").when(gate).then_close();
        }
        Mode::Issues | Mode::Refuses(..) | Mode::Holds(_) => {}
    }
    let base = format!("https://{}", request.header("Host"));
    let (kind, number) = match request.target[1..].split_once('/') {
        Some((kind, number)) => (kind, number.parse().unwrap_or(0)),
        None => (&request.target[1..], 0),
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let payload = body["payload"].as_str().unwrap_or_default();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
    let (status, place, json) = match kind {
        "directory" => {
            let mut directory = json!({"newNonce": format!("{base}/nonce"),
                "newAccount": format!("{base}/account"), "newOrder": format!("{base}/new")});
            if state.window.is_some() {
                directory["renewalInfo"] = format!("{base}/renewal").into();
            }
            (200, String::new(), directory)
        }
        "nonce" => {
            let head = "HTTP/1.1 200 OK\r\nReplay-Nonce: one\r\nContent-Length: 0\r\n\r\n";
            return Answer::raw(head);
        }
        "account" => (201, format!("{base}/account/1"), json!({"status": "valid"})),
        "renewal" => {
            let (start, end) = state.window.unwrap();
            let window = json!({"suggestedWindow": {"start": start, "end": end}});
            return json_answer(200, &window).header("Retry-After", "3600");
        }
        "new" => {
            if let Mode::Refuses(status, fields, problem) = &state.mode {
                let answer = json_answer(*status, problem).header("Replay-Nonce", "two");
                let fields = fields.iter();
                return fields.fold(answer, |answer, (name, value)| answer.header(name, value));
            }
            let text = |value: &Value| value.as_str().map(str::to_owned);
            state.orders.push(Order {
                domain: text(&payload["identifiers"][0]["value"]).unwrap(),
                replaces: text(&payload["replaces"]),
                ..Order::default()
            });
            let number = state.orders.len() - 1;
            (
                201,
                format!("{base}/order/{number}"),
                order(state, &base, number),
            )
        }
        "order" => (200, String::new(), order(state, &base, number)),
        "authz" => {
            let challenge = json!({"type": "http-01", "url": format!("{base}/chall/{number}"),
                "token": token(number), "status": "pending"});
            let identifier = json!({"type": "dns", "value": state.orders[number].domain});
            let authorization = json!({"identifier": identifier, "status": "pending",
                "challenges": [challenge]});
            (200, String::new(), authorization)
        }
        "chall" => {
            let found = state.looks_at.as_ref().map(|address| look(address, number));
            state.orders[number].ready = found.unwrap_or(true);
            let challenge = json!({"type": "http-01", "url": format!("{base}/chall/{number}"),
                "token": token(number), "status": "processing"});
            (200, String::new(), challenge)
        }
        "finalize" => {
            let csr = payload["csr"].as_str().unwrap_or_default();
            let csr = BASE64_URL_SAFE_NO_PAD.decode(csr).unwrap();
            let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
            let order = &mut state.orders[number];
            let good = (now - day / 24, now + 90 * day);
            order.certificate = Some(issuer.issue(&csr, &order.domain, good));
            (200, String::new(), self::order(state, &base, number))
        }
        "cert" => {
            let chain = state.orders[number].certificate.clone().unwrap();
            return Answer::ok(chain).header("Replay-Nonce", "three");
        }
        other => panic!("no `{other}` in ACME"),
    };
    let mut answer = json_answer(status, &json).header("Replay-Nonce", "four");
    if let (Mode::Holds(gate), "new") = (&state.mode, kind) {
        answer = answer.when(gate);
    }
    match place.is_empty() {
        true => answer,
        false => answer.header("Location", &place),
    }
}

fn json_answer(status: u16, json: &Value) -> Answer {
    Answer::status(status, json.to_string()).header("Content-Type", "application/json")
}

fn order(state: &State, base: &str, number: usize) -> Value {
    let Order {
        replaces,
        ready,
        certificate,
        ..
    } = &state.orders[number];
    let status = match (certificate, ready) {
        (Some(_), _) => "valid",
        (None, true) => "ready",
        (None, false) => "pending",
    };
    let mut order = json!({"status": status, "finalize": format!("{base}/finalize/{number}"),
        "authorizations": [format!("{base}/authz/{number}")]});
    if certificate.is_some() {
        order["certificate"] = format!("{base}/cert/{number}").into();
    }
    if let Some(replaces) = replaces {
        order["replaces"] = replaces.as_str().into();
    }
    order
}

/// Of an order; as long as tokens have to be.
fn token(number: usize) -> String {
    format!("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-{number:04}")
}

/// Whether a token is answered with what begins with it.
fn look(address: &str, number: usize) -> bool {
    let token = token(number);
    let mut stream = TcpStream::connect(address).expect("somebody listens there");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a timeout");
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("\r\n\r\n{token}."))
}
