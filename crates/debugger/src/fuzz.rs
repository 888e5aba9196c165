//! What a fuzz target calls: any bytes, as lines typed at a prompt over the model of root.

use crate::complete;
use crate::expr::{self, Arithmetic};
use crate::line::Line;
use crate::news::Inbox;
use crate::session::{Console, Look, Session};
use crate::target::Cancel;
use crate::target::fake::{Fake, Root};
use std::sync::{Arc, Mutex};

struct Nowhere;

impl Console for Nowhere {
    fn print(&mut self, text: &str) {
        assert!(!text.is_empty(), "an empty print");
    }
}

/// Takes each line as an expression, as a word to be completed and as a command. The first byte chooses how the machine
/// is found and how answers look. What goes wrong panics.
pub fn fuzz_command_line(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let bit = |bit: u8| choice & (1 << bit) != 0;
    let root = Root {
        halted: bit(0),
        link: bit(1),
        loaded: !bit(2),
        fail_in: [u64::from(bit(6)); abi::kind::Kind::COUNT],
        linux_gives: Some(if bit(3) { 0 } else { u64::MAX }),
        ..Root::default()
    };
    let inbox = Arc::new(Inbox::default());
    let fake = Fake::new(Arc::new(Mutex::new(root)), Arc::clone(&inbox));
    let look = Look { json: bit(4), colour: bit(5) };
    let mut session = Session::over(Box::new(fake), Box::new(Nowhere), look, inbox, Cancel::default());
    for text in String::from_utf8_lossy(text).lines() {
        for how in [Arithmetic::Wrapping, Arithmetic::Count] {
            if let Err(error) = expr::evaluate(text, how, &mut session) {
                assert!(text.get(error.span).is_some(), "a span within the text");
            }
        }
        let line = Line::new(text);
        assert!(line.words().iter().all(|word| line.text().get(word.span.clone()).is_some()));
        let _ = complete::complete(text, Some(&session.names()));
        // These reach beyond the model: to files, to lines, to the clock, and to whoever would press CTRL+C.
        let name = line.name().to_ascii_lowercase();
        let second = line.words().get(1).map(|word| word.text.to_ascii_lowercase()).unwrap_or_default();
        let files = text.contains("file:") || text.contains("include");
        let beyond = files || matches!(name.as_str(), ".script" | "script" | ".debug" | "sleep");
        if !beyond && !matches!(second.as_str(), "watch" | "--watch" | "plan" | "open" | "load") {
            session.run(text);
            assert!(session.prompt().ends_with("HyperDbg> "));
        }
    }
}
