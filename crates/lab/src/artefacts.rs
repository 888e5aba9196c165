//! Builds what is tried in the guest: the image, the module around it, and the program `hyperdbg`.
//!
//! cargo and make decide what is out of date. Modules are built in a copy, so the project's folders stay clean; a file of
//! the copy is touched only when its text changed.

use crate::{
    cache::{Cache, write_if_changed},
    command::{failed, run},
    error::{At, Error},
    kernel::Kernel,
    progress::Progress,
};
use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The target of code that runs in root.
const BARE: &str = "x86_64-unknown-none";
/// Variables that cargo sets for a test or program and that a build for another target must not see.
const FOREIGN: [&str; 8] = [
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "LLVM_PROFILE_FILE",
];

/// What makes a guest debuggable.
#[derive(Clone, Debug)]
pub struct Hypervisor {
    /// `hyperkd.ko`.
    pub module: PathBuf,
    /// The program `hyperdbg`; the same on the host and in the guest.
    pub program: PathBuf,
    /// The flat image that the module carries.
    pub image: PathBuf,
    /// The image with its symbols.
    pub image_elf: PathBuf,
}

/// Builds everything. The cache must be locked.
pub(crate) fn hypervisor(cache: &Cache, kernel: &Kernel, progress: Progress) -> Result<Hypervisor, Error> {
    let program = {
        let _step = progress.step("building hyperdbg");
        let folder = cache.path("host");
        run(cargo(cache).args(["build", "--release", "--package", "cli", "--target-dir"]).arg(&folder))?;
        folder.join("release/hyperdbg")
    };
    let image_elf = image(cache, progress)?;
    let tree = cache.path("tree");
    let image = tree.join("module/hyperkd.img");
    let flat = cache.path("image/hyperkd.img");
    run(Command::new("objcopy").args(["-O", "binary"]).arg(&image_elf).arg(&flat))?;
    let sources = cache.workspace().join("module");
    if !sources.exists() {
        return Err(Error::Missing { path: sources, needed_for: "hyperkd.ko, which puts the hypervisor under Linux" });
    }
    copy(&cache.workspace().join("include"), &tree.join("include"), &[])?;
    copy(&sources, &tree.join("module"), &["hyperkd.img"])?;
    write_if_changed(&image, &fs::read(&flat).at("read", &flat)?)?;
    let module = make_module(kernel, &tree.join("module"), "hyperkd", progress)?;
    Ok(Hypervisor { module, program, image, image_elf })
}

/// Builds a module of the tests.
pub(crate) fn guest_module(cache: &Cache, kernel: &Kernel, sources: &Path, progress: Progress) -> Result<PathBuf, Error> {
    let name = sources.file_name().unwrap_or(sources.as_os_str()).to_string_lossy().into_owned();
    let tree = cache.path("modules").join(&name);
    copy(sources, &tree, &[])?;
    make_module(kernel, &tree, &name, progress)
}

fn image(cache: &Cache, progress: Progress) -> Result<PathBuf, Error> {
    let elf = cache.path("image").join(BARE).join("image/image");
    add_target(cache, progress)?;
    let _step = progress.step("building the hypervisor's image");
    let mut build = cargo(cache);
    build
        .args(["build", "--package", "image", "--profile", "image", "--target", BARE, "--target-dir"])
        .arg(cache.path("image"));
    run(&mut build)?;
    if elf.exists() { Ok(elf) } else { Err(Error::Missing { path: elf, needed_for: "the module, which carries the image" }) }
}

/// Adds the Rust target of root's code, unless its library is there.
fn add_target(cache: &Cache, progress: Progress) -> Result<(), Error> {
    let rustc = || {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.current_dir(cache.workspace());
        rustc
    };
    let (library, _) = run(rustc().args(["--print", "target-libdir", "--target", BARE]))?;
    if Path::new(library.trim()).exists() {
        return Ok(());
    }
    let _step = progress.step(format!("adding the Rust target {BARE}"));
    run(Command::new("rustup").args(["target", "add", BARE]).current_dir(cache.workspace())).map(drop)
}

/// A cargo that sees the project and none of the settings of whoever runs the lab.
fn cargo(cache: &Cache) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(cache.workspace());
    for name in FOREIGN {
        cargo.env_remove(name);
    }
    cargo
}

/// Copies the files of a folder, and removes sources from the copy that are gone; `ours` are not the folder's.
fn copy(from: &Path, to: &Path, ours: &[&str]) -> Result<(), Error> {
    let mut names = HashSet::new();
    for entry in fs::read_dir(from).at("list", from)? {
        let path = entry.at("list", from)?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        names.insert(name.to_owned());
        write_if_changed(&to.join(name), &fs::read(&path).at("read", &path)?)?;
    }
    for entry in fs::read_dir(to).at("list", to)? {
        let path = entry.at("list", to)?.path();
        let Some(name) = path.file_name() else { continue };
        let source = path.extension().is_some_and(|end| ["c", "S", "h"].iter().any(|source| end == *source));
        // `NAME.mod.c` is kbuild's own.
        let made = name.to_string_lossy().ends_with(".mod.c") || ours.iter().any(|ours| name == *ours);
        if source && !made && !names.contains(name) {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Lets kbuild make a module in a folder of ours; any warning is an error, of the compiler and of kbuild's own tools.
fn make_module(kernel: &Kernel, folder: &Path, name: &str, progress: Progress) -> Result<PathBuf, Error> {
    let _step = progress.step(format!("building {name}.ko for {}", kernel.version));
    let module = folder.join(format!("{name}.ko"));
    let mut make = Command::new("make");
    make.env_remove("MAKEFLAGS").env("LC_ALL", "C").arg("-C").arg(kernel.headers());
    make.arg(format!("M={}", folder.display())).args(["KCFLAGS=-Werror", "modules"]);
    let (out, err) = run(&mut make)?;
    let said = format!("{out}{err}");
    if let Some(warning) = said.lines().find(|line| is_warning(line)) {
        // Else the next make finds nothing to do and says nothing.
        fs::remove_file(&module).at("remove", &module)?;
        return Err(failed(&make, &format!("a warning: {}", warning.trim()), &said));
    }
    if module.exists() { Ok(module) } else { Err(Error::Missing { path: module, needed_for: "the guest" }) }
}

/// A warning of the compiler, objtool or modpost.
fn is_warning(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    // Headers built by one patch level of gcc serve another.
    line.contains("warning:") && !line.contains("the compiler differs")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a warning that passes because the compiler made an object all the same.
    #[test]
    fn warnings_of_every_tool_are_seen() {
        assert!(is_warning("/x/main.c:3:5: warning: unused variable 'a' [-Wunused-variable]"));
        assert!(is_warning("WARNING: modpost: missing MODULE_LICENSE() in x.o"));
        assert!(is_warning("x.o: warning: objtool: enter()+0x1: unreachable instruction"));
        assert!(!is_warning("  CC [M]  main.o"));
    }

    /// Would catch an object built from a file that the project no longer has.
    #[test]
    fn a_copy_follows_its_folder_and_keeps_what_was_made_there() {
        let root = env::temp_dir().join(format!("lab-test-{}-copy", std::process::id()));
        let (from, to) = (root.join("from"), root.join("to"));
        for (path, text) in [
            (from.join("main.c"), "1"),
            (to.join("old.c"), "2"),
            (to.join("old.o"), "3"),
            (to.join("hyperkd.mod.c"), "4"),
            (to.join("hyperkd.img"), "5"),
        ] {
            write_if_changed(&path, text.as_bytes()).unwrap();
        }
        copy(&from, &to, &["hyperkd.img"]).unwrap();
        let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["hyperkd.img", "hyperkd.mod.c", "main.c", "old.o"]);
        assert!(!write_if_changed(&to.join("main.c"), b"1").unwrap(), "its time must not change");
        fs::remove_dir_all(root).unwrap();
    }
}
