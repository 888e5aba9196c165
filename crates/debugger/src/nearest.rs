//! Did-you-mean.

/// The candidate that a word most likely was meant to be: a third of its letters may be wrong, case apart.
#[must_use]
pub fn of<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let letters = word.chars().count();
    // A mistyped word beyond this is no misspelling, and the distance costs its square.
    if letters == 0 || letters > 64 {
        return None;
    }
    let near = candidates.map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate));
    near.filter(|(distance, candidate)| {
        *distance <= letters.max(candidate.len()).div_ceil(3).min(4) && *distance < candidate.len()
    })
    .min_by_key(|(distance, _)| *distance)
    .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    /// Would catch an offer for something quite different, or none for a slip of the finger.
    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let names = ["prealloc", "pause", "exits", "g", "~"];
        assert_eq!(super::of("PREALOC", names.into_iter()), Some("prealloc"));
        assert_eq!(super::of("puase", names.into_iter()), Some("pause"));
        assert_eq!(super::of("qqqqqqqq", names.into_iter()), None);
        assert_eq!(super::of("z", names.into_iter()), None);
        assert_eq!(super::of("", names.into_iter()), None);
    }
}
