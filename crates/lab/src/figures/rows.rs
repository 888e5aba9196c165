//! The rows of the table, in their order. A hook more is a row more.

/// One row: what is set, and the loop that hits it.
pub(super) struct Row {
    /// As printed; the words of `cargo lab figures` choose by it.
    pub(super) what: &'static str,
    pub(super) set: Set,
    pub(super) work: Work,
}

/// What is set for the loop. Places are by the names that the module `figures` gives them.
pub(super) enum Set {
    /// Nothing, and no hypervisor is loaded. These rows come first.
    Unloaded,
    /// Nothing.
    Nothing,
    /// What `counted` sets.
    Linux { how: &'static str, at: &'static str },
    /// A command at the prompt, in which ADDRESS is the place.
    Root {
        command: &'static str,
        at: &'static str,
        /// Whether the event counts each round; otherwise none.
        hits: bool,
    },
}

/// What a round does.
#[derive(Clone, Copy)]
pub(super) enum Work {
    Call(&'static str),
    Store,
}

const fn row(what: &'static str, set: Set, work: Work) -> Row {
    Row { what, set, work }
}

/// A command whose event counts each round.
const fn hit(command: &'static str, at: &'static str) -> Set {
    Set::Root { command, at, hits: true }
}

/// A command whose event counts no round.
const fn missed(command: &'static str, at: &'static str) -> Set {
    Set::Root { command, at, hits: false }
}

const FAST: &str = "!epthook ADDRESS fast script { .n = .n + 1; }";
const HIDDEN: &str = "!epthook ADDRESS script { .n = .n + 1; }";

pub(super) const ROWS: &[Row] = &[
    row("a call, no hypervisor loaded", Set::Unloaded, Work::Call("beside")),
    row("a store, no hypervisor loaded", Set::Unloaded, Work::Store),
    row("a call", Set::Nothing, Work::Call("beside")),
    row("a store", Set::Nothing, Work::Store),
    row("kprobe by ftrace, BPF counter", Set::Linux { how: "ftrace", at: "traced" }, Work::Call("traced")),
    row("kprobe by jump, BPF counter", Set::Linux { how: "jump", at: "inside" }, Work::Call("traced")),
    row("kprobe by INT3, BPF counter", Set::Linux { how: "int3", at: "inside" }, Work::Call("traced")),
    row("breakpoint register, counted writes", Set::Linux { how: "watch", at: "word" }, Work::Store),
    row("`!monitor w`", hit("!monitor w ADDRESS l 8 script { .n = .n + 1; }", "word"), Work::Store),
    row("`!monitor rw`", hit("!monitor rw ADDRESS l 8 script { .n = .n + 1; }", "word"), Work::Store),
    row("`!monitor w … stage post`", hit("!monitor w ADDRESS l 8 stage post script { .n = .n + 1; }", "word"), Work::Store),
    row(
        "a store beside what `!monitor w` watches",
        missed("!monitor w ADDRESS l 8 script { .n = .n + 1; }", "near"),
        Work::Store,
    ),
    row("`!epthook … fast` at ENDBR64", hit(FAST, "endbr"), Work::Call("endbr")),
    row("`!epthook … fast` at PUSH", hit(FAST, "push"), Work::Call("push")),
    row("`!epthook … fast` at INC, which is stepped", hit(FAST, "inc"), Work::Call("inc")),
    row("a call on the page of an `!epthook … fast`", missed(FAST, "inc"), Work::Call("beside")),
    row("`!epthook` at ENDBR64", hit(HIDDEN, "endbr"), Work::Call("endbr")),
    row("`!epthook` at PUSH", hit(HIDDEN, "push"), Work::Call("push")),
    row("`!epthook` at INC, which is stepped", hit(HIDDEN, "inc"), Work::Call("inc")),
    row("a call on the page of an `!epthook`", missed(HIDDEN, "inc"), Work::Call("beside")),
    row("`!epthook2`", hit("!epthook2 ADDRESS script { .n = .n + 1; }", "push"), Work::Call("push")),
    row(
        "`!epthook2`, a condition that holds",
        hit("!epthook2 ADDRESS script { if (@rax == 1) { .n = .n + 1; } }", "push"),
        Work::Call("push"),
    ),
    row(
        "`!epthook2`, a condition that is false",
        hit("!epthook2 ADDRESS script { if (@rax == 2) { .n = .n + 1; } }", "push"),
        Work::Call("push"),
    ),
    row("`!epthook2`, a script that needs a run", hit("!epthook2 ADDRESS script { .n = @rip; }", "push"), Work::Call("push")),
    row(
        "a call on the page of an `!epthook2`",
        missed("!epthook2 ADDRESS script { .n = .n + 1; }", "push"),
        Work::Call("beside"),
    ),
];
