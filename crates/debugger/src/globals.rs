//! Names of globals: those that root keeps are learnt before a program is compiled, and new ones are made known to it before
//! the program is sent. So `.hits` is the same cell at every prompt, until the hypervisor is unloaded.
//!
//! **Holds always**
//! - G1: the book's list is the beginning of root's.
//! - G2: a program goes to root only when root has the names of all its globals, in the cells that it uses.

use crate::book::Book;
use crate::error::{Error, Reach};
use crate::line::Line;
use crate::names::Nameless;
use crate::program::{How, Text};
use crate::session::Session;
use crate::target::Mode;
use abi::code;
use abi::request::global::{Add, Ask, Globals, NAME_BYTES, ROWS_MAX, Row};
use abi::request::{self, op};
use script::{Global, Program};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// How often a program is compiled anew because another prompt made globals meanwhile.
const TRIES: usize = 16;

/// Compiles what is to run in root. Names of the kernel are fetched first if it needs them and nobody did.
pub(crate) fn compile(session: &mut Session, text: &Text, line: &Line, how: How) -> Result<Program, Error> {
    match compile_with_names(session, text, line, how) {
        Err(Error::Program { nameless: Some(why), .. }) if *why == Nameless::NotFetched && session.names_fetched().is_ok() => {
            compile_with_names(session, text, line, how)
        }
        // What is missing may be of a module that came since.
        Err(error) if session.mode() == Mode::Debugger && session.names().table().is_some() => {
            let before = session.names().table();
            match session.names_now() {
                Ok(known) if before.is_some_and(|before| !Arc::ptr_eq(&before, &known.table)) => {
                    compile_with_names(session, text, line, how)
                }
                _ => Err(error),
            }
        }
        done => done,
    }
}

fn compile_with_names(session: &mut Session, text: &Text, line: &Line, how: How) -> Result<Program, Error> {
    if !text.may_have_globals() {
        return text.compile(session.book(), line, how);
    }
    for _ in 0..TRIES {
        // Without an answer what is wrong with the script itself is told all the same.
        let learnt = learn(session);
        let program = text.compile(session.book(), line, how)?;
        learnt?;
        if make_known(session, &program.globals)? {
            return Ok(program);
        }
    }
    Err(session.refused(code::GLOBALS_CHANGED))
}

fn ask(book: &Book) -> Ask {
    Ask { boot_id: book.boot_id(), known: book.globals.len() as u64 }
}

/// Learns what root has and the book has not.
fn learn(session: &mut Session) -> Result<(), Error> {
    let mut anew = false;
    loop {
        if session.book().boot_id() == 0 {
            session.greet()?;
        }
        let asked = ask(session.book());
        let (code, body) = session.call(op::GLOBALS, asked.as_bytes())?;
        match code {
            code::SUCCESS => {}
            // Another load than the one that was greeted: once more from the beginning.
            code::GLOBALS_CHANGED if !anew => {
                anew = true;
                session.book().globals.clear();
                session.greet()?;
                continue;
            }
            code => return Err(session.refused(code)),
        }
        let answer: Globals = request::body(&body).ok_or(Error::Reach(Reach::Malformed { op: op::GLOBALS }))?;
        let count = usize::try_from(answer.count).unwrap_or(usize::MAX).min(ROWS_MAX);
        let book = session.book();
        for row in &answer.rows[..count] {
            let global = global_of(row, &book.globals).ok_or(Error::Reach(Reach::Malformed { op: op::GLOBALS }))?;
            book.globals.push(global);
        }
        if answer.more == 0 || count == 0 {
            return Ok(());
        }
    }
}

/// A row, if it can follow those before: a name of its own, in cells of its own.
fn global_of(row: &Row, before: &[Global]) -> Option<Global> {
    let bytes = row.name.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(bytes).ok().filter(|name| name.starts_with('.'))?.to_owned();
    let free = before.last().map_or(0, |last| last.cell + last.cells);
    let most = script_cells();
    let fits = row.cell == free && row.cells > 0 && row.cell.checked_add(row.cells).is_some_and(|end| end <= most);
    (fits && before.iter().all(|other| other.name != name)).then_some(Global { name, cell: row.cell, cells: row.cells })
}

/// Cells that root has for all scripts together.
const fn script_cells() -> u16 {
    script::limits::GLOBALS
}

/// Makes globals known to root; false if it knows more than the book.
fn make_known(session: &mut Session, globals: &[Global]) -> Result<bool, Error> {
    let new = globals.get(session.book().globals.len()..).unwrap_or_default();
    for global in new {
        let Global { name, cell, cells } = global.clone();
        // The compiler takes no longer one.
        let row = Row { name: request::name::<NAME_BYTES>(&name), cell, cells, zero: 0 };
        let add = Add { ask: ask(session.book()), row };
        match session.call(op::GLOBAL_ADD, add.as_bytes())?.0 {
            code::SUCCESS => session.book().globals.push(Global { name, cell, cells }),
            code::GLOBALS_CHANGED => return Ok(false),
            code => return Err(session.refused(code)),
        }
    }
    Ok(true)
}
