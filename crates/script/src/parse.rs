//! Tokens into a tree: statements, declarations, types. Expressions are in `parse/expr.rs`.
//!
//! After an error the parser goes on behind the statement, so one run tells of many.

mod expr;

use crate::ast::{BaseName, Block, Declarator, Expr, ExprKind, Function, Initial, Script, Stmt, StmtKind, Struct, TypeName};
use crate::diagnostic::Trouble;
use crate::lex::{Kind, Token};
use crate::limits::{DEPTH_MAX, HEIGHT_MAX};
use crate::source::Span;

/// An error that has been told.
pub(crate) struct Told;

type Read<T> = Result<T, Told>;

/// Reads a script.
pub(crate) fn script<'s>(text: &'s str, tokens: &[Token], troubles: &mut Vec<Trouble>) -> Script<'s> {
    let mut parser = Parser::new(text, tokens, troubles);
    let mut body = Vec::new();
    while !parser.is_end() {
        parser.statement_or_skip(&mut body, true);
    }
    if let Some(told) = parser.given_up {
        parser.troubles.truncate(told);
    }
    Script { functions: parser.functions, body, assigned: parser.assigned, addressed: parser.addressed }
}

/// Reads one expression and nothing else.
pub(crate) fn expression<'s>(text: &'s str, tokens: &[Token], troubles: &mut Vec<Trouble>) -> Option<Expr<'s>> {
    let mut parser = Parser::new(text, tokens, troubles);
    let expression = parser.expression().ok()?;
    parser.accept(";");
    if !parser.is_end() {
        parser.unexpected("an operator or the end");
        return None;
    }
    Some(expression)
}

struct Parser<'s, 't> {
    text: &'s str,
    tokens: &'t [Token],
    at: usize,
    troubles: &'t mut Vec<Trouble>,
    depth: u32,
    /// Troubles when the parser gave up: what it told afterwards is an echo.
    given_up: Option<usize>,
    typedefs: Vec<&'s str>,
    functions: Vec<Function<'s>>,
    assigned: Vec<&'s str>,
    addressed: Vec<&'s str>,
}

/// Names that are kept of one kind; more variables than that are an error anyway.
const NAMES_MAX: usize = 1024;

/// Remembers a name if an expression is one.
fn remember<'s>(names: &mut Vec<&'s str>, of: &Expr<'s>) {
    if let ExprKind::Word(name) = of.kind
        && names.len() < NAMES_MAX
        && !names.contains(&name)
    {
        names.push(name);
    }
}

impl<'s, 't> Parser<'s, 't> {
    fn new(text: &'s str, tokens: &'t [Token], troubles: &'t mut Vec<Trouble>) -> Self {
        Parser {
            text,
            tokens,
            at: 0,
            troubles,
            depth: 0,
            given_up: None,
            typedefs: Vec::new(),
            functions: Vec::new(),
            assigned: Vec::new(),
            addressed: Vec::new(),
        }
    }

    fn peek(&self) -> Token {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Token {
        // The last token is the end of all.
        *self.tokens.get(self.at + by).unwrap_or(&self.tokens[self.tokens.len() - 1])
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// The span of what was read last.
    fn last(&self) -> Span {
        self.tokens[self.at.saturating_sub(1).min(self.tokens.len() - 1)].span
    }

    fn is_end(&self) -> bool {
        self.peek().kind == Kind::End
    }

    fn slice(&self, span: Span) -> &'s str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    #[inline]
    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek().kind, Kind::Sign(other) if other == sign)
    }

    #[inline]
    fn is_word(&self, word: &str) -> bool {
        self.peek().kind == Kind::Word && self.slice(self.peek().span) == word
    }

    #[inline]
    fn accept(&mut self, sign: &str) -> bool {
        let is = self.is_sign(sign);
        self.at += usize::from(is);
        is
    }

    fn tell<T>(&mut self, trouble: Trouble) -> Read<T> {
        self.troubles.push(trouble);
        Err(Told)
    }

    fn unexpected(&mut self, wanted: &str) -> Told {
        let token = self.peek();
        let found = if token.kind == Kind::End { "the end".to_owned() } else { format!("`{}`", self.slice(token.span)) };
        self.troubles.push(Trouble::new(token.span, format!("{wanted} must stand here, not {found}")));
        Told
    }

    fn expect(&mut self, sign: &str) -> Read<()> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    /// A `;`; where one is missing the place is behind what it should end.
    fn semicolon(&mut self) -> Read<()> {
        if self.accept(";") {
            return Ok(());
        }
        let (end, next) = (self.last().end, self.peek());
        // On the same line something else is wrong; at a line's end, or before a brace, it was forgotten.
        let between = self.text.get(end as usize..next.span.start as usize).unwrap_or("\n");
        if between.contains('\n') || self.is_end() || self.is_sign("}") {
            let place = Span { start: end, end };
            self.troubles.push(Trouble::new(place, "`;` is missing").help("end the statement with ;"));
            return Ok(());
        }
        Err(self.unexpected("an operator or `;`"))
    }

    /// An expression, unless it is too high.
    fn made(&mut self, kind: ExprKind<'s>, span: Span) -> Read<Expr<'s>> {
        let height = kind.height();
        if height > HEIGHT_MAX {
            return self.tell(Trouble::new(span, format!("more than {HEIGHT_MAX} operators stand above each other")));
        }
        Ok(Expr { kind, span, height })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEPTH_MAX {
            let span = self.peek().span;
            // What is left would tell the same again and again.
            self.at = self.tokens.len() - 1;
            self.troubles.push(Trouble::new(span, format!("more than {DEPTH_MAX} levels stand inside each other")));
            self.given_up = self.given_up.or(Some(self.troubles.len()));
            return Err(Told);
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn statement_or_skip(&mut self, into: &mut Block<'s>, top: bool) {
        let start = self.at;
        match self.nested(|parser| parser.statement(top)) {
            Ok(Some(statement)) => into.push(statement),
            Ok(None) => {}
            Err(Told) => self.skip(),
        }
        // Whatever happened, something was read.
        self.at = self.at.max(start + 1);
    }

    /// Goes behind the statement in which an error was.
    fn skip(&mut self) {
        let mut open = 0_u32;
        while !self.is_end() {
            match self.peek().kind {
                Kind::Sign(";") if open == 0 => {
                    self.at += 1;
                    return;
                }
                Kind::Sign("{") => open += 1,
                Kind::Sign("}") if open == 0 => return,
                Kind::Sign("}") => {
                    open -= 1;
                    if open == 0 {
                        self.at += 1;
                        return;
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn block(&mut self, of: &str) -> Read<Block<'s>> {
        if !self.is_sign("{") {
            let token = self.peek();
            let help = format!("{of} {{ … }}");
            return self.tell(Trouble::new(token.span, format!("`{{` must follow {of}: braces are mandatory")).help(help));
        }
        let open = self.next().span;
        let mut block = Vec::new();
        while !self.accept("}") {
            if self.is_end() {
                return self.tell(Trouble::new(open, "this `{` is never closed"));
            }
            self.statement_or_skip(&mut block, false);
        }
        Ok(block)
    }

    fn statement(&mut self, top: bool) -> Read<Option<Stmt<'s>>> {
        let token = self.peek();
        let start = token.span;
        if self.accept(";") {
            return Ok(None);
        }
        if self.is_sign("{") {
            let block = self.block("a block")?;
            return Ok(Some(Stmt { kind: StmtKind::Block(block), span: start }));
        }
        if self.is_sign("}") {
            self.at += 1;
            return self.tell(Trouble::new(start, "this `}` closes nothing"));
        }
        if let Some(kind) = if token.kind == Kind::Word { self.keyword(self.slice(start), start)? } else { None } {
            return Ok(Some(Stmt { kind, span: start.to(self.last()) }));
        }
        if self.is_type() {
            return self.declaration(top, start);
        }
        let expression = self.expression()?;
        self.semicolon()?;
        Ok(Some(Stmt { span: expression.span, kind: StmtKind::Expr(expression) }))
    }

    fn keyword(&mut self, word: &'s str, start: Span) -> Read<Option<StmtKind<'s>>> {
        let before = self.at;
        self.at += 1;
        let kind = match word {
            "if" => {
                let mut arms = vec![(self.condition("if")?, self.block("if (…)")?)];
                let mut otherwise = None;
                loop {
                    let elsif = self.is_word("elsif");
                    let else_if = self.is_word("else") && self.slice(self.ahead(1).span) == "if";
                    if elsif || else_if {
                        self.at += if elsif { 1 } else { 2 };
                        arms.push((self.condition("elsif")?, self.block("elsif (…)")?));
                    } else if self.is_word("else") {
                        self.at += 1;
                        otherwise = Some(self.block("else")?);
                        break;
                    } else {
                        break;
                    }
                }
                StmtKind::If(arms, otherwise)
            }
            "elsif" | "else" => return self.tell(Trouble::new(start, format!("`{word}` without an `if` before it"))),
            "while" => StmtKind::While(self.condition("while")?, self.block("while (…)")?),
            "do" => {
                let body = self.block("do")?;
                if !self.is_word("while") {
                    return Err(self.unexpected("`while (…);`"));
                }
                self.at += 1;
                let condition = self.condition("while")?;
                self.semicolon()?;
                StmtKind::Do(body, condition)
            }
            "for" => self.for_loop()?,
            "break" | "continue" => {
                self.semicolon()?;
                if word == "break" { StmtKind::Break } else { StmtKind::Continue }
            }
            "return" => {
                let value = if self.is_sign(";") { None } else { Some(self.expression()?) };
                self.semicolon()?;
                StmtKind::Return(value)
            }
            "typedef" => {
                let kind = self.type_name()?;
                let named = self.declarator(&kind)?;
                self.typedefs.push(named.name);
                self.semicolon()?;
                StmtKind::Typedef(named)
            }
            "struct" if matches!(self.ahead(1).kind, Kind::Sign("{")) => StmtKind::Struct(self.structure()?),
            _ => {
                self.at = before;
                return Ok(None);
            }
        };
        Ok(Some(kind))
    }

    fn condition(&mut self, of: &str) -> Read<Expr<'s>> {
        if !self.is_sign("(") {
            return Err(self.unexpected(&format!("`(` and the condition of `{of}`")));
        }
        self.at += 1;
        let condition = self.expression()?;
        self.expect(")")?;
        Ok(condition)
    }

    fn for_loop(&mut self) -> Read<StmtKind<'s>> {
        self.expect("(")?;
        let start = self.peek().span;
        let first = if self.accept(";") {
            None
        } else if self.is_type() {
            self.declaration(false, start)?.map(Box::new)
        } else {
            let expression = self.expression()?;
            self.expect(";")?;
            Some(Box::new(Stmt { span: expression.span, kind: StmtKind::Expr(expression) }))
        };
        let condition = if self.is_sign(";") { None } else { Some(self.expression()?) };
        self.expect(";")?;
        let mut steps = Vec::new();
        while !self.is_sign(")") {
            steps.push(self.expression()?);
            if !self.accept(",") {
                break;
            }
        }
        self.expect(")")?;
        let body = self.block("for (…)")?;
        Ok(StmtKind::For(first, condition, steps, body))
    }

    fn structure(&mut self) -> Read<Struct<'s>> {
        let span = self.next().span;
        let name = self.slice(span);
        self.expect("{")?;
        let mut fields = Vec::new();
        while !self.accept("}") {
            if !self.is_type() {
                return Err(self.unexpected("the type of a field"));
            }
            let kind = self.type_name()?;
            loop {
                fields.push(self.declarator(&kind)?);
                if !self.accept(",") {
                    break;
                }
            }
            self.semicolon()?;
        }
        self.semicolon()?;
        Ok(Struct { name, span, fields })
    }

    /// Whether a type begins here.
    fn is_type(&self) -> bool {
        self.is_type_at(0)
    }

    fn is_type_at(&self, by: usize) -> bool {
        let token = self.ahead(by);
        let word = self.slice(token.span);
        let known = matches!(
            word,
            "void"
                | "bool"
                | "char"
                | "short"
                | "int"
                | "long"
                | "float"
                | "double"
                | "signed"
                | "unsigned"
                | "struct"
                | "const"
        );
        token.kind == Kind::Word && (known || self.typedefs.contains(&word))
    }

    fn type_name(&mut self) -> Read<TypeName<'s>> {
        let start = self.peek().span;
        let (mut sign, mut bytes, mut base) = (None, None, None);
        while self.is_type() {
            let token = self.peek();
            let word = self.slice(token.span);
            let known = base.is_some() || bytes.is_some();
            match word {
                "const" => {}
                "signed" | "unsigned" if sign.is_none() && base.is_none() => sign = Some(word == "signed"),
                "char" if !known => bytes = Some(1),
                "short" if !known => bytes = Some(2),
                "int" if base.is_none() => bytes = Some(bytes.unwrap_or(4)),
                "long" if base.is_none() && matches!(bytes, None | Some(8)) => bytes = Some(8),
                "void" if !known && sign.is_none() => base = Some(BaseName::Void),
                "bool" if !known && sign.is_none() => base = Some(BaseName::Bool),
                "float" if !known && sign.is_none() => base = Some(BaseName::Float),
                "double" if !known && sign.is_none() => base = Some(BaseName::Double),
                "struct" if !known && sign.is_none() => {
                    self.at += 1;
                    if self.peek().kind != Kind::Word {
                        return Err(self.unexpected("the name of a struct"));
                    }
                    base = Some(BaseName::Struct(self.slice(self.peek().span)));
                }
                _ if known || sign.is_some() => {
                    if self.typedefs.contains(&word) {
                        break;
                    }
                    return self.tell(Trouble::new(token.span, format!("`{word}` does not go with the words before it")));
                }
                _ => base = Some(BaseName::Named(word)),
            }
            self.at += 1;
        }
        let integer = BaseName::Int(bytes.unwrap_or(4), sign.unwrap_or(true));
        let mut pointers = 0;
        while self.accept("*") {
            pointers += 1;
        }
        Ok(TypeName { base: base.unwrap_or(integer), pointers, span: start.to(self.last()) })
    }

    fn declarator(&mut self, kind: &TypeName<'s>) -> Read<Declarator<'s>> {
        let mut kind = kind.clone();
        while self.accept("*") {
            kind.pointers += 1;
        }
        let token = self.peek();
        let global = token.kind == Kind::Global;
        if token.kind != Kind::Word && !global {
            return Err(self.unexpected("a name"));
        }
        self.at += 1;
        let mut dimensions = Vec::new();
        while self.accept("[") {
            dimensions.push(self.expression()?);
            self.expect("]")?;
        }
        let initial = if self.accept("=") { Some(self.initial()?) } else { None };
        Ok(Declarator { name: self.slice(token.span), span: token.span, kind, dimensions, initial, global })
    }

    fn initial(&mut self) -> Read<Initial<'s>> {
        let start = self.peek().span;
        if !self.accept("{") {
            return Ok(Initial::Value(self.expression()?));
        }
        let mut list = Vec::new();
        while !self.is_sign("}") {
            list.push(self.nested(Self::initial)?);
            if !self.accept(",") {
                break;
            }
        }
        self.expect("}")?;
        Ok(Initial::List(list, start.to(self.last())))
    }

    fn declaration(&mut self, top: bool, start: Span) -> Read<Option<Stmt<'s>>> {
        let kind = self.type_name()?;
        if self.peek().kind == Kind::Word && matches!(self.ahead(1).kind, Kind::Sign("(")) {
            let span = self.peek().span;
            if !top {
                return self.tell(Trouble::new(span, "a function cannot stand inside a block"));
            }
            let function = self.function(kind)?;
            self.functions.push(function);
            return Ok(None);
        }
        let mut declared = Vec::new();
        loop {
            let base = TypeName { pointers: if declared.is_empty() { kind.pointers } else { 0 }, ..kind.clone() };
            declared.push(self.declarator(&base)?);
            if !self.accept(",") {
                break;
            }
        }
        self.semicolon()?;
        Ok(Some(Stmt { kind: StmtKind::Declare(declared), span: start.to(self.last()) }))
    }

    fn function(&mut self, returns: TypeName<'s>) -> Read<Function<'s>> {
        let span = self.next().span;
        self.expect("(")?;
        let mut parameters = Vec::new();
        if self.is_word("void") && matches!(self.ahead(1).kind, Kind::Sign(")")) {
            self.at += 1;
        }
        while !self.is_sign(")") {
            let here = self.peek().span;
            let untyped = TypeName { base: BaseName::Untyped, pointers: 0, span: here };
            let kind = if self.is_type() { self.type_name()? } else { untyped };
            parameters.push(self.declarator(&kind)?);
            if !self.accept(",") {
                break;
            }
        }
        self.expect(")")?;
        let outside = std::mem::take(&mut self.assigned);
        let body = self.block("a function");
        let assigned = std::mem::replace(&mut self.assigned, outside);
        let body = body?;
        Ok(Function { name: self.slice(span), span, returns, parameters, body, assigned })
    }
}
