//! Statements, declarations, functions.

use super::{Checked, Checker, Home, Signature, Value, Variable, assign::Place};
use crate::ast::{Block, Declarator, Expr, ExprKind, Function, Initial, Stmt, StmtKind};
use crate::hir;
use crate::limits::ERRORS_MAX;
use crate::source::Span;
use crate::types::Type;
use script_vm::limits::{ARGUMENTS_MAX, FUNCTIONS_MAX};
use std::rc::Rc;

impl<'s> Checker<'s, '_> {
    pub(super) fn is_type_statement(stmt: &Stmt<'s>) -> bool {
        matches!(stmt.kind, StmtKind::Struct(_) | StmtKind::Typedef(_))
    }

    pub(super) fn top_level_types(&mut self, body: &Block<'s>) {
        let mut none = Vec::new();
        for stmt in body.iter().filter(|stmt| Self::is_type_statement(stmt)) {
            self.statement(stmt, &mut none);
        }
    }

    pub(super) fn signature(&mut self, function: &Function<'s>) {
        let Function { name, span, .. } = *function;
        if self.signatures.iter().any(|known| known.name == name) {
            let _ = self.wrong::<()>(span, format!("the function {name} is there already"));
        } else if super::call::is_documented(name) {
            let _ = self.wrong::<()>(span, format!("{name} is a function of the language: give yours another name"));
        }
        if self.signatures.len() + 1 >= FUNCTIONS_MAX {
            let _ = self.wrong::<()>(span, format!("a script has {} functions at most", FUNCTIONS_MAX - 1));
        }
        let returns = self.resolve(&function.returns).unwrap_or(Type::Untyped);
        if returns.is_aggregate() {
            let _ = self.wrong::<()>(function.returns.span, "a function cannot return a struct: return a pointer");
        }
        if function.parameters.len() > usize::from(ARGUMENTS_MAX) {
            let _ = self.wrong::<()>(span, format!("a function has {ARGUMENTS_MAX} parameters at most"));
        }
        let parameters = function.parameters.iter().map(|parameter| {
            let kind = self.declared(parameter).unwrap_or(Type::Untyped);
            if matches!(kind, Type::Struct(_) | Type::Void) {
                let _ = self.wrong::<()>(parameter.span, "a parameter is a number or a pointer");
            }
            match kind {
                Type::Array(of, _) => Type::Pointer(of),
                other => other,
            }
        });
        let parameters = parameters.collect();
        self.signatures.push(Signature { name, returns, parameters });
    }

    pub(super) fn user_function(&mut self, number: usize, function: &Function<'s>) {
        let Some(signature) = self.signatures.get(number) else { return };
        self.returns = Some(signature.returns.clone());
        let kinds = signature.parameters.clone();
        let mut body = Vec::new();
        self.function.arguments = u16::try_from(kinds.len()).unwrap_or(0);
        self.function.locals = self.function.arguments;
        for (slot, (parameter, kind)) in (0..).zip(function.parameters.iter().zip(kinds)) {
            if self.scope.iter().any(|known| known.name == parameter.name) {
                let _ = self.wrong::<()>(parameter.span, format!("the parameter {} is there already", parameter.name));
            }
            let mut home = Home::Local(slot);
            // A parameter whose address is taken moves into memory first.
            if self.addressed.contains(&parameter.name)
                && let Ok(offset) = self.room(&kind, parameter.span)
            {
                home = Home::Data(offset);
                let store = self.store(Place::Memory(hir::Expr::Address(offset), kind.clone()), hir::Expr::Local(slot));
                body.push(hir::Stmt { kind: hir::StmtKind::Effect(store), at: parameter.span.start });
            }
            self.scope.push(Variable { name: parameter.name, kind, home, block: 0 });
        }
        self.statements(&function.body, &mut body);
        self.function.body = body;
        let finished = self.finish();
        self.out.functions.push(finished);
        self.returns = None;
    }

    fn statements(&mut self, block: &Block<'s>, into: &mut Vec<hir::Stmt>) {
        for stmt in block {
            self.statement(stmt, into);
        }
    }

    /// A block with variables of its own.
    fn scoped(&mut self, block: &Block<'s>) -> Vec<hir::Stmt> {
        let outside = self.scope.len();
        self.marks.push(outside);
        let mut body = Vec::new();
        self.statements(block, &mut body);
        self.marks.pop();
        self.scope.truncate(outside);
        body
    }

    /// One that may not run, or more than once.
    fn conditional(&mut self, block: &Block<'s>) -> Vec<hir::Stmt> {
        self.block += 1;
        self.blocks.push(self.block);
        // What is evaluated within is evaluated whenever the block is.
        let bare = std::mem::take(&mut self.bare);
        let body = self.scoped(block);
        self.bare = bare;
        self.blocks.pop();
        body
    }

    fn looped(&mut self, block: &Block<'s>) -> Vec<hir::Stmt> {
        self.loops += 1;
        let body = self.conditional(block);
        self.loops -= 1;
        body
    }

    /// Checks a statement; what is wrong has been told.
    pub(super) fn statement(&mut self, stmt: &Stmt<'s>, into: &mut Vec<hir::Stmt>) {
        // Errors are searched for what was meant, and nobody reads hundreds.
        if self.troubles.len() < 4 * ERRORS_MAX {
            let _told = self.try_statement(stmt, into);
        }
    }

    fn try_statement(&mut self, stmt: &Stmt<'s>, into: &mut Vec<hir::Stmt>) -> Checked<()> {
        let at = stmt.span.start;
        let mut push = |kind| into.push(hir::Stmt { kind, at });
        match &stmt.kind {
            StmtKind::Expr(expr) => {
                if let ExprKind::Call(name, _, arguments) = &expr.kind
                    && let Some(messages) = self.message(name, arguments, expr.span)?
                {
                    messages.into_iter().for_each(|pieces| push(hir::StmtKind::Print(pieces)));
                    return Ok(());
                }
                let value = self.value(expr)?;
                push(hir::StmtKind::Effect(value.expr));
            }
            StmtKind::Declare(declared) => {
                for declarator in declared {
                    let _told = self.declare(declarator, into);
                }
            }
            StmtKind::If(arms, otherwise) => {
                let mut checked = Vec::with_capacity(arms.len());
                for (condition, block) in arms {
                    let test = self.condition(condition);
                    let body = self.conditional(block);
                    // The next condition is asked only if this one was not true.
                    self.bare += 1;
                    checked.push(test.map(|test| (test, body)));
                }
                let rest = otherwise.as_ref().map_or(Vec::new(), |block| self.conditional(block));
                self.bare -= u32::try_from(arms.len()).unwrap_or(0);
                push(hir::StmtKind::If(checked.into_iter().collect::<Checked<_>>()?, rest));
            }
            StmtKind::While(condition, block) => {
                self.bare += 1;
                let test = self.condition(condition);
                self.bare -= 1;
                let body = self.looped(block);
                push(hir::StmtKind::Loop { test: Some(test?), first: true, body, step: Vec::new() });
            }
            StmtKind::Do(block, condition) => {
                let body = self.looped(block);
                self.bare += 1;
                let test = self.condition(condition);
                self.bare -= 1;
                push(hir::StmtKind::Loop { test: Some(test?), first: false, body, step: Vec::new() });
            }
            StmtKind::For(first, condition, steps, block) => {
                self.for_loop(first.as_deref(), condition.as_ref(), steps, block, at, into)?
            }
            StmtKind::Break | StmtKind::Continue => {
                let goes_on = matches!(stmt.kind, StmtKind::Continue);
                if self.loops == 0 {
                    let word = if goes_on { "continue" } else { "break" };
                    return self.wrong(stmt.span, format!("`{word}` stands outside of any loop"));
                }
                push(if goes_on { hir::StmtKind::Continue } else { hir::StmtKind::Break });
            }
            StmtKind::Return(value) => {
                let value = self.returned(value.as_ref(), stmt.span)?;
                push(hir::StmtKind::Return(value));
            }
            StmtKind::Block(block) => {
                let body = self.scoped(block);
                into.extend(body);
            }
            StmtKind::Struct(structure) => self.structure(structure)?,
            StmtKind::Typedef(declarator) => {
                let kind = self.declared(declarator)?;
                self.typedefs.push((declarator.name, kind));
            }
        }
        Ok(())
    }

    fn for_loop(
        &mut self,
        first: Option<&Stmt<'s>>,
        condition: Option<&Expr<'s>>,
        steps: &[Expr<'s>],
        block: &Block<'s>,
        at: u32,
        into: &mut Vec<hir::Stmt>,
    ) -> Checked<()> {
        let outside = self.scope.len();
        self.marks.push(outside);
        if let Some(first) = first {
            self.statement(first, into);
        }
        self.bare += 1;
        let test = condition.map(|condition| self.condition(condition)).transpose();
        self.bare -= 1;
        // The body is written before the steps and runs before them.
        let body = self.looped(block);
        self.bare += 1;
        let steps: Vec<_> = steps.iter().map(|step| self.value(step)).collect();
        self.bare -= 1;
        self.marks.pop();
        self.scope.truncate(outside);
        let steps: Checked<Vec<_>> = steps.into_iter().collect();
        let step = steps?.into_iter().map(|value| value.expr).collect();
        into.push(hir::Stmt { kind: hir::StmtKind::Loop { test: test?, first: true, body, step }, at });
        Ok(())
    }

    fn returned(&mut self, value: Option<&Expr<'s>>, span: Span) -> Checked<Option<hir::Expr>> {
        let wanted = self.returns.clone();
        match (value, wanted) {
            (None, None | Some(Type::Void)) => Ok(None),
            (None, Some(_)) => self.wrong(span, "a value must follow `return`: the function has a type"),
            (Some(value), Some(Type::Void)) => self.wrong(value.span, "a void function returns no value"),
            (Some(value), wanted) => {
                let found = self.scalar(value)?;
                let kind = wanted.unwrap_or(Type::Untyped);
                Ok(Some(self.convert(found, &kind, value.span)?.expr))
            }
        }
    }

    fn declare(&mut self, declarator: &Declarator<'s>, into: &mut Vec<hir::Stmt>) -> Checked<()> {
        let Declarator { name, span, .. } = *declarator;
        let kind = self.declared(declarator)?;
        if self.size(&kind) == 0 || kind == Type::Void {
            return self.wrong(span, format!("{name} cannot be of this type: its size is not known"));
        }
        if declarator.global {
            let (cell, _) = self.global(name, Some(kind.clone()), span)?;
            let place = if kind.is_aggregate() {
                Place::Memory(hir::Expr::Const(script_vm::GLOBALS + 8 * u64::from(cell)), kind)
            } else {
                Place::Global(cell, kind)
            };
            if let Some(initial) = &declarator.initial {
                self.initialise(place, initial, span, into)?;
            }
            return Ok(());
        }
        let inner = self.marks.last().copied().unwrap_or(0);
        if self.scope[inner.min(self.scope.len())..].iter().any(|known| known.name == name) {
            return self.wrong(span, format!("{name} is declared already"));
        }
        if self.implicit.iter().any(|known| known.name == name) {
            return self.wrong(span, format!("{name} is used above without a type"));
        }
        // The initial value is read before the name is there.
        let mut value = None;
        if let Some(Initial::Value(expr)) = &declarator.initial
            && !matches!(kind, Type::Array(..))
        {
            value = Some((self.value(expr), expr.span));
        }
        let in_memory = kind.is_aggregate() || self.addressed.contains(&name);
        let home = if in_memory { self.room(&kind, span).map(Home::Data) } else { self.slot(span).map(Home::Local) };
        if let (Home::Data(offset), true) = (home.as_ref().map_or(Home::Local(0), |home| *home), kind.is_aggregate()) {
            let bytes = u32::try_from(self.size(&kind).next_multiple_of(8)).unwrap_or(0);
            into.push(hir::Stmt { kind: hir::StmtKind::Zero(offset, bytes), at: span.start });
        }
        let home = home?;
        let place = match home {
            Home::Local(slot) => Place::Local(slot, kind.clone()),
            Home::Data(offset) => Place::Memory(hir::Expr::Address(offset), kind.clone()),
        };
        self.scope.push(Variable { name, kind: kind.clone(), home, block: 0 });
        match (&declarator.initial, value) {
            (_, Some((value, at))) => {
                let value = value?;
                self.assign_value(place, value, at, into, span)
            }
            (Some(initial), None) => self.initialise(place, initial, span, into),
            (None, None) if !kind.is_aggregate() => {
                let zero = Value { expr: hir::Expr::Const(0), kind: Type::Untyped };
                self.assign_value(place, zero, span, into, span)
            }
            (None, None) => Ok(()),
        }
    }

    fn assign_value(&mut self, place: Place, value: Value, at: Span, into: &mut Vec<hir::Stmt>, span: Span) -> Checked<()> {
        let expr = self.assigned(place, value, at)?;
        into.push(hir::Stmt { kind: hir::StmtKind::Effect(expr), at: span.start });
        Ok(())
    }

    /// An initial value, or a list of them for arrays and structs.
    fn initialise(&mut self, place: Place, initial: &Initial<'s>, span: Span, into: &mut Vec<hir::Stmt>) -> Checked<()> {
        match (initial, place) {
            (Initial::Value(expr), Place::Memory(address, Type::Array(of, count))) => {
                let (ExprKind::Text(index) | ExprKind::Wide(index)) = expr.kind else {
                    return self.wrong(expr.span, "an array is initialised by { … } or by a string");
                };
                let wide = matches!(expr.kind, ExprKind::Wide(_));
                let unit = if wide { 2 } else { 1 };
                let bytes = self.texts.get(index).cloned().unwrap_or_default();
                if self.size(&of) != unit {
                    return self.wrong(expr.span, "this string has characters of another size");
                }
                if bytes.len() as u64 / unit >= count {
                    let needed = bytes.len() as u64 / unit + 1;
                    return self.wrong(expr.span, format!("the string needs 0x{needed:x} elements, the array has 0x{count:x}"));
                }
                let length = bytes.len() as u64 + unit;
                let offset = self.text(&bytes, if wide { 2 } else { 1 });
                let from = hir::Expr::Const(script_vm::TEXT + u64::from(offset));
                let copy = hir::Expr::System(script_vm::system::MEMCPY, vec![address, from, hir::Expr::Const(length)]);
                into.push(hir::Stmt { kind: hir::StmtKind::Effect(copy), at: span.start });
                Ok(())
            }
            (Initial::Value(expr), place) => {
                let value = self.value(expr)?;
                self.assign_value(place, value, expr.span, into, span)
            }
            (Initial::List(list, list_span), Place::Memory(address, kind)) => {
                let parts: Vec<(u64, Type)> = match &kind {
                    Type::Array(of, count) => {
                        let bytes = self.size(of);
                        (0..(*count).min(list.len() as u64)).map(|at| (at * bytes, Type::clone(of))).collect()
                    }
                    Type::Struct(number) => {
                        self.structs[*number].fields.iter().map(|(_, kind, offset)| (*offset, kind.clone())).collect()
                    }
                    _ => return self.wrong(*list_span, "{ … } initialises arrays and structs"),
                };
                if list.len() > parts.len() {
                    return self.wrong(*list_span, format!("0x{:x} values for 0x{:x} elements", list.len(), parts.len()));
                }
                for (initial, (offset, kind)) in list.iter().zip(parts) {
                    let element = self.offset(address.clone(), offset);
                    self.initialise(Place::Memory(element, kind), initial, span, into)?;
                }
                Ok(())
            }
            (Initial::List(_, list_span), _) => self.wrong(*list_span, "{ … } initialises arrays and structs"),
        }
    }

    /// An address so many bytes further.
    pub(super) fn offset(&self, address: hir::Expr, bytes: u64) -> hir::Expr {
        match (bytes, address) {
            (0, address) => address,
            (bytes, hir::Expr::Address(at)) => hir::Expr::Address(at.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX))),
            (bytes, address) => hir::Expr::Binary(script_vm::op::ADD, Box::new(address), Box::new(hir::Expr::Const(bytes))),
        }
    }
}

/// A pointer to a type.
pub(super) fn pointer(kind: &Type) -> Type {
    Type::Pointer(Rc::new(kind.clone()))
}
