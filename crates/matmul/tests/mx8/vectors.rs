//! `vectors/mx8.json`: what any other implementation has to reproduce.

use std::path::Path;

use serde_json::{Value, json};

use crate::job::{Fill, Job};

/// Name, (m, k, n), entries, depth of the anchor.
type Case = (&'static str, (u32, u32, u32), Fill, u8);

const CASES: [Case; 4] = [
    ("one ticket", (16, 1024, 16), Fill::Random, 1),
    ("padded trees", (48, 3072, 32), Fill::Random, 16),
    ("zeros", (32, 1024, 16), Fill::Constant(0), 2),
    ("largest entries", (16, 2048, 32), Fill::Constant(63), 7),
];

fn case((name, shape, fill, depth): Case) -> Value {
    let job = Job::new(shape, fill);
    let worked = job.reference();
    let value = |ticket: &pouw_matmul::Ticket| {
        let mut value = ticket.value(worked.left);
        value.reverse();
        value
    };
    let best = worked.tickets.iter().min_by_key(|ticket| value(ticket)).unwrap();
    let certificate = job.certificate(depth, best);
    let ancestors = job.ancestors(depth);
    let wins = |bits: &u32| certificate.verify(&job.work(&ancestors, 1 << bits)).is_ok();
    let difficulty: u128 = 1 << (18..128).take_while(wins).last().unwrap();
    let mut blocks = blake3::Hasher::new();
    for ticket in &worked.tickets {
        blocks.update(&ticket.block());
    }
    let mut product = blake3::Hasher::new();
    for sum in &worked.product {
        product.update(&sum.to_le_bytes());
    }
    let fill = match fill {
        Fill::Random => Value::Null,
        Fill::Constant(entry) => entry.into(),
    };
    let transcript = best.transcript.to_vec();
    json!({
        "name": name,
        "m": shape.0, "k": shape.1, "n": shape.2,
        "constant": fill,
        "depth": depth,
        "ancestors": ancestors.iter().map(|anchor| hex::encode(anchor.0)).collect::<Vec<_>>(),
        "core": hex::encode(job.core.0),
        "root_a": hex::encode(certificate.claim.root_a),
        "root_b": hex::encode(certificate.claim.root_b),
        "key_a": hex::encode(worked.left.0),
        "key_b": hex::encode(worked.right.0),
        "ticket_blocks": blocks.finalize().to_string(),
        "product": product.finalize().to_string(),
        "ticket": { "i": best.i, "j": best.j, "s": best.s, "transcript": transcript },
        "value": hex::encode(best.value(worked.left)),
        "difficulty": difficulty.to_string(),
        "certificate": hex::encode(certificate.encode()),
    })
}

#[test]
fn the_vectors_are_what_the_reference_computes() {
    let cases: Vec<Value> = CASES.into_iter().map(case).collect();
    let computed = serde_json::to_string_pretty(&json!({ "cases": cases })).unwrap() + "\n";
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/mx8.json");
    if std::fs::read_to_string(&kept).unwrap_or_default() != computed {
        let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mx8.json");
        std::fs::write(&beside, computed).unwrap();
        panic!("{} differs from what was computed: {}", kept.display(), beside.display());
    }
}
