//! The tables' names and forms.

use redb::TableDefinition;

type Bytes = &'static [u8];
type Id = &'static [u8; 32];

pub(crate) const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");
pub(crate) const HEADERS: TableDefinition<'_, Id, Bytes> = TableDefinition::new("headers");
pub(crate) const BODIES: TableDefinition<'_, Id, Bytes> = TableDefinition::new("bodies");
/// By height first: pruning is one range, whatever the branch.
pub(crate) const CERTIFICATES: TableDefinition<'_, (u64, Id), Bytes> =
    TableDefinition::new("certificates");
pub(crate) const RECEIPTS: TableDefinition<'_, Id, Bytes> = TableDefinition::new("receipts");
pub(crate) const INVALID: TableDefinition<'_, Id, ()> = TableDefinition::new("invalid");
pub(crate) const BEST: TableDefinition<'_, u64, Id> = TableDefinition::new("best");
pub(crate) const PLACES: TableDefinition<'_, Id, (u64, u32)> = TableDefinition::new("places");
pub(crate) const BLOOMS: TableDefinition<'_, u64, Bytes> = TableDefinition::new("blooms");
pub(crate) const NODES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("nodes");
pub(crate) const VALUES: TableDefinition<'_, &'static [u8; 40], Bytes> =
    TableDefinition::new("values");
pub(crate) const JOURNAL: TableDefinition<'_, u64, Bytes> = TableDefinition::new("journal");

/// Names in `meta`.
pub(crate) const HEAD: &str = "head";
pub(crate) const OLDEST: &str = "oldest state";
pub(crate) const FORMAT: &str = "layout";
