//! Scripts out of any bytes: each choice is a byte, so a fuzzer that changes a byte changes a choice.

use std::fmt::Write;

struct Generator<'b> {
    bytes: &'b [u8],
    text: String,
    depth: u32,
    loops: u32,
    /// Loops at all: each may run three times.
    nested: u32,
    in_function: bool,
}

/// Variables: their types, and what they are declared with.
const VARIABLES: [(&str, &str); 8] = [
    ("u", ""),
    ("v", ""),
    ("i", "int"),
    ("l", "long"),
    ("c", "char"),
    ("s", "unsigned short"),
    ("n", "unsigned int"),
    ("q", "unsigned long"),
];

/// Values that need memory, of the script's own and of the guest's.
const LIBRARY: &[&str] = &[
    "strlen(\"abc\")",
    "strcmp(b, \"hello\")",
    "memcmp(@rsi, t, 4)",
    "interlocked_increment(&.x)",
    "interlocked_exchange_add(&w, 3)",
    "*a",
    "a[1]",
    "b[u & 3]",
    "*b++",
    "(a - t)",
    "w",
    "sizeof(p)",
    "wcslen(L\"ab\")",
    "check_address(a)",
    "(a < t + 4)",
    "disassemble_len(@rsi)",
];

/// Statements that write memory.
const WRITES: &[&str] = &[
    "*a = u",
    "a++",
    "a = t + (v & 3)",
    "a[1] -= v",
    "memcpy(t, @rsi, 8)",
    "memcpy(@rsi, &w, 3)",
    "eq(&w, v)",
    "eb(&.x + 1, v)",
    "w = *b",
    "p = p",
    "@ah = w",
    "printf(\"%s %.3s %c|\", $pname, b, u)",
    "(&p)->i++",
    "spinlock_unlock(&.y)",
];

/// A script that compiles, whatever the bytes are.
#[must_use]
pub fn generate(bytes: &[u8]) -> String {
    let mut generator = Generator { bytes, text: String::new(), depth: 0, loops: 0, nested: 0, in_function: true };
    generator.text.push_str("struct pair { char c; int i; long l; };\nint f(int i, u) {\n");
    generator.text.push_str("v = 7;\n");
    generator.declare(&["i", "u"]);
    generator.block(2);
    let value = generator.value();
    let _ = writeln!(generator.text, "return {value};\n}}");
    generator.in_function = false;
    generator.text.push_str("u = 5;\nv = 7;\n");
    generator.declare(&["u"]);
    generator.text.push_str(
        "struct pair p;\nint t[4] = { 1, 2, 3 };\ndouble d = 1.5;\nfloat g = 0.1;\nlong w = 3;\nint *a = t;\nchar *b = @rdi;\n",
    );
    generator.block(6);
    generator.text.push_str("printf(\"%llx %d %lld %f %f\\n\", u, i, l, d, g);\n");
    let value = generator.value();
    let _ = writeln!(generator.text, "return {value};");
    generator.text
}

impl Generator<'_> {
    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    fn declare(&mut self, but: &[&str]) {
        for (name, kind) in VARIABLES.iter().filter(|(name, kind)| !kind.is_empty() && !but.contains(name)) {
            let _ = writeln!(self.text, "{kind} {name} = {};", name.len() + 3);
        }
    }

    fn block(&mut self, most: u8) {
        let count = 1 + self.byte() % most;
        for _ in 0..count {
            self.statement();
        }
    }

    fn braced(&mut self) {
        self.depth += 1;
        self.text.push_str("{\n");
        self.block(3);
        self.text.push_str("}\n");
        self.depth -= 1;
    }

    fn statement(&mut self) {
        let choice = if self.depth > 3 { self.byte() % 8 } else { self.byte() % 14 };
        match choice {
            0..=2 => {
                let (place, value) = (self.place(), self.value());
                let sign = self.one_of(&["=", "+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>=", "=", "="]);
                let _ = writeln!(self.text, "{place} {sign} {value};");
            }
            3 => {
                let place = self.place();
                let shape = self.one_of(&["++", "--"]);
                let _ = writeln!(self.text, "{place}{shape};");
            }
            4 => {
                let value = self.value();
                let _ = writeln!(self.text, "printf(\"%llx|\", {value});");
            }
            5 if !self.in_function => {
                let (name, value, sign) = (self.one_of(&["d", "g"]), self.float(), self.one_of(&["=", "+=", "-=", "*=", "/="]));
                let _ = writeln!(self.text, "{name} {sign} {value};");
            }
            6 => {
                let (divided, value) = (self.place(), self.value());
                let sign = self.one_of(&["/", "%"]);
                let _ = writeln!(self.text, "{divided} = {value} {sign} ({} | 1);", VARIABLES[2].0);
            }
            7 if self.loops > 0 => {
                let test = self.test();
                let word = self.one_of(&["break", "continue"]);
                let _ = writeln!(self.text, "if ({test}) {{ {word}; }}");
            }
            8 | 9 => {
                let test = self.test();
                let _ = write!(self.text, "if ({test}) ");
                self.braced();
                if self.byte() & 1 == 0 {
                    let test = self.test();
                    let _ = write!(self.text, "elsif ({test}) ");
                    self.braced();
                }
                if self.byte() & 1 == 0 {
                    self.text.push_str("else ");
                    self.braced();
                }
            }
            10..=12 if self.nested < 4 => {
                self.nested += 1;
                self.loops += 1;
                let counter = format!("k{}", self.nested);
                let test = self.test();
                match choice {
                    10 => {
                        let _ = write!(self.text, "for ({counter} = 0; {counter} < 3; {counter}++) ");
                        self.braced();
                    }
                    11 => {
                        let _ = write!(self.text, "{counter} = 0;\nwhile ({counter}++ < 3 && ({test})) ");
                        self.braced();
                    }
                    _ => {
                        let _ = write!(self.text, "{counter} = 0;\ndo ");
                        self.braced();
                        let _ = writeln!(self.text, "while (++{counter} < 3 && ({test}));");
                    }
                }
                self.loops -= 1;
            }
            13 if self.byte() & 1 == 0 && !self.in_function => {
                let written = self.one_of(WRITES);
                let _ = writeln!(self.text, "{written};");
            }
            13 => {
                let value = self.value();
                let _ = writeln!(self.text, "eq(@rsi + 8 * ({value} & f), {value});");
            }
            _ => {
                let value = self.value();
                let _ = writeln!(self.text, "{value};");
            }
        }
    }

    fn place(&mut self) -> String {
        match self.byte() % 16 {
            0..=7 => self.one_of(&VARIABLES).0.to_owned(),
            8 | 9 => self.one_of(&[".x", ".y"]).to_owned(),
            10 | 11 => self.one_of(&["@rax", "@eax", "@ax", "@ah", "@r9d", "@cl", "@cf", "@rbx"]).to_owned(),
            12 | 13 if !self.in_function => {
                let index = self.value();
                format!("t[({index}) & 3]")
            }
            14 if !self.in_function => self.one_of(&["p.c", "p.i", "p.l"]).to_owned(),
            _ => {
                let index = self.value();
                format!("((int *)@rsi)[({index}) & f]")
            }
        }
    }

    fn number(&mut self) -> String {
        let byte = self.byte();
        match byte % 8 {
            0 => "8000000000000000".to_owned(),
            1 => "7fffffff".to_owned(),
            2 => "0ffffffffffffffff".trim_start_matches('0').to_owned(),
            3 => "12345678`9abcdef0".to_owned(),
            4 => "80".to_owned(),
            _ => format!("0n{byte}"),
        }
    }

    fn value(&mut self) -> String {
        if self.depth > 8 {
            return self.number();
        }
        self.depth += 1;
        let value = match self.byte() % 24 {
            0..=3 => self.number(),
            4..=8 => self.one_of(&VARIABLES).0.to_owned(),
            9 | 10 => self.one_of(&["@rax", "@rcx", "@r15", "@ah", "@zf", "$pid", ".x", ".y"]).to_owned(),
            11..=15 => {
                let (left, right) = (self.value(), self.value());
                let sign = self.one_of(&["+", "-", "*", "&", "|", "^", "<<", ">>", "+", "-"]);
                format!("({left} {sign} {right})")
            }
            16 => {
                let (sign, value) =
                    (self.one_of(&["-", "~", "!", "(char)", "(unsigned int)", "(short)", "(bool)"]), self.value());
                format!("{sign}({value})")
            }
            17 => format!("({})", self.test()),
            18 => {
                let (place, value) = (self.place(), self.value());
                format!("({place} = {value})")
            }
            19 => {
                let place = self.place();
                let shape = self.one_of(&["++", "--"]);
                if self.byte() & 1 == 0 { format!("({place}{shape})") } else { format!("({shape}{place})") }
            }
            20 if !self.in_function => {
                let (first, second) = (self.value(), self.value());
                format!("f({first}, {second})")
            }
            21 => {
                let value = self.value();
                let read = self.one_of(&["poi", "dd", "db", "hi", "low"]);
                format!("{read}(@rsi + ({value} & ff))")
            }
            22 if !self.in_function => format!("(long){}", self.float()),
            23 if !self.in_function => self.one_of(LIBRARY).to_owned(),
            _ => self.place(),
        };
        self.depth -= 1;
        value
    }

    fn float(&mut self) -> String {
        match self.byte() % 6 {
            0 => "d".to_owned(),
            1 => "g".to_owned(),
            2 => format!("{}.{}", self.byte(), self.byte()),
            3 if self.depth < 6 => {
                self.depth += 1;
                let (left, right) = (self.float(), self.float());
                let sign = self.one_of(&["+", "-", "*", "/"]);
                self.depth -= 1;
                format!("({left} {sign} {right})")
            }
            4 => format!("(double){}", self.one_of(&VARIABLES).0),
            _ => "-(d)".to_owned(),
        }
    }

    fn test(&mut self) -> String {
        if self.depth > 8 {
            return "1".to_owned();
        }
        self.depth += 1;
        let test = match self.byte() % 8 {
            0..=3 => {
                let (left, right) = (self.value(), self.value());
                let sign = self.one_of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{left} {sign} {right}")
            }
            4 => {
                let (left, right) = (self.test(), self.test());
                let sign = self.one_of(&["&&", "||"]);
                format!("({left}) {sign} ({right})")
            }
            5 => format!("!({})", self.test()),
            6 if !self.in_function => {
                let (left, right) = (self.float(), self.float());
                let sign = self.one_of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{left} {sign} {right}")
            }
            _ => self.value(),
        };
        self.depth -= 1;
        test
    }
}
