//! Shows the registers of the selected core of a halted debuggee.
//!
//!     r [REGISTER]
//! REGISTER may be a part, such as eax, or have the @ of an expression.
//! ```kd
//! 0: kHyperDbg> r rip
//! rip={hex}
//! 0: kHyperDbg> r
//! rax={hex} rcx={hex} rdx={hex} rbx={hex}
//! {any}
//! 0: kHyperDbg> r rqx
//! err, there is no register '@rqx'
//!      r rqx
//!        ^~~
//!      try: r @rax
//! ```

use crate::answer::{Answer, Report, hex};
use crate::commands::{self, Command};
use crate::error::Error;
use crate::expr;
use crate::line::Line;
use crate::registers::{self, BASES, CRS, DRS, GPRS, SELECTORS};
use crate::session::Session;
use abi::request::{Registers, op};
use serde::Serialize;
use serde_json::{Map, Value};

/// The command.
pub const COMMAND: Command = Command { names: &["r"], takes: &[crate::commands::Takes::Words(&GPRS)], run, cost: None };

fn run(session: &mut Session, line: &Line, _: &'static Command) -> Result<Answer, Error> {
    let name = match line.words() {
        [_] => None,
        [_, name] => {
            let short = name.text.trim_start_matches('@').to_ascii_lowercase();
            if !registers::is_register(&short) {
                let error = expr::Error { span: name.span.clone(), kind: expr::Kind::NoRegister(short) };
                return Err(Error::Expression { error, count: false, whole: name.span.clone() });
            }
            Some(short)
        }
        _ => return Err(commands::usage(line)),
    };
    let all: Registers = session.ask(op::REGISTERS, &[])?;
    let rows: Vec<Vec<(String, u64)>> = match name {
        Some(name) => {
            let value = registers::read(&all, &name).unwrap_or(0);
            vec![vec![(name, value)]]
        }
        None => rows(&all),
    };
    Ok(Answer::of(&Shown { core: all.core, registers: rows }))
}

/// Name and value, as the rows of the screen.
fn rows(all: &Registers) -> Vec<Vec<(String, u64)>> {
    let Registers { core: _, zero: _, gprs, rip, rflags, selectors, bases, crs, drs, efer } = all;
    let pairs = |names: &[&str], values: &[u64]| -> Vec<(String, u64)> {
        names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), *value)).collect()
    };
    let mut rows: Vec<Vec<(String, u64)>> = pairs(&GPRS, gprs).chunks(4).map(<[_]>::to_vec).collect();
    rows.push(pairs(&["rip", "rflags", "efer"], &[*rip, *rflags, *efer]));
    rows.push(pairs(&CRS, crs));
    rows.push(pairs(&SELECTORS, selectors));
    rows.push(pairs(&BASES, bases));
    rows.push(pairs(&DRS, drs));
    rows
}

#[derive(Serialize)]
struct Shown {
    core: u32,
    #[serde(serialize_with = "as_object")]
    registers: Vec<Vec<(String, u64)>>,
}

fn as_object<S: serde::Serializer>(rows: &[Vec<(String, u64)>], serializer: S) -> Result<S::Ok, S::Error> {
    let object: Map<String, Value> = rows.iter().flatten().map(|(name, value)| (name.clone(), hex(*value).into())).collect();
    object.serialize(serializer)
}

impl Report for Shown {
    fn text(&self) -> String {
        let Self { core: _, registers } = self;
        let one = |(name, value): &(String, u64)| {
            let width = if SELECTORS.contains(&name.as_str()) { 4 } else { 16 };
            format!("{name:>3}={value:0width$x}")
        };
        let line = |row: &Vec<(String, u64)>| row.iter().map(one).collect::<Vec<_>>().join(" ");
        registers.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}
