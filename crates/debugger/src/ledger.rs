//! The ledger as it is shown: by type what there is, what became of it, and its levels; the pages; who holds units.
//!
//! Text and JSON are made of one struct. On a narrow screen the columns that never change by themselves (bytes, levels) stand
//! in a table of their own below the others.

use crate::answer::{Report, marked, marked_table};
use crate::error::Error;
use crate::session::Session;
use crate::wrap;
use abi::kind::Kind;
use abi::request::{Ledger, LedgerRow, OwnerRow, Owners, op, owner};
use serde::Serialize;

/// The columns of the table.
const HEAD: [&str; 10] =
    ["type", "~bytes", "reserved", "free", "used", "peak", "refused", "refilled", "kept", "low/target/high"];
const ALL: [usize; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
/// Those that change by themselves,
const LIVELY: [usize; 8] = [0, 2, 3, 4, 5, 6, 7, 8];
/// and those that do not.
const STEADY: [usize; 3] = [0, 1, 9];

/// What root answered, in the words of the prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Shown {
    /// By type.
    pub(crate) types: Vec<Row>,
    pages: u64,
    pages_root: u64,
    pub(crate) pages_free: u64,
    pages_types: u64,
    pages_target: u64,
    /// Who holds units.
    pub(crate) owners: Vec<Owner>,
    /// Units of owners that found no row.
    owners_other: u64,
    /// Characters on a line of the screen.
    #[serde(skip)]
    columns: usize,
}

/// One type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    r#type: &'static str,
    /// A unit's share of its slab, rounded up: units of other types may share the pages with it.
    pub(crate) unit_bytes_mean: u64,
    reserved: u64,
    pub(crate) free: u64,
    used: u64,
    high_water: u64,
    refused: u64,
    refilled: u64,
    pub(crate) kept: u64,
    low: u64,
    pub(crate) target: u64,
    pub(crate) high: u64,
}

/// Units of one type that one owner holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Owner {
    /// Its number.
    pub(crate) owner: u32,
    name: String,
    #[serde(skip)]
    pub(crate) kind: Option<Kind>,
    r#type: &'static str,
    pub(crate) units: u64,
}

impl Shown {
    /// Asks root.
    pub(crate) fn read(session: &mut Session) -> Result<Self, Error> {
        let ledger: Ledger = session.ask(op::LEDGER, &[])?;
        let owners: Owners = session.ask(op::OWNERS, &[])?;
        Ok(Self::new(&ledger, &owners, session.console().columns()))
    }

    fn new(ledger: &Ledger, owners: &Owners, columns: usize) -> Self {
        let Ledger { kinds, frames, frames_root, frames_free, frames_kinds, frames_target } = *ledger;
        let row = |(kind, row): (Kind, LedgerRow)| {
            let LedgerRow { name: _, unit_bytes, reserved, free, used, high_water, .. } = row;
            let LedgerRow { refused, refilled, kept, low, target, high, .. } = row;
            let (r#type, unit_bytes_mean) = (kind.word(), unit_bytes);
            Row { r#type, unit_bytes_mean, reserved, free, used, high_water, refused, refilled, kept, low, target, high }
        };
        let Owners { count, zero: _, other, rows } = owners;
        let valid = usize::try_from(*count).unwrap_or(usize::MAX).min(rows.len());
        let mut owners: Vec<Owner> = rows[..valid].iter().map(Owner::new).collect();
        owners.sort();
        Self {
            types: Kind::ALL.into_iter().zip(kinds).map(row).collect(),
            pages: frames,
            pages_root: frames_root,
            pages_free: frames_free,
            pages_types: frames_kinds,
            pages_target: frames_target,
            owners,
            owners_other: *other,
            columns,
        }
    }

    /// The row of a type.
    pub(crate) fn of(&self, kind: Kind) -> &Row {
        &self.types[kind.index()]
    }

    /// As lines, with what differs from `before` marked; `brief` leaves out what never changes if it has no room beside
    /// the rest.
    pub(crate) fn drawn(&self, before: Option<&Self>, brief: bool) -> String {
        let all = self.table(&ALL, None);
        let fits = all.lines().all(|line| line.chars().count() <= self.columns);
        let mut parts = if fits {
            vec![self.table(&ALL, before)]
        } else if brief {
            vec![self.table(&LIVELY, before)]
        } else {
            vec![self.table(&LIVELY, before), self.table(&STEADY, before)]
        };
        let lines_before = before.map(Self::lines_below);
        let lines = self.lines_below().into_iter().map(|line| {
            let is_new = lines_before.as_ref().is_some_and(|before| !before.contains(&line));
            let line = wrap::lines(&line, self.columns);
            if is_new { line.split('\n').map(marked).collect::<Vec<_>>().join("\n") } else { line }
        });
        parts.push(lines.collect::<Vec<_>>().join("\n"));
        parts.join("\n\n")
    }

    fn table(&self, columns: &[usize], before: Option<&Self>) -> String {
        let pick = |cells: Vec<String>| columns.iter().map(|at| cells[*at].clone()).collect::<Vec<_>>();
        let rows = |shown: &Self| {
            let head = HEAD.map(str::to_owned).to_vec();
            std::iter::once(head).chain(shown.types.iter().map(Row::cells)).map(pick).collect::<Vec<_>>()
        };
        let (now, then) = (rows(self), before.map(rows));
        let changed = |row: usize, column: usize| then.as_ref().is_some_and(|then| then[row][column] != now[row][column]);
        marked_table(&now, &changed)
    }

    fn lines_below(&self) -> Vec<String> {
        let Self { types: _, pages, pages_root, pages_free, pages_types, pages_target, owners, owners_other, columns: _ } =
            self;
        let mut lines = vec![format!(
            "pages: 0x{pages:x} from linux = 0x{pages_free:x} bank (target 0x{pages_target:x}) + 0x{pages_types:x} types + 0x{pages_root:x} root"
        )];
        for of_one in owners.chunk_by(|a, b| a.owner == b.owner) {
            let units: Vec<String> = of_one.iter().map(|owner| format!("0x{:x} {}", owner.units, owner.r#type)).collect();
            lines.push(format!("held by {}: {}", of_one[0].name, units.join(", ")));
        }
        if *owners_other > 0 {
            lines.push(format!("held by others: 0x{owners_other:x} units"));
        }
        lines
    }
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let Self { r#type, unit_bytes_mean, reserved, free, used, high_water, refused, refilled, kept, low, target, high } =
            self;
        let numbers = [unit_bytes_mean, reserved, free, used, high_water, refused, refilled, kept];
        // A lone zero stands back, so that the eye finds what is not.
        let numbers = numbers.map(|number| if *number == 0 { "0".to_owned() } else { format!("0x{number:x}") });
        let levels = format!("{low:x}/{target:x}/{high:x}");
        std::iter::once((*r#type).to_owned()).chain(numbers).chain([levels]).collect()
    }
}

impl Owner {
    fn new(row: &OwnerRow) -> Self {
        let OwnerRow { kind, owner, units } = *row;
        let kind = Kind::from_number(kind);
        let by_event =
            matches!(kind, Some(Kind::RegularEvent | Kind::BigEvent | Kind::RegularSafeBuffer | Kind::BigSafeBuffer));
        let name = match owner {
            owner::TEST => "tests".to_owned(),
            id if by_event => format!("event {id:x}"),
            other => format!("owner {other:x}"),
        };
        Self { owner, name, kind, r#type: kind.map_or("unknown", Kind::word), units }
    }
}

impl Report for Shown {
    fn text(&self) -> String {
        self.drawn(None, false)
    }
}
