//! A leaky bucket: nginx's arithmetic (`ngx_http_limit_req_lookup`), in whole numbers.

/// How full a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) level: u64,
    /// When the level was that.
    pub(super) last_ms: u64,
}

/// What is poured in.
#[derive(Debug, Clone, Copy)]
pub struct Pour {
    pub amount: u64,
    /// What the bucket loses in a second.
    pub leak: u64,
    /// The level that it may have.
    pub capacity: u64,
}

impl Pour {
    /// The level with the amount in it, and the bucket, unless that is more than it holds.
    pub(super) fn into(self, bucket: Option<Bucket>, now_ms: u64) -> (u64, Option<Bucket>) {
        let Some(before) = bucket else {
            let fresh = Bucket {
                level: 0,
                last_ms: now_ms,
            };
            return (0, Some(fresh));
        };
        let leaked = self.leaked(now_ms.saturating_sub(before.last_ms));
        let level = before.level.saturating_add(self.amount);
        let level = level.saturating_sub(leaked);
        let filled = Bucket {
            level,
            last_ms: now_ms.max(before.last_ms),
        };
        (level, (level <= self.capacity).then_some(filled))
    }

    fn leaked(self, ms: u64) -> u64 {
        let leaked = u128::from(self.leak) * u128::from(ms) / 1000;
        u64::try_from(leaked).unwrap_or(u64::MAX)
    }

    /// After so many milliseconds without a call, a bucket of this level is as good as none; never
    /// where nothing leaks.
    pub(super) fn lasts_ms(self, level: u64) -> Option<u64> {
        let full = (u128::from(level) + u128::from(self.amount)) * 1000;
        let ms = full.div_ceil(u128::from(self.leak).max(1));
        let ms = u64::try_from(ms).unwrap_or(u64::MAX).max(1);
        (self.leak > 0).then_some(ms)
    }
}
