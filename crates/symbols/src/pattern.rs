//! Patterns: `*` stands for any letters, `?` for one; case does not matter.
//!
//! **Cost**: letters of the pattern times those of the name at most. **Proof**: tests below.

/// A pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// Of its text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().into_bytes())
    }

    /// Whether a text is one, rather than a name.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    /// Whether a name fits, all of it.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (&self.0, name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where the last `*` was, and up to where it reaches so far.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == b'?' || *c == name[n].to_ascii_lowercase() => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((at, reach)) = star else { return false };
                    star = Some((at, reach + 1));
                    p = at + 1;
                    n = reach + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|taken| slow(rest, &name[taken..])),
            Some((c, rest)) => name.split_first().is_some_and(|(n, name)| (*c == b'?' || c == n) && slow(rest, name)),
        }
    }

    /// Would catch a star that takes too little or too much, and a pattern that fits a part of a name.
    #[test]
    fn a_star_is_any_letters_and_a_name_fits_whole() {
        for (pattern, name, fits) in [
            ("*getppid*", "__x64_sys_getppid", true),
            ("getppid", "__x64_sys_getppid", false),
            ("__X64_sys_?etppid", "__x64_sys_getppid", true),
            ("*a*b*c", "aabbcbc", true),
            ("", "a", false),
            ("", "", true),
            ("**", "", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} {name}");
        }
    }

    proptest! {
        /// Would catch any difference from the definition.
        #[test]
        fn a_fast_answer_is_the_slow_one(pattern in "[ab*?]{0,7}", name in "[ab]{0,8}") {
            prop_assert_eq!(Pattern::new(&pattern).fits(&name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
