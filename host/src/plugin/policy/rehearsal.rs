//! A pick before there is a request: what a new version of a plugin has to manage before it takes
//! over.
//!
//! The request is the plainest there is, with every endpoint that is not `down` as a candidate. It
//! runs on an instance of its own, so that the one that will serve does not start with a choice
//! that no request asked for.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::super::context::{
    AttemptFacts, ExchangeAtHand, ExchangeContext, FailureKind, FleetView, HttpVersion,
};
use super::super::error::{ConfigureError, PluginFault};
use super::super::slot::InstanceSpec as _;
use super::slot::{NO_OPINION, PolicySpec, REFUSED, is_allowed};
use super::{Ending, Outcome, Pick};
use crate::http::variable::{Variable, VariableSource};

/// Makes an instance pick, and hear that the attempt failed.
pub(super) fn rehearse(spec: &PolicySpec) -> Result<(), ConfigureError> {
    let (mut instance, _) = spec.make()?;
    instance.set_apart();
    let trial = Trial::new(&*spec.0.fleet);
    let candidates = trial.candidates(0);
    if trial.candidates.iter().all(|word| *word == 0) {
        return Ok(()); // without a candidate, no policy is asked
    }
    let trial: ExchangeAtHand = Rc::new(trial);
    let pick = Pick {
        lease: 1,
        attempt: 0,
        now_us: 1,
        random: fastrand::u64(..),
    };
    let picked = instance.pick(&trial, &pick, candidates).and_then(|index| {
        is_allowed(&trial, index, candidates)
            .then_some(index)
            .ok_or_else(|| PluginFault::answer(index))
    });
    let ended = picked.and_then(|index| match index {
        NO_OPINION | REFUSED => Ok(()),
        index => instance
            .failed(index)
            .and_then(|()| instance.done(&trial, pick.lease, index, &FAILED)),
    });
    ended.map_err(|fault| ConfigureError::Faulted {
        plugin: spec.0.plugin.name().to_owned(),
        when: "in a trial `pick`",
        fault,
    })
}

/// No connection.
const FAILED: Outcome = Outcome {
    ending: Ending::Failed,
    status: 0,
    connect_us: 0,
    header_us: 0,
    total_us: 0,
};

/// `GET /` from 127.0.0.1, without a header.
struct Trial {
    candidates: Vec<u64>,
}

impl Trial {
    fn new(fleet: &dyn FleetView) -> Trial {
        let mut candidates = vec![0; fleet.len().div_ceil(64) as usize];
        for index in 0..fleet.len() {
            let is_up = fleet.server(index).is_some_and(|server| !server.down);
            candidates[index as usize / 64] |= u64::from(is_up) << (index % 64);
        }
        Trial { candidates }
    }
}

impl VariableSource for Trial {
    fn append(&self, _: &Variable, _: &mut Vec<u8>) -> bool {
        false
    }
}

impl ExchangeContext for Trial {
    fn candidates(&self, word: u32) -> u64 {
        self.candidates.get(word as usize).copied().unwrap_or(0)
    }

    fn narrow(&self, _: Option<&[u64]>) {}

    fn method(&self) -> &str {
        "GET"
    }

    fn authority(&self) -> &[u8] {
        b"localhost"
    }

    fn path(&self) -> &str {
        "/"
    }

    fn query(&self) -> &str {
        ""
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn version(&self) -> HttpVersion {
        HttpVersion::Http11
    }

    fn request_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn request_headers(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn client_address(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::LOCALHOST.into())
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        None
    }

    fn memo(&self) -> u64 {
        0
    }

    fn set_memo(&self, _: u64) {}

    fn add_response_header(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn forget_response_headers(&self) {}

    fn attempt_facts(&self) -> AttemptFacts {
        AttemptFacts {
            failure: FailureKind::Connect,
            ..AttemptFacts::default()
        }
    }

    fn response_status(&self) -> u16 {
        0
    }

    fn response_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn is_response_local(&self) -> bool {
        false
    }

    fn route_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn upstream_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn attribute(&self, _: &str, _: &mut Vec<u8>) -> bool {
        false
    }

    fn note(&self, _: &str) {}

    fn is_note_wanted(&self) -> bool {
        false
    }

    fn log_context(&self) -> String {
        String::new()
    }
}
