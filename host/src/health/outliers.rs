//! Which endpoints answer worse than their peers, and for how long they are ejected, by Envoy's
//! rules (`outlier_detection`): failure percentage with a least number of attempts, times that grow
//! with each ejection in a row, and a cap on the share that is ejected. Latency is our own.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::model::Outliers;
use crate::data_plane::upstream::EndpointId;

/// An endpoint as it was in the interval that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) id: EndpointId,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    /// 0 where it is not known.
    pub(super) latency_us: u32,
}

/// An endpoint is out until a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ejection {
    pub(super) id: EndpointId,
    pub(super) until: Instant,
    pub(super) time: Duration,
    pub(super) why: String,
}

/// What is remembered of the endpoints of one group.
#[derive(Debug, Default)]
pub(super) struct Detector {
    records: HashMap<EndpointId, Record>,
}

#[derive(Debug, Default)]
struct Record {
    /// Ejections in a row. One less for each interval that went well.
    times: u32,
    ejected_until: Option<Instant>,
}

/// Peers that a latency is compared with, at least: the median of one would be a coin toss.
const FEWEST_PEERS: usize = 2;

impl Detector {
    /// Endpoints whose ejection is over.
    pub(super) fn ended(&mut self, now: Instant) -> Vec<EndpointId> {
        let mut ended = Vec::new();
        for (id, record) in &mut self.records {
            if record.ejected_until.is_some_and(|until| until <= now) {
                record.ejected_until = None;
                ended.push(*id);
            }
        }
        ended
    }

    /// When the next ejection is over.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let ends = self.records.values();
        ends.filter_map(|record| record.ejected_until).min()
    }

    /// Judges an interval of all endpoints of the group that are not `down`: whom to eject, the
    /// worst first.
    pub(super) fn sweep(
        &mut self,
        samples: &[Sample],
        rules: &Outliers,
        now: Instant,
    ) -> Vec<Ejection> {
        // One that is `down` meanwhile may be back before its ejection is over.
        self.records.retain(|id, record| {
            record.ejected_until.is_some() || samples.iter().any(|sample| sample.id == *id)
        });
        let is_out = |detector: &Detector, id: &EndpointId| {
            let record = detector.records.get(id);
            record.is_some_and(|record| record.ejected_until.is_some())
        };
        let judged = samples
            .iter()
            .filter(|sample| sample.attempts >= rules.min_attempts && !is_out(self, &sample.id));
        let judged: Vec<&Sample> = judged.collect();
        let mut outliers: Vec<(u64, &Sample, String)> = Vec::new();
        for sample in &judged {
            let found = of_errors(sample, rules).or_else(|| of_latency(sample, &judged, rules));
            match found {
                Some((badness, why)) => outliers.push((badness, sample, why)),
                None => {
                    if let Some(record) = self.records.get_mut(&sample.id) {
                        record.times = record.times.saturating_sub(1);
                    }
                }
            }
        }
        outliers.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.id.cmp(&other.1.id)));
        let ejected = samples.iter().filter(|sample| is_out(self, &sample.id));
        let room = most_ejected(samples.len(), rules).saturating_sub(ejected.count());
        let ejections = outliers.into_iter().take(room);
        ejections
            .map(|(_, sample, why)| self.eject(sample.id, rules, now, why))
            .collect()
    }

    fn eject(&mut self, id: EndpointId, rules: &Outliers, now: Instant, why: String) -> Ejection {
        let record = self.records.entry(id).or_default();
        record.times = record.times.saturating_add(1);
        let time = rules.ejection_time.saturating_mul(record.times);
        let time = time.min(rules.max_ejection_time);
        // A count that is higher changes nothing any more, and would be slow to forget.
        while record.times > 1
            && rules.ejection_time.saturating_mul(record.times - 1) >= rules.max_ejection_time
        {
            record.times -= 1;
        }
        let until = now + time;
        record.ejected_until = Some(until);
        Ejection {
            id,
            until,
            time,
            why,
        }
    }
}

/// How many of so many may be ejected at a time: one in any case, where there are others (Envoy,
/// "Ejection algorithm": if no hosts have been ejected, the host is ejected at once).
fn most_ejected(members: usize, rules: &Outliers) -> usize {
    match members {
        0 | 1 => 0,
        _ => (members * rules.max_ejected as usize / 100).max(1),
    }
}

/// How bad it is, and why, in words. Errors are worse than any latency.
fn of_errors(sample: &Sample, rules: &Outliers) -> Option<(u64, String)> {
    let (failures, attempts) = (u64::from(sample.failures), u64::from(sample.attempts));
    let is_outlier = rules.error_rate > 0
        && attempts > 0
        && failures * 100 >= u64::from(rules.error_rate) * attempts;
    is_outlier.then(|| {
        let why = format!("{failures} of {attempts} attempts failed");
        ((1 << 40) + failures * 10_000 / attempts, why)
    })
}

fn of_latency(sample: &Sample, judged: &[&Sample], rules: &Outliers) -> Option<(u64, String)> {
    if rules.latency == 0 || sample.latency_us == 0 {
        return None;
    }
    let peers = judged.iter().filter(|peer| peer.id != sample.id);
    let mut peers: Vec<u32> = peers
        .map(|peer| peer.latency_us)
        .filter(|latency| *latency > 0)
        .collect();
    if peers.len() < FEWEST_PEERS {
        return None;
    }
    let middle = peers.len() / 2;
    let median = u64::from(*peers.select_nth_unstable(middle).1);
    let own = u64::from(sample.latency_us);
    (own >= median * u64::from(rules.latency)).then(|| {
        let millis = |us: u64| Duration::from_micros(us);
        let why = format!(
            "it answers in {:.1?}, its peers in {:.1?}",
            millis(own),
            millis(median)
        );
        (own * 100 / median.max(1), why)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data_plane::upstream::EndpointStats;

    const SECOND: Duration = Duration::from_secs(1);

    fn rules() -> Outliers {
        Outliers {
            interval: 10 * SECOND,
            error_rate: 50,
            latency: 0,
            min_attempts: 10,
            ejection_time: 30 * SECOND,
            max_ejection_time: 100 * SECOND,
            max_ejected: 10,
        }
    }

    fn ids(number: usize) -> Vec<EndpointId> {
        (0..number).map(|_| EndpointStats::new().id).collect()
    }

    fn sample(id: EndpointId, attempts: u32, failures: u32, latency_us: u32) -> Sample {
        Sample {
            id,
            attempts,
            failures,
            latency_us,
        }
    }

    fn ejected(ejections: &[Ejection]) -> Vec<EndpointId> {
        ejections.iter().map(|ejection| ejection.id).collect()
    }

    #[test]
    fn whoever_fails_half_of_enough_attempts_is_ejected() {
        let (ids, now) = (ids(3), Instant::now());
        let of = |attempts, failures| {
            let mut detector = Detector::default();
            let samples = [
                sample(ids[0], attempts, failures, 0),
                sample(ids[1], 100, 49, 0),
                sample(ids[2], 100, 0, 0),
            ];
            detector.sweep(&samples, &rules(), now)
        };
        assert_eq!(ejected(&of(10, 5)), [ids[0]]);
        assert_eq!(of(10, 5)[0].why, "5 of 10 attempts failed");
        assert!(of(9, 9).is_empty(), "too few attempts");
        assert!(of(10, 4).is_empty(), "too few failures");
    }

    #[test]
    fn the_worst_is_ejected_where_there_is_room_for_one() {
        let (ids, now) = (ids(12), Instant::now());
        let samples: Vec<Sample> = ids
            .iter()
            .zip(0..)
            .map(|(id, n)| sample(*id, 100, 60 + n, 0))
            .collect();
        let mut detector = Detector::default();
        assert_eq!(ejected(&detector.sweep(&samples, &rules(), now)), [ids[11]]);
        assert!(
            detector.sweep(&samples, &rules(), now).is_empty(),
            "one is out"
        );
        let more = Outliers {
            max_ejected: 25,
            ..rules()
        };
        assert_eq!(
            ejected(&detector.sweep(&samples, &more, now)),
            [ids[10], ids[9]]
        );
    }

    #[test]
    fn an_endpoint_without_peers_is_never_ejected() {
        let (ids, now) = (ids(2), Instant::now());
        let samples = [sample(ids[0], 100, 100, 0), sample(ids[1], 100, 100, 0)];
        let all = Outliers {
            max_ejected: 100,
            ..rules()
        };
        assert!(
            Detector::default()
                .sweep(&samples[..1], &all, now)
                .is_empty()
        );
        let none = Outliers {
            max_ejected: 0,
            ..rules()
        };
        assert_eq!(Detector::default().sweep(&samples, &none, now).len(), 1);
    }

    #[test]
    fn ejections_in_a_row_take_longer_up_to_a_bound_and_are_forgotten_one_by_one() {
        let (ids, mut now) = (ids(2), Instant::now());
        let mut detector = Detector::default();
        let bad = [sample(ids[0], 100, 100, 0), sample(ids[1], 100, 0, 0)];
        let good = [sample(ids[0], 100, 0, 0), sample(ids[1], 100, 0, 0)];
        let mut times = Vec::new();
        for _ in 0..5 {
            let ejection = &detector.sweep(&bad, &rules(), now)[0];
            assert_eq!((ejection.id, ejection.until), (ids[0], now + ejection.time));
            times.push(ejection.time.as_secs());
            assert_eq!(detector.next_end(), Some(ejection.until));
            let until = ejection.until;
            assert!(detector.ended(until - SECOND).is_empty());
            assert_eq!(detector.ended(until), [ids[0]]);
            assert!(detector.ended(until).is_empty(), "it is back");
            now = until;
        }
        assert_eq!(times, [30, 60, 90, 100, 100]);
        // Of four in a row, the last of which was cut short.
        detector.sweep(&good, &rules(), now);
        detector.sweep(&good, &rules(), now);
        assert_eq!(detector.sweep(&bad, &rules(), now)[0].time, 90 * SECOND);
    }

    #[test]
    fn whoever_is_many_times_slower_than_its_peers_is_ejected() {
        let (ids, now) = (ids(4), Instant::now());
        let by_latency = Outliers {
            latency: 3,
            error_rate: 0,
            ..rules()
        };
        let of = |latencies: &[u32]| {
            let samples = ids.iter().zip(latencies);
            let samples: Vec<Sample> = samples.map(|(id, us)| sample(*id, 100, 0, *us)).collect();
            ejected(&Detector::default().sweep(&samples, &by_latency, now))
        };
        assert_eq!(of(&[1000, 1100, 900, 3300]), [ids[3]]);
        assert!(of(&[1000, 1100, 900, 2900]).is_empty());
        assert_eq!(of(&[5000, 1100, 900, 4000]), [ids[0]], "the slower of two");
        assert!(of(&[100, 9000]).is_empty(), "one peer says nothing");
        assert!(
            of(&[0, 0, 900, 9000]).is_empty(),
            "nor do peers without a latency"
        );
    }

    proptest! {
        /// Whatever happens, the cap holds and ejections end.
        #[test]
        fn the_share_that_is_ejected_is_bounded(
            rounds in proptest::collection::vec(
                proptest::collection::vec((0..40_u32, 0..40_u32, 0..5000_u32), 1..30), 1..20),
            max_ejected in 0..=100_u32,
            latency in prop_oneof![Just(0), 2..5_u32],
        ) {
            let ids = ids(30);
            let rules = Outliers { max_ejected, latency, ..rules() };
            let (mut detector, mut now) = (Detector::default(), Instant::now());
            let mut out: HashMap<EndpointId, Instant> = HashMap::new();
            for round in rounds {
                for id in detector.ended(now) {
                    prop_assert!(out.remove(&id).unwrap() <= now);
                }
                prop_assert!(out.values().all(|until| *until > now));
                let samples: Vec<Sample> = ids.iter().zip(&round)
                    .map(|(id, (attempts, failures, us))| {
                        sample(*id, *attempts, *failures.min(attempts), *us)
                    })
                    .collect();
                // Those that are gone do not count, and come back all the same.
                let is_there = |id: &EndpointId| samples.iter().any(|sample| sample.id == *id);
                let there = out.keys().filter(|id| is_there(id)).count();
                let room = most_ejected(samples.len(), &rules).saturating_sub(there);
                let ejections = detector.sweep(&samples, &rules, now);
                prop_assert!(ejections.len() <= room);
                for ejection in ejections {
                    prop_assert!(ejection.time <= rules.max_ejection_time);
                    prop_assert!(out.insert(ejection.id, ejection.until).is_none());
                }
                now += rules.interval;
            }
        }
    }
}
