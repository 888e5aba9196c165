//! Which Bochs, and how it comes to be here: fetched from Debian's archive, mended, built once.
//!
//! Debian 12's own Bochs (2.7) has no monitor trap flag, so the source of a later one is taken from the archive that apt is set
//! to. What makes a build, source and edits and options, names its folder: another recipe is another folder, and one that
//! is there is whole.
//!
//! **The mend.** With several processors Bochs returns from exceptions and VM exits by `longjmp` into a loop of its own, which
//! (1) does not say that the instruction pointer is final, so the next asynchronous exit (an NMI, its window, the preemption
//! timer, the monitor trap flag) saves the old one with the new stack, and (2) keeps its variables where `longjmp` may lose
//! them. Without it six of six runs of 30 000 halts by NMI lost the guest; with it none did. And (3) a reset sets each time stamp
//! counter to nought by way of IA32_TSC_ADJUST, which Linux puts right on the first processor and not on the others: in a second
//! boot time jumps by the length of the first. So a reset leaves the counters alone, as they all are one clock.
//!
//! **Callers**: [`crate::setup`]. **Cost**: docs/decisions/0020. **Proof**: below; that it boots, `tests/vendors.rs`.

use super::Bochs;
use crate::{
    cache::Cache,
    command::run,
    error::{At, Error},
    packages::{self, Package, package},
    progress::Progress,
};
use std::{
    env, fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// The environment variable that names a Bochs to use instead.
pub const VARIABLE: &str = "HYPERDBG_BOCHS";

/// Bochs 3.0 as Debian's archive has it: where below a mirror, and what it must be.
const SOURCE: &str = "pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz";
const SOURCE_SHA256: &str = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b";
/// Where apt's own way to fetch a file is.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// What Bochs is built with. Its count of instructions a second is left out since it stops guests: an alarm's handler writes it
/// to the log, and waits for ever for the log's lock if the alarm came while a line was written. The last one leaves out debug
/// information.
const OPTIONS: [&str; 14] = [
    "--disable-show-ips",
    "--disable-debugger",
    "--enable-all-optimizations",
    "--enable-handlers-chaining",
    "--enable-smp",
    "--enable-vmx=2",
    "--enable-svm",
    "--enable-avx",
    "--enable-evex",
    "--enable-x86-64",
    "--enable-cpu-level=6",
    "--with-nogui",
    "--disable-plugins",
    "CFLAGS=-O2 CXXFLAGS=-O2",
];

/// A change of one place in the source; its text must be there once.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const EDITS: [Edit; 4] = [
    Edit { file: "main.cc", from: "Bit32u executed = 0, processor = 0;", to: "volatile Bit32u executed = 0, processor = 0;" },
    Edit { file: "main.cc", from: "bool run = true;", to: "volatile bool run = true;" },
    Edit {
        file: "main.cc",
        from: "run = false;",
        to: "run = false;\n\
             BX_CPU(processor)->prev_rip = BX_CPU(processor)->get_instruction_pointer();\n\
             BX_CPU(processor)->speculative_rsp = false;",
    },
    Edit { file: "cpu/init.cc", from: "BX_CPU_THIS_PTR set_TSC(0);", to: "BX_CPU_THIS_PTR tsc_adjust = 0;" },
];

/// What building takes, and making a disc.
#[must_use]
pub(crate) fn packages(building: bool) -> Vec<Package> {
    let mut packages = vec![package("genisoimage", "/usr/bin/genisoimage")];
    if building {
        packages.extend([package("make", "/usr/bin/make"), package("g++", "/usr/bin/g++"), package("xz-utils", "/usr/bin/xz")]);
    }
    packages
}

/// A Bochs somebody else has built, if one is named: by an option, else by the variable.
///
/// # Errors
/// [`Error::Missing`] if it is not there.
pub(crate) fn named(program: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    let by_variable = || env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = program.map(Path::to_owned).or_else(by_variable) else { return Ok(None) };
    if !path.is_file() {
        return Err(Error::Missing { path, needed_for: "the Bochs that --emulator or HYPERDBG_BOCHS names" });
    }
    std::path::absolute(&path).at("find", &path).map(Some)
}

/// The program that this recipe makes; whether it is there says whether it must be built.
pub(crate) fn place(cache: &Cache) -> PathBuf {
    cache.path(&format!("bochs/{:016x}/bochs", recipe()))
}

/// What names a build (FNV-1a, 64 bits).
fn recipe() -> u64 {
    let edits = EDITS.iter().flat_map(|edit| [edit.file, edit.from, edit.to]);
    let parts = [SOURCE_SHA256].into_iter().chain(OPTIONS).chain(edits);
    parts
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Everything that boots a guest, fetched and built as far as it is missing. The cache must be locked, packages be there.
pub(crate) fn set_up(cache: &Cache, program: Option<PathBuf>, progress: Progress) -> Result<Bochs, Error> {
    let program = match program {
        Some(program) => program,
        None => {
            let program = place(cache);
            if !program.exists() {
                build(cache, &program, progress)?;
            }
            program
        }
    };
    let part = |name: &str, file: &str| {
        let unpacked = cache.path("bochs").join(name);
        if !unpacked.exists() {
            packages::fetch(name, &unpacked, progress)?;
        }
        let path = unpacked.join(file);
        if path.exists() { Ok(path) } else { Err(Error::Missing { path, needed_for: "booting in Bochs" }) }
    };
    Ok(Bochs {
        program,
        bios: part("bochsbios", "usr/share/bochs/BIOS-bochs-latest")?,
        display_bios: part("vgabios", "usr/share/vgabios/vgabios.bin")?,
        loader: [
            part("isolinux", "usr/lib/ISOLINUX/isolinux.bin")?,
            part("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32")?,
        ],
    })
}

fn build(cache: &Cache, program: &Path, progress: Progress) -> Result<(), Error> {
    let scratch = cache.path("bochs/building");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).at("remove", &scratch)?;
    }
    fs::create_dir_all(&scratch).at("make", &scratch)?;
    {
        let _step = progress.step("fetching the source of Bochs 3.0");
        let source = scratch.join("bochs.tar.xz");
        fetch(&source)?;
        run(Command::new("tar").args(["--strip-components=1", "-xf"]).arg(&source).arg("-C").arg(&scratch))?;
    }
    let _step = progress.step("building Bochs 3.0, once (a minute or two)");
    for edit in &EDITS {
        mend(&scratch.join(edit.file), edit)?;
    }
    let options = OPTIONS.iter().flat_map(|option| option.split(' '));
    run(Command::new("sh").arg("./configure").args(options).current_dir(&scratch))?;
    let jobs = thread::available_parallelism().map_or(1, NonZero::get);
    let mut make = Command::new("make");
    run(make.env_remove("MAKEFLAGS").arg(format!("-j{jobs}")).current_dir(&scratch))?;
    // The program appears when it is whole.
    if let Some(folder) = program.parent() {
        fs::create_dir_all(folder).at("make", folder)?;
    }
    let built = scratch.join("bochs");
    fs::rename(&built, program).at("move", &built)?;
    fs::remove_dir_all(&scratch).at("remove", &scratch)
}

/// Fetches the source from the first of apt's archives that has it; apt checks that it is the one that is meant.
fn fetch(to: &Path) -> Result<(), Error> {
    let refuse = |why: String| Error::NoSource {
        what: "Bochs",
        why,
        instead: format!(
            "{SOURCE} must be below one of the archives that apt is set to. With a Bochs of 3.0 or later, built with\n    {}\n\
             name its program: {VARIABLE}=PATH, or --emulator PATH",
            OPTIONS.join(" ")
        ),
    };
    let mut targets = Command::new("apt-get");
    let (archives, _) =
        run(targets.args(["indextargets", "--format", "$(REPO_URI)"])).map_err(|error| refuse(error.to_string()))?;
    let mut tried = "apt is set to no archive".to_owned();
    for archive in archives_of(&archives) {
        let mut helper = Command::new(APT_HELPER);
        helper.args(["-q", "download-file", &format!("{archive}{SOURCE}")]).arg(to).arg(format!("SHA256:{SOURCE_SHA256}"));
        match run(helper.env("LC_ALL", "C")) {
            Ok(_) => return Ok(()),
            Err(error) => tried = packages::short(&error),
        }
    }
    Err(refuse(tried))
}

/// Each archive once, in apt's order.
fn archives_of(said: &str) -> Vec<&str> {
    let mut archives: Vec<&str> = Vec::new();
    for archive in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !archives.contains(&archive) {
            archives.push(archive);
        }
    }
    archives
}

/// Makes one change in a file of the source.
fn mend(path: &Path, edit: &Edit) -> Result<(), Error> {
    let text = fs::read_to_string(path).at("read", path)?;
    let text = mended(&text, edit).map_err(std::io::Error::other).at("mend", path)?;
    fs::write(path, text).at("write", path)
}

fn mended(text: &str, edit: &Edit) -> Result<String, String> {
    match text.matches(edit.from).count() {
        1 => Ok(text.replace(edit.from, edit.to)),
        count => Err(format!("`{}` is there {count} times, not once", edit.from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a mend that silently goes nowhere, or into two places.
    #[test]
    fn a_change_is_made_in_one_place_or_refused() {
        let edit = Edit { file: "", from: "bool run", to: "volatile bool run" };
        assert_eq!(mended("x; bool run; y", &edit).unwrap(), "x; volatile bool run; y");
        for text in ["", "bool run; bool run"] {
            assert!(mended(text, &edit).unwrap_err().contains("not once"), "{text}");
        }
    }

    /// Would catch an archive that is asked for each of its lists.
    #[test]
    fn an_archive_is_asked_once() {
        assert_eq!(archives_of("a/\na/\n\nb/\na/\n"), ["a/", "b/"]);
    }

    /// Would catch a named Bochs that is not there and is built instead without a word.
    #[test]
    fn a_named_program_must_be_there() {
        let there = env::current_exe().unwrap();
        assert_eq!(named(Some(&there)).unwrap(), Some(there));
        let error = named(Some(Path::new("/nonexistent/bochs"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/bochs is missing") && error.contains(VARIABLE), "{error}");
    }
}
