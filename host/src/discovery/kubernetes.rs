//! The endpoints of a service in Kubernetes: its EndpointSlices, listed once and then watched from
//! the version that was listed (Kubernetes: "API Concepts", "EndpointSlices"; `discovery.k8s.io/v1`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::client::{Asked, Client, Lines, small_file};
use super::reader::{Again, Answer, BREATH, Reader, Reading, encoded, with_port};
use crate::config::model::{NamedFile, SourceUrl};
use crate::config::problem::Place;

/// What the API server is asked to end a watch after.
const WATCH: Duration = Duration::from_secs(300);
/// Bytes of all slices of a service, as far as they are kept: more than a list can bring.
const MOST_KEPT: usize = 64 << 20;
/// After a watch that has ended at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(super) struct Kubernetes {
    client: Client,
    /// Where the API server is; found out when it is first needed.
    api: Option<SourceUrl>,
    namespace: Option<String>,
    service: String,
    port: Option<String>,
    slices: BTreeMap<String, Slice>,
    /// What was seen last; none where all is to be listed anew.
    version: Option<String>,
    watch: Option<Lines>,
    began: Instant,
}

impl Kubernetes {
    pub(super) fn new(
        client: Client,
        api: Option<SourceUrl>,
        namespace: Option<String>,
        service: &str,
        port: Option<String>,
    ) -> Kubernetes {
        Kubernetes {
            client,
            api,
            namespace,
            service: service.to_owned(),
            port,
            slices: BTreeMap::new(),
            version: None,
            watch: None,
            began: Instant::now(),
        }
    }

    async fn list_or_wait(&mut self) -> Result<Answer, String> {
        let (watch, version) = (self.watch.take(), self.version.take());
        match version {
            None => self.list().await,
            Some(version) => self.wait(watch, version).await,
        }
    }

    async fn list(&mut self) -> Result<Answer, String> {
        let path = self.path("").await?;
        let api = self.api.clone().ok_or_else(not_in_a_pod)?;
        let response = self.client.ask(&api, Asked::get(&path)).await?;
        if response.status == StatusCode::GONE {
            return Err("it answers 410".to_owned());
        }
        let list: SliceList = serde_json::from_value(response.json().await?).map_err(foreign)?;
        let slices = list.items.into_iter();
        self.slices = slices
            .map(|slice| (slice.metadata.name.clone(), slice))
            .collect();
        let version = list.metadata.resource_version;
        self.version = Some(version.ok_or_else(|| foreign("it has no `resourceVersion`"))?);
        self.answer()
    }

    /// Waits for a change behind a version.
    async fn wait(&mut self, watch: Option<Lines>, mut version: String) -> Result<Answer, String> {
        let mut watch = match watch {
            Some(watch) => watch,
            None => {
                self.began = Instant::now();
                match self.watch_from(&version).await? {
                    Some(watch) => watch,
                    None => return Ok(later()), // and listed anew
                }
            }
        };
        let patience = WATCH + self.client.timeout();
        while let Some(line) = watch.next(patience).await? {
            let event: WatchEvent = serde_json::from_value(line).map_err(foreign)?;
            let is_error = event.kind == "ERROR";
            if is_error && event.object.get("code") == Some(&json!(410)) {
                return Ok(later());
            }
            if is_error {
                let message = event.object.get("message").and_then(Json::as_str);
                let message = message.unwrap_or("without a reason");
                return Err(format!("its watch has failed: {message}"));
            }
            let slice: Slice = serde_json::from_value(event.object).map_err(foreign)?;
            if let Some(seen) = &slice.metadata.resource_version {
                version.clone_from(seen);
            }
            let name = slice.metadata.name.clone();
            match &*event.kind {
                "ADDED" | "MODIFIED" => {
                    self.slices.insert(name, slice);
                    check_size(&mut self.slices)?;
                }
                "DELETED" => drop(self.slices.remove(&name)),
                _ => continue, // a BOOKMARK is nothing but a version
            }
            self.watch = Some(watch);
            self.version = Some(version);
            return self.answer();
        }
        // It goes on from where it has ended.
        self.version = Some(version);
        let again = match self.began.elapsed() < PAUSE {
            true => Again::After(PAUSE),
            false => Again::Now,
        };
        Ok(Answer { items: None, again })
    }

    /// None where the version is too old.
    async fn watch_from(&mut self, version: &str) -> Result<Option<Lines>, String> {
        let watch = format!(
            "&watch=true&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
            WATCH.as_secs(),
            encoded(version)
        );
        let path = self.path(&watch).await?;
        let api = self.api.clone().ok_or_else(not_in_a_pod)?;
        let response = self.client.ask(&api, Asked::get(&path)).await?;
        Ok((response.status != StatusCode::GONE).then(|| response.lines()))
    }

    fn answer(&self) -> Result<Answer, String> {
        Ok(Answer {
            items: Some(endpoints(self.slices.values(), self.port.as_deref())?),
            again: Again::After(BREATH),
        })
    }

    async fn path(&mut self, more: &str) -> Result<String, String> {
        let file = |name: &str| NamedFile {
            path: Path::new(ACCOUNT).join(name),
            place: Place::default(),
        };
        if self.api.is_none() {
            self.api = Some(in_pod().ok_or_else(not_in_a_pod)?);
            self.client.in_pod(file("token"), file("ca.crt"));
        }
        if self.namespace.is_none() {
            let of_pod = small_file(&file("namespace").path).await;
            self.namespace = Some(of_pod.unwrap_or_else(|_| "default".to_owned()));
        }
        let base = self.api.as_ref().map_or("", |api| &api.path);
        let namespace = encoded(self.namespace.as_deref().unwrap_or_default());
        let selector = format!("kubernetes.io/service-name={}", self.service);
        Ok(format!(
            "{base}/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={}{more}",
            encoded(&selector)
        ))
    }
}

impl Reader for Kubernetes {
    fn next(&mut self) -> Reading<'_> {
        Box::pin(self.list_or_wait())
    }
}

/// A list has a bound of its own; what is watched could grow for ever.
///
/// # Errors
/// There is more than [`MOST_KEPT`]: all is dropped, to be listed anew.
fn check_size(slices: &mut BTreeMap<String, Slice>) -> Result<(), String> {
    let size: usize = slices.values().map(Slice::size).sum();
    if size <= MOST_KEPT {
        return Ok(());
    }
    slices.clear();
    let most = MOST_KEPT >> 20;
    Err(format!("its endpoint slices have more than {most} MiB"))
}

/// All is listed anew, in a moment.
fn later() -> Answer {
    Answer {
        items: None,
        again: Again::After(PAUSE),
    }
}

/// The API server of the cluster that this process runs in.
pub(super) fn in_pod() -> Option<SourceUrl> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").ok();
    Some(SourceUrl {
        tls: true,
        host,
        port: port.and_then(|port| port.parse().ok()).unwrap_or(443),
        path: String::new(),
    })
}

pub(super) fn not_in_a_pod() -> String {
    "there is no `KUBERNETES_SERVICE_HOST`: outside of a pod, say `api`".to_owned()
}

fn foreign(error: impl std::fmt::Display) -> String {
    format!("its answer is none of Kubernetes': {error}")
}

#[derive(Deserialize)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: String,
    object: Json,
}

#[derive(Deserialize)]
struct SliceList {
    metadata: Metadata,
    #[serde(default)]
    items: Vec<Slice>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    address_type: String,
    /// `null` is the same as none, here and below.
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Option<Conditions>,
    node_name: Option<String>,
    zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Port {
    name: Option<String>,
    port: Option<u64>,
    protocol: Option<String>,
}

impl Slice {
    /// What it takes in memory, about.
    fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let endpoints = self.endpoints.iter().flatten();
        let endpoints = endpoints.map(|endpoint| {
            let addresses = endpoint.addresses.iter();
            let addresses = addresses.map(|address| size_of::<String>() + address.len());
            size_of::<Endpoint>()
                + addresses.sum::<usize>()
                + text(&endpoint.node_name)
                + text(&endpoint.zone)
        });
        let ports = self.ports.iter().flatten();
        let ports = ports.map(|port| size_of::<Port>() + text(&port.name) + text(&port.protocol));
        // Its name is the key as well.
        size_of::<Slice>()
            + 2 * self.metadata.name.len()
            + text(&self.metadata.resource_version)
            + self.address_type.len()
            + endpoints.sum::<usize>()
            + ports.sum::<usize>()
    }
}

/// The endpoints of slices as items of a list, in the order of their addresses. Those that are
/// ready; where none is, those that still serve while they terminate, as kube-proxy has it.
fn endpoints<'a>(
    slices: impl Iterator<Item = &'a Slice> + Clone,
    port: Option<&str>,
) -> Result<Vec<Json>, String> {
    // A service of both families has slices for each, with the same pods.
    let has_ipv4 = slices.clone().any(|slice| slice.address_type == "IPv4");
    let (mut ready, mut serving) = (BTreeMap::new(), BTreeMap::new());
    for slice in slices {
        let of_slice = slice.endpoints.as_deref().unwrap_or_default();
        if of_slice.is_empty() || (has_ipv4 && slice.address_type == "IPv6") {
            continue;
        }
        let port = port_of(slice.ports.as_deref().unwrap_or_default(), port)?;
        for endpoint in of_slice {
            let none = Conditions::default();
            let conditions = endpoint.conditions.as_ref().unwrap_or(&none);
            let terminating = conditions.terminating.unwrap_or(false);
            let is_ready = conditions.ready.unwrap_or(true) && !terminating;
            let list = match is_ready {
                true => &mut ready,
                false if terminating && conditions.serving.unwrap_or(false) => &mut serving,
                false => continue,
            };
            // All of them are one pod: clients are to use the first one.
            let Some(address) = endpoint.addresses.first() else {
                continue;
            };
            let address = with_port(address, port);
            let labels = [("zone", &endpoint.zone), ("node", &endpoint.node_name)];
            let labels = labels.into_iter().filter_map(|(name, value)| {
                let value = value.as_ref().filter(|value| !value.is_empty())?;
                Some((name.to_owned(), json!(value)))
            });
            let labels: Map<String, Json> = labels.collect();
            let item = json!({ "address": address, "labels": labels });
            list.insert(address, item); // one pod may be in two slices for a moment
        }
    }
    let list = match ready.is_empty() {
        true => serving,
        false => ready,
    };
    Ok(list.into_values().collect())
}

/// The items of a list of slices, for the fuzzer.
#[cfg(any(fuzzing, test))]
pub(super) fn items(answer: Json) -> Result<Vec<Json>, String> {
    let list: SliceList = serde_json::from_value(answer).map_err(foreign)?;
    endpoints(list.items.iter(), None)
}

/// The port of a slice, by name or number.
fn port_of(ports: &[Port], wanted: Option<&str>) -> Result<u64, String> {
    let of_tcp = ports.iter().filter(|port| {
        let protocol = port.protocol.as_deref();
        port.port.is_some() && protocol.is_none_or(|protocol| protocol == "TCP")
    });
    let of_tcp: Vec<&Port> = of_tcp.collect();
    let names = || {
        let names = of_tcp.iter().map(|port| match &port.name {
            Some(name) if !name.is_empty() => format!("`{name}`"),
            _ => port.port.unwrap_or_default().to_string(),
        });
        match names.collect::<Vec<_>>() {
            none if none.is_empty() => "it has none".to_owned(),
            names => format!("it has {}", names.join(", ")),
        }
    };
    let found = match (wanted, &of_tcp[..]) {
        (None, [only]) => only.port,
        (None, _) => return Err(format!("say which `port`: {}", names())),
        (Some(wanted), all) => {
            let is_wanted = |port: &&&Port| {
                let number = port.port.map(|port| port.to_string());
                port.name.as_deref() == Some(wanted) || number.as_deref() == Some(wanted)
            };
            all.iter().find(is_wanted).and_then(|port| port.port)
        }
    };
    found.ok_or_else(|| format!("no port `{}`: {}", wanted.unwrap_or_default(), names()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn slice(kind: &str, endpoints: Json, ports: Json) -> Slice {
        let slice = json!({ "metadata": { "name": "web-x", "resourceVersion": "7" }, "addressType": kind,
                            "endpoints": endpoints, "ports": ports });
        serde_json::from_value(slice).unwrap()
    }

    fn addresses(slices: &[Slice], port: Option<&str>) -> Result<Vec<String>, String> {
        let items = endpoints(slices.iter(), port)?;
        let address = |item: &Json| item["address"].as_str().unwrap().to_owned();
        Ok(items.iter().map(address).collect())
    }

    #[test]
    fn what_is_kept_of_slices_has_a_bound() {
        let mut slices = BTreeMap::new();
        let long = "x".repeat(8 << 20);
        let refused = (0..20).find_map(|number| {
            let zone = json!([{ "addresses": ["10.0.0.1"], "zone": long }]);
            slices.insert(number.to_string(), slice("IPv4", zone, http()));
            check_size(&mut slices).err().map(|why| (number, why))
        });
        let expected = "its endpoint slices have more than 64 MiB".to_owned();
        assert_eq!(refused, Some((7, expected)));
        assert!(slices.is_empty());
    }

    fn http() -> Json {
        json!([{ "name": "http", "port": 8080, "protocol": "TCP" }])
    }

    #[test]
    fn endpoints_are_ready_unless_they_say_otherwise_and_have_their_zone() {
        let slices = [slice(
            "IPv4",
            json!([
                { "addresses": ["10.0.0.3", "10.9.9.9"], "zone": "b", "nodeName": "n1" },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": null } },
                { "addresses": ["10.0.0.1"], "conditions": { "ready": false } },
                { "addresses": ["10.0.0.4"], "conditions": { "ready": true, "terminating": true } },
            ]),
            http(),
        )];
        let items = endpoints(slices.iter(), None).unwrap();
        let labels = json!({ "zone": "b", "node": "n1" });
        assert_eq!(
            items,
            [
                json!({ "address": "10.0.0.2:8080", "labels": {} }),
                json!({ "address": "10.0.0.3:8080", "labels": labels }),
            ]
        );
    }

    #[test]
    fn those_that_terminate_serve_while_nobody_else_is_ready() {
        let terminating = json!({ "ready": false, "serving": true, "terminating": true });
        let gone = json!({ "ready": false, "serving": false, "terminating": true });
        let mut list = vec![
            json!({ "addresses": ["10.0.0.1"], "conditions": terminating }),
            json!({ "addresses": ["10.0.0.2"], "conditions": gone }),
        ];
        let of = |list: &Vec<Json>| {
            let slices = [slice("IPv4", json!(list), http())];
            addresses(&slices, None).unwrap()
        };
        assert_eq!(of(&list), ["10.0.0.1:8080"]);
        list.push(json!({ "addresses": ["10.0.0.3"] }));
        assert_eq!(of(&list), ["10.0.0.3:8080"]);
    }

    #[test]
    fn a_pod_in_two_slices_or_with_two_families_counts_once() {
        let ready = |address: &str| json!([{ "addresses": [address] }]);
        let slices = [
            slice("IPv4", ready("10.0.0.1"), http()),
            slice("IPv4", ready("10.0.0.1"), http()),
            slice("IPv6", ready("fd00::1"), http()),
        ];
        assert_eq!(addresses(&slices, None).unwrap(), ["10.0.0.1:8080"]);
        assert_eq!(addresses(&slices[2..], None).unwrap(), ["[fd00::1]:8080"]);
    }

    #[test]
    fn a_port_is_chosen_by_name_or_number() {
        let ports = json!([{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9090, "protocol": "TCP" },
                           { "name": "dns", "port": 53, "protocol": "UDP" }]);
        let slices = [slice("IPv4", json!([{ "addresses": ["10.0.0.1"] }]), ports)];
        for port in ["metrics", "9090"] {
            assert_eq!(addresses(&slices, Some(port)).unwrap(), ["10.0.0.1:9090"]);
        }
        let why = addresses(&slices, None).unwrap_err();
        assert_eq!(why, "say which `port`: it has `http`, `metrics`");
        let why = addresses(&slices, Some("dns")).unwrap_err();
        assert_eq!(why, "no port `dns`: it has `http`, `metrics`");
        let none = [slice("IPv4", json!(null), json!(null))];
        assert!(addresses(&none, None).unwrap().is_empty());
    }
}
