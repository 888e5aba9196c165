//! Bochs' machine: its configuration, the image it boots from, and its start.
//!
//! Bochs boots no kernel by itself, so a compact disc is made for each guest, with a boot loader, the kernel and the
//! initramfs. Serial ports speak TCP; [`crate::relay`] carries them to the sockets that guests of QEMU have.
//!
//! Time in the guest is counted in instructions: [`INSTRUCTIONS_A_SECOND`] make a second of its own, however long they took.
//! An idle guest's time runs faster than the wall's.
//!
//! **Callers**: [`crate::emulator`]. **Proof**: below, and `tests/vendors.rs`. Which Bochs: [`build`].

pub(crate) mod build;

use crate::{
    child::{Child, mortal},
    command::run as run_command,
    emulator::{Hardware, file},
    error::{At, Error, tail},
    relay::{self, Side},
    run::Run,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The processor if nobody says another: execute-only pages, the monitor trap flag, VPID, 1 GiB pages.
const MODEL: &str = "corei7_skylake_x";
/// Models that have fast short REP MOVSB: Linux patches itself for it with code that Bochs executes wrongly.
const WITH_FSRM: [&str; 3] = ["corei7_icelake_u", "tigerlake", "arrow_lake"];
/// Bochs' measure of time: what a slow machine does in a second. Lower is faster, as BIOS, drives and Linux wait in the
/// guest's time; but root takes hundreds of instructions for an exit, and with 20 millions in a second a Linux whose hot pages
/// are monitored has lock-ups that no machine has.
const INSTRUCTIONS_A_SECOND: u32 = 60_000_000;
/// Lines of Bochs' log in an error.
const LOG_TAIL_LINES: usize = 20;
/// Where in a line of its log stands what the line is: after the time, a letter.
const LOG_KIND_AT: usize = 11;

/// Names of files in the run's folder.
const CONFIGURATION: &str = "bochsrc";
const LOG: &str = "bochs.log";
const DISC: &str = "guest.iso";
const DISC_FOLDER: &str = "disc";

/// A Bochs, and what it needs to boot.
#[derive(Clone, Debug)]
pub struct Bochs {
    /// Its program.
    pub program: PathBuf,
    /// The machine's BIOS.
    pub bios: PathBuf,
    /// The display's BIOS; without one the machine's stops.
    pub display_bios: PathBuf,
    /// The boot loader: the sector, and the module it loads.
    pub loader: [PathBuf; 2],
}

/// What the kernel is told: as on QEMU, with fewer words on the console, and with the frequency of the time stamp counter, which
/// cannot be measured against a clock that the same instructions drive.
pub(crate) fn kernel_arguments(hardware: &Hardware) -> String {
    let mut words = format!(
        "console=ttyS0,115200 loglevel=5 panic=-1 no_timer_check tsc=reliable tsc_early_khz={} idle=halt",
        INSTRUCTIONS_A_SECOND / 1000
    );
    if !hardware.reboots {
        // Bochs ends at a triple fault, and at no other way to boot again.
        words += " reboot=triple";
    }
    if WITH_FSRM.contains(&model(hardware)) {
        words += " clearcpuid=fsrm";
    }
    words
}

fn model(hardware: &Hardware) -> &str {
    hardware.cpu.as_deref().unwrap_or(MODEL)
}

impl Bochs {
    /// Starts it in the run's folder.
    pub(crate) fn start(&self, hardware: &Hardware, run: &Run, kernel: &Path, kernel_arguments: &str) -> Result<Child, Error> {
        self.make_disc(run, kernel, kernel_arguments)?;
        let port = |side: Side| relay::begin(side).at("open a port for", run.folder());
        let ports = [
            port(Side::listen(&run.path(file::LINK))?)?,
            port(Side::connect(&run.path(file::CONTROL))?)?,
            port(Side::connect(&run.path(file::TERMINAL))?)?,
        ];
        let path = run.path(CONFIGURATION);
        fs::write(&path, self.configuration(hardware, ports)).at("write", &path)?;
        let said = run.path(file::SAID);
        let out = File::create(&said).at("make", &said)?;
        let err = out.try_clone().at("open", &said)?;
        let mut command = mortal(&self.program);
        command.args(["-q", "-f", CONFIGURATION]).current_dir(run.folder());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Child::start(command)
    }

    fn make_disc(&self, run: &Run, kernel: &Path, kernel_arguments: &str) -> Result<(), Error> {
        let folder = run.path(DISC_FOLDER);
        fs::create_dir_all(&folder).at("make", &folder)?;
        for (from, to) in self.loader.iter().zip(["isolinux.bin", "ldlinux.c32"]) {
            let to = folder.join(to);
            fs::copy(from, &to).at("copy to", &to)?;
        }
        let menu = folder.join("isolinux.cfg");
        let text =
            format!("DEFAULT linux\nPROMPT 0\nLABEL linux\n KERNEL /kernel\n INITRD /initrd\n APPEND {kernel_arguments}\n");
        fs::write(&menu, text).at("write", &menu)?;
        let mut make = Command::new("genisoimage");
        make.current_dir(run.folder()).args(["-quiet", "-o", DISC, "-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot"]);
        make.args(["-boot-load-size", "4", "-boot-info-table", "-graft-points", DISC_FOLDER]);
        make.arg(format!("kernel={}", kernel.display())).arg(format!("initrd={}", file::INITRAMFS));
        run_command(&mut make).map(drop)
    }

    fn configuration(&self, hardware: &Hardware, ports: [u16; 3]) -> String {
        let [link, control, terminal] = ports;
        let (memory, bios, display_bios) = (hardware.memory_mib, self.bios.display(), self.display_bios.display());
        let (model, cpus, console) = (model(hardware), hardware.cpus, file::CONSOLE);
        let boots_again = u8::from(hardware.reboots);
        // A processor reports each violation of EPT, and each register that it has not: 100 MB in a minute of monitors.
        let quiet = (0..cpus).map(|cpu| format!(", cpu{cpu}=ignore")).collect::<String>();
        format!(
            "display_library: nogui\n\
             memory: guest={memory}, host={memory}\n\
             romimage: file={bios}, options=fastboot\n\
             vgaromimage: file={display_bios}\n\
             boot: cdrom\n\
             ata0: enabled=1\n\
             ata0-master: type=cdrom, path={DISC}, status=inserted\n\
             ata1: enabled=0\n\
             cpu: model={model}, count={cpus}, ips={INSTRUCTIONS_A_SECOND}, quantum=16, reset_on_triple_fault={boots_again}\n\
             clock: sync=none, time0=local\n\
             com1: enabled=1, mode=file, dev={console}\n\
             com2: enabled=1, mode=socket-client, dev=localhost:{link}\n\
             com3: enabled=1, mode=socket-client, dev=localhost:{control}\n\
             com4: enabled=1, mode=socket-client, dev=localhost:{terminal}\n\
             panic: action=fatal\n\
             error: action=report{quiet}\n\
             info: action=report\n\
             log: {LOG}\n"
        )
    }
}

/// The last errors and panics of Bochs' log, or what it wrote to its terminal if it did not come so far. Registers and the rest
/// stand in the log, which stays.
pub(crate) fn said(run: &Run) -> String {
    let read = |name: &str| String::from_utf8_lossy(&fs::read(run.path(name)).unwrap_or_default()).into_owned();
    let log = read(LOG);
    if log.is_empty() { tail(read(file::SAID).trim_end(), LOG_TAIL_LINES) } else { complaints(&log) }
}

fn complaints(log: &str) -> String {
    // Linux reads some registers of a processor's performance at every tick, with or without an answer.
    let complaint = |line: &&str| {
        matches!(line.as_bytes().get(LOG_KIND_AT), Some(b'e' | b'p')) && !line.contains("RDMSR: Unknown register")
    };
    tail(&log.lines().filter(complaint).collect::<Vec<_>>().join("\n"), LOG_TAIL_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bochs() -> Bochs {
        Bochs {
            program: "bochs".into(),
            bios: "bios".into(),
            display_bios: "vga".into(),
            loader: ["isolinux.bin".into(), "ldlinux.c32".into()],
        }
    }

    /// Would catch a guest without VT-x, ports that are mixed up, and a panic that leaves Bochs waiting for an answer.
    #[test]
    fn the_configuration_has_a_processor_with_vtx_and_each_port_where_it_belongs() {
        let text = bochs().configuration(&Hardware { cpus: 1, ..Hardware::default() }, [2, 3, 4]);
        for line in [
            "cpu: model=corei7_skylake_x, count=1, ips=60000000, quantum=16, reset_on_triple_fault=0",
            "memory: guest=1024, host=1024",
            "com2: enabled=1, mode=socket-client, dev=localhost:2",
            "com4: enabled=1, mode=socket-client, dev=localhost:4",
            "panic: action=fatal",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
        }
    }

    /// Would catch an error that shows a page of registers instead of why Bochs ended.
    #[test]
    fn errors_and_panics_are_picked_out_of_the_log() {
        let log = "00000000000i[      ] BXSHARE is set\n00000000011e[CPU0  ] RDMSR: Unknown register 0xe7\n00000000012e[CPU0  ] VMENTER FAIL: VMCS guest RIP\n\
                   00576473108p[CPU0  ] >>PANIC<< exception(): 3rd (13) exception with no resolution\n00576473108i[CPU0  ] | CR2=0\n";
        let said = complaints(log);
        assert!(said.starts_with("00000000012e[CPU0  ] VMENTER") && said.ends_with("no resolution"), "{said}");
    }

    /// Would catch a guest that boots again and again after a panic, and one whose `sleep 1` takes half a minute.
    #[test]
    fn the_kernel_is_told_its_clock_and_how_to_end() {
        let words = kernel_arguments(&Hardware::default());
        assert!(words.contains("tsc_early_khz=60000 ") && words.ends_with(" reboot=triple"), "{words}");
        let words = kernel_arguments(&Hardware { reboots: true, cpu: Some("tigerlake".into()), ..Hardware::default() });
        assert!(words.ends_with(" clearcpuid=fsrm") && !words.contains("reboot=triple"), "{words}");
    }
}
