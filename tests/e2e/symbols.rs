//! Names and types of the kernel, typed: on the machine itself and over the link, those of this boot and of no other.
use lab::{Lab, Machine, Mode, Prompt};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::{Result, at_prompt, guest};

/// What a whole kernel's names may take over the link, on a host that does much else.
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// What the system itself lists, as `x` shows it but for the case of the kind. `fits` is awk's.
fn listed(machine: &mut Machine, fits: &str) -> Result<Vec<String>> {
    let text = machine.ok(&format!("awk '{fits}' /proc/kallsyms"))?;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let module = words.get(3).map_or(String::new(), |module| format!("{}!", module.trim_matches(['[', ']'])));
        format!("{} {}  {module}{}", words[0], words[1].to_lowercase(), words[2])
    };
    Ok(text.lines().map(row).collect())
}

/// Rows of `x`, with the kind in lower case.
fn found(text: &str) -> Vec<String> {
    let row = |line: &str| {
        let (address, rest) = line.split_at_checked(17)?;
        Some(format!("{address}{}{}", rest.get(..1)?.to_lowercase(), rest.get(1..)?))
    };
    text.lines().filter_map(row).collect()
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// The address at which a row of [`listed`] begins.
fn address(rows: &[String]) -> Result<u64> {
    let row = rows.first().ok_or("no row")?;
    Ok(u64::from_str_radix(&row[..16], 16)?)
}

fn text(kd: &mut Prompt, line: &str) -> Result<String> {
    Ok(kd.type_line(line)?.text())
}

/// Each module of the system's list: where it begins, its size in hex, its name.
fn modules(machine: &mut Machine) -> Result<Vec<(u64, String, String)>> {
    let text = machine.ok("cat /proc/modules")?;
    let mut all = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let base = u64::from_str_radix(words[5].trim_start_matches("0x"), 16)?;
        all.push((base, format!("{:x}", words[1].parse::<u64>()?), words[0].to_owned()));
    }
    all.sort();
    Ok(all)
}

/// What `lm` shows, without the kernel.
fn shown_modules(text: &str) -> Result<Vec<(u64, String, String)>> {
    let mut all = Vec::new();
    for line in text.lines().skip(2) {
        let [base, size, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Err(line.into()) };
        all.push((u64::from_str_radix(base, 16)?, size.to_owned(), name.to_owned()));
    }
    all.sort();
    Ok(all)
}

fn run(command: &mut Command) -> Result {
    let output = command.output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}

/// A folder of this name for files of the test's.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("symbols-{name}"));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A module without the name of one of its functions, and with it.
fn module_without(name: &str) -> Result<(PathBuf, PathBuf)> {
    let whole = Lab::shared()?.guest_module(&guest::module("monitored"))?;
    let without = whole.with_extension("without");
    run(Command::new("objcopy").args(["-N", name]).args([&whole, &without]))?;
    Ok((without, whole))
}

/// The value of a name in a file.
fn value(file: &Path, name: &str) -> Result<u64> {
    let output = Command::new("nm").arg(file).output()?.stdout;
    let text = String::from_utf8_lossy(&output).into_owned();
    let row = text.lines().find(|row| row.ends_with(&format!(" {name}"))).ok_or("nm has no such name")?;
    Ok(u64::from_str_radix(&row[..16], 16)?)
}

/// A file as a kernel's that lies so far below what the machine lists, with one name more behind `schedule`.
fn vmlinux(machine: &mut Machine, folder: &Path, below: u64, build_id: &str) -> Result<PathBuf> {
    let mut source = ".globl _start\n_start: ret\n".to_owned();
    for name in ["_stext", "do_syscall_64", "schedule", "init_task", "init_uts_ns", "vmap_area_list"] {
        let place = address(&listed(machine, &format!("$3 == \"{name}\""))?)? - below;
        source += &format!(".globl {name}\n.set {name}, {place:#x}\n");
        if name == "schedule" {
            source += &format!(".set behind_schedule, {:#x}\n", place + 7);
        }
    }
    let (text, file) = (folder.join("kernel.s"), folder.join("vmlinux"));
    fs::write(&text, source)?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-nostdlib", "-static", "-Wl,-Ttext=0x400000"]).arg(format!("-Wl,--build-id=0x{build_id}"));
    run(gcc.arg("-o").args([&file, &text]))?;
    // What the linker adds would be the kernel's.
    let mut objcopy = Command::new("objcopy");
    for name in ["_start", "_end", "_edata", "__bss_start"] {
        objcopy.args(["-N", name]);
    }
    run(objcopy.arg(&file))?;
    Ok(file)
}

/// Would catch a name whose address is not that of the system's own list, a module that came and is not noticed, names that need a
/// hypervisor, hidden addresses that are taken for zeros, and a type that lies elsewhere than in the kernel's own description.
#[test]
fn names_and_types_are_those_of_the_machine_itself() -> Result {
    let mut machine = Machine::builder().with_kernel_module("msr").with_kernel_module("loop").boot()?;
    let getppid = listed(&mut machine, "/getppid/")?;
    assert!(getppid.len() > 3, "{getppid:?}");
    let asked = |machine: &mut Machine, line: &str| machine.hyperdbg_ok(&[line]);
    assert_eq!(sorted(found(&asked(&mut machine, "x *getppid*")?)), sorted(getppid));
    assert_eq!(shown_modules(&asked(&mut machine, "lm")?)?, modules(&mut machine)?);
    let schedule = address(&listed(&mut machine, "$3 == \"schedule\"")?)?;
    assert_eq!(asked(&mut machine, "? schedule + 10")?.trim(), format!("{:x}", schedule + 0x10));
    let layout = asked(&mut machine, "dt list_head")?;
    assert_eq!(layout.lines().nth(2), Some("+0x008  prev  struct list_head *"), "{layout}");
    let without = machine.hyperdbg(&["dt loop_device"])?.text();
    assert!(without.contains("neither the kernel nor a module has a type 'loop_device'"), "{without}");
    machine.modprobe("loop")?;
    let brought = asked(&mut machine, "dt loop_device")?;
    assert!(brought.lines().any(|row| row.ends_with("struct gendisk *") && row.contains("lo_disk")), "{brought}");
    assert_eq!(asked(&mut machine, "dt loop!loop_device")?, brought);

    machine.load(Mode::Vmi)?;
    let mut kd = machine.vmi(&[])?;
    kd.set_limit(FETCH_LIMIT);
    let table = address(&listed(&mut machine, "$3 == \"sys_call_table\"")?)?;
    assert_eq!(text(&mut kd, "print sys_call_table")?, format!("{table:x}"));
    let read = address(&listed(&mut machine, "$3 == \"__x64_sys_read\"")?)?;
    assert_eq!(text(&mut kd, "? poi(sys_call_table)")?, format!("{read:x}"), "a script that reads by name");
    assert_eq!(text(&mut kd, "x msr!*")?.lines().next(), Some("err, nothing in the kernel fits 'msr!*'"));
    machine.modprobe("msr")?;
    let msr = listed(&mut machine, "/\\[msr\\]/")?;
    assert_eq!(sorted(found(&text(&mut kd, "x msr!*")?)), sorted(msr));
    let slip = text(&mut kd, "? do_sycsall_64")?;
    assert!(slip.contains("try: ? do_syscall_64"), "{slip}");
    let task = text(&mut kd, "dt task_struct.comm init_task")?;
    assert!(task.contains("\"swapper/0\""), "{task}");
    kd.send(b"x __x64_sys_getpp\t")?;
    kd.wait_text(0, "HyperDbg> x __x64_sys_getppid")?;
    kd.send(b"\r")?;
    kd.wait_prompt()?;
    machine.ok("echo 2 >/proc/sys/kernel/kptr_restrict")?;
    let hidden = text(&mut kd, ".sym reload")?;
    assert!(hidden.contains("the system hides addresses") && hidden.contains("sysctl kernel.kptr_restrict=1"), "{hidden}");
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch names that need the debuggee's user space or a file, that are those of another boot, a table that is unpacked falsely
/// somewhere in the middle, a module that came while the debuggee ran, and a kernel that is fetched twice.
#[test]
fn names_come_out_of_the_memory_of_a_halted_machine() -> Result {
    let few = "$3 ~ /^(_stext|_etext|_end|do_syscall_64|schedule|init_task|init_uts_ns|vmap_area_list|linux_banner)$/ || /\\[hyperkd\\]/";
    let other_boot = {
        let mut machine = Machine::builder().boot()?;
        machine.ok(&format!("awk '{few}' /proc/kallsyms"))?
    };

    let (without, whole) = module_without("near_by")?;
    let builder = Machine::builder().with_kernel_module("msr").with_file(&without, "/monitored.ko", 0o644);
    let mut machine = builder.boot()?;
    machine.load(Mode::Debugger)?;
    let every = listed(&mut machine, "NR % 4000 == 1")?;
    let own: usize = machine.ok("grep -vc '\\[' /proc/kallsyms")?.trim().parse()?;
    let schedule = address(&listed(&mut machine, "$3 == \"schedule\"")?)?;
    let read = address(&listed(&mut machine, "$3 == \"__x64_sys_read\"")?)?;
    let hyperkd = listed(&mut machine, "/\\[hyperkd\\]/")?;
    let mut kd = machine.debugger(&["--pause"])?;
    kd.set_limit(FETCH_LIMIT);

    let file = machine.folder().join("names");
    fs::write(&file, &other_boot)?;
    let loaded = text(&mut kd, &format!(".sym load {}", file.display()))?;
    assert!(
        loaded.contains("left out, as they are not where the file has them: hyperkd") || loaded.contains("moved by"),
        "{loaded}"
    );
    assert_eq!(text(&mut kd, "? schedule")?, format!("{schedule:x}"), "{loaded}");
    let refused = text(&mut kd, "? hyperkd!hyperkd_unload")?;
    assert!(refused.contains("nothing in the kernel has this name"), "a module of another boot: {refused}");
    let wrong = other_boot.replace(" init_uts_ns", " swapped").replace(" init_task", " init_uts_ns");
    fs::write(&file, wrong)?;
    let refused = text(&mut kd, &format!(".sym load {}", file.display()))?;
    assert!(refused.contains("is of another kernel"), "{refused}");

    let fetched = text(&mut kd, ".sym reload")?;
    assert!(fetched.contains("fetching the names of linux"), "{fetched}");
    let all = format!("0x{:x} names of the kernel and 1 module", own + hyperkd.len());
    assert!(fetched.contains(&all), "{all}: {fetched}");
    for row in &every {
        let name = row.split_whitespace().last().ok_or("no name")?;
        assert!(found(&text(&mut kd, &format!("x {name}"))?).contains(row), "{row}");
    }
    assert_eq!(sorted(found(&text(&mut kd, "x hyperkd!*")?)), sorted(hyperkd));
    assert_eq!(text(&mut kd, "? poi(sys_call_table)")?, format!("{read:x}"));

    // Nothing is to be done on this machine: a core that waits has been called by the idle loop, and that by its start.
    let mut stacks = Vec::new();
    for core in ["~ 0", "~ 1"] {
        text(&mut kd, core)?;
        stacks.push(text(&mut kd, "k")?);
    }
    let idle = |stack: &&String| stack.contains("do_idle+0x") && stack.contains("cpu_startup_entry+0x");
    let stack = stacks.iter().find(idle).ok_or(format!("no core waits: {stacks:#?}"))?;
    let last = stack.lines().last().unwrap_or("");
    assert!(!stack.contains("guessed") && last.contains("secondary_startup_64"), "{stack}");

    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    machine.modprobe("msr")?;
    machine.ok("insmod /monitored.ko")?;
    let stored = address(&listed(&mut machine, "$3 == \"stored\"")?)?;
    let notes = machine.ok("od -An -v -tx1 /sys/kernel/notes")?.split_whitespace().collect::<String>();
    // Its kind, and whose it is.
    let (_, build_id) = notes.split_once("03000000474e5500").ok_or("the kernel tells no number of its build")?;
    let build_id = &build_id[..40];
    let other_kernel = vmlinux(&mut machine, &folder("other")?, 0x700_0000, "c0ffee")?;
    let kernel = vmlinux(&mut machine, &folder("own")?, 0x700_0000, build_id)?;
    let msr = listed(&mut machine, "/\\[msr\\]/")?;
    let listed_modules = modules(&mut machine)?;
    let row = at_prompt::enter_running(&mut kd, "pause")?;
    let halted = kd.answer_after(row, "pause")?.text();
    // Its name stands above the instruction.
    let mut rows = halted.lines().rev();
    let rip = rows.next().and_then(|row| row.split_whitespace().next()).ok_or("no instruction")?.to_owned();
    if let Some(name) = rows.next().and_then(|row| row.strip_suffix(':'))
        && rip.starts_with("ffffffff")
    {
        let again = text(&mut kd, &format!("? {name}"))?;
        assert!(again == rip || again.contains("stands for"), "{halted}: {again}");
    }
    assert_eq!(sorted(found(&text(&mut kd, "x msr!*")?)), sorted(msr));
    assert_eq!(shown_modules(&text(&mut kd, "lm")?)?, listed_modules);

    let other = text(&mut kd, &format!(".sym load {}", other_kernel.display()))?;
    assert!(other.contains("is of another build: its number is c0ffee"), "{other}");
    let loaded = text(&mut kd, &format!(".sym load {}", kernel.display()))?;
    assert!(loaded.contains("0x1 more of the kernel") && loaded.contains("moved by 0x7000000"), "{loaded}");
    assert_eq!(text(&mut kd, "? behind_schedule")?, format!("{:x}", schedule + 7));
    assert!(text(&mut kd, "? monitored!near_by")?.starts_with("err, "));
    let loaded = text(&mut kd, &format!(".sym load {}", whole.display()))?;
    assert!(loaded.contains("more of monitored"), "{loaded}");
    let near = stored.wrapping_sub(value(&whole, "stored")?).wrapping_add(value(&whole, "near_by")?);
    assert_eq!(text(&mut kd, "? monitored!near_by")?, format!("{near:x}"));
    drop(kd);

    let mut kd = machine.debugger(&["--pause"])?;
    kd.set_limit(FETCH_LIMIT);
    let places = [text(&mut kd, "~ 0")?, text(&mut kd, "~ 1")?];
    assert!(places.iter().any(|place| place.contains("native_safe_halt+0x")), "before any name is typed: {places:#?}");
    assert_eq!(text(&mut kd, "? schedule")?, format!("{schedule:x}"), "what was kept is not fetched again");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch types over the link that are not those of the machine's own file.
#[test]
#[ignore = "nightly: five megabytes over the link take minutes"]
fn types_come_out_of_the_memory_of_a_halted_machine() -> Result {
    let mut machine = Machine::builder().with_kernel_module("loop").boot()?;
    machine.modprobe("loop")?;
    machine.load(Mode::Debugger)?;
    let own = machine.hyperdbg_ok(&["dt task_struct"])?;
    let brought = machine.hyperdbg_ok(&["dt loop_device"])?;
    let mut kd = machine.debugger(&["--pause"])?;
    kd.set_limit(3 * FETCH_LIMIT);
    let fetched = text(&mut kd, "dt task_struct")?;
    assert!(fetched.contains("fetching the types of linux"), "{fetched}");
    assert_eq!(text(&mut kd, "dt task_struct")?.trim(), own.trim());
    let init = text(&mut kd, "dt task_struct.comm init_task")?;
    assert!(init.contains("\"swapper/0\""), "{init}");
    let fetched = text(&mut kd, "dt loop!loop_device")?;
    assert!(fetched.contains("fetching the types of modules"), "{fetched}");
    assert_eq!(text(&mut kd, "dt loop_device")?.trim(), brought.trim());
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
