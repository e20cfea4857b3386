//! A hash of 64 bits for keys and servers: the same in every worker, version and machine, because a
//! key must find its server again. Not for secrets: whoever chooses the bytes can choose the hash.

use crate::Endpoint;

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// XXH64 of some bytes; different seeds give hashes that have nothing to do with each other.
pub fn hash64(bytes: &[u8], seed: u64) -> u64 {
    let (mut hash, rest) = stripes(bytes, seed);
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = (hash.rotate_left(27).wrapping_mul(PRIME_1)).wrapping_add(PRIME_4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
        hash = (hash.rotate_left(23).wrapping_mul(PRIME_2)).wrapping_add(PRIME_3);
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIME_5);
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 29).wrapping_mul(PRIME_3);
    hash ^ hash >> 32
}

/// All stripes of 32 bytes, in four lanes; and what is left of the bytes.
fn stripes(bytes: &[u8], seed: u64) -> (u64, &[u8]) {
    let (stripes, rest) = bytes.as_chunks::<32>();
    if stripes.is_empty() {
        return (seed.wrapping_add(PRIME_5), rest);
    }
    let mut lanes = [
        seed.wrapping_add(PRIME_1).wrapping_add(PRIME_2),
        seed.wrapping_add(PRIME_2),
        seed,
        seed.wrapping_sub(PRIME_1),
    ];
    for stripe in stripes {
        for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut hash = 0_u64;
    for (lane, turn) in lanes.into_iter().zip([1, 7, 12, 18]) {
        hash = hash.wrapping_add(lane.rotate_left(turn));
    }
    for lane in lanes {
        hash = (hash ^ round(0, lane))
            .wrapping_mul(PRIME_1)
            .wrapping_add(PRIME_4);
    }
    (hash, rest)
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2))
        .rotate_left(31)
        .wrapping_mul(PRIME_1)
}

/// A hash for each endpoint, in order, to place it by: it depends on nothing but the server as the
/// configuration spells it, so that it stays when other servers come and go, and when an address
/// changes. The addresses of one name are told apart by their order among themselves, sorted,
/// whatever the order that a name server lists them in.
pub fn endpoint_hashes(endpoints: &[Endpoint]) -> Vec<u64> {
    let names: Vec<String> = endpoints.iter().map(Endpoint::name).collect();
    let mut sorted: Vec<usize> = (0..endpoints.len()).collect();
    sorted.sort_by_key(|&index| (&names[index], &endpoints[index].address));
    let mut hashes = vec![0; endpoints.len()];
    let (mut previous, mut place) = (None, 0);
    for index in sorted {
        let name = names[index].as_str();
        place = if previous == Some(name) { place + 1 } else { 0 };
        previous = Some(name);
        hashes[index] = hash64(name.as_bytes(), place);
    }
    hashes
}

#[cfg(test)]
mod tests {
    use super::{endpoint_hashes, hash64};
    use crate::testing::endpoint;

    /// As published with the reference implementation (github.com/Cyan4973/xxHash) and its bindings
    /// for Python: inputs of every length that is treated differently.
    #[test]
    fn the_hash_is_xxh64() {
        assert_eq!(hash64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(hash64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(hash64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        assert_eq!(hash64(b"xxhash", 20_141_025), 13_067_679_811_253_438_005);
        let long = b"Nobody inspects the spammish repetition";
        assert_eq!(hash64(long, 0), 0xfbce_a83c_8a37_8bf1);
    }

    #[test]
    fn an_endpoint_is_placed_by_its_server_and_not_by_its_address_or_its_neighbours() {
        let both = [endpoint("a:1").build(), endpoint("b:1").build()];
        let alone = [endpoint("b:1").address("10.0.0.9:1").build()];
        assert_eq!(endpoint_hashes(&both)[1], endpoint_hashes(&alone)[0]);
        assert_ne!(endpoint_hashes(&both)[0], endpoint_hashes(&both)[1]);
    }

    #[test]
    fn the_addresses_of_one_name_have_places_of_their_own_in_whatever_order_they_are_listed() {
        let address = |address| endpoint("app:80").address(address).build();
        let listed = endpoint_hashes(&[address("10.0.0.1:80"), address("10.0.0.2:80")]);
        let turned = endpoint_hashes(&[address("10.0.0.2:80"), address("10.0.0.1:80")]);
        assert_ne!(listed[0], listed[1]);
        assert_eq!([listed[0], listed[1]], [turned[1], turned[0]]);
    }
}
