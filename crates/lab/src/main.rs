//! `cargo lab`: from nothing to the prompt, with one command.

use clap::{Args, Parser, Subcommand};
use lab::{Accel, Error, Lab, Machine, Mode, Vendor, figures, foreground, packages};
use std::{env, iter, path::PathBuf, process::ExitCode};

/// Exit code when the lab itself fails, as with env(1); any other is hyperdbg's.
const LAB_FAILED: u8 = 125;

/// Builds everything, boots a Debian kernel in QEMU with AMD SVM (or in Bochs with Intel VT-x), puts the hypervisor under it and lands at the prompt.
///
/// What is missing (Debian packages, the Rust target) is installed; each action is said in one line, nothing is asked. The
/// guest ends with the prompt and leaves nothing behind. The exit code is hyperdbg's, or 125 if the lab itself failed.
#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo lab", args_conflicts_with_subcommands = false)]
#[command(after_help = "\
Examples:
  cargo lab                                     the prompt 0: kHyperDbg> in front of a halted Linux
  cargo lab --mode vmi                          hyperdbg as root within the guest
  cargo lab -- -x 'prealloc monitor 10'         one command, no terminal needed
  cargo lab shell                               the guest's shell, without a debugger
  cargo lab figures monitor                     what a monitor costs; without a word, the whole table
  cargo lab shell --vendor intel                the same on an Intel processor
  HYPERDBG_VENDOR=intel cargo test -p tests     the tests likewise; HYPERDBG_CPU names a model, HYPERDBG_CPUS a number
  HYPERDBG_CACHE=DIR cargo lab setup            install and build only, keeping everything in DIR (default: target/lab)")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    guest: Guest,
    /// From where to debug: `debugger` (the host, over the link) or `vmi` (within the guest)
    #[arg(long, default_value_t = Mode::Debugger, value_name = "MODE")]
    mode: Mode,
    /// Options for hyperdbg itself
    #[arg(last = true, value_name = "HYPERDBG OPTIONS")]
    options: Vec<String>,
}

/// The machine.
#[derive(Args)]
struct Guest {
    /// Processors of the guest
    #[arg(long, default_value_t = 2, value_name = "N", global = true, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Memory of the guest in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB", global = true, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// Who made the processor: `amd` (SVM, by QEMU; the usual one) or `intel` (VT-x, by Bochs, which is built the first time)
    #[arg(long, value_name = "VENDOR", global = true)]
    vendor: Option<Vendor>,
    /// The processor's model in the emulator's words, such as EPYC,+svm,+npt or corei7_haswell_4770
    #[arg(long, value_name = "MODEL", global = true)]
    cpu: Option<String>,
    /// Another QEMU than Debian's, or another Bochs than the lab's
    #[arg(long, value_name = "PATH", global = true, alias = "qemu", alias = "bochs")]
    emulator: Option<PathBuf>,
    /// `tcg` emulates AMD SVM on any host; `kvm` needs nested virtualization
    #[arg(long, default_value_t = Accel::Tcg, value_name = "ACCEL", global = true)]
    accel: Accel,
    /// Words to add to the kernel's command line, such as nokaslr
    #[arg(long, value_name = "WORDS", global = true, allow_hyphen_values = true)]
    kernel_args: Option<String>,
}

#[derive(Subcommand)]
enum Task {
    /// Boots and gives the guest's shell; /hyperkd.ko and hyperdbg are there, nothing is loaded
    Shell {
        /// Neither builds nor brings the hypervisor
        #[arg(long)]
        without_hypervisor: bool,
    },
    /// Measures what hooks cost, beside what Linux has to count with, and prints a table
    Figures {
        /// Only rows whose name has one of these in it
        words: Vec<String>,
    },
    /// Installs and builds what is missing, and boots nothing
    Setup,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match foreground::watch_signals() {
        Ok(()) => act(&arguments),
        Err(source) => Err(Error::File { what: "watch", path: "signals".into(), source }),
    };
    ended.map_or_else(
        |error| {
            eprintln!("lab: {error}");
            ExitCode::from(LAB_FAILED)
        },
        ExitCode::from,
    )
}

fn act(arguments: &Arguments) -> Result<u8, Error> {
    match &arguments.task {
        Some(Task::Figures { words }) => {
            println!("{}", figures::table(|| builder(&arguments.guest), words)?.trim_end());
            Ok(0)
        }
        Some(Task::Setup) => set_up(&arguments.guest),
        Some(Task::Shell { without_hypervisor }) => shell(&arguments.guest, *without_hypervisor),
        None => prompt(arguments),
    }
}

fn set_up(guest: &Guest) -> Result<u8, Error> {
    let lab = Lab::shared()?;
    match guest.vendor.map_or_else(Vendor::usual, Ok)? {
        Vendor::Amd => lab.packages(&[packages::qemu()])?,
        Vendor::Intel => drop(lab.bochs(guest.emulator.as_deref())?),
    }
    let kernel = lab.kernel()?;
    lab.busybox()?;
    let hypervisor = lab.hypervisor()?;
    println!("kernel {}\nmodule {}\nprogram {}", kernel.version, hypervisor.module.display(), hypervisor.program.display());
    Ok(0)
}

fn shell(guest: &Guest, without_hypervisor: bool) -> Result<u8, Error> {
    let builder = builder(guest)?.without_insmod();
    let mut machine = if without_hypervisor { builder.without_hypervisor() } else { builder }.boot()?;
    eprintln!("lab: the guest's shell; `exit` ends the guest. Console: {}/console.log", machine.folder().display());
    foreground::in_guest(&mut machine, "PS1='debuggee \\w # ' sh -i")
}

fn prompt(arguments: &Arguments) -> Result<u8, Error> {
    let mut machine = builder(&arguments.guest)?.boot()?;
    {
        let _step = Lab::shared()?.progress().step("putting the hypervisor under the guest's kernel");
        machine.load(arguments.mode)?;
    }
    eprintln!("lab: the guest's console: {}/console.log", machine.folder().display());
    let code = match arguments.mode {
        Mode::Debugger => {
            let options: Vec<String> = ["--pause".to_owned()].into_iter().chain(arguments.options.iter().cloned()).collect();
            foreground::debugger(&machine, &options)?
        }
        Mode::Vmi => foreground::in_guest(&mut machine, &lab::session::command_line(&arguments.options))?,
    };
    if machine.is_dead() {
        return Err(machine.fault(lab::Fault::Gone));
    }
    Ok(code)
}

fn builder(guest: &Guest) -> Result<lab::Builder, Error> {
    let mut builder = Machine::builder().cpus(guest.cpus).memory_mib(guest.memory).accel(guest.accel);
    if let Some(vendor) = guest.vendor {
        builder = builder.vendor(vendor);
    }
    if let Some(model) = &guest.cpu {
        builder = builder.cpu(model);
    }
    if let Some(emulator) = &guest.emulator {
        // Told before minutes of building, not after.
        let folders = env::var_os("PATH").filter(|_| emulator.components().count() == 1).unwrap_or_default();
        let found = iter::once(emulator.clone()).chain(env::split_paths(&folders).map(|folder| folder.join(emulator)));
        let missing = || Error::Missing { path: emulator.clone(), needed_for: "the emulator that --emulator names" };
        builder = builder.emulator(&found.into_iter().find(|file| file.is_file()).ok_or_else(missing)?);
    }
    if let Some(words) = &guest.kernel_args {
        builder = builder.kernel_argument(words);
    }
    Ok(builder)
}
