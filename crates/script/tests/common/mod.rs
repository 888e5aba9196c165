//! What tests share: cases in files, and a resolver that knows two symbols and some files.

use script::Resolver;
use std::{fs, path::Path};

/// Two symbols, and files that are written here.
pub struct Files;

impl Resolver for Files {
    fn symbol(&self, module: Option<&str>, name: &str) -> Option<u64> {
        match (module, name) {
            (Some("nt"), "init") => Some(0x1230),
            (None | Some("kernel"), "main_symbol") => Some(0x4560),
            _ => None,
        }
    }

    fn suggest(&self, name: &str) -> Option<String> {
        name.contains("symbl").then(|| "main_symbol".to_owned())
    }

    fn include(&self, path: &str) -> Result<String, String> {
        match path {
            "five.ds" => Ok("int five() { return 5; }".to_owned()),
            "six.ds" => Ok("#include \"five.ds\";\nint six() { return five() + 1; }\n".to_owned()),
            "self.ds" => Ok("#include \"self.ds\"".to_owned()),
            "wrong.ds" => Ok("x = 1;\ny = @rxa;\n".to_owned()),
            _ => Err("there is no such file".to_owned()),
        }
    }
}

/// All cases of a folder: where, the script, and what stands behind the mark.
pub fn cases(folder: &str, mark: &str) -> Vec<(String, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        for (number, line) in fs::read_to_string(&file).expect("a file of text").lines().enumerate() {
            let Some((text, expected)) = line.rsplit_once(mark) else {
                assert!(line.is_empty(), "{name}:{}: no {mark}", number + 1);
                continue;
            };
            let text = text.strip_suffix(' ').unwrap_or(text);
            found.push((format!("{name}:{}", number + 1), text.replace('␤', "\n"), expected.trim().to_owned()));
        }
    }
    found
}

/// Parts at commas, but for those in quotes.
#[allow(dead_code, reason = "not every test that shares this file splits")]
pub fn split(text: &str) -> Vec<String> {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for character in text.chars() {
        quoted ^= character == '"';
        match character {
            ',' if !quoted => parts.push(String::new()),
            other => parts.last_mut().expect("one at least").push(other),
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}
