//! Lines that fit the screen, broken at blanks.
//!
//! A line goes on below the beginning of its text: below its last column if it has some (two blanks part them), or behind
//! the label it begins with (`types: `). Lines that four blanks set off are examples, and rows of a table have their text
//! too far to the right: these stay as they are.

/// Breaks the lines of `text` that are longer than `columns` characters.
pub fn lines(text: &str, columns: usize) -> String {
    text.split('\n').map(|line| broken(line, columns)).collect::<Vec<_>>().join("\n")
}

fn broken(line: &str, columns: usize) -> String {
    let hang = hang(line);
    let indent = line[..hang].chars().count();
    if line.chars().count() <= columns || line.starts_with("    ") || indent > columns / 2 {
        return line.to_owned();
    }
    let (mut done, mut width) = (line[..hang].to_owned(), indent);
    for word in line[hang..].split(' ') {
        let letters = word.chars().count();
        if width > indent && width + 1 + letters > columns {
            done += &format!("\n{}", " ".repeat(indent));
            width = indent;
        }
        if width > indent {
            done.push(' ');
            width += 1;
        }
        done += word;
        width += letters;
    }
    done
}

/// The byte at which the text of a line begins.
fn hang(line: &str) -> usize {
    let after_columns = line.rfind("  ").map(|at| at + 2);
    let label = || line.find(' ').filter(|at| line[..*at].ends_with(':')).map(|at| at + 1);
    after_columns.or_else(label).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a word that is cut, a line that is too long although it could be broken, or text below the wrong column.
    #[test]
    fn long_lines_go_on_below_their_text() {
        assert_eq!(lines("  g  lets every core run", 14), "  g  lets\n     every\n     core run");
        assert_eq!(lines("types: one, two, three", 16), "types: one, two,\n       three");
        assert_eq!(lines("one two three\nfour", 7), "one two\nthree\nfour");
        assert_eq!(lines("für über", 5), "für\nüber", "characters count, not bytes");
        assert_eq!(lines("a-word-that-is-longer is", 5), "a-word-that-is-longer\nis");
    }

    /// Would catch an example that can no longer be copied, a broken row of a table, or a change where all fits.
    #[test]
    fn examples_tables_and_what_fits_stay_as_they_are() {
        for text in ["    0: kHyperDbg> prealloc monitor 10", "monitor  0x3000  0x10  0x10", "one two"] {
            assert_eq!(lines(text, 12), text);
        }
        assert_eq!(lines("", 0), "");
    }
}
