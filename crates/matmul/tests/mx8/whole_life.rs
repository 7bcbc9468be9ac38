//! From operands to a product and a certificate that verifies.

use pouw_matmul::{MAX_CERTIFICATE_BYTES, Rejection, verify};

use crate::job::{Fill, Job, product};

const SHAPES: [(u32, u32, u32); 4] =
    [(16, 1024, 16), (32, 2048, 48), (48, 1024, 16), (16, 3072, 32)];

#[test]
fn m7_what_comes_out_is_the_exact_product() {
    for shape in SHAPES {
        for fill in [Fill::Random, Fill::Constant(63), Fill::Constant(-63), Fill::Constant(0)] {
            let job = Job::new(shape, fill);
            assert_eq!(job.reference().product, product(&job.a, &job.b), "{shape:?} {fill:?}");
        }
    }
}

#[test]
fn m8_the_certificate_of_every_ticket_verifies_and_replays_it() {
    for shape in SHAPES {
        let job = Job::new(shape, Fill::Random);
        let worked = job.reference();
        assert_eq!(worked.tickets.len() as u64, worked.shape.tickets());
        for (ticket, depth) in worked.tickets.iter().zip((1..=16).cycle()) {
            let ancestors = job.ancestors(depth);
            let encoded = job.certificate(depth, ticket).encode();
            assert!(encoded.len() <= MAX_CERTIFICATE_BYTES);
            let result = verify(&encoded, &job.work(&ancestors, 1 << 18));
            let (certificate, replayed) = result.unwrap();
            assert_eq!(&replayed, ticket);
            assert_eq!(certificate.encode(), encoded);
        }
    }
}

#[test]
fn m7_a_ticket_wins_exactly_below_the_target() {
    let job = Job::new((64, 1024, 64), Fill::Random);
    let worked = job.reference();
    let ancestors = job.ancestors(1);
    // One in sixteen is expected to win; which ones, the value's top byte says.
    let work = job.work(&ancestors, 16 << 18);
    for ticket in &worked.tickets {
        let wins = ticket.value(worked.left)[31] < 16;
        let result = job.certificate(1, ticket).verify(&work);
        assert_eq!(result, if wins { Ok(*ticket) } else { Err(Rejection::Target) });
    }
}
