//! Frames of HTTP/2: whatever they hold and wherever reads end, the same frames are counted, and as
//! a plain walk over all of them counts.

use crate::data_plane::stream::metered::{Exceeded, Frames, Meter, PREFACE};

use super::{pieces, single_bytes};

/// More than an input has frames: time, which refills what is spent, plays no part.
const PLENTY: u32 = 1 << 24;
/// What runs out.
const FEW: u32 = 3;

/// What a client sends, preface included.
pub(super) fn run(bytes: &[u8]) {
    let whole = counted(std::iter::once(bytes));
    assert_eq!(counted(single_bytes(bytes)), whole);
    assert_eq!(counted(pieces(bytes)), whole);
    assert_eq!(plain(bytes), whole);

    // Who has next to nothing left is stopped at the same frame, however its bytes come.
    assert_eq!(
        stopped(single_bytes(bytes)),
        stopped(std::iter::once(bytes))
    );
}

/// The bound that a peer with very small budgets exceeds, if any.
fn stopped<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Option<Exceeded> {
    let mut frames = Frames::new(PREFACE.len(), Meter::new(FEW, FEW));
    pieces.find_map(|piece| frames.examine(piece).err())
}

/// What is left of both budgets once all was examined.
fn counted<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Result<(f64, f64), Exceeded> {
    let meter = Meter::new(PLENTY, PLENTY);
    let mut frames = Frames::new(PREFACE.len(), meter.clone());
    pieces.try_for_each(|piece| frames.examine(piece))?;
    Ok(meter.left())
}

fn plain(bytes: &[u8]) -> Result<(f64, f64), Exceeded> {
    let preface = bytes.len().min(PREFACE.len());
    if bytes[..preface] != PREFACE[..preface] {
        return Err(Exceeded::Preface);
    }
    let (mut control, mut resets) = (f64::from(PLENTY), f64::from(PLENTY));
    let mut rest = &bytes[preface..];
    while let [high, middle, low, kind, _, _, _, _, _, behind @ ..] = rest {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        match (kind, length) {
            (1, _) => control += 10.0,
            (0, 1..) => control += 1.0,
            (3, _) => resets -= 1.0,
            (9, _) => {}
            _ => control -= 1.0,
        }
        control = control.min(f64::from(PLENTY));
        rest = behind.get(length..).unwrap_or_default();
    }
    Ok((control, resets))
}
