//! Jobs with reproducible entries.

use pouw_matmul::{Anchor, Certificate, Core, Difficulty, Lines, Salts, Ticket, Work, reference};

/// What the entries of an operand are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    Random,
    Constant(i8),
}

/// Operands, secrets and the block of a job.
pub(crate) struct Job {
    pub(crate) a: Lines,
    pub(crate) b: Lines,
    pub(crate) salts_a: Salts,
    pub(crate) salts_b: Salts,
    pub(crate) anchor: Anchor,
    pub(crate) core: Core,
}

/// `count` bytes that belong to a label.
pub(crate) fn bytes(label: &str, count: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("pouw mx8 v1 vector");
    hasher.update(label.as_bytes());
    let mut bytes = vec![0; count];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn digest(label: &str) -> [u8; 32] {
    bytes(label, 32).try_into().unwrap()
}

/// Entries byte mod 127 − 63, or all the same.
pub(crate) fn lines(label: &str, count: u32, k: u32, fill: Fill) -> Lines {
    let size = count as usize * k as usize;
    let entries = match fill {
        Fill::Constant(value) => vec![value; size],
        Fill::Random => {
            let entry = |byte: u8| i8::try_from(byte % 127).unwrap() - 63;
            bytes(label, size).into_iter().map(entry).collect()
        }
    };
    Lines::new(count, k, entries).unwrap()
}

impl Job {
    pub(crate) fn new((m, k, n): (u32, u32, u32), fill: Fill) -> Self {
        Self {
            a: lines("A", m, k, fill),
            b: lines("B", n, k, fill),
            salts_a: Salts::new(digest("salts A")),
            salts_b: Salts::new(digest("salts B")),
            anchor: Anchor(digest("anchor")),
            core: Core(digest("core")),
        }
    }

    pub(crate) fn reference(&self) -> reference::Worked {
        let (a, b) = ((&self.a, &self.salts_a), (&self.b, &self.salts_b));
        reference::mine(a, b, self.anchor, self.core).unwrap()
    }

    pub(crate) fn certificate(&self, depth: u8, ticket: &Ticket) -> Certificate {
        let (a, b) = ((&self.a, &self.salts_a), (&self.b, &self.salts_b));
        reference::certificate(a, b, depth, (ticket.i, ticket.j, ticket.s)).unwrap()
    }

    /// Ancestors of which the one at `depth` is this job's anchor.
    pub(crate) fn ancestors(&self, depth: u8) -> Vec<Anchor> {
        let other = |place: usize| Anchor(digest(&format!("ancestor {place}")));
        let mut ancestors: Vec<_> = (0..16).map(other).collect();
        ancestors[usize::from(depth) - 1] = self.anchor;
        ancestors
    }

    pub(crate) fn work<'a>(&self, ancestors: &'a [Anchor], difficulty: u128) -> Work<'a> {
        let difficulty = Difficulty::new(difficulty).unwrap();
        Work { core: self.core, ancestors, difficulty }
    }
}

/// A·B by definition, row by row.
pub(crate) fn product(a: &Lines, b: &Lines) -> Vec<i32> {
    let dot = |row: &[i8], column: &[i8]| -> i32 {
        row.iter().zip(column).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
    };
    let k = a.inner() as usize;
    let rows = a.entries().chunks_exact(k);
    rows.flat_map(|row| b.entries().chunks_exact(k).map(move |column| dot(row, column))).collect()
}
