//! Sessions of streams.

use super::Told;
use crate::metrics::{MetricsText, StreamSums, families};

pub(super) fn tell(told: &Told<'_>, text: &mut MetricsText) {
    let streams = told.all.streams.iter();
    let streams: Vec<(&str, StreamSums)> = streams
        .map(|(name, stream)| (&**name, stream.sums()))
        .collect();
    for (name, sums) in &streams {
        for (code, count) in sums.sessions() {
            text.count(&families::STREAM_SESSIONS, &[name, code], count);
        }
    }
    for (name, sums) in &streams {
        text.count(&families::STREAM_IN_FLIGHT, &[name], sums.in_progress);
    }
    for (name, sums) in &streams {
        text.histogram(&families::STREAM_DURATION, &[name], &sums.duration);
    }
    for (name, sums) in &streams {
        text.count(&families::STREAM_RECEIVED, &[name], sums.received);
    }
    for (name, sums) in &streams {
        text.count(&families::STREAM_SENT, &[name], sums.sent);
    }
}
