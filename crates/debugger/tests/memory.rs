//! Memory at the prompt: what is named, what is shown, what is refused.

mod common;

use abi::code;
use abi::request::memory::{Found, Read, Translation, Written};
use abi::request::op;
use common::{Prompt, try_line};
use debugger::error::Reach;
use debugger::news::Inbox;
use debugger::session::{Look, Session, Verdict};
use debugger::target::fake::Root;
use debugger::target::{Cancel, Mode, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zerocopy::IntoBytes;

/// The model's page, which scripts see, too.
const RAM: &str = "ffff888000000000";

/// Would catch a command that works in one mode only, or over another space than its name says.
#[test]
fn memory_is_read_and_written_halted_running_and_on_this_machine() {
    for mut prompt in [Prompt::halted(), Prompt::running(), Prompt::vmi()] {
        assert_eq!(
            prompt.ok("eq ffff888000000200 1122334455667788 99"),
            ["wrote 0x10 bytes at ffff888000000200 (physical 1200)"]
        );
        assert_eq!(prompt.ok("!dq 1200 l 10"), ["0000000000001200  1122334455667788  0000000000000099"]);
        assert_eq!(prompt.ok("!ED 1200 1"), ["wrote 0x4 bytes at 1200"]);
        assert_eq!(prompt.ok("dd ffff888000000200 l 8"), ["ffff888000000200  00000001 11223344"]);
        assert_eq!(prompt.ok("? dq(ffff888000000200) >> 20"), ["11223344"], "a script sees the same");
        assert_eq!(prompt.ok("dc ffff888000000100 l 8"), ["ffff888000000100  6c6c6568 0c0b006f                     hello..."]);
    }
}

/// Would catch an address that ends at its first blank, an option that is taken for a part of it, or one given twice.
#[test]
fn addresses_are_expressions_and_options_follow_in_any_order() {
    let mut prompt = Prompt::halted();
    let row = "ffffffff81000000  f4 c3";
    for line in ["db @rip l 2", "db @rip + 2 - 2 L 2", "db (@rip) l (1 + 1)", "db @rip pid 1c8 l 2", "db @rip l 0n2 pid 1c8"] {
        assert!(prompt.ok(line)[0].starts_with(row), "{line}");
    }
    for line in [
        "db",
        "db l 2",
        "db @rip l",
        "db @rip l 2 l 2",
        "db @rip l 2 3",
        "eb @rip",
        "eb @rip 1 l 2",
        "sb @rip 1",
        "sb @rip l 2",
        "!pte @rip l 2",
        "!va2pa",
    ] {
        assert!(prompt.err(line)[0].starts_with("incorrect use of the '"), "{line}");
    }
    let printed = prompt.err("!db 1000 pid 1c8");
    assert_eq!(try_line(&printed), Some("!db 1000"), "{printed:#?}");
    assert_eq!(prompt.err("db @rip pid 7")[0], "err, there is no process 0x7 (c000001e)");
    assert_eq!(prompt.err("db @rip pid ffffffff")[0], "err, there is no process 0xfffffffe (c000001e)");
    assert_eq!(prompt.err("eb @rip 90 pid 7")[0], "err, there is no process 0x7 (c000001e)");
}

/// Would catch a byte that cannot be read and is shown as zero, a hole whose end or reason is another's, or one that hides what
/// is behind it.
#[test]
fn what_cannot_be_read_is_shown_as_such_with_the_reason() {
    let mut prompt = Prompt::halted();
    let printed = prompt.ok("!db 2fff l 4");
    let expected =
        ["0000000000002fff  cc ?? ?? ??                                       .???", "?? are 0x3 bytes at 3000: no RAM"];
    assert_eq!(printed, expected);
    let printed = prompt.ok("!dd ffe l 8");
    let expected = ["0000000000000ffe  ???????? 05040302", "?? are 0x2 bytes at ffe: no RAM"];
    assert_eq!(printed, expected);
    let printed = prompt.ok("!dq 2ff8 l 7000");
    let holes: Vec<&String> = printed.iter().filter(|line| line.starts_with("??")).collect();
    assert_eq!(holes, ["?? are 0x6000 bytes at 3000: no RAM", "?? are 0xff8 bytes at 9000: the hypervisor's own"]);
    assert_eq!(prompt.err("!db 9000 l 10")[0], "err, the hypervisor itself has the memory at physical 9000 (c0001050)");
    assert_eq!(prompt.err("!db 4000")[0], "err, there is no RAM at the physical address 4000 (c0000052)");
    let printed = prompt.err("!eb 8fff 1 2");
    assert_eq!(printed[0], "err, there is no RAM at the physical address 8fff (c0000052)");
    let printed = prompt.err("!eb 2fff 1 2");
    assert_eq!(printed[0], "err, there is no RAM at the physical address 3000; nothing was written (c0000052)");
    assert_eq!(prompt.ok("!db 2fff l 1")[0].get(..20), Some("0000000000002fff  cc"));
    assert_eq!(prompt.err("db ffffffffffffffff")[0], "err, nothing is mapped at ffffffffffffffff (c0000005)");
}

/// Would catch a length or a pattern without an end, a value that is cut, and an offer that is refused.
#[test]
fn what_is_too_much_is_refused_and_what_is_offered_works() {
    for (line, sentence) in [
        ("db @rip l 0", "err, 0x1 to 0x100000 bytes at once"),
        ("db @rip l 100001", "err, 0x1 to 0x100000 bytes at once"),
        ("u @rip l ffffffffffffffff", "err, 0x1 to 0x100000 bytes at once"),
        ("sb ffff888000000000 l 0 1", "err, 0x1 to 0xffffffffffffffff bytes at once"),
        ("eb ffff888000000000 1 100", "err, the value does not fit; the largest is ff"),
        ("ed ffff888000000000 100000000", "err, the value does not fit; the largest is ffffffff"),
        ("sd ffff888000000000 l 100 -1", "err, the value does not fit; the largest is ffffffff"),
        ("r al = 100", "err, the value does not fit; the largest is ff"),
    ] {
        let mut prompt = Prompt::halted();
        let printed = prompt.err(line);
        assert_eq!(printed[0], sentence);
        prompt.ok(try_line(&printed).unwrap());
    }
    let mut prompt = Prompt::halted();
    assert_eq!(prompt.err(&format!("sq {RAM} l 100{}", " 1".repeat(9)))[0], "err, 0x1 to 0x40 bytes at once");
    assert_eq!(prompt.err(&format!("eb {RAM}{}", " 1".repeat(1025)))[0], "err, 0x1 to 0x400 bytes at once");
    prompt.ok(&format!("eb {RAM}{}", " 1".repeat(1024)));
}

/// Would catch a place that is left out where one answer has no room, or told twice; and a step that is another.
#[test]
fn every_place_is_found_over_many_requests() {
    let mut prompt = Prompt::halted();
    for chunk in 0..4 {
        prompt.ok(&format!("eb {RAM}+{:x}{}", chunk * 1024, " 7".repeat(1024)));
    }
    let printed = prompt.ok(&format!("sb {RAM} l 1000 7 7"));
    assert_eq!((printed.len(), printed[4095].as_str()), (4096, "0xfff found in 0x1000 bytes"));
    assert!(printed[..4095].is_sorted() && printed[..4095].windows(2).all(|two| two[0] != two[1]));
    let printed = prompt.ok(&format!("sq {RAM}+1 l fff 0707070707070707"));
    assert_eq!((printed.len(), printed[0].as_str()), (0x1ff + 1, "ffff888000000001"));
    prompt.ok("!eb 2000 7 7");
    let printed = prompt.ok("!sb 1000 l 2000 7");
    let expected = "0x1000 found in 0x1000 bytes; there are more: go on at 2000";
    assert_eq!(printed.last().map(String::as_str), Some(expected));
    assert_eq!(prompt.ok("!sb 2000 l 1000 7").len(), 3);
}

/// Would catch a register that is set on another core or in part, a core that runs and is set all the same, or a value that
/// would kill the guest.
#[test]
fn registers_are_set_while_halted_and_only_those_that_can_be() {
    let mut prompt = Prompt::halted();
    for (line, shown) in [
        ("r rax=1122334455667788", "rax=1122334455667788"),
        ("r @AL = 0", " al=0000000000000000"),
        ("r rax", "rax=1122334455667700"),
        ("r ah=ff", " ah=00000000000000ff"),
        ("r r15 = @rax", "r15=112233445566ff00"),
        ("r rip=@rip+4", "rip=ffffffff81000004"),
        ("r rflags = 2", "rflags=0000000000000002"),
    ] {
        assert_eq!(prompt.ok(line), [shown], "{line}");
    }
    for line in ["r cs=8", "r cr3 = 0", "r fs_base=1", "r efer=0"] {
        assert_eq!(prompt.err(line)[0], "err, this register can only be looked at", "{line}");
    }
    assert!(prompt.err("r rqx=1")[0].starts_with("err, there is no register '@rqx'"));
    assert!(prompt.err("r =1")[0].starts_with("err, there is no register"));
    assert!(prompt.err("r rax=")[0].starts_with("err, there is nothing to evaluate"));
    assert!(prompt.err("r rip = 8000000000000000")[0].contains("bits 63 to 47 differ"));
    assert_eq!(prompt.ok("r rip"), ["rip=ffffffff81000004"]);
    let printed = Prompt::running().err("r rax = 1");
    assert!(printed[0].ends_with("this needs it halted (c0000050)"), "{printed:#?}");
}

/// Would catch code that is taken for another mode's, or an entry's bit that has another's name.
#[test]
fn code_and_page_tables_are_shown_as_they_are() {
    let mut prompt = Prompt::halted();
    prompt.ok("eb @rip 48 ff c0 66 0f 1f 44 0 0 74 f5 6");
    let texts = |prompt: &mut Prompt, line: &str| -> Vec<String> {
        prompt.ok(line).into_iter().map(|line| line.get(48..).unwrap_or("").to_owned()).collect()
    };
    assert_eq!(texts(&mut prompt, "u @rip l b"), ["inc     rax", "nop     [rax+rax]", "je      short 0xffffffff81000000"]);
    assert_eq!(texts(&mut prompt, "u32 @rip l 1"), ["dec     eax"]);
    assert_eq!(texts(&mut prompt, "u @rip+b l 1"), ["(bad)"]);
    let printed = prompt.ok("u ffffffff81000ffe l 10");
    let expected = [
        "ffffffff81000ffe  cc                            int3",
        "ffffffff81000fff  cc                            int3",
        "ffffffff81001000                                ??",
        "?? are 0x1d bytes at ffffffff81001000: not mapped",
    ];
    assert_eq!(printed, expected);
    let printed = prompt.ok("!pte @rip");
    assert!(printed[4].ends_with("present accessed dirty"), "{printed:#?}");
    assert_eq!(prompt.ok("!va2pa @rip+123"), ["2123"]);
    assert_eq!(prompt.ok("!pa2va 1123"), ["ffff888000000123"]);
    assert_eq!(prompt.err("!pa2va 2123")[0], "err, the kernel's map of RAM does not have the physical address 2123 (c0000052)");
}

/// A root whose answers about memory are its own.
struct Strange {
    answers: Vec<(u32, Vec<u8>)>,
    pressed: Arc<AtomicBool>,
}

impl Target for Strange {
    fn mode(&self) -> Mode {
        Mode::Debugger
    }
    fn name(&self) -> String {
        "strange".to_owned()
    }
    fn call(&mut self, asked: u32, _: &[u8], _: &Cancel) -> Result<(u32, Vec<u8>), Reach> {
        if !(op::MEMORY_READ..=op::TRANSLATE).contains(&asked) {
            return Ok((code::SUCCESS, vec![0; 16]));
        }
        if self.answers.len() == 1 {
            self.pressed.store(true, Ordering::Relaxed);
        }
        Ok(if self.answers.len() > 1 { self.answers.remove(0) } else { self.answers[0].clone() })
    }
    fn load(&mut self, _: u64, _: u32) -> Result<abi::ioctl::Load, Reach> {
        Err(Reach::OverLink)
    }
    fn unload(&mut self) -> Result<abi::ioctl::Load, Reach> {
        Err(Reach::OverLink)
    }
}

fn strange(line: &str, answers: Vec<(u32, Vec<u8>)>) -> (Verdict, Vec<String>) {
    let page = common::Page::default();
    let cancel = Cancel::default();
    let target = Box::new(Strange { answers, pressed: cancel.flag() });
    let mut session = Session::over(target, Box::new(page.clone()), Look::default(), Arc::new(Inbox::default()), cancel);
    let verdict = session.run(line);
    (verdict, page.taken())
}

/// Would catch an answer of another size that is believed, one that never gets on and is asked for without an end, and a
/// search that CTRL+C does not end, or whose places are lost by it.
#[test]
fn answers_that_cannot_be_are_errors_and_ctrl_c_ends_a_search() {
    let read = |bytes: u32, why: u32, body: usize| [Read { bytes, why }.as_bytes(), &vec![0; body]].concat();
    let found = |done: u64, count: u32, places: &[u64]| -> Vec<u8> {
        [Found { done, count, ..Found::default() }.as_bytes(), places.as_bytes()].concat()
    };
    let malformed = |(verdict, printed): (Verdict, Vec<String>)| {
        assert_eq!(verdict, Verdict::Failed);
        assert!(printed[0].contains("has a wrong size"), "{printed:#?}");
    };
    for body in
        [read(5, code::SUCCESS, 4), read(3, code::SUCCESS, 3), read(4, code::ADDRESS_INVALID, 4), read(9, 0, 9), vec![1]]
    {
        malformed(strange("db 0 l 4", vec![(code::SUCCESS, body)]));
    }
    for answer in [found(0, 0, &[]), found(4, 1, &[]), found(4, 1, &[1, 2]), found(4, 65, &[0; 65]), vec![0; 23]] {
        malformed(strange("sb 0 l 4 1", vec![(code::SUCCESS, answer)]));
    }
    malformed(strange("!pte 0", vec![(code::SUCCESS, vec![0; size_of::<Translation>() - 1])]));
    malformed(strange("eb 0 1", vec![(code::SUCCESS, vec![0; size_of::<Written>() + 1])]));
    let (verdict, printed) = strange("sb 0 l ffffffffffffffff 1", vec![(code::SUCCESS, found(0x1_0000, 1, &[0x1234]))]);
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(printed, ["0000000000001234", "0x1 found in 0x10000 bytes; it was ended: go on at 10000"]);
    let root = Root { loaded: false, link: false, ..Root::default() };
    assert_eq!(Prompt::new(root).err("db 0")[0], "err, the hypervisor is not loaded on this machine (c0001020)");
}
