//! Ordered sets in the state: adding, removing and the first entries cost the same however many
//! there are.

use alloy_primitives::{Address, B256};

use crate::book::Book;
use crate::codec::fields;
use crate::record::Record;
use crate::state::{State, StateError, key};

/// Which lists there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An operator's machines.
    Machines,
    /// A machine's or a client's rentals that are not Closed.
    Rentals,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Machines => 0,
            Self::Rentals => 1,
        }
    }
}

/// The most entries that a view returns.
pub(crate) const VIEW_LIMIT: usize = 1_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct List {
    head: B256,
    tail: B256,
    length: u64,
}

fields!(List { head, tail, length });
impl Record for List {
    const WHAT: &'static str = "list";
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Item {
    before: B256,
    after: B256,
}

fields!(Item { before, after });
impl Record for Item {
    const WHAT: &'static str = "list item";
}

/// Appends an entry; one that is there stays where it is.
pub(crate) fn append<S: State + ?Sized>(
    book: &mut Book<'_, S>,
    kind: Kind,
    owner: Address,
    item: B256,
) -> Result<(), StateError> {
    let code = kind.code();
    if book.get::<Item>(&key::list_item(code, owner, item))?.is_some() {
        return Ok(());
    }
    let mut list: List = book.get(&key::list(code, owner))?.unwrap_or_default();
    if list.length > 0 {
        let tail_key = key::list_item(code, owner, list.tail);
        let tail: Item = book.get(&tail_key)?.unwrap_or_default();
        book.put(tail_key, &Item { after: item, ..tail })?;
    } else {
        list.head = item;
    }
    let before = if list.length > 0 { list.tail } else { B256::ZERO };
    book.put(key::list_item(code, owner, item), &Item { before, after: B256::ZERO })?;
    let length = list.length.saturating_add(1);
    book.put(key::list(code, owner), &List { tail: item, length, ..list })
}

/// Removes an entry, if it is there.
pub(crate) fn remove<S: State + ?Sized>(
    book: &mut Book<'_, S>,
    kind: Kind,
    owner: Address,
    item: B256,
) -> Result<(), StateError> {
    let code = kind.code();
    let item_key = key::list_item(code, owner, item);
    let Some(Item { before, after }) = book.get(&item_key)? else { return Ok(()) };
    let mut list: List = book.get(&key::list(code, owner))?.unwrap_or_default();
    if list.head == item {
        list.head = after;
    } else {
        let before_key = key::list_item(code, owner, before);
        let neighbour: Item = book.get(&before_key)?.unwrap_or_default();
        book.put(before_key, &Item { after, ..neighbour })?;
    }
    if list.tail == item {
        list.tail = before;
    } else {
        let after_key = key::list_item(code, owner, after);
        let neighbour: Item = book.get(&after_key)?.unwrap_or_default();
        book.put(after_key, &Item { before, ..neighbour })?;
    }
    list.length = list.length.saturating_sub(1);
    book.delete(item_key)?;
    if list.length == 0 {
        return book.delete(key::list(code, owner));
    }
    book.put(key::list(code, owner), &list)
}

/// The entries in the order of their adding, at most [`VIEW_LIMIT`].
pub(crate) fn entries<S: State + ?Sized>(
    book: &mut Book<'_, S>,
    kind: Kind,
    owner: Address,
) -> Result<Vec<B256>, StateError> {
    let code = kind.code();
    let list: List = book.get(&key::list(code, owner))?.unwrap_or_default();
    let mut found = Vec::new();
    let mut next = list.head;
    let length = usize::try_from(list.length).unwrap_or(usize::MAX);
    while found.len() < length.min(VIEW_LIMIT) {
        found.push(next);
        let item: Item = book.get(&key::list_item(code, owner, next))?.unwrap_or_default();
        next = item.after;
    }
    Ok(found)
}
