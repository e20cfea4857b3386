//! State as a broken version, or a broken disk, would hand it on.

use crate::Draws;

/// The state cut off somewhere, with up to three of its bytes changed.
pub fn damaged(state: &[u8], draws: &mut Draws) -> Vec<u8> {
    let mut damaged = state.to_vec();
    damaged.truncate(draws.below(1 + state.len() as u64) as usize);
    for _ in 0..draws.below(4) {
        let place = draws.below(1 + damaged.len() as u64) as usize;
        if let Some(byte) = damaged.get_mut(place) {
            *byte = draws.draw() as u8;
        }
    }
    damaged
}
