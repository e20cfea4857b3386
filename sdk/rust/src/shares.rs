//! Endpoints by their share of the total weight: what hashes and random draws fall into.

use crate::Endpoint;

/// The total weight, cut into one share for each endpoint, in order. `down` ones have theirs too:
/// that is why taking a server down moves no requests of the others.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    starts: Vec<u64>,
    total: u64,
}

impl Shares {
    /// The shares of these endpoints.
    pub fn new(endpoints: &[Endpoint]) -> Self {
        Self::of_weights(endpoints.iter().map(|endpoint| endpoint.weight))
    }

    /// The shares of weights by index; an index of weight 0 has none.
    pub fn of_weights(weights: impl IntoIterator<Item = u32>) -> Self {
        let mut total = 0;
        let starts = weights.into_iter().map(|weight| {
            let start = total;
            total += u64::from(weight);
            start
        });
        Shares {
            starts: starts.collect(),
            total,
        }
    }

    /// The weights of all endpoints together.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The endpoint whose share a point falls into; the first one has `0..weight`. `None` from the
    /// total on.
    pub fn at(&self, point: u64) -> Option<usize> {
        (point < self.total).then(|| self.starts.partition_point(|&start| start <= point) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Shares;
    use crate::testing::endpoint;

    #[test]
    fn every_point_belongs_to_the_endpoint_whose_weight_covers_it() {
        let shares = Shares::new(&[3, 1, 2].map(|weight| endpoint("a:1").weight(weight).build()));
        let owners: Vec<_> = (0..7).map(|point| shares.at(point)).collect();
        assert_eq!(
            owners,
            [Some(0), Some(0), Some(0), Some(1), Some(2), Some(2), None]
        );
        assert_eq!(Shares::default().at(0), None);
    }

    #[test]
    fn no_point_belongs_to_a_weight_of_0() {
        let shares = Shares::of_weights([0, 2, 0, 0, 1, 0]);
        let owners: Vec<_> = (0..4).map(|point| shares.at(point)).collect();
        assert_eq!(owners, [Some(1), Some(1), Some(4), None]);
    }
}
