//! Values and statements into bytecode.
//!
//! A variable is a register of its own; what is half computed lies in registers above, as on a stack.
//!
//! **Holds always**
//! - E1: a register is written by the last instruction of what it takes the value of, so `x = a + x` reads `x` in time;
//!   registers above the variables may be written earlier, as nobody else reads them.
//! - E2: whatever is emitted passes the verifier (asserted in builds with debug assertions).

mod branch;
mod value;

use crate::hir::{Expr, Function, Piece, Script, Stmt, StmtKind};
use script_vm::{Areas, op, program};

/// Where jumps go that are not placed yet.
type Label = usize;

/// Bytecode, and which word belongs to which place of the text.
pub(crate) struct Emitted {
    pub(crate) words: Vec<u64>,
    pub(crate) lines: Vec<(u32, u32)>,
}

/// What does not fit into a program; where.
pub(crate) enum TooLarge {
    /// More is half computed than there are registers.
    Registers(u32),
    /// More words than a program may have.
    Words(usize),
}

struct Emitter {
    code: Vec<u64>,
    constants: Vec<u64>,
    lines: Vec<(u32, u32)>,
    /// Where each is, once it is placed, and whether anything jumps there.
    labels: Vec<(Option<u32>, bool)>,
    patches: Vec<(usize, Label)>,
    loops: Vec<(Label, Label)>,
    locals: u16,
    top: u16,
    high: u16,
    reachable: bool,
    is_main: bool,
    at: u32,
    /// Where registers ran out first.
    full: Option<u32>,
}

/// Makes a program.
pub(crate) fn emit(script: &Script, words_max: usize) -> Result<Emitted, TooLarge> {
    let mut emitter = Emitter {
        code: Vec::with_capacity(32),
        constants: Vec::new(),
        lines: Vec::with_capacity(8),
        labels: Vec::new(),
        patches: Vec::new(),
        loops: Vec::new(),
        locals: 0,
        top: 0,
        high: 0,
        reachable: true,
        is_main: true,
        at: 0,
        full: None,
    };
    let mut entries = Vec::with_capacity(script.functions.len());
    for (number, function) in script.functions.iter().enumerate() {
        entries.push(emitter.function(function, number == 0));
        if emitter.code.len() > words_max {
            return Err(TooLarge::Words(emitter.code.len()));
        }
    }
    if let Some(at) = emitter.full {
        return Err(TooLarge::Registers(at));
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let mut flags = 0;
    flags |= if script.uses_buffer { program::USES_BUFFER } else { 0 };
    flags |= if script.tells_float { program::TELLS_FLOAT } else { 0 };
    flags |= if emitter.code.iter().any(|word| word.to_le_bytes()[0] == op::SAID) { program::SAYS } else { 0 };
    let areas = Areas {
        code: count(emitter.code.len()),
        constants: count(emitter.constants.len()),
        text: count(script.text.len()),
        functions: count(entries.len()),
        globals: script.globals,
        flags,
    };
    if areas.words() > words_max {
        return Err(TooLarge::Words(areas.words()));
    }
    let mut words = Vec::with_capacity(areas.words());
    words.extend(areas.encode());
    words.extend(entries.into_iter().flat_map(program::Function::encode));
    words.extend(emitter.code);
    words.extend(emitter.constants);
    words.extend(script.text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    }));
    Ok(Emitted { words, lines: emitter.lines })
}

impl Emitter {
    fn function(&mut self, function: &Function, is_main: bool) -> program::Function {
        let start = self.here();
        self.labels.clear();
        self.patches.clear();
        self.locals = function.locals;
        (self.top, self.high) = (function.locals, function.locals.max(1));
        (self.reachable, self.is_main) = (true, is_main);
        let mut zeroed = function.zeroed.clone();
        zeroed.sort_unstable();
        zeroed.dedup();
        for run in zeroed.chunk_by(|a, b| a + 1 == *b) {
            let (first, count) = (byte(run[0]), u8::try_from(run.len()).unwrap_or(u8::MAX));
            if count == 1 {
                self.push(op::LOAD_I, first, 0, 0, 0);
            } else {
                self.push(op::ZERO, count, first, 0, 0);
            }
        }
        self.block(&function.body);
        if self.reachable || self.code.len() == start as usize {
            self.leave(None);
        }
        for (at, label) in std::mem::take(&mut self.patches) {
            let target = self.labels[label].0.unwrap_or(start);
            self.code[at] = self.code[at] & 0xffff_ffff | u64::from(target) << 32;
        }
        let arguments = u8::try_from(function.arguments).unwrap_or(0);
        let registers = self.high.max(function.arguments).min(script_vm::limits::REGISTERS_MAX);
        program::Function { start, end: self.here(), registers, arguments, data: function.data }
    }

    fn here(&self) -> u32 {
        u32::try_from(self.code.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, op: u8, a: u8, b: u8, c: u8, imm: i32) {
        self.code.push(op::encode(op, a, b, c, imm));
    }

    fn push_half(&mut self, op: u8, a: u8, half: u16, imm: i32) {
        self.code.push(op::encode_half(op, a, half, imm));
    }

    /// A register for something half computed.
    fn temporary(&mut self) -> u8 {
        let register = self.top;
        if register >= 255 {
            self.full = self.full.or(Some(self.at));
            return 255;
        }
        self.top += 1;
        self.high = self.high.max(self.top);
        byte(register)
    }

    fn label(&mut self) -> Label {
        self.labels.push((None, false));
        self.labels.len() - 1
    }

    /// Jumps to it lead here.
    fn place(&mut self, label: Label) {
        self.labels[label].0 = Some(self.here());
        self.reachable |= self.labels[label].1;
    }

    /// Adds a jump whose target is filled in later.
    fn jump_to(&mut self, label: Label) {
        self.patches.push((self.code.len(), label));
        self.labels[label].1 = true;
        self.push(op::JUMP, 0, 0, 0, 0);
        self.reachable = false;
    }

    fn constant(&mut self, value: u64) -> u32 {
        let known = self.constants.iter().take(64).position(|known| *known == value);
        let at = known.unwrap_or_else(|| {
            self.constants.push(value);
            self.constants.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            if !self.reachable {
                return;
            }
            self.statement(stmt);
        }
    }

    fn leave(&mut self, value: Option<&Expr>) {
        let save = self.top;
        match value {
            None if self.is_main => self.push(op::END, 0, 0, 0, 0),
            value => {
                let register = self.operand(value.unwrap_or(&Expr::Const(0)));
                self.push(op::RETURN, register, 0, 0, 0);
            }
        }
        self.top = save;
        self.reachable = false;
    }

    fn statement(&mut self, stmt: &Stmt) {
        self.at = stmt.at;
        let here = self.here();
        match self.lines.last_mut() {
            Some(last) if last.0 == here => last.1 = stmt.at,
            _ => self.lines.push((here, stmt.at)),
        }
        match &stmt.kind {
            StmtKind::Effect(value) => self.effect(value),
            StmtKind::If(arms, otherwise) => self.choice(arms, otherwise),
            StmtKind::Loop { test, first, body, step } => self.repetition(test.as_ref(), *first, body, step),
            StmtKind::Break => {
                if let Some((_, exit)) = self.loops.last().copied() {
                    self.jump_to(exit);
                }
            }
            StmtKind::Continue => {
                if let Some((next, _)) = self.loops.last().copied() {
                    self.jump_to(next);
                }
            }
            StmtKind::Return(value) => self.leave(value.as_ref()),
            StmtKind::Print(pieces) => self.print(pieces),
            StmtKind::Zero(offset, bytes) => {
                let (offset, bytes) = (i32::try_from(*offset).unwrap_or(0), u16::try_from(*bytes).unwrap_or(0));
                self.push_half(op::ZERO_DATA, 0, bytes, offset);
            }
        }
    }

    fn choice(&mut self, arms: &[(Expr, Vec<Stmt>)], otherwise: &[Stmt]) {
        // `if (…) { break; }` is one jump.
        if let ([(test, then)], []) = (arms, otherwise)
            && let [Stmt { kind: kind @ (StmtKind::Break | StmtKind::Continue), .. }] = &then[..]
            && let Some((next, exit)) = self.loops.last().copied()
        {
            return self.branch(test, true, if *kind == StmtKind::Break { exit } else { next });
        }
        let end = self.label();
        for (at, (test, then)) in arms.iter().enumerate() {
            let no = self.label();
            self.branch(test, false, no);
            if self.reachable {
                self.block(then);
            }
            let more = at + 1 < arms.len() || !otherwise.is_empty();
            if more && self.reachable {
                self.jump_to(end);
            }
            self.place(no);
            if !self.reachable {
                break;
            }
        }
        self.block(otherwise);
        self.place(end);
    }

    fn repetition(&mut self, test: Option<&Expr>, first: bool, body: &[Stmt], step: &[Expr]) {
        let (again, next, exit) = (self.label(), self.label(), self.label());
        if let (Some(test), true) = (test, first) {
            self.branch(test, false, exit);
            if !self.reachable {
                self.place(exit);
                return;
            }
        }
        self.labels[again].0 = Some(self.here());
        self.loops.push((next, exit));
        self.block(body);
        self.loops.pop();
        self.place(next);
        if self.reachable {
            step.iter().for_each(|step| self.effect(step));
            match test {
                Some(test) => self.branch(test, true, again),
                None => self.jump_to(again),
            }
        }
        self.place(exit);
    }

    fn print(&mut self, pieces: &[Piece]) {
        let save = self.top;
        let mut registers = Vec::with_capacity(pieces.len());
        for (at, piece) in pieces.iter().enumerate() {
            let (Piece::Number(_, value) | Piece::String(_, value)) = piece else { continue };
            let later = pieces[at + 1..].iter().any(|piece| match (piece, value) {
                (Piece::Number(_, later) | Piece::String(_, later), Expr::Local(slot)) => value::writes(later, *slot),
                _ => false,
            });
            registers.push(if later { self.copied(value) } else { self.operand(value) });
        }
        let mut registers = registers.into_iter();
        for piece in pieces {
            match piece {
                Piece::Text(offset, length) => self.push_half(op::SAY, 0, *length, i32::try_from(*offset).unwrap_or(0)),
                Piece::Number(spec, _) => self.push(op::SAY_NUMBER, registers.next().unwrap_or(0), 0, 0, spec.pack()),
                Piece::String(spec, _) => self.push(op::SAY_STRING, registers.next().unwrap_or(0), 0, 0, spec.pack()),
            }
        }
        self.push(op::SAID, 0, 0, 0, 0);
        self.top = save;
    }
}

fn byte(register: u16) -> u8 {
    u8::try_from(register).unwrap_or(u8::MAX)
}
