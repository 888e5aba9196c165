//! What people read when something is not done: the documentation's own lines, and lines that help because they work.

mod common;

use abi::code::{self, lack};
use abi::kind::Kind;
use common::{Prompt, matches, try_line};
use debugger::error::{Error, Refusal};
use debugger::host::Maker;
use debugger::line::Line;
use debugger::say;
use debugger::session::{Look, Verdict};
use debugger::target::fake::Root;
use std::collections::HashSet;
use std::time::Duration;

/// Would catch a success line that differs by a character, or a name or type that the documentation knows and we do not.
#[test]
fn the_documented_lines_of_prealloc_work_in_both_modes() {
    for mut prompt in [Prompt::halted(), Prompt::vmi()] {
        for name in ["prealloc", "preallocate", "preallocation", "PREALLOC"] {
            for kind in [
                "thread-interception",
                "monitor",
                "!monitor",
                "epthook",
                "!EptHook",
                "epthook2",
                "!epthook2",
                "regular-event",
                "Big-Event",
                "regular-safe-buffer",
                "big-safe-buffer",
                "breakpoint",
            ] {
                let printed = prompt.ok(&format!("{name} {kind} 1"));
                assert_eq!(
                    printed.last().unwrap(),
                    "the requested pools are allocated and reserved",
                    "{name} {kind}: {printed:#?}"
                );
            }
        }
    }
}

/// Would catch a word that is echoed otherwise than it was typed, or help that is missing.
#[test]
fn wrong_use_and_wrong_types_are_said_in_the_documented_words() {
    let mut prompt = Prompt::vmi();
    for line in ["PreAlloc monitor", "preallocation monitor 1 2", "prealloc release", "prealloc monitor 10 + 5"] {
        let printed = prompt.err(line);
        let name = line.split(' ').next().unwrap();
        assert_eq!(printed[0], format!("incorrect use of the '{name}'"));
        let forms = ["[TYPE COUNT]", "release TYPE [COUNT]", "--watch", "plan FILE"];
        assert_eq!(printed[1..], forms.map(|form| format!("     syntax : prealloc {form}")));
    }
    let printed = prompt.err("prealloc big-safe-buffert 10");
    let expected = [
        "err, couldn't resolve error at 'big-safe-buffert'",
        "     prealloc big-safe-buffert 10",
        "              ^~~~~~~~~~~~~~~~",
        "     types: {any}",
        "     try: prealloc big-safe-buffer 10",
    ];
    assert!(matches(&expected, &printed), "{printed:#?}");
    assert_eq!(prompt.err("prealloc MONITORS! 1")[0], "err, couldn't resolve error at 'MONITORS!'");
}

/// Would catch an offer that is itself refused.
#[test]
fn every_try_line_works() {
    for line in [
        "prealloc monitr 10",
        "prealloc monitor zz",
        "prealloc monitor -1",
        "prealloc monitor 0",
        "prealloc monitor 1-2",
        "prealloc monitor 10000000000000000",
        "prealloc monitor ffffffffffffffff+1",
        "prealloc monitor 100000001",
        "prealloc monitor 0n1f",
        "prealloc monitor n",
        "prealloc 10 monitor",
        "prealloc  0n10  !epthook",
        "prealloc release 2 monitor",
        "prealloc release monitor 99",
        "prealloc release monitor 0",
        "prealocc monitor 1",
        "~ 9",
        "? @raxx",
        "? rax",
        "exits core 9",
        "exits cor 1",
        ".help puase",
        "test trap onn",
        "test hold monitor 1a",
        "test hold monitor 99",
        "test hold big-event 1",
        "test hold thread-interception 5",
        "test hold breakpoint 100",
        "test hold monitr 1",
        "test hold monitor 0",
        "test hold monitor ffffffffffffffff",
        "test lett monitor",
        "test fail monitor zz",
        "test fualt ud",
        "sleep -1",
        "nonsense",
    ] {
        let mut prompt = Prompt::halted();
        prompt.ok("prealloc monitor 5");
        let printed = prompt.err(line);
        let offer = try_line(&printed).unwrap_or_else(|| panic!("{line}: {printed:#?}")).to_owned();
        prompt.ok(&offer);
    }
}

/// Would catch a parsing error that is hidden because there is no hypervisor.
#[test]
fn what_is_wrong_with_the_line_is_said_before_what_is_wrong_with_the_target() {
    let mut prompt = Prompt::new(Root { loaded: false, link: false, ..Root::default() });
    assert!(prompt.err("prealloc monitor zz")[0].starts_with("err, 'zz' is not a number"));
    assert_eq!(prompt.err("prealloc monitor 1")[0], "err, the hypervisor is not loaded on this machine (c0001020)");
    assert!(prompt.root.lock().unwrap().asked.iter().all(|op| *op == abi::request::op::HELLO), "nothing was asked in vain");
    prompt.ok("load");
    prompt.ok("prealloc monitor 1");
}

/// Would catch a refusal that reserved something, or numbers that are cut to fit.
#[test]
fn refused_counts_are_told_apart_and_take_nothing() {
    let mut prompt = Prompt::vmi();
    prompt.root.lock().unwrap().linux_gives = Some(0);
    let first = |prompt: &mut Prompt, line: &str| prompt.err(line)[0].clone();
    let said = [
        ("prealloc monitor 0", "err, nothing to reserve: 0x0 monitor asked (c0001010)"),
        (
            "prealloc monitor ffffffffffffffff",
            "err, too many monitor: 0xffffffffffffffff asked, 0x5541 possible on this machine (c0001011)",
        ),
        (
            "prealloc monitor 1000",
            "err, linux could not give the 0x2f00 missing pages: 0x1000 monitor asked, 0x100 pages free in the bank; nothing was reserved (c0001013)",
        ),
    ];
    for (line, sentence) in said {
        assert_eq!(first(&mut prompt, line), sentence);
    }
    assert_eq!(prompt.root.lock().unwrap().rows[0].kept, 0);
    assert_eq!(prompt.root.lock().unwrap().bank_free, 0x100);
}

/// Would catch a wait without end, a machine that stays running after it, or a success that is none.
#[test]
fn a_linux_that_never_answers_is_halted_again_and_nothing_is_reserved() {
    let mut prompt = Prompt::new(Root { halted: true, bank_free: 1, linux_gives: None, ..Root::default() });
    prompt.session.set_fetch_limit(Duration::from_millis(20));
    let printed = prompt.err("prealloc monitor 10");
    let expected = [
        "the bank is short by 0x2f pages: the debuggee is continued to fetch them, so this context will change",
        "halted again on core 0",
        "err, linux did not hand over the 0x2f missing pages within 0 s; nothing was reserved (c0001012)",
    ];
    assert_eq!(printed, expected);
    assert_eq!(prompt.session.prompt(), "0: kHyperDbg> ");
    assert!(prompt.root.lock().unwrap().halted);
}

/// Would catch a debuggee that was running and stays halted because its command failed.
#[test]
fn a_running_debuggee_runs_on_after_a_fetch_that_failed() {
    let mut prompt = Prompt::new(Root { bank_free: 1, linux_gives: Some(0), ..Root::default() });
    let printed = prompt.err("prealloc monitor 10");
    let sentence = "err, linux could not give the 0x2f missing pages: 0x10 monitor asked, 0x1 pages free in the bank; nothing was reserved (c0001013)";
    let expected = [
        "the bank is short by 0x2f pages: the debuggee is paused and continued to fetch them",
        "halted again on core 1: linux could not give them; events missed meanwhile: 0x0",
        "the debuggee is running again",
        sentence,
    ];
    assert_eq!(printed, expected);
    assert!(!prompt.root.lock().unwrap().halted);
}

/// Would catch a prompt that fetches for ever, when what comes is never what is needed.
#[test]
fn fetches_that_never_suffice_have_an_end() {
    let mut prompt = Prompt::new(Root { halted: true, bank_free: 1, fetched_is_lost: true, ..Root::default() });
    let printed = prompt.err("prealloc monitor 10");
    assert_eq!(printed.iter().filter(|line| line.starts_with("the bank is still short by 0x2f pages")).count(), 2);
    assert!(printed.iter().any(|line| line.ends_with("(c0001012)")), "{printed:#?}");
}

/// Would catch a load that is refused without saying what is missing.
#[test]
fn a_refused_load_names_what_is_missing() {
    let said = |status: u32, detail: u32| {
        let mut prompt = Prompt::new(Root { loaded: false, link: false, load: (status, detail), ..Root::default() });
        prompt.err("load").join("\n")
    };
    let lacks = |detail| said(code::CPU_LACKS, detail).lines().next().unwrap_or_default().to_owned();
    assert_eq!(lacks(lack::SVM | lack::NESTED_PAGING), "err, this processor lacks SVM, nested paging (c0001030)");
    assert_eq!(lacks(lack::VMX), "err, this processor lacks VT-x (c0001030)");
    assert_eq!(
        lacks(lack::MTF | lack::EPT_2M),
        "err, this processor lacks the monitor trap flag, EPT pages of 2 MiB (c0001030)"
    );
    assert!(said(code::CPU_LACKS, lack::VMX).contains("nested virtualization"));
    assert!(said(code::CPU_LACKS, lack::VENDOR).contains("neither AMD's nor Intel's"));
    assert!(said(code::KERNEL_UNSUPPORTED, lack::LA57).contains("no5lvl"));
    assert!(said(code::KERNEL_UNSUPPORTED, lack::SME).contains("mem_encrypt=off"));
    for code in
        [code::CPU_LOCKED, code::CPU_IN_USE, code::BOOT_MEMORY, code::BOOT_VERSION, code::KERNEL_OUT_OF_MEMORY, 0xc000_1fff]
    {
        assert!(said(code, 0).contains(&format!("({code:x})")));
    }
}

/// Would catch a bit of what may be missing that has no words, or those of another.
#[test]
fn each_bit_of_a_refusal_has_a_sentence_of_its_own() {
    let text = |code, detail| {
        let error = Error::Refused(Refusal::Load { code, detail, holders: Vec::new(), maker: None });
        say::error(&error, &Line::new("load")).message
    };
    let (processor, kernel) = (text(code::CPU_LACKS, 0), text(code::KERNEL_UNSUPPORTED, 0));
    let mut told = HashSet::from([processor.clone(), kernel.clone()]);
    for bit in 0..=lack::MSR_BITMAPS.ilog2() {
        let texts = [text(code::CPU_LACKS, 1 << bit), text(code::KERNEL_UNSUPPORTED, 1 << bit)];
        let own: Vec<&String> = texts.iter().filter(|text| **text != processor && **text != kernel).collect();
        assert_eq!(own.len(), 1, "bit {bit}: {texts:?}");
        assert!(told.insert(own[0].clone()), "bit {bit}: {}", own[0]);
    }
}

/// Would catch an owner of Intel's processor who is sent to look for SVM, or the other way round.
#[test]
fn who_made_the_processor_decides_what_is_said_of_its_extension() {
    let said = |code, maker, holders: &[&str]| {
        let holders = holders.iter().map(|name| (*name).to_owned()).collect();
        let line = Line::new("load");
        say::error(&Error::Refused(Refusal::Load { code, detail: 0, holders, maker }), &line).text(&line, 120)
    };
    let (amd, intel) = (Some(Maker::Amd), Some(Maker::Intel));
    assert_eq!(
        said(code::CPU_LOCKED, amd, &[]),
        "err, the firmware has disabled SVM (VM_CR.SVMDIS) (c0001031)\n     enable SVM (AMD-V) in the firmware's set-up and boot again"
    );
    assert_eq!(
        said(code::CPU_LOCKED, intel, &[]),
        "err, the firmware has disabled VT-x (IA32_FEATURE_CONTROL) (c0001031)\n     \
         enable VT-x (Intel Virtualization Technology) in the firmware's set-up and boot again"
    );
    let free = said(code::CPU_IN_USE, amd, &[]);
    assert!(free.starts_with("err, another hypervisor uses SVM already (EFER.SVME is set) (c0001032)\n"), "{free}");
    assert!(free.ends_with("lsmod | grep -E 'kvm|vbox|vmmon'"), "{free}");
    assert_eq!(
        said(code::CPU_IN_USE, intel, &["kvm_intel", "vboxdrv"]),
        "err, VT-x is in use already, by kvm_intel and vboxdrv (c0001032)\n     \
         stop its machines and, in a shell: rmmod kvm_intel vboxdrv"
    );
    assert!(said(code::CPU_IN_USE, intel, &[]).contains("uses VT-x already (CR4.VMXE is set)"));
    assert!(said(code::CPU_LOCKED, None, &[]).contains("SVM or VT-x"));
}

/// Would catch registers of nobody: in VMI mode and while it runs there are none to read.
#[test]
fn registers_are_refused_with_the_reason_and_the_place() {
    let mut running = Prompt::running();
    let printed = running.err("? 1 + @rax");
    assert_eq!(printed[0], "err, no registers to read: the debuggee is running, and this needs it halted (c0000050)");
    assert_eq!((printed[2].as_str(), try_line(&printed)), ("           ^~~~", Some("pause")));
    let printed = Prompt::vmi().err("prealloc monitor @rax");
    assert!(printed[0].contains("a machine cannot halt itself"), "{printed:#?}");
    let mut halted = Prompt::halted();
    assert_eq!(halted.ok("? @rax + 1"), ["11"]);
    assert_eq!(halted.ok("? @AL*2"), ["20"]);
    halted.ok("~ 1");
    assert_eq!(halted.ok("? @eax"), ["1"], "those of the core that was selected");
}

/// Would catch a command that does not end the program, or an empty line that does something.
#[test]
fn exit_ends_and_blank_lines_do_nothing() {
    let mut prompt = Prompt::halted();
    assert_eq!(prompt.typed("   "), (Verdict::Done, vec![]));
    assert_eq!(prompt.typed("# exit"), (Verdict::Done, vec![]));
    assert_eq!(prompt.typed(".EXIT halted").0, Verdict::Exit);
    prompt.session.leave();
    assert!(prompt.root.lock().unwrap().halted);
    let mut prompt = Prompt::halted();
    assert_eq!(prompt.typed("exit").0, Verdict::Exit);
    prompt.session.leave();
    assert!(!prompt.root.lock().unwrap().halted);
}

/// Would catch cores that are counted through instead of asked for: numbers have gaps, and a count may be any.
#[test]
fn exits_asks_the_cores_that_are_there_and_no_more_than_an_answer_names() {
    let mut prompt = Prompt::new(Root { offline: Some(0), ..Root::default() });
    let printed = prompt.ok("exits");
    assert_eq!(printed[0], "reason  core 1  core 2  all");
    assert!(!printed.iter().any(|line| line.contains("hlt")), "what never happened on any core is left out: {printed:#?}");
    let mut prompt = Prompt::new(Root { cores: u32::MAX, ..Root::default() });
    let printed = prompt.ok("exits");
    let asked = prompt.root.lock().unwrap().asked.iter().filter(|op| **op == abi::request::op::EXITS).count();
    assert_eq!(asked, abi::request::CORES_SHOWN_MAX);
    assert_eq!(printed.last().unwrap(), "and 0xffffffbf more cores: `exits core CORE`");
}

/// Would catch an answer that sounds as if it had just been done, or a second load that changes what the first one made.
#[test]
fn a_second_load_says_that_it_is_loaded_already_and_changes_nothing() {
    let mut prompt = Prompt::new(Root { loaded: false, link: false, cores: 1, ..Root::default() });
    assert_eq!(prompt.ok("load bank 200"), ["the hypervisor is loaded on 1 core"]);
    assert_eq!(prompt.ok("load bank 300"), ["the hypervisor is loaded already, on 1 core"]);
    assert_eq!(prompt.root.lock().unwrap().bank_free, 0x200);
    let printed = prompt.err("load link");
    assert_eq!(printed[0], "err, the hypervisor is loaded already, on 1 core, and without a link");
    assert!(prompt.root.lock().unwrap().loaded, "it was not unloaded for that");
    let offer = try_line(&printed).unwrap().to_owned();
    prompt.ok(&offer);
    assert_eq!(prompt.ok(".debug prepare serial 115200 com2"), ["the hypervisor is loaded on 1 core; it listens on COM2"]);
    assert_eq!(prompt.ok("load link"), ["the hypervisor is loaded already, on 1 core; it listens on COM2"]);
}

/// Would catch a link on a machine without a UART that is called a success, or a hypervisor that stays behind after it.
#[test]
fn a_link_without_a_uart_is_refused_and_nothing_stays_loaded() {
    for line in ["load link", ".debug prepare serial 115200 com2"] {
        let mut prompt = Prompt::new(Root { loaded: false, link: false, uart: false, ..Root::default() });
        let printed = prompt.err(line);
        assert_eq!(
            printed,
            ["err, no UART answers at COM2 (0x2f8), so there is no link; nothing was loaded (c0001037)", "     try: load"]
        );
        assert!(!prompt.root.lock().unwrap().loaded);
        prompt.ok("load");
    }
}

/// Would catch a type that has taken its whole share, and no word of how to make room.
#[test]
fn a_type_that_took_its_share_can_be_released() {
    let mut prompt = Prompt::halted();
    let printed = prompt.err("prealloc monitor ffffffff");
    let most = try_line(&printed).unwrap().to_owned();
    prompt.ok(&most);
    let printed = prompt.err("prealloc monitor 1");
    assert_eq!(printed[0], "err, too many monitor: 0x1 asked, 0x0 possible on this machine (c0001011)");
    assert_eq!(try_line(&printed), Some("prealloc release monitor"));
    prompt.ok("prealloc release monitor");
    prompt.ok("prealloc monitor 1");
}

/// Would catch a type that runs out without its own code, or an offer after which the same line is still refused.
#[test]
fn what_is_used_up_is_said_with_the_documented_code_and_the_offer_is_what_was_missing() {
    for (kind, code) in [
        ("monitor", "c0000023"),
        ("epthook", "c0000023"),
        ("epthook2", "c0000023"),
        ("thread-interception", "c0001014"),
        ("regular-event", "c0000042"),
        ("big-event", "c0000043"),
        ("regular-safe-buffer", "c0000049"),
        ("big-safe-buffer", "c000004a"),
        ("breakpoint", "c0000018"),
    ] {
        let mut prompt = Prompt::halted();
        prompt.ok(&format!("prealloc {kind} 2"));
        let free = prompt.root.lock().unwrap().rows[Kind::from_word(kind).unwrap().index()].free;
        let line = format!("test hold {kind} {:x}", free + 3);
        let printed = prompt.err(&line);
        let asked = free + 3;
        let few = format!("err, too few {kind}: 0x{asked:x} asked, 0x{free:x} of 0x{free:x} free ({code})");
        assert_eq!(printed, [few, format!("     try: prealloc {kind} 3")]);
        prompt.ok(&format!("prealloc {kind} 3"));
        prompt.ok(&line);
        let printed = prompt.err(&format!("test hold {kind} 1"));
        let none = format!("err, no {kind} left: 0x1 asked, 0x0 of 0x{asked:x} free ({code})");
        assert_eq!(printed, [none, format!("     try: prealloc {kind} 1")]);
        prompt.ok(&format!("prealloc {kind} 1"));
        prompt.ok(&format!("test hold {kind} 1"));
    }
    let printed = Prompt::halted().err("test hold monitor ffffffff");
    let expected = [
        "err, too few monitor: 0xffffffff asked, 0x14 of 0x14 free (c0000023)",
        "     this machine could reserve 0x5541 more",
        "     try: test hold monitor 14",
    ];
    assert_eq!(printed, expected);
}

/// Would catch an offer that Linux would have to serve although it has nothing, or none where the bank has something.
#[test]
fn when_linux_has_nothing_what_the_bank_serves_is_offered() {
    for link in [false, true] {
        for (kind, units) in [("monitor", 0x55), ("big-event", 0xb), ("regular-safe-buffer", 0x100), ("breakpoint", 0x100)] {
            let root = Root { link, halted: link, linux_gives: Some(0), ..Root::default() };
            let mut prompt = Prompt::new(root);
            let printed = prompt.err(&format!("prealloc {kind} 900"));
            assert!(printed.iter().any(|line| line.ends_with("(c0001013)")), "{printed:#?}");
            let offer = try_line(&printed).unwrap_or_else(|| panic!("{kind}: {printed:#?}")).to_owned();
            let offered = u64::from_str_radix(offer.rsplit(' ').next().unwrap(), 16).unwrap();
            assert!(offered <= units && offered + 2 >= units, "{offer}: 0x{units:x} fit");
            prompt.ok(&offer);
        }
    }
    let mut prompt = Prompt::new(Root { link: false, bank_free: 2, linux_gives: Some(0), ..Root::default() });
    assert_eq!(try_line(&prompt.err("prealloc monitor 5")), None, "not one fits");
}

/// Would catch events that were missed in silence while the debuggee ran for pages.
#[test]
fn what_was_missed_meanwhile_is_counted() {
    let root = Root { halted: true, bank_free: 1, events_meanwhile: 0x12, ..Root::default() };
    let mut prompt = Prompt::new(root.clone());
    let printed = prompt.ok("prealloc monitor 10");
    assert_eq!(printed[1], "halted again on core 1: the pages are there; events missed meanwhile: 0x12");
    let mut prompt = Prompt::with_look(root, Look { json: true, colour: false });
    let printed = prompt.ok("prealloc monitor 10");
    assert!(printed[0].contains(r#""missed":18"#), "{printed:#?}");
}

/// Would catch names that people bring along and that end in a slip's answer, or in an offer that does not work.
#[test]
fn what_people_bring_along_is_answered_with_what_does_it_here() {
    let mut prompt = Prompt::halted();
    for (line, offer) in
        [("info threads", ".thread list"), ("info registers", "r"), ("MAN g", ".help g"), ("c", "g"), ("q", "exit")]
    {
        let printed = prompt.err(line);
        assert!(printed[0].starts_with("err, there is no command '") && printed[0].ends_with(&format!("here it is `{offer}`")));
        assert_eq!(try_line(&printed), Some(offer), "{printed:#?}");
        assert_ne!(prompt.typed(offer).0, Verdict::Failed);
    }
    let printed = prompt.err("!pmc 1000");
    let expected = [
        "err, '!pmc' is not there yet",
        "     !pmc 1000",
        "     ^~~~",
        "     `.help` lists the commands that are",
        "     try: .help",
    ];
    assert_eq!(printed, expected);
    assert_eq!(prompt.err("uf")[0], "err, 'uf' is not there yet");
}

/// Would catch words that are cut at the edge of a screen of 80 columns, or a ledger that does not fit it.
#[test]
fn lists_and_manuals_fit_eighty_columns() {
    let mut prompt = Prompt::on(Root { halted: true, ..Root::default() }, Look::default(), 80);
    prompt.root.lock().unwrap().rows[0].high_water = 0x19559;
    prompt.root.lock().unwrap().linux_gives = Some(u64::MAX);
    prompt.ok("prealloc big-event 2ee");
    for kind in ["monitor", "epthook", "epthook2", "regular-event", "breakpoint", "thread-interception"] {
        prompt.ok(&format!("test hold {kind} 2"));
    }
    for line in [".help", "prealloc", "exits", "~"] {
        let printed = prompt.ok(line);
        assert!(printed.iter().all(|line| line.len() <= 80), "{line}: {printed:#?}");
    }
    let printed = prompt.err("prealloc monitr 1");
    let types = "     types: monitor, thread-interception, epthook, epthook2, regular-event,";
    assert_eq!(printed[3..5], [types, "            big-event, regular-safe-buffer, big-safe-buffer, breakpoint"]);
    let manual = prompt.ok(".help prealloc");
    let prose = manual.iter().filter(|line| !line.starts_with("    "));
    assert!(prose.clone().all(|line| line.len() <= 80) && prose.count() > 10, "{manual:#?}");
}

/// Would catch a script that goes on although the program is to end, or a machine that stays halted behind it.
#[test]
fn after_the_end_nothing_is_begun_and_the_debuggee_is_still_continued() {
    let mut prompt = Prompt::halted();
    prompt.cancel.end();
    assert_eq!(prompt.err("prealloc monitor 1"), ["err, the program was asked to end; this was not done"]);
    assert_eq!(prompt.root.lock().unwrap().rows[0].kept, 0);
    prompt.session.leave();
    assert!(!prompt.root.lock().unwrap().halted);
}
