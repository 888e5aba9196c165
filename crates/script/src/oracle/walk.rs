//! A plain evaluator of the tree: what a statement means is written down once more, without a thought of speed.
//!
//! Pointers to the script's own memory are the only thing that it cannot do alone: a small world of data, text and names
//! with the same addresses stands in for the interpreter's.

use super::Model;
use crate::hir::{Compare, Expr, Order, Piece, Script, Stmt, StmtKind};
use script_vm::{
    BUFFER, Control, DATA, FaultKind, GLOBALS, Interlocked, Label, Machine, NAMES, Pseudo, Size, Space, Special, TEXT, op,
    system,
};

/// Why a walk ends.
enum End {
    Break,
    Continue,
    Return(u64),
    Fault(FaultKind),
    /// It took too long, or did what is not compared: no opinion.
    Tired,
}

type Walk<T> = Result<T, End>;

struct Walker<'w> {
    script: &'w Script,
    model: &'w mut Model,
    data: Vec<u8>,
    text: Vec<u8>,
    frames: Vec<(usize, usize, Vec<u64>)>,
    fuel: u64,
}

/// What a script returns, or its fault; none if it takes more than `fuel` statements and expressions.
#[must_use]
pub fn walk(script: &Script, model: &mut Model, fuel: u64) -> Option<Result<u64, FaultKind>> {
    let mut text = script.text.clone();
    text.resize(text.len().next_multiple_of(8), 0);
    let mut walker = Walker { script, model, data: Vec::new(), text, frames: Vec::new(), fuel };
    match walker.call(0, Vec::new()) {
        Ok(value) => Some(Ok(value)),
        Err(End::Fault(kind)) => Some(Err(kind)),
        Err(_) => None,
    }
}

impl Walker<'_> {
    fn call(&mut self, number: usize, mut locals: Vec<u64>) -> Walk<u64> {
        let function = &self.script.functions[number];
        if self.frames.len() > 50 {
            return Err(End::Tired);
        }
        locals.resize(function.locals.into(), 0);
        let start = self.data.len();
        self.data.resize(start + function.data as usize, 0);
        self.frames.push((start, self.data.len(), locals));
        let ended = self.block(&function.body);
        self.frames.pop();
        self.data.truncate(start);
        match ended {
            Ok(()) => Ok(0),
            Err(End::Return(value)) => Ok(value),
            Err(other) => Err(other),
        }
    }

    fn tick(&mut self) -> Walk<()> {
        self.fuel = self.fuel.checked_sub(1).ok_or(End::Tired)?;
        Ok(())
    }

    fn block(&mut self, body: &[Stmt]) -> Walk<()> {
        body.iter().try_for_each(|stmt| self.statement(stmt))
    }

    fn statement(&mut self, stmt: &Stmt) -> Walk<()> {
        self.tick()?;
        match &stmt.kind {
            StmtKind::Effect(expr) => self.value(expr).map(|_| ()),
            StmtKind::If(arms, otherwise) => {
                for (test, then) in arms {
                    if self.value(test)? != 0 {
                        return self.block(then);
                    }
                }
                self.block(otherwise)
            }
            StmtKind::Loop { test, first, body, step } => {
                let mut asked = *first;
                loop {
                    self.tick()?;
                    if let (true, Some(test)) = (asked, test)
                        && self.value(test)? == 0
                    {
                        return Ok(());
                    }
                    asked = true;
                    match self.block(body) {
                        Ok(()) | Err(End::Continue) => {}
                        Err(End::Break) => return Ok(()),
                        Err(other) => return Err(other),
                    }
                    for step in step {
                        self.value(step)?;
                    }
                }
            }
            StmtKind::Break => Err(End::Break),
            StmtKind::Continue => Err(End::Continue),
            StmtKind::Return(value) => Err(End::Return(value.as_ref().map_or(Ok(0), |value| self.value(value))?)),
            StmtKind::Print(pieces) => self.print(pieces),
            StmtKind::Zero(offset, bytes) => {
                let start = self.frame().0 + *offset as usize;
                self.data[start..start + *bytes as usize].fill(0);
                Ok(())
            }
        }
    }

    fn frame(&mut self) -> &mut (usize, usize, Vec<u64>) {
        self.frames.last_mut().expect("a function runs")
    }

    fn print(&mut self, pieces: &[Piece]) -> Walk<()> {
        let mut values = Vec::new();
        for piece in pieces {
            if let Piece::Number(_, expr) | Piece::String(_, expr) = piece {
                values.push(self.value(expr)?);
            }
        }
        let mut values = values.into_iter();
        for piece in pieces {
            match piece {
                Piece::Text(offset, length) => {
                    let start = *offset as usize;
                    self.model.said.extend(&self.text[start..start + usize::from(*length)]);
                }
                Piece::Number(spec, _) => {
                    let mut said: Vec<u8> = Vec::new();
                    spec.write(values.next().expect("a value each"), &mut |bytes| said.extend(bytes));
                    self.model.said.extend(said);
                }
                Piece::String(spec, _) => {
                    let at = values.next().expect("a value each");
                    let size = if spec.what == b'w' { Size::Two } else { Size::One };
                    let most = spec.precision.map_or(2048, u64::from);
                    if spec.width > 0 {
                        return Err(End::Tired);
                    }
                    for index in 0..most {
                        self.tick()?;
                        let unit = self.load(Space::Virtual, at.wrapping_add(index * size.bytes() as u64), size);
                        // What was said before a fault is a message still.
                        let unit = unit.inspect_err(|_| self.model.said.push(1))?;
                        match unit {
                            0 => break,
                            unit if size == Size::One => self.model.said.push(unit.to_le_bytes()[0]),
                            unit => {
                                let known = u32::try_from(unit).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
                                self.model.said.extend(known.to_string().bytes());
                            }
                        }
                    }
                }
            }
        }
        self.model.said.push(1);
        Ok(())
    }

    fn value(&mut self, expr: &Expr) -> Walk<u64> {
        self.tick()?;
        Ok(match expr {
            Expr::Const(value) => *value,
            Expr::Local(slot) => self.frame().2[usize::from(*slot)],
            Expr::SetLocal(slot, value) => {
                let value = self.value(value)?;
                self.frame().2[usize::from(*slot)] = value;
                value
            }
            Expr::Global(cell) => self.model.globals[usize::from(*cell)],
            Expr::SetGlobal(cell, value) => {
                let value = self.value(value)?;
                self.model.globals[usize::from(*cell)] = value;
                value
            }
            Expr::AddGlobal(cell, value) => {
                let value = self.value(value)?;
                let cell = &mut self.model.globals[usize::from(*cell)];
                *cell = cell.wrapping_add(value);
                *cell
            }
            Expr::Gpr(number) => self.model.gprs[usize::from(*number)],
            Expr::SetGpr(number, value) => {
                let value = self.value(value)?;
                self.model.gprs[usize::from(*number)] = value;
                value
            }
            Expr::Special(number) => self.model.specials[usize::from(*number)],
            Expr::SetSpecial(number, value) => {
                let value = self.value(value)?;
                let set = self.model.set_special(Special::ALL[usize::from(*number)], value);
                set.map_err(|_| End::Fault(FaultKind::Refused))?;
                value
            }
            Expr::Pseudo(number) => self.model.pseudo(Pseudo::ALL[usize::from(*number)]),
            Expr::Buffer => {
                if self.model.buffer.is_empty() {
                    0
                } else {
                    BUFFER
                }
            }
            Expr::Address(offset) => DATA + self.frame().0 as u64 + u64::from(*offset),
            Expr::Bits(start, width, value) => {
                let value = u128::from(self.value(value)?);
                u64::try_from(value >> start & ((1_u128 << width) - 1)).expect("a field is 64 bits at most")
            }
            Expr::SetBits(start, width, into, value) => {
                let (into, value) = (self.value(into)?, self.value(value)?);
                (0..64).fold(0, |all, bit| {
                    let inside = bit >= *start && bit < start + width;
                    let from = if inside { value >> (bit - start) } else { into >> bit };
                    all | (from & 1) << bit
                })
            }
            Expr::Load(space, size, address) => {
                let address = self.value(address)?;
                self.load(*space, address, *size)?
            }
            Expr::Store(space, size, address, value) => {
                let (address, value) = (self.value(address)?, self.value(value)?);
                self.store(*space, address, *size, value)?;
                value
            }
            Expr::Unary(op, operand) => {
                let operand = self.value(operand)?;
                unary(*op, operand)
            }
            Expr::Binary(op, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                binary(*op, left, right).ok_or(End::Fault(FaultKind::DivideByZero))?
            }
            Expr::Compare(how, order, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                u64::from(match order {
                    Order::Signed => compare(*how, &(left as i64), &(right as i64)),
                    Order::Unsigned => compare(*how, &left, &right),
                    Order::Float => compare(*how, &f64::from_bits(left), &f64::from_bits(right)),
                })
            }
            Expr::And(left, right) => u64::from(self.value(left)? != 0 && self.value(right)? != 0),
            Expr::Or(left, right) => u64::from(self.value(left)? != 0 || self.value(right)? != 0),
            Expr::Not(value) => u64::from(self.value(value)? == 0),
            Expr::Call(number, arguments) => {
                let values = arguments.iter().map(|argument| self.value(argument)).collect::<Walk<Vec<_>>>()?;
                self.call((*number).into(), values)?
            }
            Expr::System(number, arguments) => {
                let mut values = arguments.iter().map(|argument| self.value(argument)).collect::<Walk<Vec<_>>>()?;
                values.resize(3, 0);
                self.system(*number, [values[0], values[1], values[2]])?
            }
            Expr::Seq(first, then) => {
                self.value(first)?;
                self.value(then)?
            }
        })
    }

    fn bad<T>(address: u64) -> Walk<T> {
        Err(End::Fault(FaultKind::BadAddress { address }))
    }

    fn load(&mut self, space: Space, address: u64, size: Size) -> Walk<u64> {
        if space == Space::Physical || address >> 56 != 0x5c {
            return self.model.read(space, address, size).or_else(|_| Self::bad(address));
        }
        let mut value = 0;
        for byte in (0..size.bytes() as u64).rev() {
            let Some(found) = self.own(address, byte) else { return Self::bad(address) };
            value = value << 8 | u64::from(found);
        }
        let straddles = address >> 48 == GLOBALS >> 48 && address % 8 + size.bytes() as u64 > 8
            || address >> 48 == NAMES >> 48 && address % 16 + size.bytes() as u64 > 16;
        if straddles {
            return Self::bad(address);
        }
        Ok(value)
    }

    fn own(&mut self, address: u64, byte: u64) -> Option<u8> {
        let (window, offset) = (address >> 48 << 48, usize::try_from((address & 0xffff_ffff_ffff) + byte).ok()?);
        let end = self.frame().1;
        match window {
            TEXT => self.text.get(offset).copied(),
            DATA => self.data.get(..end)?.get(offset).copied(),
            BUFFER => self.model.buffer.get(offset).copied(),
            GLOBALS if offset / 8 < usize::from(self.script.globals) => {
                Some(self.model.globals[offset / 8].to_le_bytes()[offset % 8])
            }
            NAMES => {
                let labels = [Label::ProcessName, Label::Date, Label::Time];
                labels.get(offset / 16).map(|label| if offset % 16 == 15 { 0 } else { self.model.label(*label)[offset % 16] })
            }
            _ => None,
        }
    }

    fn store(&mut self, space: Space, address: u64, size: Size, value: u64) -> Walk<()> {
        if space == Space::Physical || address >> 56 != 0x5c {
            return self.model.write(space, address, size, value).or_else(|_| Self::bad(address));
        }
        let (window, offset) = (address >> 48 << 48, usize::try_from(address & 0xffff_ffff_ffff).expect("48 bits"));
        let (end, count) = (offset + size.bytes(), size.bytes());
        let bytes = &value.to_le_bytes()[..count];
        let data_end = self.frame().1;
        match window {
            DATA if end <= data_end => self.data[offset..end].copy_from_slice(bytes),
            BUFFER if end <= self.model.buffer.len() => self.model.buffer[offset..end].copy_from_slice(bytes),
            GLOBALS if offset / 8 < usize::from(self.script.globals) && offset % 8 + count <= 8 => {
                let cell = &mut self.model.globals[offset / 8];
                let mut all = cell.to_le_bytes();
                all[offset % 8..offset % 8 + count].copy_from_slice(bytes);
                *cell = u64::from_le_bytes(all);
            }
            _ => return Self::bad(address),
        }
        Ok(())
    }

    fn change(&mut self, address: u64, change: Interlocked) -> Walk<u64> {
        let before = self.load(Space::Virtual, address, Size::Eight)?;
        self.store(Space::Virtual, address, Size::Eight, change.applied(before))?;
        Ok(before)
    }

    fn compared(&mut self, [a, b, most]: [u64; 3], size: Size, ends: bool) -> Walk<u64> {
        for at in 0..most {
            self.tick()?;
            let step = at.wrapping_mul(size.bytes() as u64);
            let x = self.load(Space::Virtual, a.wrapping_add(step), size)?;
            let y = self.load(Space::Virtual, b.wrapping_add(step), size)?;
            if x != y {
                return Ok(if x < y { u64::MAX } else { 1 });
            }
            if ends && x == 0 {
                break;
            }
        }
        Ok(0)
    }

    fn length(&mut self, string: u64, size: Size) -> Walk<u64> {
        let mut count = 0;
        while self.load(Space::Virtual, string.wrapping_add(count * size.bytes() as u64), size)? != 0 {
            self.tick()?;
            count += 1;
        }
        Ok(count)
    }

    fn system(&mut self, number: u32, [a, b, c]: [u64; 3]) -> Walk<u64> {
        let control = match number {
            system::EVENT_ENABLE => Control::Enable(a),
            system::EVENT_DISABLE => Control::Disable(a),
            system::EVENT_CLEAR => Control::Clear(a),
            system::EVENT_SC => Control::ShortCircuit(a != 0),
            system::EVENT_INJECT => Control::Inject { kind: a, vector: b, code: None },
            system::EVENT_INJECT_ERROR_CODE => Control::Inject { kind: a, vector: b, code: Some(c) },
            system::EVENT_TRACE_STEP => Control::Step,
            system::EVENT_TRACE_STEP_IN => Control::StepIn,
            system::EVENT_TRACE_STEP_OUT => Control::StepOut,
            system::EVENT_TRACE_INSTRUMENTATION_STEP => Control::InstrumentationStep,
            system::EVENT_TRACE_INSTRUMENTATION_STEP_IN => Control::InstrumentationStepIn,
            system::PAUSE => Control::Pause,
            system::FLUSH => Control::Flush,
            _ => return self.function(number, [a, b, c]),
        };
        self.model.control(control).map_err(|_| End::Fault(FaultKind::Refused))
    }

    fn function(&mut self, number: u32, [a, b, c]: [u64; 3]) -> Walk<u64> {
        match number {
            system::MEMCPY | system::MEMCPY_PA => {
                let space = if number == system::MEMCPY { Space::Virtual } else { Space::Physical };
                if c > 10_000 {
                    return Err(End::Tired);
                }
                let mut done = 0;
                while done < c {
                    let size = if c - done >= 8 { Size::Eight } else { Size::One };
                    let value = self.load(space, b.wrapping_add(done), size)?;
                    self.store(space, a.wrapping_add(done), size, value)?;
                    done += size.bytes() as u64;
                }
                Ok(0)
            }
            system::MEMCMP => self.compared([a, b, c], Size::One, false),
            system::STRCMP => self.compared([a, b, u64::MAX], Size::One, true),
            system::STRNCMP => self.compared([a, b, c], Size::One, true),
            system::WCSCMP => self.compared([a, b, u64::MAX], Size::Two, true),
            system::WCSNCMP => self.compared([a, b, c], Size::Two, true),
            system::STRLEN => self.length(a, Size::One),
            system::WCSLEN => self.length(a, Size::Two),
            system::CHECK_ADDRESS => match self.load(Space::Virtual, a, Size::One) {
                Ok(_) => Ok(1),
                Err(End::Fault(_)) => Ok(0),
                Err(other) => Err(other),
            },
            system::VIRTUAL_TO_PHYSICAL => self.model.physical(a).or_else(|_| Self::bad(a)),
            system::PHYSICAL_TO_VIRTUAL => self.model.direct(a).or_else(|_| Self::bad(a)),
            system::INTERLOCKED_INCREMENT => Ok(self.change(a, Interlocked::Add(1))?.wrapping_add(1)),
            system::INTERLOCKED_DECREMENT => Ok(self.change(a, Interlocked::Add(u64::MAX))?.wrapping_sub(1)),
            system::INTERLOCKED_EXCHANGE => self.change(a, Interlocked::Exchange(b)),
            system::INTERLOCKED_EXCHANGE_ADD => self.change(a, Interlocked::Add(b)),
            system::INTERLOCKED_COMPARE_EXCHANGE => self.change(a, Interlocked::CompareExchange { old: c, new: b }),
            system::SPINLOCK_LOCK | system::SPINLOCK_LOCK_CUSTOM_WAIT => {
                match self.change(a, Interlocked::CompareExchange { old: 0, new: 1 })? {
                    0 => Ok(0),
                    _ => Err(End::Tired),
                }
            }
            system::SPINLOCK_UNLOCK => self.change(a, Interlocked::Exchange(0)).map(|_| 0),
            system::DISASSEMBLE_LEN | system::DISASSEMBLE_LEN64 => {
                self.model.instruction_bytes(a, 64).or_else(|_| Self::bad(a))
            }
            system::DISASSEMBLE_LEN32 => self.model.instruction_bytes(a, 32).or_else(|_| Self::bad(a)),
            system::RDTSC | system::RDTSCP => Ok(self.model.ticks(false)),
            system::MICROSLEEP if a < 1000 => {
                self.model.sleep(a);
                Ok(0)
            }
            _ => Err(End::Tired),
        }
    }
}

fn compare<T: PartialOrd>(how: Compare, left: &T, right: &T) -> bool {
    match how {
        Compare::Eq => left == right,
        Compare::Ne => left != right,
        Compare::Lt => left < right,
        Compare::Le => left <= right,
        Compare::Gt => left > right,
        Compare::Ge => left >= right,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the language's own conversions, said again")]
fn unary(op: u8, a: u64) -> u64 {
    match op {
        op::NEG => 0_u64.wrapping_sub(a),
        op::NOT => a ^ u64::MAX,
        op::ZX8 => a % 0x100,
        op::ZX16 => a % 0x1_0000,
        op::ZX32 => a % 0x1_0000_0000,
        op::SX8 => a as i8 as u64,
        op::SX16 => a as i16 as u64,
        op::SX32 => a as i32 as u64,
        op::F_NEG => (-f64::from_bits(a)).to_bits(),
        op::F_FROM_S => (a as i64 as f64).to_bits(),
        op::F_FROM_U => (a as f64).to_bits(),
        op::F_TO_S => f64::from_bits(a) as i64 as u64,
        op::F_TO_U => f64::from_bits(a) as u64,
        op::F_ROUND => f64::from(f64::from_bits(a) as f32).to_bits(),
        op::F_WIDEN => f64::from(f32::from_bits(a as u32)).to_bits(),
        op::F_NARROW => u64::from((f64::from_bits(a) as f32).to_bits()),
        other => panic!("{} has one operand?", op::NAMES[usize::from(other)]),
    }
}

fn binary(op: u8, a: u64, b: u64) -> Option<u64> {
    let (x, y) = (f64::from_bits(a), f64::from_bits(b));
    let (wide, s, t) = (u128::from(a), i128::from(a as i64), i128::from(b as i64));
    let shift = |value: u128| u64::try_from(value & u128::from(u64::MAX)).expect("64 bits");
    let signed = |value: i128| shift(value.cast_unsigned());
    Some(match op {
        op::ADD => shift(wide + u128::from(b)),
        op::SUB => signed(s - t),
        op::MUL => shift(wide.wrapping_mul(b.into())),
        op::DIV_U if b != 0 => a / b,
        op::REM_U if b != 0 => a % b,
        op::DIV_S if b != 0 => signed(s / t),
        op::REM_S if b != 0 => signed(s % t),
        op::DIV_U | op::REM_U | op::DIV_S | op::REM_S => return None,
        op::AND => a & b,
        op::OR => a | b,
        op::XOR => a ^ b,
        op::SHL => {
            if b > 63 {
                0
            } else {
                shift(wide << b)
            }
        }
        op::SHR => {
            if b > 63 {
                0
            } else {
                a >> b
            }
        }
        op::SAR => signed(s >> b.min(64)),
        op::F_ADD => (x + y).to_bits(),
        op::F_SUB => (x - y).to_bits(),
        op::F_MUL => (x * y).to_bits(),
        op::F_DIV => (x / y).to_bits(),
        other => panic!("{} has two operands?", op::NAMES[usize::from(other)]),
    })
}
