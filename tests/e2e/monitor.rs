//! `!monitor` under a real kernel, on both cores at once: what is counted, what is not, and that Linux does not notice.
use abi::code;
use abi::kind::Kind;
use abi::request::memory::{NO_PID, PHYSICAL, Place, VIRTUAL};
use abi::request::monitor::{self, EXECUTE, READ, WRITE};
use abi::request::{EventAnswer, EventAsk, Ledger, event, op};
use lab::Machine;
use tests::scripting::{Scripts, ask, change, load, row};
use tests::wire::Wire;
use tests::{Result, guest};
use zerocopy::{FromBytes, IntoBytes};

const ROUNDS: u64 = 100_000;

/// A machine under root with the module, its page of data (linear and physical), and its page of code.
struct Lab {
    machine: Machine,
    wire: Wire,
    scripts: Scripts,
    page: u64,
    physical: u64,
    code: u64,
}

impl Lab {
    fn new(cpus: u32) -> Result<Lab> {
        let builder = Machine::builder().cpus(cpus).with_guest_module(&guest::module("monitored"));
        let mut machine = builder.with_guest_program(&guest::program("traps")).with_stress_ng().boot()?;
        machine.ok("insmod /monitored.ko")?;
        let text = machine.ok("cat /sys/module/monitored/parameters/where")?;
        let mut numbers = text.split_whitespace().map(|word| u64::from_str_radix(word, 16));
        let mut number = || numbers.next().ok_or("no number")?.map_err(|why| why.to_string());
        let (page, physical, code) = (number()?, number()?, number()?);
        let (wire, scripts) = load(&mut machine)?;
        Ok(Lab { machine, wire, scripts, page, physical, code })
    }

    /// What each core found.
    fn go(&mut self, what: &str, count: u64) -> Result<String> {
        let command = format!("cd /sys/module/monitored/parameters; echo {what} {count} >go && cat said");
        Ok(self.machine.ok(&command)?)
    }

    /// Asks for a monitor of so many bytes.
    fn ask(
        &mut self,
        ask: EventAsk,
        space: u32,
        from: u64,
        bytes: u64,
        access: u32,
        script: &str,
    ) -> Result<(u32, EventAnswer)> {
        let program_words = if script.is_empty() { 0 } else { self.scripts.stage(&mut self.wire, script)? };
        let ask = monitor::Ask {
            event: EventAsk { program_words, ..ask },
            place: Place { address: from, space, pid: NO_PID },
            last: from + (bytes - 1),
            access,
            zero: 0,
        };
        let (code, body) = self.wire.ask(op::MONITOR_ADD, ask.as_bytes())?;
        Ok((code, EventAnswer::read_from_bytes(&body).map_err(|_| "a short answer")?))
    }

    /// A monitor that must be accepted; its id.
    fn add(&mut self, space: u32, from: u64, bytes: u64, access: u32, script: &str) -> Result<u32> {
        match self.ask(ask(event::MONITOR), space, from, bytes, access, script)? {
            (code::SUCCESS, answer) => Ok(answer.id),
            (code, answer) => Err(format!("refused with {code:x}: {answer:x?}").into()),
        }
    }

    fn hits(&mut self, id: u32) -> Result<u64> {
        Ok(row(&mut self.wire, id)?.hits)
    }

    fn clear(&mut self) -> Result {
        change(&mut self.wire, event::CLEAR, event::ALL).map(|_| ())
    }

    fn units(&mut self) -> Result<(u64, u64)> {
        let ledger: Ledger = self.wire.get(op::LEDGER, &[])?;
        let row = ledger.kinds[Kind::Monitor.index()];
        Ok((row.free, row.used))
    }

    fn end(mut self) -> Result {
        self.machine.hyperdbg_ok(&["unload"])?;
        Ok(self.machine.console_is_healthy()?)
    }
}

/// Would catch a write that is lost or counted twice when both cores come at once, a neighbour that counts, an access that begins
/// below the range and is missed, and units that do not come back.
#[test]
fn writes_are_exact_on_both_cores_at_once() -> Result {
    let mut lab = Lab::new(2)?;
    let before = lab.units()?;
    let at = lab.page + 0x800;
    let word = lab.add(VIRTUAL, at, 8, WRITE, &format!("if ($context != {at:x}) {{ .elsewhere = .elsewhere + 1; }}"))?;
    assert_eq!(lab.units()?, (before.0 - 1, before.1 + 1));
    assert_eq!(lab.go("stored", ROUNDS)?, "0\n0\n");
    assert_eq!(lab.hits(word)?, 2 * ROUNDS);
    assert_eq!(lab.go("near", 1000)?, "0\n0\n");
    assert_eq!(lab.go("read", 1000)?, "0\n0\n");
    assert_eq!(lab.hits(word)?, 2 * ROUNDS, "a neighbour, and reads");
    assert_eq!(lab.go("below", 1000)?, "0\n0\n");
    assert_eq!(lab.hits(word)?, 2 * ROUNDS + 2000);
    assert_eq!(lab.scripts.value(&mut lab.wire, ".elsewhere")?, 2000, "those that began below");
    lab.clear()?;
    assert_eq!(lab.units()?.1, before.1, "more may be free, since the level was filled again");
    lab.end()
}
