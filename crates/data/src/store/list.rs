//! Listing: prefix, delimiter, and pages over sorted keys. Pure over a seek.

/// What to list.
#[derive(Debug, Clone, Default)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: &'a str,
    /// Only what sorts after this key or common prefix.
    pub(super) after: &'a str,
    pub(super) max: usize,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item<T> {
    Object(String, T),
    Prefix(String),
}

impl<T> Item<T> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Object(name, _) | Self::Prefix(name) => name,
        }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub(super) items: Vec<Item<T>>,
    pub(super) truncated: bool,
}

/// Gives the first key at or after its argument, with what is stored there.
pub(super) type Seek<'a, T, E> = dyn FnMut(&str) -> Result<Option<(String, T)>, E> + 'a;

/// Lists by `seek`, which gives the first key at or after its argument.
///
/// A common prefix counts as one line, sorts by its own text, and costs one seek however many
/// keys it stands for.
pub(super) fn page<T, E>(query: &Query<'_>, seek: &mut Seek<'_, T, E>) -> Result<Page<T>, E> {
    let mut items = Vec::new();
    let mut from = query.prefix.to_owned();
    if query.after >= query.prefix {
        from = beyond(query, query.after);
    }
    while let Some((key, value)) = seek(&from)? {
        if !key.starts_with(query.prefix) {
            break;
        }
        if items.len() >= query.max {
            return Ok(Page { items, truncated: query.max > 0 });
        }
        let rest = &key[query.prefix.len()..];
        let cut = if query.delimiter.is_empty() { None } else { rest.find(query.delimiter) };
        match cut {
            Some(at) => {
                let common = key[..query.prefix.len() + at + query.delimiter.len()].to_owned();
                from = past_prefix(&common);
                items.push(Item::Prefix(common));
            }
            None => {
                from = format!("{key}\0");
                items.push(Item::Object(key, value));
            }
        }
    }
    Ok(Page { items, truncated: false })
}

/// Where to go on after a line: past all keys of a common prefix, or just past a key.
fn beyond(query: &Query<'_>, after: &str) -> String {
    let whole_prefix = !query.delimiter.is_empty()
        && after.len() > query.prefix.len()
        && after.starts_with(query.prefix)
        && after.ends_with(query.delimiter)
        && after[query.prefix.len()..].find(query.delimiter)
            == Some(after.len() - query.prefix.len() - query.delimiter.len());
    if whole_prefix { past_prefix(after) } else { format!("{after}\0") }
}

/// The least text that sorts after every key with this prefix, as far as text can say it.
fn past_prefix(prefix: &str) -> String {
    // U+10FFFF is the largest character, so only a key that has it here four times over could
    // sort later, and keys end at 1024 bytes.
    let room = 1028_usize.saturating_sub(prefix.len()) / 4;
    let mut past = prefix.to_owned();
    for _ in 0..=room {
        past.push(char::MAX);
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    fn over(keys: &BTreeSet<String>, query: &Query<'_>) -> Page<()> {
        let mut seek = |from: &str| -> Result<_, Infallible> {
            Ok(keys.range(from.to_owned()..).next().map(|key| (key.clone(), ())))
        };
        match page(query, &mut seek) {
            Ok(page) => page,
            Err(never) => match never {},
        }
    }

    /// Everything at once, by the definition: no seeks, no pages.
    fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str) -> Vec<Item<()>> {
        let mut lines = BTreeMap::new();
        for key in keys.iter().filter(|key| key.starts_with(prefix)) {
            let at = key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty());
            let line = match at {
                Some(at) => Item::Prefix(key[..prefix.len() + at + delimiter.len()].to_owned()),
                None => Item::Object(key.clone(), ()),
            };
            lines.insert(line.name().to_owned(), line);
        }
        lines.into_values().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn pages_of_any_size_join_to_the_model(
            keys in proptest::collection::btree_set("[ab/\u{10ffff}.]{1,6}", 0..24),
            prefix in "[ab/]{0,2}",
            delimiter in prop_oneof![Just(""), Just("/"), Just("b"), Just("ab")],
            max in 1_usize..5,
        ) {
            let expected = model(&keys, &prefix, delimiter);
            let (mut joined, mut after) = (Vec::new(), String::new());
            for _ in 0..100 {
                let query = Query { prefix: &prefix, delimiter, after: &after, max };
                let page = over(&keys, &query);
                prop_assert!(page.items.len() <= max);
                if let Some(last) = page.items.last() {
                    after = last.name().to_owned();
                }
                joined.extend(page.items);
                if !page.truncated {
                    break;
                }
            }
            prop_assert_eq!(joined, expected);
        }
    }

    #[test]
    fn a_page_of_nothing_is_not_truncated() {
        let keys = BTreeSet::from(["a".to_owned()]);
        let page = over(&keys, &Query { max: 0, ..Query::default() });
        assert_eq!(page, Page { items: vec![], truncated: false });
    }
}
