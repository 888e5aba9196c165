//! The built image: code that Linux' own registers and loader must never notice.
//!
//! Looks at what the lab built last; where it has built nothing yet, the test says so and checks nothing.

use std::{env, path::PathBuf, process::Command};

fn image() -> Option<PathBuf> {
    let cache = env::var_os("HYPERDBG_CACHE").filter(|path| !path.is_empty());
    let cache = cache.map_or_else(|| tidy::root().join("target/lab"), |path| tidy::root().join(path));
    let image = cache.join("image/x86_64-unknown-none/image/image");
    if !image.exists() {
        eprintln!("skipped: the lab has built no image yet (cargo lab setup)");
        return None;
    }
    Some(image)
}

fn output(program: &str, arguments: &[&str], image: &PathBuf) -> Option<String> {
    match Command::new(program).args(arguments).arg(image).output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        _ => {
            eprintln!("skipped: {program} of binutils is not here");
            None
        }
    }
}

/// Would catch code in root that changes a vector or x87 register: nobody saves the guest's.
#[test]
fn the_image_touches_no_vector_register() {
    let Some(image) = image() else { return };
    let Some(code) = output("objdump", &["--disassemble", "--no-show-raw-insn"], &image) else { return };
    let wrong: Vec<&str> = code
        .lines()
        .filter(|line| ["%xmm", "%ymm", "%zmm", "%mm", "%st", "%k0", "%k1"].iter().any(|name| line.contains(name)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(code.lines().count() > 1000, "that was no image");
}

/// Would catch a symbol that only a loader could fill, or a relocation left to do: the module copies bytes.
#[test]
fn the_image_needs_no_loader() {
    let Some(image) = image() else { return };
    if let Some(undefined) = output("nm", &["--undefined-only"], &image) {
        assert_eq!(undefined.trim(), "", "undefined symbols");
    }
    if let Some(headers) = output("readelf", &["--wide", "--relocs", "--dynamic"], &image) {
        let said: Vec<&str> = headers.lines().filter(|line| !line.is_empty()).collect();
        assert!(said.iter().all(|line| line.starts_with("There")), "{}", said.join("\n"));
    }
}
