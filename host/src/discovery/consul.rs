//! The instances of a service in Consul, by its blocking queries: an answer is held back until it
//! is another one (Consul's HTTP API: "Blocking Queries", "Health: List Service Instances").

use std::time::{Duration, Instant};

use hyper::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::client::{Asked, Client, Token};
use super::reader::{Again, Answer, BREATH, Reader, Reading, encoded, with_port};
use crate::config::model::SourceUrl;

/// How long an answer may be held back. Consul adds a sixteenth of it at most.
const WAIT: Duration = Duration::from_secs(60);
/// After an answer that was not held back although nothing has changed.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Consul {
    client: Client,
    url: SourceUrl,
    path: String,
    passing: bool,
    index: u64,
}

impl Consul {
    pub(super) fn new(
        client: Client,
        url: SourceUrl,
        service: &str,
        tag: Option<&str>,
        passing: bool,
        datacenter: Option<&str>,
    ) -> Consul {
        let mut path = format!("{}/v1/health/service/{}?", url.path, encoded(service));
        if passing {
            path += "passing=true&";
        }
        for (key, value) in [("tag", tag), ("dc", datacenter)] {
            if let Some(value) = value {
                path += &format!("{key}={}&", encoded(value));
            }
        }
        Consul {
            client,
            url,
            path,
            passing,
            index: 0,
        }
    }

    async fn query(&mut self) -> Result<Answer, String> {
        let began = Instant::now();
        let before = std::mem::take(&mut self.index);
        let path = format!("{}index={before}&wait={}s", self.path, WAIT.as_secs());
        let held_back = match before {
            0 => Duration::ZERO,
            _ => WAIT + WAIT / 16,
        };
        let asked = Asked {
            token: Token::Consul,
            held_back,
            ..Asked::get(&path)
        };
        let response = self.client.ask(&self.url, asked).await?;
        let index = next_index(before, &response.headers)?;
        if before > 0 && index == before {
            self.index = index;
            let again = match began.elapsed() < PAUSE {
                true => Again::After(PAUSE),
                false => Again::Now,
            };
            return Ok(Answer { items: None, again });
        }
        let items = instances(response.json().await?, self.passing)?;
        self.index = index;
        let again = match index {
            0 => Again::After(PAUSE),
            _ => Again::After(BREATH),
        };
        Ok(Answer {
            items: Some(items),
            again,
        })
    }
}

impl Reader for Consul {
    fn next(&mut self) -> Reading<'_> {
        Box::pin(self.query())
    }
}

/// The index to ask with next: back to 0 where it has gone backwards, and never 0 otherwise, as
/// that would not be held back.
fn next_index(before: u64, headers: &HeaderMap) -> Result<u64, String> {
    let index = headers.get("X-Consul-Index");
    let index = index.and_then(|index| index.to_str().ok()?.parse::<u64>().ok());
    match index {
        None => Err("its answer has no `X-Consul-Index`: is it Consul?".to_owned()),
        Some(index) if index < before => Ok(0),
        Some(index) => Ok(index.max(1)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: Node,
    service: Service,
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    node: String,
    #[serde(default)]
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID", default)]
    id: String,
    /// Empty: that of its node.
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u64,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u64,
    warning: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    status: String,
}

/// The instances of an answer as items of a list, in the order of their addresses.
pub(super) fn instances(answer: Json, passing: bool) -> Result<Vec<Json>, String> {
    let instances: Vec<Instance> = serde_json::from_value(answer)
        .map_err(|error| format!("its answer is none of Consul's: {error}"))?;
    let mut items = Vec::with_capacity(instances.len());
    for Instance {
        node,
        service,
        checks,
    } in instances
    {
        let has = |status: &str| checks.iter().any(|check| check.status == status);
        // As in Consul's own DNS interface.
        if !passing && has("critical") {
            continue;
        }
        let address = match service.address.is_empty() {
            true => &node.address,
            false => &service.address,
        };
        if service.port == 0 {
            return Err(format!("its instance `{}` has no port", service.id));
        }
        let address = with_port(address, service.port);
        let weight = service.weights.map_or(1, |weights| match has("warning") {
            true => weights.warning,
            false => weights.passing,
        });
        if weight == 0 {
            continue;
        }
        let labels = labels(&node.node, &service.tags.unwrap_or_default());
        items.push((
            address.clone(),
            json!({ "address": address, "weight": weight.min(65_535), "labels": labels }),
        ));
    }
    items.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

/// What Consul says besides, as far as it fits.
fn labels(node: &str, tags: &[String]) -> Json {
    const LONGEST: usize = 256;
    let tags = tags.join(",");
    let labels = [("node", node), ("tags", tags.as_str())];
    let fitting = labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty() && value.len() <= LONGEST);
    Json::Object(
        fitting
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect(),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn instance(address: &str, status: &str) -> Json {
        json!({
            "Node": { "Node": "n1", "Address": "10.0.0.9", "Datacenter": "dc1" },
            "Service": { "ID": "web-1", "Service": "web", "Address": address, "Port": 80, "Tags": ["v1", "a"],
                         "Weights": { "Passing": 10, "Warning": 2 } },
            "Checks": [{ "CheckID": "serfHealth", "Status": "passing" }, { "Status": status }],
        })
    }

    #[test]
    fn an_instance_has_its_own_address_or_that_of_its_node_and_the_weight_of_its_checks() {
        let answer = json!([
            instance("", "passing"),
            instance("fd00::1", "warning"),
            instance("10.0.0.1", "critical"),
        ]);
        let items = instances(answer, false).unwrap();
        let labels = json!({ "node": "n1", "tags": "v1,a" });
        assert_eq!(
            items,
            [
                json!({ "address": "10.0.0.9:80", "weight": 10, "labels": labels }),
                json!({ "address": "[fd00::1]:80", "weight": 2, "labels": labels }),
            ]
        );
    }

    #[test]
    fn an_instance_without_more_than_it_must_have_is_one_and_one_without_port_is_not() {
        let answer =
            json!([{ "Node": { "Address": "10.0.0.9" }, "Service": { "Port": 80, "Tags": null } }]);
        let items = instances(answer, true).unwrap();
        let expected = json!({ "address": "10.0.0.9:80", "weight": 1, "labels": {} });
        assert_eq!(items, [expected]);
        let answer = json!([{ "Node": {}, "Service": { "ID": "web-1" } }]);
        let why = instances(answer, true).unwrap_err();
        assert_eq!(why, "its instance `web-1` has no port");
        assert!(instances(json!({}), true).is_err());
    }

    #[test]
    fn an_index_that_goes_backwards_begins_anew_and_none_is_zero_otherwise() {
        let next = |before, index: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("X-Consul-Index", index.parse().unwrap());
            next_index(before, &headers)
        };
        assert_eq!(next(0, "7"), Ok(7));
        assert_eq!(next(7, "7"), Ok(7));
        assert_eq!(next(7, "6"), Ok(0));
        assert_eq!(next(0, "0"), Ok(1));
        assert!(next(0, "x").is_err());
        assert!(next_index(0, &HeaderMap::new()).is_err());
    }
}
