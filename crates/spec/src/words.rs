//! The fixed words of a specification and the values they stand for.

use pouw_types::{Isolation, UseCase};

use crate::task::{InputMode, Mineable, Network, OutputMode, PricingModel, Protocol};

/// A table of words: what may be written, what it means.
pub(crate) type Words<T> = &'static [(&'static str, T)];

pub(crate) const USE_CASES: Words<UseCase> = &[
    ("ai", UseCase::Ai),
    ("rendering", UseCase::Rendering),
    ("gaming", UseCase::Gaming),
    ("general", UseCase::General),
];
pub(crate) const ISOLATIONS: Words<Isolation> =
    &[("runc", Isolation::Runc), ("gvisor", Isolation::Gvisor)];
pub(crate) const NETWORKS: Words<Network> = &[("none", Network::None), ("egress", Network::Egress)];
pub(crate) const MODELS: Words<PricingModel> = &[
    ("on-demand", PricingModel::OnDemand),
    ("pay-as-you-go", PricingModel::PayAsYouGo),
    ("spot", PricingModel::Spot),
];
pub(crate) const INPUT_MODES: Words<InputMode> =
    &[("read-only", InputMode::ReadOnly), ("read-write", InputMode::ReadWrite)];
pub(crate) const OUTPUT_MODES: Words<OutputMode> =
    &[("always", OutputMode::Always), ("on-success", OutputMode::OnSuccess)];
pub(crate) const PROTOCOLS: Words<Protocol> = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
pub(crate) const MINEABLE: Words<Mineable> =
    &[("none", Mineable::None), ("opening", Mineable::Opening)];

/// The use case of this name.
pub(crate) fn use_case(word: &str) -> Option<UseCase> {
    find(USE_CASES, word)
}

/// The value of this word.
pub(crate) fn find<T: Copy>(words: Words<T>, word: &str) -> Option<T> {
    words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

/// `a`, `b` or `c`.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// The candidate that a mistyped word most likely means.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let written = word.to_ascii_lowercase().replace('_', "-");
    let distance = |candidate: &str| {
        strsim::damerau_levenshtein(&written, &candidate.to_ascii_lowercase().replace('_', "-"))
    };
    // Of two as near, the one with the same first letter: that one is seldom mistyped.
    let first = written.chars().next();
    let order = |candidate: &str| (distance(candidate), candidate.chars().next() != first);
    let ((best, _), candidate) =
        candidates.into_iter().map(|one| (order(one), one)).min_by_key(|(order, _)| *order)?;
    // A third of the letters may be wrong; a word of two or three letters may have one wrong.
    let allowed = word.chars().count().div_euclid(3).max(1);
    (best <= allowed).then_some(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        let names = ["image", "resources", "refund_window", "cpu"];
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, names), expected, "{word}");
        };
        check("imgae", Some("image"));
        check("resource", Some("resources"));
        check("refund-window", Some("refund_window"));
        check("CPU", Some("cpu"));
        check("cpus", Some("cpu"));
        assert_eq!(nearest("gpu", ["cpu", "gpus"]), Some("gpus"));
        check("zebra", None);
        check(&"a".repeat(100_000), None);
    }
}
