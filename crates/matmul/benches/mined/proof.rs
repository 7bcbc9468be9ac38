//! What a certificate costs: its bytes, its making, its verification.

use std::hint::black_box;
use std::sync::Arc;

use pouw_matmul::{
    Anchor, Certificate, Claim, Core, Difficulty, MAX_CERTIFICATE_BYTES, MAX_INNER, MAX_LINES,
    Opening, Right, Shape, Side, Work, verify as verify_bytes,
};

use crate::measure::{committed, entries, median, one_thread, print_figure, timed};

/// A certificate of the largest job there can be, made from its two leaves alone.
fn largest() -> Certificate {
    let shape = Shape::new(MAX_LINES, MAX_INNER, MAX_LINES).unwrap();
    let mut claim = Claim {
        depth: 16,
        shape,
        i: 777_777,
        j: 1_000_001,
        s: 31,
        root_a: [0; 32],
        root_b: [0; 32],
    };
    let opening = |label: &str, side: Side, claim: &Claim| {
        let leaf: Vec<u8> =
            entries(label, 16 * 1024).into_iter().map(|entry| entry.cast_unsigned()).collect();
        let path: Vec<[u8; 32]> =
            (0..shape.path_nodes(side)).map(|level| [level.to_le_bytes()[0]; 32]).collect();
        let number = claim.leaf(side);
        let hash = |context: &str, parts: &[&[u8]]| -> [u8; 32] {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            for part in parts {
                hasher.update(part);
            }
            hasher.finalize().into()
        };
        let context = format!("pouw mx8 v1 leaf {side}");
        let mut root = hash(&context, &[&leaf, &[5; 16], &u64::from(number).to_le_bytes()]);
        for (level, sibling) in path.iter().enumerate() {
            let pair: [&[u8]; 2] =
                if number >> level & 1 == 0 { [&root, sibling] } else { [sibling, &root] };
            root = hash("pouw mx8 v1 node", &pair);
        }
        (Opening { salt: [5; 16], leaf, path }, root)
    };
    let (a, root_a) = opening("A", Side::Left, &claim);
    let (b, root_b) = opening("B", Side::Right, &claim);
    (claim.root_a, claim.root_b) = (root_a, root_b);
    Certificate { claim, a, b }
}

pub(crate) fn certificate_bytes() {
    let bytes = largest().encode().len();
    assert_eq!(bytes, MAX_CERTIFICATE_BYTES);
    let goal = "at most 34,500 bytes at every legal size";
    print_figure("certificate-bytes", bytes as f64, None, "bytes", goal, bytes <= 34_500);
}

pub(crate) fn verify() {
    let bytes = largest().encode();
    let ancestors = [Anchor([2; 32]); 16];
    let difficulty = Difficulty::new(1 << 18).unwrap();
    let work = Work { core: Core([3; 32]), ancestors: &ancestors, difficulty };
    let seconds = (0..501).map(|_| timed(|| black_box(verify_bytes(&bytes, &work)).unwrap()).0);
    let took = median(seconds.collect()) * 1e3;
    print_figure(
        "verify",
        took,
        None,
        "ms",
        "at most 0.3 ms on one core, longest paths",
        took <= 0.3,
    );
}

pub(crate) fn winner_extra() {
    let engine = one_thread();
    let (m, k, n) = (1024, 8192, 1024);
    let a = committed(Side::Left, m, k, entries("A", 1024 * 8192), &engine);
    let b = committed(Side::Right, n, k, entries("B", 1024 * 8192), &engine);
    let right = Right::new(Arc::new(b), Anchor([2; 32]), &engine);
    let difficulty = Difficulty::new(1 << 22).unwrap();
    let job = right.mine(&a, Core([3; 32]), difficulty, &engine).unwrap();
    let winners = job.winners.iter().cycle().take(101);
    let seconds = winners
        .map(|ticket| timed(|| black_box(right.certificate(&a, 1, ticket).unwrap().encode())).0);
    let took = median(seconds.collect()) * 1e3;
    print_figure("winner-extra", took, None, "ms", "at most 10 ms", took <= 10.0);
}
