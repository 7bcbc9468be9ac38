//! One operand of a job: int7 entries, line by line.

use crate::shape::{GROUP, GROUP_U32, SEGMENT, Shape, ShapeError};

/// The largest magnitude of an entry (M-1).
pub const MAX_ENTRY: i8 = 63;

/// The rows of A, or the columns of B, one after the other; every entry is in [−63, 63].
#[derive(Clone, PartialEq, Eq)]
pub struct Lines {
    count: u32,
    k: u32,
    data: Vec<i8>,
}

/// Entries that are no operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinesError {
    /// The sizes cannot be mined.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The number of entries is not lines times inner size.
    #[error("{found} entries, {expected} expected")]
    Length {
        /// What the sizes ask for.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// An entry is outside int7.
    #[error("entry {value} at position {position}: entries are from −63 to 63")]
    Entry {
        /// Its place in the data as given.
        position: usize,
        /// What stands there.
        value: i8,
    },
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Lines({} of {})", self.count, self.k)
    }
}

impl Lines {
    /// `count` lines of `k` entries: A row after row, or B column after column.
    ///
    /// # Errors
    /// Sizes outside M-1, a wrong number of entries, or an entry outside [−63, 63].
    pub fn new(count: u32, k: u32, data: Vec<i8>) -> Result<Self, LinesError> {
        check(count, k, &data)?;
        Ok(Self { count, k, data })
    }

    /// The columns of a k×n matrix that is stored row after row.
    ///
    /// # Errors
    /// As [`Lines::new`].
    pub fn from_row_major(k: u32, n: u32, data: &[i8]) -> Result<Self, LinesError> {
        check(n, k, data)?;
        let (height, width) = (k as usize, n as usize);
        let mut lines = vec![0; data.len()];
        // Square blocks, so that both sides stay in the cache.
        for (rows, first) in data.chunks(width * GROUP).zip((0..height).step_by(GROUP)) {
            for (column, line) in lines.chunks_exact_mut(height).enumerate() {
                let place = line.iter_mut().skip(first);
                for (to, from) in place.zip(rows.iter().skip(column).step_by(width)) {
                    *to = *from;
                }
            }
        }
        Ok(Self { count: n, k, data: lines })
    }

    /// How many lines.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Entries of a line.
    #[must_use]
    pub const fn inner(&self) -> u32 {
        self.k
    }

    /// All entries, line after line.
    #[must_use]
    pub fn entries(&self) -> &[i8] {
        &self.data
    }

    /// The sixteen lines of a group, one after the other; empty past the last.
    #[must_use]
    pub fn group(&self, group: u32) -> &[i8] {
        let size = GROUP * self.k as usize;
        self.data.chunks_exact(size).nth(group as usize).unwrap_or_default()
    }

    /// The leaf of a group and a segment: its sixteen lines, 1,024 entries of each.
    #[must_use]
    pub fn leaf(&self, group: u32, segment: u32) -> Vec<u8> {
        let mut leaf = Vec::with_capacity(GROUP * SEGMENT);
        self.write_leaf(group, segment, &mut leaf);
        leaf
    }

    pub(crate) fn write_leaf(&self, group: u32, segment: u32, leaf: &mut Vec<u8>) {
        leaf.clear();
        for line in self.group(group).chunks_exact(self.k as usize) {
            let part = line.chunks_exact(SEGMENT).nth(segment as usize).unwrap_or_default();
            leaf.extend(part.iter().map(|entry| entry.cast_unsigned()));
        }
    }
}

fn check(count: u32, k: u32, data: &[i8]) -> Result<(), LinesError> {
    Shape::new(count, k, GROUP_U32)?;
    let expected = count as usize * k as usize;
    if data.len() != expected {
        return Err(LinesError::Length { expected, found: data.len() });
    }
    if all_int7(data.iter().copied()) {
        return Ok(());
    }
    let outside = data.iter().enumerate().find(|(_, value)| !is_int7(**value));
    outside.map_or(Ok(()), |(position, value)| Err(LinesError::Entry { position, value: *value }))
}

/// Whether an entry is in [−63, 63].
pub(crate) const fn is_int7(value: i8) -> bool {
    value >= -MAX_ENTRY && value <= MAX_ENTRY
}

/// Whether all are; without an early end, so that it vectorises.
pub(crate) fn all_int7(entries: impl Iterator<Item = i8>) -> bool {
    entries.fold(0, |outside, entry| outside | u8::from(!is_int7(entry))) == 0
}

/// The shape of a job over two operands.
///
/// # Errors
/// The inner sizes differ.
pub(crate) fn shape_of(a: &Lines, b: &Lines) -> Result<Shape, ShapeError> {
    if a.k != b.k {
        return Err(ShapeError::Mismatch { a: a.k, b: b.k });
    }
    Shape::new(a.count, a.k, b.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;

    #[test]
    fn m1_an_entry_outside_int7_is_named() {
        let mut data = vec![0; 16 * 1024];
        data[5] = -63;
        assert!(Lines::new(16, 1024, data.clone()).is_ok());
        for value in [64, -64, i8::MIN, i8::MAX] {
            data[7000] = value;
            let error = Lines::new(16, 1024, data.clone());
            assert_eq!(error, Err(LinesError::Entry { position: 7000, value }));
        }
    }

    #[test]
    fn columns_are_those_of_the_row_major_matrix() {
        let (k, n) = (1024, 32);
        let row_major: Vec<i8> =
            (0..k * n).map(|x| i8::try_from(x * 7 % 127 - 63).unwrap()).collect();
        let lines = Lines::from_row_major(1024, 32, &row_major).unwrap();
        for (column, row) in [(0, 0), (31, 1023), (17, 900)] {
            let expected = row_major[usize::try_from(row * n + column).unwrap()];
            assert_eq!(lines.entries()[usize::try_from(column * k + row).unwrap()], expected);
        }
        let error = Lines::from_row_major(1024, 32, &row_major[1..]);
        assert_eq!(error, Err(LinesError::Length { expected: 32 * 1024, found: 32 * 1024 - 1 }));
    }

    #[test]
    fn sizes_are_checked_before_entries() {
        let error = Lines::new(17, 1024, Vec::new()).unwrap_err();
        assert_eq!(error, ShapeError::Lines { side: Side::Left, count: 17 }.into());
    }
}
