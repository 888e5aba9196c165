//! Scripts with what they must come to: one line a case, in `cases/*.ds`.
//!
//! `script //= EXPECTED, …`, where EXPECTED is a hex value that is returned, `"…"` that is said, `does "…"`, `REGISTER=…`,
//! `.global=…` or `fault KIND [ADDRESS]`. `␤` is a newline in the script, `⏎` and `⇥` are control characters in output.

mod common;

use common::{Files, cases};
use script::oracle::{Model, run, walk};
use script::{Options, Program, compile_with_tree};
use script_vm::{Fault, FaultKind, limits::STEPS_DEFAULT};

const GPRS: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{text} is no number"))
}

fn fault(kind: FaultKind) -> String {
    match kind {
        FaultKind::BadAddress { address } => format!("bad-address {address:x}"),
        FaultKind::DivideByZero => "divide-by-zero".to_owned(),
        FaultKind::StepLimit => "step-limit".to_owned(),
        FaultKind::CallDepth => "call-depth".to_owned(),
        FaultKind::Refused => "refused".to_owned(),
        FaultKind::BadProgram => "bad-program".to_owned(),
    }
}

/// What differs from one expectation.
fn differs(wanted: &str, program: &Program, model: &Model, ended: Result<u64, Fault>) -> Option<String> {
    let found = if let Some(kind) = wanted.strip_prefix("fault ") {
        let found = ended.err().map_or("no fault".to_owned(), |ended| fault(ended.kind));
        return (found != kind).then_some(found);
    } else if let Some(text) = wanted.strip_prefix('"') {
        let text = text.trim_end_matches('"').replace('⏎', "\n").replace('⇥', "\t");
        return (model.text() != text).then(|| format!("{:?}", model.text()));
    } else if let Some(text) = wanted.strip_prefix("does ") {
        let found: Vec<_> = model.controls.iter().map(|control| format!("{control:?}")).collect();
        return (format!("\"{}\"", found.join(" ")) != text).then(|| found.join(" "));
    } else if let Some((name, value)) = wanted.split_once('=') {
        let global =
            program.globals.iter().find(|global| global.name == name).map(|global| model.globals[usize::from(global.cell)]);
        let found = global.or_else(|| GPRS.iter().position(|gpr| *gpr == name).map(|at| model.gprs[at]));
        (found, hex(value))
    } else {
        (ended.ok(), hex(wanted))
    };
    (found.0 != Some(found.1)).then(|| format!("{:x?} {ended:?}", found.0))
}

/// Would catch a script that does something else than the language says.
#[test]
fn every_case_comes_to_what_is_written_beside_it() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (place, text, expected) in cases("cases", "//=") {
        count += 1;
        let (program, tree) = match compile_with_tree(&text, &Files, &Options::default()) {
            Ok(compiled) => compiled,
            Err(errors) => {
                wrong.push(format!("{place}: {text}\n{}", errors[0]));
                continue;
            }
        };
        let mut model = Model::default();
        let ended = run(&program, &mut model);
        for wanted in common::split(&expected) {
            if let Some(found) = differs(&wanted, &program, &model, ended) {
                wrong.push(format!("{place}: {text}\n    wanted {wanted}, found {found}"));
            }
        }
        let mut walked = Model::default();
        if let Some(opinion) = walk(&tree, &mut walked, STEPS_DEFAULT)
            && (opinion != ended.map_err(|fault| fault.kind) || walked != model)
        {
            wrong.push(format!("{place}: {text}\n    the walker says {opinion:x?}, not {ended:x?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 300, "only {count} cases");
}
