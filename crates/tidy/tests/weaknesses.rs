//! The page of known weaknesses of hooks: each has a test, and the test is there.

const PAGE: &str = "docs/guide/hook-weaknesses.md";

/// Would catch a weakness without a test, and a test that was renamed or taken away while the page still promises it.
#[test]
fn every_weakness_has_a_test_that_is_there() {
    let page = tidy::read(PAGE);
    let rows = tidy::table(&page, "# Known weaknesses of hooks, and what happens here");
    let numbers: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let expected = ["33", "34", "35", "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47", "48"];
    assert_eq!(numbers, expected);
    let mut gone = Vec::new();
    for row in &rows {
        for test in row[3].split(", ") {
            let (path, name) = test.trim_matches('`').split_once("::").unwrap_or_default();
            if name.is_empty() || !tidy::read(path).contains(&format!("fn {name}(")) {
                gone.push(test);
            }
        }
    }
    assert!(gone.is_empty(), "{PAGE} tells of {gone:?}");
}
